package storage

import (
	"context"
	"errors"
	"fmt"
	"io"

	"segue/storage/record"
)

// This file finds records by their timestamps.

// OffsetForTime returns the first record of the log, by offset, that has a timestamp at or after unixMilli, looking
// inside compressed batches, and that timestamp; -1 and -1 if there is none. It does not stop at committed.
func (l *Log) OffsetForTime(ctx context.Context, unixMilli int64) (record.Offset, int64, error) {
	found, ts := record.Offset(-1), int64(-1)
	err := l.eachSegment(ctx, func(s *Segment, start record.Offset) (last bool, err error) {
		found, ts, err = l.searchTime(ctx, s, start, unixMilli)
		return found >= 0, err
	}, func() {})
	if err != nil {
		return -1, -1, err
	}
	return found, ts, nil
}

// eachSegment calls look with each segment of the log in order, held, and the log start, until look says that it was the
// last. When compaction has put another segment in the place of one it begins again, after a call of reset.
func (l *Log) eachSegment(ctx context.Context, look func(s *Segment, start record.Offset) (last bool, err error), reset func()) error {
	for {
		err := l.passSegments(ctx, look)
		if !errors.Is(err, errReplaced) {
			return err
		}
		reset()
	}
}

// errReplaced says that another segment has taken the place of the one that was to be read.
var errReplaced = errors.New("segment was replaced")

// passSegments is eachSegment up to the first segment that was replaced.
func (l *Log) passSegments(ctx context.Context, look func(s *Segment, start record.Offset) (last bool, err error)) error {
	v := l.view.Load()
	for _, s := range v.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !s.hold() {
			if err := l.ifClosed(); err != nil {
				return err
			}
			if s.replaced.Load() {
				return errReplaced
			}
			continue // taken by the cleaner: its records are gone
		}
		last, err := look(s, v.start)
		if l.survey(ctx, s, err) {
			last, err = look(s, v.start)
		}
		s.release()
		switch {
		case l.hasAnother(s, err):
			return errReplaced
		case err != nil:
			return l.readError(err)
		case last:
			return nil
		}
	}
	return l.ifClosed()
}

// searchTime looks for the first record at or after both an offset and a timestamp in one held segment.
func (l *Log) searchTime(ctx context.Context, s *Segment, start record.Offset, unixMilli int64) (record.Offset, int64, error) {
	if err := l.prepare(s); err != nil {
		return -1, -1, err
	}
	if s.maxTime.Load() < unixMilli {
		return -1, -1, nil
	}
	f, err := s.file.pin()
	if err != nil {
		return -1, -1, err
	}
	defer s.file.unpin()
	p, err := s.firstAtOrAfter(f, unixMilli, s.size.Load())
	for ; err == nil; p, err = s.nextAtOrAfter(f, p, unixMilli) {
		if p.end <= start {
			continue
		}
		if err := ctx.Err(); err != nil {
			return -1, -1, err // headers may send us from batch to batch in vain
		}
		at, ts, err := l.dir.recordAt(s, f, p, start, unixMilli)
		if err != nil || at >= 0 {
			return at, ts, err
		}
	}
	if err == io.EOF {
		return -1, -1, nil
	}
	return -1, -1, err
}

// nextAtOrAfter is firstAtOrAfter for what lies behind a batch.
func (s *Segment) nextAtOrAfter(f io.ReaderAt, p place, unixMilli int64) (place, error) {
	w := s.walk(f, p.pos+int64(p.size), s.size.Load())
	defer w.done()
	return w.first(func(h record.Header) bool { return h.MaxTimestamp() >= unixMilli })
}

// MaxTimestamp returns the first record that has the largest timestamp of the log, and that timestamp; -1 and -1
// if no record has any. Batches are taken at their headers' word: if a header claims a timestamp that no record of its
// batch has, the answer is -1 and -1 as well, as it is Kafka's.
func (l *Log) MaxTimestamp(ctx context.Context) (record.Offset, int64, error) {
	for exact := false; ; {
		newest, v := int64(noTimestamp), l.view.Load()
		err := l.eachSegment(ctx, func(s *Segment, start record.Offset) (bool, error) {
			ts, err := l.maxTime(s, start, exact)
			newest = max(newest, ts)
			return false, err
		}, func() { newest, v = noTimestamp, l.view.Load() })
		if err != nil {
			return -1, -1, err
		}
		if newest == noTimestamp {
			return -1, -1, l.ifClosed()
		}
		if at, ts, err := l.OffsetForTime(ctx, newest); err != nil || at >= 0 {
			return at, ts, err
		}
		switch {
		case l.view.Load() != v: // it went between the two looks, and what is left decides
		case exact:
			return -1, -1, nil
		default: // compaction may have emptied the batch
			exact = true
		}
	}
}

// maxTime returns the largest timestamp of a held segment's batches at or above an offset; exact leaves out those without
// records, which are seldom the ones that decide.
func (l *Log) maxTime(s *Segment, start record.Offset, exact bool) (int64, error) {
	if err := l.prepare(s); err != nil {
		return noTimestamp, err
	}
	if s.base >= start && !exact {
		return s.maxTime.Load(), nil
	}
	f, err := s.file.pin()
	if err != nil {
		return noTimestamp, err
	}
	defer s.file.unpin()
	newest := int64(noTimestamp)
	p, err := s.find(f, max(start, s.base), s.size.Load())
	if err == nil && p.base < start {
		// The start lies inside this batch: only what is behind it counts.
		if newest, err = l.dir.maxTimeFrom(s, f, p, start); err == nil {
			p, err = s.find(f, p.end, s.size.Load())
		}
	}
	if err == nil {
		w := s.walk(f, p.pos, s.size.Load())
		defer w.done()
		var h record.Header
		for h, err = w.peek(); err == nil; h, err = w.peek() {
			if h.Count() > 0 {
				newest = max(newest, h.MaxTimestamp())
			}
			w.skip(h)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return newest, err
}

// recordAt returns the first record of a batch at or after both an offset and a timestamp; -1 and -1 if there is
// none. A batch with the log's append time has that one time for all its records.
func (d *Dir) recordAt(s *Segment, f io.ReaderAt, p place, start record.Offset, unixMilli int64) (record.Offset, int64, error) {
	found, ts := record.Offset(-1), int64(-1)
	err := d.eachRecord(s, f, p, func(o record.Offset, t int64) bool {
		if o < start || t < unixMilli {
			return true
		}
		found, ts = o, t
		return false
	})
	return found, ts, err
}

// maxTimeFrom returns the largest timestamp of a batch's records at or above an offset.
func (d *Dir) maxTimeFrom(s *Segment, f io.ReaderAt, p place, start record.Offset) (int64, error) {
	newest := int64(noTimestamp)
	err := d.eachRecord(s, f, p, func(o record.Offset, t int64) bool {
		if o >= start {
			newest = max(newest, t)
		}
		return true
	})
	return newest, err
}

// eachRecord calls fn with the offset and the timestamp of each record of a batch until fn returns false. A batch may be
// large, and many may ask at once: no more are looked into at a time than there are processors.
func (d *Dir) eachRecord(s *Segment, f io.ReaderAt, p place, fn func(record.Offset, int64) bool) error {
	d.lookups <- struct{}{}
	defer func() { <-d.lookups }()
	buf := make([]byte, p.size)
	if _, err := f.ReadAt(buf, p.pos); err != nil {
		return err
	}
	b, _, err := record.Parse(buf)
	if err == nil {
		err = b.Verify()
	}
	if err != nil {
		return s.corrupt(p.pos, p.base, err)
	}
	for r, err := range b.Records(d.decompressor) {
		if errors.Is(err, record.ErrTooLarge) {
			return fmt.Errorf("%s: %w", s.path, err) // nothing is wrong with the file
		}
		if err != nil {
			return s.corrupt(p.pos, p.base, err)
		}
		if !fn(r.Offset, r.Timestamp) {
			return nil
		}
	}
	return nil
}
