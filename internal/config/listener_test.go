package config

import (
	"fmt"
	"strings"
	"testing"
)

func protocols(t testing.TB) map[string]Protocol {
	t.Helper()
	p, err := ParseProtocols("PLAINTEXT:PLAINTEXT, ssl:SSL,internal:SASL_SSL,EXTERNAL : PLAINTEXT")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseListeners(t *testing.T) {
	for _, test := range []struct{ entries, want string }{ // want: the listeners, or ! and a part of the error
		{"PLAINTEXT://:9092", "[PLAINTEXT://:9092]"},
		{"plaintext://myhost:9092,SSL://a-b.c_d:9091", "[PLAINTEXT://myhost:9092 SSL://a-b.c_d:9091]"},
		{"EXTERNAL://0.0.0.0:1,INTERNAL://[::1]:2", "[EXTERNAL://0.0.0.0:1 INTERNAL://[::1]:2]"},
		{"PLAINTEXT://127.0.0.1:9092,SSL://[::1]:9092", "[PLAINTEXT://127.0.0.1:9092 SSL://[::1]:9092]"},
		{"PLAINTEXT://::1:9092", "[PLAINTEXT://[::1]:9092]"},
		{"PLAINTEXT://[fe80::1%eth0]:9092", "[PLAINTEXT://[fe80::1%eth0]:9092]"},
		{"PLAINTEXT://a:0,SSL://b:0", "[PLAINTEXT://a:0 SSL://b:0]"},
		{"PLAINTEXT://a:9092,SSL://b:9092", "!the same port"},
		{"PLAINTEXT://127.0.0.1:9092,SSL://10.0.0.1:9092", "!the same port"},
		{"PLAINTEXT://127.0.0.1:9092,SSL://[::1]:9092,EXTERNAL://:9092", "!the same port"},
		{"PLAINTEXT://a:1,plaintext://a:2", "!used twice"},
		{"CLIENT://a:1", "!no security protocol defined for listener CLIENT"},
		{"a:1", "!there is no ://"},
		{"://a:1", "!the name is missing"},
		{"PLAIN TEXT://a:1", "!a name has letters"},
		{"PLAINTEXT://a", "!there is no port"},
		{"PLAINTEXT://a:", "!from 0 to 65535"},
		{"PLAINTEXT://a:65536", "!from 0 to 65535"},
		{"PLAINTEXT://a:-1", "!from 0 to 65535"},
		{"PLAINTEXT://a:9092/", "!from 0 to 65535"},
		{"PLAINTEXT://[::1:9092", "!not closed"},
		{"PLAINTEXT://[host]:9092", "!only an IPv6 address"},
		{"PLAINTEXT://1:2:3:9092", "!not an IPv6 address"},
		{"PLAINTEXT://user@host:9092", "!a host name has"},
		{"PLAINTEXT://" + strings.Repeat("a", 256) + ":1", "!longer than 255"},
		{"", "!there is no ://"},
	} {
		got, err := ParseListeners(strings.Split(test.entries, ","), protocols(t), true)
		if want, isError := strings.CutPrefix(test.want, "!"); isError {
			if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 600 {
				t.Errorf("%.80s: %v, want %q", test.entries, err, want)
			}
		} else if err != nil || fmt.Sprint(got) != test.want {
			t.Errorf("%s: %v %v, want %s", test.entries, got, err, test.want)
		}
	}
	if _, err := ParseListeners([]string{"PLAINTEXT://a:9092", "SSL://b:9092"}, protocols(t), false); err != nil {
		t.Errorf("equal ports may be advertised: %v", err)
	}
}

func TestParseProtocols(t *testing.T) {
	if p := protocols(t); p["SSL"] != SSL || p["INTERNAL"] != SASLSSL || p["EXTERNAL"] != Plaintext || len(p) != 4 {
		t.Errorf("%v", p)
	}
	for text, want := range map[string]string{"A": "form NAME:PROTOCOL", "A:TLS": "not a security protocol", ":SSL": "no listener name", "A:ssl": "not a security"} {
		if _, err := ParseProtocols(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestResolveListeners(t *testing.T) {
	for _, test := range []struct {
		settings string
		want     string // bound, advertised, controllers, for brokers; or ! and a part of the error
	}{
		{"", "[PLAINTEXT://:9092] [PLAINTEXT://:9092] [] PLAINTEXT"},
		{"listeners=PLAINTEXT://a:1,CONTROLLER://:9093|controller.listener.names=CONTROLLER", "[PLAINTEXT://a:1] [PLAINTEXT://a:1] [CONTROLLER] PLAINTEXT"},
		{"listeners=PLAINTEXT://0.0.0.0:1,controller://:9093|controller.listener.names=controller|advertised.listeners=PLAINTEXT://h:5,CONTROLLER://c:6",
			"[PLAINTEXT://0.0.0.0:1] [PLAINTEXT://h:5] [CONTROLLER] PLAINTEXT"},
		{"listeners=A://:1,B://:2|listener.security.protocol.map=A:PLAINTEXT,B:SSL|advertised.listeners=B://x:9|inter.broker.listener.name=b",
			"[A://:1 B://:2] [B://x:9] [] B"},
		{"listeners=A://:1,B://:2|listener.security.protocol.map=A:PLAINTEXT,B:SSL", "[A://:1 B://:2] [A://:1 B://:2] [] A"},
		{"listeners=PLAINTEXT://:1,SSL://:2|security.inter.broker.protocol=SSL", "[PLAINTEXT://:1 SSL://:2] [PLAINTEXT://:1 SSL://:2] [] SSL"},
		{"advertised.listeners=PLAINTEXT://:9092", "[PLAINTEXT://:9092] [PLAINTEXT://:9092] [] PLAINTEXT"},
		{"listeners=PLAINTEXT://:1,SSL://:2|advertised.listeners=PLAINTEXT://h:5,SSL://h:5", "[PLAINTEXT://:1 SSL://:2] [PLAINTEXT://h:5 SSL://h:5] [] PLAINTEXT"},
		{"listeners=PLAINTEXT://0.0.0.0:9092", "!nonroutable address 0.0.0.0"},
		{"listeners=PLAINTEXT://[::]:9092", "!nonroutable address ::"},
		{"advertised.listeners=PLAINTEXT://0.0.0.0:9092", "!nonroutable address 0.0.0.0"},
		{"advertised.listeners=SSL://h:1", "!SSL is advertised and not in listeners"},
		{"listeners=PLAINTEXT://:1|controller.listener.names=PLAINTEXT", "!none is left for clients"},
		{"listeners=A://:1", "!listeners: no security protocol defined for listener A"},
		{"listeners=PLAINTEXT://:1,C://:2|controller.listener.names=C|listener.security.protocol.map=PLAINTEXT:PLAINTEXT", "!no security protocol defined for listener C"},
		{"inter.broker.listener.name=OTHER", "!not an advertised listener"},
		{"inter.broker.listener.name=PLAINTEXT|security.inter.broker.protocol=PLAINTEXT", "!only one of"},
		{"listener.security.protocol.map=A", "!form NAME:PROTOCOL"},
	} {
		list, err := ReadOverrides(strings.FieldsFunc(test.settings, func(r rune) bool { return r == '|' }))
		if err != nil {
			t.Fatal(err)
		}
		l, _, err := New(list)
		if want, isError := strings.CutPrefix(test.want, "!"); isError {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", test.settings, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.settings, err)
			continue
		}
		n := l.Listeners()
		if got := fmt.Sprintf("%v %v %v %s", n.Bound, n.Advertised, n.Controller, n.InterBroker); got != test.want {
			t.Errorf("%s: %s, want %s", test.settings, got, test.want)
		}
	}
}

// FuzzListeners: what is accepted can be written out and read again, and is something that can be listened on.
func FuzzListeners(f *testing.F) {
	for _, seed := range []string{
		"PLAINTEXT://:9092", "ssl://[::1]:0,PLAINTEXT://1.2.3.4:5", "PLAINTEXT://::1:1", "INTERNAL://[fe80::1%25]:2", "://", "A://[", ",,",
	} {
		f.Add(seed)
	}
	known := protocols(f)
	f.Fuzz(func(t *testing.T, text string) {
		listeners, err := ParseListeners(splitList(text), known, true)
		if err != nil {
			if len(listeners) > 0 || len(err.Error()) > 2000 {
				t.Fatalf("%d listeners with %d bytes of error", len(listeners), len(err.Error()))
			}
			return
		}
		var again []string
		for _, l := range listeners {
			if l.Port < 0 || l.Port > 65535 || l.Name != strings.ToUpper(l.Name) || strings.ContainsAny(l.Host, "[]/ ") {
				t.Fatalf("%q gave %+v", text, l)
			}
			again = append(again, l.String())
		}
		reread, err := ParseListeners(again, known, true)
		if err != nil || fmt.Sprint(reread) != fmt.Sprint(listeners) {
			t.Fatalf("%q gave %v, which reads as %v, %v", text, listeners, reread, err)
		}
	})
}
