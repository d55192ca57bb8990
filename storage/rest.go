package storage

import (
	"errors"
	"fmt"
	"io/fs"

	"segue/storage/vfs"
)

// This file opens a log that was closed and has not been written to since, as most are that a big broker starts with: it
// is read in a few places, nothing is written, and no file stays open. The first append makes its last segment hot.

// takeUp opens the segments as a close has left them, and says whether they are so; what is not so in every detail is
// checked by segments. A checkpoint has to stand at the very end of the log, and the index to be closed there. After a
// kill it is not: before the first byte is appended it is open on the disk, and the next one makes the file longer.
func (r *recovery) takeUp(entries []vfs.Entry) (bool, error) {
	p := r.point
	if p == nil || p.at < r.start || p.at != r.told() {
		return false, nil
	}
	last := len(r.files) - 1
	file := r.files[last]
	if file.base != p.base || file.size != p.position || file.size == 0 || file.swap != "" ||
		hasEntry(entries, segmentName(file.base)+kafkaIndexSuffix) {
		return false, nil
	}
	hot, err := r.rested(r.segment(file))
	if hot == nil || err != nil {
		return false, err
	}
	res := &r.result
	for _, file := range r.files[:last] {
		s := r.segment(file)
		s.durable.Store(true)
		res.segments = append(res.segments, s)
	}
	res.segments, res.hot = append(res.segments, hot.Segment), hot
	res.start, res.end, res.reached, res.checkpointed, res.lastEpoch = r.start, p.at, p.at, p.at, p.lastEpoch
	r.findBeginning(p.at)
	return true, r.settleStart()
}

// rested returns the last segment as one that may be written to once it is roused; nil if it is not as a close leaves it.
func (r *recovery) rested(s *Segment) (*hotSegment, error) {
	x, p := s.idx.Load(), r.point
	b, err := readFile(r.d.fs, x.path, indexCapacity(x.limit))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errUnsound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	st, sound := readHeader(b, s.base, p.position, int64(len(b)))
	if !sound || !st.closed || st.synced != p.position || st.syncedTo != p.at {
		return nil, nil
	}
	h := &hotSegment{Segment: s, firstTime: noTimestamp, resting: true}
	e := indexEntry{MaxBefore: noTimestamp}
	if st.count > 0 {
		e = entryAt(b, int(st.count-1))
		h.lastEntry = int64(e.Position)
	}
	f, err := r.d.fs.Open(s.path + dataSuffix)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !r.pointHolds(s, f, e) {
		return nil, nil
	}
	x.count.Store(st.count)
	s.maxTime.Store(st.maxTimestamp)
	s.ready.Store(true)
	return h, nil
}

// rouse makes a segment that was taken up as a close has left it ready for an append. Its index is open on the disk from
// then on, and says under which boot. What of it does not fit makes the append roll; want of room is the append's error.
func (h *hotSegment) rouse() error {
	if !h.resting {
		return nil
	}
	x := h.idx.Load()
	if !x.odd.Load() {
		err := x.goOn()
		if err == nil {
			err = x.markBoot(h.dir.bootMark)
		}
		if IsFull(err) {
			return fmt.Errorf("go on with index %s: %w", x.path, err)
		}
		if err != nil {
			h.dir.log.Warn().Err(err).Str("segment", h.path).Msg("the segment is sealed, since its index cannot be written on")
			x.odd.Store(true)
		}
	}
	if err := h.learnAge(); err != nil {
		return err
	}
	h.resting = false
	return nil
}

// learnAge finds out since when there is a segment that this run has not made.
func (h *hotSegment) learnAge() error {
	if info, err := h.dir.fs.Stat(h.path + dataSuffix); err == nil {
		h.created = info.ModTime
	}
	if h.size.Load() == 0 {
		return nil
	}
	f, err := h.file.pin()
	if err != nil {
		return err
	}
	defer h.file.unpin()
	w := h.walk(f, 0, h.size.Load())
	defer w.done()
	if first, err := w.peek(); err == nil {
		h.firstTime = first.MaxTimestamp()
	}
	return nil
}
