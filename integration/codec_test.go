//go:build integration && unix

package integration

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"segue/storage/record"
)

// codecs are the codecs of record batches, with what clients call them.
var codecs = []struct {
	codec record.Codec
	franz kgo.CompressionCodec
}{
	{record.None, kgo.NoCompression()},
	{record.Gzip, kgo.GzipCompression()},
	{record.Snappy, kgo.SnappyCompression()},
	{record.LZ4, kgo.Lz4Compression()},
	{record.Zstd, kgo.ZstdCompression()},
}

const codecRecords = 100

// codecRecord is the record with that number: one that compresses well.
func codecRecord(i int) (key, value string) {
	return fmt.Sprintf("key %03d", i), strings.Repeat(fmt.Sprintf("value %03d ", i), 40)
}

// TestCodecs produces in every codec with every acks, with franz-go and with kcat. What one client has produced, both
// must read; and the segment file must hold batches of the codec that was asked for: a client that is not told that the
// broker knows a codec sends batches uncompressed and says nothing.
func TestCodecs(t *testing.T) {
	b := start(t)
	producers := []struct {
		name    string
		produce func(t *testing.T, topic string, codec int, acks int)
	}{
		{"franz-go", func(t *testing.T, topic string, codec, acks int) { b.produceWithFranz(t, topic, codec, acks) }},
		{"kcat", func(t *testing.T, topic string, codec, acks int) { b.produceWithKcat(t, topic, codec, acks) }},
	}
	for _, p := range producers {
		for i := range codecs {
			for _, acks := range []int{0, 1, -1} {
				codec := codecs[i].codec
				t.Run(fmt.Sprintf("%s/%v/acks=%d", p.name, codec, acks), func(t *testing.T) {
					if p.name == "kcat" {
						needKcat(t)
					}
					topic := fmt.Sprintf("%s.%v.%d", p.name, codec, acks)
					p.produce(t, topic, i, acks)
					b.readWithFranz(t, topic)
					b.checkCodec(t, topic, codec)
					t.Run("kcat", func(t *testing.T) {
						needKcat(t)
						b.readWithKcat(t, topic)
					})
				})
			}
		}
	}
}

func (b *broker) produceWithFranz(t *testing.T, topic string, codec, acks int) {
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codecs[codec].franz), kgo.ProducerLinger(100 * time.Millisecond),
	}
	switch acks {
	case 0:
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case 1:
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	var records []*kgo.Record
	for i := range codecRecords {
		key, value := codecRecord(i)
		records = append(records, &kgo.Record{
			Key: []byte(key), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}},
		})
	}
	produce(t, b.client(t, opts...), records...)
}

func (b *broker) produceWithKcat(t *testing.T, topic string, codec, acks int) {
	var input bytes.Buffer
	for i := range codecRecords {
		key, value := codecRecord(i)
		fmt.Fprintf(&input, "%s|%s\n", key, value)
	}
	b.runKcat(t, &input, "-P", "-t", topic, "-K", "|", "-H", "h=x", "-X", "linger.ms=100",
		"-X", fmt.Sprint("compression.codec=", codecs[codec].codec), "-X", fmt.Sprint("acks=", acks))
}

// The partition is one, so all records come in the order in which they were produced.

func (b *broker) readWithFranz(t *testing.T, topic string) {
	for i, r := range b.consume(t, topic, codecRecords) {
		key, value := codecRecord(i)
		if string(r.Key) != key || string(r.Value) != value || r.Offset != int64(i) ||
			len(r.Headers) != 1 || r.Headers[0].Key != "h" || string(r.Headers[0].Value) != "x" {
			t.Fatalf("record %d: at %d there is %q: %q, headers %v", i, r.Offset, r.Key, r.Value, r.Headers)
		}
	}
}

func (b *broker) readWithKcat(t *testing.T, topic string) {
	records := b.consumeWithKcat(t, topic, codecRecords)
	if len(records) != codecRecords {
		t.Fatalf("kcat has read %d records of %d", len(records), codecRecords)
	}
	for i, r := range records {
		key, value := codecRecord(i)
		if string(r.key) != key || string(r.value) != value || r.offset != int64(i) || r.headers != "h=x" {
			t.Fatalf("record %d: at %d there is %q: %q, headers %q", i, r.offset, r.key, r.value, r.headers)
		}
	}
}

// checkCodec looks at the batches of partition 0 on the disk.
func (b *broker) checkCodec(t *testing.T, topic string, codec record.Codec) {
	size, next := 0, 0
	decompressor := record.NewDecompressor(1 << 20)
	for _, batch := range b.batches(t, topic, 0) {
		size += batch.Size()
		if batch.Codec() != codec {
			t.Errorf("the batch at %d is in %v, want %v", batch.BaseOffset(), batch.Codec(), codec)
		}
		for r, err := range batch.Records(decompressor) {
			if err != nil {
				t.Fatal(err)
			}
			key, value := codecRecord(next)
			if string(r.Key) != key || string(r.Value) != value || r.Offset != record.Offset(next) {
				t.Fatalf("on the disk at %d there is %q: %q", r.Offset, r.Key, r.Value)
			}
			next++
		}
	}
	if next != codecRecords {
		t.Errorf("%d records on the disk, want %d", next, codecRecords)
	}
	_, value := codecRecord(0)
	if plain := codecRecords * len(value); codec != record.None && size > plain*3/4 {
		t.Errorf("%d bytes on the disk for %d bytes of values: that is not compressed", size, plain)
	}
}

// TestBrokerCompresses has the topic's codec differ from the producer's: the broker rewrites the batches.
func TestBrokerCompresses(t *testing.T) {
	b := start(t)
	for from := range codecs {
		to := (from + 1) % len(codecs)
		name := codecs[to].codec.String()
		if name == "none" {
			name = "uncompressed"
		}
		topic := fmt.Sprintf("to-%v", name)
		b.createTopic(t, topic, 1, "compression.type", name)
		b.produceWithFranz(t, topic, from, -1)
		b.readWithFranz(t, topic)
		b.checkCodec(t, topic, codecs[to].codec)
	}
}

// TestAcksZero: a produce without acks gets no answer, and one that fails ends the connection, because the client could
// learn of it in no other way.
func TestAcksZero(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	w := b.dial(t)
	w.send(produceRequest("t", 0, 0, batchOf(t, "a")))
	w.asked = nil // it is not to be answered
	if base := w.produce("t", 0, batchOf(t, "b")); base != 1 {
		t.Errorf("the second batch is at %d, want 1", base)
	}
	w.send(produceRequest("t", 7, 0, batchOf(t, "c")))
	w.isClosed()
	records := b.consume(t, "t", 2)
	if values := []string{string(records[0].Value), string(records[1].Value)}; !slices.Equal(values, []string{"a", "b"}) {
		t.Errorf("values %q", values)
	}
}
