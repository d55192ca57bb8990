package group

import (
	"container/heap"
	"time"
)

// expirer is what owns a timer. expire is called when its time has come; the timer is not set any more then.
type expirer interface {
	expire(m *Machine)
}

// timer is one appointment with the clock. The zero value is not set.
type timer struct {
	at    int64 // nanoseconds since the machine began: durations follow the monotonic clock, which wall time does not
	slot  int   // its place in the heap plus one; 0 when it is not set
	owner expirer
}

// timers are all timers that are set, the earliest first.
type timers struct{ heap timerHeap }

// set makes t's time at, whether it was set before or not.
func (ts *timers) set(t *timer, owner expirer, at int64) {
	t.at, t.owner = at, owner
	if t.slot == 0 {
		heap.Push(&ts.heap, t)
		return
	}
	heap.Fix(&ts.heap, t.slot-1)
}

// stop makes t not set.
func (ts *timers) stop(t *timer) {
	if t.slot != 0 {
		heap.Remove(&ts.heap, t.slot-1)
	}
}

// first returns the timer that is due first; nil if none is set.
func (ts *timers) first() *timer {
	if len(ts.heap) == 0 {
		return nil
	}
	return ts.heap[0]
}

// timerHeap implements heap.Interface. Each timer knows its place, so that a heartbeat moves one in logarithmic time.
type timerHeap []*timer

// Len implements heap.Interface.
func (h timerHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }

// Swap implements heap.Interface.
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.slot = len(*h) + 1
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.slot = 0
	return t
}

// millis32 is a timeout that requests and records carry as a number.
func millis32(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }
