package config

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// fact is what Kafka's source says of one config.
type fact struct {
	name, kind, value, scope string
	internal                 bool
}

func facts(t *testing.T, file string) []fact {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []fact
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		c := strings.Split(lines.Text(), "\t")
		if len(c) != 5 {
			t.Fatalf("%s: %q has not five columns", file, lines.Text())
		}
		all = append(all, fact{c[0], c[1], c[2], c[3], c[4] == "internal"})
	}
	if len(all) == 0 {
		t.Fatalf("%s is empty", file)
	}
	return all
}

func TestTablesAreKafkas(t *testing.T) {
	differences := map[string]Difference{}
	for _, d := range Differences() {
		differences[d.Name] = d
	}
	for _, test := range []struct {
		file  string
		table *Table
		own   []string
	}{
		{"testdata/kafka-topic.tsv", Topic(), nil},
		{"testdata/kafka-broker.tsv", Broker(), []string{"http.listener", "max.partitions", "metrics.group.lag.max.series"}},
	} {
		all := facts(t, test.file)
		if test.table.Len() != len(all)+len(test.own) {
			t.Errorf("%s has %d names, the table %d and %d of its own", test.file, len(all), test.table.Len(), len(test.own))
		}
		for _, f := range all {
			d, ok := test.table.Lookup(f.name)
			if !ok {
				t.Errorf("%s: not in the table", f.name)
				continue
			}
			if d.Kind.String() != f.kind {
				t.Errorf("%s: kind %v, want %s", f.name, d.Kind, f.kind)
			}
			want, optional := f.value, f.value == "-"
			if diff, ok := differences[f.name]; ok {
				kafka := map[string]string{"null": "-", "required": "!"}[diff.Kafka]
				if kafka == "" {
					kafka = diff.Kafka
				}
				if kafka != f.value {
					t.Errorf("%s: Kafka's default is %s, the difference says %s", f.name, f.value, diff.Kafka)
				}
				if diff.Here == f.value {
					t.Errorf("%s: listed as a difference without one", f.name)
				}
				want, optional = diff.Here, false
				delete(differences, f.name)
			}
			if d.Optional != optional || !optional && d.Default != want {
				t.Errorf("%s: default %q (optional %v), want %q (%v)", f.name, d.Default, d.Optional, want, optional)
			}
			dynamicOnly := strings.HasSuffix(f.name, "throttled.rate") || strings.HasPrefix(f.name, "replica.alter.log.dirs.io")
			if d.Internal != (f.internal || dynamicOnly) {
				t.Errorf("%s: internal %v", f.name, d.Internal)
			}
			if test.table == Broker() && !readAtStart(f.name) {
				if d.ReadOnly != (f.scope == "ro") || d.PerBroker != (f.scope == "broker") {
					t.Errorf("%s: read-only %v, per broker %v, want %s", f.name, d.ReadOnly, d.PerBroker, f.scope)
				}
			}
		}
	}
	for name := range differences {
		t.Errorf("%s: a difference in a name that does not exist", name)
	}
}

func TestReadAtStartIsReadOnly(t *testing.T) {
	for d := range Broker().All() {
		if readAtStart(d.Name) && (!d.ReadOnly || d.PerBroker) {
			t.Errorf("%s can be altered while running", d.Name)
		}
	}
	for _, name := range ReadAtStart() {
		if _, ok := Broker().Lookup(name); !ok {
			t.Errorf("%s does not exist", name)
		}
	}
}

func TestDefinitionsAreWhole(t *testing.T) {
	for _, table := range []*Table{Topic(), Broker()} {
		previous := ""
		for d := range table.All() {
			if d.Name <= previous {
				t.Errorf("%s stands after %s", d.Name, previous)
			}
			previous = d.Name
			if !strings.HasSuffix(d.Doc, ".") || len(d.Doc) < 12 || len(d.Doc) > 300 {
				t.Errorf("%s: documentation %q", d.Name, d.Doc)
			}
			if d.Optional {
				if !d.DefaultValue().Null() {
					t.Errorf("%s: optional, yet its default is %q", d.Name, d.DefaultValue())
				}
				continue
			}
			v, err := d.Parse(d.Default)
			if err != nil {
				if d.Name == "controller.listener.names" { // Kafka wants one; here nothing is its absence
					continue
				}
				t.Errorf("%s: its default is not allowed: %v", d.Name, err)
				continue
			}
			if v.String() != d.Default {
				t.Errorf("%s: default %q reads back as %q", d.Name, d.Default, v)
			}
			if reason := unsupported(d, v); reason != "" {
				t.Errorf("%s: its default is refused: %s", d.Name, reason)
			}
		}
	}
}

func TestTopicSynonymsExist(t *testing.T) {
	for d := range Topic().All() {
		for i, s := range topicSynonyms(d.Name) {
			b, ok := Broker().Lookup(s.name)
			if !ok {
				t.Errorf("%s: no broker config %s", d.Name, s.name)
				continue
			}
			if i == 0 && d.BrokerName != s.name {
				t.Errorf("%s: broker name %q, want %s", d.Name, d.BrokerName, s.name)
			}
			if b.ReadOnly && i == 0 {
				t.Errorf("%s: its broker config %s is read-only", d.Name, s.name)
			}
			if d.Inert != b.Inert {
				t.Errorf("%s is inert %v, %s %v", d.Name, d.Inert, s.name, b.Inert)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	for _, test := range []struct{ topic, name, want string }{
		{"broker", "auto.create.topic.enable", "auto.create.topics.enable"},
		{"broker", "listener", "listeners"},
		{"broker", "lsiteners", "listeners"},
		{"broker", "retention.ms", "log.retention.ms"},
		{"broker", "segment.ms", "log.roll.ms"},
		{"broker", "confluent.support.metrics.enable", ""},
		{"broker", "x", ""},
		{"broker", strings.Repeat("listeners", 100), ""},
		{"broker", "", ""},
		{"topic", "retention.mss", "retention.ms"},
		{"topic", "log.retention.ms", "retention.ms"},
		{"topic", "log.roll.hours", "segment.ms"},
		{"topic", "cleanup-policy", "cleanup.policy"},
		{"topic", "no.such.thing", ""},
	} {
		got := nearestBroker(test.name)
		if test.topic == "topic" {
			got = nearestTopic(test.name)
		}
		if got != test.want {
			t.Errorf("nearest %s config to %.40q: %q, want %q", test.topic, test.name, got, test.want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "abd", 1},
		{"kitten", "sitting", 3}, {"ab", "ba", 1},
	} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
		if got := editDistance(test.b, test.a); got != test.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", test.b, test.a, got, test.want)
		}
	}
}

func TestListenerConfig(t *testing.T) {
	for name, want := range map[string]string{
		"listener.name.internal.ssl.keystore.location":            "ssl.keystore.location",
		"listener.name.sasl_ssl.plain.sasl.jaas.config":           "sasl.jaas.config",
		"listener.name.a.scram-sha-256.connections.max.reauth.ms": "connections.max.reauth.ms",
		"listener.name.a.max.connections":                         "max.connections",
		"listener.name.a.":                                        "",
		"listener.name.a":                                         "",
		"listeners":                                               "",
	} {
		if got, _ := listenerConfig(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
