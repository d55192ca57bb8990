package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"segue/storage/record"
	"segue/storage/vfs"
)

// bench is a directory with one log, on whatever file system a test chooses.
type bench struct {
	t    testing.TB
	fs   vfs.FS
	path string
	opts Options
	cfg  Config
	dir  *Dir
	log  *Log
	ev   *events

	keeper Keeper
}

var testID = Identity{Topic: "orders", TopicID: [16]byte{1, 2, 3}, Partition: 4}

func testConfig() Config {
	return Config{
		SegmentBytes: 1 << 20, SegmentAge: 24 * time.Hour, IndexBytes: 1 << 16, IndexInterval: 256,
		FlushMessages: 1, FlushInterval: time.Second, Delete: true, RetentionBytes: -1, RetentionAge: -1,
	}
}

func newBench(t testing.TB, fsys vfs.FS, change func(*bench)) *bench {
	b := &bench{t: t, fs: fsys, path: "/data", cfg: testConfig()}
	if fsys == nil {
		b.fs, b.path = vfs.OS(), filepath.Join(t.TempDir(), "data")
	}
	if change != nil {
		change(b)
	}
	b.open()
	t.Cleanup(func() {
		if b.dir != nil {
			b.close()
			b.open() // every test ends with a reopen
			b.close()
		}
	})
	return b
}

func (b *bench) tryOpen() error {
	o := b.opts
	o.FS = b.fs
	o.Log = zerolog.New(zerolog.NewTestWriter(b.t)).Level(zerolog.WarnLevel)
	if o.Reserve == 0 {
		o.Reserve = 64 << 10
	}
	d, err := OpenDir(b.path, o)
	if err != nil {
		return err
	}
	ev := &events{}
	l, err := d.Open(context.Background(), testID, b.cfg, ev, b.keeper)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	b.dir, b.log, b.ev = d, l, ev
	return nil
}

func (b *bench) open() {
	b.t.Helper()
	if err := b.tryOpen(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) close() {
	b.t.Helper()
	if err := b.dir.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.dir = nil
}

func (b *bench) reopen() {
	b.t.Helper()
	b.close()
	b.open()
}

// append appends a batch of n records whose values tell their offset and whose timestamps are given.
func (b *bench) append(n int, unixMilli int64) record.Offset {
	b.t.Helper()
	base, _, err := b.log.Append(context.Background(), 1, numbered(b.t, b.end(), n, unixMilli, 20, record.None))
	if err != nil {
		b.t.Fatal(err)
	}
	return base
}

func (b *bench) end() record.Offset {
	_, _, end := b.log.Bounds()
	return end
}

// sync waits until everything is synced.
func (b *bench) sync() {
	b.t.Helper()
	if err := b.log.sync(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// numbered makes a batch of records whose values hold their offsets, padded.
func numbered(t testing.TB, base record.Offset, n int, unixMilli int64, pad int, codec record.Codec) record.Batch {
	t.Helper()
	bb := record.NewBuilder(0)
	bb.Compression.Codec = codec
	if codec != record.None {
		bb.Compressor = new(record.Compressor)
	}
	for i := range n {
		value := fmt.Appendf(nil, "%d %s", base+record.Offset(i), make([]byte, pad))
		bb.Add(unixMilli+int64(i), []byte("k"), value)
	}
	batch, err := bb.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// read returns the offsets of all records from an offset up to another, as repeated reads find them, and checks that
// each record is the one that was appended there.
func (b *bench) read(from, to record.Offset) (offsets []record.Offset) {
	b.t.Helper()
	for from < to {
		c, err := b.log.Read(context.Background(), from, to, 700, true)
		if err != nil {
			b.t.Fatalf("read %d to %d: %v", from, to, err)
		}
		if c.Length == 0 {
			break
		}
		for _, batch := range batches(b.t, c) {
			for r, err := range batch.Records(b.dir.decompressor) {
				if err != nil {
					b.t.Fatal(err)
				}
				var told record.Offset
				if _, err := fmt.Sscan(string(r.Value), &told); err != nil || told != r.Offset {
					b.t.Fatalf("record at %d says %q", r.Offset, r.Value)
				}
				if r.Offset >= from {
					offsets = append(offsets, r.Offset)
				}
			}
			from = batch.NextOffset()
		}
	}
	return offsets
}

// batches returns the batches of a chunk, checked, and releases it.
func batches(t testing.TB, c record.Chunk) []record.Batch {
	t.Helper()
	out, err := chunkBatches(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func chunkBatches(c record.Chunk) (out []record.Batch, err error) {
	defer c.Release()
	buf, err := c.AppendTo(nil)
	for len(buf) > 0 && err == nil {
		var batch record.Batch
		if batch, buf, err = record.Parse(buf); err == nil {
			err = batch.Verify()
		}
		out = append(out, batch)
	}
	return out, err
}

// wantAll checks that exactly the offsets from..to-1 can be read, in order.
func (b *bench) wantAll(from, to record.Offset) {
	b.t.Helper()
	got := b.read(from, to)
	if len(got) != int(to-from) {
		b.t.Fatalf("read %d records of %d to %d: %v", len(got), from, to, got)
	}
	for i, o := range got {
		if o != from+record.Offset(i) {
			b.t.Fatalf("record %d has offset %d, want %d", i, o, from+record.Offset(i))
		}
	}
}

func (b *bench) wantBounds(start, committed, end record.Offset) {
	b.t.Helper()
	s, c, e := b.log.Bounds()
	if s != start || c != committed || e != end {
		b.t.Fatalf("bounds are %d, %d, %d; want %d, %d, %d", s, c, e, start, committed, end)
	}
}

func (b *bench) segments() int { return len(b.log.view.Load().segments) }

// events remembers what a log told.
type events struct {
	mu        sync.Mutex
	committed record.Offset
	failure   error
	backwards bool
}

func (e *events) Committed(next record.Offset) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.backwards = e.backwards || next <= e.committed || e.failure != nil
	e.committed = next
}

func (e *events) Failed(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.backwards = e.backwards || e.failure != nil
	e.failure = err
}

func (e *events) get() (record.Offset, error, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.committed, e.failure, e.backwards
}

func TestEmptyLogHasNoFolder(t *testing.T) {
	b := newBench(t, nil, nil)
	b.wantBounds(0, 0, 0)
	if c, err := b.log.Read(context.Background(), 0, 0, 100, true); err != nil || c.Length != 0 {
		t.Fatal(c, err)
	}
	if _, err := b.log.Read(context.Background(), 1, 1, 100, true); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatal(err)
	}
	ids, err := b.dir.List(context.Background())
	if err != nil || len(ids) != 0 {
		t.Fatal(ids, err)
	}
	b.append(1, 1000)
	if ids, err = b.dir.List(context.Background()); err != nil || len(ids) != 1 || ids[0] != testID {
		t.Fatal(ids, err)
	}
}

func TestAppendReadRollReopen(t *testing.T) {
	b := newBench(t, nil, func(b *bench) { b.cfg.SegmentBytes = 2000 })
	var n record.Offset
	for i := range 200 {
		size := 1 + i%5
		if base := b.append(size, int64(1000+i)); base != n {
			t.Fatalf("batch %d at offset %d, want %d", i, base, n)
		}
		n += record.Offset(size)
	}
	b.sync()
	b.wantBounds(0, n, n)
	if b.segments() < 5 {
		t.Fatalf("%d segments", b.segments())
	}
	b.wantAll(0, n)
	for from := record.Offset(0); from < n; from += 7 {
		b.wantAll(from, n)
	}
	if c, failure, back := b.ev.get(); c != n || failure != nil || back {
		t.Fatalf("events: committed %d, failure %v, out of order %v", c, failure, back)
	}
	b.reopen()
	b.wantBounds(0, n, n)
	b.wantAll(0, n)
	b.append(3, 5000)
	b.sync()
	b.wantAll(0, n+3)
	if s := b.dir.Stats(); s.IndexesOdd != 0 || s.IndexesRebuilt != 0 || s.Cuts != 0 || s.Damage != 0 {
		t.Fatalf("%+v", s)
	}
}

// TestRandomOperations holds a log against a plain slice of batches.
func TestRandomOperations(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			b := newBench(t, nil, func(b *bench) {
				b.cfg.SegmentBytes = 1000 + r.Int64N(8000)
				b.cfg.IndexInterval = 1 + r.Int64N(1000)
				b.cfg.IndexBytes = 100 + r.Int64N(2000)
				b.cfg.FlushMessages = 1 + r.Int64N(2)*r.Int64N(50)
				b.opts.OpenFiles = 1 + r.IntN(10)
			})
			type kept struct {
				base, next record.Offset
				ts         int64
			}
			var model []kept
			var start, end record.Offset
			for range 400 {
				switch k := r.IntN(20); {
				case k < 12:
					was := end
					var batches []record.Batch
					for range 1 + r.IntN(3)*r.IntN(2) {
						n, ts := 1+r.IntN(6), r.Int64N(5000)
						batches = append(batches, numbered(t, end, n, ts, r.IntN(300), record.Codec(r.IntN(5))))
						model = append(model, kept{end, end + record.Offset(n), ts})
						end += record.Offset(n)
					}
					base, next, err := b.log.Append(context.Background(), 1, batches...)
					if err != nil || base != was || next != end {
						t.Fatal(base, next, err)
					}
				case k < 15:
					from := start + record.Offset(r.Int64N(int64(end-start)+1))
					b.wantAll(from, end)
				case k < 16:
					b.sync()
					start += record.Offset(r.Int64N(int64(end-start) + 1))
					if err := b.log.DeleteBefore(context.Background(), start); err != nil {
						t.Fatal(err)
					}
				case k < 17:
					b.reopen()
				case k < 18:
					if end > 0 {
						b.sync()
						if err := b.log.Save(context.Background(), "fold", end, fmt.Append(nil, end)); err != nil {
							t.Fatal(err)
						}
						at, state, err := b.log.Load(context.Background(), "fold")
						if err != nil || at != end || string(state) != fmt.Sprint(end) {
							t.Fatal(at, state, err)
						}
					}
				default:
					ts := r.Int64N(5010)
					want := record.Offset(-1)
					for _, m := range model {
						for o := m.base; o < m.next && want < 0; o++ {
							if o >= start && m.ts+int64(o-m.base) >= ts {
								want = o
							}
						}
					}
					if got, _, err := b.log.OffsetForTime(context.Background(), ts); err != nil || got != want {
						t.Fatalf("offset for %d is %d, %v; want %d", ts, got, err, want)
					}
					newest, at := int64(-1), record.Offset(-1)
					for _, m := range model {
						for o := max(m.base, start); o < m.next; o++ {
							if v := m.ts + int64(o-m.base); v > newest {
								newest, at = v, o
							}
						}
					}
					if got, ts, err := b.log.MaxTimestamp(context.Background()); err != nil || got != at || ts != newest {
						t.Fatalf("max timestamp %d at %d, %v; want %d at %d", ts, got, err, newest, at)
					}
				}
				if s, _, e := b.log.Bounds(); s != start || e != end {
					t.Fatalf("bounds %d, %d; want %d, %d", s, e, start, end)
				}
			}
			if s := b.dir.Stats(); s.IndexesOdd != 0 || s.Cuts != 0 || s.Damage != 0 || s.Failed != 0 {
				t.Fatalf("%+v", s)
			}
		})
	}
}
