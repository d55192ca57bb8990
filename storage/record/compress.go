package record

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// zstdWindow is how far back zstd looks for repeats, and what a consumer may need to keep for that: 2 MiB, as Kafka's
// producers have it at their default level.
const zstdWindow = 2 << 20

// Compressor owns what it takes to compress batches, at all levels, and keeps it from one batch to the next. The zero
// value is ready. It is safe for concurrent use and must not be copied; a broker needs one.
type Compressor struct {
	gzip    [11]sync.Pool // of *gzip.Writer by level, from -1 on
	lz4     [10]sync.Pool // of *lz4.Writer, by index into lz4Levels
	zstd    [5]sync.Pool  // of *zstd.Encoder, by zstd.EncoderLevel
	scratch sync.Pool     // of *[]byte
}

// errNoCompressor is a mistake of the caller's.
var errNoCompressor = errors.New("compressing a record batch takes a Compressor, and none was given")

// check returns an error if c, which may be nil, cannot compress that way.
func (c *Compressor) check(to Compression) error {
	if err := to.Validate(); err != nil {
		return err
	}
	if c == nil && to.Codec != None {
		return errNoCompressor
	}
	return nil
}

// append appends src compressed. The compression has been checked and is not None.
func (c *Compressor) append(dst []byte, to Compression, src []byte) ([]byte, error) {
	var err error
	switch to.Codec {
	case Gzip:
		dst, err = c.appendGzip(dst, src, to.Level)
	case Snappy:
		dst = appendSnappy(dst, src)
	case LZ4:
		dst, err = c.appendLZ4(dst, src, to.Level)
	case Zstd:
		dst, err = c.appendZstd(dst, src, to.Level)
	default:
		err = ErrCodec
	}
	if err != nil {
		return nil, fmt.Errorf("compressing a record batch with %v at level %d: %w", to.Codec, to.Level, err)
	}
	return dst, nil
}

func (c *Compressor) appendGzip(dst, src []byte, level int) ([]byte, error) {
	if level == 0 {
		level = gzip.DefaultCompression
	}
	pool := &c.gzip[level+1]
	out := &sliceWriter{dst}
	w, ok := pool.Get().(*gzip.Writer)
	if ok {
		w.Reset(out)
	} else {
		var err error
		if w, err = gzip.NewWriterLevel(out, level); err != nil {
			return nil, err
		}
	}
	if _, err := w.Write(src); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	w.Reset(nil)
	pool.Put(w)
	return out.b, nil
}

// lz4Levels are the library's levels, fastest first. Kafka's level 9 is its default and stands for the fast
// algorithm; its other levels are of the thorough one, which the library has in nine steps.
var lz4Levels = [10]lz4.CompressionLevel{lz4.Fast, lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5,
	lz4.Level6, lz4.Level7, lz4.Level8, lz4.Level9}

func (c *Compressor) appendLZ4(dst, src []byte, level int) ([]byte, error) {
	if level == 9 {
		level = 0
	}
	level = min(level, len(lz4Levels)-1)
	pool := &c.lz4[level]
	out := &sliceWriter{dst}
	w, ok := pool.Get().(*lz4.Writer)
	if ok {
		w.Reset(out)
	} else {
		w = lz4.NewWriter(out)
		// Kafka's Lz4BlockOutputStream writes independent blocks of 64 KiB without a checksum of the content.
		err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false),
			lz4.CompressionLevelOption(lz4Levels[level]))
		if err != nil {
			return nil, err
		}
	}
	if _, err := w.Write(src); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	w.Reset(nil)
	pool.Put(w)
	return out.b, nil
}

func (c *Compressor) appendZstd(dst, src []byte, level int) ([]byte, error) {
	if level == 0 {
		level = 3 // the default level of zstd itself and of compression.zstd.level
	}
	step := zstd.EncoderLevelFromZstd(level)
	pool := &c.zstd[step]
	e, ok := pool.Get().(*zstd.Encoder)
	if !ok {
		var err error
		e, err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(step),
			zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false), // the batch has a checksum
			zstd.WithLowerEncoderMem(true),
			zstd.WithWindowSize(zstdWindow),
			zstd.WithZeroFrames(true))
		if err != nil {
			return nil, err
		}
	}
	dst = e.EncodeAll(src, dst)
	pool.Put(e)
	return dst, nil
}

// takeScratch returns an empty slice with room in it, as a rule.
func (c *Compressor) takeScratch() []byte {
	if b, ok := c.scratch.Get().(*[]byte); ok {
		return *b
	}
	return nil
}

// giveScratch keeps b for another takeScratch.
func (c *Compressor) giveScratch(b []byte) {
	if cap(b) <= keptWindow {
		b = b[:0]
		c.scratch.Put(&b)
	}
}

// sliceWriter appends what is written to it.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// extend returns b with n more bytes at its end, whose content is undefined.
func extend(b []byte, n int) []byte { return slices.Grow(b, n)[:len(b)+n] }
