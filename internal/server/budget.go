package server

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"
)

// budget is a number of bytes that connections reserve from, first come, first served: a large claim is not
// overtaken for ever by small ones. Safe for concurrent use.
type budget struct {
	size    int64
	waiters atomic.Int64 // len of queue, for those who only want to know whether there are any

	mu    sync.Mutex // guards the fields below
	used  int64
	queue list.List // of *claim, not granted yet
	held  list.List // of *claim, granted and not released
}

// claim is a reservation, waiting or granted.
type claim struct {
	budget  *budget
	holder  *conn // who is closed when it is held for too long; nil where that is seen to otherwise
	bytes   int64
	granted chan struct{} // closed when granted; nil if that was at once
	waits   bool          // it is in the queue. Guarded by budget.mu, like the rest
	place   *list.Element // in the queue, or in held
	since   time.Time     // when it was granted
}

func newBudget(size int64) *budget { return &budget{size: size} }

// claim asks for n bytes; more than the whole budget counts as the whole. The caller waits for granted, if there is
// such a channel, and in any case calls release.
func (b *budget) claim(n int64, holder *conn) *claim {
	c := &claim{budget: b, holder: holder, bytes: min(n, b.size)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queue.Len() == 0 && b.used+c.bytes <= b.size {
		b.give(c)
		return c
	}
	c.granted = make(chan struct{})
	c.waits, c.place = true, b.queue.PushBack(c)
	b.waiters.Add(1)
	return c
}

// claimAtOnce returns a granted claim of n bytes, which somebody else sees to that nobody holds for too long, if half of the
// budget and more is free and nobody waits; else nil.
func (b *budget) claimAtOnce(n int64) *claim {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queue.Len() > 0 || b.used+n > b.size/2 {
		return nil
	}
	c := &claim{budget: b, bytes: n}
	b.give(c)
	return c
}

// give makes c a claim that is held. The caller holds mu.
func (b *budget) give(c *claim) {
	b.used += c.bytes
	c.waits, c.place, c.since = false, b.held.PushBack(c), time.Now()
}

// keep gives a part of a granted claim back, down to n bytes, and begins to count the time that holder keeps the rest.
// Growing is not possible: who waits for more while he holds some may wait for ever.
func (c *claim) keep(n int64, holder *conn) {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, c.bytes)
	b.used -= c.bytes - n
	c.bytes, c.holder, c.since = n, holder, time.Now()
	b.grant()
}

// release gives the bytes back, or withdraws the claim if it still waits. A nil claim is none.
func (c *claim) release() {
	if c == nil {
		return
	}
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.waits {
		b.dequeue(c)
	} else {
		b.used -= c.bytes
		b.held.Remove(c.place)
	}
	b.grant()
}

// isGranted tells whether the bytes are the claim's.
func (c *claim) isGranted() bool {
	if c.granted == nil {
		return true
	}
	select {
	case <-c.granted:
		return true
	default:
		return false
	}
}

// grant serves the head of the queue as long as there is room. The caller holds mu.
func (b *budget) grant() {
	for e := b.queue.Front(); e != nil; e = b.queue.Front() {
		c := e.Value.(*claim)
		if b.used+c.bytes > b.size {
			return
		}
		b.dequeue(c)
		b.give(c)
		close(c.granted)
	}
}

func (b *budget) dequeue(c *claim) {
	b.queue.Remove(c.place)
	b.waiters.Add(-1)
}

// overdue returns who has held a claim for longer than holdGrace and the time that its bytes take at minPace. It is for
// the claim that waits, which has to be the first in line: one that looks is enough.
func (b *budget) overdue(waiting *claim) (holders []*conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if front := b.queue.Front(); front == nil || front.Value.(*claim) != waiting {
		return nil
	}
	for e := b.held.Front(); e != nil; e = e.Next() {
		c := e.Value.(*claim)
		due := holdGrace + time.Duration(float64(c.bytes)/minPace*float64(time.Second))
		if c.holder != nil && time.Since(c.since) > due {
			holders = append(holders, c.holder)
		}
	}
	return holders
}

// evict closes those who hold for too long what c waits for.
func (c *claim) evict() {
	for _, holder := range c.budget.overdue(c) {
		holder.report(errHeld)
		holder.abort(errHeld)
	}
}

// contended tells whether anyone waits.
func (b *budget) contended() bool { return b.waiters.Load() > 0 }

func (b *budget) state() (used int64, waiting int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used, b.queue.Len()
}

func (b *budget) stats() MemoryStats {
	used, waiting := b.state()
	return MemoryStats{Budget: b.size, Used: used, Waiting: waiting}
}
