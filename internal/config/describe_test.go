package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// written puts an entry in a line: name=value source synonyms.
func written(e Entry) string {
	value := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s=%s %d {", e.Name, value(e.Value), e.Source)
	for i, s := range e.Synonyms {
		if i > 0 {
			b.WriteString(" ")
		}
		fmt.Fprintf(&b, "%d:%s=%s", s.Source, s.Name, value(s.Value))
	}
	b.WriteString("}")
	return b.String()
}

func TestDescribeTopic(t *testing.T) {
	plain := static(t)
	layered := static(t, "log.retention.ms=3", "log.retention.hours=24", "log.segment.bytes=2000000").
		WithDynamic(map[string]string{"log.retention.ms": "6"}, map[string]string{"log.retention.ms": "5", "log.retention.minutes": "4"})
	for _, test := range []struct {
		l         *Layers
		overrides map[string]string
		name      string
		want      string
	}{
		{plain, nil, "segment.bytes", "segment.bytes=1073741824 5 {5:log.segment.bytes=1073741824}"},
		// As in Kafka: the strongest synonym has no default, so there is nothing to show.
		{plain, nil, "retention.ms", "retention.ms=604800000 5 {}"},
		{static(t, "log.retention.hours=1"), nil, "retention.ms", "retention.ms=3600000 5 {}"},
		{plain, nil, "flush.ms", "flush.ms=1000 5 {5:log.flush.interval.ms=1000 5:log.flush.scheduler.interval.ms=9223372036854775807}"},
		{plain, nil, "flush.messages", "flush.messages=1 5 {5:log.flush.interval.messages=1}"},
		{plain, map[string]string{"retention.ms": " 9 "}, "retention.ms", "retention.ms=9 1 {1:retention.ms=9}"},
		{plain, map[string]string{"cleanup.policy": "compact"}, "cleanup.policy",
			"cleanup.policy=compact 1 {1:cleanup.policy=compact 5:log.cleanup.policy=delete}"},
		{plain, nil, "remote.storage.enable", "remote.storage.enable=false 5 {}"},
		{plain, nil, "min.cleanable.dirty.ratio", "min.cleanable.dirty.ratio=0.5 5 {5:log.cleaner.min.cleanable.ratio=0.5}"},
		{layered, nil, "segment.bytes", "segment.bytes=2000000 4 {4:log.segment.bytes=2000000 5:log.segment.bytes=1073741824}"},
		{layered, map[string]string{"retention.ms": "7"}, "retention.ms",
			"retention.ms=7 1 {1:retention.ms=7 2:log.retention.ms=6 3:log.retention.ms=5 3:log.retention.minutes=4 " +
				"4:log.retention.ms=3 4:log.retention.hours=24 5:log.retention.hours=168}"},
		{plain, map[string]string{"internal.segment.bytes": "5"}, "internal.segment.bytes",
			"internal.segment.bytes=5 1 {1:internal.segment.bytes=5}"},
	} {
		entries := test.l.DescribeTopic(test.overrides, []string{test.name})
		if len(entries) != 1 || written(entries[0]) != test.want {
			t.Errorf("%s: %v, want %s", test.name, entries, test.want)
			continue
		}
		if e := entries[0]; e.ReadOnly || e.Doc == "" || e.Kind == Unknown || e.Sensitive {
			t.Errorf("%s: %+v", test.name, e)
		}
	}
}

func TestDescribeTopicListsAll(t *testing.T) {
	entries := static(t).DescribeTopic(nil, nil)
	if len(entries) != Topic().Len()-1 { // all but internal.segment.bytes
		t.Errorf("%d entries", len(entries))
	}
	if !slices.IsSortedFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not in order")
	}
	if entries := static(t).DescribeTopic(nil, []string{"no.such", "internal.segment.bytes"}); len(entries) != 0 {
		t.Errorf("%v", entries)
	}
	if entries := static(t).DescribeTopic(nil, []string{}); len(entries) != 0 {
		t.Errorf("an empty list of names is none: %v", entries)
	}
}

func TestDescribeBroker(t *testing.T) {
	l := static(t, "log.roll.ms=5", "num.partitions=3", "some.secret=hush", "ssl.key.password=hush",
		"listener.name.a.ssl.key.password=hush", "listener.name.a.max.connections=7").
		WithDynamic(map[string]string{"log.roll.hours": "2", "message.max.bytes": "9"}, map[string]string{"message.max.bytes": "8"})
	for name, want := range map[string]string{
		"num.partitions":                   "num.partitions=3 4 {4:num.partitions=3 5:num.partitions=1}",
		"message.max.bytes":                "message.max.bytes=9 2 {2:message.max.bytes=9 3:message.max.bytes=8 5:message.max.bytes=1048588}",
		"log.roll.ms":                      "log.roll.ms=null 4 {4:log.roll.ms=5 5:log.roll.hours=168}",
		"log.roll.hours":                   "log.roll.hours=2 2 {2:log.roll.hours=2 4:log.roll.ms=5 5:log.roll.hours=168}",
		"log.retention.ms":                 "log.retention.ms=null 5 {}",
		"some.secret":                      "some.secret=null 4 {4:some.secret=null}",
		"ssl.key.password":                 "ssl.key.password=null 4 {4:ssl.key.password=null}",
		"listener.name.a.ssl.key.password": "listener.name.a.ssl.key.password=null 4 {4:listener.name.a.ssl.key.password=null 4:ssl.key.password=null}",
		"listener.name.a.max.connections":  "listener.name.a.max.connections=7 4 {4:listener.name.a.max.connections=7 5:max.connections=2147483647}",
		"max.connections":                  "max.connections=2147483647 5 {5:max.connections=2147483647}",
		"http.listener":                    "http.listener=:9644 5 {5:http.listener=:9644}",
	} {
		entries := l.DescribeBroker([]string{name})
		if len(entries) != 1 || written(entries[0]) != want {
			t.Errorf("%s: %v, want %s", name, entries, want)
		}
	}
	for _, e := range l.DescribeBroker(nil) {
		if strings.Contains(written(e), "hush") {
			t.Errorf("a secret is shown: %s", written(e))
		}
		if d, known := lookupBroker(e.Name); known && d.Internal {
			t.Errorf("%s is internal", e.Name)
		}
	}
}

func TestDescribeDefaults(t *testing.T) {
	l := static(t, "message.max.bytes=7").
		WithDynamic(map[string]string{"message.max.bytes": "9"}, map[string]string{"message.max.bytes": "8", "log.segment.bytes": "2000000"})
	var got []string
	for _, e := range l.DescribeDefaults(nil) {
		got = append(got, written(e))
	}
	want := []string{"log.segment.bytes=2000000 3 {3:log.segment.bytes=2000000}", "message.max.bytes=8 3 {3:message.max.bytes=8}"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if entries := l.DescribeDefaults([]string{"log.segment.bytes"}); len(entries) != 1 {
		t.Errorf("%v", entries)
	}
}
