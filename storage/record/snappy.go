package record

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/snappy"
)

// Kafka's own clients do not write bare snappy blocks but the stream of snappy-java (SnappyOutputStream): a header
// of a magic and two versions, then blocks of 32 KiB of data, each behind its compressed length as a big-endian
// int32. Other clients write a bare block, and readers tell them apart by the magic, as snappy-java does: a block
// that began with it would state a length that it does not have.
const (
	snappyMagic       = "\x82SNAPPY\x00"
	snappyFrameHeader = snappyMagic + "\x00\x00\x00\x01" + "\x00\x00\x00\x01" // version, lowest compatible version
	snappyBlockSize   = 32 << 10
)

var (
	errSnappyFrame = errors.New("damaged framing")
	errSnappyBlock = errors.New("a block states a size that it cannot have")
)

func isFramedSnappy(b []byte) bool {
	return len(b) >= len(snappyFrameHeader) && string(b[:len(snappyMagic)]) == snappyMagic
}

// snappySize is the size of a block decompressed, checked for being possible and not above limit before any memory
// is taken for it.
func snappySize(block []byte, limit int) (int, error) {
	n, err := snappy.DecodedLen(block)
	switch {
	case err != nil:
		return 0, err
	case n > snappyRatio*len(block):
		return 0, errSnappyBlock
	case n > limit:
		return 0, ErrTooLarge
	}
	return n, nil
}

// snappyReader decompresses a framed stream, block by block.
type snappyReader struct {
	rest  []byte // of the stream
	limit int    // size of the largest block that is accepted, decompressed
	block []byte // room for a block
	ready []byte // of the block, not yet read
}

// reset begins with stream, which isFramedSnappy, or with nothing to let go of the last one.
func (r *snappyReader) reset(stream []byte, limit int) {
	r.rest, r.limit, r.ready = stream, limit, nil
	if len(r.block) > keptWindow {
		r.block = nil
	}
}

func (r *snappyReader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 {
		if len(r.rest) == 0 {
			return 0, io.EOF
		}
		if err := r.nextBlock(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// nextBlock decompresses the next block into ready. A header may stand before any block: snappy-java reads streams
// that follow one another as one.
func (r *snappyReader) nextBlock() error {
	if isFramedSnappy(r.rest) {
		r.rest = r.rest[len(snappyFrameHeader):]
		return nil
	}
	if len(r.rest) < 4 {
		return errSnappyFrame
	}
	size := int64(binary.BigEndian.Uint32(r.rest))
	if size > int64(len(r.rest)-4) {
		return errSnappyFrame
	}
	block := r.rest[4 : 4+size]
	r.rest = r.rest[4+size:]
	n, err := snappySize(block, r.limit)
	if err != nil {
		return err
	}
	if len(r.block) < n {
		r.block = make([]byte, n)
	}
	r.ready, err = snappy.Decode(r.block, block)
	return err
}

// appendSnappy appends src as a framed stream.
func appendSnappy(dst, src []byte) []byte {
	dst = append(dst, snappyFrameHeader...)
	for len(src) > 0 {
		data := src[:min(len(src), snappyBlockSize)]
		src = src[len(data):]
		start := len(dst) + 4
		dst = extend(dst, 4+snappy.MaxEncodedLen(len(data)))
		size := len(snappy.Encode(dst[start:], data))
		binary.BigEndian.PutUint32(dst[start-4:], uint32(size))
		dst = dst[:start+size]
	}
	return dst
}
