package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"segue/storage/record"
)

// cleaner keeps the logs of a directory within their limits and removes what has been dropped. It runs on one
// goroutine, which ends with the directory.
type cleaner struct {
	dir  *Dir
	stop context.CancelFunc
	done chan struct{}
	wake chan struct{}

	mu    sync.Mutex
	trash []trash
}

// trash is what waits to be removed.
type trash struct {
	// log is the one that dropped the files, nil for what is nobody's. Once it is closed its folder may be another
	// topic's, and then files of these names are too. They are left alone then; if they are still the log's they lie
	// below its start, and the next open removes them.
	log   *Log
	paths []string
}

func startCleaner(d *Dir, every time.Duration) *cleaner {
	ctx, stop := context.WithCancel(context.Background())
	c := &cleaner{dir: d, stop: stop, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	go func() {
		defer close(c.done)
		tick, look := time.NewTicker(every), time.NewTicker(reserveLook)
		defer tick.Stop()
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				c.empty(ctx)
				return
			case <-c.wake:
				c.empty(ctx)
			case <-tick.C:
				if err := c.round(ctx); err != nil && ctx.Err() == nil {
					d.log.Warn().Err(err).Msg("cleaning")
				}
			case <-look.C:
				d.reserve.look()
			}
		}
	}()
	return c
}

// close ends the goroutine, which first removes what waits for it.
func (c *cleaner) close() {
	c.stop()
	<-c.done
}

// remove has files or folders removed in the background.
func (c *cleaner) remove(t trash) {
	c.mu.Lock()
	c.trash = append(c.trash, t)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// empty removes what waits. What cannot be removed stays for the next open, which tries again.
func (c *cleaner) empty(ctx context.Context) {
	c.mu.Lock()
	all := c.trash
	c.trash = nil
	c.mu.Unlock()
	for _, t := range all {
		// A log cannot be closed while somebody else has its turn.
		if t.log != nil && t.log.takeTurn(ctx) != nil {
			continue
		}
		if t.log == nil || t.log.ifClosed() == nil {
			for _, path := range t.paths {
				if err := c.dir.fs.RemoveAll(path); err != nil {
					c.dir.log.Warn().Err(err).Msg("not removed")
				}
			}
		}
		if t.log != nil {
			t.log.giveTurn()
		}
	}
}

// round applies the retention of every open log.
func (c *cleaner) round(ctx context.Context) error {
	var errs []error
	for _, l := range c.dir.open() {
		if err := l.retain(ctx); err != nil && !errors.Is(err, ErrClosed) {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(errs...)
}

// retain drops the oldest segments while they are too old, while the log is too large without them, or when they
// lie below the log start. Only what is committed is dropped.
func (l *Log) retain(ctx context.Context) error {
	start, err := l.retained(ctx)
	if err != nil {
		return err
	}
	if heir, ok := l.events.(Heir); ok && start > l.view.Load().start {
		if err := heir.BeforeRetention(ctx); err != nil {
			return fmt.Errorf("retention of %s: %w", l.id, err)
		}
	}
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.giveTurn()
	return l.deleteBefore(ctx, start)
}

// retained returns where the log is to start.
func (l *Log) retained(ctx context.Context) (record.Offset, error) {
	if err := l.takeTurn(ctx); err != nil {
		return 0, err
	}
	defer l.giveTurn()
	c := l.cfg.Load()
	v := l.view.Load()
	start := v.start
	size, now := l.Size(), time.Now()
	for i, s := range v.segments {
		end := record.Offset(l.end.Load())
		if i+1 < len(v.segments) {
			end = v.segments[i+1].base
		}
		if _, committed, _ := l.Bounds(); end > committed || end <= s.base {
			break
		}
		expired := end <= start
		if c.Delete && !expired {
			old, err := l.outlived(s, c.RetentionAge, now)
			if err != nil {
				return 0, l.readError(err)
			}
			expired = old || c.RetentionBytes >= 0 && size-s.size.Load() >= c.RetentionBytes
		}
		if !expired {
			break
		}
		size -= s.size.Load()
		start = max(start, end)
	}
	return start, nil
}

// outlived says whether even the newest record of a segment is older than an age. A segment whose records have no
// timestamps is as old as its file.
func (l *Log) outlived(s *Segment, age time.Duration, now time.Time) (bool, error) {
	if age < 0 {
		return false, nil
	}
	if err := l.prepare(s); err != nil {
		return false, err
	}
	if newest := s.maxTime.Load(); newest >= 0 {
		return saturatingMillis(now.UnixMilli()-newest) > age, nil
	}
	info, err := l.dir.fs.Stat(s.dataPath())
	if err != nil {
		return false, err
	}
	return now.Sub(info.ModTime) > age, nil
}

// DeleteBefore raises the log start offset, durably: records below it cannot be read any more once it returns, and
// the segments that hold nothing else are removed. An offset at or below the log start changes nothing;
// ErrOffsetOutOfRange refuses one that is not committed.
func (l *Log) DeleteBefore(ctx context.Context, start record.Offset) error {
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.giveTurn()
	if start > 0 && start <= l.view.Load().start && l.isUnsure() {
		// The log start was found in the folder; whether it was made durable is not known.
		if err := l.dir.fs.SyncDir(l.folder); err != nil {
			return fmt.Errorf("delete records of %s: %w", l.id, err)
		}
	}
	return l.deleteBefore(ctx, start)
}

// isUnsure says whether the log was found in its folder and nothing has been written since.
func (l *Log) isUnsure() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unsure && !l.closed
}

// deleteBefore is DeleteBefore for a caller that has the turn.
func (l *Log) deleteBefore(ctx context.Context, start record.Offset) error {
	if err := l.ifClosed(); err != nil {
		return err
	}
	_, committed, end := l.Bounds()
	if start > committed {
		return fmt.Errorf("delete records of %s below %d, committed is %d: %w", l.id, start, committed, ErrOffsetOutOfRange)
	}
	v := l.view.Load()
	if len(v.segments) == 0 {
		return nil
	}
	drop := wholeBelow(v, start)
	if start <= v.start && drop == 0 {
		return nil
	}
	if start == end && v.segments[len(v.segments)-1].size.Load() > 0 {
		// Even the hot segment may go. A new one has to carry the end of the log before it does.
		err := l.rollAt(start)
		l.deliver() // it may be that the log has failed
		if err != nil {
			return fmt.Errorf("delete records of %s: %w", l.id, err)
		}
	}
	// Whatever is removed below was synced, and the segment that begins at the new start has its name on the disk.
	if err := l.sync(ctx); err != nil {
		return fmt.Errorf("delete records of %s: %w", l.id, err)
	}
	if start > v.start {
		if err := l.writeStart(start); err != nil {
			return fmt.Errorf("delete records of %s: %w", l.id, err)
		}
	}
	for _, s := range l.raiseStart(start) {
		l.dir.counters.segmentsDropped.Add(1)
		s.drop(l)
	}
	return nil
}

// wholeBelow counts the segments at the beginning that hold nothing at or above an offset. The last segment is none
// of them.
func wholeBelow(v *view, start record.Offset) (n int) {
	for n+1 < len(v.segments) && v.segments[n+1].base <= start {
		n++
	}
	return n
}

// rollAt rolls the log if it still ends at that offset.
func (l *Log) rollAt(end record.Offset) error {
	l.writer.Lock()
	defer l.writer.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if record.Offset(l.end.Load()) != end {
		return nil
	}
	return l.dir.reserve.with(forRoom, func() error { return l.roll(l.cfg.Load()) })
}

// raiseStart publishes a log start and returns the segments that are gone with it.
func (l *Log) raiseStart(start record.Offset) []*Segment {
	l.writer.Lock() // the list changes at a roll too
	defer l.writer.Unlock()
	v := l.view.Load()
	fresh := &view{segments: v.segments, start: max(v.start, start), lost: v.lost}
	n := wholeBelow(v, fresh.start)
	fresh.segments = append([]*Segment(nil), v.segments[n:]...)
	l.view.Store(fresh)
	return v.segments[:n]
}
