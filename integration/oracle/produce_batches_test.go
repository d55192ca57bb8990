package oracle

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bits of a batch's attributes.
const (
	logAppendTime = 1 << 3
	transactional = 1 << 4
	control       = 1 << 5
	deleteHorizon = 1 << 6
)

func allCodecs() []kgo.CompressionCodec {
	return []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
}

// produceBatchesScenario is about what a batch may be.
func produceBatchesScenario() scenario {
	return scenario{name: "produce_batches", cases: slices.Concat(goodBatches(), brokenBatches(), wrongHeaders(), timedBatches(), unwantedBatches())}
}

// goodBatches is about batches that are taken, and their codecs.
func goodBatches() []oneCase {
	return []oneCase{
		{name: "good ones", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, values("a", "b"))
			askProduce(c, t, 0, batch{whole: []kmsg.Record{
				{}, {OffsetDelta: 1, Key: []byte{}, Value: []byte{}}, {OffsetDelta: 2, TimestampDelta64: 5, Key: []byte("k")},
				{OffsetDelta: 3, TimestampDelta64: -5, Headers: []kmsg.Header{{Key: "h", Value: []byte("v")}, {Key: "h"}, {}}},
			}})
			readBack(c, t, 6)
		}},
		{name: "codecs", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			for _, codec := range allCodecs() {
				askProduce(c, t, 0, batch{values: []string{"a", "b"}, codec: codec})
			}
			readBack(c, t, 6)
		}},
		{name: "codecs that a topic changes", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1, "compression.type=gzip")
			askProduce(c, t, 0, values("a", "b"))
			askProduce(c, t, 0, batch{values: []string{"a", "b"}, codec: kgo.GzipCompression()})
			askProduce(c, t, 0, batch{values: []string{"a", "b"}, codec: kgo.ZstdCompression()})
			readBack(c, t, 4)
			u := c.topic("u", 1, "compression.type=uncompressed")
			askProduce(c, u, 0, batch{values: []string{"a", "b"}, codec: kgo.Lz4Compression()})
			readBack(c, u, 2)
		}},
		{name: "codecs that there are not", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			for codec := int16(5); codec < 8; codec++ {
				askProduce(c, t, 0, batch{values: []string{"a"}, attrs: codec})
			}
		}},
		{name: "what cannot be unpacked", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1, "cleanup.policy=compact") // where all batches are looked into
			for codec := int16(1); codec < 5; codec++ {
				askProduce(c, t, 0, batch{values: []string{"a"}, keys: []string{"k"}, attrs: codec})
			}
		}},
		{name: "what is not looked into", api: kmsg.Produce, from: 13, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, batch{values: []string{"a"}, attrs: 1})
		}},
	}
}

// brokenBatches is about batches of the wrong bytes.
func brokenBatches() []oneCase {
	return []oneCase{
		{name: "several batches", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, values("a"), values("b"))
			askProduce(c, t, 0, values("a"), batch{values: []string{"b"}, spoil: flip(17)})
			askProduce(c, t, 0, batch{values: []string{"a"}, spoil: flip(17)}, values("b"))
		}},
		{name: "something behind the batch", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			whole := values("a").bytes()
			for _, n := range []int{1, 12, 16, 17, 60, len(whole) - 1} {
				ask[*kmsg.ProduceResponse](c, produceRequest(t, 0, slices.Concat(whole, whole[:n])))
			}
			ask[*kmsg.ProduceResponse](c, produceRequest(t, 0, slices.Concat(whole, make([]byte, 100))))
			readBack(c, t, 6)
		}},
		{name: "cut short", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			whole := values("a").bytes()
			for _, n := range []int{1, 11, 12, 16, 17, 60, 61, len(whole) - 1} {
				ask[*kmsg.ProduceResponse](c, produceRequest(t, 0, whole[:n]))
			}
		}},
		{name: "checksum", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, batch{values: []string{"a"}, spoil: flip(17)})
			askProduce(c, t, 0, batch{values: []string{"a"}, spoil: flip(65)})
			askProduce(c, t, 0, batch{values: []string{"a"}, spoil: flip(12)}) // the leader epoch, which is not covered
			askProduce(c, t, 0, batch{values: []string{"a", "b"}, codec: kgo.GzipCompression(), spoil: flip(65)})
		}},
		{name: "length", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			for _, length := range []int32{0, -1, 13, 14, 48, 49, 58, 1000, 2147483647} {
				askProduce(c, t, 0, batch{values: []string{"a"}, spoil: func(b []byte) { binary.BigEndian.PutUint32(b[8:], uint32(length)) }})
			}
		}},
		{name: "magic", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			for magic := range int8(2) {
				ask[*kmsg.ProduceResponse](c, produceRequest(t, 0, oldMessage(magic)))
			}
			for _, magic := range []byte{3, 255} {
				askProduce(c, t, 0, batch{values: []string{"a"}, spoil: func(b []byte) { b[16] = magic }})
			}
			ask[*kmsg.ProduceResponse](c, produceRequest(t, 0, append(values("a").bytes(), oldMessage(1)...)))
		}},
	}
}

// wrongHeaders is about headers that no producer sends.
func wrongHeaders() []oneCase {
	return []oneCase{
		{name: "count", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			for _, change := range []func(*kmsg.RecordBatch){
				func(b *kmsg.RecordBatch) { b.NumRecords = 0 },
				func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 0, -1 },
				func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta, b.Records = 0, -1, nil },
				func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta, b.Records = 0, 0, nil },
				func(b *kmsg.RecordBatch) { b.NumRecords = -1 },
				func(b *kmsg.RecordBatch) { b.LastOffsetDelta = -1 },
				func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 2 },
				func(b *kmsg.RecordBatch) { b.NumRecords = 3 },
				func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 2147483647, 2147483646 },
			} {
				askProduce(c, t, 0, batch{values: []string{"a", "b"}, change: change})
			}
		}},
		{name: "count and records that differ", api: kmsg.Produce, from: 11, run: func(c *client) { miscount(c, kgo.CompressionCodec{}) }},
		{name: "count and records that differ, compressed", api: kmsg.Produce, from: 11, run: func(c *client) { miscount(c, kgo.GzipCompression()) }},
		{name: "offset deltas", api: kmsg.Produce, from: 11, run: func(c *client) { misnumber(c, kgo.CompressionCodec{}) }},
		{name: "offset deltas, compressed", api: kmsg.Produce, from: 11, run: func(c *client) { misnumber(c, kgo.GzipCompression()) }},
		{name: "base offset and leader epoch", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			for _, change := range []func(*kmsg.RecordBatch){
				func(b *kmsg.RecordBatch) { b.FirstOffset = 1 },
				func(b *kmsg.RecordBatch) { b.FirstOffset = -1 },
				func(b *kmsg.RecordBatch) { b.PartitionLeaderEpoch = 1000 },
			} {
				askProduce(c, t, 0, batch{values: []string{"a", "b"}, change: change})
			}
			readBack(c, t, 2)
		}},
		{name: "records that are none", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			good := appendRecord(nil, kmsg.Record{Value: []byte("a")})
			for _, bytes := range [][]byte{
				{}, {0}, {2, 0}, good[:len(good)-1], append(slices.Clone(good), 0), append([]byte{good[0] + 2}, good[1:]...),
				{12, 0, 0, 0, 200, 1, 1}, {14, 0, 0, 0, 1, 1, 200, 1}, {12, 0, 0, 0, 1, 1, 1}, {255, 255, 255, 255, 255, 255},
			} {
				askProduce(c, t, 0, batch{values: []string{""}, change: func(b *kmsg.RecordBatch) { b.Records = bytes }})
			}
		}},
		{name: "attributes", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			for _, attrs := range []int16{deleteHorizon, 1 << 7, 1 << 8, -32768, control, control | transactional} {
				askProduce(c, t, 0, batch{values: []string{"a"}, attrs: attrs})
			}
			askProduce(c, t, 0, batch{values: []string{"a"}, attrs: control, named: true, producer: 1 << 40})
			askProduce(c, t, 0, batch{whole: []kmsg.Record{{Attributes: 1}}})
			readBack(c, t, 1)
		}},
	}
}

// timedBatches is about timestamps.
func timedBatches() []oneCase {
	return []oneCase{
		{name: "timestamps", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1, "message.timestamp.before.max.ms=3600000", "message.timestamp.after.max.ms=3600000")
			now := time.Now().UnixMilli()
			for _, timestamp := range []int64{now, -1, 1, longAgo, now + 7_200_000, -2, 1 << 60} {
				askProduce(c, t, 0, batch{values: []string{"a"}, timestamp: timestamp})
			}
			readBack(c, t, 2)
		}},
		{name: "timestamps in the future by default", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			now := time.Now().UnixMilli()
			for _, timestamp := range []int64{now + 3_000_000, now + 4_000_000, 1, -1, -2, 1 << 60} {
				askProduce(c, t, 0, batch{values: []string{"a"}, timestamp: timestamp})
			}
		}},
		{name: "some timestamps out of range", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1, "message.timestamp.before.max.ms=3600000")
			now := time.Now().UnixMilli()
			mixed := []kmsg.Record{
				{}, {OffsetDelta: 1, TimestampDelta64: longAgo - now}, {OffsetDelta: 2}, {OffsetDelta: 3, TimestampDelta64: 7_200_000},
			}
			for _, codec := range []kgo.CompressionCodec{{}, kgo.GzipCompression()} {
				askProduce(c, t, 0, batch{whole: mixed, timestamp: now, codec: codec})
			}
		}},
		{name: "largest timestamps that are not", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			for _, largest := range []int64{longAgo - 100, longAgo + 100, -1} {
				askProduce(c, t, 0, batch{values: []string{"a"}, change: func(b *kmsg.RecordBatch) { b.MaxTimestamp = largest }})
			}
			readBack(c, t, 3)
		}},
		{name: "append time", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1, "message.timestamp.type=LogAppendTime")
			askProduce(c, t, 0, values("a", "b"))
			askProduce(c, t, 0, batch{values: []string{"a"}, timestamp: 1 << 60})
			askProduce(c, t, 0, batch{values: []string{"a"}, codec: kgo.GzipCompression()})
			askProduce(c, t, 0, batch{values: []string{"a", "b"}, attrs: logAppendTime})
			askProduce(c, t, 0, batch{values: []string{"a", "b"}, attrs: logAppendTime, codec: kgo.GzipCompression()})
			readBack(c, t, 4)
		}},
		{name: "append time, and limits", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1, "message.timestamp.type=LogAppendTime", "message.timestamp.before.max.ms=1000", "message.timestamp.after.max.ms=1000")
			askProduce(c, t, 0, values("a"))
		}},
		{name: "append time of a batch alone", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, batch{values: []string{"a", "b"}, attrs: logAppendTime})
			askProduce(c, t, 0, batch{values: []string{"a", "b"}, attrs: logAppendTime, codec: kgo.GzipCompression()})
			askProduce(c, t, 0, batch{values: []string{"a"}, attrs: logAppendTime, timestamp: -1})
			readBack(c, t, 4)
		}},
	}
}

// unwantedBatches is about batches that a topic does not take.
func unwantedBatches() []oneCase {
	return []oneCase{
		{name: "records without a key in a compacted topic", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1, "cleanup.policy=compact,delete")
			mixed := []kmsg.Record{{Key: []byte("k")}, {OffsetDelta: 1}, {OffsetDelta: 2, Key: []byte{}}, {OffsetDelta: 3}}
			for _, codec := range []kgo.CompressionCodec{{}, kgo.GzipCompression()} {
				askProduce(c, t, 0, batch{values: []string{"a"}, codec: codec})
				askProduce(c, t, 0, batch{whole: mixed, codec: codec})
				askProduce(c, t, 0, batch{values: []string{"a"}, keys: []string{""}, codec: codec})
			}
		}},
		{name: "no key, and a time out of range", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1, "cleanup.policy=compact", "message.timestamp.before.max.ms=3600000")
			askProduce(c, t, 0, values("a"))
			now := time.Now().UnixMilli()
			askProduce(c, t, 0, batch{timestamp: now, whole: []kmsg.Record{{}, {OffsetDelta: 1, Key: []byte("k"), TimestampDelta64: longAgo - now}}})
		}},
		{name: "too large", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1, "max.message.bytes=200")
			for _, size := range []int{100, 131, 132, 200} { // 69 bytes are the rest of it
				askProduce(c, t, 0, values(strings.Repeat("a", size)))
			}
			askProduce(c, t, 0, batch{values: []string{strings.Repeat("a", 1000)}, codec: kgo.GzipCompression()})
			askProduce(c, t, 0, batch{values: []string{strings.Repeat("a", 1000)}, spoil: flip(17)})
			askProduce(c, t, 0, batch{values: []string{strings.Repeat("a", 1000)}, change: func(b *kmsg.RecordBatch) { b.FirstOffset = 1 }})
			u := c.topic("u", 1, "max.message.bytes=200", "compression.type=uncompressed")
			askProduce(c, u, 0, batch{values: []string{strings.Repeat("a", 1000)}, codec: kgo.GzipCompression()})
		}},
		{name: "too large for a segment", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1, "segment.bytes=1048576", "max.message.bytes=2000000")
			askProduce(c, t, 0, values(strings.Repeat("a", 1048576-100)))
			askProduce(c, t, 0, values(strings.Repeat("a", 1048576)))
		}},
		{name: "a bit of a byte", api: kmsg.Produce, from: 13, run: func(c *client) {
			for at := range values("a", "b").bytes() {
				for _, bit := range []byte{1, 0x80} {
					askProduce(c, c.topic("t", 1), 0, batch{values: []string{"a", "b"}, spoil: func(b []byte) {
						b[at] ^= bit // where that is in the checksum, it is put right again
						binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
					}})
				}
			}
		}},
		{name: "which error comes first", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1, "cleanup.policy=compact", "message.timestamp.type=LogAppendTime")
			askProduce(c, t, 0, batch{values: []string{"a"}, attrs: logAppendTime})
			askProduce(c, t, 0, batch{values: []string{"a"}, attrs: logAppendTime | control})
			askProduce(c, t, 0, batch{values: []string{"a"}, change: func(b *kmsg.RecordBatch) { b.FirstOffset = 1 }, spoil: flip(17)})
			askProduce(c, t, 0, batch{values: []string{"a"}, change: func(b *kmsg.RecordBatch) { b.NumRecords = 7 }, spoil: flip(17)})
			askProduce(c, t, 0, batch{values: []string{"a"}, attrs: control, change: func(b *kmsg.RecordBatch) { b.NumRecords = 7 }})
			askProduce(c, t, 0, batch{values: []string{"a"}, attrs: 7, spoil: flip(17)})
		}},
	}
}

// miscount asks for batches to be appended that say they have fewer or more records than they have.
func miscount(c *client, codec kgo.CompressionCodec) {
	t := c.topic("t", 1)
	for _, n := range []int32{1, 3} {
		askProduce(c, t, 0, batch{values: []string{"a", "b"}, codec: codec, change: func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = n, n-1 }})
	}
}

// misnumber asks for batches to be appended whose records are not numbered from 0 on.
func misnumber(c *client, codec kgo.CompressionCodec) {
	t := c.topic("t", 1)
	for _, deltas := range [][2]int32{{1, 2}, {0, 0}, {1, 0}, {0, 2}, {-1, 0}} {
		askProduce(c, t, 0, batch{whole: []kmsg.Record{{OffsetDelta: deltas[0]}, {OffsetDelta: deltas[1]}}, codec: codec})
	}
}

// flip turns a byte of a batch into another one.
func flip(at int) func([]byte) { return func(b []byte) { b[at] ^= 0xff } }

// oldMessage is a message set of one message in one of the formats before record batches.
func oldMessage(magic int8) []byte {
	message := []byte{byte(magic), 0}
	if magic > 0 {
		message = binary.BigEndian.AppendUint64(message, longAgo)
	}
	message = binary.BigEndian.AppendUint32(message, 0xffffffff) // no key
	message = append(binary.BigEndian.AppendUint32(message, 1), 'a')
	out := binary.BigEndian.AppendUint64(nil, 0)
	out = binary.BigEndian.AppendUint32(out, uint32(len(message)+4))
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(message))
	return append(out, message...)
}
