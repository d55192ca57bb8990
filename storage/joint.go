package storage

import (
	"sync"
	"sync/atomic"

	"segue/storage/vfs"
)

// joint syncs the side files of many logs at once: checkpoints and closed indexes, of which a stop writes as many as there
// are logs. Callers who wait together share one bulk sync; a few sync each for himself. It is safe for concurrent use.
//
// Its bulk syncs are of its own, apart from the flusher's: the kernel reports a failed write-back to each of them.
type joint struct {
	bulk    vfs.Syncer // nil where the file system has no bulk sync that can be trusted
	min     int64      // callers from which on they share
	callers atomic.Int64
	// doubt is how many bulk syncs have failed. Each says that something was lost that was written before, and not what;
	// whoever began to write before it syncs for himself.
	doubt atomic.Uint64
	turn  chan struct{} // is held by who is at a bulk sync: there is one at a time, so that the others see its failure

	mu   sync.Mutex
	next *jointSync // which callers join; nil for none
}

// jointSync is one bulk sync. Its fields are of whoever has the turn.
type jointSync struct {
	done bool
	err  error
}

func newJoint(fsys vfs.FS, path string, least int) *joint {
	j := &joint{min: int64(least), turn: make(chan struct{}, 1)}
	if bulk, ok := fsys.BulkSync(path); ok {
		j.bulk = bulk
	}
	return j
}

// sync makes durable what the caller has written since it found doubt to be so many: by own, or by a sync of everything.
func (j *joint) sync(doubt uint64, own func() error) error {
	defer j.callers.Add(-1)
	if j.callers.Add(1) < j.min || j.bulk == nil {
		return own()
	}
	r := j.join()
	j.turn <- struct{}{}
	if !r.done {
		j.depart(r)
		if r.err = j.bulk.Sync(); r.err != nil {
			j.doubt.Add(1)
		}
		r.done = true
	}
	<-j.turn
	if r.err != nil || j.doubt.Load() != doubt {
		return own()
	}
	return nil
}

// join returns the sync that has not begun.
func (j *joint) join() *jointSync {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next == nil {
		j.next = new(jointSync)
	}
	return j.next
}

// depart lets a sync begin: who comes now is for the next.
func (j *joint) depart(r *jointSync) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next == r {
		j.next = nil
	}
}

// close ends it. Nobody may be at a sync.
func (j *joint) close() error {
	if j.bulk == nil {
		return nil
	}
	return j.bulk.Close()
}
