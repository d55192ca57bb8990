package record_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"segue/storage/record"
)

// batchOf returns a batch whose header counts the given records and whose payload is as given.
func batchOf(codec record.Codec, count, lastDelta int32, payload []byte) record.Batch {
	b := make([]byte, record.HeaderSize, record.HeaderSize+len(payload))
	b = append(b, payload...)
	setLength(b)
	b[16] = record.Magic
	binary.BigEndian.PutUint16(b[21:], uint16(codec))
	binary.BigEndian.PutUint32(b[23:], uint32(lastDelta))
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	return record.Batch{Header: b}
}

// raw is a record of the given bytes after its length.
func raw(body ...byte) []byte { return append(binary.AppendVarint(nil, int64(len(body))), body...) }

// zigzag varints of small numbers, as they stand in records.
const (
	null = 1 // -1
	zero = 0
	one  = 2
	two  = 4
)

// emptyRecord has neither key nor value nor headers.
func emptyRecord(delta byte) []byte { return raw(0, zero, delta, null, null, zero) }

func TestWalkIsStrict(t *testing.T) {
	large := bytes.Repeat([]byte{0x80}, 5)
	bits63 := append([]byte{0}, bytes.Repeat([]byte{0xff}, 9)...) // attributes and 63 bits
	for _, c := range []struct {
		name         string
		count, delta int32
		payload      []byte
		records      int  // that come before the end or the error
		bad          bool // whether there is an error
		gap          bool // Check refuses it, the walk does not
	}{
		{"one", 1, 0, emptyRecord(zero), 1, false, false},
		{"three", 3, 2, bytes.Join([][]byte{emptyRecord(zero), emptyRecord(one), emptyRecord(two)}, nil), 3, false, false},
		{"none", 0, 5, nil, 0, false, true},
		{"none, but bytes", 0, 5, emptyRecord(zero), 0, true, false},
		{"compacted", 2, 9, append(emptyRecord(one), emptyRecord(two)...), 2, false, true},
		{"last offset without a record", 1, 1, emptyRecord(zero), 1, false, true},
		{"no bytes", 1, 0, nil, 0, true, false},
		{"one too few", 2, 1, emptyRecord(zero), 1, true, false},
		{"a byte too many", 1, 0, append(emptyRecord(zero), 0), 1, true, false},
		{"a record too many", 1, 1, append(emptyRecord(zero), emptyRecord(one)...), 1, true, false},
		{"offset repeats", 2, 1, append(emptyRecord(zero), emptyRecord(zero)...), 1, true, false},
		{"offset goes back", 2, 1, append(emptyRecord(one), emptyRecord(zero)...), 1, true, false},
		{"offset above the last", 1, 0, emptyRecord(one), 0, true, false},
		{"offset negative", 1, 0, emptyRecord(null), 0, true, false},
		{"key negative is null", 1, 0, raw(0, zero, zero, 3, null, zero), 1, false, false},
		{"attributes are not looked at", 1, 0, raw(0xff, zero, zero, null, null, zero), 1, false, false},
		{"length negative", 1, 0, []byte{1}, 0, true, false},
		{"length zero", 1, 0, []byte{0, 0, 0, 0, 0, 0, 0}, 0, true, false},
		{"length too long for a number", 1, 0, append(large, 1, 1, 1), 0, true, false},
		{"length of 33 bits", 1, 0, []byte{0x80, 0x80, 0x80, 0x80, 0x10, 0, 0}, 0, true, false},
		{"length of 2 GiB", 1, 0, []byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0}, 0, true, false},
		{"length padded", 1, 0, append([]byte{0x8c, 0x00}, emptyRecord(zero)[1:]...), 1, false, false},
		{"fields end early", 1, 0, raw(0, zero, zero, null, null, zero, 0), 0, true, false},
		{"fields end late", 1, 0, raw(0, zero, zero, null, 20, zero), 0, true, false},
		{"key ends late", 1, 0, raw(0, zero, zero, 20, null, zero), 0, true, false},
		{"timestamp of 64 bits", 1, 0, raw(append(bytes.Clone(bits63), 1, zero, null, null, zero)...), 1, false, false},
		{"timestamp of 65 bits", 1, 0, raw(append(bytes.Clone(bits63), 2, zero, null, null, zero)...), 0, true, false},
		{"header", 1, 0, raw(0, zero, zero, null, null, one, one, 'h', null), 1, false, false},
		{"header without key", 1, 0, raw(0, zero, zero, null, null, one, null, null), 0, true, false},
		{"header ends late", 1, 0, raw(0, zero, zero, null, null, one, one, 'h', 20), 0, true, false},
		{"header too few", 1, 0, raw(0, zero, zero, null, null, two, one, 'h', null), 0, true, false},
		{"header too many", 1, 0, raw(0, zero, zero, null, null, one, one, 'h', null, one, 'h', null), 0, true, false},
		{"headers, two billion", 1, 0, raw(0, zero, zero, null, null, 0xfe, 0xff, 0xff, 0xff, 15, zero, null), 0, true, false},
		{"headers negative", 1, 0, raw(0, zero, zero, null, null, null), 0, true, false},
	} {
		d := record.NewDecompressor(math.MaxInt) // so that it is the records that are found fault with
		for _, codec := range codecs {
			t.Run(c.name+" "+codec.String(), func(t *testing.T) {
				payload := c.payload
				if codec != record.None {
					payload = compress(t, codec, payload)
				}
				b := batchOf(codec, c.count, c.delta, payload)
				got, err := walk(b, d)
				if len(got) != c.records {
					t.Errorf("got %d records, want %d", len(got), c.records)
				}
				if c.bad {
					wantError(t, "Records", err, record.ErrInvalid)
				} else if err != nil {
					t.Errorf("Records: %v", err)
				}
				_, err = b.Check(d)
				if c.bad || c.gap {
					wantError(t, "Check", err, record.ErrInvalid)
				} else if err != nil {
					t.Errorf("Check: %v", err)
				}
			})
		}
	}
}

func TestCheckSummary(t *testing.T) {
	at := func(times ...int64) []rec {
		var out []rec
		for i, unixMilli := range times {
			out = append(out, rec{offset: record.Offset(i), timestamp: unixMilli, key: []byte("k")})
		}
		return out
	}
	keyless := at(1, 2, 3)
	keyless[0].key, keyless[2].key = nil, nil
	emptyKey := at(1)
	emptyKey[0].key = []byte{}
	for _, c := range []struct {
		name    string
		records []rec
		want    record.Summary
	}{
		{"one", at(7), record.Summary{MinTimestamp: 7, MaxTimestamp: 7}},
		{"several", at(20, 10, 30), record.Summary{MinTimestamp: 10, MaxTimestamp: 30}},
		{"some without", at(-1, 20, -1, 10, -1), record.Summary{MinTimestamp: 10, MaxTimestamp: 20}},
		{"all without", at(-1, -1), record.Summary{MinTimestamp: -1, MaxTimestamp: -1}},
		{"before 1970", at(-5, -1, -3), record.Summary{MinTimestamp: -5, MaxTimestamp: -1}},
		{"null keys", keyless, record.Summary{MinTimestamp: 1, MaxTimestamp: 3, NullKeys: 2}},
		{"empty key", emptyKey, record.Summary{MinTimestamp: 1, MaxTimestamp: 1}},
	} {
		for _, codec := range codecs {
			b := build(t, builderOf(0, c.records), codec)
			got, err := b.Check(record.NewDecompressor(1 << 20))
			if err != nil || got != c.want {
				t.Errorf("%s %v: got %+v, error %v; want %+v", c.name, codec, got, err, c.want)
			}
			b.SetLogAppendTime(99)
			got, err = b.Check(record.NewDecompressor(1 << 20))
			c := c
			c.want.MinTimestamp, c.want.MaxTimestamp = 99, 99
			if err != nil || got != c.want {
				t.Errorf("%s %v, append time: got %+v, error %v; want %+v", c.name, codec, got, err, c.want)
			}
		}
	}
}

func TestWalkStopsWhenToldTo(t *testing.T) {
	d := record.NewDecompressor(1 << 20)
	for _, codec := range codecs {
		b := build(t, builderOf(100, many()), codec)
		for range 3 { // what the first walk left behind must not disturb the next
			n := 0
			for _, err := range b.Records(d) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == 500 {
					break
				}
			}
			if n != 500 {
				t.Errorf("%v: loop ran %d times", codec, n)
			}
		}
		got, err := walk(b, d)
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, got, many())
	}
}

func TestNilDecompressor(t *testing.T) {
	for _, codec := range codecs {
		_, err := walk(build(t, builderOf(100, few()), codec), nil)
		if codec == record.None {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantError(t, codec.String(), err, record.ErrInvalid)
	}
}

// TestUnknownCodec walks a batch that did not come from Parse, which would have refused it.
func TestUnknownCodec(t *testing.T) {
	_, err := walk(batchOf(7, 1, 0, emptyRecord(zero)), record.NewDecompressor(1<<20))
	wantError(t, "Records", err, record.ErrCodec)
}

// TestCloneLasts holds on to records beyond their turn, as Clone allows.
func TestCloneLasts(t *testing.T) {
	d := record.NewDecompressor(1 << 20)
	var kept []record.Record
	for range 3 {
		for r, err := range build(t, builderOf(100, few()), record.Gzip).Records(d) {
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, r.Clone())
		}
	}
	walk(build(t, builderOf(100, many()), record.Gzip), d)
	for i, r := range kept {
		sameRecords(t, []rec{toRec(r)}, few()[i%3:i%3+1])
	}
}

func TestWalkAllocatesNothingPerRecord(t *testing.T) {
	b := build(t, builderOf(100, many()), record.None)
	if n := testing.AllocsPerRun(20, func() {
		if _, err := b.Check(nil); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Check allocates %v times", n)
	}
	if n := testing.AllocsPerRun(20, func() {
		for _, err := range b.Records(nil) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}); n > 3 {
		t.Errorf("Records allocates %v times for 1000 records", n)
	}
}
