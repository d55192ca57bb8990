package record_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"segue/storage/record"
)

// goldenTime is the time of the first record in testdata/golden.txt.
const goldenTime = 1700000000000

// golden returns the batches of testdata/golden.txt, which Kafka's own classes wrote (testdata/Golden.java).
func golden(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		if out[name], err = hex.DecodeString(digits); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// few and many are the records in the golden batches.
func few() []rec {
	return []rec{
		{100, goldenTime, []byte("key"), []byte("value"), []header{{"h", []byte("1")}, {"", []byte{}}, {"h", nil}}},
		{101, goldenTime + 70000, nil, []byte("no key"), nil},
		{102, goldenTime - 1, []byte("tombstone"), nil, nil},
	}
}

func many() []rec {
	out := make([]rec, 1000)
	for i := range out {
		value := bytes.Repeat([]byte{byte('a' + i%26)}, 150)
		out[i] = rec{100 + record.Offset(i), goldenTime + int64(i), []byte(strconv.Itoa(i)), value, nil}
	}
	return out
}

func at(rs []rec, unixMilli int64) []rec {
	for i := range rs {
		rs[i].timestamp = unixMilli
	}
	return rs
}

func marker(kind byte) []rec {
	// Key: version and type; value: version and coordinator epoch, int16 and int32 (EndTxnMarker).
	return []rec{{100, goldenTime, []byte{0, 0, 0, kind}, []byte{0, 0, 0, 0, 0, 9}, nil}}
}

// head is what the header of a golden batch must say, in brief.
func head(h record.Header) string {
	return fmt.Sprintf("%v %d-%d epoch %d producer %d/%d seq %d-%d count %d %v time %d-%d tx %v control %v horizon %v",
		h.Codec(), h.BaseOffset(), h.LastOffset(), h.LeaderEpoch(), h.ProducerID(), h.ProducerEpoch(), h.BaseSequence(),
		h.LastSequence(), h.Count(), h.TimestampType(), h.BaseTimestamp(), h.MaxTimestamp(), h.IsTransactional(),
		h.IsControl(), h.HasDeleteHorizon())
}

// The heads of the batches of few and many, but for the codec.
const (
	fewHead = " 100-102 epoch 5 producer 7/3 seq 2147483646-0 count 3 CreateTime " +
		"time 1700000000000-1700000070000 tx false control false horizon false"
	manyHead = " 100-1099 epoch 5 producer 7/3 seq 2147483646-997 count 1000 CreateTime " +
		"time 1700000000000-1700000000999 tx false control false horizon false"
)

type goldenCase struct {
	name    string
	head    string
	records []rec
	builder func() *record.Builder // nil for batches that another encoder makes with other bytes
}

var goldenCases = []goldenCase{
	{"plain", "none" + fewHead, few(), func() *record.Builder { return goldenBuilder(few()) }},
	{"gzip", "gzip" + fewHead, few(), nil},
	{"snappy", "snappy" + fewHead, few(), nil},
	{"lz4", "lz4" + fewHead, few(), nil},
	{"zstd", "zstd" + fewHead, few(), nil},
	{"zstd-22", "zstd" + fewHead, few(), nil},
	{"transactional", "none 100-102 epoch 5 producer 7/3 seq 2147483646-0 count 3 CreateTime time 1700000000000-1700000070000 " +
		"tx true control false horizon false",
		few(), func() *record.Builder {
			b := goldenBuilder(few())
			b.Transactional = true
			return b
		}},
	{"append-time", "none 100-102 epoch 5 producer 7/3 seq 2147483646-0 count 3 LogAppendTime time 1700000000000-1700000090000 " +
		"tx false control false horizon false",
		at(few(), goldenTime+90000), func() *record.Builder {
			b := goldenBuilder(few())
			b.TimestampType, b.MaxTimestamp = record.LogAppendTime, goldenTime+90000
			return b
		}},
	{"large-gzip", "gzip" + manyHead, many(), nil},
	{"large-snappy", "snappy" + manyHead, many(), nil},
	{"large-lz4", "lz4" + manyHead, many(), nil},
	{"large-zstd", "zstd" + manyHead, many(), nil},
	{"commit", "none 100-100 epoch 5 producer 7/3 seq -1--1 count 1 CreateTime time 1700000000000-1700000000000 " +
		"tx true control true horizon false",
		marker(1), func() *record.Builder { return goldenMarker(1) }},
	{"abort", "none 100-100 epoch 5 producer 7/3 seq -1--1 count 1 CreateTime time 1700000000000-1700000000000 " +
		"tx true control true horizon false",
		marker(0), func() *record.Builder { return goldenMarker(0) }},
	{"compacted", "none 100-102 epoch 5 producer 7/3 seq 2147483646-0 count 1 CreateTime time 1700000101000-1700000000000 " +
		"tx false control false horizon true",
		few()[:1], func() *record.Builder {
			b := goldenBuilder(nil)
			b.LastOffset, b.DeleteHorizon = 102, goldenTime+101000
			b.AddRecord(toRecord(few()[0]))
			return b
		}},
	{"emptied", "none 100-102 epoch 5 producer 7/3 seq 2147483646-0 count 0 CreateTime time -1-1700000070000 " +
		"tx false control false horizon false",
		nil, func() *record.Builder {
			b := goldenBuilder(nil)
			b.LastOffset, b.MaxTimestamp = 102, goldenTime+70000
			return b
		}},
}

func goldenBuilder(rs []rec) *record.Builder {
	b := builderOf(100, rs)
	b.LeaderEpoch, b.ProducerID, b.ProducerEpoch, b.BaseSequence = 5, 7, 3, 1<<31-2
	return b
}

func goldenMarker(kind byte) *record.Builder {
	b := goldenBuilder(marker(kind))
	b.BaseSequence, b.Transactional, b.Control = record.NoSequence, true, true
	return b
}

func TestGolden(t *testing.T) {
	vectors := golden(t)
	for name := range vectors { // the filtered ones are for TestFilterGolden
		known := slices.ContainsFunc(goldenCases, func(c goldenCase) bool { return c.name == name })
		if !known && !strings.HasPrefix(name, "filtered-") {
			t.Errorf("testdata has a batch %s, the table has not", name)
		}
	}
	d := record.NewDecompressor(1 << 20)
	for _, c := range goldenCases {
		t.Run(c.name, func(t *testing.T) {
			bytesOf := vectors[c.name]
			b, rest, err := record.Parse(bytesOf)
			if err != nil || len(rest) != 0 {
				t.Fatalf("%d bytes left, error %v", len(rest), err)
			}
			if err := b.Verify(); err != nil {
				t.Error(err)
			}
			if got := head(b.Header); got != c.head {
				t.Errorf("header\n got %s\nwant %s", got, c.head)
			}
			got, err := walk(b, d)
			if err != nil {
				t.Fatal(err)
			}
			sameRecords(t, got, c.records)
			if c.builder == nil {
				return
			}
			built, err := c.builder().Build()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(built.Bytes(), bytesOf) {
				t.Errorf("built\n got %x\nwant %x", built.Bytes(), bytesOf)
			}
		})
	}
}

// TestRecompressGolden takes Kafka's uncompressed batches to every codec and back.
func TestRecompressGolden(t *testing.T) {
	vectors := golden(t)
	c, d := new(record.Compressor), record.NewDecompressor(1<<20)
	for _, from := range goldenCases {
		for _, to := range codecs {
			t.Run(fmt.Sprintf("%s to %v", from.name, to), func(t *testing.T) {
				b, _, err := record.Parse(vectors[from.name])
				if err != nil {
					t.Fatal(err)
				}
				before := bytes.Clone(b.Bytes())
				other, err := b.Recompress(record.Compression{Codec: to}, c, d)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(b.Bytes(), before) {
					t.Error("the original was written to")
				}
				if err := other.Verify(); err != nil {
					t.Error(err)
				}
				want := strings.Replace(from.head, b.Codec().String(), to.String(), 1)
				if b.IsControl() || b.Count() == 0 {
					want = from.head
				}
				if got := head(other.Header); got != want {
					t.Errorf("header\n got %s\nwant %s", got, want)
				}
				got, err := walk(other, d)
				if err != nil {
					t.Fatal(err)
				}
				sameRecords(t, got, from.records)
				back, err := other.Recompress(record.Compression{}, nil, d)
				if err != nil {
					t.Fatal(err)
				}
				if b.Codec() == record.None && !bytes.Equal(back.Bytes(), before) {
					t.Errorf("there and back\n got %x\nwant %x", back.Bytes(), before)
				}
			})
		}
	}
}

// TestTruncatedGolden cuts every batch at every byte, once as a short read shows it and once with a header that
// knows only of what is left.
func TestTruncatedGolden(t *testing.T) {
	d := record.NewDecompressor(1 << 20)
	for name, whole := range golden(t) {
		step := max(1, len(whole)/512) // the large ones take long
		for n := 0; n < len(whole); n += step {
			if _, _, err := record.Parse(whole[:n]); err != record.ErrShort {
				t.Fatalf("%s cut at %d: got error %v, want ErrShort", name, n, err)
			}
			if n < record.HeaderSize {
				if _, err := record.ParseHeader(whole[:n]); err != record.ErrShort {
					t.Fatalf("%s: header cut at %d: got error %v, want ErrShort", name, n, err)
				}
				continue
			}
			cut := bytes.Clone(whole[:n])
			setLength(cut)
			b, _, err := record.Parse(cut)
			if err == nil {
				_, err = walk(b, d)
			}
			wantError(t, fmt.Sprintf("%s shortened to %d", name, n), err, record.ErrInvalid)
		}
	}
}
