package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	// windowSize is how many decompressed bytes a walk has at hand at first; a record larger than that enlarges it.
	windowSize = 64 << 10
	// keptWindow is the largest window that is kept for the next batch.
	keptWindow = 4 << 20
	// maxZstdWindow is the largest window that a zstd frame may ask for: that of level 22, the highest of
	// compression.zstd.level. Memory is not taken by it, see stream.openZstd.
	maxZstdWindow = 128 << 20
	// zstdBlock is the most bytes that a block of zstd decompresses to, and zstdMinBlock the least that one takes.
	zstdBlock, zstdMinBlock = 128 << 10, 4
	// zstdOverrun is room behind the data that lets the decoder copy in long strides to the end.
	zstdOverrun = 64
	// snappyRatio bounds how much smaller snappy can make data: an element of three bytes copies at most 64.
	snappyRatio = 22
)

// Decompressor owns what it takes to decompress batches, and keeps it from one batch to the next. It is safe for
// concurrent use; a broker needs one.
//
// Memory for each batch in progress is bounded whatever the batch says of itself. Gzip, lz4 and framed snappy hold no
// more of the records than twice the largest one, and a few MiB within the codec; zstd and bare snappy hold them all,
// and zstd takes up to twice the limit until it finds that there are too many. Only so many batches are in progress at
// a time; further ones wait for their turn, which is from the first record to the end of the walk. So who walks a
// compressed batch must not walk another one, or wait for somebody who does, before he is through.
type Decompressor struct {
	limit   int
	turns   chan struct{} // holds one for each batch in progress
	streams sync.Pool     // of *stream, between batches
	zstd    *zstd.Decoder
}

// NewDecompressor returns a Decompressor that gives up on a batch, with ErrTooLarge, when its records take more than
// limit bytes decompressed. A limit above what a batch can have uncompressed, 2 GiB, counts as that. There are as many
// batches in progress at a time as there are processors: more would take memory and gain nothing.
func NewDecompressor(limit int) *Decompressor {
	return NewDecompressorWithTurns(limit, min(runtime.GOMAXPROCS(0), runtime.NumCPU()))
}

// NewDecompressorWithTurns is NewDecompressor with so many batches in progress at a time, at least one.
func NewDecompressorWithTurns(limit, turns int) *Decompressor {
	z, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(max(1, turns)),
		zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		panic(fmt.Sprintf("record: the zstd decoder refuses options that are always sound: %v", err))
	}
	return &Decompressor{limit: min(max(limit, 0), math.MaxInt32), turns: make(chan struct{}, max(turns, 1)), zstd: z}
}

// recompressShare is the part of the limit that batches may have whose records are put together again, decompressed:
// there they are in memory several times over.
const recompressShare = 4

// errEnd says that a stream of records has ended, in itself properly, with fewer bytes than were wanted.
var errEnd = errors.New("the records end too early")

// fault is an Error to be, from where the batch is not known.
type fault struct {
	kind   error
	detail string
}

// invalid returns a fault of kind ErrInvalid.
func invalid(format string, args ...any) *fault {
	return &fault{ErrInvalid, fmt.Sprintf(format, args...)}
}

// input hands out the records of a batch, uncompressed, one by one.
type input struct {
	data   []byte  // what is at hand of the records
	pos    int     // in data, of what has not been handed out
	body   []byte  // the record handed out last, without its length
	stream *stream // where more data comes from; nil if data is all there is
}

// open begins with the given payload. Close must follow if there is no fault.
func (in *input) open(c Codec, payload []byte, d *Decompressor) *fault {
	if c == None || len(payload) == 0 { // a batch that compaction left empty has no compressed stream either
		in.data = payload
		return nil
	}
	if d == nil {
		return invalid("it is compressed with %v where only uncompressed batches are expected", c)
	}
	d.turns <- struct{}{}
	s, ok := d.streams.Get().(*stream)
	if !ok {
		s = &stream{owner: d}
	}
	in.stream = s
	if err := s.open(c, payload, in); err != nil {
		fault := s.fault(err)
		in.close()
		return fault
	}
	return nil
}

// close gives back what open took.
func (in *input) close() {
	if in.stream != nil {
		in.stream.close()
	}
	*in = input{}
}

// next returns the next record, without its length. It is valid until the next call.
func (in *input) next() ([]byte, *fault) {
	n, start := readVarint(in.data, in.pos)
	if start < 0 || n < 0 || int(n) > len(in.data)-start {
		if in.stream == nil {
			return nil, invalid("its length does not fit the %d bytes that are left", len(in.data)-in.pos)
		}
		if err := in.stream.fillRecord(in); err != nil {
			return nil, in.stream.fault(err)
		}
		n, start = readVarint(in.data, in.pos)
	}
	in.pos = start + int(n)
	in.body = in.data[start:in.pos:in.pos]
	return in.body, nil
}

// end checks that all has been handed out and that the compressed stream ended well.
func (in *input) end() *fault {
	if in.pos == len(in.data) && in.stream != nil {
		if err := in.stream.fill(in, 1); err != nil && err != errEnd {
			return in.stream.fault(err)
		}
	}
	if in.pos != len(in.data) {
		return invalid("bytes follow the last record")
	}
	return nil
}

// stream is the decompression of one batch after another.
type stream struct {
	owner  *Decompressor
	codec  Codec
	r      io.Reader // yields the rest of the records; nil if there is no more
	left   int       // how many bytes r may yield before there are too many
	window []byte    // holds the input's data, from its beginning

	compressed bytes.Reader // what gzip and lz4 read from
	gzip       *gzip.Reader
	lz4        *lz4.Reader
	snappy     snappyReader
}

// open makes in ready to read payload.
func (s *stream) open(c Codec, payload []byte, in *input) (err error) {
	s.codec, s.left = c, s.owner.limit
	s.compressed.Reset(payload)
	switch c {
	case Gzip:
		if s.gzip == nil {
			s.gzip = new(gzip.Reader)
		}
		s.r, err = s.gzip, s.gzip.Reset(&s.compressed)
	case Snappy:
		if !isFramedSnappy(payload) {
			in.data, err = s.openSnappyBlock(payload)
			break
		}
		s.snappy.reset(payload, s.owner.limit)
		s.r = &s.snappy
	case LZ4:
		if !bytes.HasPrefix(payload, []byte(lz4Magic)) { // the library would take obsolete formats too
			return errors.New("not an LZ4 frame")
		}
		if s.lz4 == nil {
			s.lz4 = lz4.NewReader(&s.compressed)
		} else {
			s.lz4.Reset(&s.compressed)
		}
		s.r = s.lz4
	case Zstd:
		in.data, err = s.openZstd(payload)
	default:
		return ErrCodec
	}
	return err
}

// lz4Magic begins an LZ4 frame.
const lz4Magic = "\x04\x22\x4d\x18"

// close lets go of the batch and makes s ready for another.
func (s *stream) close() {
	s.r = nil
	s.compressed.Reset(nil)
	s.snappy.reset(nil, 0)
	if s.codec == LZ4 && s.lz4 != nil {
		s.lz4.Reset(&s.compressed) // gives its blocks back
	}
	if len(s.window) > keptWindow {
		s.window = nil
	}
	s.owner.streams.Put(s)
	<-s.owner.turns
}

// openSnappyBlock decompresses a bare block, which cannot be done in parts. The block says how large it is.
func (s *stream) openSnappyBlock(block []byte) ([]byte, error) {
	n, err := snappySize(block, s.left)
	if err != nil {
		return nil, err
	}
	s.reserve(n)
	return snappy.Decode(s.window, block)
}

// openZstd decompresses all of the payload. Decompressing in parts would cost less for large batches, but takes the
// memory of the window, and Kafka's producers state windows of up to maxZstdWindow for batches of any size. The
// decompressed size is not always stated, and not to be trusted where it is: so the room is a guess, which is raised
// until it is what is allowed, or all that a payload of this length can amount to.
func (s *stream) openZstd(payload []byte) ([]byte, error) {
	most := min(s.left, (len(payload)/zstdMinBlock+1)*zstdBlock)
	room := max(windowSize, len(s.window), 4*len(payload))
	var h zstd.Header
	if h.Decode(payload) == nil && h.HasFCS && h.FrameContentSize < uint64(most) {
		room = max(room, int(h.FrameContentSize)+zstdOverrun)
	}
	room = min(room, most)
	for {
		s.reserve(room)
		data, err := s.owner.zstd.DecodeAll(payload, s.window[:0:room])
		switch {
		case err == nil && len(data) <= s.left:
			return data, nil
		case errors.Is(err, zstd.ErrWindowSizeExceeded):
			return nil, err
		case room < most: // the decoder has several errors for a lack of room, some of which look like damage
			room = min(4*room, most)
		case err == nil || errors.Is(err, zstd.ErrDecoderSizeExceeded) || len(data)+zstdBlock > s.left:
			return nil, ErrTooLarge
		default:
			return nil, err
		}
	}
}

// reserve makes the window n bytes large at least. What it held is lost.
func (s *stream) reserve(n int) {
	if len(s.window) < n {
		s.window = make([]byte, n)
	}
}

// fillRecord brings the next record into in.data as a whole, length included.
func (s *stream) fillRecord(in *input) error {
	n, start := readVarint(in.data, in.pos)
	if start < 0 {
		if err := s.fill(in, maxVarint32); err != nil && err != errEnd {
			return err
		}
		if n, start = readVarint(in.data, in.pos); start < 0 {
			if len(in.data)-in.pos >= maxVarint32 {
				return errors.New("a record's length is not a number")
			}
			return errEnd
		}
	}
	need := start - in.pos + int(n)
	switch {
	case n < 0:
		return fmt.Errorf("record length %d is negative", n)
	case s.r != nil && need > len(in.data)-in.pos+s.left:
		return ErrTooLarge
	}
	return s.fill(in, need)
}

// fill reads until in has need bytes that have not been handed out. It returns errEnd if there are fewer, with
// those that there are in in.data. No more memory is taken than twice what has been read.
func (s *stream) fill(in *input, need int) error {
	have := len(in.data) - in.pos
	if have >= need {
		return nil
	}
	if s.r == nil {
		return errEnd
	}
	s.reserve(windowSize)
	copy(s.window, in.data[in.pos:])
	in.data, in.pos = s.window[:have], 0
	for idle := 0; len(in.data) < need; {
		if len(in.data) == len(s.window) {
			larger := make([]byte, min(2*len(s.window), need))
			copy(larger, s.window)
			s.window = larger
		}
		// One byte more than is allowed shows whether there is one.
		n, err := s.r.Read(s.window[len(in.data):min(len(s.window), len(in.data)+s.left+1)])
		in.data = s.window[:len(in.data)+n]
		s.left -= n
		switch {
		case s.left < 0:
			return ErrTooLarge
		case err == io.EOF:
			s.r = nil
			if len(in.data) < need {
				return errEnd
			}
			return nil
		case err != nil:
			return err
		case n > 0:
			idle = 0
		default:
			if idle++; idle == 100 {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// fault says what an error of decompression means for the batch.
func (s *stream) fault(err error) *fault {
	switch {
	case errors.Is(err, ErrTooLarge):
		return &fault{ErrTooLarge, fmt.Sprintf("%v: more than %d", s.codec, s.owner.limit)}
	case errors.Is(err, ErrCodec):
		return &fault{ErrCodec, s.codec.String()}
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return &fault{ErrTooLarge, fmt.Sprintf("%v: it asks for a window of more than %d", s.codec, maxZstdWindow)}
	}
	return invalid("%v: %v", s.codec, err)
}
