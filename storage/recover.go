package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// recovered is what opening a log's folder found.
type recovered struct {
	segments  []*Segment
	hot       *hotSegment // the last of segments; nil if there is none
	start     record.Offset
	end       record.Offset
	lastEpoch int32
	hasFolder bool
	// checkpointed is where a checkpoint stands that spares the next open everything, if nothing is written before it.
	checkpointed record.Offset
}

// recovery opens the folder of one log after whatever has happened to it.
//
// It begins at the newest checkpoint that is sound; everything below that was sound and synced when the checkpoint
// was written. From there it reads every batch and checks it. Where a batch is not sound there are two cases:
//
//   - Torn: the bytes were never known to be synced, and nothing rests on them. They, and all behind them, are cut
//     off and kept in a .cut file.
//   - Damaged: the bytes were synced once (the index notes how far), or the machine has not been restarted since
//     they were written and more sound batches follow. Nothing is cut: the log goes on behind the damage, reads of
//     the offsets in it fail, and those around it do not.
type recovery struct {
	l     *Log
	d     *Dir
	point *point // where the checking begins; nil for the very start
	saved []savedPoint
	files []segmentFile
	start record.Offset
	// sameBoot says that the machine has not been restarted since the log was last open. That it was not since the
	// directory was is not enough: the last run may have ended before it came to this log.
	sameBoot bool
	result   recovered
}

// savedPoint is a checkpoint that is sound.
type savedPoint struct {
	file string
	point
}

type segmentFile struct {
	base     record.Offset
	size     int64
	foreign  bool          // Kafka's index stands beside it
	synced   int64         // bytes that were synced, as the index notes; 0 where it does not
	syncedTo record.Offset // the offset behind them
}

// recoverLog opens the log's folder, and returns an empty log where there is none.
func recoverLog(ctx context.Context, l *Log) (recovered, error) {
	r := &recovery{l: l, d: l.dir, result: recovered{lastEpoch: -1}}
	found, err := r.look()
	if err == nil && found {
		r.result.hasFolder = true
		if err = r.segments(ctx); err == nil {
			err = r.dropCheckpoints()
		}
	}
	if err != nil {
		for _, s := range r.result.segments {
			s.release()
		}
		return recovered{}, fmt.Errorf("open %s: %w", l.id, err)
	}
	return r.result, nil
}

// look reads the folder and everything in it that is not a segment.
func (r *recovery) look() (found bool, err error) {
	folder, fsys := r.l.folder, r.d.fs
	entries, err := fsys.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	id, known, err := readMetadata(fsys, folder)
	switch {
	case err != nil:
		return false, err
	case known && id != r.l.id.TopicID:
		return false, r.d.setAside(r.l.id.Folder(), id)
	case !known:
		// Nothing was acknowledged in here before the id was durable, or Kafka before 2.8 wrote it.
		if err := r.d.reserve.with(func() error { return writeMetadata(fsys, folder, r.l.id) }); err != nil {
			return false, err
		}
		if err := fsys.SyncDir(folder); err != nil {
			return false, err
		}
	}
	if r.start, err = readStart(fsys, folder); err != nil {
		return false, err
	}
	for _, e := range entries {
		base, isSegment := parseSegmentName(e.Name)
		switch {
		case isSegment && !e.Dir:
			r.files = append(r.files, segmentFile{base: base, size: e.Size})
		case strings.HasSuffix(e.Name, tempSuffix):
			// What a crash left of a file that was being replaced.
			if err := removeIfThere(fsys, filepath.Join(folder, e.Name)); err != nil {
				return false, err
			}
		}
	}
	if err := r.dropBelowStart(); err != nil {
		return false, err
	}
	return true, r.findPoint(entries)
}

// dropBelowStart finishes what the last run did not come to: segments that lie wholly below the log start are removed.
// That run may not even have come to make the log start durable.
func (r *recovery) dropBelowStart() error {
	below := func() bool { return len(r.files) > 1 && r.files[1].base <= r.start }
	if below() {
		if err := r.d.fs.SyncDir(r.l.folder); err != nil {
			return err
		}
	}
	for below() {
		path := filepath.Join(r.l.folder, segmentName(r.files[0].base))
		if err := errors.Join(removeIfThere(r.d.fs, path+dataSuffix), removeIfThere(r.d.fs, path+indexSuffix)); err != nil {
			r.d.log.Warn().Err(err).Msg("not removed")
		}
		r.files = r.files[1:]
	}
	return nil
}

// findPoint picks the newest checkpoint whose place is there.
func (r *recovery) findPoint(entries []vfs.Entry) error {
	for _, e := range entries {
		if !strings.HasSuffix(e.Name, checkpointSuffix) {
			continue
		}
		file := filepath.Join(r.l.folder, e.Name)
		p, _, err := readCheckpoint(r.d.fs, file, r.l.id.TopicID)
		if errors.Is(err, ErrNotFound) {
			r.d.log.Warn().Err(err).Msg("checkpoint ignored")
			continue
		}
		if err != nil {
			return err
		}
		r.saved = append(r.saved, savedPoint{file, p})
		for _, f := range r.files {
			if f.base == p.base && f.size >= p.position && (r.point == nil || p.at > r.point.at) {
				r.point = &p
			}
		}
	}
	return nil
}

// dropCheckpoints removes, durably, the checkpoints that stand behind the end that was found. They tell of records that
// are gone, and once the log has grown past them again nothing would show it.
func (r *recovery) dropCheckpoints() error {
	removed := false
	for _, p := range r.saved {
		if p.at <= r.result.end {
			continue
		}
		r.d.log.Warn().Str("checkpoint", p.file).Int64("offset", int64(p.at)).Int64("log_end", int64(r.result.end)).
			Msg("checkpoint stands behind the end of the log; it is removed")
		if err := removeIfThere(r.d.fs, p.file); err != nil {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return r.d.fs.SyncDir(r.l.folder)
}

// segments opens the segments in order, the last one for writing.
func (r *recovery) segments(ctx context.Context) error {
	res := &r.result
	res.start, res.end = r.start, r.start
	if r.point != nil {
		res.lastEpoch = r.point.lastEpoch
	}
	limit := r.l.cfg.Load().IndexBytes
	for _, file := range r.files {
		s := newSegment(r.d, r.l.folder, file.base, limit)
		s.size.Store(file.size)
		res.segments = append(res.segments, s)
	}
	if len(r.files) > 0 {
		res.start = max(r.start, r.files[0].base)
	}
	r.readNotes(res.segments)
	for i, s := range res.segments {
		s.durable.Store(i < len(res.segments)-1) // the check settles what is not yet
		if r.point != nil && s.base < r.point.base {
			continue // below the checkpoint
		}
		cut, err := r.check(ctx, i, s)
		if err != nil {
			return err
		}
		if cut && i < len(r.files)-1 {
			for _, behind := range res.segments[i+1:] {
				behind.release()
			}
			res.segments = res.segments[:i+1]
			if err := r.setAside(r.files[i+1:]); err != nil {
				return err
			}
			return r.openHot(s, false)
		}
	}
	return nil
}

// check reads a segment from the checkpoint on, cuts what is torn, and syncs what is kept. For the last segment it
// keeps the index in step.
func (r *recovery) check(ctx context.Context, i int, s *Segment) (cut bool, err error) {
	f, err := s.file.pin()
	if err != nil {
		return false, err
	}
	defer s.file.unpin()
	last := i == len(r.files)-1
	c := &checker{
		s: s, f: f, size: s.size.Load(), next: noNext, sameBoot: r.sameBoot,
		synced: r.files[i].synced, syncedTo: r.files[i].syncedTo, settled: r.settled(i),
	}
	if !last {
		c.next = r.files[i+1].base
	}
	c.least, c.maxTime, c.lastEpoch = s.base, noTimestamp, -1
	known := c.synced
	if p := r.point; p != nil && p.base == s.base {
		c.pos, c.least, c.maxTime, c.lastEpoch = p.position, p.at, p.maxTimestamp, p.lastEpoch
		known = max(known, p.position)
		c.synced, c.syncedTo = known, max(c.syncedTo, p.at)
	}
	indexed := false
	if last {
		x := r.hotIndex(s, c)
		if indexed = x != nil; !indexed || x.count.Load() == 0 {
			c.pos, c.least, c.maxTime, c.lastEpoch = 0, s.base, noTimestamp, -1
		}
		if indexed {
			c.onBatch = (&indexWriter{x: x, base: s.base, last: lastEntry(x)}).add
		}
	}
	from := c.pos
	if err := c.run(ctx); err != nil {
		return false, err
	}
	if c.torn == nil && c.least < c.next && !last && !c.settled && !r.l.cfg.Load().Compact {
		c.torn = fmt.Errorf("it ends at offset %d, the next segment starts at %d", c.least, c.next)
	}
	r.result.end = max(c.least, r.start)
	r.result.lastEpoch = max(r.result.lastEpoch, c.lastEpoch)
	s.noteDamage(c.damage)
	s.maxTime.Store(c.maxTime)
	if c.torn != nil {
		if err := r.cutTail(s, f, c.pos, c.size, c.least, c.torn); err != nil {
			return false, err
		}
	}
	if c.pos > known || c.torn != nil {
		if err := r.settle(f, max(known, from), c.pos, known == 0); err != nil {
			return false, err
		}
	}
	s.size.Store(c.pos)
	r.note(s, c)
	if p := r.point; indexed && p != nil && p.at == r.result.end && p.position == c.pos && p.entries == s.idx.Load().count.Load() {
		r.result.checkpointed = p.at
	}
	if last {
		return c.torn != nil, r.openHot(s, indexed)
	}
	return c.torn != nil, nil
}

// note writes down in a segment's index how far it is synced now, so that what is known of it does not get lost with a
// crash before the next sync. Where there is damage it is made durable at once: without it the next open could take the
// damage for torn, or hand the offsets of a lost end out again.
func (r *recovery) note(s *Segment, c *checker) {
	x := s.idx.Load()
	err := x.noteSynced(max(c.pos, c.synced), max(c.least, c.syncedTo))
	if len(c.damage) == 0 {
		return // without an index there is nothing to know, and nothing to lose
	}
	if err == nil {
		err = x.sync()
	}
	if err == nil {
		err = r.d.fs.SyncDir(r.l.folder)
	}
	if err != nil {
		r.d.log.Warn().Err(err).Str("segment", s.path).Msg("synced end of a damaged segment not noted")
	}
}

// settled says whether all of a segment that is not the last counts as synced although its own index does not say so:
// a later segment has been synced, which happens in order; or the machine stayed up, so nothing was lost; or Kafka
// wrote the segment, about whose syncs nothing is known, and then nothing may be cut.
func (r *recovery) settled(i int) bool {
	later := r.files[i+1:]
	if len(later) == 0 {
		return false
	}
	if r.sameBoot || r.files[i].foreign {
		return true
	}
	for _, f := range later {
		if f.synced > 0 {
			return true
		}
	}
	return false
}

// settle makes a stretch durable that may not have been synced before, and the names that lead to it.
func (r *recovery) settle(f vfs.File, from, to int64, newFile bool) error {
	if r.d.inDoubt(r.l.id.Folder()) {
		// A sync that failed in the last run, or in this one, may have left pages that look clean and never reached the
		// disk. Written again they are dirty again, and this sync answers for them.
		if err := rewrite(f, from, to); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := r.d.fs.SyncDir(r.l.folder); err != nil || !newFile {
		return err
	}
	return r.d.fs.SyncDir(r.d.path) // the folder may be as new
}

// indexWriter adds the entries of batches that are read again to the index of the hot segment.
type indexWriter struct {
	x    *index
	base record.Offset
	last int64 // position of the last entry
}

func (w *indexWriter) add(h record.Header, pos, maxBefore int64) {
	if pos-w.last < defaultIndexInterval {
		return
	}
	// A full index says so itself when the next batch is appended.
	if w.x.add(indexEntry{Relative: uint32(h.BaseOffset() - w.base), Position: uint32(pos), MaxBefore: maxBefore}) == nil {
		w.last = pos
	}
}

// lastEntry returns the position of an index's last entry.
func lastEntry(x *index) int64 {
	e, err := x.floorPosition(math.MaxInt64)
	if err != nil {
		return 0
	}
	return int64(e.Position)
}

// readNotes reads what the index files from the checkpoint on note of syncs.
func (r *recovery) readNotes(segments []*Segment) {
	for i, s := range segments {
		if r.point != nil && s.base < r.point.base {
			continue
		}
		// Of an index that is missing or odd there is nothing to know; what it notes counts even if the rest is odd.
		st, _ := s.idx.Load().load(s.size.Load())
		r.files[i].synced, r.files[i].syncedTo = st.synced, st.syncedTo
		r.sameBoot = r.d.sameBoot && st.bootMark == r.d.bootMark // the last one's counts
		s.idx.Load().count.Store(0)
		_, err := r.d.fs.Stat(s.path + kafkaIndexSuffix)
		r.files[i].foreign = err == nil
	}
}

// hotIndex returns the index of the last segment ready to be written from the checkpoint on, or a new, empty one
// with which the segment is to be read from its start; nil if the disk has no room even for that.
func (r *recovery) hotIndex(s *Segment, c *checker) *index {
	x := s.idx.Load()
	if r.point != nil && r.point.base == s.base && r.point.entries > 0 {
		err := x.reopen(r.point.entries, r.point.entriesSum)
		if err == nil {
			return x
		}
		r.d.log.Info().Err(err).Msg("index made again")
	}
	_ = x.mapped.drop() // it holds nothing that matters: the file is about to be replaced
	var fresh *index
	err := r.d.reserve.with(func() (err error) {
		fresh, err = createIndex(r.d.fs, r.d.handles, x.path, s.base, r.l.cfg.Load().IndexBytes)
		return err
	})
	if err != nil {
		r.d.log.Warn().Err(err).Str("segment", s.path).Msg("no index for the hot segment; reads of it are slow until the next roll")
		fresh = newIndex(r.d.fs, r.d.handles, x.path, s.base, r.l.cfg.Load().IndexBytes)
		s.idx.Store(fresh)
		return nil
	}
	defer fresh.mapped.unpin()
	s.idx.Store(fresh)
	if err := fresh.noteSynced(c.synced, c.syncedTo); err != nil { // the old one's note went with it
		r.d.log.Warn().Err(err).Msg("synced end not noted in the index")
	}
	return fresh
}

// openHot makes a segment the one that is written.
func (r *recovery) openHot(s *Segment, indexed bool) error {
	h := &hotSegment{Segment: s, created: time.Now(), firstTime: noTimestamp}
	if info, err := r.d.fs.Stat(s.path + dataSuffix); err == nil {
		h.created = info.ModTime
	}
	x := s.idx.Load()
	h.lastEntry = lastEntry(x)
	if !indexed || len(s.holes()) > 0 {
		x.odd.Store(true) // the next append rolls, and the index is made again when it is next used
	}
	if s.size.Load() > 0 {
		f, err := s.file.pin()
		if err != nil {
			return err
		}
		defer s.file.unpin()
		w := s.walk(f, 0, s.size.Load())
		defer w.done()
		if first, err := w.peek(); err == nil {
			h.firstTime = first.MaxTimestamp()
		}
	}
	s.ready.Store(indexed)
	r.result.hot = h
	// All that a power cut left torn is gone now. A log without the mark is opened as after one.
	if err := x.markBoot(r.d.bootMark); err != nil && indexed {
		return err
	}
	return nil
}

// cutTail moves what is behind a position into a file of its own and cuts the segment there.
func (r *recovery) cutTail(s *Segment, f vfs.File, pos, size int64, offset record.Offset, cause error) error {
	if pos == size {
		return nil // the end is missing, and with it what was to be kept
	}
	r.d.counters.cuts.Add(1)
	r.d.counters.cutBytes.Add(size - pos)
	keep := r.cutName(offset)
	r.d.log.Warn().Err(cause).Str("segment", s.path).Int64("offset", int64(offset)).Int64("at_byte", pos).
		Int64("bytes", size-pos).Str("kept_in", keep).
		Msg("the end of the log was never synced and is torn; it is cut off and kept")
	err := r.d.reserve.with(func() error { return copyTail(r.d.fs, f, pos, size, keep) })
	if err == nil {
		err = r.d.fs.SyncDir(r.l.folder)
	}
	if err == nil {
		err = f.Truncate(pos)
	}
	if err != nil {
		return fmt.Errorf("cut the torn end of %s: %w", s.path, err)
	}
	return nil
}

// setAside renames whole segments that lie behind one that was cut.
func (r *recovery) setAside(files []segmentFile) error {
	for _, file := range files {
		path := filepath.Join(r.l.folder, segmentName(file.base))
		keep := r.cutName(file.base)
		r.d.counters.cuts.Add(1)
		r.d.counters.cutBytes.Add(file.size)
		r.d.log.Warn().Str("segment", path).Int64("bytes", file.size).Str("kept_in", keep).
			Msg("segment lies behind a torn one; it was never synced and is set aside")
		if err := r.d.fs.Rename(path+dataSuffix, keep); err != nil {
			return err
		}
		if err := removeIfThere(r.d.fs, path+indexSuffix); err != nil {
			return err
		}
	}
	return r.d.fs.SyncDir(r.l.folder)
}

// cutName returns a free name for what is cut off at an offset.
func (r *recovery) cutName(offset record.Offset) string {
	name := filepath.Join(r.l.folder, segmentName(offset)+cutSuffix)
	free := name
	for n := 2; ; n++ {
		if _, err := r.d.fs.Stat(free); err != nil {
			return free
		}
		free = fmt.Sprintf("%s.%d", name, n)
	}
}

const copyBlock = 1 << 20

func copyTail(fsys vfs.FS, f vfs.File, pos, size int64, to string) (err error) {
	if err := removeIfThere(fsys, to); err != nil {
		return err
	}
	out, err := fsys.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	buf := make([]byte, min(copyBlock, size-pos))
	for at := pos; at < size; {
		n := min(int64(len(buf)), size-at)
		if _, err := f.ReadAt(buf[:n], at); err != nil {
			return err
		}
		if _, err := out.WriteAt(buf[:n], at-pos); err != nil {
			return err
		}
		at += n
	}
	return out.Sync()
}

// rewrite writes the bytes of a stretch over themselves.
func rewrite(f vfs.File, from, to int64) error {
	buf := make([]byte, min(copyBlock, to-from))
	for at := from; at < to; {
		n := min(int64(len(buf)), to-at)
		if _, err := f.ReadAt(buf[:n], at); err != nil && err != io.EOF {
			return err
		}
		if _, err := f.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += n
	}
	return nil
}
