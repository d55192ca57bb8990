package storage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// This file holds a log's side of flushing: what has been written and not yet synced, and how the watermarks rise.
// The flusher decides when a sync happens and on which goroutine.

// wrote notes that a batch of that many records now ends at to, and asks for the sync that the flush policy wants.
// The data file is pinned once for the call, so that its handle was not closed since the write. Doubt is what the
// flusher's was before the write. The caller holds writer, so marks come in order.
func (l *Log) wrote(to mark, records int64, doubt uint64, c *Config) {
	l.mu.Lock()
	l.written = to
	l.records += records
	if l.unsure {
		l.unsure = false
		l.newDirs = append(l.newDirs, l.folder, l.dir.path)
	}
	l.hot.cut = false
	l.dirtyLocked(to.segment, doubt)
	if c.FlushMessages > 1 && l.failure == nil {
		l.commit = to
	}
	due := l.records >= c.FlushMessages
	if !due && !l.armed {
		l.armed = true
		if l.timer == nil {
			l.timer = time.AfterFunc(c.FlushInterval, func() { l.dir.flusher.request(l) })
		} else {
			l.timer.Reset(c.FlushInterval)
		}
	}
	l.mu.Unlock()
	if due {
		l.dir.flusher.request(l)
	}
}

// dirtyLocked notes that a segment needs a sync, and takes over one pin of its data file.
func (l *Log) dirtyLocked(s *Segment, doubt uint64) {
	switch n := len(l.dirty); {
	case n > 0 && l.dirty[n-1] == s:
		s.file.unpin()
		return
	case n == 0:
		l.doubt = doubt
	}
	l.dirty = append(l.dirty, s)
}

// noteCut notes that what a failed write had left of a batch was cut off the hot segment, if that is so. The next sync
// has to cover that: were the rest to come back with a power cut, a later segment would make it look like damage. The
// caller holds writer.
func (l *Log) noteCut(doubt uint64) {
	if l.hot == nil || !l.hot.cut {
		return
	}
	if _, err := l.hot.file.pin(); err != nil {
		return // the next write or roll tries again
	}
	l.hot.cut = false
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirtyLocked(l.hot.Segment, doubt)
}

// flushJob is what one sync of a log covers.
type flushJob struct {
	number uint64 // jobs of a log are numbered as they begin, one after the other
	to     mark
	dirs   []string
	files  []*Segment
	sealed []*Segment
	doubt  uint64 // the flusher's before the first write that is covered
}

// beginFlush takes everything that has been written and not been synced. ok is false if that is nothing, or if the
// log has failed.
func (l *Log) beginFlush() (job flushJob, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.armed {
		l.timer.Stop()
		l.armed = false
	}
	if l.failure != nil || !l.pendingLocked() {
		return flushJob{}, false
	}
	l.begun++
	l.inFlush = true
	job = flushJob{number: l.begun, to: l.written, dirs: l.newDirs, files: l.dirty, sealed: l.sealed, doubt: l.doubt}
	l.newDirs, l.dirty, l.sealed, l.records = nil, nil, nil, 0
	return job, true
}

// pendingLocked says whether anything waits for a sync to begin.
func (l *Log) pendingLocked() bool { return len(l.dirty)+len(l.newDirs)+len(l.sealed) > 0 }

// sync makes what the job covers durable, file by file: the data first, then the names that lead to it.
func (j flushJob) sync(d *Dir) error {
	for _, s := range j.files {
		f, err := s.file.pin()
		if err != nil {
			return err
		}
		err = f.Sync()
		s.file.unpin()
		if err != nil {
			return err
		}
	}
	for _, dir := range j.dirs {
		if err := d.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// raise raises the watermarks over what a job has made durable, or makes its failure stick, and tells Events.
func (l *Log) raise(job flushJob, err error) {
	for _, s := range job.files {
		s.file.unpin()
	}
	l.mu.Lock()
	if err != nil {
		l.failLocked(fmt.Errorf("sync: %w", err))
	} else if l.failure == nil {
		if job.to.segment != nil {
			job.to.segment.named.Store(true)
		}
		l.synced = job.to
		if l.synced.offset > l.commit.offset || l.commit.segment == nil {
			l.commit = l.synced
		}
	}
	l.mu.Unlock()
	l.deliver()
}

// endFlush does the rest after raise, which nobody who waits for an acknowledgement need wait for.
func (l *Log) endFlush(job flushJob, err error, bulk bool) {
	if err == nil {
		l.afterSync(job, bulk)
	}
	for _, s := range job.sealed {
		s.release()
	}
	l.mu.Lock()
	l.inFlush = false
	l.wakeLocked(job.number)
	l.mu.Unlock()
}

// afterSync does what may only be done once the data is durable: it closes the indexes of sealed segments and has how
// far the hot one is synced noted, at once or, after a bulk sync, soon. Both are hints for the next open, so their failure
// is no failure of the log.
func (l *Log) afterSync(job flushJob, bulk bool) {
	if len(job.sealed) > 0 {
		l.owed.set(mark{}) // a closed index says it
	}
	for _, s := range job.sealed {
		s.durable.Store(true)
		x := s.idx.Load()
		if x.odd.Load() {
			continue // made again when it is next used
		}
		next, adjacent := l.after(s)
		if !adjacent || len(s.holes()) > 0 {
			continue // dropped meanwhile; or damaged, which every open has to find again
		}
		if err := x.close(s.size.Load(), s.maxTime.Load(), next.base); err != nil && !errors.Is(err, ErrClosed) {
			l.dir.log.Warn().Err(err).Str("partition", l.id.String()).Msg("index of a sealed segment not closed; it will be made again")
		}
	}
	if job.to.segment == nil {
		return
	}
	first := l.owed.set(job.to)
	if !bulk {
		l.noteSynced()
	} else if first {
		l.dir.flusher.noteLater(l)
	}
}

// failLocked makes the log read-only for good, with the first cause.
func (l *Log) failLocked(cause error) {
	if l.failure != nil || l.closed {
		return
	}
	l.failure = cause
	l.dir.counters.failedLogs.Add(1)
	l.dir.log.Error().Err(cause).Str("partition", l.id.String()).
		Msg("log has failed and takes no more writes until the broker is restarted; what was committed can be read")
}

// sync waits until everything that has been written so far, files and names, is durable, and asks for it.
func (l *Log) sync(ctx context.Context) error {
	l.mu.Lock()
	if l.failure == nil && !l.pendingLocked() && !l.inFlush {
		l.mu.Unlock()
		return nil
	}
	w := syncWaiter{job: l.begun, done: make(chan error, 1)}
	if l.pendingLocked() {
		w.job++
	}
	l.waiting = append(l.waiting, w)
	l.wakeLocked(0)
	l.mu.Unlock()
	l.dir.flusher.request(l)
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wakeLocked answers those who wait for a job up to that number, and everybody once the log has failed.
func (l *Log) wakeLocked(number uint64) {
	left := l.waiting[:0]
	for _, w := range l.waiting {
		switch {
		case l.failure != nil:
			w.done <- fmt.Errorf("%s: %w: %w", l.id, ErrFailed, l.failure)
		case w.job <= number:
			w.done <- nil
		default:
			left = append(left, w)
		}
	}
	clear(l.waiting[len(left):])
	l.waiting = left
}

// quiet ends a delivery; the caller holds mu.
func (l *Log) quiet() {
	l.delivering = false
	l.delivered.Broadcast()
}

// deliver tells Events what it does not know yet. Whoever finds news delivers them, one goroutine at a time, so
// they come in order and under no lock.
func (l *Log) deliver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delivering {
		return
	}
	l.delivering = true
	for {
		switch {
		case l.closed: // nobody listens any more
			l.quiet()
			return
		case l.commit.offset > l.announced:
			next := l.commit.offset
			l.announced = next
			l.mu.Unlock()
			l.events.Committed(next)
		case l.failure != nil && !l.told:
			cause := l.failure
			l.told = true
			l.mu.Unlock()
			l.events.Failed(cause)
		default:
			l.quiet()
			return
		}
		l.mu.Lock()
	}
}
