package storage

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"segue/storage/vfs"
)

// plantedBug is a bug that a run of crash points must find.
type plantedBug struct {
	policy policy
	tamper func(fsys vfs.FS, disk *vfs.Crashable) vfs.FS
	keeper Keeper
	thins  bool // it takes compaction
}

// planted are ways in which a file system, or who calls it, gets durability wrong.
var planted = map[string]plantedBug{
	"files are never synced": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, sync: func(vfs.File) error { return nil }}
	}},
	"files are never synced, and syncs run behind": {policy: policy{5, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, sync: func(vfs.File) error { return nil }}
	}},
	"files are never synced, and syncs run on time": {policy: policy{math.MaxInt64, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, sync: func(vfs.File) error { return nil }}
	}},
	"names are never synced": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, syncDir: func(vfs.FS, string) error { return nil }}
	}},
	"names of logs are never synced": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, syncDir: func(fsys vfs.FS, name string) error {
			if name == dataPath {
				return nil
			}
			return fsys.SyncDir(name)
		}}
	}},
	"a bulk sync does nothing": {policy: policy{1, true}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, bulk: func(vfs.Syncer) error { return nil }}
	}},
	"a bulk sync forgets the names": {policy: policy{1, true}, tamper: func(fsys vfs.FS, disk *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, bulk: func(vfs.Syncer) error { return syncContents(disk, dataPath) }}
	}},
	"what is replaced is not synced before it gets its name": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, sync: func(f vfs.File) error {
			if strings.HasSuffix(f.Name(), tempSuffix) {
				return nil
			}
			return f.Sync()
		}}
	}},
	"a rename is a remove first": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, rename: func(fsys vfs.FS, from, to string) error {
			return errors.Join(removeIfThere(fsys, to), fsys.Rename(from, to))
		}}
	}},
	"a rename is a copy that is not synced": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, rename: copyInstead}
	}},
	"nothing is ever cut off": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, truncate: func(vfs.File, int64) error { return nil }}
	}},
	"a write loses its last byte and says nothing": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		var n atomic.Int32 // logs are closed side by side
		return &tampered{FS: fsys, write: func(f vfs.File, p []byte, off int64) (int, error) {
			if n.Add(1)%20 > 0 || filepath.Ext(f.Name()) != dataSuffix {
				return f.WriteAt(p, off)
			}
			_, err := f.WriteAt(p[:len(p)-1], off)
			return len(p), err
		}}
	}},
	"a write goes to the wrong place": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		var n atomic.Int32
		return &tampered{FS: fsys, write: func(f vfs.File, p []byte, off int64) (int, error) {
			if n.Add(1)%20 == 0 && filepath.Ext(f.Name()) == dataSuffix {
				off++
			}
			return f.WriteAt(p, off)
		}}
	}},
	"a sync is done when the next one is asked for": {policy: policy{1, false}, tamper: func(fsys vfs.FS, disk *vfs.Crashable) vfs.FS {
		var mu sync.Mutex
		last := ""
		return &tampered{FS: fsys, sync: func(f vfs.File) error {
			mu.Lock()
			defer mu.Unlock()
			name := last
			last = f.Name()
			return syncContents(disk, name)
		}}
	}},
	"indexes are synced and data is not": {policy: policy{5, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, sync: func(f vfs.File) error {
			if filepath.Ext(f.Name()) == dataSuffix {
				return nil
			}
			return f.Sync()
		}}
	}},
}

// syncContents makes the contents of a file durable, or of all files in a directory, and no names.
func syncContents(disk *vfs.Crashable, name string) error {
	info, err := disk.Stat(name)
	if err != nil {
		return nil // it is gone
	}
	if !info.Dir {
		f, err := disk.OpenFile(name)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	}
	entries, err := disk.ReadDir(name)
	for _, e := range entries {
		err = errors.Join(err, syncContents(disk, filepath.Join(name, e.Name)))
	}
	return err
}

// copyInstead moves a file by a copy.
func copyInstead(fsys vfs.FS, from, to string) error {
	if info, err := fsys.Stat(from); err != nil || info.Dir {
		return fsys.Rename(from, to)
	}
	b, err := readFile(fsys, from, 1<<20)
	if err != nil {
		return err
	}
	if err := removeIfThere(fsys, to); err != nil {
		return err
	}
	f, err := fsys.Create(to)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close(), fsys.Remove(from))
}

// TestCrashPointsFindPlantedBugs proves that TestEveryCrashPoint can fail: with each of these faults in the file system
// it does.
func TestCrashPointsFindPlantedBugs(t *testing.T) {
	for name, bug := range planted {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bug.find(t)
		})
	}
}

// find runs workloads with the bug until one of them fails.
func (bug plantedBug) find(t *testing.T) {
	for seed := range uint64(40) {
		var found error
		synctest.Test(t, func(t *testing.T) {
			e := &explorer{t: t, policy: bug.policy, tamper: bug.tamper, keeper: bug.keeper, thins: bug.thins, tally: newTally()}
			e.r, e.every, e.cuts = rand.New(rand.NewPCG(seed, 4)), 4, 2
			found = e.run(seed, 2, 15)
		})
		if found != nil {
			t.Logf("seed %d: %v", seed, found)
			return
		}
	}
	t.Error("not found")
}

// plantedFailures are ways to get failures of a disk wrong.
var plantedFailures = map[string]struct {
	fault  fault
	policy policy
	tamper func(fsys vfs.FS, disk *vfs.Crashable) vfs.FS
}{
	"a failed sync is tried again, and trusted": {failOne(vfs.OpSyncFile), policy{1, false}, func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, sync: func(f vfs.File) error {
			if f.Sync() == nil {
				return nil
			}
			return f.Sync()
		}}
	}},
	"a failed bulk sync is tried again, and trusted": {failOne(vfs.OpBulkSync), policy{1, true}, func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, bulk: func(s vfs.Syncer) error {
			if s.Sync() == nil {
				return nil
			}
			return s.Sync()
		}}
	}},
	"the failure of a writeback is not told": {faults["EIO of the writeback"], policy{1, false}, func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, sync: func(f vfs.File) error {
			_ = f.Sync()
			return nil
		}}
	}},
	"the failure of a directory's sync is not told": {failOne(vfs.OpSyncDir), policy{1, false}, func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, syncDir: func(fsys vfs.FS, name string) error {
			_ = fsys.SyncDir(name)
			return nil
		}}
	}},
	"the failure of a write is not told": {faults["ENOSPC for a while"], policy{1, false}, func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, write: func(f vfs.File, p []byte, off int64) (int, error) {
			_, _ = f.WriteAt(p, off)
			return len(p), nil
		}}
	}},
	"the failure of a truncation is not told": {fault{cause: syscall.EIO, ops: 7, kinds: []vfs.Kind{vfs.OpWrite, vfs.OpTruncate}}, policy{1, false}, func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, truncate: func(f vfs.File, size int64) error {
			_ = f.Truncate(size)
			return nil
		}}
	}},
}

// failOne fails one operation of a kind.
func failOne(kind vfs.Kind) fault { return fault{cause: syscall.EIO, ops: 1, kinds: []vfs.Kind{kind}} }

// TestFailedOperationsFindPlantedBugs proves that TestEveryFailedOperation can fail: where failures are handled in one of
// these ways it does, because something is lost.
func TestFailedOperationsFindPlantedBugs(t *testing.T) {
	for name, bug := range plantedFailures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				for n := 20 + int(seed); n < 400; n += 20 {
					var found error
					synctest.Test(t, func(t *testing.T) {
						f := &failing{fault: bug.fault, disk: vfs.NewCrashable(), n: n, tamper: bug.tamper}
						found = f.run(t, bug.policy, seed)
					})
					if found != nil {
						t.Logf("seed %d, operation %d: %v", seed, n, found)
						return
					}
				}
			}
			t.Error("not found")
		})
	}
}
