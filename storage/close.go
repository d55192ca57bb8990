package storage

import (
	"context"
	"errors"
	"fmt"

	"segue/storage/record"
)

// Close syncs what was written, closes the hot segment's index, leaves a checkpoint that spares the next open the
// scan, and lets go of every handle. The log is closed whatever it returns, which is what went wrong on the way. A
// chunk that a read has handed out stays readable until it is released. Of two callers the second one waits for the
// first and is told nothing.
func (l *Log) Close() error {
	if !l.stopWriting() {
		<-l.done
		return nil
	}
	l.endCompaction()
	ctx := context.Background()
	end := record.Offset(l.end.Load())
	err := l.sync(ctx)
	l.noteSynced()
	l.takeTurn(ctx)
	defer l.giveTurn()
	if err == nil {
		// Without a checkpoint the next open reads more; that is no reason to call the end of a log unclean whose disk
		// is full, or that closes beside others who hold the last descriptors.
		if err = l.closeHot(end); IsFull(err) || isOutOfDescriptors(err) {
			err = nil
		}
	}
	l.letGo()
	if err != nil {
		return fmt.Errorf("close %s: %w", l.id, err)
	}
	return nil
}

// abandon closes the log without making anything durable, because its folder is about to go.
func (l *Log) abandon() {
	if !l.stopWriting() {
		<-l.done
		return
	}
	l.endCompaction()
	l.takeTurn(context.Background())
	defer l.giveTurn()
	l.letGo()
}

// stopWriting refuses appends from here on and waits for the one under way. It returns false if another caller has
// done so before.
func (l *Log) stopWriting() bool {
	l.mu.Lock()
	first := !l.closing
	l.closing = true
	l.mu.Unlock()
	l.writer.Lock()
	defer l.writer.Unlock()
	return first
}

// closeHot closes the index of the hot segment, whose data is synced, and writes a checkpoint at the end of the log
// if there is none.
func (l *Log) closeHot(end record.Offset) error {
	if l.hot == nil || l.hot.resting && l.checkpointed == end {
		return nil // nothing was written, and the next open finds all as this one did
	}
	if l.checkpointed < end {
		if err := l.saveCheckpoint(cleanCheckpoint, end, nil); err != nil {
			return err
		}
	}
	x := l.hot.idx.Load()
	if x.odd.Load() || len(l.hot.holes()) > 0 {
		return nil
	}
	j := l.dir.joint
	doubt := j.doubt.Load()
	err := x.closeBy(l.hot.size.Load(), l.hot.maxTime.Load(), end, func(own func() error) error { return j.sync(doubt, own) })
	if errors.Is(err, errIndexOdd) {
		// As on a full disk of a kind that has no room for a page either that is only changed.
		l.hot.markOdd(x)
		return nil
	}
	return err
}

// letGo makes every later call fail with ErrClosed and gives back all segments. Events hears of nothing any more once
// it returns. The caller has the turn.
func (l *Log) letGo() {
	l.mu.Lock()
	for l.delivering {
		l.delivered.Wait()
	}
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	for _, w := range l.waiting {
		w.done <- fmt.Errorf("%s: %w", l.id, ErrClosed)
	}
	dirty, sealed := l.dirty, l.sealed
	l.waiting, l.dirty, l.sealed, l.newDirs = nil, nil, nil, nil
	l.mu.Unlock()
	for _, s := range dirty {
		s.file.unpin()
	}
	for _, s := range sealed {
		s.release()
	}
	for _, s := range l.view.Load().segments {
		s.shut() // at once, whoever reads in it: its path may soon be another's
		s.release()
	}
	l.owed.set(mark{})
	l.dir.forget(l)
	close(l.done)
}

// takeTurn waits for the maintenance turn and says whether it got it before the context ended.
func (l *Log) takeTurn(ctx context.Context) error {
	select {
	case l.maintenance <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Log) giveTurn() { <-l.maintenance }
