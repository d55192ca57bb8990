package history

import (
	"math"
	"time"
)

// writes checks the order of versions against the sends: each record comes from one, has the place that it may have
// among the others of its producer, and is there once.
func (t *trail) writes() {
	t.acknowledgements()
	newest, seen := map[int32]latest{}, int64(0) // by producer: its newest record so far
	epoch, epochFrom := int32(Nowhere), (*cell)(nil)
	for offset, c := range t.log.between(0, math.MaxInt64) {
		hole := seen < offset
		seen++
		witness := c.first
		if c.poll != 0 {
			witness = c.poll
			if c.epoch < epoch {
				t.find(EpochBack, offset, c.value, []*Op{t.op(epochFrom.poll), t.op(c.poll)},
					"the record at %d has the leader epoch %d, and one before it has %d", offset, c.epoch, epoch)
			}
			epoch, epochFrom = c.epoch, c
		}
		send, index := t.origin(offset, c.value, t.op(witness))
		if send == nil {
			continue
		}
		if c.poll != 0 {
			t.timely(offset, c, send)
		}
		if first := t.place[index]; first != Nowhere {
			t.twice(first, offset, c, send)
			continue
		}
		t.place[index] = offset
		before, any := newest[send.Client]
		if any && index < before.send {
			t.swapped(before, offset, send, t.op(witness))
			continue
		}
		newest[send.Client] = latest{index, offset, hole}
	}
}

// latest is where the newest record of a producer was found first.
type latest struct {
	send   int32 // index in h.Ops
	offset int64
	hole   bool // of an offset below it nobody knows what was there
}

// acknowledgements checks that the offsets which a producer is told ascend.
func (t *trail) acknowledgements() {
	last := map[int32]*Op{} // by client
	for _, i := range t.ops {
		op := &t.h.Ops[i]
		if op.Kind != Send || op.Outcome != OK {
			continue
		}
		if before := last[op.Client]; before != nil && op.Offset <= before.Offset {
			check := NonmonotonicSend
			if op.Txn != 0 && op.Txn == before.Txn {
				check = IntNonmonotonicSend
			}
			t.find(check, op.Offset, op.Value, []*Op{before, op},
				"client %s had a record acknowledged at %d, and the next one at %d", t.h.Clients[op.Client].Name, before.Offset, op.Offset)
		}
		last[op.Client] = op
	}
}

// timely checks a record's timestamp, and how long it took from its acknowledgement to its first poll.
func (t *trail) timely(offset int64, c *cell, send *Op) {
	poll := t.op(c.poll)
	if send.Time != Nowhere && c.time != send.Time {
		t.find(Altered, offset, c.value, []*Op{send, poll}, "the record at %d was sent with the time %d and has %d", offset, send.Time, c.time)
	}
	if c.ack != 0 {
		t.report.Lag = max(t.report.Lag, poll.Complete-t.op(c.ack).Complete)
	}
}

// twice judges a value that is at two offsets.
func (t *trail) twice(first, offset int64, c *cell, send *Op) {
	if t.h.Clients[send.Client].Delivery != ExactlyOnce && t.faultWithin(send.Invoke, send.Complete) {
		return // it had reason to send it again
	}
	t.report.add(Finding{
		Check: Duplicate, Partition: t.partition, Offsets: []int64{first, offset}, Values: []Value{c.value},
		Text: "a record is there twice, and its producer had no reason to send it again",
	}, send, t.op(t.log.get(first).first), t.op(c.first))
}

// swapped judges a record that is behind a later one of its producer.
func (t *trail) swapped(before latest, offset int64, send, witness *Op) {
	later := &t.h.Ops[before.send]
	switch t.h.Clients[send.Client].Delivery {
	case AtMostOnce:
		if t.faultWithin(send.Invoke, later.Invoke) {
			return // it went over another connection
		}
	case AtLeastOnce:
		if before.hole && t.faultWithin(send.Invoke, send.Complete) {
			return // this is the second time that it was sent, and the first is gone
		}
	}
	t.report.add(Finding{
		Check: Reordered, Partition: t.partition, Offsets: []int64{before.offset, offset}, Values: []Value{later.Value, send.Value},
		Text: "a record is behind one that its producer sent after it",
	}, send, later, witness)
}

// drains checks that each drain saw all that was known when it began.
func (t *trail) drains() {
	count := int32(0)
	for _, i := range t.ops {
		d := &t.h.Ops[i]
		if d.Kind != Drain || d.Outcome != OK {
			continue
		}
		count++
		for _, j := range t.ops {
			op := &t.h.Ops[j]
			if op.Kind != Poll || op.Client != d.Client || op.Invoke < d.Invoke || op.Complete > d.Complete {
				continue
			}
			for _, r := range op.Records {
				if c := t.log.get(r.Offset); c != nil && c.value == r.Value {
					c.drain = count
				}
			}
		}
		for offset, c := range t.log.between(t.maxStart, math.MaxInt64) {
			if c.drain != count && !(d.Committed && !t.isCommitted(c)) {
				t.missed(d, offset, c)
			}
		}
	}
}

// missed judges a record that a drain did not see.
func (t *trail) missed(d *Op, offset int64, c *cell) {
	before := func(indexAndOne int32, limit time.Duration) bool {
		return indexAndOne != 0 && t.op(indexAndOne).Complete <= limit
	}
	switch torn := t.readOf(c); {
	case d.Committed && torn != nil && before(c.ack, d.Invoke):
		t.find(TornTransaction, offset, c.value, []*Op{t.op(c.ack), torn, d}, "the record that was acknowledged at %d is not there, and another one of its transaction was read", offset)
	case before(c.ack, d.Invoke) && offset < d.Offset:
		elsewhere := ""
		if at := t.place[c.ack-1]; at != offset {
			elsewhere = "; its value is elsewhere"
		}
		t.find(LostWrite, offset, c.value, []*Op{t.op(c.ack), d}, "the record that was acknowledged at %d is not there%s", offset, elsewhere)
	case before(c.ack, d.Invoke):
		t.find(Unseen, offset, c.value, []*Op{t.op(c.ack), d}, "a record was acknowledged at %d, and the log ends at %d", offset, d.Offset)
	case before(c.poll, d.Invoke):
		t.find(LostRead, offset, c.value, []*Op{t.op(c.poll), d}, "a consumer was given the record at %d, and it is not there any more", offset)
	}
}
