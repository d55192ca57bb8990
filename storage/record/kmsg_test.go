package record_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// kmsgRecords encodes rs with kmsg.
func kmsgRecords(base record.Offset, rs []rec) []byte {
	var out []byte
	for _, r := range rs {
		k := kmsg.Record{TimestampDelta64: r.timestamp - rs[0].timestamp, OffsetDelta: int32(r.offset - base),
			Key: r.key, Value: r.value}
		for _, h := range r.headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.key, Value: h.value})
		}
		// The length is a varint that comes first: it takes one byte while it is 0.
		k.Length = int32(len(k.AppendTo(nil)) - 1)
		out = k.AppendTo(out)
	}
	return out
}

// kmsgBatch encodes a batch of rs with kmsg and kgo's compression.
func kmsgBatch(t *testing.T, base record.Offset, rs []rec, c record.Codec) []byte {
	t.Helper()
	payload := kmsgRecords(base, rs)
	compressor, err := kgo.DefaultCompressor(map[record.Codec]kgo.CompressionCodec{
		record.None: kgo.NoCompression(), record.Gzip: kgo.GzipCompression(), record.Snappy: kgo.SnappyCompression(),
		record.LZ4: kgo.Lz4Compression(), record.Zstd: kgo.ZstdCompression(),
	}[c])
	if err != nil {
		t.Fatal(err)
	}
	if compressor != nil {
		payload, _ = compressor.Compress(new(bytes.Buffer), payload)
	}
	k := kmsg.RecordBatch{FirstOffset: int64(base), PartitionLeaderEpoch: 4, Magic: 2, Attributes: int16(c) | 0x10,
		LastOffsetDelta: int32(rs[len(rs)-1].offset - base), FirstTimestamp: rs[0].timestamp,
		MaxTimestamp: record.NoTimestamp,
		ProducerID:   1 << 40, ProducerEpoch: 300, FirstSequence: 70000, NumRecords: int32(len(rs)), Records: payload}
	for _, r := range rs {
		k.MaxTimestamp = max(k.MaxTimestamp, r.timestamp)
	}
	b := k.AppendTo(nil)
	setLength(b)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// ours encodes the same batch.
func ours(t *testing.T, base record.Offset, rs []rec, c record.Codec) record.Batch {
	t.Helper()
	b := builderOf(base, rs)
	b.LeaderEpoch, b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = 4, 1<<40, 300, 70000, true
	return build(t, b, c)
}

// TestAgainstKmsg has random records encoded and decoded by either side.
func TestAgainstKmsg(t *testing.T) {
	r := rng(2)
	d := record.NewDecompressor(1 << 20)
	for i := range 80 {
		c := codecs[i%len(codecs)]
		base := record.Offset(r.Int64N(1 << 40))
		rs := randomRecords(r, base, false)

		theirs := kmsgBatch(t, base, rs, c)
		b, rest, err := record.Parse(theirs)
		if err != nil || len(rest) != 0 {
			t.Fatalf("%d bytes left, error %v", len(rest), err)
		}
		if err := b.Verify(); err != nil {
			t.Fatal(err)
		}
		got, err := walk(b, d)
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, got, rs)

		own := ours(t, base, rs, c)
		if c == record.None && !bytes.Equal(own.Bytes(), theirs) {
			t.Fatalf("built\n got %x\nwant %x", own.Bytes(), theirs)
		}
		if got, want := head(own.Header), head(b.Header); got != want {
			t.Fatalf("header\n got %s\nwant %s", got, want)
		}
		var k kmsg.RecordBatch
		if err := k.ReadFrom(own.Bytes()); err != nil {
			t.Fatal(err)
		}
		payload, err := kgo.DefaultDecompressor().Decompress(k.Records, kgo.CompressionCodecType(c))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(payload, kmsgRecords(base, rs)) {
			t.Fatalf("%v: records differ", c)
		}
	}
}
