package storage

import (
	"context"
	"math"
	"time"
)

// scope is what a round of compaction may look at of a log.
type scope struct {
	dirt
	segments []*Segment // from the log start on
}

// scope finds out what of the log is to be compacted. The caller has claimed it. It reads of the disk only what the lags
// that are set make necessary.
func (l *Log) scope(ctx context.Context, now time.Time) (s scope, err error) {
	c, v := l.cfg.Load(), l.view.Load()
	if len(v.segments) == 0 || now.Before(l.cleaned.rest) {
		return s, nil
	}
	_, limit, _ := l.Bounds()
	if l.keeper != nil {
		limit = min(limit, l.keeper.CleanLimit())
	}
	p := dirtPolicy{minRatio: c.MinDirtyRatio, minLag: c.MinCompactionLag, maxLag: c.MaxCompactionLag}
	if p.maxLag == math.MaxInt64 {
		p.maxLag = 0
	}
	hot := v.segments[len(v.segments)-1].base
	var sealed []sealedSegment
	for i, segment := range v.segments[:len(v.segments)-1] {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		if !segment.durable.Load() {
			limit = min(limit, segment.base)
		}
		k := sealedSegment{base: segment.base, bytes: segment.size.Load(), newest: noTimestamp, first: noTimestamp, horizon: noTimestamp}
		if i == 0 {
			k.horizon = l.cleaned.horizon // the earliest of all
		}
		if segment.base < limit && v.segments[i+1].base > l.cleaned.to {
			if err := l.learnTimes(segment, p, &k); err != nil {
				return s, l.readError(err)
			}
		}
		sealed = append(sealed, k)
	}
	s.dirt = findDirt(sealed, dirtRange{dirty: l.cleaned.to, hot: hot, limit: limit}, p, now)
	for _, segment := range v.segments {
		if segment.base < s.end {
			s.segments = append(s.segments, segment)
		}
	}
	return s, nil
}

// learnTimes fills in the timestamps of a segment that matter under a policy.
func (l *Log) learnTimes(s *Segment, p dirtPolicy, k *sealedSegment) (err error) {
	if p.minLag > 0 {
		if err := l.prepare(s); err != nil {
			return err
		}
		k.newest = s.maxTime.Load()
	}
	if p.maxLag > 0 {
		k.first, err = s.firstTimestamp()
	}
	return err
}

// firstTimestamp returns the largest timestamp of the segment's first batch; noTimestamp if it has none.
func (s *Segment) firstTimestamp() (int64, error) {
	f, err := s.file.pin()
	if err != nil {
		return noTimestamp, err
	}
	defer s.file.unpin()
	w := s.walk(f, 0, s.size.Load())
	defer w.done()
	h, err := w.peek()
	if err != nil {
		return noTimestamp, nil // the round finds what is wrong with it
	}
	return h.MaxTimestamp(), nil
}
