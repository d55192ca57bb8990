//go:build integration && unix

package integration

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// checkOften has the cleaner look at the logs often enough for a test.
const checkOften = "log.retention.check.interval.ms=20"

// fill appends n batches of about 10 kB each, every one of a single record with that time.
func fill(t testing.TB, w *wire, topic string, n int, at time.Time) {
	t.Helper()
	for i := range n {
		b := record.NewBuilder(0)
		b.Add(at.UnixMilli(), nil, []byte(strings.Repeat(fmt.Sprint(i%10), 10_000)))
		w.produce(topic, 0, build1(t, b))
	}
}

// TestRoll: segments are sealed by size, by the size of their index and by age; records do not mind.
func TestRoll(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	tests := []struct {
		name    string
		configs []string
		batches int
		atLeast int // segments
	}{
		{"size", []string{"segment.bytes", "1048576"}, 350, 3},
		{"index", []string{"segment.index.bytes", "120"}, 50, 4},
		{"one", nil, 50, 1},
	}
	for _, test := range tests {
		b.createTopic(t, test.name, 1, test.configs...)
		fill(t, w, test.name, test.batches, time.Now())
		segments := b.segments(t, test.name, 0)
		if n := len(segments); n < test.atLeast || n > 10*test.atLeast || test.atLeast == 1 && n != 1 {
			t.Errorf("%s: %d segments", test.name, n)
		}
		for _, s := range segments {
			if info, err := os.Stat(s); err != nil || info.Size() > 1<<20 {
				t.Errorf("%s: %v, %v", s, info, err)
			}
		}
	}
	b.createTopic(t, "age", 1, "segment.ms", "100")
	eventually(t, patience, "a segment is sealed by age", func() bool {
		fill(t, w, "age", 1, time.Now())
		return len(b.segments(t, "age", 0)) > 2
	})
	check := func() {
		t.Helper()
		for _, topic := range []string{"size", "index", "one", "age"} {
			for i, r := range b.consumePartition(t, topic, 0) {
				if r.Offset != int64(i) || string(r.Value[:1]) != fmt.Sprint(i%10) && topic != "age" {
					t.Fatalf("%s: record %d is at %d and begins with %s", topic, i, r.Offset, r.Value[:1])
				}
			}
		}
	}
	check()
	b.restart()
	check()
	b.crash()
	check()
}

// TestRetentionBySize: the oldest segments go once the partition is larger than it should be; clients are told where it
// begins, and a restart does not bring anything back.
func TestRetentionBySize(t *testing.T) {
	b := start(t, checkOften)
	b.createTopic(t, "t", 1, "segment.bytes", "1048576", "retention.bytes", "2097152")
	w := b.dial(t)
	const batches = 800
	fill(t, w, "t", batches, time.Now())
	var first, end int64
	within := func() bool {
		first, end = b.offsets(t, "t", 0)
		return first > 0 && b.dataSize("t") <= 3<<20
	}
	eventually(t, patience, "the log is within its limit", within)
	if end != batches {
		t.Fatalf("the log ends at %d, want %d", end, batches)
	}
	if size := b.dataSize("t"); size < 2<<20 {
		t.Errorf("%d bytes are left, fewer than retention.bytes", size)
	}

	check := func() {
		t.Helper()
		resp := ask[*kmsg.FetchResponse](w, fetchRequest(12, 0, 1, wanted{topic: "t", offset: first - 1}))
		expectCode(t, "fetch below the log's start", resp.Topics[0].Partitions[0].ErrorCode, kerr.OffsetOutOfRange)
		p := ask[*kmsg.FetchResponse](w, fetchRequest(12, 0, 1, wanted{topic: "t", offset: first})).Topics[0].Partitions[0]
		if p.LogStartOffset != first || len(p.RecordBatches) == 0 {
			t.Errorf("fetch at the log's start: %d bytes, log start %d, want %d", len(p.RecordBatches), p.LogStartOffset, first)
		}
		records := b.consumePartition(t, "t", 0)
		if n := int64(len(records)); n != end-first || records[0].Offset != first {
			t.Errorf("%d records from %d on, want %d from %d on", n, records[0].Offset, end-first, first)
		}
	}
	check()

	// A consumer that was left behind goes on where its reset policy says.
	cl := b.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(0)}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if r := poll(t, cl, 1)[0]; r.Offset != first {
		t.Errorf("a consumer of offset 0 is given %d, want %d", r.Offset, first)
	}
	cl.Close()

	b.restart()
	w = b.dial(t)
	check()
	b.crash()
	w = b.dial(t)
	check()
}

// TestRetentionByTime: segments go when their newest record is too old, the hot one too; offsets go on.
func TestRetentionByTime(t *testing.T) {
	b := start(t, checkOften)
	b.createTopic(t, "t", 1, "retention.ms", "3600000", "segment.bytes", "1048576")
	w := b.dial(t)
	fill(t, w, "t", 250, time.Now().Add(-2*time.Hour))
	eventually(t, patience, "all records are gone", func() bool {
		first, end := b.offsets(t, "t", 0)
		return first == 250 && end == 250
	})
	eventually(t, patience, "all files with records are gone", func() bool { return b.dataSize("t") == 0 })
	check := func(records int) {
		t.Helper()
		if p := w.listOffset(11, "t", 0, -3); records == 0 && p.Offset != -1 {
			t.Errorf("the largest time of nothing is at %d", p.Offset)
		}
		for i, r := range b.consumePartition(t, "t", 0) {
			if r.Offset != int64(250+i) {
				t.Errorf("record %d is at %d, want %d", i, r.Offset, 250+i)
			}
			records--
		}
		if records != 0 {
			t.Errorf("%d records too few", records)
		}
	}
	check(0)
	b.restart()
	w = b.dial(t)
	check(0)
	fill(t, w, "t", 3, time.Now())
	check(3)
	b.crash()
	w = b.dial(t)
	check(3)
	if epochs := b.batches(t, "t", 0); epochs[0].BaseOffset() != 250 || epochs[0].LeaderEpoch() != 2 {
		t.Errorf("the first batch is at %d with epoch %d, want 250 and 2", epochs[0].BaseOffset(), epochs[0].LeaderEpoch())
	}
}

// TestRetentionUnderReaders: whoever reads while segments go gets whole batches, or is told that they are gone.
func TestRetentionUnderReaders(t *testing.T) {
	b := start(t, checkOften)
	b.createTopic(t, "t", 1, "segment.bytes", "1048576", "retention.bytes", "1048576")
	done := make(chan struct{})
	readers := make(chan error, 4)
	for range cap(readers) {
		w := b.dial(t)
		go func() { readers <- readBehind(w, done) }()
	}
	fill(t, b.dial(t), "t", 600, time.Now())
	close(done)
	for range cap(readers) {
		if err := <-readers; err != nil {
			t.Error(err)
		}
	}
}

// readBehind reads partition 0 of t again and again from where it begins, until it is told to stop. It checks batches
// and the order of offsets.
func readBehind(w *wire, done <-chan struct{}) error {
	next := int64(0)
	for {
		select {
		case <-done:
			return nil
		default:
		}
		w.conn.SetWriteDeadline(time.Now().Add(patience))
		req := fetchRequest(12, 10*time.Millisecond, 1, wanted{topic: "t", offset: next})
		if _, err := w.conn.Write(w.formatter.AppendRequest(nil, req, w.next)); err != nil {
			return err
		}
		w.next++
		w.asked = append(w.asked, req)
		resp, err := w.tryReceive()
		if err != nil {
			return err
		}
		p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
		err = kerr.ErrorForCode(p.ErrorCode)
		switch {
		case errors.Is(err, kerr.OffsetOutOfRange):
			if next, err = w.logStart(); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		for data := p.RecordBatches; len(data) > 0; {
			batch, rest, err := record.Parse(data)
			if err == nil {
				err = batch.Verify()
			}
			if err != nil {
				return fmt.Errorf("fetch at %d, %d bytes of %d from the end: %w", next, len(data), len(p.RecordBatches), err)
			}
			if int64(batch.BaseOffset()) != next {
				return fmt.Errorf("a batch at %d, want %d", batch.BaseOffset(), next)
			}
			next, data = int64(batch.NextOffset()), rest
		}
		if next == p.HighWatermark {
			next = p.LogStartOffset // once more
		}
	}
}

// logStart asks where partition 0 of t begins.
func (w *wire) logStart() (int64, error) {
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = -2
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = "t", append(t.Partitions, p)
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.Topics = 5, append(req.Topics, t)
	if _, err := w.conn.Write(w.formatter.AppendRequest(nil, req, w.next)); err != nil {
		return 0, err
	}
	w.next++
	w.asked = append(w.asked, req)
	resp, err := w.tryReceive()
	if err != nil {
		return 0, err
	}
	found := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	return found.Offset, kerr.ErrorForCode(found.ErrorCode)
}
