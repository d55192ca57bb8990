package history

import (
	"fmt"
	"time"
)

// transforms checks that what is made of other records is made of each of them once, as far as who wants what is committed
// can see.
func (c *checker) transforms() {
	for _, tr := range c.h.Transforms {
		made := map[Value]Value{} // of which value, which one
		for value, poll := range c.visible {
			send := &c.h.Ops[c.sends[value]]
			if send.Source == 0 || c.h.Partitions[send.Partition].Topic != tr.To {
				continue
			}
			if other, twice := made[send.Source]; twice {
				first, second := min(value, other), max(value, other)
				c.report.add(Finding{
					Check: TransformedTwice, Partition: c.h.Partitions[send.Partition], Values: []Value{send.Source, first, second},
					Text: fmt.Sprintf("of %#x there are %#x and %#x", uint64(send.Source), uint64(first), uint64(second)),
				}, &c.h.Ops[c.sends[first]], &c.h.Ops[c.sends[second]], c.visible[other], poll)
				continue
			}
			made[send.Source] = value
		}
		c.untransformed(tr, made)
	}
}

// untransformed looks for records of which nothing was made, among those that were read before the result was drained for
// the last time.
func (c *checker) untransformed(tr Transform, made map[Value]Value) {
	end := c.drained(tr.To)
	for value, poll := range c.visible {
		send := &c.h.Ops[c.sends[value]]
		if _, ok := made[value]; ok || c.h.Partitions[send.Partition].Topic != tr.From || poll.Complete > end {
			continue
		}
		c.report.add(Finding{
			Check: NotTransformed, Partition: c.h.Partitions[send.Partition], Values: []Value{value},
			Text: fmt.Sprintf("of %#x there is nothing in %s", uint64(value), tr.To),
		}, send, poll)
	}
}

// drained returns when the last drains of what is committed in a topic began, the first of its partitions' last ones; -1 if
// there is a partition without one.
func (c *checker) drained(topic string) time.Duration {
	last := map[int32]time.Duration{}
	for i := range c.h.Ops {
		if op := &c.h.Ops[i]; op.Kind == Drain && op.Outcome == OK && op.Committed {
			last[op.Partition] = max(last[op.Partition], op.Invoke)
		}
	}
	first := Never
	for p, partition := range c.h.Partitions {
		if partition.Topic != topic {
			continue
		}
		at, any := last[int32(p)]
		if !any {
			return Nowhere
		}
		first = min(first, at)
	}
	return first
}
