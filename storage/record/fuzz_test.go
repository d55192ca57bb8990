package record_test

import (
	"bytes"
	"errors"
	"testing"

	"segue/storage/record"
)

// FuzzParse gives Parse any bytes: it must hand all of them back, as a batch and a rest, or say what is wrong.
func FuzzParse(f *testing.F) {
	for _, b := range golden(f) {
		f.Add(b[:min(len(b), 4096)])
		f.Add(b[:record.HeaderSize])
	}
	f.Add(make([]byte, 100))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e *record.Error
		h, err := record.ParseHeader(b)
		if err != nil {
			if err != record.ErrShort && !errors.As(err, &e) {
				t.Fatalf("header: got error %v", err)
			}
			if _, _, perr := record.Parse(b); perr == nil || perr.Error() != err.Error() {
				t.Fatalf("ParseHeader says %v, Parse %v", err, perr)
			}
			return
		}
		if h.BaseOffset() < 0 || h.LastOffset() < h.BaseOffset() || h.NextOffset() <= h.LastOffset() ||
			h.Size() < record.HeaderSize || h.LastSequence() < record.NoSequence ||
			h.Count() < 0 || int64(h.Count()) > int64(h.LastOffsetDelta())+1 {
			t.Fatalf("impossible header: %s", head(h))
		}
		batch, rest, err := record.Parse(b)
		if err != nil {
			if err != record.ErrShort || len(b) >= h.Size() {
				t.Fatalf("got error %v for %d of %d bytes", err, len(b), h.Size())
			}
			return
		}
		if !bytes.Equal(append(bytes.Clone(batch.Bytes()), rest...), b) {
			t.Fatal("batch and rest are not the input")
		}
		batch = record.Batch{Header: bytes.Clone(batch.Bytes())}
		sound := batch.Verify() == nil
		batch.SetBaseOffset(7)
		batch.SetLeaderEpoch(9)
		if (batch.Verify() == nil) != sound {
			t.Fatal("base offset and epoch lie under the checksum")
		}
		batch.SetLogAppendTime(batch.MaxTimestamp() + 1)
		if err := batch.Verify(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzRecords gives the walk any payload under any codec. What it accepts must be the same records again after
// every way of encoding them anew.
func FuzzRecords(f *testing.F) {
	for _, b := range golden(f) {
		h := record.Header(b)
		if len(b) < 4096 {
			f.Add(byte(h.Codec()), h.Count(), h.LastOffsetDelta(), b[record.HeaderSize:])
		}
	}
	f.Add(byte(record.Snappy), int32(1), int32(0), frameSnappy(emptyRecord(zero)))
	f.Add(byte(record.Snappy), int32(1), int32(0), compress(f, record.Snappy, emptyRecord(zero)))
	f.Add(byte(record.Zstd), int32(1), int32(0), zstdFrame("\x00\x58", 100))
	c, d := new(record.Compressor), record.NewDecompressor(1<<20)
	f.Fuzz(func(t *testing.T, codec byte, count, lastDelta int32, payload []byte) {
		b, _, err := record.Parse(batchOf(record.Codec(codec%5), count, lastDelta, payload).Bytes())
		if err != nil {
			return
		}
		want, err := walk(b, d)
		summary, cerr := b.Check(d)
		if err != nil {
			var e *record.Error
			if !errors.As(err, &e) {
				t.Fatalf("got error %v", err)
			}
			if cerr == nil {
				t.Fatalf("Check has no objection, Records says %v", err)
			}
			return
		}
		if int(b.Count()) != len(want) {
			t.Fatalf("%d records of %d", len(want), b.Count())
		}
		if dense := b.Count() > 0 && b.Count() == b.LastOffsetDelta()+1; dense != (cerr == nil) {
			t.Fatalf("%d records, last offset delta %d: Check says %v", b.Count(), b.LastOffsetDelta(), cerr)
		}
		if cerr == nil {
			sameSummary(t, summary, want)
		}
		for _, to := range codecs {
			other, err := b.Recompress(record.Compression{Codec: to}, c, d)
			if err != nil {
				t.Fatalf("to %v: %v", to, err)
			}
			got, err := walk(other, d)
			if err != nil {
				t.Fatalf("to %v: %v", to, err)
			}
			sameRecords(t, got, want)
		}
		if len(want) > 0 {
			got, err := walk(build(t, builderOf(0, want), record.None), nil)
			if err != nil {
				t.Fatal(err)
			}
			sameRecords(t, got, want)
		}
	})
}

// sameSummary compares a summary with one made the slow way.
func sameSummary(t *testing.T, got record.Summary, rs []rec) {
	t.Helper()
	want := record.Summary{MinTimestamp: record.NoTimestamp, MaxTimestamp: record.NoTimestamp}
	for _, r := range rs {
		if r.key == nil {
			want.NullKeys++
		}
		want.MaxTimestamp = max(want.MaxTimestamp, r.timestamp)
		first := want.MinTimestamp == record.NoTimestamp
		if r.timestamp != record.NoTimestamp && (first || r.timestamp < want.MinTimestamp) {
			want.MinTimestamp = r.timestamp
		}
	}
	if got != want {
		t.Fatalf("got summary %+v, want %+v", got, want)
	}
}

// FuzzFilter gives Filter any payload and any decision: what it accepts must be what the model leaves.
func FuzzFilter(f *testing.F) {
	for _, b := range golden(f) {
		h := record.Header(b)
		if len(b) < 4096 {
			f.Add(byte(h.Codec()), h.Count(), h.LastOffsetDelta(), b[record.HeaderSize:], uint64(5), true)
		}
	}
	filter := newFilter(1 << 20)
	f.Fuzz(func(t *testing.T, codec byte, count, lastDelta int32, payload []byte, stays uint64, keepHeader bool) {
		b, _, err := record.Parse(batchOf(record.Codec(codec%5), count, lastDelta, payload).Bytes())
		if err != nil {
			return
		}
		b.SetLogAppendTime(b.MaxTimestamp() + 1)
		b.SetMaxTimestamp(b.MaxTimestamp() - 1) // as it was, with a checksum
		keep := func(o record.Offset) bool { return stays>>(o%64)&1 != 0 }
		o := record.FilterOptions{KeepHeader: keepHeader, Horizon: horizon}
		before := bytes.Clone(b.Bytes())
		out, res, err := filter.Batch(nil, b, o, func(r record.FilterRecord) bool { return keep(r.Offset) })
		if err != nil {
			var e *record.Error
			if !errors.As(err, &e) || len(out) > 0 {
				t.Fatalf("got %d bytes, error %v", len(out), err)
			}
			return
		}
		m := modelOf(t, b)
		if len(m.records) == 0 {
			return // TestFilterEmptyBatch
		}
		want, left := m.filter(false, o, func(r rec) bool { return keep(r.offset) })
		if len(want.records) == len(m.records) && want.horizon == m.horizon {
			want.max = m.max // unchanged, whatever its header says
		}
		checkFiltered(t, before, out, res, m, want, left)
	})
}
