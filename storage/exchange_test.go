package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"segue/storage/record"
	"segue/storage/vfs"
)

// plantedSwaps are ways to get the exchange of segments wrong.
var plantedSwaps = map[string]func(fsys vfs.FS, disk *vfs.Crashable) vfs.FS{
	"segments are removed before what takes their place is committed": func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, rename: func(fsys vfs.FS, from, to string) error {
			if base, next, ok := parseSwap(filepath.Base(to)); ok {
				if err := removeRange(fsys, filepath.Dir(to), base, next); err != nil {
					return err
				}
			}
			return fsys.Rename(from, to)
		}}
	},
	"the folder is not synced between the commit and the removal": func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, syncDir: func(fsys vfs.FS, name string) error {
			if swaps, replaced := lookForSwap(fsys, name); swaps > 0 && replaced > 0 {
				return nil
			}
			return fsys.SyncDir(name)
		}}
	},
	"the folder is not synced between the removal and the last name": func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, syncDir: func(fsys vfs.FS, name string) error {
			if swaps, replaced := lookForSwap(fsys, name); swaps > 0 && replaced == 0 {
				return nil
			}
			return fsys.SyncDir(name)
		}}
	},
	"what takes the place of others is not synced": func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, sync: func(f vfs.File) error {
			if strings.HasSuffix(f.Name(), swapTempSuffix) {
				return nil
			}
			return f.Sync()
		}}
	},
	"the index of the old segment is taken": func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
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
	},
	"the old files stay": func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS {
		return &tampered{FS: fsys, remove: func(fsys vfs.FS, name string) error {
			if swaps, _ := lookForSwap(fsys, filepath.Dir(name)); swaps > 0 && filepath.Ext(name) == dataSuffix {
				return nil
			}
			return fsys.Remove(name)
		}}
	},
}

// careless is a Keeper that has compaction drop what it must not.
type careless struct{}

func (careless) CleanLimit() record.Offset { return 1 << 62 }

func (careless) Forget(context.Context, []record.Offset) error { return nil }

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

// TestExchangeFindsPlantedBugs proves that TestCrashDuringAnExchange can fail.
func TestExchangeFindsPlantedBugs(t *testing.T) {
	for name, tamper := range plantedSwaps {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(50) {
				var found error
				synctest.Test(t, func(t *testing.T) { found = exchange(t, seed, tamper) })
				if found != nil {
					t.Logf("seed %d: %v", seed, found)
					return
				}
			}
			t.Error("not found")
		})
	}
}

// TestCrashPointsFindCarelessCompaction proves that TestEveryCrashPoint would notice if the last record of a key went.
func TestCrashPointsFindCarelessCompaction(t *testing.T) {
	plantedBug{policy: policy{1, false}, keeper: careless{}, thins: true}.find(t)
}

// TestCrashDuringAnExchange kills the process and cuts the power at each operation of a round that makes one segment of
// four, and looks at what an open makes of what is left.
func TestCrashDuringAnExchange(t *testing.T) {
	for seed := range uint64(orLong(10, 1000)) {
		synctest.Test(t, func(t *testing.T) {
			if err := exchange(t, seed, nil); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}

// crashes are the disks that are left if the process is killed, or the power cut, at each operation of something.
type crashes struct {
	disk *vfs.Crashable
	r    *rand.Rand
	on   atomic.Bool
	mu   sync.Mutex // guards what follows
	left []crashed
}

type crashed struct {
	disk *vfs.Crashable
	op   string
}

// fs is the disk, with a crash before each operation that changes it while on.
func (c *crashes) fs() vfs.FS {
	return vfs.Inject(c.disk, func(op vfs.Op) error {
		if c.on.Load() && changes(op.Kind) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.left = append(c.left, crashed{c.disk.Kill(), fmt.Sprintf("a kill at %q", op)})
			for range 3 {
				c.left = append(c.left, crashed{c.disk.Crash(c.r), fmt.Sprintf("a power cut at %q", op)})
			}
		}
		return nil
	})
}

// exchange compacts a log, crashes at each operation, and holds what it finds then against the log before and after.
// Some of what is left it crashes once more at each operation of the open.
func exchange(t *testing.T, seed uint64, tamper func(fsys vfs.FS, disk *vfs.Crashable) vfs.FS) error {
	if tamper == nil {
		tamper = func(fsys vfs.FS, _ *vfs.Crashable) vfs.FS { return fsys }
	}
	r := rand.New(rand.NewPCG(seed, 5))
	first := &crashes{disk: vfs.NewCrashable(), r: r}
	b := &bench{t: t, fs: tamper(first.fs(), first.disk), path: "/data", cfg: compactConfig(), opts: compactOptions()}
	b.open()
	for i := range 4 {
		b.put("a=1", "b=1")
		b.put(fmt.Sprintf("x%d=1", i), "c=1")
		if i == 1 {
			if err := b.log.Save(context.Background(), "fold", b.end(), nil); err != nil {
				return err
			}
		}
		b.seal()
	}
	b.put("hot=1")
	b.sync()
	before := b.contents()
	first.on.Store(true)
	b.compact()
	first.on.Store(false)
	after := b.contents()
	if slices.Equal(before, after) {
		return errors.New("nothing was compacted")
	}
	if err := b.dir.Close(); err != nil {
		return err
	}
	look := func(fsys vfs.FS, disk *vfs.Crashable) error {
		return (&bench{t: t, fs: tamper(fsys, disk), path: b.path, cfg: b.cfg, opts: b.opts}).found(before, after)
	}
	for _, one := range first.left {
		swaps, _ := lookForSwap(one.disk, filepath.Join(b.path, testID.Folder()))
		again := &crashes{disk: one.disk.Kill(), r: r}
		again.on.Store(swaps > 0 && r.IntN(orLong(8, 1)) == 0)
		if err := look(again.fs(), again.disk); err != nil {
			return fmt.Errorf("%s: %w", one.op, err)
		}
		again.on.Store(false)
		for _, two := range again.left {
			if err := look(two.disk, two.disk); err != nil {
				return fmt.Errorf("%s, then %s: %w", one.op, two.op, err)
			}
		}
	}
	return nil
}

// found opens a log twice and looks whether it is what it was before or after something, whole and tidy.
func (b *bench) found(before, after []string) error {
	for range 2 {
		if err := b.tryOpen(); err != nil {
			return err
		}
		start, _, end := b.log.Bounds()
		all, err := readBatches(b.log, start, end, 300)
		if err == nil {
			err = errors.Join(b.log.checkIndexes(), b.log.checkEdges())
		}
		var got []string
		for _, batch := range all {
			line, wrong := describeBatch(batch)
			got, err = append(got, line), errors.Join(err, wrong)
		}
		s := b.dir.Stats()
		switch {
		case err != nil:
		case s.Damage+s.Cuts+s.IndexesRebuilt != 0:
			err = fmt.Errorf("%d stretches damaged, %d ends cut, %d indexes made again", s.Damage, s.Cuts, s.IndexesRebuilt)
		case !slices.Equal(got, before) && !slices.Equal(got, after):
			err = fmt.Errorf("the log holds\n%s", strings.Join(got, "\n"))
		}
		if err = errors.Join(err, b.dir.Close()); err != nil {
			return err
		}
	}
	entries, err := b.fs.ReadDir(filepath.Join(b.path, testID.Folder()))
	for _, e := range entries {
		if strings.HasSuffix(e.Name, tempSuffix) || strings.HasSuffix(e.Name, swapSuffix) {
			return fmt.Errorf("%s is left", e.Name)
		}
	}
	return err
}
