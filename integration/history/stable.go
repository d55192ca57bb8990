package history

import "sort"

// stable checks what an answer says of the last stable offset: it is no higher than the high watermark and than any
// record of a transaction that was open all the while, and not below what was known before the answer was asked for.
func (t *trail) stable(k *known, op *Op, last int64) {
	if op.Kind == Poll && op.HighWatermark != Nowhere && last > op.HighWatermark {
		t.find(LastStableAboveEnd, last, 0, []*Op{op}, "the last stable offset is %d, and the high watermark is %d", last, op.HighWatermark)
	}
	for _, c := range []struct {
		facts facts
		check Name
		what  string
	}{
		{k.committed, LastStableBelowRead, "a committed record was read below"},
		{k.stables, LastStableBack, "it was"},
	} {
		if f, any := c.facts.before(op.Invoke); any && f.bound > last {
			t.find(c.check, last, 0, []*Op{f.op, op}, "the last stable offset is %d, and before %s %d", last, c.what, f.bound)
			return
		}
	}
	for _, spans := range t.open {
		i := sort.Search(len(spans), func(i int) bool { return spans[i].from >= op.Invoke }) // those before have begun
		if i == 0 {
			continue
		}
		if s := spans[i-1]; op.Complete < s.to && last > s.offset {
			t.find(LastStableAboveOpen, last, 0, []*Op{s.send, op}, "the last stable offset is %d, and transaction %d has a record at %d and is open", last, s.send.Txn, s.offset)
			return
		}
	}
}
