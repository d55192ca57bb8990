package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Offset is the position of a record in its partition's log, counted from 0. NextOffset of one batch may lie below
// the base offset of the following one: compaction leaves gaps.
type Offset int64

const (
	// HeaderSize is the size in bytes of a batch without its records.
	HeaderSize = 61
	// Magic is the one message format that is supported.
	Magic = 2
	// NoProducerID is the producer id of a batch from a producer that is not idempotent.
	NoProducerID = -1
	// NoProducerEpoch goes with NoProducerID.
	NoProducerEpoch = -1
	// NoSequence is the base sequence of a batch whose producer does not number its records.
	NoSequence = -1
	// NoTimestamp is the timestamp of a record that has none.
	NoTimestamp = -1

	// sizeOverhead is what a batch's size has over its length field: the base offset and the length itself.
	sizeOverhead = 12
	// maxSize is the size of a batch whose length field is at its largest.
	maxSize = math.MaxInt32 + sizeOverhead
	// minLegacyLength is the length field of the smallest message of format 0: checksum, magic, attributes and the
	// lengths of key and value.
	minLegacyLength = 14
	// minRecordSize is the size of an uncompressed record without key, value and headers: one byte each for length,
	// attributes, timestamp delta, offset delta, key length, value length and header count.
	minRecordSize = 7
)

// Positions of the header's fields.
const (
	posBaseOffset      = 0
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57
)

// Bits of the attributes.
const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40
)

// TimestampType says who set the timestamps of a batch (Kafka's message.timestamp.type).
type TimestampType int8

const (
	// CreateTime: each record has the time that its producer gave it.
	CreateTime TimestampType = iota
	// LogAppendTime: all records have the time at which the broker appended the batch, its MaxTimestamp.
	LogAppendTime
)

// String returns the name that Kafka's message.timestamp.type has for t.
func (t TimestampType) String() string {
	switch t {
	case CreateTime:
		return "CreateTime"
	case LogAppendTime:
		return "LogAppendTime"
	}
	return fmt.Sprintf("TimestampType(%d)", int8(t))
}

// Header reads the header of a batch from its first HeaderSize bytes; it may be longer and hold all of it. The
// methods trust the bytes: get a Header from [ParseHeader] or [Parse]. Reading from several goroutines is safe as
// long as nobody edits the batch.
type Header []byte

// ParseHeader returns the header at the start of b, checked for numbers that no batch can have but not against the
// checksum, which takes the whole batch ([Batch.Verify]). The result aliases b and is HeaderSize long. The error is
// ErrShort if b ends too early to tell, else an *Error of kind ErrMagic, ErrCorrupt, ErrInvalid or ErrCodec.
func ParseHeader(b []byte) (Header, error) {
	if len(b) > posMagic && isLegacy(b) {
		return nil, &Error{Base: Header(b).BaseOffset(), Record: -1, Kind: ErrMagic,
			Detail: fmt.Sprintf("magic is %d", b[posMagic])}
	}
	if len(b) < HeaderSize {
		return nil, ErrShort
	}
	h := Header(b[:HeaderSize:HeaderSize])
	if detail, kind := h.impossible(); kind != nil {
		return nil, &Error{Base: h.BaseOffset(), Record: -1, Kind: kind, Detail: detail}
	}
	return h, nil
}

// isLegacy reports whether b begins with a message of format 0 or 1, whose magic lies where it lies in a batch. The
// length is looked at too because in a run of zeros, such as a preallocated file's end, the magic is 0 as well.
func isLegacy(b []byte) bool {
	return (b[posMagic] == 0 || b[posMagic] == 1) && Header(b).length() >= minLegacyLength
}

// impossible returns what is impossible about h, with the kind of error that it is, or nil.
func (h Header) impossible() (detail string, kind error) {
	count, delta := int64(h.Count()), int64(h.LastOffsetDelta())
	switch {
	case h[posMagic] != Magic:
		return fmt.Sprintf("magic is %d, not %d", int8(h[posMagic]), Magic), ErrCorrupt
	case h.length() < HeaderSize-sizeOverhead:
		return fmt.Sprintf("length is %d, below that of a header", h.length()), ErrCorrupt
	case h.BaseOffset() < 0:
		return "base offset is negative", ErrCorrupt
	case delta < 0:
		return fmt.Sprintf("last offset delta %d is negative", delta), ErrInvalid
	case int64(h.BaseOffset()) > math.MaxInt64-1-delta:
		return fmt.Sprintf("offsets overflow with last offset delta %d", delta), ErrCorrupt
	case count < 0:
		return fmt.Sprintf("record count %d is negative", count), ErrInvalid
	case count > delta+1:
		return fmt.Sprintf("%d records do not fit a last offset delta of %d", count, delta), ErrInvalid
	case h.Codec() > Zstd:
		return fmt.Sprintf("codec is %d", int8(h.Codec())), ErrCodec
	case h.Codec() == None && count > int64(h.Size()-HeaderSize)/minRecordSize:
		return fmt.Sprintf("%d records do not fit in %d bytes", count, h.Size()-HeaderSize), ErrInvalid
	}
	return "", nil
}

func (h Header) length() int32             { return int32(binary.BigEndian.Uint32(h[posLength:])) }
func (h Header) has(attribute uint16) bool { return h.Attributes()&attribute != 0 }

// BaseOffset is the offset of the first record that the batch was written with; compaction may have removed it.
func (h Header) BaseOffset() Offset { return Offset(binary.BigEndian.Uint64(h[posBaseOffset:])) }

// LastOffset is the offset of the last record that the batch was written with; compaction may have removed it.
func (h Header) LastOffset() Offset { return h.BaseOffset() + Offset(h.LastOffsetDelta()) }

// NextOffset is the offset after the batch's last.
func (h Header) NextOffset() Offset { return h.LastOffset() + 1 }

// LastOffsetDelta is LastOffset less BaseOffset.
func (h Header) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(h[posLastOffsetDelta:]))
}

// LeaderEpoch is the epoch of the leader that appended the batch; what a client sends in it means nothing.
func (h Header) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(h[posLeaderEpoch:])) }

// Size is the size in bytes of the whole batch, header and all.
func (h Header) Size() int { return int(h.length()) + sizeOverhead }

// CRC is the checksum that the batch carries.
func (h Header) CRC() uint32 { return binary.BigEndian.Uint32(h[posCRC:]) }

// Attributes are the batch's flags: codec, timestamp type, transactional, control, delete horizon.
func (h Header) Attributes() uint16 { return binary.BigEndian.Uint16(h[posAttributes:]) }

// Codec is what the records are compressed with.
func (h Header) Codec() Codec { return Codec(h.Attributes() & attrCodec) }

// TimestampType says whether the records' timestamps are their own or MaxTimestamp.
func (h Header) TimestampType() TimestampType {
	if h.has(attrLogAppendTime) {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional reports whether the batch, or the marker in it, belongs to a transaction.
func (h Header) IsTransactional() bool { return h.has(attrTransactional) }

// IsControl reports whether the records are markers of the broker's, which consumers do not show.
func (h Header) IsControl() bool { return h.has(attrControl) }

// HasDeleteHorizon reports whether BaseTimestamp is the time, in Unix milliseconds, from which compaction may drop
// the tombstones and markers of this batch (KIP-534).
func (h Header) HasDeleteHorizon() bool { return h.has(attrDeleteHorizon) }

// BaseTimestamp is what the records' timestamps are relative to, in Unix milliseconds: as a rule the first record's.
func (h Header) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(h[posBaseTimestamp:])) }

// MaxTimestamp is the largest timestamp of the records, in Unix milliseconds.
func (h Header) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(h[posMaxTimestamp:])) }

// ProducerID is the id of an idempotent or transactional producer, else NoProducerID.
func (h Header) ProducerID() int64 { return int64(binary.BigEndian.Uint64(h[posProducerID:])) }

// ProducerEpoch is the epoch of the producer's id, else NoProducerEpoch.
func (h Header) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(h[posProducerEpoch:])) }

// BaseSequence is the producer's number for the record at BaseOffset, else NoSequence.
func (h Header) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(h[posBaseSequence:])) }

// LastSequence is the producer's number for the record at LastOffset, else NoSequence.
func (h Header) LastSequence() int32 {
	if h.BaseSequence() < 0 {
		return NoSequence
	}
	return SequenceAfter(h.BaseSequence(), h.LastOffsetDelta())
}

// Count is the number of records in the batch. Compaction may leave none.
func (h Header) Count() int32 { return int32(binary.BigEndian.Uint32(h[posCount:])) }

// SequenceAfter is the sequence number n records after seq. Sequence numbers go from 0 to 2^31-1 and then on from 0
// (Kafka's DefaultRecordBatch.incrementSequence). Neither argument may be negative.
func SequenceAfter(seq, n int32) int32 {
	return int32((int64(seq) + int64(n)) & math.MaxInt32)
}
