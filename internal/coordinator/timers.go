package coordinator

import (
	"container/heap"
	"iter"
	"slices"
)

// Timer is one appointment of a machine with the clock: its owner, an O, is due at a time. The zero value is not set.
type Timer[O any] struct {
	at    int64 // nanoseconds since the machine began: durations follow the monotonic clock, which wall time does not
	slot  int   // its place in the heap plus one; 0 when it is not set
	owner O
}

// IsSet says whether the timer is set.
func (t *Timer[O]) IsSet() bool { return t.slot != 0 }

// At is when the timer is due, in nanoseconds since the machine began, if it is set.
func (t *Timer[O]) At() int64 { return t.at }

// Owner is what is due, if the timer is set.
func (t *Timer[O]) Owner() O { return t.owner }

// Timers are all timers of a machine that are set, the earliest first. They start nothing and wait for nothing: the machine
// asks for the first one's time to be its deadline.
type Timers[O any] struct{ heap timerHeap[O] }

// Set makes t's time at, whether it was set before or not.
func (ts *Timers[O]) Set(t *Timer[O], owner O, at int64) {
	t.at, t.owner = at, owner
	if t.slot == 0 {
		heap.Push(&ts.heap, t)
		return
	}
	heap.Fix(&ts.heap, t.slot-1)
}

// Stop makes t not set.
func (ts *Timers[O]) Stop(t *Timer[O]) {
	if t.slot != 0 {
		heap.Remove(&ts.heap, t.slot-1)
	}
}

// First returns the timer that is due first; nil if none is set.
func (ts *Timers[O]) First() *Timer[O] {
	if len(ts.heap) == 0 {
		return nil
	}
	return ts.heap[0]
}

// All returns those that are set, in no order.
func (ts *Timers[O]) All() iter.Seq[*Timer[O]] { return slices.Values(ts.heap) }

// timerHeap implements heap.Interface. Each timer knows its place, so that a heartbeat moves one in logarithmic time.
type timerHeap[O any] []*Timer[O]

// Len implements heap.Interface.
func (h timerHeap[O]) Len() int { return len(h) }

// Less implements heap.Interface.
func (h timerHeap[O]) Less(i, j int) bool { return h[i].at < h[j].at }

// Swap implements heap.Interface.
func (h timerHeap[O]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}

// Push implements heap.Interface.
func (h *timerHeap[O]) Push(x any) {
	t := x.(*Timer[O])
	t.slot = len(*h) + 1
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *timerHeap[O]) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.slot = 0
	return t
}
