package storage

import (
	"context"
	"errors"
)

// survey looks for all the damage in a held segment that a read has just met with, once, and says whether it has, so that
// the read may be tried again: what can be read around a damaged header is known only then. A sealed segment is read for
// a new index, when it is next used.
func (l *Log) survey(ctx context.Context, s *Segment, met error) bool {
	var corrupt *CorruptError
	if !errors.As(met, &corrupt) || s.surveyed.Swap(true) {
		return false
	}
	s.markOdd(s.idx.Load())
	l.mu.Lock()
	m := l.written
	l.mu.Unlock()
	if m.segment != s {
		return true
	}
	f, err := s.file.pin()
	if err != nil {
		return false
	}
	defer s.file.unpin()
	c := &checker{s: s, f: f, size: m.position, synced: m.position, syncedTo: m.offset, settled: true, next: noNext, least: s.base, maxTime: noTimestamp}
	if err := c.run(ctx); err != nil {
		l.dir.log.Warn().Err(err).Str("segment", s.path).Msg("the extent of the damage is not known")
		s.surveyed.Store(false)
		return false
	}
	s.noteDamage(c.damage)
	return true
}
