package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
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
	var held atomic.Bool // no sync of data comes through
	release := make(chan struct{})
	b := &bench{t: t, path: "/data", cfg: testConfig()}
	b.fs = vfs.Inject(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpSyncFile && filepath.Ext(op.Name) == dataSuffix && held.Load() {
			<-release
		}
		return nil
	})
	b.cfg.FlushMessages, b.cfg.FlushInterval, b.cfg.IndexInterval, b.cfg.SegmentBytes = 1<<30, time.Hour, 1<<20, 6000
	b.open()
	b.append(2, 9000)
	if err := b.log.Save(ctx, "fold", 2, nil); err != nil {
		t.Fatal(err)
	}
	held.Store(true)
	var cuts []*vfs.Crashable
	for ts := int64(1); b.segments() < 3; ts++ {
		if _, _, err := b.log.Append(ctx, 1, numbered(t, b.end(), 2, ts, 700, record.None)); err != nil {
			t.Fatal(err)
		}
		if b.segments() == 2 {
			for seed := range uint64(40) {
				cuts = append(cuts, disk.Crash(rand.New(rand.NewPCG(seed, uint64(ts)))))
			}
		}
	}
	close(release)
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

// TestEmptyFilesBehindATornSegment has a power cut tear a segment behind which two data files are empty: one in the middle,
// which is passed over, and the last. Neither is to be there when the log has grown beyond their names.
func TestEmptyFilesBehindATornSegment(t *testing.T) {
	b := newBooted(t, func(b *bench) { b.cfg.FlushMessages = 1000 })
	for range 4 {
		b.append(1, 0)
	}
	c := b.crashCopy(func(folder string) {
		removeAll(t, folder, "*.idx")
		edit(t, filepath.Join(folder, segmentName(0)+dataSuffix), func(data []byte) []byte { return data[:len(data)-1] })
		for _, base := range []record.Offset{4, 6} {
			if err := os.WriteFile(filepath.Join(folder, segmentName(base)+dataSuffix), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}, otherBoot)
	c.wantBounds(0, 3, 3)
	c.append(5, 0)
	c.reopen()
	c.wantAll(0, 8)
}

// TestEmptyFileWhereTheLogBegins has records deleted up to where a segment begins that a power cut then leaves empty, with
// another begun behind it, and a file from below the log start still there. The log goes on at its start.
func TestEmptyFileWhereTheLogBegins(t *testing.T) {
	b := newBooted(t, func(b *bench) { b.cfg.FlushMessages = 1000 })
	for range 3 {
		b.append(2, 0)
	}
	b.sync()
	old, err := os.ReadFile(filepath.Join(b.path, testID.Folder(), segmentName(0)+dataSuffix))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.log.DeleteBefore(context.Background(), 6); err != nil {
		t.Fatal(err)
	}
	b.close() // its checkpoint tells that all below the log start was synced
	c := b.crashCopy(func(folder string) {
		for name, data := range map[string][]byte{segmentName(0): old[:len(old)/3], segmentName(8): nil} {
			if err := os.WriteFile(filepath.Join(folder, name+dataSuffix), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}, otherBoot)
	c.wantBounds(6, 6, 6)
	c.append(5, 0)
	c.reopen()
	c.wantAll(6, 11)
}
