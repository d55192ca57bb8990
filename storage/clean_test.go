package storage

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

func TestRetention(t *testing.T) {
	const batches = 30 // of 2 records, each segment holds 5
	now := time.Now().UnixMilli()
	tests := []struct {
		name      string
		configure func(c *Config)
		start     record.Offset
	}{
		{"none", func(c *Config) {}, 0},
		{"by size", func(c *Config) { c.RetentionBytes = 1000 }, 40},
		{"by size, all", func(c *Config) { c.RetentionBytes = 0 }, 60},
		{"by size, off", func(c *Config) { c.Delete, c.RetentionBytes = false, 0 }, 0},
		{"by age", func(c *Config) { c.RetentionAge = 15 * time.Minute }, 30},
		{"by age, all", func(c *Config) { c.RetentionAge = 30 * time.Second }, 60},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil, func(b *bench) { b.cfg.SegmentBytes = 5 * batchSize(t) })
			for i := range batches {
				age := time.Duration(batches-i) * time.Minute
				b.append(2, now-age.Milliseconds())
			}
			b.sync()
			c := b.cfg
			tt.configure(&c)
			b.log.Configure(c)
			if err := b.dir.Clean(context.Background()); err != nil {
				t.Fatal(err)
			}
			b.wantBounds(tt.start, 60, 60)
			b.wantAll(tt.start, 60)
			if _, err := b.log.Read(context.Background(), tt.start-1, 60, 100, true); !errors.Is(err, ErrOffsetOutOfRange) {
				t.Fatal(err)
			}
			b.cfg = c
			b.reopen()
			b.wantBounds(tt.start, 60, 60)
			if base := b.append(2, now); base != 60 {
				t.Fatalf("append at %d", base)
			}
		})
	}
}

func batchSize(t *testing.T) int64 { return int64(numbered(t, 10, 2, 0, 20, record.None).Size()) }

func TestReaderOutlivesRetentionAndDelete(t *testing.T) {
	b := newBench(t, nil, func(b *bench) {
		b.cfg.SegmentBytes = 1000
		b.opts.OpenFiles = 1
	})
	for i := range 40 {
		b.append(2, int64(i))
	}
	b.sync()
	read := func() record.Chunk {
		start, end, _ := b.log.Bounds()
		c, err := b.log.Read(context.Background(), start, end, 1<<20, true)
		if err != nil || c.Length == 0 {
			t.Fatal(c, err)
		}
		return c
	}
	first := read()
	if err := b.log.DeleteBefore(context.Background(), 70); err != nil {
		t.Fatal(err)
	}
	second := read()
	if err := b.dir.Delete(context.Background(), testID); err != nil {
		t.Fatal(err)
	}
	if got := batches(t, first); got[0].BaseOffset() != 0 {
		t.Fatal(got[0].BaseOffset())
	}
	if got := batches(t, second); got[0].NextOffset() <= 70-2 {
		t.Fatal(got[0].BaseOffset())
	}
	if _, err := b.log.Read(context.Background(), 70, 80, 100, true); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, _, err := b.log.Append(context.Background(), 1, numbered(t, 0, 1, 0, 0, record.None)); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	b.reopen()
	b.wantBounds(0, 0, 0)
	if left, _ := filepath.Glob(filepath.Join(b.path, "*-delete")); len(left) != 0 {
		t.Fatal(left)
	}
}

func TestDeleteLeavesAnotherTopicOfThatName(t *testing.T) {
	b := newBench(t, nil, nil)
	b.append(3, 0)
	old := testID
	old.TopicID[5]++
	if err := b.dir.Delete(context.Background(), old); err == nil {
		t.Fatal("the folder is open under another id")
	}
	b.close()
	d, err := OpenDir(b.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Delete(context.Background(), old), d.Close()); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.wantBounds(0, 3, 3)
}

// TestFlushInterval shows the flush policy by time and by count, on a clock that the test owns.
func TestFlushInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int32
		fsys := vfs.Inject(vfs.NewCrashable(), func(op vfs.Op) error {
			if op.Kind == vfs.OpSyncFile && filepath.Ext(op.Name) == dataSuffix {
				syncs.Add(1)
			}
			return nil
		})
		b := &bench{t: t, fs: fsys, path: "/data", cfg: testConfig()}
		b.cfg.FlushMessages, b.cfg.FlushInterval = 10, 3*time.Second
		b.open()
		defer b.close()
		b.append(4, 0)
		b.wantBounds(0, 4, 4) // committed means written
		time.Sleep(3*time.Second - 1)
		synctest.Wait()
		if syncs.Load() != 0 {
			t.Fatalf("%d syncs before the interval has passed", syncs.Load())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if syncs.Load() != 1 {
			t.Fatalf("%d syncs after the interval", syncs.Load())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if syncs.Load() != 1 {
			t.Fatalf("%d syncs of an idle log", syncs.Load())
		}
		b.append(9, 0)
		synctest.Wait()
		if syncs.Load() != 1 {
			t.Fatal("synced below the count")
		}
		b.append(1, 0)
		synctest.Wait()
		if syncs.Load() != 2 {
			t.Fatalf("%d syncs after ten records", syncs.Load())
		}
	})
}

// TestListWithATopicIDThatCannotBeRead damages the topic id of one of two logs. The other is none the worse.
func TestListWithATopicIDThatCannotBeRead(t *testing.T) {
	b := newBench(t, nil, nil)
	b.append(1, 0)
	other := b.more(1)[0]
	if _, _, err := other.Append(context.Background(), 1, numbered(t, 0, 1, 0, 0, record.None)); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(b.path, other.id.Folder(), metadataFile), func([]byte) []byte { return []byte("version: 0\ntopic_id: ?\n") })
	ids, err := b.dir.List(context.Background())
	unknown := Identity{Topic: other.id.Topic}
	if err != nil || len(ids) != 2 || ids[0] != unknown || ids[1] != testID {
		t.Fatal(ids, err)
	}
	var corrupt *CorruptError
	if _, err := b.dir.Open(context.Background(), other.id, b.cfg, &events{}, nil); !errors.As(err, &corrupt) {
		t.Fatal(err)
	}
}
