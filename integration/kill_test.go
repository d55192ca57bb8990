//go:build integration && unix

package integration

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/history"
	"segue/storage/record"
)

// TestKillAtStart kills the broker while it starts, at every line that it logs there, over data that a kill has left.
func TestKillAtStart(t *testing.T) {
	b := start(t)
	c := newCrowd(b, seeded(t))
	topic := c.writeAll(t, "t", 2)
	c.follow(&c.readers, topic, false)
	for lines := range 4 {
		c.awaitAcks(t, 50)
		kill := c.rec.Fault(history.Kill)
		b.kill()
		for range 3 {
			b.interrupt(lines)
		}
		b.launch()
		kill.End(history.OK, history.Nowhere)
	}
	c.awaitAcks(t, 50)
	c.finish(t, topic)
	c.check(t)
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
