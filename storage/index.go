package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime/debug"
	"sort"
	"sync/atomic"

	"segue/storage/record"
	"segue/storage/vfs"
)

// The layout of an index file; FORMAT.md draws it. All numbers are little-endian.
const (
	indexHeaderSize = 80
	indexEntrySize  = 16
	indexVersion    = 1

	indexOpen   = 0 // entries are still being added, or the broker died before it could close the index
	indexClosed = 1 // count, sizes and checksums of the header hold

	noteAt     = 56 // where the header notes what was synced, with a checksum of its own
	bootMarkAt = 76 // where it says under which boot of the machine the segment was last open for writing

	indexFirstStep = 4 << 10 // bytes of a new index
	indexMaxStep   = 1 << 20 // bytes by which it grows at the most
)

var indexMagic = []byte("segueidx")

// order is the byte order of every file that is our own.
var order = binary.LittleEndian

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errIndexFull = errors.New("index is full")
	errIndexOdd  = errors.New("index does not fit its segment")
)

// indexEntry says that the batch at Position starts at offset base+Relative, and that no batch of the segment
// before it holds a record later than MaxBefore.
type indexEntry struct {
	Relative  uint32
	Position  uint32
	MaxBefore int64
}

// index is the sparse, memory-mapped index of one segment. It is a hint: what it says is checked against the batch
// header that it leads to, and an index that is missing or odd is made again from the segment.
//
// One writer adds entries; any number of readers look entries up meanwhile. Readers see the first count entries,
// which never change.
type index struct {
	path   string
	base   record.Offset
	mapped *handle[*mappedFile]
	count  atomic.Int64
	odd    atomic.Bool // a look-up led to a batch that is not there

	// Of the writer alone, and once the segment is sealed of whoever closes or loads the index.
	limit     int64 // bytes that the file may grow to
	allocated int64 // bytes of the file that have blocks behind them
	full      bool  // no further entry fits, or the disk had no room for it
}

// indexCapacity returns the size in bytes of the largest index that segment.index.bytes allows: room for at least
// one entry and whole entries only.
func indexCapacity(limit int64) int64 {
	limit = max(limit, indexHeaderSize+indexEntrySize)
	return limit - (limit-indexHeaderSize)%indexEntrySize
}

// newIndex returns the index of a segment over the file at path. The file may not exist yet.
func newIndex(fs vfs.FS, set *handles, path string, base record.Offset, limit int64) *index {
	x := &index{path: path, base: base, limit: indexCapacity(limit)}
	x.mapped = newHandle(set, func() (*mappedFile, error) {
		f, err := fs.OpenFile(path)
		if err != nil {
			return nil, err
		}
		return x.mapFile(f)
	})
	return x
}

func (x *index) mapFile(f vfs.File) (*mappedFile, error) {
	size, err := f.Size()
	if err == nil && size < indexHeaderSize {
		err = fmt.Errorf("%s: %w: %d bytes", x.path, errIndexOdd, size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	m, err := f.Map(max(size, x.limit))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &mappedFile{file: f, mapping: m}, nil
}

// createIndex makes a new, empty index file, replacing one that is there, and returns it pinned.
func createIndex(fs vfs.FS, set *handles, path string, base record.Offset, limit int64) (*index, error) {
	x := newIndex(fs, set, path, base, limit)
	if err := removeIfThere(fs, path); err != nil {
		return nil, err
	}
	f, err := fs.Create(path)
	if err != nil {
		return nil, err
	}
	step := min(indexFirstStep, max(x.limit, indexHeaderSize))
	if err := f.Allocate(0, step); err != nil {
		return nil, errors.Join(err, f.Close(), removeIfThere(fs, path))
	}
	m, err := x.mapFile(f)
	if err != nil {
		return nil, errors.Join(err, removeIfThere(fs, path))
	}
	x.allocated = step
	err = guarded(func() {
		h := m.mapping.Bytes()
		copy(h, indexMagic)
		order.PutUint32(h[8:], indexVersion)
		order.PutUint32(h[12:], indexOpen)
		order.PutUint64(h[16:], uint64(base))
	})
	if err != nil {
		return nil, errors.Join(err, m.Close(), removeIfThere(fs, path))
	}
	x.mapped.adopt(m)
	return x, nil
}

// with calls f with the mapped bytes of the index, which stay mapped until f returns. A page that the disk cannot
// deliver is an error, not the end of the process.
func (x *index) with(f func(b []byte)) error {
	m, err := x.mapped.pin()
	if err != nil {
		return err
	}
	defer x.mapped.unpin()
	return x.guarded(func() { f(m.mapping.Bytes()) })
}

// guarded runs f, which touches the index's mapping. Pages that the disk cannot deliver make the index odd: another one
// in another file is as good.
func (x *index) guarded(f func()) error {
	if err := guarded(f); err != nil {
		return fmt.Errorf("index %s: %w: %w", x.path, errIndexOdd, err)
	}
	return nil
}

// guarded runs f and turns a fault in mapped memory into an error.
func guarded(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface {
			error
			Addr() uintptr // what the runtime's memory faults have and its other errors have not
		}:
			err = fmt.Errorf("the disk did not deliver a mapped page: %w", error(r))
		default:
			panic(r)
		}
	}()
	f()
	return nil
}

// add appends an entry. errIndexFull says that the segment must be sealed before the next one.
func (x *index) add(e indexEntry) error {
	if x.full {
		return errIndexFull
	}
	n := x.count.Load()
	end := indexHeaderSize + (n+1)*indexEntrySize
	if end > x.limit {
		x.full = true
		return errIndexFull
	}
	m, err := x.mapped.pin()
	if err != nil {
		return err
	}
	defer x.mapped.unpin()
	if end > x.allocated {
		// Blocks first: a store into a hole of a full disk would kill the process.
		step := min(max(x.allocated, indexFirstStep), indexMaxStep, x.limit-x.allocated)
		if err := m.file.Allocate(x.allocated, step); err != nil {
			x.full = true
			return fmt.Errorf("grow index %s: %w", x.path, err)
		}
		x.allocated += step
	}
	if err := x.guarded(func() { putEntry(m.mapping.Bytes()[end-indexEntrySize:], e) }); err != nil {
		x.full = true
		return err
	}
	x.count.Store(n + 1)
	return nil
}

func putEntry(b []byte, e indexEntry) {
	order.PutUint32(b, e.Relative)
	order.PutUint32(b[4:], e.Position)
	order.PutUint64(b[8:], uint64(e.MaxBefore))
}

func entryAt(b []byte, i int) indexEntry {
	b = b[indexHeaderSize+i*indexEntrySize:]
	return indexEntry{
		Relative:  order.Uint32(b),
		Position:  order.Uint32(b[4:]),
		MaxBefore: int64(order.Uint64(b[8:])),
	}
}

// floor returns the last entry for which past is false, past being false for a first part of the entries and true
// for the rest. An entry at position 0 stands for the start of the segment.
func (x *index) floor(past func(indexEntry) bool) (e indexEntry, err error) {
	e.MaxBefore = noTimestamp
	if x.count.Load() == 0 {
		return e, nil
	}
	err = x.with(func(b []byte) {
		n := int(x.count.Load())
		if i := sort.Search(n, func(i int) bool { return past(entryAt(b, i)) }); i > 0 {
			e = entryAt(b, i-1)
		}
	})
	return e, err
}

// floorOffset returns the last entry at or below a relative offset, of those for batches below a position: an entry is
// there before its batch can be seen.
func (x *index) floorOffset(relative uint32, limit int64) (indexEntry, error) {
	return x.floor(func(e indexEntry) bool { return e.Relative > relative || int64(e.Position) >= limit })
}

// floorPosition returns the last entry at or below a position.
func (x *index) floorPosition(position int64) (indexEntry, error) {
	return x.floor(func(e indexEntry) bool { return int64(e.Position) > position })
}

// floorTime returns the last entry before which every record is earlier than unixMilli, of those for batches below a
// position.
func (x *index) floorTime(unixMilli, limit int64) (indexEntry, error) {
	return x.floor(func(e indexEntry) bool { return e.MaxBefore >= unixMilli || int64(e.Position) >= limit })
}

// below returns how many entries lie at or below a position, and the checksum over them.
func (x *index) below(position int64) (n int64, sum uint32, err error) {
	err = x.with(func(b []byte) {
		all := int(x.count.Load())
		i := sort.Search(all, func(i int) bool { return int64(entryAt(b, i).Position) > position })
		n = int64(i)
		sum = entriesSum(b, n)
	})
	return n, sum, err
}

func entriesSum(b []byte, n int64) uint32 {
	return crc32.Checksum(b[indexHeaderSize:indexHeaderSize+n*indexEntrySize], castagnoli)
}

// noteSynced writes down how far the segment's data has been synced. It needs no sync of its own: the values that a
// crash leaves were true, or do not fit their checksum.
func (x *index) noteSynced(position int64, offset record.Offset) error {
	return x.with(func(b []byte) { putNote(b, position, offset) })
}

// synced returns how far the segment's data has been synced, as it was noted; zeros where nothing is known.
func (x *index) synced() (position int64, offset record.Offset) {
	if err := x.with(func(b []byte) { position, offset = noteIn(b) }); err != nil {
		return 0, 0
	}
	return position, offset
}

func putNote(b []byte, position int64, offset record.Offset) {
	order.PutUint64(b[noteAt:], uint64(position))
	order.PutUint64(b[noteAt+8:], uint64(offset))
	order.PutUint32(b[noteAt+16:], noteSum(b))
}

// noteIn returns what an index header notes. Nothing that the disk has made up may move the end of a log, so a note
// without its checksum counts as none.
func noteIn(b []byte) (position int64, offset record.Offset) {
	if order.Uint32(b[noteAt+16:]) != noteSum(b) {
		return 0, 0
	}
	return int64(order.Uint64(b[noteAt:])), record.Offset(order.Uint64(b[noteAt+8:]))
}

// noteSum is the checksum of a note, and of the segment's base offset, so that zeros are no note.
func noteSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[16:24], castagnoli), castagnoli, b[noteAt:noteAt+16])
}

// markBoot writes down under which boot of the machine the segment is open for writing; see Dir.bootMark.
func (x *index) markBoot(mark uint32) error {
	return x.with(func(b []byte) { order.PutUint32(b[bootMarkAt:], mark) })
}

// markOpen takes back that the index is complete, so that the next open makes it again and finds what is damaged.
func (x *index) markOpen() error {
	return x.with(func(b []byte) { order.PutUint32(b[12:], indexOpen) })
}

// sync makes the entries durable.
func (x *index) sync() error {
	m, err := x.mapped.pin()
	if err != nil {
		return err
	}
	defer x.mapped.unpin()
	return m.mapping.Sync()
}

// close writes down that the index is complete for a segment of that many bytes, cuts the file to size and syncs
// it, so that the next open can trust it; end is the offset behind the segment. Entries may still be looked up. The
// segment's data must be synced.
func (x *index) close(dataSize, maxTimestamp int64, end record.Offset) error {
	return x.closeBy(dataSize, maxTimestamp, end, func(own func() error) error { return own() })
}

// closeBy is close with a sync of the caller's, who is given that of the index alone.
func (x *index) closeBy(dataSize, maxTimestamp int64, end record.Offset, sync func(own func() error) error) error {
	m, err := x.mapped.pin()
	if err != nil {
		return err
	}
	defer x.mapped.unpin()
	n := x.count.Load()
	err = x.guarded(func() {
		b := m.mapping.Bytes()
		closeHeader(b, n, dataSize, maxTimestamp)
		putNote(b, dataSize, end)
	})
	if err != nil {
		return err
	}
	// No look-up touches anything beyond the last entry, so cutting under the mapping is safe.
	if err := m.file.Truncate(indexHeaderSize + n*indexEntrySize); err != nil {
		return err
	}
	x.full = true
	return sync(m.mapping.Sync)
}

// closeHeader fills in the fields of a closed index over its first n entries.
func closeHeader(b []byte, n, dataSize, maxTimestamp int64) {
	order.PutUint32(b[12:], indexClosed)
	order.PutUint64(b[24:], uint64(n))
	order.PutUint64(b[32:], uint64(dataSize))
	order.PutUint64(b[40:], uint64(maxTimestamp))
	order.PutUint32(b[48:], entriesSum(b, n))
	order.PutUint32(b[52:], crc32.Checksum(b[:52], castagnoli))
}

// indexState is what the header of an index file says.
type indexState struct {
	closed       bool
	count        int64
	maxTimestamp int64
	synced       int64         // bytes of the segment known to be synced; 0 where nothing is known
	syncedTo     record.Offset // the offset behind those bytes
	bootMark     uint32        // 0 where nothing is known
}

// load reads the header. For a closed index it checks that everything fits a segment of dataSize bytes and makes
// the entries visible; errIndexOdd says that the index has to be made again. An open index is returned as such,
// without entries.
func (x *index) load(dataSize int64) (s indexState, err error) {
	m, err := x.mapped.pin()
	if err != nil {
		return s, err
	}
	defer x.mapped.unpin()
	size, err := m.file.Size()
	if err != nil {
		return s, err
	}
	sound := false
	err = x.guarded(func() { s, sound = readHeader(m.mapping.Bytes(), x.base, dataSize, size) })
	if err != nil {
		return s, err
	}
	if !sound {
		return s, fmt.Errorf("index %s: %w", x.path, errIndexOdd)
	}
	if s.closed {
		x.count.Store(s.count)
		x.full = true
	}
	return s, nil
}

// readHeader returns what the header of an index of size bytes says, and whether all of it fits a segment of that base
// offset and of dataSize bytes.
func readHeader(b []byte, base record.Offset, dataSize, size int64) (s indexState, sound bool) {
	if size < indexHeaderSize || !bytes.Equal(b[:8], indexMagic) || order.Uint32(b[8:]) != indexVersion ||
		order.Uint64(b[16:]) != uint64(base) {
		return s, false
	}
	s.synced, s.syncedTo = noteIn(b)
	s.bootMark = order.Uint32(b[bootMarkAt:])
	if order.Uint32(b[12:]) != indexClosed {
		return s, true
	}
	s.closed = true
	s.count = int64(order.Uint64(b[24:]))
	s.maxTimestamp = int64(order.Uint64(b[40:]))
	return s, crc32.Checksum(b[:52], castagnoli) == order.Uint32(b[52:]) &&
		int64(order.Uint64(b[32:])) == dataSize &&
		s.count >= 0 && s.count <= (size-indexHeaderSize)/indexEntrySize &&
		entriesSum(b, s.count) == order.Uint32(b[48:])
}

// goOn takes up an index that was closed, which load or the like has found sound, for further entries.
func (x *index) goOn() error {
	var sum uint32
	if err := x.with(func(b []byte) { sum = order.Uint32(b[48:]) }); err != nil {
		return err
	}
	return x.reopen(x.count.Load(), sum)
}

// reopen takes up an index that a checkpoint vouches for: its first n entries, if they still have that checksum.
// Everything behind them is cleared for new entries.
func (x *index) reopen(n int64, sum uint32) error {
	m, err := x.mapped.pin()
	if err != nil {
		return err
	}
	defer x.mapped.unpin()
	size, err := m.file.Size()
	if err != nil {
		return err
	}
	if n < 0 || n > (size-indexHeaderSize)/indexEntrySize {
		return fmt.Errorf("index %s: %w: %d entries in %d bytes", x.path, errIndexOdd, n, size)
	}
	// Blocks again: a file that was cut or copied may have holes where entries are to go.
	size = max(size, min(indexFirstStep, x.limit))
	if err := m.file.Allocate(0, size); err != nil {
		return fmt.Errorf("index %s: %w", x.path, err)
	}
	same := false
	err = x.guarded(func() {
		b := m.mapping.Bytes()
		same = entriesSum(b, n) == sum
		if same {
			clear(b[indexHeaderSize+n*indexEntrySize : size])
			order.PutUint32(b[12:], indexOpen)
		}
	})
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("index %s: %w: its entries are not those of the checkpoint", x.path, errIndexOdd)
	}
	x.allocated = size
	x.limit = max(x.limit, size)
	x.full = false
	x.count.Store(n)
	return nil
}
