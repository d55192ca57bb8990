package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"segue/storage/record"
)

// memLog is a Log in memory. By itself it commits what it is given at once; with held set it waits for commit.
type memLog struct {
	events   *Events
	appended chan record.Offset // where each append ended, if not nil

	mu        sync.Mutex // guards what follows
	batches   []record.Batch
	start     record.Offset
	committed record.Offset
	held      bool
	refuse    func(record.Batch) error // an append that it has an error for fails with that and writes nothing
	closed    bool
}

func newMemLog() *memLog { return &memLog{events: NewEvents()} }

var errMemClosed = errors.New("memory log is closed")

func (l *memLog) end() record.Offset {
	if len(l.batches) == 0 {
		return l.start
	}
	return l.batches[len(l.batches)-1].NextOffset()
}

func (l *memLog) Append(_ context.Context, epoch int32, batches ...record.Batch) (base, next record.Offset, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, 0, errMemClosed
	}
	base = l.end()
	for _, b := range batches {
		if l.refuse != nil {
			if err := l.refuse(b); err != nil {
				return base, l.end(), err
			}
		}
		b = record.Batch{Header: bytes.Clone(b.Bytes())}
		b.SetBaseOffset(l.end())
		b.SetLeaderEpoch(epoch)
		l.batches = append(l.batches, b)
	}
	if !l.held {
		l.committed = l.end()
		l.events.Committed(l.committed)
	}
	if l.appended != nil {
		l.appended <- l.end()
	}
	return base, l.end(), nil
}

func (l *memLog) Read(_ context.Context, from, to record.Offset, maxBytes int, atLeastOne bool) (record.Chunk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []byte
	for _, b := range l.batches {
		if b.LastOffset() < from || b.NextOffset() > to {
			continue
		}
		if len(found)+len(b.Bytes()) > maxBytes && !(atLeastOne && len(found) == 0) {
			break
		}
		found = append(found, b.Bytes()...)
	}
	return record.NewChunk(bytes.NewReader(found), 0, len(found), nil, nil), nil
}

func (l *memLog) Bounds() (start, committed, end record.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start, l.committed, l.end()
}

func (l *memLog) DeleteBefore(_ context.Context, start record.Offset) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if start > l.committed {
		return fmt.Errorf("delete before %d, which is not committed", start)
	}
	for len(l.batches) > 0 && l.batches[0].LastOffset() < start {
		l.batches = l.batches[1:]
	}
	l.start = max(l.start, start)
	return nil
}

// refuseAll is a refuse that takes nothing.
func refuseAll(err error) func(record.Batch) error {
	return func(record.Batch) error { return err }
}

// Close commits what is there, as a log on disk does, unless it refuses to.
func (l *memLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && l.refuse == nil {
		l.committed = l.end()
		l.events.Committed(l.committed)
	}
	l.closed = true
	return nil
}

// commit lets the log catch up to an offset.
func (l *memLog) commit(to record.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.committed = max(l.committed, to)
	l.events.Committed(l.committed)
}

func (l *memLog) set(change func(*memLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// after returns the log as it might be found after a crash: everything that was committed and the first n batches
// of what was not.
func (l *memLog) after(n int) *memLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	crashed := newMemLog()
	crashed.start = l.start
	for _, b := range l.batches {
		if b.NextOffset() > l.committed {
			if n--; n < 0 {
				break
			}
		}
		crashed.batches = append(crashed.batches, record.Batch{Header: bytes.Clone(b.Bytes())})
	}
	crashed.committed = crashed.end()
	return crashed
}

// uncommitted counts the batches that are appended and not committed.
func (l *memLog) uncommitted() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		if b.NextOffset() > l.committed {
			n++
		}
	}
	return n
}

func open(t testing.TB, log *memLog, options Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), log, log.events, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
