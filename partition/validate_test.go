package partition_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage/record"
)

// Positions in a batch's header, for tests that spoil it.
const (
	posLength = 8
	posMagic  = 16
	posCRC    = 17
	posAttr   = 21
	posDelta  = 23
	posMax    = 35
	posCount  = 57
)

// spoil returns the batch with bytes changed and a checksum that agrees with them.
func spoil(b record.Batch, at int, bytes ...byte) record.Batch {
	copy(b.Header[at:], bytes)
	sum := crc32.Checksum(b.Header[posAttr:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(b.Header[posCRC:], sum)
	return b
}

func int64Bytes(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }

func openMemory(t testing.TB, c partition.Config) (*partition.Partition, *logtest.MemoryLog) {
	t.Helper()
	store := logtest.NewMemory()
	p, err := partition.Open(context.Background(), store, theID, 0, c, codecs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p, store.Log(theID)
}

func TestAppendRefuses(t *testing.T) {
	now := time.Now().UnixMilli()
	fine := func(t *testing.T) record.Batch { return logtest.Spec{Records: 3, Time: now}.Batch(t) }
	compressed := logtest.Spec{Records: 3, Time: now, Codec: record.Zstd, ValueBytes: 1000}
	tests := []struct {
		name   string
		config func(*partition.Config)
		batch  func(*testing.T) record.Batch
		want   *kerr.Error
	}{
		{"wrong checksum", nil, func(t *testing.T) record.Batch {
			b := fine(t)
			b.Header[len(b.Header)-1]++
			return b
		}, kerr.CorruptMessage},
		{"not whole", nil, func(t *testing.T) record.Batch {
			b := fine(t)
			return record.Batch{Header: b.Header[:len(b.Header)-1]}
		}, kerr.CorruptMessage},
		{"no header", nil, func(t *testing.T) record.Batch { return record.Batch{Header: []byte{1, 2}} }, kerr.CorruptMessage},
		{"base offset", nil, func(t *testing.T) record.Batch {
			b := fine(t)
			b.SetBaseOffset(1)
			return b
		}, kerr.InvalidRecord},
		{"too large", func(c *partition.Config) { c.MaxMessageBytes = 80 }, fine, kerr.MessageTooLarge},
		{"larger than a segment", func(c *partition.Config) { c.Log.SegmentBytes = 80 }, fine, kerr.RecordListTooLarge},
		{"larger than both", func(c *partition.Config) { c.Log.SegmentBytes, c.MaxMessageBytes = 80, 80 }, fine, kerr.MessageTooLarge},
		{"fewer records than offsets", nil, func(t *testing.T) record.Batch { return spoil(fine(t), posDelta, 0, 0, 0, 3) }, kerr.InvalidRecord},
		{"more records than offsets", nil, func(t *testing.T) record.Batch { return spoil(fine(t), posDelta, 0, 0, 0, 1) }, kerr.InvalidRecord},
		{"no records", nil, func(t *testing.T) record.Batch {
			return spoil(spoil(fine(t), posCount, 0, 0, 0, 0), posDelta, 0xff, 0xff, 0xff, 0xff)
		}, kerr.InvalidRecord},
		{"the count lies", nil, func(t *testing.T) record.Batch {
			return spoil(spoil(fine(t), posCount, 0, 0, 0, 2), posDelta, 0, 0, 0, 1)
		}, kerr.InvalidRecord},
		{"the count lies, compacted and compressed", func(c *partition.Config) { c.Log.Compact = true }, func(t *testing.T) record.Batch {
			return spoil(spoil(compressed.Batch(t), posCount, 0, 0, 0, 9), posDelta, 0, 0, 0, 8)
		}, kerr.InvalidRecord},
		{"garbage for records", nil, func(t *testing.T) record.Batch { return spoil(fine(t), record.HeaderSize, 0xff, 0xff) }, kerr.InvalidRecord},
		{"garbage for compressed records, compacted", func(c *partition.Config) { c.Log.Compact = true }, func(t *testing.T) record.Batch {
			return spoil(compressed.Batch(t), record.HeaderSize, 0xff, 0xff, 0xff)
		}, kerr.InvalidRecord},
		{"a bomb, compacted", func(c *partition.Config) { c.Log.Compact = true }, func(t *testing.T) record.Batch {
			return logtest.Spec{Time: now, Codec: record.Zstd, ValueBytes: 5 << 20}.Batch(t)
		}, kerr.MessageTooLarge},
		{"a bomb, to be recompressed", func(c *partition.Config) { c.Recompress, c.Compression.Codec = true, record.Gzip }, func(t *testing.T) record.Batch {
			return logtest.Spec{Time: now, Codec: record.Zstd, ValueBytes: 5 << 20}.Batch(t)
		}, kerr.MessageTooLarge},
		{"too large when uncompressed", func(c *partition.Config) { c.Recompress, c.MaxMessageBytes = true, 2000 }, fixed(compressed), kerr.MessageTooLarge},
		{"control batch", nil, func(t *testing.T) record.Batch { return logtest.Spec{Time: now, Control: true}.Batch(t) }, kerr.InvalidRecord},
		{"transactional", nil, func(t *testing.T) record.Batch {
			return logtest.Spec{Time: now, Transactional: true, Producer: 1}.Batch(t)
		}, kerr.InvalidTxnState},
		{"idempotent without a sequence", nil, func(t *testing.T) record.Batch {
			return logtest.Spec{Time: now, Producer: 1, Sequence: record.NoSequence}.Batch(t)
		}, kerr.InvalidRecord},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig()
			if tt.config != nil {
				tt.config(&c)
			}
			p, log := openMemory(t, c)
			_, err := p.Append(context.Background(), -1, tt.batch(t), partition.Client)
			if got := code(err); got != tt.want.Message {
				t.Errorf("got %v (%v), want %v", got, err, tt.want.Message)
			}
			if len(log.Batches()) != 0 || len(p.Producers()) != 0 || p.Stats().Refused != 1 {
				t.Error("a batch that was refused left something behind")
			}
		})
	}
}

// TestCoordinatorBatchSize holds a coordinator's batches, which cannot be split, against the segment alone.
func TestCoordinatorBatchSize(t *testing.T) {
	c := testConfig()
	c.MaxMessageBytes, c.Log.SegmentBytes = 500, 2000
	p, _ := openMemory(t, c)
	for _, tt := range []struct {
		bytes int
		from  partition.Origin
		want  string
	}{
		{300, partition.Client, "ok"},
		{1500, partition.Client, "MESSAGE_TOO_LARGE"},
		{1500, partition.Coordinator, "ok"},
		{2500, partition.Coordinator, "RECORD_LIST_TOO_LARGE"},
	} {
		spec := logtest.Spec{ValueBytes: tt.bytes, Time: time.Now().UnixMilli(), Sequence: record.NoSequence}
		if _, err := p.Append(context.Background(), -1, spec.Batch(t), tt.from); code(err) != tt.want {
			t.Errorf("%d bytes from %d: %v, want %s", tt.bytes, tt.from, err, tt.want)
		}
	}
}

func TestAppendRecordErrors(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	now := time.Now().UnixMilli()
	narrow := func(c *partition.Config) { c.TimestampBeforeMax, c.TimestampAfterMax = time.Hour, time.Hour }
	compact := func(c *partition.Config) { c.Log.Compact = true }
	appendTime := func(c *partition.Config) { c.TimestampType = record.LogAppendTime }
	many := make([]int64, 3000)
	tests := []struct {
		name   string
		config func(*partition.Config)
		spec   logtest.Spec
		want   *kerr.Error // nil: it is taken
		count  int
		first  int32
	}{
		{"in range", narrow, logtest.Spec{Times: []int64{now - hour + 60_000, now, now + hour - 60_000}}, nil, 0, 0},
		{"no timestamps", narrow, logtest.Spec{Times: []int64{-1, -1}}, nil, 0, 0},
		{"some without a timestamp", narrow, logtest.Spec{Times: []int64{-1, now, -1}}, nil, 0, 0},
		{"too early", narrow, logtest.Spec{Times: []int64{now, now - hour - 60_000, now}}, kerr.InvalidTimestamp, 1, 1},
		{"too late", narrow, logtest.Spec{Times: []int64{now, now, now + hour + 60_000, now + hour + 70_000}}, kerr.InvalidTimestamp, 2, 2},
		{"too late, by default", nil, logtest.Spec{Times: []int64{now + hour + 60_000}}, kerr.InvalidTimestamp, 1, 0},
		{"long ago, by default", nil, logtest.Spec{Times: []int64{1}}, nil, 0, 0},
		{"before 1970, by default", nil, logtest.Spec{Times: []int64{-2}}, nil, 0, 0},
		{"the largest timestamp there is", nil, logtest.Spec{Times: []int64{math.MaxInt64}}, kerr.InvalidTimestamp, 1, 0},
		{"compressed, in range", narrow, logtest.Spec{Times: []int64{now, now - 1}, Codec: record.LZ4}, nil, 0, 0},
		{"compressed, too late", narrow, logtest.Spec{Times: []int64{now, now + hour + 60_000}, Codec: record.LZ4}, kerr.InvalidTimestamp, 1, 1},
		{"compressed, too early", narrow, logtest.Spec{Times: []int64{now - hour - 60_000, now}, Codec: record.Gzip}, kerr.InvalidTimestamp, 1, 0},
		{"all wrong", narrow, logtest.Spec{Times: many}, kerr.InvalidTimestamp, 1000, 0},
		{"null keys", compact, logtest.Spec{Records: 3, Time: now, NullKeys: true}, kerr.InvalidRecord, 3, 0},
		{"null keys, compressed", compact, logtest.Spec{Records: 2, Time: now, NullKeys: true, Codec: record.Snappy}, kerr.InvalidRecord, 2, 0},
		{"null keys, not compacted", nil, logtest.Spec{Records: 3, Time: now, NullKeys: true}, nil, 0, 0},
		{"null keys and timestamps", func(c *partition.Config) { narrow(c); compact(c) },
			logtest.Spec{Times: []int64{1, 1}, NullKeys: true}, kerr.InvalidRecord, 2, 0},
		{"the broker's timestamp type", appendTime, logtest.Spec{Records: 2, Time: now, Type: record.LogAppendTime}, kerr.InvalidTimestamp, 2, 0},
		{"the broker's timestamp type, compressed", appendTime,
			logtest.Spec{Records: 2, Time: now, Type: record.LogAppendTime, Codec: record.Zstd}, kerr.InvalidTimestamp, 2, 0},
		{"any timestamp under LogAppendTime", appendTime, logtest.Spec{Times: []int64{1, math.MaxInt64}}, nil, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig()
			if tt.config != nil {
				tt.config(&c)
			}
			p, _ := openMemory(t, c)
			_, err := p.Append(context.Background(), -1, tt.spec.Batch(t), partition.Client)
			if tt.want == nil {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var refused *partition.InvalidRecords
			if code(err) != tt.want.Message || !errors.As(err, &refused) {
				t.Fatalf("got %v, want %v", err, tt.want.Message)
			}
			if len(refused.Records) != tt.count || refused.Records[0].Index != tt.first || refused.Records[0].Message == "" || refused.Message == "" {
				t.Errorf("got %d errors %+v, want %d from %d on", len(refused.Records), refused.Records[:1], tt.count, tt.first)
			}
		})
	}
}

// TestAppendStores checks what becomes of the batches that are taken.
func TestAppendStores(t *testing.T) {
	const z = 1_700_000_000_000
	limited := func(c *partition.Config) { c.TimestampBeforeMax = time.Since(time.UnixMilli(z - 1000)) }
	to := func(codec record.Codec) func(*partition.Config) {
		return func(c *partition.Config) { c.Recompress, c.Compression.Codec = true, codec }
	}
	plain := logtest.Spec{Times: []int64{z, z + 5, z + 2}, ValueBytes: 300, Producer: 8, ProducerEpoch: 2, Sequence: 17}
	zipped := plain
	zipped.Codec = record.Zstd
	lying := func(spec logtest.Spec, at int, v int64) func(*testing.T) record.Batch {
		return func(t *testing.T) record.Batch { return spoil(spec.Batch(t), at, int64Bytes(v)...) }
	}
	marked := plain
	marked.Type, marked.Time = record.LogAppendTime, z+9
	tests := []struct {
		name    string
		config  func(*partition.Config)
		batch   func(*testing.T) record.Batch
		same    bool // but for epoch and offset
		codec   record.Codec
		largest int64
	}{
		{"as it is", nil, fixed(plain), true, record.None, z + 5},
		{"as it is, compressed", nil, fixed(zipped), true, record.Zstd, z + 5},
		{"largest timestamp put right", nil, lying(plain, posMax, z+99), false, record.None, z + 5},
		{"largest timestamp put right, none", nil, lying(plain, posMax, -1), false, record.None, z + 5},
		{"largest timestamp believed", nil, lying(zipped, posMax, z+99), true, record.Zstd, z + 99},
		{"largest timestamp put right, for it was out of range", nil, lying(zipped, posMax, math.MaxInt64), false, record.Zstd, z + 5},
		{"mark of LogAppendTime taken off", nil, fixed(marked), false, record.None, z + 9},
		{"in range", limited, fixed(zipped), true, record.Zstd, z + 5},
		{"uncompressed", to(record.None), fixed(zipped), false, record.None, z + 5},
		{"compressed", to(record.Gzip), fixed(plain), false, record.Gzip, z + 5},
		{"recompressed", to(record.LZ4), fixed(zipped), false, record.LZ4, z + 5},
		{"compressed already", to(record.Zstd), fixed(zipped), true, record.Zstd, z + 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig()
			if tt.config != nil {
				tt.config(&c)
			}
			p, log := openMemory(t, c)
			sent := tt.batch(t)
			want := record.Batch{Header: bytes.Clone(sent.Bytes())}
			if _, err := p.Append(context.Background(), -1, sent, partition.Client); err != nil {
				t.Fatal(err)
			}
			got := log.Batches()[0]
			if err := got.Verify(); err != nil {
				t.Error(err)
			}
			want.SetLeaderEpoch(0)
			if same := bytes.Equal(got.Bytes(), want.Bytes()); same != tt.same {
				t.Errorf("stored as it came: %v, want %v", same, tt.same)
			}
			if got.Codec() != tt.codec || got.MaxTimestamp() != tt.largest || got.TimestampType() != record.CreateTime {
				t.Errorf("stored with codec %v, largest timestamp zero+%d, type %v", got.Codec(), got.MaxTimestamp()-z, got.TimestampType())
			}
			if got.ProducerID() != 7 || got.ProducerEpoch() != 2 || got.BaseSequence() != 17 || got.Count() != 3 {
				t.Error("the header's other fields have changed")
			}
			sameRecords(t, got, want)
		})
	}
}

func sameRecords(t *testing.T, got, want record.Batch) {
	t.Helper()
	d := record.NewDecompressor(1 << 20)
	list := func(b record.Batch) (all []string) {
		for r, err := range b.Records(d) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%d %q %q", r.Offset, r.Key, r.Value))
		}
		return all
	}
	if g, w := fmt.Sprint(list(got)), fmt.Sprint(list(want)); g != w {
		t.Errorf("stored records %s, want %s", g, w)
	}
}

func TestParseBatch(t *testing.T) {
	one := logtest.Spec{Records: 3, Time: 5}.Batch(t).Bytes()
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	with := func(at int, v byte) []byte {
		b := bytes.Clone(one)
		b[at] = v
		return b
	}
	sound := func(b []byte) []byte { return spoil(record.Batch{Header: b}, 0).Bytes() } // as far as the checksum goes
	legacy := join(make([]byte, posLength), []byte{0, 0, 0, 30}, make([]byte, 30))
	tests := []struct {
		name    string
		records []byte
		want    string
	}{
		{"one batch", one, "ok"},
		{"a batch and a torn one", join(one, one[:len(one)-1]), "ok"},
		{"a batch and less than a header", join(one, one[:10]), "ok"},
		{"none", nil, kerr.InvalidRecord.Message},
		{"a torn one", one[:len(one)-1], kerr.InvalidRecord.Message},
		{"less than a header", one[:20], kerr.InvalidRecord.Message},
		{"two", join(one, one), kerr.InvalidRecord.Message},
		{"two, the second with an impossible count", join(one, with(posCount, 0x80)), kerr.InvalidRecord.Message},
		{"magic 0", legacy, kerr.InvalidRecord.Message},
		{"magic 1", join(legacy[:posMagic], []byte{1}, legacy[posMagic+1:]), kerr.InvalidRecord.Message},
		{"a batch and a message of magic 0", join(one, legacy), kerr.InvalidRecord.Message},
		{"magic 3", with(posMagic, 3), kerr.CorruptMessage.Message},
		{"a batch and magic 3", join(one, with(posMagic, 3)), kerr.CorruptMessage.Message},
		{"negative size", with(posLength, 0xff), kerr.CorruptMessage.Message},
		{"impossible count", sound(with(posCount, 0x80)), kerr.InvalidRecord.Message},
		{"impossible count, and a wrong checksum", with(posCount, 0x80), kerr.CorruptMessage.Message},
		{"codec 5", sound(with(posAttr+1, 5)), kerr.UnsupportedCompressionType.Message},
		{"codec 5, and a wrong checksum", with(posAttr+1, 5), kerr.CorruptMessage.Message},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := partition.ParseBatch(tt.records)
			if got := code(err); got != tt.want {
				t.Fatalf("got %s (%v), want %s", got, err, tt.want)
			}
			if err == nil && !bytes.Equal(b.Bytes(), one) {
				t.Error("got another batch")
			}
		})
	}
}

// FuzzAppend has bytes from a producer go all the way: whatever they are, they are stored soundly or refused with a code.
func FuzzAppend(f *testing.F) {
	for i, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		f.Add(logtest.Spec{Records: 1 + i, Time: int64(i), Codec: codec, Producer: int64(i)}.Batch(f).Bytes(), uint8(i))
	}
	f.Add(logtest.Spec{NullKeys: true, Type: record.LogAppendTime}.Batch(f).Bytes(), uint8(3))
	shared := partition.NewCodecs(1 << 16)
	f.Fuzz(func(t *testing.T, b []byte, how uint8) {
		c := testConfig()
		c.Log.Compact = how&1 != 0
		if how&2 != 0 {
			c.TimestampType = record.LogAppendTime
		}
		if how&4 != 0 {
			c.Recompress, c.Compression.Codec = true, record.Codec(how>>3%5)
		}
		store := logtest.NewMemory()
		p, err := partition.Open(context.Background(), store, theID, 0, c, shared)
		if err != nil {
			t.Fatal(err)
		}
		batch, err := partition.ParseBatch(b)
		if err == nil {
			if how&32 != 0 {
				spoil(batch, 0) // so that the fuzzer gets past the checksum
			}
			_, err = p.Append(context.Background(), -1, batch, partition.Client)
		}
		if err != nil {
			var coded *kerr.Error
			if !errors.As(err, &coded) || coded == kerr.UnknownServerError {
				t.Errorf("no code: %v", err)
			}
			return
		}
		stored := store.Log(theID).Batches()[0]
		if err := stored.Verify(); err != nil {
			t.Error(err)
		}
		if stored.Codec() == record.None || c.Log.Compact {
			if _, err := stored.Check(record.NewDecompressor(1 << 17)); err != nil {
				t.Errorf("stored a batch that cannot be read: %v", err)
			}
		}
	})
}

// fixed has every test make the batch anew.
func fixed(s logtest.Spec) func(*testing.T) record.Batch {
	return func(t *testing.T) record.Batch { return s.Batch(t) }
}
