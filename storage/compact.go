package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"segue/storage/record"
)

// This file holds a round of compaction over one log: it learns the keys of what is dirty, writes the segments anew
// without what is superseded, and has what it wrote take their place. FORMAT.md says what stays.

// cleaned is what is known of the compaction of a log. It is a cache: without it all of the log is dirty.
type cleaned struct {
	to      record.Offset // below it no key stands twice, as far as could be read
	horizon int64         // when the first of the tombstones that are left may go, in Unix milliseconds; noTimestamp if none may

	failures int       // rounds that have failed, one after the other
	rest     time.Time // no round before then
}

// decode takes over what a checkpoint says.
func (c *cleaned) decode(at record.Offset, state []byte) {
	if len(state) == 8 {
		c.to, c.horizon = at, int64(order.Uint64(state))
	}
}

// save writes down how far the log is compacted. Only a start reads it.
func (l *Log) saveCleaned(ctx context.Context, c cleaned) error {
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.giveTurn()
	if err := l.ifClosed(); err != nil {
		return err
	}
	p := point{at: c.to}.unplaced()
	p.lastEpoch = l.epoch()
	content := encodeCheckpoint(l.id.TopicID, p, order.AppendUint64(nil, uint64(c.horizon)))
	err := writeFile(l.dir.fs, filepath.Join(l.folder, cleanedCheckpoint+checkpointSuffix), content)
	if IsFull(err) {
		return nil // the next start compacts more than it need
	}
	return err
}

// compacting is a compaction that is under way.
type compacting struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// beginCompaction claims the log for one compaction, which must call end. It ends early with the context that is
// returned. Ok is false if the log is being compacted or closed, or has failed.
func (l *Log) beginCompaction(ctx context.Context) (_ context.Context, end func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.compacting != nil || l.usableLocked() != nil || l.halted.Load() {
		return nil, nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &compacting{cancel, make(chan struct{})}
	l.compacting = c
	return ctx, func() {
		cancel()
		l.mu.Lock()
		l.compacting = nil
		l.mu.Unlock()
		close(c.done)
	}, true
}

// endCompaction ends a compaction that is under way, and waits for it. No write begins any more, so none begins after it.
func (l *Log) endCompaction() {
	l.mu.Lock()
	c := l.compacting
	l.mu.Unlock()
	if c != nil {
		c.cancel()
		<-c.done
	}
}

// round is one round of compaction over one log.
type round struct {
	l        *Log
	ctx      context.Context
	cfg      *Config
	now      int64 // in Unix milliseconds
	throttle *throttle

	segments []*Segment    // from the log start on, all that may be looked at
	next     record.Offset // the base offset of the segment behind them
	from, to record.Offset // the keys of these offsets are known
	start    record.Offset // the log start
	keys     *keyMap
	filter   *record.Filter

	blind     bool              // something before could not be read: it may hold what tombstones and markers are there for, so they stay
	damaged   map[*Segment]bool // segments that are left as they are
	undecided undecided         // in front of what is to be rewritten next
	horizon   int64
}

// damagedError says that a segment is not sound.
type damagedError struct {
	segment *Segment
	cause   error
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("%s is damaged: %v", e.segment.path, e.cause)
}
func (e *damagedError) Unwrap() error { return e.cause }

// errKeysFull ends the learning of keys.
var errKeysFull = errors.New("no more keys fit")

// run does the round and returns what is known of the log then.
func (c *round) run() (cleaned, error) {
	c.start, c.horizon, c.damaged = c.l.view.Load().start, noTimestamp, map[*Segment]bool{}
	if err := c.learn(); err != nil {
		return cleaned{}, err
	}
	for i := 0; i < len(c.segments) && c.segments[i].base < c.to; {
		if s := c.segments[i]; c.damaged[s] || len(s.holes()) > 0 {
			c.blind = true
			i++
			continue
		}
		j := c.group(i)
		err := c.rewrite(c.segments[i:j], c.behind(j-1))
		var damaged *damagedError
		switch {
		case errors.As(err, &damaged): // once more, without it
			c.noteDamage(damaged)
		case err != nil:
			return cleaned{}, err
		default:
			i = j
		}
	}
	return cleaned{to: c.to, horizon: c.horizon}, nil
}

// behind returns the base offset of the segment behind one.
func (c *round) behind(i int) record.Offset {
	if i+1 < len(c.segments) {
		return c.segments[i+1].base
	}
	return c.next
}

func (c *round) noteDamage(d *damagedError) {
	c.damaged[d.segment] = true
	c.l.dir.counters.compactDamaged.Add(1)
	c.l.dir.log.Warn().Err(d.cause).Str("segment", d.segment.path).Msg("segment is damaged and is not compacted")
}

// scan reads a segment and calls each with its batches, as long as they are sound.
func (c *round) scan(s *Segment, next record.Offset, each func(b record.Batch, pos int64) error) error {
	f, err := s.file.pin()
	if err != nil {
		return err
	}
	defer s.file.unpin()
	k := &checker{s: s, f: f, size: s.size.Load(), least: s.base, next: next, settled: true, maxTime: noTimestamp, lastEpoch: -1}
	var failed error
	k.onSpan = func(d span) { failed, k.stopped = &damagedError{s, d.cause}, true }
	k.onBatch = func(b record.Batch, pos, _ int64) {
		if failed != nil {
			return
		}
		if failed = c.throttle.wait(c.ctx, b.Size()); failed == nil {
			failed = each(b, pos)
		}
		k.stopped = failed != nil
	}
	err = k.run(c.ctx)
	var overlap *CorruptError
	switch {
	case errors.As(err, &overlap):
		return &damagedError{s, err}
	case err != nil:
		return err
	}
	if failed == nil && k.least < next && !isForeign(c.l.dir.fs, s.path) {
		failed = &damagedError{s, errMissing}
	}
	return failed
}

// learn takes the keys of the dirty segments into the map, until it is full.
func (c *round) learn() error {
	c.to = max(c.next, c.from)
	for i, s := range c.segments {
		if c.behind(i) <= c.from {
			continue
		}
		err := c.scan(s, c.behind(i), func(b record.Batch, _ int64) error { return c.learnBatch(b) })
		var damaged *damagedError
		switch {
		case errors.As(err, &damaged):
			c.noteDamage(damaged)
		case errors.Is(err, errKeysFull):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// learnBatch takes in the keys of a batch, if all of it can be read: else the last value that can be read is an older one.
func (c *round) learnBatch(b record.Batch) error {
	if b.NextOffset() <= c.from || b.IsControl() || c.l.keep(b).drops() {
		return nil
	}
	if err := c.filter.Keys(b, func(record.FilterRecord) bool { return true }); err != nil {
		return nil
	}
	full := false
	err := c.filter.Keys(b, func(r record.FilterRecord) bool {
		if r.Offset >= c.from && r.Key != nil && !c.keys.Put(r.Key, r.Offset) {
			full, c.to = true, r.Offset
		}
		return !full
	})
	if full {
		return errKeysFull
	}
	return err
}

// keep asks the log's owner what must stay of a batch.
func (l *Log) keep(b record.Batch) Verdict {
	if l.keeper == nil {
		return KeepLatest
	}
	return l.keeper.Keep(b)
}

// group returns the end of the run of segments from the i-th on that become one: together they are as large as one may be.
func (c *round) group(i int) (j int) {
	first := c.segments[i]
	size, entries := first.size.Load(), first.idx.Load().count.Load()
	foreign := isForeign(c.l.dir.fs, first.path)
	for j = i + 1; j < len(c.segments) && j-i < mostMerged && c.segments[j].base < c.to; j++ {
		s := c.segments[j]
		size += s.size.Load()
		entries += s.idx.Load().count.Load() + 1
		if size > c.cfg.SegmentBytes || indexHeaderSize+entries*indexEntrySize > c.cfg.IndexBytes ||
			c.behind(j)-1-first.base > 1<<31-1 || c.damaged[s] || len(s.holes()) > 0 || isForeign(c.l.dir.fs, s.path) != foreign {
			break
		}
	}
	return j
}

// mostMerged bounds how many segments become one, for the handles that an exchange holds.
const mostMerged = 1 << 10

// rewrite writes neighbours anew, as one segment, and has it take their place. If nothing of a single one goes it is left
// as it is.
func (c *round) rewrite(old []*Segment, next record.Offset) (err error) {
	for i, s := range old {
		if !s.hold() {
			for _, held := range old[:i] {
				held.release()
			}
			return errOvertaken
		}
	}
	w := &rewriter{replacement: replacement{l: c.l, base: old[0].base, next: next}, c: c, undecided: c.undecided.clone()}
	w.index.base, w.index.maxTime = w.base, noTimestamp
	committed := false
	defer func() {
		if !committed {
			err = errors.Join(err, w.discard())
		}
		for _, s := range old {
			s.release()
		}
	}()
	for i, s := range old {
		behind := next
		if i+1 < len(old) {
			behind = old[i+1].base
		}
		err := c.scan(s, behind, func(b record.Batch, pos int64) error {
			edge := i == 0 && pos == 0 || i == len(old)-1 && pos+int64(b.Size()) == s.size.Load()
			return w.batch(s, b, pos, edge)
		})
		if err != nil {
			return err
		}
		if i+1 < len(old) { // merging them is a change
			if err := w.begin(s); err != nil {
				return err
			}
		}
	}
	if w.file == nil { // nothing has changed
		c.undecided = w.undecided
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.seal(); err != nil {
		return err
	}
	if err := w.forget(c.ctx); err != nil {
		return err
	}
	committed, err = c.l.swapIn(c.ctx, old, &w.replacement)
	if err == nil {
		c.undecided = w.undecided
		c.l.dir.counters.compactedSegments.Add(int64(len(old)))
	}
	return err
}

// verdict filters the records of a batch.
func (c *round) verdict(r record.FilterRecord, horizon int64) bool {
	switch {
	case r.Offset >= c.to:
		return true
	case r.Offset < c.start || r.Key == nil:
		return false
	}
	if latest, known := c.keys.Latest(r.Key); known && latest > r.Offset {
		return false
	}
	return !r.Tombstone || c.blind || horizon < 0 || c.now < horizon
}

// newHorizon is when what is found to be of no use now may go, in Unix milliseconds.
func (c *round) newHorizon() int64 {
	horizon := c.now + c.cfg.TombstoneAge.Milliseconds()
	if horizon < c.now {
		return math.MaxInt64 // an age without end
	}
	return horizon
}
