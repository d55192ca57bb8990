package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// castagnoli is the polynomial of CRC32C. It is never written to.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is one whole batch: its Header is exactly Size bytes long and holds the records too. Parse makes one over
// bytes from outside and Builder makes new ones. A copy of a Batch is the same batch: the setters change the bytes
// under all copies, and need whoever calls them to be alone with the batch.
type Batch struct{ Header }

// Parse returns the first batch of b, whole, and the bytes after it. It checks what [ParseHeader] checks, and
// nothing of the records. Batch and rest alias b. The error is ErrShort if b ends before the batch does, else an
// *Error.
func Parse(b []byte) (batch Batch, rest []byte, err error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Batch{}, nil, err
	}
	size := h.Size()
	if len(b) < size {
		return Batch{}, nil, ErrShort
	}
	return Batch{Header(b[:size:size])}, b[size:], nil
}

// Damaged says whether b begins with all the bytes of a batch, and their checksum is wrong. It asks for no more of the
// header than where the batch ends: what Parse refuses may be wrong because it is damaged, or because it was made so.
func Damaged(b []byte) bool {
	if len(b) < HeaderSize || b[posMagic] != Magic {
		return false
	}
	size := Header(b).Size()
	return size >= HeaderSize && size <= len(b) && Batch{Header(b[:size])}.Verify() != nil
}

// Bytes is the batch as it goes over the wire and onto the disk. It aliases the batch.
func (b Batch) Bytes() []byte { return b.Header }

// payload is the records, compressed or not.
func (b Batch) payload() []byte { return b.Header[HeaderSize:] }

// Verify compares the checksum with the bytes. The error is an *Error of kind ErrChecksum.
func (b Batch) Verify() error {
	if sum := b.checksum(); sum != b.CRC() {
		return b.errorf(-1, ErrChecksum, "it says %08x, the bytes give %08x", b.CRC(), sum)
	}
	return nil
}

func (b Batch) checksum() uint32 { return crc32.Checksum(b.Header[posAttributes:], castagnoli) }

func (b Batch) setChecksum() { binary.BigEndian.PutUint32(b.Header[posCRC:], b.checksum()) }

// SetBaseOffset gives the batch its place in the log. The checksum does not cover it.
func (b Batch) SetBaseOffset(base Offset) {
	binary.BigEndian.PutUint64(b.Header[posBaseOffset:], uint64(base))
}

// SetLeaderEpoch stamps the batch with the epoch of the leader that appends it. The checksum does not cover it.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b.Header[posLeaderEpoch:], uint32(epoch))
}

// SetLogAppendTime gives all records of the batch the time at which it was appended, and renews the checksum.
func (b Batch) SetLogAppendTime(unixMilli int64) { b.setTimestamps(LogAppendTime, unixMilli) }

// SetMaxTimestamp puts right the largest timestamp of a batch whose producer got it wrong; the timestamps are the
// records' own (CreateTime). The checksum is renewed if anything changed.
func (b Batch) SetMaxTimestamp(unixMilli int64) { b.setTimestamps(CreateTime, unixMilli) }

func (b Batch) setTimestamps(t TimestampType, max int64) {
	if b.TimestampType() == t && b.MaxTimestamp() == max {
		return
	}
	attributes := b.Attributes() &^ attrLogAppendTime
	if t == LogAppendTime {
		attributes |= attrLogAppendTime
	}
	binary.BigEndian.PutUint16(b.Header[posAttributes:], attributes)
	binary.BigEndian.PutUint64(b.Header[posMaxTimestamp:], uint64(max))
	b.setChecksum()
}

func (b Batch) errorf(record int, kind error, format string, args ...any) *Error {
	return &Error{Base: b.BaseOffset(), Record: record, Kind: kind, Detail: fmt.Sprintf(format, args...)}
}
