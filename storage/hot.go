package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// hotSegment is the segment that a log appends to. All of it belongs to the log's writer; readers see the Segment.
type hotSegment struct {
	*Segment
	created   time.Time
	firstTime int64 // largest timestamp of the first batch; noTimestamp before it
	lastEntry int64 // position of the last index entry
	untidy    bool  // a failed write may have left bytes behind size
	cut       bool  // they were cut off, and the log does not know yet that this takes a sync
	resting   bool  // nothing was written since it was opened; see rouse
	rollDue   bool  // a roll has failed and may have left a file behind that begins where this segment ends
}

// createHot makes an empty segment in the log's folder. The files are there when it returns, but neither their
// names nor their bytes are durable yet.
func createHot(d *Dir, folder string, base record.Offset, c *Config) (*hotSegment, error) {
	s := newSegment(d, folder, base, c.IndexBytes)
	f, err := createData(d.fs, s.path+dataSuffix)
	if err != nil {
		return nil, err
	}
	s.file.adopt(f)
	defer s.file.unpin()
	x, err := createIndex(d.fs, d.handles, s.path+indexSuffix, base, c.IndexBytes)
	if err != nil {
		// Removed here and now: in the background it could hit the file that the next attempt makes.
		s.release()
		return nil, errors.Join(err, removeIfThere(d.fs, s.path+dataSuffix))
	}
	defer x.mapped.unpin()
	if err := x.markBoot(d.bootMark); err != nil {
		d.log.Warn().Err(err).Msg("boot not noted in the index")
	}
	s.idx.Store(x)
	s.ready.Store(true)
	return &hotSegment{Segment: s, created: time.Now(), firstTime: noTimestamp}, nil
}

// createData makes an empty data file. One that is there already can only be what a crash left of a roll that
// nothing was acknowledged in, if it is empty.
func createData(fsys vfs.FS, path string) (vfs.File, error) {
	info, err := fsys.Stat(path)
	switch {
	case err == nil && info.Size > 0:
		return nil, fmt.Errorf("segment %s is there already and holds %d bytes", path, info.Size)
	case err == nil:
		err = fsys.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return fsys.Create(path)
}

// mustRoll says whether a batch, its offsets set, that is to be written behind others of so many bytes belongs into a new
// segment, by size, by age less that part of the jitter, because its offsets do not fit, because the index takes no more,
// or because it was to be rolled before.
func (h *hotSegment) mustRoll(b record.Batch, ahead int64, c *Config, jitter float64) bool {
	size := h.size.Load()
	if size == 0 && ahead > 0 {
		return true // it is the first batch that a segment's age goes by: it has to be there
	}
	size += ahead
	if size == 0 {
		return len(h.holes()) > 0 // what it held is lost, and its name would tell where that was to have been
	}
	x := h.idx.Load()
	return size+int64(b.Size()) > min(c.SegmentBytes, math.MaxInt32) ||
		b.LastOffset()-h.base > math.MaxInt32 ||
		x.full || x.odd.Load() || h.rollDue ||
		h.age(b.MaxTimestamp()) > c.SegmentAge-time.Duration(jitter*float64(min(c.SegmentJitter, c.SegmentAge)))
}

// age is the time that the hot segment has been open, measured by the timestamps of its records where they have
// any, as Kafka does, so that a replayed history rolls as it did the first time.
func (h *hotSegment) age(newest int64) time.Duration {
	if h.firstTime >= 0 && newest >= 0 {
		return saturatingMillis(newest - h.firstTime)
	}
	return time.Since(h.created)
}

// saturatingMillis turns milliseconds into a Duration, which cannot hold them all.
func saturatingMillis(ms int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Millisecond)
	return time.Duration(min(max(ms, -most), most)) * time.Millisecond
}

// append writes batches, whose offsets are final, behind the last one, and leaves the data file pinned once for the
// caller: it holds unsynced bytes now. After an error it is not pinned, and the segment is as before, but for bytes
// behind its end that no reader sees and the next append cuts off.
func (h *hotSegment) append(batches []record.Batch, c *Config) (err error) {
	f, err := h.file.pin()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			h.file.unpin()
		}
	}()
	pos := h.size.Load()
	if h.untidy {
		if err := h.tidy(); err != nil {
			return err
		}
	}
	var few [8][]byte
	parts := few[:0]
	for _, b := range batches {
		parts = append(parts, b.Bytes())
	}
	if err := f.WriteParts(parts, pos); err != nil {
		h.untidy = true
		return errors.Join(err, h.tidy())
	}
	for _, b := range batches {
		h.note(b, pos, c)
		pos += int64(b.Size())
	}
	h.size.Store(pos)
	return nil
}

// note takes a batch that was written at a position into the index and into what is known of the segment's times.
func (h *hotSegment) note(b record.Batch, pos int64, c *Config) {
	if pos-h.lastEntry >= c.IndexInterval {
		e := indexEntry{Relative: uint32(b.BaseOffset() - h.base), Position: uint32(pos), MaxBefore: h.maxTime.Load()}
		switch err := h.idx.Load().add(e); {
		case err == nil:
			h.lastEntry = pos
		case !errors.Is(err, errIndexFull):
			// The batch is safe without its entry. If the index could not grow the next append rolls; otherwise the
			// next entry is tried after another interval.
			h.lastEntry = pos
			h.dir.log.Warn().Err(err).Msg("index entry not written")
		}
	}
	if h.firstTime == noTimestamp {
		h.firstTime = b.MaxTimestamp()
	}
	if t := b.MaxTimestamp(); t > h.maxTime.Load() {
		h.maxTime.Store(t)
	}
}

// tidy cuts off what a failed write has left behind the end.
func (h *hotSegment) tidy() error {
	f, err := h.file.pin()
	if err != nil {
		return err
	}
	defer h.file.unpin()
	if err := f.Truncate(h.size.Load()); err != nil {
		return fmt.Errorf("cut what a failed write left: %w", err)
	}
	h.untidy, h.cut = false, true
	return nil
}
