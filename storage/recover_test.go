package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// crashCopy copies the bench's directory as a process kill would leave it and opens the copy.
func (b *bench) crashCopy(change func(folder string), bootID string) *bench {
	b.t.Helper()
	to := filepath.Join(b.t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(b.path)); err != nil {
		b.t.Fatal(err)
	}
	if change != nil {
		change(filepath.Join(to, testID.Folder()))
	}
	c := &bench{t: b.t, fs: bootedFS{vfs.OS(), bootID}, path: to, opts: b.opts, cfg: b.cfg}
	b.t.Cleanup(func() {
		if c.dir != nil {
			c.close()
		}
	})
	c.open()
	return c
}

// bootedFS is a file system on a machine with a given boot id.
type bootedFS struct {
	vfs.FS
	id string
}

func (f bootedFS) BootID() string { return f.id }

const (
	sameBoot  = "same"
	otherBoot = "other"
)

func newBooted(t *testing.T, change func(*bench)) *bench {
	return newBench(t, bootedFS{vfs.OS(), sameBoot}, func(b *bench) {
		b.path = filepath.Join(t.TempDir(), "data")
		if change != nil {
			change(b)
		}
	})
}

func edit(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDamage holds what recovery does about damaged files against a table. The log has 40 batches of 3 records in
// segments of about 10 batches.
func TestDamage(t *testing.T) {
	const all = record.Offset(120)
	lastSegment := func(t *testing.T, folder string) string {
		t.Helper()
		logs, err := filepath.Glob(filepath.Join(folder, "*.log"))
		if err != nil || len(logs) < 3 {
			t.Fatal(logs, err)
		}
		return logs[len(logs)-1]
	}
	batchAt := func(data []byte, n int) (from, to int) {
		for range n + 1 {
			h, err := record.ParseHeader(data[to:])
			if err != nil {
				panic(err)
			}
			from, to = to, to+h.Size()
		}
		return from, to
	}
	tests := []struct {
		name     string
		boot     string
		change   func(t *testing.T, folder string)
		unsound  int // records that cannot be read: in the middle of the last segment
		lost     int // records lost at the end, their offsets not reused
		cut      int // records cut from the end, their offsets reused
		keepsCut bool
	}{
		{name: "nothing", boot: sameBoot},
		{name: "nothing, other boot", boot: otherBoot},
		{name: "half a batch behind the end", boot: otherBoot, keepsCut: true, change: func(t *testing.T, folder string) {
			edit(t, lastSegment(t, folder), func(b []byte) []byte { return append(b, b[:70]...) })
		}},
		{name: "half a batch behind the end, same boot", boot: sameBoot, keepsCut: true, change: func(t *testing.T, folder string) {
			edit(t, lastSegment(t, folder), func(b []byte) []byte { return append(b, b[:70]...) })
		}},
		{name: "zeros behind the end", boot: otherBoot, keepsCut: true, change: func(t *testing.T, folder string) {
			edit(t, lastSegment(t, folder), func(b []byte) []byte { return append(b, make([]byte, 4096)...) })
		}},
		{name: "flipped bit in the middle of what was synced", boot: otherBoot, unsound: 3, change: func(t *testing.T, folder string) {
			edit(t, lastSegment(t, folder), func(b []byte) []byte {
				from, to := batchAt(b, 2)
				b[(from+to)/2] ^= 4
				return b
			})
		}},
		{name: "length of a synced batch", boot: otherBoot, unsound: 3, change: func(t *testing.T, folder string) {
			edit(t, lastSegment(t, folder), func(b []byte) []byte {
				from, _ := batchAt(b, 1)
				b[from+9] ^= 0x40
				return b
			})
		}},
		{name: "synced end cut off", boot: otherBoot, lost: 3, change: func(t *testing.T, folder string) {
			edit(t, lastSegment(t, folder), func(b []byte) []byte { return b[:len(b)-10] })
		}},
		{name: "index missing", boot: otherBoot, change: func(t *testing.T, folder string) {
			removeAll(t, folder, "*.idx")
		}},
		{name: "index of garbage", boot: otherBoot, change: func(t *testing.T, folder string) {
			for _, f := range glob(t, folder, "*.idx") {
				edit(t, f, func(b []byte) []byte {
					for i := range b {
						b[i] ^= 0x5a
					}
					return b
				})
			}
		}},
		{name: "index cut to nothing", boot: otherBoot, change: func(t *testing.T, folder string) {
			for _, f := range glob(t, folder, "*.idx") {
				edit(t, f, func([]byte) []byte { return nil })
			}
		}},
		{name: "index with a flipped bit in each entry", boot: otherBoot, change: func(t *testing.T, folder string) {
			for _, f := range glob(t, folder, "*.idx") {
				edit(t, f, func(b []byte) []byte {
					for i := indexHeaderSize + 1; i < len(b); i += indexEntrySize {
						b[i] ^= 1
					}
					return b
				})
			}
		}},
		{name: "checkpoint of garbage", boot: otherBoot, change: func(t *testing.T, folder string) {
			edit(t, filepath.Join(folder, "fold.checkpoint"), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}},
		{name: "stray files", boot: otherBoot, change: func(t *testing.T, folder string) {
			for _, name := range []string{"notes.txt", "123.log", "00000000000000000abc.log", "x.tmp", "leader-epoch-checkpoint"} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte("stray"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}},
	}
	for _, clean := range []bool{false, true} {
		for _, tt := range tests {
			name := tt.name
			if clean {
				name += ", after a clean stop"
			}
			t.Run(name, func(t *testing.T) {
				if clean && (tt.unsound > 0) {
					t.Skip("a clean stop leaves a checkpoint, so what lies below is looked at when it is read")
				}
				b := newBooted(t, func(b *bench) { b.cfg.SegmentBytes = 1500 })
				for i := range 40 {
					b.append(3, int64(1000+i))
					if i == 20 {
						b.sync()
						if err := b.log.Save(context.Background(), "fold", b.end(), []byte("sum")); err != nil {
							t.Fatal(err)
						}
					}
				}
				b.sync()
				if clean {
					b.close()
					defer b.open()
				}
				c := b.crashCopy(func(folder string) {
					if tt.change != nil {
						tt.change(t, folder)
					}
				}, tt.boot)
				end := all - record.Offset(tt.cut)
				c.wantBounds(0, end, end)
				if got := c.readable(); len(got) != int(end)-tt.unsound-tt.lost {
					t.Fatalf("%d records can be read of %d: %v", len(got), end, got)
				}
				cuts, _ := filepath.Glob(filepath.Join(c.path, testID.Folder(), "*.cut"))
				if (len(cuts) > 0) != tt.keepsCut {
					t.Fatalf("cut files: %v", cuts)
				}
				if base := c.append(3, 9000); base != end {
					t.Fatalf("next append at %d, want %d", base, end)
				}
				c.sync()
				if got := c.readable(); len(got) != int(end)-tt.unsound-tt.lost+3 {
					t.Fatalf("%d records can be read after an append: %v", len(got), got)
				}
				before := c.readable()
				c.reopen()
				if got := c.readable(); len(got) != len(before) {
					t.Fatalf("%d records after a reopen, %d before", len(got), len(before))
				}
			})
		}
	}
}

// readable returns the offsets that can be read, going on behind what cannot.
func (b *bench) readable() (out []record.Offset) {
	b.t.Helper()
	start, committed, _ := b.log.Bounds()
	for from := start; from < committed; {
		c, err := b.log.Read(context.Background(), from, committed, 1, true)
		var corrupt *CorruptError
		if errors.As(err, &corrupt) {
			from++
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if c.Length == 0 {
			b.t.Fatalf("nothing at %d of %d", from, committed)
		}
		for _, batch := range batches(b.t, c) {
			for o := max(from, batch.BaseOffset()); o < batch.NextOffset(); o++ {
				out = append(out, o)
			}
			from = batch.NextOffset()
		}
	}
	return out
}

func glob(t *testing.T, folder, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return names
}

func removeAll(t *testing.T, folder, pattern string) {
	t.Helper()
	for _, name := range glob(t, folder, pattern) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFolderOfAnotherTopicIsSetAside(t *testing.T) {
	b := newBench(t, nil, nil)
	b.append(3, 1000)
	b.close()
	recreated := testID
	recreated.TopicID[0]++
	d, err := OpenDir(b.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Open(context.Background(), recreated, b.cfg, &events{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, end := l.Bounds(); end != 0 {
		t.Fatalf("the new topic begins at %d", end)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	stray := glob(t, b.path, "*-stray")
	if len(stray) != 1 || len(glob(t, stray[0], "*.log")) != 1 {
		t.Fatal(stray)
	}
	b.open()
	b.wantBounds(0, 0, 0)
}

func TestSecondBrokerIsRefused(t *testing.T) {
	b := newBench(t, nil, nil)
	if _, err := OpenDir(b.path, Options{}); !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), b.path) {
		t.Fatal(err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	b := newBench(t, nil, nil)
	b.close()
	path := filepath.Join(b.path, runFile)
	edit(t, path, func([]byte) []byte { return []byte(`{"version": 99}`) })
	if err := b.tryOpen(); !errors.Is(err, ErrUnsupported) {
		t.Fatal(err)
	}
	edit(t, path, func([]byte) []byte { return []byte(`{"version": 1}`) })
	b.open()
}

// TestLargestTimestampBelowACheckpoint cuts the power after a checkpoint of a segment without an index entry, which
// knows no timestamps, and a roll: where the next segment is set aside, the one with the checkpoint is the last again.
func TestLargestTimestampBelowACheckpoint(t *testing.T) {
	ctx := context.Background()
	disk := vfs.NewCrashable()
	b := &bench{t: t, fs: disk, path: "/data", cfg: testConfig()}
	b.cfg.FlushMessages, b.cfg.FlushInterval, b.cfg.IndexInterval, b.cfg.SegmentBytes = 1<<30, time.Hour, 1<<20, 6000
	b.open()
	b.append(2, 9000)
	if err := b.log.Save(ctx, "fold", 2, nil); err != nil {
		t.Fatal(err)
	}
	var cuts []*vfs.Crashable
	for ts := int64(1); b.segments() < 3; ts++ {
		if _, _, err := b.log.Append(ctx, 1, numbered(t, b.end(), 2, ts, 700, record.None)); err != nil {
			t.Fatal(err)
		}
		if b.segments() == 2 {
			for seed := range uint64(20) {
				cuts = append(cuts, disk.Crash(rand.New(rand.NewPCG(seed, uint64(ts)))))
			}
		}
	}
	b.close()
	asides := 0
	for _, cut := range cuts {
		b := &bench{t: t, fs: cut, path: "/data", cfg: b.cfg}
		b.open()
		if b.segments() == 1 && b.dir.Stats().Cuts > 0 {
			asides++
		}
		if at, ts, err := b.log.MaxTimestamp(ctx); at != 1 || ts != 9001 || err != nil {
			t.Fatalf("the largest timestamp is %d at offset %d, %v", ts, at, err)
		}
		b.close()
	}
	if asides == 0 {
		t.Fatal("no cut has made the first segment the last")
	}
}
