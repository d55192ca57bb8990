package record

import (
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"syscall"
)

// Chunk is a run of whole batches that lies in a file, kept readable until Release. It is how a fetch passes from
// the log to the socket without a copy. The zero Chunk is empty.
//
// A Chunk is a value and its copies share the one release; whoever holds the last of them is its owner and releases
// it. Reads may run concurrently, but not with or after Release.
type Chunk struct {
	File   io.ReaderAt
	Offset int64        // of the first byte in File
	Length int          // in bytes
	Conn   syscall.Conn // File's descriptor for sendfile; nil where there is none
	// Followed says that a whole and sound batch lies right behind these bytes in File: so its header tells of an offset
	// that all of the chunk lies below.
	Followed bool
	pin      *pin
}

// pin runs a release once, however many copies of a Chunk ask for it.
type pin struct {
	released atomic.Bool
	release  func()
}

// NewChunk returns the n bytes at off in f. Conn may be nil. Release, which may be nil, is called once: when the
// Chunk is released for the first time.
func NewChunk(f io.ReaderAt, off int64, n int, conn syscall.Conn, release func()) Chunk {
	c := Chunk{File: f, Offset: off, Length: n, Conn: conn}
	if release != nil {
		c.pin = &pin{release: release}
	}
	return c
}

// Release gives the bytes back to the log. Calling it again, on this or any copy, does nothing.
func (c Chunk) Release() {
	if c.pin != nil && c.pin.released.CompareAndSwap(false, true) {
		c.pin.release()
	}
}

// Below returns an offset that all of the chunk lies below, if it is Followed; else, and if that cannot be read, the one given.
func (c Chunk) Below(otherwise Offset) Offset {
	if !c.Followed {
		return otherwise
	}
	buf := make([]byte, HeaderSize)
	if n, _ := c.File.ReadAt(buf, c.Offset+int64(c.Length)); n < HeaderSize {
		return otherwise
	}
	h, err := ParseHeader(buf)
	if err != nil {
		return otherwise
	}
	return h.BaseOffset()
}

// AppendTo appends the chunk's bytes to dst. On an error dst comes back as it was; a file that ends before the chunk
// does gives io.ErrUnexpectedEOF.
func (c Chunk) AppendTo(dst []byte) ([]byte, error) {
	if c.Length == 0 {
		return dst, nil
	}
	end := len(dst) + c.Length
	grown := slices.Grow(dst, c.Length)[:end]
	n, err := c.File.ReadAt(grown[len(dst):], c.Offset)
	if n == c.Length {
		return grown, nil // ReadAt may say io.EOF here
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return dst, fmt.Errorf("reading batches, %d bytes at %d: got %d: %w", c.Length, c.Offset, n, err)
}
