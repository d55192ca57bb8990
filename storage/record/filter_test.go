package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"segue/storage/record"
)

func newFilter(limit int) *record.Filter {
	return &record.Filter{Decompressor: record.NewDecompressor(limit), Compressor: new(record.Compressor)}
}

// horizon is the delete horizon that tests set.
const horizon = goldenTime + 101000

// noHorizon are the options that ask for nothing besides what keep says.
var noHorizon = record.FilterOptions{Horizon: record.NoTimestamp}

// modelBatch is what a batch says, all of it but size, checksum and how it is encoded.
type modelBatch struct {
	head    string // of the header, without what a filter may change
	max     int64
	horizon int64
	codec   record.Codec
	records []rec
}

func modelOf(t testing.TB, b record.Batch) modelBatch {
	t.Helper()
	if err := b.Verify(); err != nil {
		t.Fatal(err)
	}
	records, err := walk(b, record.NewDecompressor(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	m := modelBatch{max: b.MaxTimestamp(), horizon: record.NoTimestamp, codec: b.Codec(), records: records}
	if b.HasDeleteHorizon() {
		m.horizon = b.BaseTimestamp()
	}
	m.head = fmt.Sprint(b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(), b.ProducerID(), b.ProducerEpoch(),
		b.BaseSequence(), b.LastSequence(), b.TimestampType(), b.IsTransactional(), b.IsControl())
	return m
}

// filter is the model of Filter.Batch: what must be left of m, and whether there is a batch at all.
func (m modelBatch) filter(appendTime bool, o record.FilterOptions, keep func(rec) bool) (modelBatch, bool) {
	stay := slices.DeleteFunc(slices.Clone(m.records), func(r rec) bool { return !keep(r) })
	out := m
	out.records = stay
	if len(stay) == 0 {
		out.records, out.codec, out.horizon = nil, record.None, record.NoTimestamp
		return out, o.KeepHeader
	}
	if !appendTime {
		out.max = record.NoTimestamp
		for _, r := range stay {
			out.max = max(out.max, r.timestamp)
		}
	}
	if out.horizon == record.NoTimestamp && slices.ContainsFunc(stay, func(r rec) bool { return r.value == nil }) {
		out.horizon = o.Horizon
	}
	return out, true
}

// randomBatch is a batch of any kind but a control batch.
func randomBatch(t testing.TB, r *rand.Rand) record.Batch {
	base := record.Offset(r.Int64N(1 << 40))
	b := builderOf(base, randomRecords(r, base, r.IntN(2) == 0))
	b.LeaderEpoch, b.ProducerID, b.ProducerEpoch, b.BaseSequence = r.Int32N(9), r.Int64N(9), 3, 1<<31-2
	b.Transactional = r.IntN(4) == 0
	if r.IntN(3) == 0 {
		b.TimestampType, b.MaxTimestamp = record.LogAppendTime, goldenTime+r.Int64N(1000)
	}
	codec := codecs[r.IntN(len(codecs))]
	out := build(t, b, codec)
	if r.IntN(3) == 0 { // as an earlier round has left it
		like := record.NewBuilderLike(out.Header)
		like.DeleteHorizon = goldenTime + r.Int64N(1e6) - 5e5
		for r, err := range out.Records(record.NewDecompressor(64 << 20)) {
			if err != nil {
				t.Fatal(err)
			}
			like.AddRecord(r)
		}
		out = build(t, like, codec)
	}
	return out
}

// TestFilterAgainstModel has random batches and random decisions.
func TestFilterAgainstModel(t *testing.T) {
	r := rng(5)
	f := newFilter(64 << 20)
	seen := map[string]int{}
	for range 3000 {
		b := randomBatch(t, r)
		before := bytes.Clone(b.Bytes())
		m := modelOf(t, b)
		gone := map[record.Offset]bool{}
		if p := r.IntN(5); p > 0 {
			for _, rec := range m.records {
				gone[rec.offset] = r.IntN(4) < p
			}
		}
		o := record.FilterOptions{KeepHeader: r.IntN(2) == 0, Horizon: record.NoTimestamp}
		if r.IntN(2) == 0 {
			o.Horizon = horizon
		}
		var asked []rec
		out, res, err := f.Batch([]byte("before"), b, o, func(r record.FilterRecord) bool {
			asked = append(asked, rec{offset: r.Offset, key: bytes.Clone(r.Key)})
			if i := len(asked) - 1; i >= len(m.records) || r.Tombstone != (m.records[i].value == nil) {
				t.Fatalf("record %d of %d: asked about %+v", i, len(m.records), r)
			}
			return !gone[r.Offset]
		})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), before) || !bytes.HasPrefix(out, []byte("before")) {
			t.Fatal("the batch, or what was appended to, was written to")
		}
		for i, a := range asked {
			if want := (rec{offset: m.records[i].offset, key: m.records[i].key}); !a.equal(want) {
				t.Fatalf("asked about %v, want %v", a, want)
			}
		}
		if len(asked) != len(m.records) {
			t.Fatalf("asked about %d records of %d", len(asked), len(m.records))
		}
		want, stays := m.filter(b.TimestampType() == record.LogAppendTime, o, func(r rec) bool { return !gone[r.offset] })
		seen[checkFiltered(t, before, out[len("before"):], res, m, want, stays)]++
	}
	for _, outcome := range []string{"unchanged", "fewer", "header", "nothing", "horizon"} {
		if seen[outcome] < 100 {
			t.Errorf("only %d batches came out %s", seen[outcome], outcome)
		}
	}
}

// checkFiltered compares what a filter appended with what it should have, and says what kind of outcome that is.
func checkFiltered(t *testing.T, before, out []byte, res record.FilterResult, m, want modelBatch, stays bool) string {
	t.Helper()
	wantRes := record.FilterResult{Kept: len(want.records), Dropped: len(m.records) - len(want.records), Horizon: record.NoTimestamp}
	for _, r := range want.records {
		if r.value == nil {
			wantRes.Tombstones++
		}
	}
	if stays {
		wantRes.Horizon = want.horizon
		wantRes.Unchanged = wantRes.Dropped == 0 && want.horizon == m.horizon
	}
	if res != wantRes {
		t.Fatalf("got result %+v, want %+v", res, wantRes)
	}
	if !stays {
		if len(out) > 0 {
			t.Fatalf("%d bytes were appended, want none", len(out))
		}
		return "nothing"
	}
	b, rest, err := record.Parse(out)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes behind the batch, error %v", len(rest), err)
	}
	got := modelOf(t, b)
	sameRecords(t, got.records, want.records)
	got.records, want.records = nil, nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	switch {
	case wantRes.Unchanged:
		if !bytes.Equal(out, before) {
			t.Fatal("the batch should be unchanged and is not")
		}
		return "unchanged"
	case wantRes.Kept == 0:
		if len(out) != record.HeaderSize {
			t.Fatalf("an empty batch has %d bytes", len(out))
		}
		return "header"
	case wantRes.Dropped == 0:
		return "horizon"
	}
	return "fewer"
}

func TestFilterControlBatch(t *testing.T) {
	f := newFilter(1 << 20)
	asked := func(record.FilterRecord) bool { t.Error("asked about a marker"); return false }
	b := build(t, goldenMarker(1), record.None)
	out, _, err := f.Batch(nil, b, record.FilterOptions{Horizon: 77, MarkerExpires: true}, asked)
	if err != nil {
		t.Fatal(err)
	}
	held := record.Batch{Header: out}
	for _, c := range []struct {
		name    string
		b       record.Batch
		o       record.FilterOptions
		same    bool
		count   int // -1 for nothing at all
		horizon int64
	}{
		{"by default", b, noHorizon, true, 1, record.NoTimestamp},
		{"a horizon that is for tombstones", b, record.FilterOptions{Horizon: horizon}, true, 1, record.NoTimestamp},
		{"expires without a horizon", b, record.FilterOptions{Horizon: record.NoTimestamp, MarkerExpires: true}, true, 1, record.NoTimestamp},
		{"expires", b, record.FilterOptions{Horizon: horizon, MarkerExpires: true}, false, 1, horizon},
		{"has one already", held, record.FilterOptions{Horizon: horizon, MarkerExpires: true}, true, 1, 77},
		{"goes", held, record.FilterOptions{Horizon: horizon, DropRecords: true}, false, -1, record.NoTimestamp},
		{"goes but for its header", held, record.FilterOptions{Horizon: horizon, DropRecords: true, KeepHeader: true}, false, 0, record.NoTimestamp},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, res, err := f.Batch(nil, c.b, c.o, asked)
			if err != nil {
				t.Fatal(err)
			}
			want := record.FilterResult{Unchanged: c.same, Kept: max(c.count, 0), Dropped: 1 - max(c.count, 0), Horizon: c.horizon}
			if res != want {
				t.Errorf("got %+v, want %+v", res, want)
			}
			if bytes.Equal(out, c.b.Bytes()) != c.same || (len(out) == 0) != (c.count < 0) {
				t.Errorf("got %x of %x", out, c.b.Bytes())
			}
			if c.count < 0 {
				return
			}
			got, _, err := record.Parse(out)
			if err != nil {
				t.Fatal(err)
			}
			if err := got.Verify(); err != nil {
				t.Error(err)
			}
			if !got.IsControl() || !got.IsTransactional() || int(got.Count()) != c.count {
				t.Errorf("got %s", head(got.Header))
			}
			records, err := walk(got, nil)
			if err != nil {
				t.Fatal(err)
			}
			sameRecords(t, records, marker(1)[:c.count])
		})
	}
	if err := f.Keys(b, func(record.FilterRecord) bool { t.Error("shown a marker"); return true }); err != nil {
		t.Error(err)
	}
}

// TestFilterEmptyBatch has a batch that an earlier round has emptied: it stays as it is, or goes.
func TestFilterEmptyBatch(t *testing.T) {
	f := newFilter(1 << 20)
	b, _, err := record.Parse(golden(t)["emptied"])
	if err != nil {
		t.Fatal(err)
	}
	for _, drop := range []bool{false, true} {
		for _, keep := range []bool{false, true} {
			o := record.FilterOptions{KeepHeader: keep, Horizon: horizon, DropRecords: drop}
			out, res, err := f.Batch(nil, b, o, nil)
			if err != nil || bytes.Equal(out, b.Bytes()) != keep || (len(out) == 0) == keep || res.Unchanged != keep {
				t.Errorf("%+v: got %x, %+v, error %v", o, out, res, err)
			}
		}
	}
}

// TestFilterDropRecords does not look at what it drops, so damage does not keep it.
func TestFilterDropRecords(t *testing.T) {
	b := batchOf(record.Gzip, 5, 9, []byte("not gzip"))
	out, res, err := newFilter(1<<20).Batch(nil, b, record.FilterOptions{DropRecords: true, Horizon: horizon}, nil)
	if err != nil || len(out) > 0 || res.Dropped != 5 {
		t.Errorf("got %d bytes, %+v, error %v", len(out), res, err)
	}
}

// TestFilterRefuses has batches that cannot be taken apart: nothing is appended, and the filter is as good as before.
func TestFilterRefuses(t *testing.T) {
	const limit = 2 << 20
	sixteen := record.NewBuilder(0)
	for range 16 {
		sixteen.Add(0, nil, make([]byte, 1<<20))
	}
	large := build(t, sixteen, record.None).Bytes()[record.HeaderSize:]
	for _, c := range []struct {
		name    string
		codec   record.Codec
		payload []byte
		kind    error
	}{
		{"16 MiB", record.Gzip, compress(t, record.Gzip, large), record.ErrTooLarge},
		{"16 MiB", record.LZ4, compress(t, record.LZ4, large), record.ErrTooLarge},
		{"16 MiB, bare", record.Snappy, compress(t, record.Snappy, large), record.ErrTooLarge},
		{"16 MiB, framed", record.Snappy, frameSnappy(large), record.ErrTooLarge},
		{"10 GiB in 320 KiB", record.Zstd, zstdFrame("\x00\x58", 10<<30>>17), record.ErrTooLarge},
		{"nonsense", record.None, bytes.Repeat([]byte{0xff}, 200), record.ErrInvalid},
		{"nonsense", record.Gzip, bytes.Repeat([]byte{0xff}, 200), record.ErrInvalid},
		{"nonsense", record.Zstd, bytes.Repeat([]byte{0xff}, 200), record.ErrInvalid},
		{"half", record.Gzip, compress(t, record.Gzip, large)[:500], record.ErrInvalid},
	} {
		t.Run(fmt.Sprintf("%v %s", c.codec, c.name), func(t *testing.T) {
			f, b := newFilter(limit), batchOf(c.codec, 16, 15, c.payload)
			n := 0
			memory := allocated(func() {
				out, _, err := f.Batch([]byte("before"), b, noHorizon, func(record.FilterRecord) bool { n++; return n%2 == 0 })
				if string(out) != "before" {
					t.Errorf("%d bytes were appended", len(out))
				}
				wantError(t, "Batch", err, c.kind)
				wantError(t, "Keys", f.Keys(b, func(record.FilterRecord) bool { return true }), c.kind)
			})
			if memory > 16<<20 { // of garbage too, both walks together
				t.Errorf("%d bytes were allocated", memory)
			}
			out, _, err := f.Batch(nil, build(t, builderOf(100, few()), c.codec), noHorizon, func(r record.FilterRecord) bool { return r.Offset > 100 })
			if err != nil || len(out) == 0 {
				t.Errorf("a sound batch afterwards: %d bytes, error %v", len(out), err)
			}
		})
	}
}

// TestFilterGolden compares with what Kafka's own MemoryRecords.filterTo made of its uncompressed batches. Compressed
// ones are compared by TestFilterAgainstModel: two encoders' bytes need not be the same.
func TestFilterGolden(t *testing.T) {
	vectors := golden(t)
	for _, c := range []struct {
		from, to string
		drop     []record.Offset
		o        record.FilterOptions
	}{
		{"plain", "filtered-no-tombstone", []record.Offset{101, 102}, record.FilterOptions{Horizon: horizon}},
		{"filtered-horizon", "compacted", []record.Offset{101, 102}, record.FilterOptions{Horizon: horizon + 1}},
		{"plain", "emptied", []record.Offset{100, 101, 102}, record.FilterOptions{KeepHeader: true, Horizon: horizon}},
		{"plain", "filtered-horizon", nil, record.FilterOptions{Horizon: horizon}},
		{"plain", "filtered-first", []record.Offset{100}, record.FilterOptions{Horizon: horizon}},
		{"plain", "filtered-tombstone", []record.Offset{102}, record.FilterOptions{Horizon: horizon}},
		{"append-time", "filtered-append-time", []record.Offset{100}, record.FilterOptions{Horizon: horizon}},
		{"append-time", "filtered-append-time-plain", []record.Offset{100, 102}, record.FilterOptions{Horizon: horizon}},
		{"filtered-horizon", "filtered-again", []record.Offset{101}, record.FilterOptions{Horizon: horizon + 1}},
		{"commit", "filtered-marker", nil, record.FilterOptions{Horizon: horizon, MarkerExpires: true}},
		{"commit", "filtered-marker-gone", nil, record.FilterOptions{Horizon: horizon, DropRecords: true, KeepHeader: true}},
	} {
		t.Run(c.to, func(t *testing.T) {
			if vectors[c.from] == nil || vectors[c.to] == nil {
				t.Fatalf("testdata has no %s or no %s", c.from, c.to)
			}
			b, _, err := record.Parse(vectors[c.from])
			if err != nil {
				t.Fatal(err)
			}
			out, _, err := newFilter(1<<20).Batch(nil, b, c.o, func(r record.FilterRecord) bool { return !slices.Contains(c.drop, r.Offset) })
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, vectors[c.to]) {
				t.Errorf("got  %x\nwant %x", out, vectors[c.to])
			}
		})
	}
}

// TestFilterNeedsCompressor is a mistake of the caller's, and says so.
func TestFilterNeedsCompressor(t *testing.T) {
	f := newFilter(1 << 20)
	f.Compressor = nil
	_, _, err := f.Batch(nil, build(t, builderOf(100, few()), record.Gzip), noHorizon, func(r record.FilterRecord) bool { return r.Offset > 100 })
	var e *record.Error
	if err == nil || errors.As(err, &e) {
		t.Errorf("got error %v", err)
	}
}
