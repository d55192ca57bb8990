package record_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"segue/storage/record"
)

// TestRoundTrip builds, parses and walks random records, and takes them through every other codec.
func TestRoundTrip(t *testing.T) {
	r := rng(3)
	c, d := new(record.Compressor), record.NewDecompressor(1<<20)
	for i := range 60 {
		codec, base := codecs[i%len(codecs)], record.Offset(r.Int64N(1<<50))
		want := randomRecords(r, base+record.Offset(r.IntN(3)), r.IntN(2) == 0)
		b := build(t, builderOf(base, want), codec)
		for _, to := range codecs {
			b, err := b.Recompress(record.Compression{Codec: to}, c, d)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Verify(); err != nil {
				t.Fatal(err)
			}
			got, err := walk(b, d)
			if err != nil {
				t.Fatal(err)
			}
			sameRecords(t, got, want)
			if last := want[len(want)-1].offset; b.LastOffset() != last || b.NextOffset() != last+1 {
				t.Fatalf("last offset %d, want %d", b.LastOffset(), last)
			}
		}
	}
}

func TestAddCountsOffsets(t *testing.T) {
	b := record.NewBuilder(10)
	b.Add(1, []byte("a"), nil, record.RecordHeader{Key: "h", Value: []byte("v")})
	b.AddRecord(record.Record{Offset: 15, Timestamp: 2})
	b.Add(3, nil, []byte{})
	if b.Count() != 3 {
		t.Errorf("count is %d", b.Count())
	}
	size := b.Size()
	batch := build(t, b, record.None)
	if batch.Size() != size {
		t.Errorf("size was %d before building, %d after", size, batch.Size())
	}
	got, err := walk(batch, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameRecords(t, got, []rec{
		{10, 1, []byte("a"), nil, []header{{"h", []byte("v")}}},
		{15, 2, nil, nil, nil},
		{16, 3, nil, []byte{}, nil},
	})
}

func TestBuildErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		make func() *record.Builder
		want string // in the error
	}{
		{"nothing added", func() *record.Builder { return record.NewBuilder(3) }, "cannot span"},
		{"negative base", func() *record.Builder {
			b := record.NewBuilder(-2)
			b.Add(0, nil, nil)
			return b
		}, "cannot span"},
		{"below base", func() *record.Builder {
			b := record.NewBuilder(3)
			b.AddRecord(record.Record{Offset: 2})
			return b
		}, "offset 2 does not fit"},
		{"offset repeats", func() *record.Builder {
			b := record.NewBuilder(3)
			b.Add(0, nil, nil)
			b.AddRecord(record.Record{Offset: 3})
			b.Add(0, nil, nil)
			return b
		}, "offset 3 does not fit"},
		{"too far", func() *record.Builder {
			b := record.NewBuilder(3)
			b.AddRecord(record.Record{Offset: 3 + 1<<31})
			return b
		}, "does not fit"},
		{"last offset below the last record", func() *record.Builder {
			b := record.NewBuilder(3)
			b.Add(0, nil, nil)
			b.Add(0, nil, nil)
			b.LastOffset = 3
			return b
		}, "cannot span"},
		{"last offset too far", func() *record.Builder {
			b := record.NewBuilder(3)
			b.LastOffset = 3 + 1<<31
			return b
		}, "cannot span"},
		{"codec", func() *record.Builder {
			b := record.NewBuilder(3)
			b.Compression.Codec = 6
			b.Add(0, nil, nil)
			return b
		}, "codec is 6"},
		{"no compressor", func() *record.Builder {
			b := record.NewBuilder(3)
			b.Compression.Codec = record.LZ4
			b.Add(0, nil, nil)
			return b
		}, "takes a Compressor"},
	} {
		if _, err := c.make().Build(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q in it", c.name, err, c.want)
		}
	}
	b := record.NewBuilder(3)
	b.AddRecord(record.Record{Offset: 3 + math.MaxInt32})
	if batch := build(t, b, record.None); batch.LastOffset() != 3+math.MaxInt32 {
		t.Errorf("last offset is %d", batch.LastOffset())
	}
}

// TestBuilderLike leaves records out of Kafka's batches and out of one that it compacted.
func TestBuilderLike(t *testing.T) {
	vectors := golden(t)
	d := record.NewDecompressor(1 << 20)
	for _, c := range goldenCases {
		for _, keep := range []int{0, 1, len(c.records)} {
			b, _, err := record.Parse(vectors[c.name])
			if err != nil {
				t.Fatal(err)
			}
			keep = min(keep, len(c.records))
			like := record.NewBuilderLike(b.Header)
			like.Compressor = new(record.Compressor)
			for r, err := range b.Records(d) {
				if err != nil {
					t.Fatal(err)
				}
				if like.Count() < keep {
					like.AddRecord(r)
				}
			}
			got, err := like.Build()
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			records, err := walk(got, d)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			sameRecords(t, records, c.records[:keep])
			if b.Codec() == record.None && b.TimestampType() == record.CreateTime && keep == len(c.records) &&
				!bytes.Equal(got.Bytes(), b.Bytes()) {
				t.Errorf("%s: with all records\n got %x\nwant %x", c.name, got.Bytes(), b.Bytes())
			}
			for name, same := range map[string]bool{
				"base offset": got.BaseOffset() == b.BaseOffset(), "last offset": got.LastOffset() == b.LastOffset(),
				"epoch": got.LeaderEpoch() == b.LeaderEpoch(), "producer": got.ProducerID() == b.ProducerID(),
				"producer epoch": got.ProducerEpoch() == b.ProducerEpoch(), "sequence": got.BaseSequence() == b.BaseSequence(),
				"transactional": got.IsTransactional() == b.IsTransactional(), "control": got.IsControl() == b.IsControl(),
				"timestamp type": got.TimestampType() == b.TimestampType(),
				"codec":          got.Codec() == b.Codec() || keep == 0, "count": int(got.Count()) == keep,
				"max timestamp": keep == 1 || got.MaxTimestamp() == b.MaxTimestamp(),
			} {
				if !same {
					t.Errorf("%s, %d records: %s differs:\n got %s\nwant %s", c.name, keep, name, head(got.Header), head(b.Header))
				}
			}
		}
	}
	// An emptied batch is what Kafka's own compaction makes of it.
	plain, _, err := record.Parse(vectors["plain"])
	if err != nil {
		t.Fatal(err)
	}
	emptied, err := record.NewBuilderLike(plain.Header).Build()
	if err != nil || !bytes.Equal(emptied.Bytes(), vectors["emptied"]) {
		t.Errorf("emptied\n got %x\nwant %x\nerror %v", emptied.Bytes(), vectors["emptied"], err)
	}
}
