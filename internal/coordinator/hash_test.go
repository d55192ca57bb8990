package coordinator_test

import (
	"testing"

	"segue/internal/coordinator"
)

// TestShardOf holds the choice of shards against what a JVM answers for Kafka's formula.
func TestShardOf(t *testing.T) {
	for key, want := range map[string]int32{
		"": 0, "a": 47, "my-group": 12, "console-consumer-41563": 10, "connect-cluster": 13, "x\x00y": 41,
		"grüppe": 12, "群组": 8,
		"😀": 49, "😀 group": 6, "🂡🂢": 5, // beyond the basic plane: two code units each
		"polygenelubricants": 0, "GydZG_": 0, // the hash is the smallest int, which has no absolute value
	} {
		if got := coordinator.ShardOf(key, 50); got != want {
			t.Errorf("ShardOf(%q, 50) is %d, want %d", key, got, want)
		}
		if got := coordinator.ShardOf(key, 1); got != 0 {
			t.Errorf("ShardOf(%q, 1) is %d", key, got)
		}
	}
}
