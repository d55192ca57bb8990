package record

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Record is one record of a batch. What a walk yields aliases the batch, or a buffer that the walk reuses: Key, Value
// and Headers are valid until the loop goes on to the next record. Clone copies what has to last.
type Record struct {
	Offset     Offset
	Timestamp  int64  // Unix milliseconds, or NoTimestamp
	Key, Value []byte // nil is Kafka's null, which is not the same as empty
	Headers    RecordHeaders
}

// Clone returns a copy of r that shares no memory with it.
func (r Record) Clone() Record {
	r.Key = bytes.Clone(r.Key)
	r.Value = bytes.Clone(r.Value)
	r.Headers.encoded = bytes.Clone(r.Headers.encoded)
	return r
}

// RecordHeader is a header of a record (KIP-82). Keys may repeat within a record.
type RecordHeader struct {
	Key   string
	Value []byte // nil is null
}

// RecordHeaders are the headers of a record, as they are encoded in it: they cost nothing until they are looked at.
// The zero value is no headers.
type RecordHeaders struct {
	count   int32
	encoded []byte // count headers, well-formed
}

// MakeRecordHeaders returns the headers hs, in that order.
func MakeRecordHeaders(hs ...RecordHeader) RecordHeaders {
	var encoded []byte
	for _, h := range hs {
		encoded = binary.AppendVarint(encoded, int64(len(h.Key)))
		encoded = append(encoded, h.Key...)
		encoded = appendBytes(encoded, h.Value)
	}
	return RecordHeaders{int32(len(hs)), encoded}
}

// Len is the number of headers.
func (h RecordHeaders) Len() int { return int(h.count) }

// All yields the headers in order. Their values alias the record.
func (h RecordHeaders) All() iter.Seq[RecordHeader] {
	return func(yield func(RecordHeader) bool) {
		i := 0
		for range h.count {
			var key, value []byte
			key, i = readLengthAndBytes(h.encoded, i)
			value, i = readLengthAndBytes(h.encoded, i)
			if !yield(RecordHeader{string(key), value}) {
				return
			}
		}
	}
}

// fields are what the bytes of a record say, relative to its batch.
type fields struct {
	timestampDelta int64
	offsetDelta    int32
	key, value     []byte
	headers        RecordHeaders
}

// parse takes apart the bytes of a record without its length, and reports whether they are well-formed to the last
// byte. A negative length of key or value is null, whatever the number, as Kafka takes it.
func (f *fields) parse(b []byte) bool {
	i := 1 // the attributes of a record have no meaning yet
	f.timestampDelta, i = readVarint64(b, i)
	f.offsetDelta, i = readVarint(b, i)
	f.key, i = readLengthAndBytes(b, i)
	f.value, i = readLengthAndBytes(b, i)
	f.headers.count, i = readVarint(b, i)
	if i < 0 {
		return false
	}
	f.headers.encoded = b[i:len(b):len(b)]
	if f.headers.count == 0 {
		return i == len(b)
	}
	return f.headers.wellFormed()
}

// wellFormed walks the headers without decoding them.
func (h RecordHeaders) wellFormed() bool {
	// A header takes two bytes at least; so a count that lies costs no time.
	if h.count < 0 || int(h.count) > len(h.encoded)/2 {
		return false
	}
	i := 0
	for range h.count {
		var n int32
		if n, i = readVarint(h.encoded, i); n < 0 { // a header's key cannot be null
			return false
		}
		i = skipBytes(h.encoded, i, n)
		n, i = readVarint(h.encoded, i)
		if i = skipBytes(h.encoded, i, n); i < 0 {
			return false
		}
	}
	return i == len(h.encoded)
}
