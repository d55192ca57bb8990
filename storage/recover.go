package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
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
	reached   record.Offset // the end as the segments tell it, below start if the log start is wrong
	lost      record.Offset // below it, from start on, the segments are missing
	lastEpoch int32
	hasFolder bool
	// checkpointed is where a checkpoint stands that spares the next open everything, if nothing is written before it.
	checkpointed record.Offset
	cleaned      cleaned
	found        foundState // one of the checkpoints
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
	l      *Log
	d      *Dir
	point  *point  // where the checking begins; nil for the very start
	proofs []proof // that the log once went on to an offset
	files  []segmentFile
	empty  []segmentFile // what was passed over
	start  record.Offset
	// sameBoot says that the machine has not been restarted since the log was last open. That it was not since the
	// directory was is not enough: the last run may have ended before it came to this log.
	sameBoot bool
	unproven bool // what is found may never have come to the disk
	result   recovered
}

// recoverLog opens the log's folder, and returns an empty log where there is none.
func recoverLog(ctx context.Context, l *Log) (recovered, error) {
	r := &recovery{l: l, d: l.dir, unproven: l.dir.doubts(l.id.Folder()), result: recovered{lastEpoch: -1}}
	entries, err := r.look(ctx)
	if err == nil && entries != nil {
		r.result.hasFolder = true
		var rested bool
		if rested, err = r.takeUp(entries); err == nil && !rested {
			err = r.segments(ctx)
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

// segments opens the segments in order, the last one for writing.
func (r *recovery) segments(ctx context.Context) error {
	res := &r.result
	told := r.told()
	res.start, res.end = r.start, max(r.start, told)
	if r.point != nil {
		res.lastEpoch = r.point.lastEpoch
	}
	for _, file := range r.files {
		res.segments = append(res.segments, r.segment(file))
	}
	r.findBeginning(told)
	if err := r.readNotes(res.segments); err != nil {
		return err
	}
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
			if err := r.setAside(r.behind(i), "segment lies behind a torn one; it was never synced and is set aside"); err != nil {
				return err
			}
			if err := r.openHot(s, false); err != nil {
				return err
			}
			break
		}
	}
	return r.settleStart()
}

// segment returns the segment of a file.
func (r *recovery) segment(file segmentFile) *Segment {
	s := newSegment(r.d, r.l.folder, file.base, r.l.cfg.Load().IndexBytes)
	s.size.Store(file.size)
	return s
}

// behind returns the files behind a segment. One that was passed over must not stay, or the next open takes it for the last.
func (r *recovery) behind(i int) []segmentFile {
	files := slices.Clone(r.files[i+1:])
	for _, f := range r.empty {
		if f.base > r.files[i].base {
			files = append(files, f)
		}
	}
	return files
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
	c := r.checker(i, s, f)
	known := c.synced
	if p := r.point; p != nil && p.base == s.base {
		if p.entries > 0 { // else the checkpoint does not know the timestamps below it
			c.pos, c.least, c.maxTime, c.lastEpoch = p.position, p.at, p.maxTimestamp, p.lastEpoch
		}
		known = max(known, p.position)
		c.synced, c.syncedTo = known, max(c.syncedTo, p.at)
	}
	indexed := false
	if last {
		x := r.hotIndex(s, c)
		if indexed = x != nil; !indexed || x.count.Load() == 0 || !r.pointHoldsBy(s, f, x) {
			if indexed {
				x.count.Store(0)
			}
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
	r.checkEnd(i, c)
	r.result.reached, r.result.end = c.least, max(c.least, r.start)
	r.result.lastEpoch = max(r.result.lastEpoch, c.lastEpoch)
	s.noteDamage(c.damage)
	s.surveyed.Store(from == 0)
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

// checkEnd looks, behind a sound segment, whether the next one follows. Below the log start it need not: the last run may
// have come to remove one segment and not an older one.
func (r *recovery) checkEnd(i int, c *checker) {
	switch {
	case c.torn != nil || c.next == noNext || c.least >= c.next || c.next <= r.start || r.files[i].foreign:
	case r.rests(i) || c.syncedTo >= c.next || r.told() >= c.next:
		if !r.l.cfg.Load().Compact {
			c.lost(c.size, errMissing)
		}
	case !r.mayHaveGaps(i):
		c.torn = fmt.Errorf("it ends at offset %d, the next segment starts at %d", c.least, c.next)
	}
}

// checker returns a checker of a whole segment that knows what is known of it.
func (r *recovery) checker(i int, s *Segment, f vfs.File) *checker {
	c := &checker{
		s: s, f: f, size: s.size.Load(), next: noNext, sameBoot: r.sameBoot,
		synced: r.files[i].synced, syncedTo: r.files[i].syncedTo, settled: r.settled(i),
		least: s.base, maxTime: noTimestamp, lastEpoch: -1,
	}
	if i == len(r.files)-1 {
		c.syncedTo = max(c.syncedTo, r.told())
	} else {
		c.next = r.files[i+1].base
	}
	return c
}

// mayHaveGaps says whether compaction may have taken the end of a segment that is not known to be synced: Kafka's, in a
// folder that came without its indexes. Of a segment that Segue has written there is an index if there is a segment
// behind it, for its name was durable before that one was made.
func (r *recovery) mayHaveGaps(i int) bool { return r.l.cfg.Load().Compact && !r.files[i].own }

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
		err = x.markOpen()
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

// settled says whether all of a segment counts as synced although its own index does not say so: a later segment has been
// synced, which happens in order; or the machine stayed up, so nothing was lost; or Kafka
// wrote the segment, about whose syncs nothing is known, and then nothing may be cut.
func (r *recovery) settled(i int) bool {
	for _, p := range r.proofs {
		if p.base > r.files[i].base {
			return true
		}
	}
	return r.rests(i)
}

// rests says whether something that is known rests on all up to the segment behind the i-th. A proof that the log once
// came to a segment of which nothing is left does not.
func (r *recovery) rests(i int) bool {
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
	if r.unproven {
		// A sync that failed in the last run may have left pages that look clean and never reached the disk. Written
		// again they are dirty again, and this sync answers for them.
		if err := r.d.reserve.with(forRoom, func() error { return rewrite(f, from, to) }); err != nil {
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

func (w *indexWriter) add(b record.Batch, pos, maxBefore int64) {
	if pos-w.last < defaultIndexInterval {
		return
	}
	// A full index says so itself when the next batch is appended.
	if w.x.add(indexEntry{Relative: uint32(b.BaseOffset() - w.base), Position: uint32(pos), MaxBefore: maxBefore}) == nil {
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

// readNotes reads what the index files from the checkpoint on note of syncs. Of an index that is missing or odd there is
// nothing to know. One that cannot be read just now is another matter: what it notes tells damaged from torn.
func (r *recovery) readNotes(segments []*Segment) error {
	for i, s := range segments {
		if r.point != nil && s.base < r.point.base {
			continue
		}
		if r.files[i].swap != "" { // an index of that name is of another file
			r.files[i].own = true
			continue
		}
		st, err := s.idx.Load().load(s.size.Load())
		if err := readable(err); err != nil {
			return err
		}
		described := slices.ContainsFunc(r.proofs, func(p proof) bool { return p.base == s.base })
		r.files[i].own = described || !errors.Is(err, fs.ErrNotExist)
		r.files[i].noteProof(st.synced, st.syncedTo)
		r.sameBoot = r.d.bootMark != 0 && st.bootMark == r.d.bootMark // the last one's counts
		s.idx.Load().count.Store(0)
		r.files[i].foreign = isForeign(r.d.fs, s.path)
	}
	return nil
}

// pointHolds looks whether the batches below the checkpoint lead to its place and offset, from an index entry on.
// The end of the log rests on nothing else where nothing was written behind the checkpoint.
func (r *recovery) pointHolds(s *Segment, f vfs.File, e indexEntry) bool {
	w := s.walk(f, int64(e.Position), r.point.position)
	defer w.done()
	w.least = s.base + record.Offset(e.Relative)
	for {
		h, err := w.peek()
		if err != nil {
			return err == io.EOF && w.pos == r.point.position && w.least <= r.point.at
		}
		w.skip(h)
	}
}

// pointHoldsBy is pointHolds from the last entry of an index on.
func (r *recovery) pointHoldsBy(s *Segment, f vfs.File, x *index) bool {
	e, err := x.floorPosition(r.point.position)
	return err == nil && r.pointHolds(s, f, e)
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
	err := r.d.reserve.with(forRoom, func() (err error) {
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
	x := s.idx.Load()
	h.lastEntry = lastEntry(x)
	if !indexed || len(s.holes()) > 0 {
		x.odd.Store(true) // the next append rolls, and the index is made again when it is next used
	}
	if err := h.learnAge(); err != nil {
		return err
	}
	s.ready.Store(indexed)
	r.result.hot = h
	// All that a power cut left torn is gone now. A log without the mark is opened as after one.
	if err := x.markBoot(r.d.bootMark); err != nil && indexed {
		return err
	}
	return nil
}
