package record

import "fmt"

// Codec is a way to compress the records of a batch, by its number in the attributes.
type Codec int8

// The codecs of message format 2.
const (
	None   Codec = iota
	Gzip         // RFC 1952
	Snappy       // blocks in the framing of snappy-java, as Kafka's own clients write it; bare blocks are read too
	LZ4          // LZ4 frame format
	Zstd         // RFC 8878 (KIP-110)
)

// String returns the name that Kafka's compression.type has for c, "none" for None.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("Codec(%d)", int8(c))
}

// Compression is a codec and how hard it tries.
type Compression struct {
	Codec Codec
	// Level is on Kafka's scale for the codec: 1 to 9 or -1 for gzip (compression.gzip.level), 1 to 17 for lz4, -131072
	// to 22 for zstd; nothing for the others. 0 is the codec's default: -1, 9 and 3. Our encoders have fewer steps
	// than the scales of lz4 and zstd; the nearest one is taken.
	Level int
}

// Validate returns an error that says what is allowed if the codec does not exist or its level is out of range.
func (c Compression) Validate() error {
	low, high := 0, 0
	switch c.Codec {
	case None, Snappy:
	case Gzip:
		low, high = -1, 9
	case LZ4:
		low, high = 0, 17
	case Zstd:
		low, high = -131072, 22
	default:
		return fmt.Errorf("%w: codec is %d, want 0 to %d", ErrCodec, int8(c.Codec), Zstd)
	}
	if c.Level < low || c.Level > high {
		return fmt.Errorf("compression level %d of codec %v is out of range, want %d to %d", c.Level, c.Codec, low, high)
	}
	return nil
}
