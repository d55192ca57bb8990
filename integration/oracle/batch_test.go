package oracle

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// batch is a record batch to be produced. Its zero fields are what a producer without idempotence sends.
type batch struct {
	values    []string      // of its records
	keys      []string      // of its records, if there are any
	whole     []kmsg.Record // in place of values and keys, with all that a record has
	timestamp int64         // of all records; zero is longAgo
	attrs     int16
	// idempotent producers name themselves.
	producer int64
	epoch    int16
	sequence int32
	named    bool // producer, epoch and sequence count
	codec    kgo.CompressionCodec
	// change is called on the batch before its checksum is computed, and spoil on its bytes in the end.
	change func(*kmsg.RecordBatch)
	spoil  func([]byte)
}

// longAgo is a time that no case takes for the present.
const longAgo = 1_600_000_000_000

// records returns the bytes of record batches, one behind the other.
func records(list ...batch) (all []byte) {
	for _, b := range list {
		all = append(all, b.bytes()...)
	}
	return all
}

// values is a batch with these values.
func values(v ...string) batch { return batch{values: v} }

func (b batch) bytes() []byte {
	if b.timestamp == 0 {
		b.timestamp = longAgo
	}
	list := b.records()
	rb := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: b.attrs,
		LastOffsetDelta: int32(len(list)) - 1, FirstTimestamp: b.timestamp, MaxTimestamp: b.timestamp,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(list)),
	}
	if b.named {
		rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = b.producer, b.epoch, b.sequence
	}
	for _, r := range list {
		rb.MaxTimestamp = max(rb.MaxTimestamp, b.timestamp+r.TimestampDelta64)
		rb.Records = appendRecord(rb.Records, r)
	}
	if b.codec != (kgo.CompressionCodec{}) {
		compressor, err := kgo.DefaultCompressor(b.codec)
		if err != nil {
			panic(err) // there is no such codec
		}
		packed, kind := compressor.Compress(new(bytes.Buffer), rb.Records)
		rb.Records, rb.Attributes = slices.Clone(packed), rb.Attributes|int16(kind)
	}
	if b.change != nil {
		b.change(&rb)
	}
	out := seal(&rb)
	if b.spoil != nil {
		b.spoil(out)
	}
	return out
}

// records are the records of a batch.
func (b batch) records() []kmsg.Record {
	if b.whole != nil {
		return b.whole
	}
	list := []kmsg.Record{}
	for i, v := range b.values {
		r := kmsg.Record{OffsetDelta: int32(i), Value: []byte(v)}
		if b.keys != nil {
			r.Key = []byte(b.keys[i])
		}
		list = append(list, r)
	}
	return list
}

// appendRecord appends a record behind its length.
func appendRecord(to []byte, r kmsg.Record) []byte {
	r.Length = 0
	body := r.AppendTo(nil)[1:] // behind the length, which is one byte so far
	return append(binary.AppendVarint(to, int64(len(body))), body...)
}

// seal returns a batch's bytes with its length and its checksum.
func seal(rb *kmsg.RecordBatch) []byte {
	out := rb.AppendTo(nil)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-12))
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], castagnoli))
	return out
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batches is the tree of the batches in an answer to Fetch.
func (n *names) batches(b []byte) any {
	list := []any{}
	for len(b) > 0 {
		if len(b) < 61 {
			return append(list, fmt.Sprintf("%d bytes of a batch", len(b)))
		}
		size := 12 + int(int32(binary.BigEndian.Uint32(b[8:])))
		if size < 61 || size > len(b) {
			return append(list, fmt.Sprintf("%d of %d bytes of a batch", len(b), size))
		}
		list = append(list, n.batch(b[:size]))
		b = b[size:]
	}
	return list
}

func (n *names) batch(b []byte) any {
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(b); err != nil {
		return err.Error()
	}
	if crc := crc32.Checksum(b[21:], castagnoli); crc != uint32(rb.CRC) {
		return "its checksum is wrong"
	}
	number := func(v int64) any { return json.Number(strconv.FormatInt(v, 10)) }
	fields := map[string]any{
		"offset": number(rb.FirstOffset), "last": number(rb.FirstOffset + int64(rb.LastOffsetDelta)),
		"leaderEpoch": n.leaderEpoch(rb.PartitionLeaderEpoch), "attributes": number(int64(rb.Attributes)),
		"timestamp": n.time(rb.FirstTimestamp), "maxTimestamp": n.time(rb.MaxTimestamp), "records": n.recordsOf(&rb),
	}
	if rb.ProducerID >= 0 {
		fields["epoch"], fields["sequence"] = number(int64(rb.ProducerEpoch)), number(int64(rb.FirstSequence))
		fields["producer"] = number(rb.ProducerID)
		if shown, ok := n.known("producer", rb.ProducerID); ok {
			fields["producer"] = shown
		}
	}
	return fields
}

func (n *names) time(millis int64) any {
	if recent(millis) {
		return "<now>"
	}
	return json.Number(strconv.FormatInt(millis, 10))
}

// recordsOf shows records as "offset delta: key=value @ timestamp delta".
func (n *names) recordsOf(rb *kmsg.RecordBatch) any {
	raw, err := kgo.DefaultDecompressor().Decompress(rb.Records, kgo.CompressionCodecType(rb.Attributes&7))
	if err != nil {
		return err.Error()
	}
	list := []any{}
	for range rb.NumRecords {
		size, width := binary.Varint(raw)
		if width <= 0 || size < 0 || int64(len(raw)-width) < size {
			return append(list, "a record that is cut short")
		}
		var r kmsg.Record
		if err := r.ReadFrom(raw[:width+int(size)]); err != nil {
			return append(list, err.Error())
		}
		if rb.Attributes&control != 0 {
			list = append(list, n.controlText(r))
		} else {
			list = append(list, recordText(r))
		}
		raw = raw[width+int(size):]
	}
	return list
}

// controlText says what a control record decides, and the epoch of the coordinator that wrote it.
func (n *names) controlText(r kmsg.Record) string {
	var key kmsg.ControlRecordKey
	var marker kmsg.EndTxnMarker
	if key.ReadFrom(r.Key) != nil || marker.ReadFrom(r.Value) != nil || len(r.Key) != 4 || len(r.Value) != 6 {
		return recordText(r)
	}
	what := map[kmsg.ControlRecordKeyType]string{0: "abort", 1: "commit"}[key.Type]
	return fmt.Sprintf("%s, versions %d and %d, coordinator epoch %v", what, key.Version, marker.Version, n.leaderEpoch(marker.CoordinatorEpoch))
}

// recordText is "offset delta: key=value @ timestamp delta", and headers if there are any.
func recordText(r kmsg.Record) string {
	value := "null"
	if most := 40; len(r.Value) > most {
		value = fmt.Sprintf("%q… (%d bytes)", r.Value[:most], len(r.Value))
	} else if r.Value != nil {
		value = fmt.Sprintf("%q", r.Value)
	}
	text := fmt.Sprintf("%d: %q=%s @%d", r.OffsetDelta, r.Key, value, r.TimestampDelta64)
	for _, h := range r.Headers {
		text += fmt.Sprintf(" %q=%q", h.Key, h.Value)
	}
	return text
}
