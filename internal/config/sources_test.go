package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

func listed(settings []Setting) string {
	var b strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&b, "%s=%s", s.Name, s.Value)
		if s.Weak {
			b.WriteString(" (weak)")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestReadProperties(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"plain", "a=1\nb = 2 \n c:3\nd 4\n", "a=1\nb=2 \nc=3\nd=4\n"},
		{"comments", "# a=1\n! b=2\n   # c\n\nd=4", "d=4\n"},
		{"the last one counts", "a=1\nb=2\na=3", "a=3\nb=2\n"},
		{"continued", "a=1,\\\n   2,\\\r\n 3\r\nb=4", "a=1,2,3\nb=4\n"},
		{"escapes", `a=x\ty\u00e4\=\:\\` + "\n" + `k\ ey=v`, "a=x\tyä=:\\\nk ey=v\n"},
		{"no expansion", "a=${b}\nb=${a}\nc=${file:/etc/x:y}", "a=${b}\nb=${a}\nc=${file:/etc/x:y}\n"},
		{"utf-8", "a=ä", "a=ä\n"},
		{"latin-1", "a=\xe4", "a=ä\n"},
		{"no value", "a\nb=\n", "a=\nb=\n"},
		{"empty", "", ""},
	} {
		got, err := ReadProperties(strings.NewReader(test.text), "f")
		if err != nil || listed(got) != test.want {
			t.Errorf("%s: %q, %v, want %q", test.name, listed(got), err, test.want)
		}
	}
}

func TestReadPropertiesErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := ReadProperties(iotest.ErrReader(broken), "x.properties"); !errors.Is(err, broken) || !strings.Contains(err.Error(), "x.properties") {
		t.Errorf("%v", err)
	}
	if _, err := ReadProperties(strings.NewReader(`a=\u12`), "x.properties"); err == nil || !strings.Contains(err.Error(), "x.properties") {
		t.Errorf("%v", err)
	}
	if _, err := ReadProperties(strings.NewReader(strings.Repeat("a=1\n", maxPropertiesBytes/4+1)), "x.properties"); err == nil {
		t.Error("a file without end is read")
	}
}

func TestReadEnvironment(t *testing.T) {
	for _, test := range []struct{ name, variable, want string }{
		{"dot", "KAFKA_LOG_RETENTION_MS=5", "log.retention.ms=5\n"},
		{"all three", "KAFKA_VALID___PROPERTY__ALL_CASES=v", "valid-property_all.cases=v\n"},
		{"four", "KAFKA_A____B=v", "a-.b=v\n"},
		{"prefix once", "KAFKA_KAFKA_METRICS_REPORTERS=v", "kafka.metrics.reporters=v\n"},
		{"value with =", "KAFKA_SASL_JAAS_CONFIG=a required b=\"c\";", "sasl.jaas.config=a required b=\"c\";\n"},
		{"not ours", "PATH=/bin", ""},
		{"nothing behind", "KAFKA_=x", ""},
		{"no value", "KAFKA_X", ""},
		{"heap", "KAFKA_HEAP_OPTS=-Xmx1g", ""},
		{"opts", "KAFKA_OPTS=x", ""},
		{"log4j", "KAFKA_LOG4J_ROOT_LOGLEVEL=INFO", ""},
		{"tools log4j", "KAFKA_TOOLS_LOG4J_LOGLEVEL=INFO", ""},
		{"kubernetes", "KAFKA_PORT=tcp://10.0.0.1:9092", ""},
		{"kubernetes port", "KAFKA_PORT_9092_TCP_ADDR=10.0.0.1", ""},
		{"kubernetes service", "KAFKA_SERVICE_PORT_CLIENT=9092", ""},
		{"kubernetes other service", "KAFKA_UI_PORT_8080_TCP=x", ""},
		{"kubernetes other host", "KAFKA_UI_SERVICE_HOST=x", ""},
		{"kerberos is ours", "KAFKA_SASL_KERBEROS_SERVICE_NAME=kafka", "sasl.kerberos.service.name=kafka\n"},
		{"listeners follow", "KAFKA_ADVERTISED_LISTENERS=A://h:1, B://[::1]:2", "advertised.listeners=A://h:1, B://[::1]:2\nlisteners=A://:1,B://:2 (weak)\n"},
		{"but not nothing", "KAFKA_ADVERTISED_LISTENERS= ", "advertised.listeners= \n"},
		{"empty listeners are none", "KAFKA_LISTENERS=", ""},
		{"listeners", "KAFKA_LISTENERS=A://:1", "listeners=A://:1\n"},
	} {
		if got := listed(ReadEnvironment([]string{test.variable})); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	got := ReadEnvironment([]string{"KAFKA_B=1", "KAFKA_A=2"})
	if listed(got) != "a=2\nb=1\n" || got[0].Place != "KAFKA_A" {
		t.Errorf("%v", got)
	}
}

func TestReadOverrides(t *testing.T) {
	got, err := ReadOverrides([]string{"a=1", " b =2=3", "c="})
	if err != nil || listed(got) != "a=1\nb=2=3\nc=\n" {
		t.Errorf("%q %v", listed(got), err)
	}
	for _, text := range []string{"a", "=1", " =1", ""} {
		if _, err := ReadOverrides([]string{text}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestSampleFile reads a file of the kind that Kafka ships and its Docker image uses.
func TestSampleFile(t *testing.T) {
	f, err := os.Open("testdata/server.properties")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := ReadProperties(f, "server.properties")
	if err != nil {
		t.Fatal(err)
	}
	env := ReadEnvironment([]string{"KAFKA_LOG_DIRS=/from/env", "KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://broker:19092", "KAFKA_OPTS=-x"})
	override, err := ReadOverrides([]string{"num.partitions=6"})
	if err != nil {
		t.Fatal(err)
	}
	l, warnings, err := New(file, env, override)
	if err != nil {
		t.Fatal(err)
	}
	b, n := l.Broker(), l.Listeners()
	if b.NodeID != 1 || b.Partitions != 6 || strings.Join(b.LogDirs, ",") != "/from/env" {
		t.Errorf("%+v", b)
	}
	if fmt.Sprint(n.Bound, n.Advertised) != "[PLAINTEXT://:9092] [PLAINTEXT://broker:19092]" {
		t.Errorf("%+v", n)
	}
	for _, w := range warnings {
		if w.Kind != NoEffect {
			t.Errorf("%s", w.Text)
		}
	}
}

// FuzzProperties: no input makes the parser panic, and what it takes can be written out and read again.
func FuzzProperties(f *testing.F) {
	for _, seed := range []string{
		"a=1\n", "a:1\\\n 2", "# x\nb = ${c}", `k\u00e9y=v\t`, "a\r\nb", "\xff=\xfe", "a=\\", `a=\u1`, "a b c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for line := range strings.Lines(text) {
			// A line without a name makes the library leave a goroutine behind: one at a start of the broker
			// does no harm, millions here would.
			if strings.ContainsAny(strings.TrimLeft(line, " \f\t\r")+" ", "=:") {
				if first := strings.TrimLeft(line, " \f\t\r"); first != "" && (first[0] == '=' || first[0] == ':') {
					t.Skip()
				}
			}
		}
		settings, err := ReadProperties(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, s := range settings {
			if seen[s.Name] {
				t.Fatalf("%q: %q is there twice", text, s.Name)
			}
			seen[s.Name] = true
		}
		if _, _, err := New(settings); err != nil && len(err.Error()) > 1<<20 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
	})
}

// FuzzEnvironment: names come out in small letters and without the underscores that stand alone; everything that is
// read is a setting that New can judge.
func FuzzEnvironment(f *testing.F) {
	for _, seed := range []string{
		"KAFKA_LOG_DIRS=/x", "KAFKA_A___B__C_D=1", "KAFKA_ADVERTISED_LISTENERS=A://h:1,B://", "KAFKA_=", "KAFKA__=1", "X=1", "KAFKA_NODE_ID=-1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, variable string) {
		settings := ReadEnvironment([]string{variable})
		for _, s := range settings {
			if s.Name == "" || s.Name != strings.ToLower(s.Name) || s.Place == "" {
				t.Fatalf("%q gave %+v", variable, s)
			}
		}
		l, _, err := New(settings)
		if (l == nil) == (err == nil) {
			t.Fatalf("%q: %v %v", variable, l, err)
		}
	})
}

// FuzzValue: a value that any config takes reads back from its canonical text as the same value.
func FuzzValue(f *testing.F) {
	for i, seed := range []string{"1", "-1", "true", "a,b", "0.5", "1e300", "", " x ", "LogAppendTime", "0:1,*", "9223372036854775807"} {
		f.Add(i*37, seed)
	}
	var all []*Definition
	for _, table := range []*Table{Topic(), Broker()} {
		for d := range table.All() {
			all = append(all, d)
		}
	}
	f.Fuzz(func(t *testing.T, which int, text string) {
		d := all[uint(which)%uint(len(all))]
		v, err := d.Parse(text)
		if err != nil {
			return
		}
		again, err := d.Parse(v.String())
		if err != nil || again.String() != v.String() || again.Int() != v.Int() || again.Float() != v.Float() {
			t.Fatalf("%s: %q became %q, which became %q, %v", d.Name, text, v, again, err)
		}
	})
}
