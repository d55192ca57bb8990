package local

import (
	"sync/atomic"

	"segue/storage/record"
)

// Events is the Store's ear on its log: it is made first, handed to whoever opens the log (it is a storage.Events),
// and then to Open together with the log. Its methods never block and may be called from any goroutine.
type Events struct {
	committed atomic.Int64 // the offset below which everything is committed
	failure   atomic.Pointer[failure]
	changed   chan struct{} // holds a token if one of the two changed since it was last taken
}

type failure struct{ cause error }

// NewEvents returns Events for one log.
func NewEvents() *Events { return &Events{changed: make(chan struct{}, 1)} }

// Committed notes that every record below next is committed.
func (e *Events) Committed(next record.Offset) {
	for {
		before := e.committed.Load()
		if int64(next) <= before {
			return
		}
		if e.committed.CompareAndSwap(before, int64(next)) {
			e.signal()
			return
		}
	}
}

// Failed notes that the log has failed for good. The first cause counts.
func (e *Events) Failed(cause error) {
	if e.failure.CompareAndSwap(nil, &failure{cause}) {
		e.signal()
	}
}

func (e *Events) signal() {
	select {
	case e.changed <- struct{}{}:
	default: // the token that is there stands for this change too
	}
}

// state returns how far the log is committed and why it has failed, if it has.
func (e *Events) state() (committed record.Offset, failed error) {
	if f := e.failure.Load(); f != nil {
		failed = f.cause
	}
	return record.Offset(e.committed.Load()), failed
}
