package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"segue/storage/record"
	"segue/storage/vfs"
)

// TestLateReaderOfADeletedTopic has a reader let go of a segment that was dropped after the topic was deleted and made
// again: the files that bear the segment's name by then are another topic's.
func TestLateReaderOfADeletedTopic(t *testing.T) {
	ctx := context.Background()
	b := newBench(t, nil, func(b *bench) { b.cfg.SegmentBytes = 1000 })
	for range 20 {
		b.append(2, 0)
	}
	b.sync()
	chunk, err := b.log.Read(ctx, 0, b.end(), 100, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.log.DeleteBefore(ctx, 30); err != nil {
		t.Fatal(err)
	}
	if err := b.dir.Delete(ctx, testID); err != nil {
		t.Fatal(err)
	}
	again := testID
	again.TopicID[0]++
	if b.log, err = b.dir.Open(ctx, again, b.cfg, b.ev, nil); err != nil {
		t.Fatal(err)
	}
	b.append(3, 0)
	b.sync()
	chunk.Release()
	if err := b.dir.Close(); err != nil { // by then all that is to be removed has been
		t.Fatal(err)
	}
	d, err := OpenDir(b.path, b.opts)
	if err != nil {
		t.Fatal(err)
	}
	if b.log, err = d.Open(ctx, again, b.cfg, b.ev, nil); err != nil {
		t.Fatal(err)
	}
	b.dir = d
	b.wantAll(0, 3)
	b.wantBounds(0, 3, 3)
	if err := d.Delete(ctx, again); err != nil {
		t.Fatal(err)
	}
}

// TestLongestTopicName deletes a topic, and sets one aside, whose name is as long as Kafka allows: the folder's name
// with what is appended then is longer than a file system takes.
func TestLongestTopicName(t *testing.T) {
	ctx := context.Background()
	id := Identity{Topic: strings.Repeat("x", 249), TopicID: [16]byte{7}, Partition: 10_000}
	b := newBench(t, nil, nil)
	put := func(id Identity) {
		t.Helper()
		l, err := b.dir.Open(ctx, id, b.cfg, &events{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := l.Append(ctx, 1, numbered(t, 0, 1, 0, 0, 0)); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	put(id)
	again := id
	again.TopicID[0]++
	put(again) // sets the first one aside
	if err := b.dir.Delete(ctx, again); err != nil {
		t.Fatal(err)
	}
	if ids, err := b.dir.List(ctx); err != nil || len(ids) != 0 {
		t.Fatal(ids, err)
	}
	if stray := glob(t, b.path, "*"+straySuffix); len(stray) != 1 {
		t.Fatal(stray)
	}
}

// TestLogStartThatWasNotMadeDurable has the process die while it deletes records, between the new log start and its
// sync, and the power cut at each operation of the next open: no segment may be gone before the log start is durable.
func TestLogStartThatWasNotMadeDurable(t *testing.T) {
	disk := vfs.NewCrashable()
	var broken atomic.Bool
	b := &bench{t: t, path: "/data", cfg: crashConfig(1)}
	b.fs = vfs.Inject(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpSyncDir && broken.Load() {
			return syscall.EIO
		}
		return nil
	})
	b.open()
	for range 30 {
		if _, _, err := b.log.Append(context.Background(), 1, numbered(t, b.end(), 1, 0, 2000, record.None)); err != nil {
			t.Fatal(err)
		}
	}
	b.sync()
	h := b.remember()
	h.asked = []record.Offset{20}
	broken.Store(true)
	if err := b.log.DeleteBefore(context.Background(), 20); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	next := disk.Kill()
	broken.Store(false)
	b.close()
	var cuts []*vfs.Crashable
	r := rand.New(rand.NewPCG(1, 1))
	b.fs = vfs.Inject(next, func(op vfs.Op) error {
		cuts = append(cuts, next.Crash(r), next.Crash(r))
		return nil
	})
	b.open()
	b.wantBounds(20, 30, 30)
	seen := cuts
	// Asked for again it is not granted before it is durable.
	if err := b.log.DeleteBefore(context.Background(), 20); err != nil {
		t.Fatal(err)
	}
	for _, left := range []*vfs.Crashable{next.Crash(r), next.Crash(r), next.Crash(r)} {
		deleted := h.snapshot()
		deleted.start = 20
		b.mustSurvive(left, deleted, cut)
	}
	b.close()
	for _, left := range seen {
		b.mustSurvive(left, h, cut)
	}
}

// TestDeleteIsAskedForAgain has the sync of a directory fail in the middle of a delete. The delete fails, and granted when
// it is asked for again it is durable; so it is by the next run if the process dies in between.
func TestDeleteIsAskedForAgain(t *testing.T) {
	for _, again := range []string{"in the same run", "in the next run"} {
		t.Run(again, func(t *testing.T) {
			disk := vfs.NewCrashable()
			var broken atomic.Bool
			b := &bench{t: t, path: "/data", cfg: testConfig()}
			b.fs = vfs.Inject(disk, func(op vfs.Op) error {
				if op.Kind == vfs.OpSyncDir && broken.Load() {
					return syscall.EIO
				}
				return nil
			})
			b.open()
			b.append(3, 0)
			b.sync()
			broken.Store(true)
			if err := b.dir.Delete(context.Background(), testID); !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			broken.Store(false)
			dir := b.dir
			if again == "in the next run" {
				disk = disk.Kill()
				next, err := OpenDir(b.path, Options{FS: disk, Reserve: 4 << 10})
				if err != nil {
					t.Fatal(err)
				}
				defer next.Close()
				dir = next
			}
			if err := dir.Delete(context.Background(), testID); err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 1))
			for range 20 {
				entries, err := disk.Crash(r).ReadDir(b.path)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if e.Name == testID.Folder() {
						t.Fatal("the folder of a deleted topic is back")
					}
				}
			}
			b.close()
		})
	}
}

// TestDeleteOfAnUnreadableTopicID deletes a topic whose folder does not tell any more whose it is. The name is free
// afterwards, and what was in the folder is kept: it may be another's.
func TestDeleteOfAnUnreadableTopicID(t *testing.T) {
	for what, text := range map[string]string{
		"empty": "", "no id": "version: 0\n", "no base64": "version: 0\ntopic_id: ???\n",
		"newer version": "version: 7\n", "far too long": strings.Repeat("x", 2000),
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, nil, nil)
			b.append(3, 0)
			b.sync()
			edit(t, filepath.Join(b.path, testID.Folder(), metadataFile), func([]byte) []byte { return []byte(text) })
			if err := b.dir.Delete(context.Background(), testID); err != nil {
				t.Fatal(err)
			}
			if stray := glob(t, b.path, testID.Folder()+".*"+straySuffix); len(stray) != 1 {
				t.Fatalf("set aside: %v", stray)
			}
			if err := b.dir.Delete(context.Background(), testID); err != nil {
				t.Fatal(err)
			}
			again := testID
			again.TopicID[0]++
			l, err := b.dir.Open(context.Background(), again, b.cfg, b.ev, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, end := l.Bounds(); end != 0 {
				t.Fatalf("a new topic ends at %d", end)
			}
		})
	}
}

// TestDeleteThatWasNotMadeDurable has the process die between the renaming of a deleted topic's folder and its sync.
// Once the next run is open the folder is gone for good: nobody would look for it again.
func TestDeleteThatWasNotMadeDurable(t *testing.T) {
	disk := vfs.NewCrashable()
	var killed *vfs.Crashable
	b := &bench{t: t, path: "/data", cfg: testConfig()}
	b.fs = vfs.Inject(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpSyncDir && killed == nil {
			if _, err := disk.Stat("/data/" + testID.Folder()); err != nil {
				killed = disk.Kill()
			}
		}
		return nil
	})
	killed = disk // not yet
	b.open()
	b.append(2, 0)
	b.sync()
	killed = nil
	if err := b.dir.Delete(context.Background(), testID); err != nil {
		t.Fatal(err)
	}
	b.close()

	b.fs = killed
	b.open()
	for seed := range uint64(20) {
		cut := killed.Crash(rand.New(rand.NewPCG(seed, 1)))
		if _, err := cut.Stat("/data/" + testID.Folder()); err == nil {
			t.Fatal("the deleted folder is back")
		}
	}
	b.close()
}
