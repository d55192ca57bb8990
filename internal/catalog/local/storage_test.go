package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"segue/internal/catalog"
	"segue/storage"
	"segue/storage/vfs"
)

// onDisk opens a catalog in a directory on a file system.
func onDisk(fs vfs.FS) (*storage.Dir, *Store, error) {
	dir, err := storage.OpenDir("/data", storage.Options{FS: fs, Reserve: 64 << 10})
	if err != nil {
		return nil, nil, err
	}
	config := storage.Config{
		SegmentBytes: 4000, SegmentAge: time.Hour, IndexBytes: 1 << 12, IndexInterval: 1 << 10,
		FlushMessages: 1, RetentionBytes: -1, RetentionAge: -1,
	}
	events := NewEvents()
	log, err := dir.Open(context.Background(), storage.Identity{Topic: Topic, Partition: Partition}, config, events, nil)
	if err != nil {
		return nil, nil, err
	}
	store, err := Open(context.Background(), log, events, Options{SnapshotAfter: 20})
	return dir, store, err
}

// TestEveryCrashPointOnStorage cuts the power, or kills the process, at operations on the disk all through a run of
// random commits on the real log. Whatever is found then is the image after a commit that was asked for, whole, and
// none that was answered is missing.
func TestEveryCrashPointOnStorage(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r, crashes := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
			disk := vfs.NewCrashable()
			var (
				mu     sync.Mutex // guards what follows
				acked  int64      // version of the image that the last answered commit led to
				images = map[int64]*catalog.Image{}
				checks []func() // of disks as a crash left them
			)
			points := 0
			found := func(fs vfs.FS, acked int64) func() {
				return func() {
					dir, store, err := onDisk(fs)
					if err != nil {
						t.Fatal(err)
					}
					image := store.Image()
					if image.Version() < acked {
						t.Fatalf("version %d is on disk, %d was answered", image.Version(), acked)
					}
					if want := images[image.Version()]; want == nil && image.Version() > 0 || want != nil && !image.Equal(want) {
						t.Fatalf("version %d is not the image that was committed", image.Version())
					}
					points++
					if err := store.Close(); err != nil {
						t.Fatal(err)
					}
					if err := dir.Close(); err != nil {
						t.Fatal(err)
					}
				}
			}
			fs := vfs.Inject(disk, func(op vfs.Op) error {
				mu.Lock()
				defer mu.Unlock()
				if op.Kind != vfs.OpRead && op.Kind != vfs.OpStat && crashes.IntN(5) == 0 {
					checks = append(checks, found(disk.Kill(), acked), found(disk.Crash(crashes), acked))
				}
				return nil
			})
			for range 5 { // starts
				dir, store, err := onDisk(fs)
				if err != nil {
					t.Fatal(err)
				}
				images[store.Image().Version()] = store.Image()
				for range 30 {
					changes := randomChanges(r, store.Image())
					next, err := store.Image().Apply(changes...)
					if err != nil {
						t.Fatal(err)
					}
					mu.Lock()
					images[next.Version()] = next
					mu.Unlock()
					if _, err := store.Commit(t.Context(), catalog.Any, changes...); err != nil {
						t.Fatal(err)
					}
					mu.Lock()
					acked = next.Version()
					pending := checks
					checks = nil
					mu.Unlock()
					for _, check := range pending {
						check()
					}
				}
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
				if err := dir.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if points < 100 {
				t.Fatalf("only %d crash points", points)
			}
		})
	}
}
