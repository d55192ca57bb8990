package storage

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"segue/storage/record"
)

// compactor compacts the logs of a directory, the dirtiest first. Its goroutines end with the directory.
type compactor struct {
	dir      *Dir
	memory   int64 // of the keys of one round
	backoff  time.Duration
	throttle throttle
	stop     context.CancelFunc
	group    sync.WaitGroup
	turn     chan struct{} // of who looks for the dirtiest log
}

func startCompactor(d *Dir, o *Options) *compactor {
	ctx, stop := context.WithCancel(d.closing)
	c := &compactor{
		dir: d, memory: o.CompactMemory / int64(max(1, o.Compactors)), backoff: o.CompactBackoff,
		throttle: throttle{perSecond: o.CompactBytesPerSecond}, stop: stop, turn: make(chan struct{}, 1),
	}
	for range o.Compactors {
		c.group.Go(func() { c.work(ctx) })
	}
	return c
}

// close ends the goroutines.
func (c *compactor) close() {
	c.stop()
	c.group.Wait()
}

// work compacts one log after the other and rests when none is due.
func (c *compactor) work(ctx context.Context) {
	filter := c.newFilter()
	timer := time.NewTimer(c.backoff)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for c.next(ctx, filter) {
		}
		timer.Reset(c.backoff)
	}
}

func (c *compactor) newFilter() *record.Filter {
	return &record.Filter{Decompressor: c.dir.decompressor, Compressor: new(record.Compressor)}
}

// next compacts the log that most needs it, and says whether there was one.
func (c *compactor) next(ctx context.Context, filter *record.Filter) bool {
	j, ok := c.choose(ctx)
	if !ok {
		return false
	}
	defer j.free()
	l := j.l
	err := c.compact(j, filter)
	switch {
	case err == nil:
	case errors.Is(err, errOvertaken):
		l.cleaned.rest = time.Now().Add(c.backoff) // the next round sees what is left
	case ctx.Err() != nil, errors.Is(err, ErrClosed), j.ctx.Err() != nil:
	default:
		c.dir.counters.compactFailures.Add(1)
		l.cleaned.failures++
		pause := min(c.backoff<<min(l.cleaned.failures, 10), mostCompactPause)
		l.cleaned.rest = time.Now().Add(max(pause, c.backoff))
		c.dir.log.Warn().Err(err).Str("partition", l.id.String()).Dur("again_in", pause).Msg("log not compacted")
	}
	return true
}

// mostCompactPause bounds how long a log is left alone whose compaction keeps failing.
const mostCompactPause = time.Hour

// job is a log that is to be compacted, claimed.
type job struct {
	scope
	l    *Log
	ctx  context.Context
	free func()
}

// choose claims the dirtiest of the logs that are due.
func (c *compactor) choose(ctx context.Context) (job, bool) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return job{}, false
	}
	var best *Log
	var most dirt
	now := time.Now()
	for _, l := range c.dir.open() {
		j, ok := c.claim(ctx, l, now)
		if !ok {
			continue
		}
		j.free() // a close of it does not wait for the look at the others
		if best == nil || compareDirt(j.dirt, most) < 0 {
			best, most = l, j.dirt
		}
	}
	if best == nil {
		return job{}, false
	}
	return c.claim(ctx, best, now)
}

// claim claims a log if it is due.
func (c *compactor) claim(ctx context.Context, l *Log, now time.Time) (job, bool) {
	if !l.cfg.Load().Compact {
		return job{}, false
	}
	ctx, free, ok := l.beginCompaction(ctx)
	if !ok {
		return job{}, false
	}
	s, err := l.scope(ctx, now)
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
		c.dir.log.Warn().Err(err).Str("partition", l.id.String()).Msg("what of the log is dirty is not known")
	}
	if err != nil || !s.due() {
		free()
		return job{}, false
	}
	return job{s, l, ctx, free}, true
}

// compact does a round over a log that is claimed.
func (c *compactor) compact(j job, filter *record.Filter) error {
	start := time.Now()
	l := j.l
	r := &round{
		l: l, ctx: j.ctx, cfg: l.cfg.Load(), now: start.UnixMilli(), throttle: &c.throttle,
		segments: j.segments, next: j.end, from: j.from, keys: newKeyMap(c.memory), filter: filter,
	}
	was := l.Size()
	found, err := r.run()
	if err != nil {
		return err
	}
	if found.to <= j.from && j.dirtyBytes > 0 {
		return errors.New("not one key fits into the memory of the compactor")
	}
	l.cleaned = found
	c.dir.counters.compactions.Add(1)
	c.dir.counters.compactTime.Add(int64(time.Since(start)))
	c.dir.log.Debug().Str("partition", l.id.String()).Int64("bytes_before", was).Int64("bytes", l.Size()).Int("keys", r.keys.Len()).
		Int64("compacted_to", int64(found.to)).Dur("took", time.Since(start)).Msg("log is compacted")
	return l.saveCleaned(j.ctx, found)
}

// Compact compacts every open log that is due now, one after the other.
func (d *Dir) Compact(ctx context.Context) error {
	filter := d.compactor.newFilter()
	for d.compactor.next(ctx, filter) {
	}
	return ctx.Err()
}

// throttle holds several goroutines together down to so many bytes a second.
type throttle struct {
	perSecond float64 // none at or above unthrottled, or below 1

	mu   sync.Mutex
	free time.Time // when the next bytes may pass
}

// unthrottled is a rate that no disk reaches.
const unthrottled = 1 << 40

// throttleSlack is how far ahead of the rate a burst may be.
const throttleSlack = 100 * time.Millisecond

// wait waits until n bytes may pass, and returns the context's error if it ends before.
func (t *throttle) wait(ctx context.Context, n int) error {
	if t.perSecond >= unthrottled || t.perSecond < 1 || math.IsNaN(t.perSecond) {
		return ctx.Err()
	}
	took := time.Duration(float64(n) / t.perSecond * float64(time.Second))
	t.mu.Lock()
	now := time.Now()
	if t.free.Before(now) {
		t.free = now
	}
	t.free = t.free.Add(took)
	pause := t.free.Sub(now) - throttleSlack
	t.mu.Unlock()
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
