package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"segue/storage/record"
)

// compress returns data compressed by the codec, by other means than a Compressor.
func compress(t testing.TB, c record.Codec, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var err error
	switch c {
	case record.Gzip:
		w := gzip.NewWriter(&out)
		_, err = w.Write(data)
		err = errors.Join(err, w.Close())
	case record.Snappy:
		return snappy.Encode(nil, data) // bare, as some clients have it
	case record.LZ4:
		w := lz4.NewWriter(&out) // with blocks of 4 MiB and a checksum
		_, err = w.Write(data)
		err = errors.Join(err, w.Close())
	case record.Zstd:
		w, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		return w.EncodeAll(data, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// allocated is how many bytes f allocates, also those that are garbage right away.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestLimit walks batches whose records take exactly what is allowed, and a byte more.
func TestLimit(t *testing.T) {
	for _, size := range []int{20, 1000, 64 << 10, 64<<10 + 1, 200_000, 1 << 20} {
		for _, n := range []int{1, 3} {
			var records []byte
			for i := range n {
				body := []byte{0, zero, byte(2 * i), null}
				body = binary.AppendVarint(body, int64(size))
				body = append(body, make([]byte, size+1)...) // the value and no headers
				records = append(records, raw(body...)...)
			}
			for _, c := range codecs[1:] {
				b := batchOf(c, int32(n), int32(n-1), compress(t, c, records))
				got, err := walk(b, record.NewDecompressor(len(records)))
				if err != nil || len(got) != n {
					t.Errorf("%v, %d records of %d: got %d, error %v", c, n, size, len(got), err)
				}
				for _, limit := range []int{len(records) - 1, len(records) / 2, 1, 0, -1} {
					_, err = walk(b, record.NewDecompressor(limit))
					what := fmt.Sprintf("%v, %d records of %d, limit %d of %d", c, n, size, limit, len(records))
					wantError(t, what, err, record.ErrTooLarge)
				}
			}
		}
	}
}

// lie returns data that begins a record of 100 MiB and has n bytes of it.
func lie(n int) []byte { return append(binary.AppendVarint(nil, 100<<20), make([]byte, n)...) }

// zstdFrame returns a frame with the given header after the magic and n blocks of 128 KiB of zeros, four bytes each.
func zstdFrame(header string, n int) []byte {
	out := []byte("\x28\xb5\x2f\xfd" + header)
	for i := range n {
		block := uint32(128<<10)<<3 | 1<<1 // of one byte, repeated
		if i == n-1 {
			block |= 1 // the last
		}
		out = append(out, byte(block), byte(block>>8), byte(block>>16), 0)
	}
	return out
}

// TestBombs has batches that decompress to much more than they say, or say that they do.
func TestBombs(t *testing.T) {
	const limit = 2 << 20
	large := make([]byte, 16<<20)
	copy(large, binary.AppendVarint(nil, int64(len(large)-4)))
	sixteen := record.NewBuilder(0)
	for range 16 {
		sixteen.Add(0, nil, make([]byte, 1<<20))
	}
	records := build(t, sixteen, record.None).Bytes()[record.HeaderSize:]
	for _, c := range []struct {
		name    string
		codec   record.Codec
		payload []byte
		kind    error
		memory  uint64 // bytes that may be allocated
	}{
		{"one record of 16 MiB", record.Gzip, compress(t, record.Gzip, large), record.ErrTooLarge, 1 << 20},
		{"one record of 16 MiB", record.LZ4, compress(t, record.LZ4, large), record.ErrTooLarge, 12 << 20},
		{"one record of 16 MiB, bare", record.Snappy, compress(t, record.Snappy, large), record.ErrTooLarge, 1 << 20},
		{"one record of 16 MiB, framed", record.Snappy, frameSnappy(large), record.ErrTooLarge, 1 << 20},
		{"one record of 16 MiB", record.Zstd, compress(t, record.Zstd, large), record.ErrTooLarge, 4 * limit},
		{"16 records", record.Gzip, compress(t, record.Gzip, records), record.ErrTooLarge, 4 << 20},
		{"16 records", record.LZ4, compress(t, record.LZ4, records), record.ErrTooLarge, 16 << 20},
		{"16 records, framed", record.Snappy, frameSnappy(records), record.ErrTooLarge, 4 << 20},
		{"16 records", record.Zstd, compress(t, record.Zstd, records), record.ErrTooLarge, 4 * limit},
		{"10 GiB in 320 KiB", record.Zstd, zstdFrame("\x00\x58", 10<<30>>17), record.ErrTooLarge, 4 * limit},
		{"a lying record", record.Gzip, compress(t, record.Gzip, lie(100)), record.ErrInvalid, 1 << 20},
		{"a lying record", record.LZ4, compress(t, record.LZ4, lie(100)), record.ErrInvalid, 12 << 20},
		{"a lying record", record.Zstd, compress(t, record.Zstd, lie(100)), record.ErrInvalid, 1 << 20},
		{"a lying record that goes on", record.Gzip, compress(t, record.Gzip, lie(1<<20)), record.ErrTooLarge, 1 << 20},
		{"a lying record that goes on", record.LZ4, compress(t, record.LZ4, lie(1<<20)), record.ErrTooLarge, 12 << 20},
		{"a lying record that goes on", record.Zstd, compress(t, record.Zstd, lie(1<<20)), record.ErrInvalid, 8 << 20},
		{"a block that says it has 4 GiB", record.Snappy, []byte("\xff\xff\xff\xff\x0f\x00a"), record.ErrInvalid, 1 << 20},
		{"a frame that says it has 1 TiB", record.Zstd, zstdFrame("\xe0\x00\x00\x00\x00\x00\x01\x00\x00", 1), record.ErrTooLarge, 1 << 20},
		{"a window of 256 MiB", record.Zstd, zstdFrame("\x00\x90", 1), record.ErrTooLarge, 1 << 20},
	} {
		t.Run(fmt.Sprintf("%v %s", c.codec, c.name), func(t *testing.T) {
			d, b := record.NewDecompressor(limit), batchOf(c.codec, 16, 15, c.payload)
			var err error
			memory := allocated(func() {
				for _, err = range b.Records(d) {
				}
			})
			wantError(t, "Records", err, c.kind)
			if memory > c.memory {
				t.Errorf("%d bytes were allocated, want at most %d", memory, c.memory)
			}
		})
	}
}

// TestMemoryFollowsData has records that say they are large, where that would be allowed.
func TestMemoryFollowsData(t *testing.T) {
	for _, c := range codecs[1:] {
		d, b := record.NewDecompressor(1<<30), batchOf(c, 1, 0, compress(t, c, lie(1<<20)))
		var err error
		memory := allocated(func() { _, err = walk(b, d) })
		wantError(t, c.String(), err, record.ErrInvalid)
		if memory > 12<<20 {
			t.Errorf("%v: %d bytes were allocated", c, memory)
		}
	}
}

// TestBombBehindTheLastRecord has a stream that goes on for long after the one record that there should be.
func TestBombBehindTheLastRecord(t *testing.T) {
	records := append(emptyRecord(zero), make([]byte, 16<<20)...)
	for _, c := range []record.Codec{record.Gzip, record.LZ4} {
		d, b := record.NewDecompressor(1<<30), batchOf(c, 1, 0, compress(t, c, records))
		var err error
		memory := allocated(func() { _, err = walk(b, d) })
		wantError(t, c.String(), err, record.ErrInvalid)
		if memory > 12<<20 {
			t.Errorf("%v: %d bytes were allocated", c, memory)
		}
	}
}

// TestLargeWindow reads what Kafka's producers write at the highest level of zstd: a window of 128 MiB, stated for a
// few bytes.
func TestLargeWindow(t *testing.T) {
	b, _, err := record.Parse(golden(t)["zstd-22"])
	if err != nil {
		t.Fatal(err)
	}
	d := record.NewDecompressor(1 << 10)
	if memory := allocated(func() { _, err = walk(b, d) }); memory > 1<<20 {
		t.Errorf("%d bytes were allocated", memory)
	}
	if err != nil {
		t.Error(err)
	}
}

// frameSnappy returns data in the framing of snappy-java with blocks of 64 KiB, which it accepts.
func frameSnappy(data []byte) []byte {
	out := []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")
	for len(data) > 0 {
		n := min(len(data), 64<<10)
		block := snappy.Encode(nil, data[:n])
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(block))), block...)
		data = data[n:]
	}
	return out
}

// TestStreams has payloads that are put together in unusual ways.
func TestStreams(t *testing.T) {
	records := bytes.Join([][]byte{emptyRecord(zero), emptyRecord(one)}, nil)
	half := len(records)/2 + 2 // not where a record ends
	join := func(c record.Codec, f func([]byte) []byte) []byte {
		return append(f(records[:half]), f(records[half:])...)
	}
	with := func(c record.Codec) func([]byte) []byte {
		return func(data []byte) []byte { return compress(t, c, data) }
	}
	for _, c := range []struct {
		name    string
		codec   record.Codec
		payload []byte
		bad     bool
	}{
		{"two members", record.Gzip, join(record.Gzip, with(record.Gzip)), false},
		{"two frames", record.LZ4, join(record.LZ4, with(record.LZ4)), false},
		{"two frames", record.Zstd, join(record.Zstd, with(record.Zstd)), false},
		{"two streams", record.Snappy, join(record.Snappy, frameSnappy), false},
		{"an empty block", record.Snappy, append(frameSnappy(records), 0, 0, 0, 1, 0), false},
		{"bytes behind", record.Gzip, append(compress(t, record.Gzip, records), 7), true},
		{"bytes behind", record.LZ4, append(compress(t, record.LZ4, records), 7), true},
		{"bytes behind", record.Zstd, append(compress(t, record.Zstd, records), 7), true},
		{"bytes behind, framed", record.Snappy, append(frameSnappy(records), 7), true},
		{"bytes behind, bare", record.Snappy, append(compress(t, record.Snappy, records), 7), true},
		{"block longer than the stream", record.Snappy, append(frameSnappy(records), 0xff, 0xff, 0xff, 0xff, 0), true},
		{"framing alone", record.Snappy, frameSnappy(nil), true},
		{"an older format", record.LZ4, append([]byte("\x02\x21\x4c\x18"), compress(t, record.LZ4, records)[4:]...), true},
		{"no frame", record.Gzip, records, true},
		{"no frame", record.LZ4, records, true},
		{"no frame", record.Zstd, records, true},
		{"checksum", record.Gzip, flip(compress(t, record.Gzip, records), -5), true},
		{"checksum", record.LZ4, flip(compress(t, record.LZ4, records), -1), true},
		{"checksum", record.Zstd, flip(compress(t, record.Zstd, records), -1), true},
	} {
		t.Run(fmt.Sprintf("%v %s", c.codec, c.name), func(t *testing.T) {
			got, err := walk(batchOf(c.codec, 2, 1, c.payload), record.NewDecompressor(1<<20))
			if c.bad {
				wantError(t, "Records", err, record.ErrInvalid)
			} else if err != nil || len(got) != 2 {
				t.Errorf("got %d records, error %v", len(got), err)
			}
		})
	}
}

// flip changes the byte at i, counted from the end.
func flip(b []byte, i int) []byte { b[len(b)+i] ^= 0x20; return b }

// TestDamagedStreams changes bytes under a payload; what comes out may be records or an error, and what is asked of
// the Decompressor afterwards must not suffer.
func TestDamagedStreams(t *testing.T) {
	r := rng(1)
	d := record.NewDecompressor(1 << 20)
	for _, name := range []string{"gzip", "snappy", "lz4", "zstd", "large-lz4", "large-zstd"} {
		sound, _, err := record.Parse(golden(t)[name])
		if err != nil {
			t.Fatal(err)
		}
		want, err := walk(sound, d)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			damaged := record.Batch{Header: bytes.Clone(sound.Bytes())}
			damaged.Bytes()[record.HeaderSize+r.IntN(len(damaged.Bytes())-record.HeaderSize)] ^= byte(1 << r.IntN(8))
			_, err := walk(damaged, d)
			if err != nil && !errors.Is(err, record.ErrInvalid) && !errors.Is(err, record.ErrTooLarge) {
				t.Fatalf("%s: got error %v", name, err)
			}
		}
		got, err := walk(sound, d)
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, got, want)
	}
}

func TestCompressionValidate(t *testing.T) {
	for _, c := range []struct {
		compression record.Compression
		want        string // in the error
	}{
		{record.Compression{}, ""},
		{record.Compression{Codec: record.Gzip, Level: -1}, ""},
		{record.Compression{Codec: record.Gzip, Level: 9}, ""},
		{record.Compression{Codec: record.Gzip, Level: 10}, "-1 to 9"},
		{record.Compression{Codec: record.Gzip, Level: -2}, "-1 to 9"},
		{record.Compression{Codec: record.Snappy}, ""},
		{record.Compression{Codec: record.Snappy, Level: 1}, "0 to 0"},
		{record.Compression{Codec: record.LZ4, Level: 17}, ""},
		{record.Compression{Codec: record.LZ4, Level: 18}, "0 to 17"},
		{record.Compression{Codec: record.Zstd, Level: 22}, ""},
		{record.Compression{Codec: record.Zstd, Level: 23}, "-131072 to 22"},
		{record.Compression{Codec: record.Zstd, Level: -131073}, "-131072 to 22"},
		{record.Compression{Codec: 5}, "0 to 4"},
		{record.Compression{Codec: -1}, "0 to 4"},
	} {
		err := c.compression.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got error %v, want %q in it", c.compression, err, c.want)
		}
		b := build(t, builderOf(100, few()), record.None)
		if _, rerr := b.Recompress(c.compression, new(record.Compressor), nil); (rerr == nil) != (err == nil) {
			t.Errorf("%+v: Recompress says %v, Validate %v", c.compression, rerr, err)
		}
	}
}

func TestLevels(t *testing.T) {
	var levels []record.Compression
	for level := -1; level <= 9; level++ {
		levels = append(levels, record.Compression{Codec: record.Gzip, Level: level})
	}
	for level := range 18 {
		levels = append(levels, record.Compression{Codec: record.LZ4, Level: level})
	}
	for _, level := range []int{-131072, -1, 0, 1, 3, 7, 22} {
		levels = append(levels, record.Compression{Codec: record.Zstd, Level: level})
	}
	c, d := new(record.Compressor), record.NewDecompressor(1<<20)
	plain := build(t, builderOf(100, many()), record.None)
	for _, level := range levels {
		for range 2 { // afresh, and with what the first left in the pool
			b, err := plain.Recompress(level, c, nil)
			if err != nil {
				t.Fatalf("%+v: %v", level, err)
			}
			if b.Size() > plain.Size()/4 {
				t.Errorf("%+v: %d bytes of %d are left", level, b.Size(), plain.Size())
			}
			got, err := walk(b, d)
			if err != nil {
				t.Fatalf("%+v: %v", level, err)
			}
			sameRecords(t, got, many())
		}
	}
}

// TestSnappyFraming: other than by a header, Kafka's clients do not know what follows.
func TestSnappyFraming(t *testing.T) {
	ours := build(t, builderOf(100, many()), record.Snappy).Bytes()[record.HeaderSize:]
	theirs := golden(t)["large-snappy"][record.HeaderSize:]
	if !bytes.Equal(ours[:16], theirs[:16]) {
		t.Errorf("header is %x, want %x", ours[:16], theirs[:16])
	}
	for rest := ours[16:]; len(rest) > 0; {
		size := binary.BigEndian.Uint32(rest)
		data, err := snappy.DecodeStrict(nil, rest[4:4+size])
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[4+size:]
		if len(data) != 32<<10 && len(rest) > 0 {
			t.Errorf("block of %d bytes", len(data))
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	c, d := new(record.Compressor), record.NewDecompressor(1<<20)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for range 20 {
				want := randomRecords(r, 5, false)
				b := builderOf(5, want)
				b.Compression, b.Compressor = record.Compression{Codec: codecs[r.IntN(len(codecs))]}, c
				batch, err := b.Build()
				if err != nil {
					t.Error(err)
					return
				}
				batch, err = batch.Recompress(record.Compression{Codec: codecs[r.IntN(len(codecs))]}, c, d)
				if err != nil {
					t.Error(err)
					return
				}
				n := 0
				for got, err := range batch.Records(d) {
					if err != nil || !toRec(got).equal(want[n]) {
						t.Errorf("record %d: got %v, want %v, error %v", n, toRec(got), want[n], err)
						return
					}
					n++
				}
			}
		})
	}
	wg.Wait()
}
