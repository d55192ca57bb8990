package partition

import (
	"context"
	"sync"

	"segue/storage/record"
)

// Waiter is a bell that partitions ring when they have something new: the means of a long poll over many of them. It
// may watch any number of partitions, and be used again after it has rung. One goroutine waits on it; partitions may
// ring it from any.
type Waiter struct {
	c chan struct{}
}

// NewWaiter returns a Waiter that watches nothing yet.
func NewWaiter() *Waiter { return &Waiter{make(chan struct{}, 1)} }

// C is received from once for every time, or several times, that the waiter has rung since.
func (w *Waiter) C() <-chan struct{} { return w.c }

func (w *Waiter) ring() {
	select {
	case w.c <- struct{}{}:
	default: // it has rung already and nobody has looked yet
	}
}

// watch is what one waiter waits for on one partition.
type watch struct {
	waiter   *Waiter
	beyond   record.Offset
	isolated bool // by the last stable offset instead of the high watermark
}

func (x watch) due(o Offsets) bool {
	mark := o.HighWatermark
	if x.isolated {
		mark = o.LastStable
	}
	return mark > x.beyond // as it is when the log start has moved past it
}

// keptWatches is the room for watches that a partition keeps when there are none.
const keptWatches = 256

// waiters are the watches on a partition.
type waiters struct {
	mu      sync.Mutex
	watches []watch // nil while nobody waits
}

// Watch has w ring once, when a record at the offset beyond may be read: when the high watermark (with readCommitted
// the last stable offset) lies above it. It rings at once if that is so already. It also rings when the log start has
// moved above beyond, and when the partition fails or closes while it is watched, or has been closed before. A watch
// that has rung is over; Unwatch ends one that has not.
//
// A partition that has failed before gives readers what was committed and then nothing, for ever: watching it is like
// watching an idle one.
func (p *Partition) Watch(w *Waiter, beyond record.Offset, readCommitted bool) {
	x := watch{w, beyond, readCommitted}
	p.waiters.mu.Lock()
	defer p.waiters.mu.Unlock()
	// Whoever moves a watermark does it before it takes this lock. So either the watch is found then, or the new
	// watermark is seen here.
	if p.closed.Load() || x.due(p.Offsets()) {
		w.ring()
		return
	}
	p.waiters.watches = append(p.waiters.watches, x)
}

// Unwatch ends w's watches on the partition. The waiter may have rung for them already.
func (p *Partition) Unwatch(w *Waiter) {
	p.waiters.mu.Lock()
	defer p.waiters.mu.Unlock()
	p.waiters.drop(func(x watch) bool { return x.waiter == w })
}

// drop removes the watches that gone says are. The order of the others is kept, so that who waits longest is woken
// first.
func (s *waiters) drop(gone func(watch) bool) {
	kept := s.watches[:0]
	for _, x := range s.watches {
		if !gone(x) {
			kept = append(kept, x)
		}
	}
	clear(s.watches[len(kept):])
	s.watches = kept
	if len(kept) == 0 && cap(kept) > keptWatches {
		s.watches = nil
	}
}

// wake rings the watches that are due, or all.
func (p *Partition) wake(all bool) {
	p.waiters.mu.Lock()
	defer p.waiters.mu.Unlock()
	if len(p.waiters.watches) == 0 {
		return // which is so until Open has returned: there may be no log to ask yet
	}
	o := p.Offsets()
	p.waiters.drop(func(x watch) bool {
		if !all && !x.due(o) {
			return false
		}
		x.waiter.ring()
		return true
	})
}

// Await blocks until everything below next is committed. It returns why that will not happen, as Ended does, or the
// context's error.
func (p *Partition) Await(ctx context.Context, next record.Offset) error {
	if p.Offsets().HighWatermark >= next {
		return nil
	}
	w := NewWaiter()
	defer p.Unwatch(w)
	for {
		p.Watch(w, next-1, false)
		if p.Offsets().HighWatermark >= next {
			return nil
		}
		if err := p.Ended(); err != nil {
			return err
		}
		select {
		case <-w.C():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ack is the promise of an append: it says where the batch is, and Wait says when it is safe.
type Ack struct {
	Base record.Offset // of the batch's first record
	Next record.Offset // behind its last one
	// AppendTime is the timestamp that the append gave the records, in Unix milliseconds; -1 under CreateTime. For a
	// retry it is the largest timestamp of the original, whatever the timestamp type, as Kafka has it.
	AppendTime int64
	LogStart   record.Offset // the log start offset at the time of the append
	Duplicate  bool          // the batch was there already: Base and Next are the original's

	partition *Partition
}

// Ready tells whether the batch is committed. It waits for nobody.
func (a Ack) Ready() bool { return a.partition.high.Load() >= int64(a.Next) }

// Wait returns nil once the batch is committed. It returns KAFKA_STORAGE_ERROR if the log has failed before, and
// NOT_LEADER_OR_FOLLOWER if the partition was closed before. The context's end ends the waiting, with the context's
// error, and leaves the batch what it is.
func (a Ack) Wait(ctx context.Context) error {
	if a.Ready() {
		return nil
	}
	return a.partition.Await(ctx, a.Next)
}
