package history

// position is where a consumer is.
type position struct {
	next   int64 // the offset that it is given next; Nowhere if that may be any
	sought bool  // it has asked for this offset, rather than come to it
	txn    int32 // it came to it in this transaction; 0 for none
}

// polls checks that each consumer is given everything, once, in order, from where it asked.
func (t *trail) polls() {
	at := map[int32]position{} // by client
	for _, i := range t.ops {
		op := &t.h.Ops[i]
		switch op.Kind {
		case Seek:
			at[op.Client] = position{next: op.Offset, sought: true}
		case Poll:
			p, known := at[op.Client]
			if !known {
				p.next = Nowhere
			}
			if op.Offset != Nowhere && op.Offset != p.next {
				p = position{next: op.Offset, sought: true}
			}
			at[op.Client] = t.follow(op, p)
		}
	}
}

// follow goes through a poll and returns where the consumer is after it.
func (t *trail) follow(op *Op, p position) position {
	for _, r := range op.Records {
		switch {
		case p.next == Nowhere || r.Offset == p.next:
		case r.Offset < p.next:
			t.find(within(op, p, NonmonotonicPoll, IntNonmonotonicPoll), r.Offset, r.Value, []*Op{op}, "a consumer that is to be given %d next is given %d", p.next, r.Offset)
		default:
			t.jumped(op, p, r)
		}
		p = position{next: r.Offset + 1, txn: op.Txn}
	}
	if n := len(op.Records); n > 0 && op.HighWatermark != Nowhere && op.Records[n-1].Offset >= op.HighWatermark {
		r := op.Records[n-1]
		t.find(ReadAboveWatermark, r.Offset, r.Value, []*Op{op}, "a consumer is given %d, and told that the high watermark is %d", r.Offset, op.HighWatermark)
	}
	if n := len(op.Records); n > 0 && op.Committed && op.LastStable != Nowhere && op.Records[n-1].Offset >= op.LastStable {
		r := op.Records[n-1]
		t.find(ReadAboveLastStable, r.Offset, r.Value, []*Op{op}, "a consumer of what is committed is given %d, and told that the last stable offset is %d", r.Offset, op.LastStable)
	}
	return p
}

// within returns the name of what is wrong between two records: the other one if one transaction has read both.
func within(op *Op, p position, name, inside Name) Name {
	if op.Txn != 0 && op.Txn == p.txn {
		return inside
	}
	return name
}

// jumped judges a consumer that was given a record behind the one it was to be given.
func (t *trail) jumped(op *Op, p position, to Record) {
	from := max(p.next, op.LogStart)
	if from >= to.Offset {
		return // all that was left out is deleted
	}
	for offset, c := range t.log.between(from, to.Offset) {
		if op.Committed && !t.isCommitted(c) {
			continue
		}
		check := within(op, p, PollSkip, IntPollSkip)
		if p.sought && t.sought[p.next] {
			check = EarliestUnreadable
		}
		t.find(check, offset, c.value, []*Op{op, t.op(c.first)}, "a consumer that is to be given %d next is given %d, but there is a record at %d",
			p.next, to.Offset, offset)
		return
	}
	if t.sparse {
		return
	}
	t.find(OffsetGap, from, to.Value, []*Op{op}, "nobody knows of a record from %d up to %d", from, to.Offset-1)
}
