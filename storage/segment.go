package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"segue/storage/record"
	"segue/storage/vfs"
)

const (
	dataSuffix  = ".log"
	indexSuffix = ".idx"
	cutSuffix   = ".cut"
	tempSuffix  = ".tmp"

	kafkaIndexSuffix = ".index" // of the index that Kafka keeps; not ours to read
)

// segmentName returns the name of a segment's file without its suffix: the base offset in 20 digits, as Kafka
// writes it.
func segmentName(base record.Offset) string { return fmt.Sprintf("%020d", base) }

// parseSegmentName returns the base offset of a segment's data file.
func parseSegmentName(name string) (record.Offset, bool) {
	digits, ok := strings.CutSuffix(name, dataSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return record.Offset(n), err == nil && n >= 0
}

// Segment is a run of batches in one data file, with its index. Sealed, it never changes any more; while it is hot,
// the log's writer appends to it through hotSegment, and readers see whole batches up to size.
//
// A segment counts who holds it: the log's list for as long as it stands there, and every read that is under way.
// When the last one lets go its handles are closed, and its files are removed if the segment was dropped from the
// log meanwhile. So neither retention nor deletion disturbs a fetch.
type Segment struct {
	dir  *Dir
	base record.Offset
	path string // of the files, without suffix
	file *handle[vfs.File]

	idx     atomic.Pointer[index] // replaced when it has to be made again
	ready   atomic.Bool           // the index's entries are visible and maxTime is known
	size    atomic.Int64          // bytes of whole batches
	maxTime atomic.Int64          // largest timestamp of the segment; noTimestamp in an empty one

	durable atomic.Bool // sealed, and all of it is known to be synced
	named   atomic.Bool // a sync since it was made or found has covered its name

	holds     atomic.Int64
	droppedBy atomic.Pointer[Log] // which has the files removed when the last hold goes; nil while it has the segment

	damage   atomic.Pointer[[]span] // what recovery, or the making of the index, found unsound
	surveyed atomic.Bool            // all of it was read for damage since it was opened

	making   sync.Mutex             // held by who makes the index again, and by the exchange for another segment
	replaced atomic.Bool            // another segment has taken its place, and perhaps its files' names
	swap     atomic.Pointer[string] // where its data is as long as that has not got its own name; nil then
}

// dataPath is where the segment's data is.
func (s *Segment) dataPath() string {
	if p := s.swap.Load(); p != nil {
		return *p
	}
	return s.path + dataSuffix
}

// span is a stretch of a segment that holds no sound batch: the bytes from..to, where the offsets low..high-1 are
// missing; or a batch that is sound but for a part of its header that reading it does not need.
type span struct {
	from, to  int64
	low, high record.Offset
	cause     error
	readable  bool
}

// holes returns the damaged stretches of the segment, in order.
func (s *Segment) holes() []span {
	if p := s.damage.Load(); p != nil {
		return *p
	}
	return nil
}

// isForeign says whether Kafka wrote the segment with that path: its index stands beside it. Then nothing is known of
// what was synced, and compaction may have left gaps.
func isForeign(fsys vfs.FS, path string) bool {
	_, err := fsys.Stat(path + kafkaIndexSuffix)
	return err == nil
}

// noTimestamp is the timestamp of records that have none, as Kafka writes it.
const noTimestamp = -1

func newSegment(d *Dir, folder string, base record.Offset, indexLimit int64) *Segment {
	s := &Segment{dir: d, base: base, path: filepath.Join(folder, segmentName(base))}
	s.file = newHandle(d.handles, func() (vfs.File, error) { return d.fs.OpenFile(s.dataPath()) })
	s.idx.Store(newIndex(d.fs, d.handles, s.path+indexSuffix, base, indexLimit))
	s.maxTime.Store(noTimestamp)
	s.holds.Store(1)
	return s
}

// hold keeps the segment and its files for the caller until release. It fails once the segment is gone.
func (s *Segment) hold() bool {
	for {
		n := s.holds.Load()
		if n == 0 {
			return false
		}
		if s.holds.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives back a hold.
func (s *Segment) release() {
	if s.holds.Add(-1) > 0 {
		return
	}
	s.shut()
	if l := s.droppedBy.Load(); l != nil {
		s.dir.cleaner.remove(trash{log: l, paths: []string{s.dataPath(), s.path + indexSuffix}})
	}
}

// shut closes the segment's handles as soon as nobody has them pinned, for good. What is being read can be read to the
// end; whoever comes later gets ErrClosed.
func (s *Segment) shut() {
	if err := errors.Join(s.file.drop(), s.idx.Load().mapped.drop()); err != nil {
		s.dir.log.Warn().Err(err).Str("segment", s.path).Msg("closing a segment failed")
	}
}

// drop gives back the log's own hold and has the files removed once nobody reads them.
func (s *Segment) drop(by *Log) {
	s.droppedBy.Store(by)
	s.release()
}

// corrupt returns the error for bytes at a position that are not a sound batch.
func (s *Segment) corrupt(position int64, offset record.Offset, cause error) error {
	return &CorruptError{File: s.dataPath(), Position: position, Offset: offset, Err: cause}
}

// find returns the first batch that holds an offset at or above from, looking at the bytes below limit. io.EOF says
// that there is none.
func (s *Segment) find(f io.ReaderAt, from record.Offset, limit int64) (place, error) {
	for _, hole := range s.holes() {
		if hole.low <= from && from < hole.high {
			return place{}, s.corrupt(hole.from, from, hole.cause)
		}
	}
	var e indexEntry
	idx := s.idx.Load()
	if from > s.base {
		e = s.hint(idx, func() (indexEntry, error) { return idx.floorOffset(uint32(min(from-s.base, 1<<32-1)), limit) })
	}
	w := s.walk(f, int64(e.Position), limit)
	defer w.done()
	w.check(idx, e)
	return w.first(func(h record.Header) bool { return h.LastOffset() >= from })
}

// boundary returns the last end of a batch at or below want, which lies behind the start of the first one. It returns
// that start where not even the first batch ends in time.
func (s *Segment) boundary(f io.ReaderAt, first place, want, limit int64) (int64, error) {
	idx := s.idx.Load()
	e := s.hint(idx, func() (indexEntry, error) { return idx.floorPosition(want) })
	from := first.pos
	w := s.walk(f, from, limit)
	defer w.done()
	w.least = first.base
	if at := int64(e.Position); at > from {
		w.pos = at
		w.check(idx, e)
		w.pos = max(w.pos, from)
	}
	for {
		h, err := w.peek()
		if err == io.EOF {
			return w.pos, nil
		}
		if err != nil {
			var c *CorruptError
			if errors.As(err, &c) && w.pos > from {
				return w.pos, nil // what lies before the damage can be read
			}
			return 0, err
		}
		if w.pos+int64(h.Size()) > want {
			return w.pos, nil
		}
		w.skip(h)
	}
}

// firstAtOrAfter returns the first batch that holds a record at or after a timestamp. io.EOF says that there is
// none.
func (s *Segment) firstAtOrAfter(f io.ReaderAt, unixMilli, limit int64) (place, error) {
	idx := s.idx.Load()
	e := s.hint(idx, func() (indexEntry, error) { return idx.floorTime(unixMilli, limit) })
	w := s.walk(f, int64(e.Position), limit)
	defer w.done()
	w.check(idx, e)
	return w.first(func(h record.Header) bool { return h.MaxTimestamp() >= unixMilli })
}

// hint asks the index. One that cannot be read is as good as none: the search begins at the start of the segment. It
// is made again if it is the index that is wrong, and not that its file could not be opened just now.
func (s *Segment) hint(x *index, look func() (indexEntry, error)) indexEntry {
	e, err := look()
	if err == nil {
		return e
	}
	if errors.Is(err, errIndexOdd) || errors.Is(err, fs.ErrNotExist) {
		s.markOdd(x)
	}
	return indexEntry{MaxBefore: noTimestamp}
}

// markOdd has an index made again: a sealed segment's when it is next used, the hot one's after the roll that the
// next append brings.
func (s *Segment) markOdd(x *index) {
	if !x.odd.Swap(true) {
		s.dir.counters.indexesOdd.Add(1)
		s.dir.log.Warn().Str("index", x.path).Msg("index does not fit its segment; it will be made again")
	}
	s.ready.Store(false)
}

// load makes a sealed segment's index ready for look-ups: it is checked, and made again where it is missing, odd or
// was never closed. Next is the base offset of the segment behind it; gaps says that offsets may be missing before it
// because compaction took them. Callers of one segment share the work.
func (s *Segment) load(next record.Offset, gaps bool) error {
	if s.ready.Load() {
		return nil
	}
	// By the segment and not by its path: a topic that was deleted and made again has another segment there.
	_, err, _ := s.dir.loads.Do(fmt.Sprintf("%p", s), func() (any, error) {
		if s.ready.Load() {
			return nil, nil
		}
		x := s.idx.Load()
		if !x.odd.Load() {
			st, err := x.load(s.size.Load())
			if err == nil && st.closed {
				s.maxTime.Store(st.maxTimestamp)
				if size := s.size.Load(); !gaps && st.synced == size && st.syncedTo < next {
					s.noteDamage([]span{missing(size, st.syncedTo, next)})
				}
				s.ready.Store(true)
				return nil, nil
			}
			if err != nil && !errors.Is(err, errIndexOdd) && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		return nil, s.rebuild(next, gaps)
	})
	return err
}

// missing is the stretch at the end of a segment of that size, which holds no bytes, for offsets whose segments are not
// there.
func missing(size int64, low, high record.Offset) span {
	return span{from: size, to: size, low: low, high: high, cause: errMissing}
}

var errMissing = errors.New("the segment that held these offsets is not there")

// rebuild makes the index of a sealed segment again from its batches and puts it in the place of the old one.
func (s *Segment) rebuild(next record.Offset, gaps bool) error {
	s.making.Lock()
	defer s.making.Unlock()
	if s.replaced.Load() {
		return ErrClosed // the place of its index is another's
	}
	f, err := s.file.pin()
	if err != nil {
		return err
	}
	defer s.file.unpin()
	s.surveyed.Store(true)
	b := indexBuilder{base: s.base}
	c := &checker{s: s, f: f, size: s.size.Load(), least: s.base, next: next, settled: true, maxTime: noTimestamp, lastEpoch: -1, onBatch: b.add}
	if err := c.run(context.Background()); err != nil {
		return err
	}
	if c.least < next && !gaps && !isForeign(s.dir.fs, s.path) {
		c.note(missing(c.size, c.least, next))
	}
	b.maxTime = c.maxTime
	s.noteDamage(c.damage)
	old := s.idx.Load()
	if b.synced, b.syncedTo = s.size.Load(), c.least; !s.durable.Load() {
		b.synced, b.syncedTo = old.synced() // that the bytes can be read does not say that they were ever synced
	}
	fresh, err := b.write(s.dir, old.path, s.size.Load(), len(c.damage) == 0)
	if err == nil {
		fresh.count.Store(int64(len(b.entries)))
		s.dir.counters.indexesRebuilt.Add(1)
	} else {
		// A disk that is full, or takes no writes any more, can still be read.
		s.dir.log.Warn().Err(err).Str("index", old.path).Msg("index not made again; reads of its segment are slow until the next open")
		fresh = newIndex(s.dir.fs, s.dir.handles, old.path, s.base, 0)
		fresh.full = true
	}
	s.maxTime.Store(b.maxTime)
	s.idx.Store(fresh)
	s.ready.Store(true)
	if err := old.mapped.drop(); err != nil {
		s.dir.log.Warn().Err(err).Msg("closing a replaced index failed")
	}
	return nil
}

// defaultIndexInterval is Kafka's default for index.interval.bytes, used for indexes that are made again.
const defaultIndexInterval = 4096

// noteDamage remembers and reports what of the segment cannot be read.
func (s *Segment) noteDamage(damage []span) {
	holes := make([]span, 0, len(damage))
	for _, found := range damage {
		s.dir.counters.damage.Add(1)
		what := "segment is damaged: these offsets can be read nevertheless"
		if !found.readable {
			holes = append(holes, found)
			what = "segment is damaged: these offsets cannot be read, the ones around them can"
		}
		s.dir.log.Error().Err(found.cause).Str("segment", s.path).Int64("from_byte", found.from).Int64("to_byte", found.to).
			Int64("from_offset", int64(found.low)).Int64("to_offset", int64(found.high)).Msg(what)
	}
	s.damage.Store(&holes)
}

// indexBuilder gathers the entries of an index in memory.
type indexBuilder struct {
	base    record.Offset
	entries []indexEntry
	last    int64 // position of the last entry
	maxTime int64

	// What is to be noted of syncs.
	synced   int64
	syncedTo record.Offset
}

// add takes in the batch at a position, in order.
func (b *indexBuilder) add(batch record.Batch, pos, maxBefore int64) {
	if pos-b.last >= defaultIndexInterval {
		b.entries = append(b.entries, indexEntry{Relative: uint32(batch.BaseOffset() - b.base), Position: uint32(pos), MaxBefore: maxBefore})
		b.last = pos
	}
}

// encode returns an index file of the entries, for a segment of that many bytes.
func (b *indexBuilder) encode(dataSize int64, closed bool) []byte {
	n := int64(len(b.entries))
	buf := make([]byte, indexHeaderSize+n*indexEntrySize)
	copy(buf, indexMagic)
	order.PutUint32(buf[8:], indexVersion)
	order.PutUint64(buf[16:], uint64(b.base))
	for i, e := range b.entries {
		putEntry(buf[indexHeaderSize+i*indexEntrySize:], e)
	}
	closeHeader(buf, n, dataSize, b.maxTime)
	putNote(buf, b.synced, b.syncedTo)
	if !closed {
		order.PutUint32(buf[12:], indexOpen)
	}
	return buf
}

// write makes an index file of the entries, in the place of the one at path. Left open, it is made again at the
// next open, which a damaged segment needs so that its damage is found again.
func (b *indexBuilder) write(d *Dir, path string, dataSize int64, closed bool) (*index, error) {
	buf := b.encode(dataSize, closed)
	if err := writeFile(d.fs, path, buf); err != nil {
		return nil, err
	}
	return newIndex(d.fs, d.handles, path, b.base, int64(len(buf))), nil
}

// writeFile replaces the file at path by one with that content, which is synced before it takes the name. After a
// crash the old file or the new one is there, whole. The name itself is durable once the folder has been synced.
func writeFile(fsys vfs.FS, path string, content []byte) error {
	return replaceFile(fsys, path, content, vfs.File.Sync)
}

// replaceFile is writeFile with a sync of the caller's.
func replaceFile(fsys vfs.FS, path string, content []byte, sync func(vfs.File) error) error {
	temp := path + tempSuffix
	if err := removeIfThere(fsys, temp); err != nil {
		return err
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = sync(f)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsys.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(fsys, temp))
	}
	return nil
}

func removeIfThere(fsys vfs.FS, path string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
