package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	"segue/storage/record"
)

// Read returns a run of whole batches of one segment: the first one holds the offset from, or the next that there
// is; all of them end at or below to; together they are at most maxBytes long, but for the first one where
// atLeastOne is set. The zero Chunk says that there is nothing to read below to, or nothing that small.
//
// ErrOffsetOutOfRange refuses an offset below the log start or above the log end. A *CorruptError names what
// cannot be read. The caller must release the chunk.
func (l *Log) Read(ctx context.Context, from, to record.Offset, maxBytes int, atLeastOne bool) (record.Chunk, error) {
	for {
		if err := ctx.Err(); err != nil {
			return record.Chunk{}, err
		}
		s, err := l.segmentAt(from)
		if err != nil || s == nil {
			return record.Chunk{}, err
		}
		chunk, more, err := l.readSegment(s, from, to, maxBytes, atLeastOne)
		if l.survey(ctx, s, err) {
			chunk, more, err = l.readSegment(s, from, to, maxBytes, atLeastOne)
		}
		if err != nil {
			s.release()
			if l.hasAnother(s, err) {
				continue
			}
			return record.Chunk{}, l.readError(err)
		}
		if !more {
			return chunk, nil
		}
		// Nothing at or above from is left in this segment: compaction took it. The next one has it.
		next, adjacent := l.after(s)
		s.release()
		if next != nil && !adjacent {
			continue // the segment has been taken meanwhile, and what was behind it may be in another
		}
		if next == nil || next.base >= to {
			return record.Chunk{}, nil
		}
		from = max(from, next.base)
	}
}

// segmentAt returns the segment that an offset belongs to, held for the caller. It returns nil at the end of the
// log.
func (l *Log) segmentAt(from record.Offset) (*Segment, error) {
	for {
		end := record.Offset(l.end.Load())
		v := l.view.Load()
		if from < v.start || from > end {
			return nil, fmt.Errorf("offset %d of %s, which holds %d to %d: %w", from, l.id, v.start, end, ErrOffsetOutOfRange)
		}
		if from == end {
			return nil, l.ifClosed()
		}
		if from < v.lost || len(v.segments) == 0 {
			return nil, &CorruptError{File: l.folder, Offset: from, Err: errMissing}
		}
		i := sort.Search(len(v.segments), func(i int) bool { return v.segments[i].base > from }) - 1
		if s := v.segments[max(i, 0)]; s.hold() {
			return s, nil
		}
		if err := l.ifClosed(); err != nil {
			return nil, err
		}
		// The cleaner has taken the segment since; the view has changed.
	}
}

// hasAnother says whether a read has failed because another segment has taken the place of the one that it was to read.
func (l *Log) hasAnother(s *Segment, err error) bool {
	return s.replaced.Load() && errors.Is(err, ErrClosed) && l.ifClosed() == nil
}

func (l *Log) ifClosed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("%s: %w", l.id, ErrClosed)
	}
	return nil
}

// after returns the segment behind s, nil if s is the last. Where it is not adjacent, s has been taken meanwhile, and what
// came right behind it may be gone too.
func (l *Log) after(s *Segment) (next *Segment, adjacent bool) {
	segments := l.view.Load().segments
	i := sort.Search(len(segments), func(i int) bool { return segments[i].base > s.base })
	if i == len(segments) {
		return nil, false
	}
	return segments[i], i > 0 && segments[i-1] == s
}

// readSegment reads from one segment, which the caller holds. The hold goes over to the chunk where there is one,
// and is given back where there is nothing to read; more says that the reader has to go on in the next segment.
func (l *Log) readSegment(s *Segment, from, to record.Offset, maxBytes int, atLeastOne bool) (c record.Chunk, more bool, err error) {
	if err := l.prepare(s); err != nil {
		return c, false, err
	}
	// From here on the file is the right one: it is shut for good before another log may get its name.
	f, err := s.file.pin()
	if err != nil {
		return c, false, err
	}
	keep := false
	defer func() {
		if !keep {
			s.file.unpin()
			if err == nil && !more {
				s.release()
			}
		}
	}()
	size := s.size.Load()
	first, err := s.find(f, from, size)
	if err == io.EOF {
		return c, true, nil
	}
	if err == nil {
		err = l.within(s, first)
	}
	if err != nil || first.end > to {
		return c, false, err
	}
	limit, err := l.limit(s, f, to, size)
	if err != nil {
		return c, false, err
	}
	end := limit
	if want := first.pos + int64(maxBytes); want < limit {
		if end, err = s.boundary(f, first, want, limit); err != nil {
			return c, false, err
		}
	}
	if end = s.beforeDamage(first.pos, end); end == first.pos {
		if !atLeastOne {
			return c, false, nil
		}
		end = first.pos + int64(first.size)
	}
	keep = true
	c = record.NewChunk(f, first.pos, int(end-first.pos), f.Conn(), func() {
		s.file.unpin()
		s.release()
	})
	c.Followed = end < limit && s.beforeDamage(first.pos, end+1) > end
	return c, false, nil
}

// within returns an error for a batch that reaches into the segment behind its own: its base offset is not to be believed.
func (l *Log) within(s *Segment, p place) error {
	if next, _ := l.after(s); next != nil && p.end > next.base {
		return s.corrupt(p.pos, p.base, fmt.Errorf("batch claims to reach offset %d, %w at %d", p.end-1, errOverlap, next.base))
	}
	return nil
}

// prepare makes a segment's index usable. The hot one's always is.
func (l *Log) prepare(s *Segment) error {
	if s.ready.Load() {
		return nil
	}
	next, adjacent := l.after(s)
	if next == nil {
		return nil
	}
	return s.load(next.base, !adjacent || l.cfg.Load().Compact)
}

// limit returns the position in a segment below which every batch ends at or below an offset.
func (l *Log) limit(s *Segment, f io.ReaderAt, to record.Offset, size int64) (int64, error) {
	l.mu.Lock()
	for _, m := range [...]mark{l.commit, l.written} {
		if m.segment == s && m.offset == to {
			l.mu.Unlock()
			return m.position, nil
		}
	}
	l.mu.Unlock()
	if next, _ := l.after(s); next != nil && next.base <= to {
		return size, nil
	}
	if record.Offset(l.end.Load()) <= to {
		return size, nil
	}
	for _, hole := range s.holes() {
		if hole.low <= to && to < hole.high {
			return hole.from, nil
		}
	}
	at, err := s.find(f, to, size)
	switch {
	case err == io.EOF:
		return size, nil
	case err != nil:
		return 0, err
	}
	return at.pos, nil
}

// beforeDamage shortens a run of batches so that it ends where a damaged stretch begins.
func (s *Segment) beforeDamage(from, to int64) int64 {
	for _, hole := range s.holes() {
		if from <= hole.from {
			to = min(to, hole.from)
		}
	}
	return to
}

// readError counts a failed read and gives it the log's name. A read that fails does not fail the log.
func (l *Log) readError(err error) error {
	var c *CorruptError
	if errors.As(err, &c) {
		l.dir.counters.corruptReads.Add(1)
	}
	if closed := l.ifClosed(); closed != nil {
		return closed
	}
	return fmt.Errorf("read %s: %w", l.id, err)
}
