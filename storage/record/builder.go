package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Builder makes a batch. Get one from [NewBuilder] or [NewBuilderLike], set its fields, add records in the order of
// their offsets, and call Build, once. It is not safe for concurrent use.
type Builder struct {
	BaseOffset  Offset
	LeaderEpoch int32

	// LastOffset is the batch's last offset where that is not the offset of the last record: compaction keeps the one
	// the batch was written with. Negative for that of the last record.
	LastOffset Offset

	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32 // the number of the record at BaseOffset

	Transactional bool
	Control       bool

	// TimestampType is CreateTime if the records' timestamps count. If it is LogAppendTime, MaxTimestamp does.
	TimestampType TimestampType
	// MaxTimestamp is that of a batch under LogAppendTime, and of one without records, in Unix milliseconds. In
	// other batches it is the largest of the records.
	MaxTimestamp int64
	// DeleteHorizon is the time, in Unix milliseconds, from which compaction may drop the tombstones and markers of
	// the batch (KIP-534); NoTimestamp for none.
	DeleteHorizon int64

	// Compression is how the records are compressed. Any codec but None needs a Compressor.
	Compression Compression
	Compressor  *Compressor

	batch         []byte // the header's room, then the records
	count         int32
	next          Offset // of Add; valid if count > 0
	baseTimestamp int64
	maxTimestamp  int64
	err           error
}

// NewBuilder returns a Builder for an uncompressed batch at base that has no producer, epoch or sequence.
func NewBuilder(base Offset) *Builder {
	return &Builder{BaseOffset: base, LeaderEpoch: -1, LastOffset: -1, ProducerID: NoProducerID,
		ProducerEpoch: NoProducerEpoch, BaseSequence: NoSequence, MaxTimestamp: NoTimestamp,
		DeleteHorizon: NoTimestamp}
}

// NewBuilderLike returns a Builder for a batch that differs from the one under h in its records alone: offsets,
// epoch, producer, sequence, flags, timestamp type and codec are those of h. It is how compaction leaves records
// out. The Compressor is the caller's to set.
func NewBuilderLike(h Header) *Builder {
	b := &Builder{BaseOffset: h.BaseOffset(), LeaderEpoch: h.LeaderEpoch(), LastOffset: h.LastOffset(),
		ProducerID: h.ProducerID(), ProducerEpoch: h.ProducerEpoch(), BaseSequence: h.BaseSequence(),
		Transactional: h.IsTransactional(), Control: h.IsControl(),
		TimestampType: h.TimestampType(), MaxTimestamp: h.MaxTimestamp(), DeleteHorizon: NoTimestamp,
		Compression: Compression{Codec: h.Codec()}}
	if h.HasDeleteHorizon() {
		b.DeleteHorizon = h.BaseTimestamp()
	}
	return b
}

// Add adds a record at the offset after that of the one added before, or at BaseOffset. It copies what it is given.
// A nil key or value is null.
func (b *Builder) Add(unixMilli int64, key, value []byte, headers ...RecordHeader) {
	offset := b.BaseOffset
	if b.count > 0 {
		offset = b.next
	}
	b.AddRecord(Record{offset, unixMilli, key, value, MakeRecordHeaders(headers...)})
}

// AddRecord adds a copy of r at its own offset, which must lie above that of the record added before.
func (b *Builder) AddRecord(r Record) {
	if b.err != nil {
		return
	}
	delta := int64(r.Offset - b.BaseOffset)
	if r.Offset < b.BaseOffset || delta > math.MaxInt32 || b.count > 0 && r.Offset < b.next {
		b.err = fmt.Errorf("record at offset %d does not fit a batch at offset %d after %d records, the last at %d",
			r.Offset, b.BaseOffset, b.count, b.next-1)
		return
	}
	if b.count == 0 {
		b.batch = make([]byte, HeaderSize, 2*HeaderSize+len(r.Key)+len(r.Value)+len(r.Headers.encoded))
		b.baseTimestamp, b.maxTimestamp = r.Timestamp, NoTimestamp
		if b.DeleteHorizon != NoTimestamp {
			b.baseTimestamp = b.DeleteHorizon
		}
	}
	timestampDelta := r.Timestamp - b.baseTimestamp
	size := sizeOfRecord(timestampDelta, delta, r.Key, r.Value, r.Headers)
	if size > maxSize-len(b.batch)-maxVarint32 {
		b.err = fmt.Errorf("record at offset %d makes the batch at offset %d larger than %d bytes",
			r.Offset, b.BaseOffset, maxSize)
		return
	}
	b.batch = appendRecord(b.batch, size, timestampDelta, delta, r.Key, r.Value, r.Headers)
	b.count++
	b.next = r.Offset + 1
	b.maxTimestamp = max(b.maxTimestamp, r.Timestamp)
}

// sizeOfRecord is the size of a record without its length, as appendRecord writes it.
func sizeOfRecord(timestampDelta, offsetDelta int64, key, value []byte, headers RecordHeaders) int {
	return 1 + sizeOfVarint(timestampDelta) + sizeOfVarint(offsetDelta) + sizeOfBytes(key) + sizeOfBytes(value) +
		sizeOfVarint(int64(headers.count)) + len(headers.encoded)
}

// appendRecord appends a record behind its length, which is size.
func appendRecord(dst []byte, size int, timestampDelta, offsetDelta int64, key, value []byte, headers RecordHeaders) []byte {
	dst = binary.AppendVarint(dst, int64(size))
	dst = append(dst, 0) // attributes
	dst = binary.AppendVarint(dst, timestampDelta)
	dst = binary.AppendVarint(dst, offsetDelta)
	dst = appendBytes(dst, key)
	dst = appendBytes(dst, value)
	dst = binary.AppendVarint(dst, int64(headers.count))
	return append(dst, headers.encoded...)
}

// Count is the number of records added.
func (b *Builder) Count() int { return int(b.count) }

// Size is the size in bytes of the batch as it stands, uncompressed.
func (b *Builder) Size() int { return max(len(b.batch), HeaderSize) }

// Build returns the batch, which owns its memory; the Builder is spent. Without records it makes an empty batch,
// which keeps a producer's last sequence after compaction and needs LastOffset set. The error says which field or
// record was wrong.
func (b *Builder) Build() (Batch, error) {
	if b.err != nil {
		return Batch{}, b.err
	}
	if err := b.Compressor.check(b.Compression); err != nil {
		return Batch{}, err
	}
	last := b.LastOffset
	if last < 0 && b.count > 0 {
		last = b.next - 1
	}
	if b.BaseOffset < 0 || last < b.BaseOffset || b.count > 0 && last < b.next-1 || last-b.BaseOffset > math.MaxInt32 {
		return Batch{}, fmt.Errorf("record batch cannot span offsets %d to %d with %d records", b.BaseOffset, last, b.count)
	}

	out, codec := b.batch, b.Compression.Codec
	b.batch = nil
	switch {
	case b.count == 0:
		out, codec = make([]byte, HeaderSize), None
		b.baseTimestamp, b.maxTimestamp = NoTimestamp, b.MaxTimestamp
		b.DeleteHorizon = NoTimestamp // there is nothing to drop
	case codec != None:
		var err error
		room := make([]byte, HeaderSize, HeaderSize+len(out)/2)
		if out, err = b.Compressor.append(room, b.Compression, out[HeaderSize:]); err != nil {
			return Batch{}, err
		}
	}
	maxTimestamp := b.maxTimestamp
	if b.TimestampType == LogAppendTime {
		maxTimestamp = b.MaxTimestamp
	}
	binary.BigEndian.PutUint64(out[posBaseOffset:], uint64(b.BaseOffset))
	binary.BigEndian.PutUint32(out[posLeaderEpoch:], uint32(b.LeaderEpoch))
	out[posMagic] = Magic
	binary.BigEndian.PutUint32(out[posLastOffsetDelta:], uint32(last-b.BaseOffset))
	binary.BigEndian.PutUint64(out[posBaseTimestamp:], uint64(b.baseTimestamp))
	binary.BigEndian.PutUint64(out[posMaxTimestamp:], uint64(maxTimestamp))
	binary.BigEndian.PutUint64(out[posProducerID:], uint64(b.ProducerID))
	binary.BigEndian.PutUint16(out[posProducerEpoch:], uint16(b.ProducerEpoch))
	binary.BigEndian.PutUint32(out[posBaseSequence:], uint32(b.BaseSequence))
	binary.BigEndian.PutUint32(out[posCount:], uint32(b.count))
	return seal(out, b.attributes(codec))
}

func (b *Builder) attributes(c Codec) uint16 {
	a := uint16(c)
	for _, flag := range []struct {
		set bool
		bit uint16
	}{
		{b.TimestampType == LogAppendTime, attrLogAppendTime},
		{b.Transactional, attrTransactional},
		{b.Control, attrControl},
		{b.DeleteHorizon != NoTimestamp, attrDeleteHorizon},
	} {
		if flag.set {
			a |= flag.bit
		}
	}
	return a
}

// seal writes into the header what depends on the whole of the batch: size, attributes and checksum.
func seal(batch []byte, attributes uint16) (Batch, error) {
	if len(batch) > maxSize {
		return Batch{}, fmt.Errorf("record batch of %d bytes is larger than %d", len(batch), maxSize)
	}
	b := Batch{Header(batch)}
	binary.BigEndian.PutUint32(batch[posLength:], uint32(len(batch)-sizeOverhead))
	binary.BigEndian.PutUint16(batch[posAttributes:], attributes)
	b.setChecksum()
	return b, nil
}
