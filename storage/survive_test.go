package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"segue/storage/record"
	"segue/storage/vfs"
)

// survive opens everything on a disk as a crash left it, holds it against what was promised, goes on with it for a
// moment, and opens it once more. Origin is what was in its files before the last crash, if that was durable. The workload
// is at an end afterwards.
func (w *workload) survive(after how, origin *[slotCount]map[string]string) error {
	before, err := w.files()
	if err != nil {
		return err
	}
	if err := w.open(after); err != nil {
		return err
	}
	defer func() { _ = w.close() }()
	if err := errors.Join(w.sound(), w.checkCuts(before, false)); err != nil {
		return fmt.Errorf("after %s: %w", after, err)
	}
	if origin != nil {
		if err := w.checkCuts(*origin, true); err != nil {
			return fmt.Errorf("after %s while recovering: %w", after, err)
		}
	}
	odd := w.oddIndexes()
	for _, s := range w.slots {
		if err := errors.Join(w.append(s), w.sync(s)); err != nil {
			return fmt.Errorf("append after %s: %w", after, err)
		}
	}
	if err := w.close(); err != nil {
		return fmt.Errorf("close after %s: %w", after, err)
	}
	if err := w.open(closed); err != nil {
		return fmt.Errorf("open once more: %w", err)
	}
	if s := w.dir.Stats(); s.Cuts != 0 || s.IndexesRebuilt > odd {
		return fmt.Errorf("open once more: %d ends cut, %d indexes made again", s.Cuts, s.IndexesRebuilt)
	}
	if err := errors.Join(w.sound(), w.close(), w.leftovers()); err != nil {
		return fmt.Errorf("open once more: %w", err)
	}
	return w.surviveAside(after)
}

// oddIndexes counts the hot segments that have no index until they are sealed, because what was behind them was cut off.
func (w *workload) oddIndexes() (n int64) {
	for _, s := range w.slots {
		if hot := s.log.hot; hot != nil && hot.idx.Load().odd.Load() {
			n++
		}
	}
	return n
}

// sound says whether the directory has met anything that no crash may leave.
func (w *workload) sound() error {
	if s := w.dir.Stats(); s.Damage+s.CorruptReads+s.IndexesOdd+int64(s.Failed) != 0 {
		return fmt.Errorf("%d stretches damaged, %d reads of them, %d indexes odd, %d logs failed", s.Damage, s.CorruptReads, s.IndexesOdd, s.Failed)
	}
	return nil
}

// files returns the content of the data files of each topic that lives, and of what was cut from them.
func (w *workload) files() (all [slotCount]map[string]string, err error) {
	for i, s := range w.slots {
		folder := filepath.Join(dataPath, s.id.Folder())
		if id, known, _ := readMetadata(w.fs, folder); s.fate != alive || known && id != s.id.TopicID {
			continue
		}
		if all[i], err = contents(w.fs, folder, dataSuffix, cutSuffix, swapSuffix); err != nil {
			return all, err
		}
		takePlaces(all[i])
	}
	return all, nil
}

// takePlaces does to the contents of a folder what an open does with segments that are to take the place of others.
func takePlaces(files map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		from, to, ok := parseSwap(name)
		if !ok {
			continue
		}
		for other := range files {
			if base, isData := parseSegmentName(other); isData && from <= base && base < to {
				delete(files, other)
			}
		}
		files[segmentName(from)+dataSuffix] = files[name]
	}
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.Contains(name, swapSuffix) })
}

// checkCuts accounts for every byte that was in a data file: it is still there, it was moved to a file of what was cut,
// or it lies below the log start. Nothing that was promised is among what was cut, and no other file was made, unless
// that was begun more than once.
func (w *workload) checkCuts(before [slotCount]map[string]string, again bool) error {
	after, err := w.files()
	if err != nil {
		return err
	}
	for i, s := range w.slots {
		fresh := slices.DeleteFunc(slices.Sorted(maps.Keys(after[i])), func(name string) bool {
			_, old := before[i][name]
			return old || !strings.Contains(name, cutSuffix)
		})
		for _, name := range slices.Sorted(maps.Keys(before[i])) {
			was, is := before[i][name], after[i][name]
			base, isData := parseSegmentName(name)
			_, there := after[i][name]
			switch {
			case !isData && was != is:
				return fmt.Errorf("%s: %s is not what it was", s.id, name)
			case !isData, strings.HasPrefix(is, was) && there, !there && base < s.start && s.below(base, after[i]):
				continue
			case !strings.HasPrefix(was, is):
				return fmt.Errorf("%s: %s had %d bytes and has %d others", s.id, name, len(was), len(is))
			}
			rest := was[len(is):]
			at := slices.IndexFunc(fresh, func(cut string) bool { return after[i][cut] == rest })
			if at < 0 {
				return fmt.Errorf("%s: %d bytes of %s are gone, and in none of %v", s.id, len(rest), name, fresh)
			}
			fresh = slices.Delete(fresh, at, at+1)
			if err := s.nothingPromised([]byte(rest)); err != nil {
				return fmt.Errorf("%s: cut from %s: %w", s.id, name, err)
			}
		}
		if len(fresh) > 0 && !again {
			return fmt.Errorf("%s: %v were made of nothing", s.id, fresh)
		}
	}
	return nil
}

// below says whether a segment that began at base lies wholly below the log start, by the files that are left.
func (h *history) below(base record.Offset, files map[string]string) bool {
	for name := range files {
		if other, ok := parseSegmentName(name); ok && base < other && other <= h.start {
			return true
		}
	}
	return false
}

// nothingPromised looks for batches that the log holds in what was cut from it.
func (h *history) nothingPromised(cut []byte) error {
	for len(cut) > 0 {
		b, rest, err := record.Parse(cut)
		if err != nil || b.Verify() != nil {
			return nil // torn, and so is all behind it
		}
		if b.BaseOffset() < h.written {
			if t, err := h.match(b, h.written); err == nil {
				return fmt.Errorf("offsets %d to %d are in the log, too", t.base, t.next-1)
			}
		}
		cut = rest
	}
	return nil
}

// surviveAside opens the topics that were set aside in the place of those that took their names. What was promised of
// them is in their folders.
func (w *workload) surviveAside(after how) error {
	for _, h := range w.past {
		if h.fate != aside || len(h.tries) == 0 || h.firm(after) == 0 {
			continue
		}
		if err := w.bringBack(h, after); err != nil {
			return fmt.Errorf("%s, which was set aside, after %s: %w", h.id, after, err)
		}
	}
	return nil
}

func (w *workload) bringBack(h *history, after how) error {
	entries, err := w.fs.ReadDir(dataPath)
	if err != nil {
		return err
	}
	folder, found := filepath.Join(dataPath, h.id.Folder()), 0
	for _, e := range entries {
		path := filepath.Join(dataPath, e.Name)
		if !e.Dir {
			continue
		}
		if id, known, err := readMetadata(w.fs, path); err != nil {
			return err
		} else if !known || id != h.id.TopicID {
			continue
		}
		found++
		if err := errors.Join(w.fs.RemoveAll(folder), w.fs.Rename(path, folder)); err != nil {
			return err
		}
	}
	if found != 1 {
		return fmt.Errorf("there are %d folders of it", found)
	}
	dir, err := OpenDir(dataPath, w.opts)
	if err != nil {
		return err
	}
	l, err := dir.Open(context.Background(), h.id, w.cfg, listener{w, h}, nil)
	if err == nil {
		err = h.verify(l, after, w.r)
	}
	return errors.Join(err, dir.Close())
}

// crashConfig is a configuration of small segments.
func crashConfig(flushMessages int64) Config {
	c := testConfig()
	c.SegmentBytes, c.IndexBytes, c.FlushMessages = 9000, 200, flushMessages
	return c
}

// remember returns the history of a bench's log, by what is in it now. All of it was promised.
func (b *bench) remember() *history {
	b.t.Helper()
	start, _, end := b.log.Bounds()
	all, err := readBatches(b.log, start, end, 3000)
	if err != nil {
		b.t.Fatal(err)
	}
	h := &history{id: b.log.id, start: start, written: end, durable: end}
	for _, batch := range all {
		h.tries = append(h.tries, try{
			base: batch.BaseOffset(), next: batch.NextOffset(), data: slices.Clone(batch.Bytes()), time: batch.BaseTimestamp(),
			epoch: batch.LeaderEpoch(),
		})
	}
	return h
}

// mustSurvive opens the one log on a disk as a crash left it, holds it against its history, and goes on with it. It
// returns where the log ended.
func (b *bench) mustSurvive(disk vfs.FS, h *history, after how) record.Offset {
	b.t.Helper()
	c := &bench{t: b.t, fs: disk, path: b.path, cfg: b.cfg}
	c.open()
	defer c.close()
	if err := h.snapshot().verify(c.log, after, rand.New(rand.NewPCG(1, 1))); err != nil {
		b.t.Fatal(err)
	}
	if d := c.dir.Stats().Damage; d != 0 {
		b.t.Fatalf("%d stretches count as damaged", d)
	}
	start, _, end := c.log.Bounds()
	if base := c.append(2, 0); base != end {
		b.t.Fatalf("append at %d, want %d", base, end)
	}
	c.sync()
	c.wantAll(start, end+2)
	return end
}
