package storage

import (
	"errors"
	"fmt"
	"io"

	"segue/storage/record"
)

// walker goes from batch header to batch header. The bytes of the batches themselves are skipped.
type walker struct {
	s     *Segment
	f     io.ReaderAt
	pos   int64 // of the next batch
	limit int64
	least record.Offset // no batch may start below
	buf   []byte
	at    int64 // position of buf in the file
	have  int   // bytes of buf that are valid
}

// walkerBlock is how much a walker reads at once: an index interval's worth of small batches.
const walkerBlock = 4 << 10

// walk starts a walk over the batches from pos, which must be the start of one, up to limit. Done ends it; the walker
// is another's then.
func (s *Segment) walk(f io.ReaderAt, pos, limit int64) *walker {
	w := s.dir.walkers.Get().(*walker)
	*w = walker{s: s, f: f, pos: pos, limit: limit, least: s.base, buf: w.buf}
	return w
}

// maxReads bounds the threads that look for batches in files at a time. Each may be at the disk, and the Go runtime ends a
// process that comes to have ten thousand.
const maxReads = 256

// readAt fills b from a file, when it is its turn.
func (d *Dir) readAt(f io.ReaderAt, b []byte, pos int64) error {
	d.reads <- struct{}{}
	_, err := f.ReadAt(b, pos)
	<-d.reads
	return err
}

func (w *walker) done() {
	d := w.s.dir
	*w = walker{buf: w.buf}
	d.walkers.Put(w)
}

// peek returns the header of the batch at pos, which is valid until the next call. io.EOF tells the end.
func (w *walker) peek() (record.Header, error) {
	for _, hole := range w.s.holes() {
		if w.pos == hole.from {
			w.pos, w.least = hole.to, max(w.least, hole.high)
		}
	}
	if w.pos >= w.limit {
		return nil, io.EOF
	}
	if w.limit-w.pos < record.HeaderSize {
		return nil, w.s.corrupt(w.pos, w.least, record.ErrShort)
	}
	from := int(w.pos - w.at)
	if w.pos < w.at || from+record.HeaderSize > w.have {
		n := int(min(int64(len(w.buf)), w.limit-w.pos))
		if err := w.s.dir.readAt(w.f, w.buf[:n], w.pos); err != nil {
			w.have = 0
			if errors.Is(err, io.EOF) {
				return nil, w.s.corrupt(w.pos, w.least, fmt.Errorf("the file is shorter than the log: %w", io.ErrUnexpectedEOF))
			}
			return nil, err
		}
		w.at, w.have, from = w.pos, n, 0
	}
	h, err := record.ParseHeader(w.buf[from:w.have])
	if err == nil {
		switch {
		case h.BaseOffset() < w.least:
			err = fmt.Errorf("batch starts at offset %d, below %d", h.BaseOffset(), w.least)
		case int64(h.Size()) > w.limit-w.pos:
			err = fmt.Errorf("batch of %d bytes reaches beyond the end of the segment", h.Size())
		case h.BaseOffset() > w.least:
			h, err = w.behindGap(h)
		}
	}
	if err != nil {
		return nil, w.s.corrupt(w.pos, w.least, err)
	}
	return h, nil
}

// behindGap returns the header of a batch behind a gap, or an error if the one that follows says that there is no gap:
// the base offset lies outside of the checksum, and a bit of it may have flipped.
func (w *walker) behindGap(h record.Header) (record.Header, error) {
	pos := w.pos + int64(h.Size())
	if w.limit-pos < record.HeaderSize {
		return h, nil
	}
	var head []byte
	if from := pos - w.at; from+record.HeaderSize <= int64(w.have) {
		head = w.buf[from:w.have]
	} else {
		head = make([]byte, record.HeaderSize)
		if err := w.s.dir.readAt(w.f, head, pos); err != nil {
			return h, nil // whoever needs that batch will be told
		}
	}
	if next, err := record.ParseHeader(head); err == nil && contradicts(h, next, w.least) {
		return nil, fmt.Errorf("batch claims offset %d between %d and one at %d", h.BaseOffset(), w.least-1, next.BaseOffset())
	}
	return h, nil
}

// check holds the index entry at which the walk begins against the batch that is there: what an index says is believed
// once that has been seen. An entry that leads elsewhere makes the index odd, and the walk begin at the start.
func (w *walker) check(x *index, e indexEntry) {
	if e.Position == 0 {
		return
	}
	h, err := w.peek()
	if at := w.s.base + record.Offset(e.Relative); err == nil && h.BaseOffset() == at {
		w.least = at
		return
	}
	var corrupt *CorruptError
	if err != nil && err != io.EOF && !errors.As(err, &corrupt) {
		return // the file cannot be read, as the next peek will say too
	}
	w.s.markOdd(x)
	w.pos, w.least = 0, w.s.base
}

// skip goes on to the batch behind h, which peek returned.
func (w *walker) skip(h record.Header) {
	w.pos += int64(h.Size())
	w.least = h.NextOffset()
}

// first goes on to the first batch that is wanted and returns where it stands. io.EOF says that there is none.
func (w *walker) first(wanted func(record.Header) bool) (place, error) {
	for {
		h, err := w.peek()
		if err != nil {
			return place{}, err
		}
		if wanted(h) {
			return place{pos: w.pos, size: h.Size(), base: h.BaseOffset(), end: h.NextOffset()}, nil
		}
		w.skip(h)
	}
}

// place is where a batch stands in a segment, with what its header says.
type place struct {
	pos       int64
	size      int
	base, end record.Offset
}
