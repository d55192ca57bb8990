package storage

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"segue/storage/record"
)

// segments reads all data files, as a start would read those that no checkpoint spares it.
func (v *verifier) segments(ctx context.Context) error {
	r := v.r
	var segments []*Segment
	defer func() {
		for _, s := range segments {
			s.release()
		}
	}()
	for _, file := range r.files {
		s := newSegment(v.in.d, v.folder, file.base, 0)
		s.size.Store(file.size)
		if file.swap != "" {
			path := filepath.Join(v.folder, file.swap)
			s.swap.Store(&path)
		}
		segments = append(segments, s)
	}
	point := r.point
	r.point = nil // all of the notes are wanted
	err := r.readNotes(segments)
	r.point = point
	if err != nil {
		return err
	}
	first, reached := r.told(), record.Offset(0)
	if len(segments) > 0 {
		first = segments[0].base
	}
	if first > r.start && (len(segments) == 0 || !isForeign(v.in.d.fs, segments[0].path)) {
		v.report(v.folder, -1, r.start, first, errors.New("the first segments are missing"), outcomeKept, false)
	}
	torn := false
	for i, s := range segments {
		end, cut, err := v.segment(ctx, i, s)
		if err != nil {
			return err
		}
		if cut && !torn && i < len(segments)-1 {
			v.report(segments[i+1].path+dataSuffix, -1, segments[i+1].base, -1, errors.New("the segment before it is torn"), outcomeAside, true)
		}
		torn, reached = torn || cut, end
	}
	if reached < r.start && len(segments) > 0 && !torn {
		v.report(filepath.Join(v.folder, startFile), -1, reached, r.start,
			fmt.Errorf("it says that records up to %d are deleted, and the log ends at %d", r.start, reached),
			"all segments are set aside as .cut files, and the log goes on at that offset", false)
	}
	return nil
}

// segment reads a data file and holds its index against it. It returns the offset behind the last batch, and whether the
// next start would cut something off.
func (v *verifier) segment(ctx context.Context, i int, s *Segment) (end record.Offset, cut bool, err error) {
	f, err := s.file.pin()
	if err != nil {
		return 0, false, err
	}
	defer s.file.unpin()
	c := v.r.checker(i, s, f)
	x, err := v.openIndex(s)
	if err != nil {
		return 0, false, err
	}
	told := int64(0)
	progress := func(at int64) {
		if v.options.Progress != nil && at > told {
			v.options.Progress(at - told)
			told = at
		}
	}
	c.onBatch = func(b record.Batch, pos, maxBefore int64) {
		v.sum.Batches++
		v.sum.Records += int64(b.Count())
		x.batch(b, pos, maxBefore)
		if v.options.Records {
			v.records(s, b, pos)
		}
		progress(pos + int64(b.Size()))
	}
	c.onSpan = func(d span) {
		x.blind = true
		v.report(s.dataPath(), d.from, d.low, d.high, d.cause, v.outcome(s, d), false)
		progress(d.to)
	}
	if err := c.run(ctx); err != nil {
		return c.least, false, v.tell(filepath.Base(s.path)+dataSuffix, err)
	}
	v.r.checkEnd(i, c)
	if c.torn != nil {
		v.report(s.dataPath(), c.pos, c.least, -1, c.torn, outcomeCut, true)
		if v.sum.CutFile == "" {
			v.sum.CutFile, v.sum.CutAt = s.path+dataSuffix, c.pos
		}
	}
	progress(c.size)
	v.sum.Segments++
	v.sum.Bytes += c.size
	x.end(c)
	return c.least, c.torn != nil, nil
}

// outcome says what becomes of a damaged stretch.
func (v *verifier) outcome(s *Segment, d span) string {
	p := v.r.point
	switch {
	case d.readable:
		return outcomeSound
	case p != nil && (s.base < p.base || s.base == p.base && d.from < p.position) && errors.Is(d.cause, record.ErrChecksum):
		return outcomePassed
	}
	return outcomeKept
}

// records walks the records of a batch.
func (v *verifier) records(s *Segment, b record.Batch, pos int64) {
	for _, err := range b.Records(v.in.d.decompressor) {
		if err != nil {
			v.report(s.dataPath(), pos, b.BaseOffset(), b.NextOffset(), err, "kept, and sent as its producer wrote it", false)
			return
		}
	}
}

// indexCheck holds an index against the batches that it is of.
type indexCheck struct {
	v     *verifier
	path  string
	base  record.Offset
	file  []byte
	state indexState
	bad   error // the first thing that is wrong with it
	blind bool  // there was damage: what an entry should say behind it is not known
	next  int   // entry that is expected next
}

// openIndex reads the index of a segment, of which nothing is known to be wrong.
func (v *verifier) openIndex(s *Segment) (*indexCheck, error) {
	x := &indexCheck{v: v, path: s.path + indexSuffix, base: s.base}
	if s.swap.Load() != nil {
		return x, nil // the next start makes it
	}
	var err error
	x.file, err = readFile(v.in.d.fs, x.path, maxCheckpoint)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !isForeign(v.in.d.fs, s.path) {
			v.report(x.path, -1, -1, -1, errors.New("the index is missing"), outcomeRebuilt, true)
		}
		return x, nil
	case err != nil && !errors.Is(err, errUnsound):
		return nil, err
	case err != nil:
		x.bad = err
	case len(x.file) < indexHeaderSize:
		x.bad = fmt.Errorf("it has %d bytes", len(x.file))
	default:
		x.header()
	}
	if x.bad == nil {
		x.checkpointed()
	}
	return x, nil
}

func (x *indexCheck) fail(format string, args ...any) {
	if x.bad == nil {
		x.bad = fmt.Errorf(format, args...)
	}
}

// header reads what the header says of itself.
func (x *indexCheck) header() {
	b := x.file
	note := b[noteAt:bootMarkAt]
	switch v := order.Uint32(b[8:]); {
	case string(b[:8]) != string(indexMagic):
		x.fail("it is not an index")
	case v != indexVersion:
		x.fail("format version %d, this broker knows %d", v, indexVersion)
	case order.Uint64(b[16:]) != uint64(x.base):
		x.fail("it is of the segment at offset %d", order.Uint64(b[16:]))
	}
	if x.bad != nil {
		return
	}
	x.state.synced, x.state.syncedTo = noteIn(b)
	unsure := x.state.synced == 0 && x.state.syncedTo == 0 && string(note) != string(make([]byte, len(note))) && order.Uint32(b[noteAt+16:]) != noteSum(b)
	switch x.state.closed = order.Uint32(b[12:]) == indexClosed; {
	case !x.state.closed && unsure:
		// A power cut may leave that.
		x.v.report(x.path, noteAt, -1, -1, errors.New("the note of what was synced has another checksum"), "it counts as none", true)
	case !x.state.closed:
	case crc32.Checksum(b[:52], castagnoli) != order.Uint32(b[52:]):
		x.fail("the header has another checksum")
	default:
		x.state.count = int64(order.Uint64(b[24:]))
		if n := x.state.count; n < 0 || n > int64(len(b)-indexHeaderSize)/indexEntrySize {
			x.fail("it counts %d entries in %d bytes", n, len(b))
		} else if entriesSum(b, n) != order.Uint32(b[48:]) {
			x.fail("the entries have another checksum")
		} else if unsure {
			x.fail("the note of what was synced has another checksum")
		}
	}
}

// checkpointed holds the entries against the checksum of the checkpoint that vouches for them.
func (x *indexCheck) checkpointed() {
	p := x.v.r.point
	if p == nil || p.base != x.base || p.entries == 0 {
		return
	}
	if p.entries > int64(len(x.file)-indexHeaderSize)/indexEntrySize || entriesSum(x.file, p.entries) != p.entriesSum {
		x.fail("its entries are not those that the checkpoint vouches for")
	}
}

// batch takes in the next batch. Entries lead to batches, and say what comes before them.
func (x *indexCheck) batch(b record.Batch, pos, maxBefore int64) {
	if !x.state.closed || x.bad != nil || x.blind || int64(x.next) >= x.state.count {
		return
	}
	switch e := entryAt(x.file, x.next); {
	case int64(e.Position) > pos:
		return
	case int64(e.Position) < pos:
		x.fail("entry %d leads to byte %d, where no batch begins", x.next, e.Position)
	case x.base+record.Offset(e.Relative) != b.BaseOffset() || e.MaxBefore != maxBefore:
		x.fail("entry %d says offset %d and timestamp %d of byte %d, where they are %d and %d",
			x.next, x.base+record.Offset(e.Relative), e.MaxBefore, pos, b.BaseOffset(), maxBefore)
	}
	x.next++
}

// end is called behind the last batch.
func (x *indexCheck) end(c *checker) {
	if x.state.closed && x.bad == nil && !x.blind && c.torn == nil {
		if size := int64(order.Uint64(x.file[32:])); size != c.size {
			x.fail("it is of a segment of %d bytes, and there are %d", size, c.size)
		} else if int64(x.next) < x.state.count {
			x.fail("entry %d leads to byte %d, where no batch begins", x.next, entryAt(x.file, x.next).Position)
		}
	}
	if x.bad != nil {
		x.v.report(x.path, -1, -1, -1, x.bad, outcomeRebuilt, false)
	}
}
