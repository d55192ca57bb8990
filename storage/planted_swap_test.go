package storage

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"segue/storage/record"
	"segue/storage/vfs"
)

// plantedSwaps are ways to get the exchange of segments wrong.
var plantedSwaps = map[string]plantedBug{
	"segments are removed before what takes their place is committed": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, rename: func(fsys vfs.FS, from, to string) error {
			if base, next, ok := parseSwap(filepath.Base(to)); ok {
				if err := removeRange(fsys, filepath.Dir(to), base, next); err != nil {
					return err
				}
			}
			return fsys.Rename(from, to)
		}}
	}},
	"the folder is not synced between the commit and the removal": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, syncDir: func(fsys vfs.FS, name string) error {
			if swaps, replaced := lookForSwap(fsys, name); swaps > 0 && replaced > 0 {
				return nil
			}
			return fsys.SyncDir(name)
		}}
	}},
	"the folder is not synced between the removal and the last name": {policy: policy{1, false}, from: 5, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, syncDir: func(fsys vfs.FS, name string) error {
			if swaps, replaced := lookForSwap(fsys, name); swaps > 0 && replaced == 0 {
				return nil
			}
			return fsys.SyncDir(name)
		}}
	}},
	"what takes the place of others is not synced": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, sync: func(f vfs.File) error {
			if strings.HasSuffix(f.Name(), swapTempSuffix) {
				return nil
			}
			return f.Sync()
		}}
	}},
	"the index of the old segment is taken": {policy: policy{1, false}, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		old := map[string][]byte{}
		return &tampered{FS: fsys, remove: func(fsys vfs.FS, name string) error {
			if strings.HasSuffix(name, indexSuffix) {
				if b, err := readFile(fsys, name, 1<<20); err == nil {
					old[name] = b
				}
			}
			return fsys.Remove(name)
		}, rename: func(fsys vfs.FS, from, to string) error {
			if _, _, ok := parseSwap(strings.TrimSuffix(filepath.Base(from), indexTempSuffix) + swapSuffix); ok && old[to] != nil {
				return errors.Join(fsys.Remove(from), writeNew(fsys, to, old[to]))
			}
			return fsys.Rename(from, to)
		}}
	}},
	"the old files stay": {policy: policy{1, false}, from: 13, tamper: func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, remove: func(fsys vfs.FS, name string) error {
			if swaps, _ := lookForSwap(fsys, filepath.Dir(name)); swaps > 0 && filepath.Ext(name) == dataSuffix {
				return nil
			}
			return fsys.Remove(name)
		}}
	}},
	"the last record of a key may go": {policy: policy{1, false}, keeper: careless{}},
}

// careless is a Keeper that has compaction drop what it must not.
type careless struct{}

func (careless) CleanLimit() record.Offset { return 1 << 62 }

func (careless) Keep(b record.Batch) Verdict {
	if b.BaseOffset()%5 == 3 {
		return DropAll
	}
	return KeepLatest
}

// lookForSwap counts the files of a folder that take the place of others, and the data files that they take it of.
func lookForSwap(fsys vfs.FS, folder string) (swaps, replaced int) {
	entries, err := fsys.ReadDir(folder)
	if err != nil {
		return 0, 0
	}
	all := listSwaps(entries)
	for _, e := range entries {
		if base, ok := parseSegmentName(e.Name); ok {
			if _, gone := swapAround(all, base); gone {
				replaced++
			}
		}
	}
	return len(all), replaced
}

func removeRange(fsys vfs.FS, folder string, base, next record.Offset) error {
	entries, err := fsys.ReadDir(folder)
	for _, e := range entries {
		if at, ok := parseSegmentName(e.Name); ok && base <= at && at < next {
			err = errors.Join(err, fsys.Remove(filepath.Join(folder, e.Name)))
		}
	}
	return errors.Join(err, fsys.SyncDir(folder))
}

// TestCrashPointsFindPlantedSwaps proves that TestEveryCrashPoint would find these bugs of compaction.
func TestCrashPointsFindPlantedSwaps(t *testing.T) {
	for name, bug := range plantedSwaps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bug.thins = true
			bug.find(t)
		})
	}
}
