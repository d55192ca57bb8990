package config

import "testing"

func BenchmarkWithDynamic(b *testing.B) {
	l, _, err := New()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l.WithDynamic(map[string]string{"log.retention.ms": "5"}, nil)
	}
}

func BenchmarkTopic(b *testing.B) {
	l, _, err := New()
	if err != nil {
		b.Fatal(err)
	}
	overrides := map[string]string{"retention.ms": "5", "cleanup.policy": "compact"}
	for b.Loop() {
		l.Topic(overrides)
	}
}
