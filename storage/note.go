package storage

import (
	"errors"
	"sync"
	"time"
)

// noteEvery is how long after a bulk sync the indexes note it, at the latest but for what the scheduler adds. A note makes a
// page of the index dirty, and where one sync covers many logs each such page costs as much as the data that it tells of.
const noteEvery = time.Second

// note is how far a log is synced and its index does not say so yet.
type note struct {
	mu sync.Mutex // held over the store into mapped memory too, so that none comes after set
	to mark       // the zero mark if nothing is owed
}

// set replaces what is owed and says whether nothing was.
func (n *note) set(to mark) (first bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	first = n.to.segment == nil
	n.to = to
	return first
}

// noteSynced has the index of the hot segment say how far it is synced, if it does not yet. It is a hint for the next
// open, so its failure is no failure of the log.
func (l *Log) noteSynced() {
	l.owed.mu.Lock()
	defer l.owed.mu.Unlock()
	to := l.owed.to
	l.owed.to = mark{}
	if to.segment == nil {
		return
	}
	if err := to.segment.idx.Load().noteSynced(to.position, to.offset); err != nil && !errors.Is(err, ErrClosed) {
		l.dir.log.Warn().Err(err).Str("partition", l.id.String()).Msg("synced end not noted in the index")
	}
}

// noteLater has a log's synced end noted with those of all that are owed by then.
func (f *flusher) noteLater(l *Log) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.owing = append(f.owing, l)
	switch {
	case len(f.owing) > 1 || f.closed:
	case f.noting == nil:
		f.noting = time.AfterFunc(noteEvery, f.noteAll)
	default:
		f.noting.Reset(noteEvery)
	}
}

// noteAll notes what is owed.
func (f *flusher) noteAll() {
	f.mu.Lock()
	owing := f.owing
	f.owing = nil
	if f.closed {
		f.mu.Unlock()
		return
	}
	f.idle.Add(1)
	f.mu.Unlock()
	defer f.idle.Done()
	for _, l := range owing {
		l.noteSynced()
	}
}
