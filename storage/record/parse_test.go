package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"segue/storage/record"
)

// setLength makes the header's length that of b.
func setLength(b []byte) { binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12)) }

func wantError(t *testing.T, what string, err, kind error) {
	t.Helper()
	var e *record.Error
	if !errors.As(err, &e) || !errors.Is(err, kind) {
		t.Fatalf("%s: got error %v, want an *Error of kind %q", what, err, kind)
	}
}

func TestParseHeader(t *testing.T) {
	put16 := binary.BigEndian.PutUint16
	put32 := binary.BigEndian.PutUint32
	put64 := binary.BigEndian.PutUint64
	for _, c := range []struct {
		name string
		edit func(b []byte) []byte
		kind error // nil: no error
	}{
		{"as built", func(b []byte) []byte { return b }, nil},
		{"header alone", func(b []byte) []byte { return b[:record.HeaderSize] }, nil},
		{"empty", func(b []byte) []byte { return nil }, record.ErrShort},
		{"one byte short of a header", func(b []byte) []byte { return b[:record.HeaderSize-1] }, record.ErrShort},
		{"magic 0", func(b []byte) []byte { b[16] = 0; return b }, record.ErrMagic},
		{"magic 1", func(b []byte) []byte { b[16] = 1; return b }, record.ErrMagic},
		{"a small message of magic 1", func(b []byte) []byte { b[16] = 1; put32(b[8:], 22); return b[:34] }, record.ErrMagic},
		{"magic 3", func(b []byte) []byte { b[16] = 3; return b }, record.ErrCorrupt},
		{"magic -1", func(b []byte) []byte { b[16] = 0xff; return b }, record.ErrCorrupt},
		{"zeros", func(b []byte) []byte { return make([]byte, 100) }, record.ErrCorrupt},
		{"fewer zeros than a header", func(b []byte) []byte { return make([]byte, 30) }, record.ErrShort},
		{"length below header", func(b []byte) []byte { put32(b[8:], 48); return b }, record.ErrCorrupt},
		{"negative length", func(b []byte) []byte { put32(b[8:], 1<<31); return b }, record.ErrCorrupt},
		{"largest length", func(b []byte) []byte { put32(b[8:], math.MaxInt32); return b }, nil},
		{"negative base offset", func(b []byte) []byte { put64(b, 1<<63); return b }, record.ErrCorrupt},
		{"largest base offset", func(b []byte) []byte { put64(b, math.MaxInt64-3); return b }, nil},
		{"next offset overflows", func(b []byte) []byte { put64(b, math.MaxInt64-2); return b }, record.ErrCorrupt},
		{"negative last offset delta", func(b []byte) []byte { put32(b[23:], math.MaxUint32); return b }, record.ErrInvalid},
		{"last offset delta below count", func(b []byte) []byte { put32(b[23:], 1); return b }, record.ErrInvalid},
		{"last offset delta above count", func(b []byte) []byte { put32(b[23:], math.MaxInt32); return b }, nil},
		{"negative count", func(b []byte) []byte { put32(b[57:], math.MaxUint32); return b }, record.ErrInvalid},
		{"count above last offset delta", func(b []byte) []byte { put32(b[57:], 4); return b }, record.ErrInvalid},
		{"no records", func(b []byte) []byte { put32(b[57:], 0); return b }, nil},
		{"more records than bytes", func(b []byte) []byte {
			put32(b[23:], 1000)
			put32(b[57:], 1001)
			return b
		}, record.ErrInvalid},
		{"more records than bytes, compressed", func(b []byte) []byte {
			put16(b[21:], 1)
			put32(b[23:], 1000)
			put32(b[57:], 1001)
			return b
		}, nil},
		{"codec 5", func(b []byte) []byte { put16(b[21:], 5); return b }, record.ErrCodec},
		{"codec 7", func(b []byte) []byte { put16(b[21:], 7); return b }, record.ErrCodec},
		{"unused attributes", func(b []byte) []byte { put16(b[21:], 0xff80); return b }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.edit(bytes.Clone(golden(t)["plain"]))
			h, err := record.ParseHeader(b)
			switch {
			case c.kind == nil && err != nil:
				t.Fatal(err)
			case c.kind == nil && len(h) != record.HeaderSize:
				t.Fatalf("header has %d bytes", len(h))
			case c.kind == record.ErrShort && err != record.ErrShort:
				t.Fatalf("got error %v, want ErrShort", err)
			case c.kind != nil && c.kind != record.ErrShort:
				wantError(t, "ParseHeader", err, c.kind)
			}
		})
	}
}

func TestParseSeveral(t *testing.T) {
	vectors := golden(t)
	b := append(append(bytes.Clone(vectors["gzip"]), vectors["plain"]...), 1, 2, 3)
	first, rest, err := record.Parse(b)
	if err != nil || !bytes.Equal(first.Bytes(), vectors["gzip"]) {
		t.Fatalf("first: %v", err)
	}
	second, rest, err := record.Parse(rest)
	if err != nil || !bytes.Equal(second.Bytes(), vectors["plain"]) || !bytes.Equal(rest, []byte{1, 2, 3}) {
		t.Fatalf("second: %v, rest %x", err, rest)
	}
	if cap(first.Bytes()) != len(first.Bytes()) {
		t.Error("appending to the first batch would write into the second")
	}
}

func TestVerifyEveryByte(t *testing.T) {
	for i := range golden(t)["plain"] {
		whole := golden(t)["plain"]
		whole[i] ^= 0x40
		b := record.Batch{Header: whole}
		if uncovered := i < 16+1; uncovered {
			if err := b.Verify(); err != nil {
				t.Errorf("byte %d is not covered by the checksum: %v", i, err)
			}
			continue
		}
		wantError(t, "Verify", b.Verify(), record.ErrChecksum)
	}
}

func TestSetters(t *testing.T) {
	parse := func() record.Batch {
		b, _, err := record.Parse(golden(t)["plain"])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name string
		edit func(record.Batch)
		from string // of head, and what it becomes
		to   string
		sum  bool // whether the checksum changes
	}{
		{"base offset", func(b record.Batch) { b.SetBaseOffset(1 << 40) }, "100-102", "1099511627776-1099511627778", false},
		{"leader epoch", func(b record.Batch) { b.SetLeaderEpoch(-1) }, "epoch 5", "epoch -1", false},
		{"append time", func(b record.Batch) { b.SetLogAppendTime(12) }, "CreateTime time 1700000000000-1700000070000",
			"LogAppendTime time 1700000000000-12", true},
		{"max timestamp", func(b record.Batch) { b.SetMaxTimestamp(13) }, "-1700000070000", "-13", true},
		{"max timestamp as it was", func(b record.Batch) { b.SetMaxTimestamp(1700000070000) }, "", "", false},
		{"append time and back", func(b record.Batch) { b.SetLogAppendTime(12); b.SetMaxTimestamp(1700000070000) }, "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := parse()
			before, sum := head(b.Header), b.CRC()
			c.edit(b)
			if err := b.Verify(); err != nil {
				t.Error(err)
			}
			if got, want := head(b.Header), strings.Replace(before, c.from, c.to, 1); got != want {
				t.Errorf("header\n got %s\nwant %s", got, want)
			}
			if changed := b.CRC() != sum; changed != c.sum {
				t.Errorf("checksum changed: %v, want %v", changed, c.sum)
			}
		})
	}
}

func TestSequenceAfter(t *testing.T) {
	for _, c := range []struct{ seq, n, want int32 }{
		{0, 0, 0},
		{0, 1, 1},
		{5, 10, 15},
		{math.MaxInt32 - 1, 1, math.MaxInt32},
		{math.MaxInt32, 1, 0},
		{math.MaxInt32 - 1, 3, 1},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1},
	} {
		if got := record.SequenceAfter(c.seq, c.n); got != c.want {
			t.Errorf("SequenceAfter(%d, %d) = %d, want %d", c.seq, c.n, got, c.want)
		}
	}
}
