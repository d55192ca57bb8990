//go:build integration && unix

package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// compactOften has the cleaner look at the logs often enough for a test.
const compactOften = "log.cleaner.backoff.ms=20"

// compacted are the configs of a topic that is compacted all the time.
var compacted = []string{
	"cleanup.policy", "compact", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.1", "delete.retention.ms", "100",
	"compression.type", "producer",
}

// lastValues writes n records under a few keys, deletes some, and returns what a reader must find in the end; "" is for a
// key that is deleted.
func (b *broker) lastValues(t *testing.T, topic string, r *rand.Rand, n int, want map[string]string) {
	t.Helper()
	producer := b.client(t, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	ctx := within(t, patience)
	for i := 0; i < n; {
		var batch []*kgo.Record
		for range 100 {
			key := fmt.Sprint("key ", r.IntN(200))
			value := fmt.Sprint(len(want), " ", i, " ", strings.Repeat("x", r.IntN(1500)))
			record := &kgo.Record{Key: []byte(key), Value: []byte(value)}
			if r.IntN(10) == 0 {
				value, record.Value = "", nil
			}
			want[key] = value
			batch = append(batch, record)
			i++
		}
		if err := producer.ProduceSync(ctx, batch...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	producer.Close()
}

// checkLastValues reads a topic as a consumer does and holds what it knows then against what was written.
func (b *broker) checkLastValues(t *testing.T, topic string, want map[string]string) (records int) {
	t.Helper()
	got := map[string]string{}
	last := int64(-1)
	for _, r := range b.consumePartition(t, topic, 0) {
		if r.Offset <= last {
			t.Fatalf("offset %d comes after %d", r.Offset, last)
		}
		last = r.Offset
		got[string(r.Key)] = string(r.Value)
		records++
	}
	for key, value := range want {
		if got[key] != value {
			t.Fatalf("%s has %.30q, want %.30q", key, got[key], value)
		}
	}
	for key, value := range got {
		if want[key] != value {
			t.Fatalf("%s has %.30q, want %.30q", key, value, want[key])
		}
	}
	return records
}

// TestCompaction: a consumer finds the last value of every key, whatever compaction and kills have come between; the log
// becomes smaller, and nothing in it is damaged.
func TestCompaction(t *testing.T) {
	b := start(t, compactOften)
	b.createTopic(t, "t", 1, compacted...)
	r := seeded(t)
	want, written := map[string]string{}, 0
	for range 4 {
		b.lastValues(t, "t", r, 4000, want)
		written += 4000
		b.crash() // in the middle of compaction, as likely as not
		b.checkLastValues(t, "t", want)
	}
	b.lastValues(t, "t", r, 4000, want)
	written += 4000
	runs := func() float64 { return b.metric(`segue_log_cleaner_runs_total{dir="` + b.dir + `"}`) }
	eventually(t, patience, "the log is compacted", func() bool { return runs() > 0 && b.dataSize("t") < 4<<20 })
	records := b.checkLastValues(t, "t", want)
	if first, end := b.offsets(t, "t", 0); first != 0 || end != int64(written) {
		t.Errorf("the topic holds offsets %d to %d, want 0 to %d", first, end, written)
	}
	if records > written/2 {
		t.Errorf("%d records are left of %d", records, written)
	}
	for _, name := range []string{"segue_log_cleaner_failures_total", "segue_log_cleaner_damaged_segments_total", "segue_storage_damage_total"} {
		if n := b.metric(name + `{dir="` + b.dir + `"}`); n != 0 {
			t.Errorf("%s is %v", name, n)
		}
	}
	b.restart()
	if again := b.checkLastValues(t, "t", want); again > records {
		t.Errorf("%d records after a restart, %d before", again, records)
	}
}
