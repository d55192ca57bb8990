package history

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// fact is something that was so at a time, and after it: a number that only grows was at least so high.
type fact struct {
	at    time.Duration
	bound int64
	op    *Op
}

// facts are bounds of one number. Once sorted, each has the highest bound of all up to it.
type facts []fact

func (f *facts) add(op *Op, bound int64) { *f = append(*f, fact{op.Complete, bound, op}) }

func (f facts) sort() {
	slices.SortFunc(f, func(a, b fact) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(f); i++ {
		if f[i-1].bound > f[i].bound {
			f[i].bound, f[i].op = f[i-1].bound, f[i-1].op
		}
	}
}

// before returns the highest bound that was known before a time.
func (f facts) before(at time.Duration) (fact, bool) {
	i, _ := slices.BinarySearchFunc(f, at, func(f fact, at time.Duration) int { return cmp.Compare(f.at, at) })
	if i == 0 {
		return fact{bound: Nowhere}, false
	}
	return f[i-1], true
}

// known is what was known of one partition, and since when.
type known struct {
	acks, reads, marks facts // each bounds the high watermark
	committed, stables facts // each bounds the last stable offset
	starts             facts
	epochs             facts
	times              timeline
}

// end is how high the high watermark was before a time, at least.
func (k *known) end(at time.Duration) int64 {
	end := int64(0)
	for _, f := range []facts{k.acks, k.reads, k.marks} {
		b, _ := f.before(at)
		end = max(end, b.bound)
	}
	return end
}

// clock checks that what only grows never goes back, as the clients' clocks have it, and that answers are not behind what
// was known before they were asked for.
func (t *trail) clock() {
	k := &known{}
	asked := false
	for _, i := range t.ops {
		op := &t.h.Ops[i]
		if op.Outcome != OK && op.Outcome != OutOfRange {
			continue
		}
		switch op.Kind {
		case Send:
			k.acks.add(op, op.Offset+1)
		case Poll:
			if n := len(op.Records); n > 0 {
				k.reads.add(op, op.Records[n-1].Offset+1)
				if op.Committed {
					k.committed.add(op, op.Records[n-1].Offset+1)
				}
			}
			k.marks.add(op, op.HighWatermark)
			k.stables.add(op, op.LastStable)
			k.starts.add(op, op.LogStart)
		case Latest:
			k.marks.add(op, op.Offset) // which the last stable offset is not above
			if op.Committed {
				k.stables.add(op, op.Offset)
			}
			k.epochs.add(op, int64(op.Epoch))
		case Earliest:
			k.starts.add(op, op.Offset)
		case ForTime:
			asked = true
		}
	}
	for _, f := range []facts{k.acks, k.reads, k.marks, k.committed, k.stables, k.starts, k.epochs} {
		f.sort()
	}
	if asked {
		k.times = t.timeline()
	}
	for _, i := range t.ops {
		op := &t.h.Ops[i]
		switch {
		case op.Kind == Poll && (op.Outcome == OK || op.Outcome == OutOfRange):
			t.answer(k, op)
		case op.Outcome != OK:
		case op.Kind == Latest:
			if op.Committed {
				t.stable(k, op, op.Offset)
			} else {
				t.endAtLeast(k, op, op.Offset)
			}
			if f, any := k.epochs.before(op.Invoke); any && op.Epoch != Nowhere && int64(op.Epoch) < f.bound {
				t.find(EpochBack, op.Offset, 0, []*Op{f.op, op}, "the leader epoch is %d, and it was %d", op.Epoch, f.bound)
			}
		case op.Kind == Earliest:
			t.startAtLeast(k, op, op.Offset)
		case op.Kind == ForTime:
			t.forTime(k, op)
		}
	}
}

// answer checks what the answer to a fetch says of the log.
func (t *trail) answer(k *known, op *Op) {
	if op.HighWatermark != Nowhere {
		t.endAtLeast(k, op, op.HighWatermark)
	}
	if op.LastStable != Nowhere {
		t.stable(k, op, op.LastStable)
	}
	if op.LogStart != Nowhere {
		t.startAtLeast(k, op, op.LogStart)
		if op.HighWatermark != Nowhere && op.LogStart > op.HighWatermark {
			t.find(LogStartAboveEnd, op.LogStart, 0, []*Op{op}, "the log starts at %d, and the high watermark is %d", op.LogStart, op.HighWatermark)
		}
	}
	if op.Offset == Nowhere || op.Offset < t.maxStart {
		return
	}
	end := k.end(op.Invoke)
	switch {
	case op.Outcome == OutOfRange && op.Offset <= end:
		t.find(WronglyOutOfRange, op.Offset, 0, []*Op{op}, "offset %d is refused, and the log has at least the offsets from %d up to %d", op.Offset, t.maxStart, end)
	case t.sparse && (op.Committed || t.log.get(op.Offset) == nil): // control records, or what is not committed
	case op.Outcome == OK && len(op.Records) == 0 && op.Offset < end:
		t.find(EmptyBelowEnd, op.Offset, 0, []*Op{op}, "there is nothing at %d, and the high watermark was %d before", op.Offset, end)
	}
}

// endAtLeast holds a high watermark against what was known before it was asked for.
func (t *trail) endAtLeast(k *known, op *Op, mark int64) {
	for _, c := range []struct {
		facts facts
		check Name
		what  string
	}{
		{k.acks, EndBelowAck, "a record was acknowledged below"},
		{k.reads, EndBelowRead, "a record was read below"},
		{k.marks, HighWatermarkBack, "it was"},
	} {
		f, any := c.facts.before(op.Invoke)
		if !any || f.bound <= mark {
			continue
		}
		if op.Kind == Latest && mark <= 0 {
			c.check = SpuriousZero
		}
		t.find(c.check, mark, 0, []*Op{f.op, op}, "the high watermark is %d, and before %s %d", mark, c.what, f.bound)
		return
	}
}

// startAtLeast holds a log start against what was known before it was asked for.
func (t *trail) startAtLeast(k *known, op *Op, start int64) {
	f, any := k.starts.before(op.Invoke)
	if !any || f.bound <= start {
		return
	}
	check := LogStartBack
	if op.Kind == Earliest && start <= 0 {
		check = SpuriousZero
	}
	t.find(check, start, 0, []*Op{f.op, op}, "the log starts at %d, and it started at %d before", start, f.bound)
}

// timeline is the times of all records that were read, by offset.
type timeline struct {
	offsets []int64
	times   []int64
	highest []int64 // of all times so far
}

func (t *trail) timeline() (l timeline) {
	highest := int64(math.MinInt64)
	for offset, c := range t.log.between(0, math.MaxInt64) {
		if c.poll != 0 {
			highest = max(highest, c.time)
			l.offsets, l.times, l.highest = append(l.offsets, offset), append(l.times, c.time), append(l.highest, highest)
		}
	}
	return l
}

// first returns the first offset from a start on whose record is not older than a time; a very high one if there is none.
func (l *timeline) first(start, at int64) int64 {
	i, _ := slices.BinarySearch(l.highest, at) // nothing before it can do
	from, _ := slices.BinarySearch(l.offsets, start)
	for i = max(i, from); i < len(l.times); i++ {
		if l.times[i] >= at {
			return l.offsets[i]
		}
	}
	return math.MaxInt64
}

// forTime checks an answer to ListOffsets by time. The log may have started anywhere between where it was known to start
// before, and where it started in the end.
func (t *trail) forTime(k *known, op *Op) {
	start, _ := k.starts.before(op.Invoke)
	due := k.times.first(t.maxStart, op.Time) // the answer may not be behind it
	must := due < k.end(op.Invoke)
	switch c := t.log.get(op.Offset); {
	case op.Offset == Nowhere && must:
		t.find(WrongForTime, due, 0, []*Op{op}, "it is said that there is no record since %d, and there is one at %d", op.Time, due)
	case op.Offset == Nowhere:
	case op.Offset < start.bound:
		t.find(WrongForTime, op.Offset, 0, []*Op{start.op, op}, "the answer is %d, and the log starts at %d", op.Offset, start.bound)
	case c != nil && c.poll != 0 && c.time < op.Time:
		t.find(WrongForTime, op.Offset, c.value, []*Op{op, t.op(c.poll)}, "the answer is %d, and the record there is older than %d", op.Offset, op.Time)
	case must && op.Offset > due:
		t.find(WrongForTime, due, 0, []*Op{op}, "the answer is %d, and there is a record since %d at %d", op.Offset, op.Time, due)
	}
}
