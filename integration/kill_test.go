//go:build integration && unix

package integration

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

const kills = 10

// TestKill kills the broker again and again while producers write and a consumer reads. Nothing that was acknowledged,
// or shown to the consumer, may be lost. That holds for a kill also where syncs run behind the acknowledgements: what was
// written is the kernel's.
func TestKill(t *testing.T) {
	for name, settings := range map[string][]string{
		"synced before the ack": nil,
		"synced behind the ack": {"log.flush.interval.messages=100000"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, settings...)
			const partitions = 4
			// Small segments and indexes, so that rolls are among what is interrupted.
			b.createTopic(t, "t", partitions, "segment.bytes", "1048576", "segment.index.bytes", "600")
			l := newLedger("t", partitions)
			for _, d := range deliveries() {
				l.run(t, b, d.name+"-1", d)
				l.run(t, b, d.name+"-2", d)
			}
			reader := follow(t, b, "t", partitions)
			for range kills {
				l.awaitAcks(t, rand.Int64N(3000))
				b.kill()
				known := l.highest() // no more can come while the broker is down
				b.launch()
				for p, want := range known {
					if _, end := b.offsets(t, "t", int32(p)); end < want {
						t.Errorf("partition %d ends at %d, and %d was acknowledged", p, end, want-1)
					}
				}
			}
			l.awaitAcks(t, 100)
			l.finish(t)
			l.check(t, b)
			reader.check(t, b, "t")
			if n := len(b.segments(t, "t", 0)); n < 2 {
				t.Errorf("%d segments: no roll was among what was interrupted", n)
			}
			b.restart()
			l.check(t, b)
		})
	}
}

// TestKillAtStart kills the broker while it starts, at every line that it logs there, over data that a kill has left.
func TestKillAtStart(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 2)
	l := newLedger("t", 2)
	d := deliveries()[0]
	l.run(t, b, d.name, d)
	for lines := range 4 {
		l.awaitAcks(t, 50)
		b.kill()
		for range 3 {
			b.interrupt(lines)
		}
		b.launch()
	}
	l.awaitAcks(t, 50)
	l.finish(t)
	l.check(t, b)
}

// producerIDOf asks for a producer id.
func (w *wire) producerIDOf() int64 {
	w.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version = 4
	resp := ask[*kmsg.InitProducerIDResponse](w, req)
	expectCode(w.t, "init producer id", resp.ErrorCode, nil)
	return resp.ProducerID
}

// sequenced returns a batch of n records of a producer, numbered from seq on.
func sequenced(t testing.TB, id int64, seq int32, n int) record.Batch {
	t.Helper()
	b := record.NewBuilder(0)
	b.ProducerID, b.ProducerEpoch, b.BaseSequence = id, 0, seq
	for i := range n {
		b.Add(epochMillis, nil, []byte(fmt.Sprint(id, "/", int(seq)+i)))
	}
	return build1(t, b)
}

// TestProducersSurvive: what the broker knows of idempotent producers is exact after a kill, after a clean stop, and
// after both; and no producer id is given twice.
func TestProducersSurvive(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	w := b.dial(t)
	ids := map[int64]bool{}
	newID := func() int64 {
		t.Helper()
		id := w.producerIDOf()
		if ids[id] || id < 0 {
			t.Errorf("producer id %d, after %v", id, ids)
		}
		ids[id] = true
		return id
	}
	id := newID()
	const size = 3 // records in a batch
	base := map[int32]int64{}
	next := int32(0)
	send := func(seq int32) kmsg.ProduceResponseTopicPartition {
		t.Helper()
		return ask[*kmsg.ProduceResponse](w, produceRequest("t", 0, -1, sequenced(t, id, seq, size))).Topics[0].Partitions[0]
	}
	again := []func(){func() {}, func() { b.crash() }, func() { b.restart() }, func() { b.crash(); b.crash() }, func() { b.restart(); b.crash() }}
	for i, restart := range again {
		restart()
		w = b.dial(t)
		if i > 0 {
			newID()
			for back := int32(1); back <= 5; back++ {
				seq := next - back*size
				p := send(seq)
				expectCode(t, fmt.Sprintf("round %d: the last batch but %d again", i, back-1), p.ErrorCode, nil)
				if p.BaseOffset != base[seq] {
					t.Errorf("round %d: the last batch but %d again: it is at %d, want %d", i, back-1, p.BaseOffset, base[seq])
				}
			}
			p := send(next - 6*size)
			if err := kerr.ErrorForCode(p.ErrorCode); err != kerr.DuplicateSequenceNumber && err != kerr.OutOfOrderSequenceNumber {
				t.Errorf("round %d: a batch that is older than the last five: %v", i, err)
			}
			expectCode(t, fmt.Sprintf("round %d: a gap", i), send(next+1).ErrorCode, kerr.OutOfOrderSequenceNumber)
		}
		for range 7 {
			p := send(next)
			expectCode(t, fmt.Sprintf("round %d: sequence %d", i, next), p.ErrorCode, nil)
			if want := int64(next); p.BaseOffset != want {
				t.Errorf("round %d: sequence %d is at %d, want %d", i, next, p.BaseOffset, want)
			}
			base[next] = p.BaseOffset
			next += size
		}
	}
	for i, r := range b.consumePartition(t, "t", 0) {
		if want := fmt.Sprint(id, "/", i); string(r.Value) != want || r.Offset != int64(i) {
			t.Fatalf("at %d there is %q, want %q", r.Offset, r.Value, want)
		}
	}
}
