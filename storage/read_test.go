package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// TestMaxTimestampThatNoRecordHas looks for the largest timestamp where the header of a compressed batch claims one
// that none of its records has. Nobody unpacks such a batch when it is appended, so a client may send it.
func TestMaxTimestampThatNoRecordHas(t *testing.T) {
	b := newBench(t, nil, nil)
	b.append(3, 1000)
	liar := numbered(t, b.end(), 3, 2000, 0, record.Zstd)
	liar.SetMaxTimestamp(1 << 60)
	if _, _, err := b.log.Append(context.Background(), 1, liar); err != nil {
		t.Fatal(err)
	}
	b.append(3, 3000)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// Kafka's answer is that there is none, too.
	if at, ts, err := b.log.MaxTimestamp(ctx); at != -1 || ts != -1 || err != nil {
		t.Fatal(at, ts, err)
	}
	if at, ts, err := b.log.OffsetForTime(ctx, 2500); at != 6 || ts != 3000 || err != nil {
		t.Fatal(at, ts, err)
	}
}

// TestIndexMayBeAheadOfTheReader has a search look at less of a segment than its index knows already, as it does while
// a batch is being appended.
func TestIndexMayBeAheadOfTheReader(t *testing.T) {
	b := newBench(t, nil, func(b *bench) { b.cfg.IndexInterval = 1 })
	for i := range 10 {
		b.append(2, int64(1000+10*i))
	}
	s := b.log.view.Load().segments[0]
	f, err := s.file.pin()
	if err != nil {
		t.Fatal(err)
	}
	defer s.file.unpin()
	limit := s.size.Load()
	if last, err := s.idx.Load().floorPosition(limit); err != nil || last.Position == 0 {
		t.Fatal(last, err)
	} else {
		limit = int64(last.Position) // of the tenth batch
	}
	for name, search := range map[string]func() (place, error){
		"by offset": func() (place, error) { return s.find(f, 18, limit) },
		"by time":   func() (place, error) { return s.firstAtOrAfter(f, 1090, limit) },
	} {
		if p, err := search(); err == nil {
			t.Errorf("%s: found %v behind the limit", name, p)
		}
	}
	if n := b.dir.Stats().IndexesOdd; n != 0 {
		t.Errorf("%d indexes count as odd", n)
	}
}

// TestOddIndexDoesNotCutABatch has an index in memory lead into the middle of a batch, at the end of a read as well as
// at its beginning.
func TestOddIndexDoesNotCutABatch(t *testing.T) {
	b := newBench(t, nil, func(b *bench) { b.cfg.IndexInterval = 1 })
	for i := range 10 {
		b.append(2, int64(1000+10*i))
	}
	b.sync()
	x := b.log.view.Load().segments[0].idx.Load()
	if err := x.with(func(bytes []byte) {
		for i := range int(x.count.Load()) {
			e := entryAt(bytes, i)
			e.Position += 7
			putEntry(bytes[indexHeaderSize+i*indexEntrySize:], e)
		}
	}); err != nil {
		t.Fatal(err)
	}
	all, err := b.log.Read(context.Background(), 0, b.end(), 1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	var ends []int // of the batches, in bytes
	for _, batch := range batches(t, all) {
		ends = append(ends, batch.Size())
		if n := len(ends); n > 1 {
			ends[n-1] += ends[n-2]
		}
	}
	for maxBytes := 0; maxBytes < ends[9]+20; maxBytes += 11 {
		c, err := b.log.Read(context.Background(), 0, b.end(), maxBytes, false)
		if err != nil {
			t.Fatal(err)
		}
		want, whole := slices.BinarySearch(ends, maxBytes)
		if whole {
			want++
		}
		if n := len(batches(t, c)); n != want {
			t.Fatalf("%d batches in %d bytes, want %d", n, maxBytes, want)
		}
	}
	for at := range b.end() {
		b.wantAll(at, b.end())
	}
}

// TestReadsGoOnWithoutRoomForAnIndex reads segments whose indexes are gone on a disk that takes no more.
func TestReadsGoOnWithoutRoomForAnIndex(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EROFS} {
		t.Run(cause.Error(), func(t *testing.T) {
			full := false
			b := newBench(t, vfs.Inject(vfs.OS(), func(op vfs.Op) error {
				if full && (op.Kind == vfs.OpCreate || op.Kind == vfs.OpAllocate || op.Kind == vfs.OpWrite) {
					return cause
				}
				return nil
			}), func(b *bench) {
				b.path = filepath.Join(t.TempDir(), "data")
				b.cfg.SegmentBytes = 1000
			})
			for i := range 20 {
				b.append(2, int64(1000+i))
			}
			b.close()
			for _, name := range glob(t, filepath.Join(b.path, testID.Folder()), "*"+indexSuffix) {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			b.open()
			full = true
			b.wantAll(0, 40)
			if at, ts, err := b.log.OffsetForTime(context.Background(), 1010); at != 19 || ts != 1010 || err != nil {
				t.Fatal(at, ts, err)
			}
			if at, ts, err := b.log.MaxTimestamp(context.Background()); at != 39 || ts != 1020 || err != nil {
				t.Fatal(at, ts, err)
			}
			if _, _, err := b.log.Append(context.Background(), 1, numbered(t, 40, 1, 0, 0, record.None)); !errors.Is(err, cause) {
				t.Fatal(err)
			}
			full = false
		})
	}
}

// TestReadsTellWhatFollows reads runs of all lengths: a run that another batch follows, as far as it was to be read, tells where
// that one begins; the last one does not, whatever lies behind.
func TestReadsTellWhatFollows(t *testing.T) {
	const batches, records, otherwise = 8, 3, 1 << 40
	b := newBench(t, nil, nil)
	for range batches {
		b.append(records, 1000)
	}
	to := b.end() - records // the last batch is not to be read
	whole, err := b.log.Read(context.Background(), 0, to, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Release()
	if whole.Followed || whole.Below(otherwise) != otherwise {
		t.Error("what lies behind all that may be read is told")
	}
	for n := 1; n < whole.Length; n += 20 {
		c, err := b.log.Read(context.Background(), 0, to, n, true)
		if err != nil {
			t.Fatal(err)
		}
		run, err := c.AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		next := record.Offset(0)
		for len(run) > 0 {
			var batch record.Batch
			if batch, run, err = record.Parse(run); err != nil {
				t.Fatal(err)
			}
			next = batch.NextOffset()
		}
		if got := c.Below(otherwise); !c.Followed || got != next {
			t.Errorf("%d bytes that end at %d lie below %d (followed: %t)", c.Length, next, got, c.Followed)
		}
		c.Release()
	}
}
