package record_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"segue/storage/record"
)

// codecs are all there are.
var codecs = []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}

// header and rec are a record as tests compare it.
type header struct {
	key   string
	value []byte
}

type rec struct {
	offset     record.Offset
	timestamp  int64
	key, value []byte
	headers    []header
}

func (r rec) String() string {
	return fmt.Sprintf("{%d %d %q %q %q}", r.offset, r.timestamp, r.key, r.value, r.headers)
}

func (r rec) equal(o rec) bool {
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	return r.offset == o.offset && r.timestamp == o.timestamp && same(r.key, o.key) && same(r.value, o.value) &&
		slices.EqualFunc(r.headers, o.headers, func(a, b header) bool { return a.key == b.key && same(a.value, b.value) })
}

func toRec(r record.Record) rec {
	r = r.Clone()
	out := rec{offset: r.Offset, timestamp: r.Timestamp, key: r.Key, value: r.Value}
	for h := range r.Headers.All() {
		out.headers = append(out.headers, header{h.Key, h.Value})
	}
	return out
}

func toRecord(r rec) record.Record {
	var hs []record.RecordHeader
	for _, h := range r.headers {
		hs = append(hs, record.RecordHeader{Key: h.key, Value: h.value})
	}
	return record.Record{Offset: r.offset, Timestamp: r.timestamp, Key: r.key, Value: r.value,
		Headers: record.MakeRecordHeaders(hs...)}
}

// walk returns all records of b up to the first error.
func walk(b record.Batch, d *record.Decompressor) (out []rec, err error) {
	for r, err := range b.Records(d) {
		if err != nil {
			return out, err
		}
		out = append(out, toRec(r))
	}
	return out, nil
}

func sameRecords(t *testing.T, got, want []rec) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i := range got {
		if !got[i].equal(want[i]) {
			t.Fatalf("record %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

// build returns what b builds, with codec c, parsed and verified.
func build(t testing.TB, b *record.Builder, c record.Codec) record.Batch {
	t.Helper()
	b.Compression, b.Compressor = record.Compression{Codec: c}, new(record.Compressor)
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	parsed, rest, err := record.Parse(batch.Bytes())
	if err != nil || len(rest) != 0 {
		t.Fatalf("parsing what was built: %d bytes left, error %v", len(rest), err)
	}
	if err := parsed.Verify(); err != nil {
		t.Fatal(err)
	}
	return parsed
}

// builderOf returns a builder that holds rs.
func builderOf(base record.Offset, rs []rec) *record.Builder {
	b := record.NewBuilder(base)
	for _, r := range rs {
		b.AddRecord(toRecord(r))
	}
	return b
}

// randomRecords returns records of all shapes, with gaps between their offsets if asked for.
func randomRecords(r *rand.Rand, base record.Offset, gaps bool) []rec {
	some := func(most int) []byte {
		switch r.IntN(5) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		b := make([]byte, r.IntN(most))
		for i := range b {
			b[i] = byte(r.IntN(4)) // compressible
		}
		return b
	}
	out := make([]rec, 1+r.IntN(40))
	for i := range out {
		out[i] = rec{offset: base, timestamp: 1700000000000 + r.Int64N(1000000) - 500000, key: some(20), value: some(5000)}
		for range r.IntN(3) {
			out[i].headers = append(out[i].headers, header{string(some(10)), some(300)})
		}
		base++
		if gaps {
			base += record.Offset(r.IntN(100))
		}
	}
	return out
}

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
