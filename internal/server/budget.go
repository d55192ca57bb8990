package server

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// budget is a number of bytes that connections reserve from, first come, first served: a large claim is not
// overtaken for ever by small ones. Safe for concurrent use.
type budget struct {
	size    int64
	waiters atomic.Int64 // len of queue, for those who only want to know whether there are any

	mu    sync.Mutex // guards the fields below
	used  int64
	queue list.List // of *claim, not granted yet
}

// claim is a reservation, waiting or granted.
type claim struct {
	bytes   int64
	granted chan struct{} // closed when granted; nil if that was at once
	place   *list.Element // in the queue; nil when granted. Guarded by budget.mu
}

func newBudget(size int64) *budget { return &budget{size: size} }

// claim asks for n bytes; more than the whole budget counts as the whole. The caller waits for granted, if there is
// such a channel, and in any case calls release.
func (b *budget) claim(n int64) *claim {
	c := &claim{bytes: min(n, b.size)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queue.Len() == 0 && b.used+c.bytes <= b.size {
		b.used += c.bytes
		return c
	}
	c.granted = make(chan struct{})
	c.place = b.queue.PushBack(c)
	b.waiters.Add(1)
	return c
}

// release gives the bytes back, or withdraws the claim if it still waits.
func (b *budget) release(c *claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.place != nil {
		b.dequeue(c)
	} else {
		b.used -= c.bytes
	}
	b.grant()
}

// grant serves the head of the queue as long as there is room. The caller holds mu.
func (b *budget) grant() {
	for e := b.queue.Front(); e != nil; e = b.queue.Front() {
		c := e.Value.(*claim)
		if b.used+c.bytes > b.size {
			return
		}
		b.dequeue(c)
		b.used += c.bytes
		close(c.granted)
	}
}

func (b *budget) dequeue(c *claim) {
	b.queue.Remove(c.place)
	c.place = nil
	b.waiters.Add(-1)
}

// contended tells whether anyone waits.
func (b *budget) contended() bool { return b.waiters.Load() > 0 }

func (b *budget) state() (used int64, waiting int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used, b.queue.Len()
}
