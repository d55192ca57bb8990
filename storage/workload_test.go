package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// workload does random things to a few logs of one directory and knows what it was promised. Its steps are those of one
// goroutine; readers, the flusher and the cleaner run beside it. It lives in a bubble of testing/synctest.
type workload struct {
	t      testing.TB
	r      *rand.Rand
	fs     vfs.FS
	cfg    Config
	opts   Options
	keeper Keeper // of all logs; may be nil
	dir    *Dir   // nil while it could not be opened
	epoch  int32

	eager  bool // compaction is most of what happens
	faulty bool // the disk may fail to read

	mu    sync.Mutex // guards what follows and all histories; whoever copies the disk holds it
	slots [slotCount]*slot
	past  []*history // of topics that are gone
	ids   uint64     // topic ids given out
	fault error      // what readers and Events found wrong
	news  chan struct{}
}

// slotCount is how many logs a workload has at a time.
const slotCount = 3

// slot is the place of a topic, under one name for one after the other.
type slot struct {
	*history
	log *Log // nil while it could not be opened
}

const dataPath = "/data"

func newWorkload(t testing.TB, seed uint64, fsys vfs.FS, cfg Config, opts Options) *workload {
	w := &workload{t: t, r: rand.New(rand.NewPCG(seed, 1)), fs: fsys, cfg: cfg, opts: opts, news: make(chan struct{}, 1)}
	for i := range w.slots {
		w.slots[i] = &slot{history: w.newTopic(i)}
	}
	return w
}

func (w *workload) newTopic(i int) *history {
	w.ids++
	id := Identity{Topic: "orders", Partition: int32(i)}
	binary.BigEndian.PutUint64(id.TopicID[:], w.ids)
	return &history{id: id, thins: w.cfg.Compact}
}

// fork returns the workload as it goes on from another disk, with promises as they are now. The caller holds mu.
func (w *workload) fork(seed uint64, fsys vfs.FS) *workload {
	f := &workload{t: w.t, r: rand.New(rand.NewPCG(seed, 2)), fs: fsys, cfg: w.cfg, opts: w.opts, keeper: w.keeper, eager: w.eager, epoch: w.epoch, ids: w.ids,
		news: make(chan struct{}, 1)}
	for i, s := range w.slots {
		s.note(w.cfg)
		f.slots[i] = &slot{history: s.snapshot()}
	}
	for _, h := range w.past {
		f.past = append(f.past, h.snapshot())
	}
	return f
}

// note takes down what the log itself takes for promised. The caller holds workload.mu.
func (s *slot) note(cfg Config) {
	if s.log == nil {
		return
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.durable = max(s.durable, s.log.synced.offset)
	if cfg.FlushMessages == 1 {
		s.durable = max(s.durable, s.log.commit.offset)
	}
}

// listener is the Events of one log.
type listener struct {
	w *workload
	h *history
}

func (e listener) Committed(next record.Offset) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if next <= e.h.told || !slices.ContainsFunc(e.h.tries, func(t try) bool { return t.next == next }) {
		e.w.fault = errors.Join(e.w.fault, fmt.Errorf("%s: committed %d is told after %d", e.h.id, next, e.h.told))
	}
	e.h.told = next
	if e.w.cfg.FlushMessages == 1 {
		e.h.durable = max(e.h.durable, next)
	}
	e.w.tell()
}

func (e listener) Failed(error) { e.w.tell() }

func (w *workload) tell() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// open opens the directory and every log, holds each against its history, and takes what they show for promised.
func (w *workload) open(after how) (err error) {
	w.opts.FS = w.fs
	dir, err := OpenDir(dataPath, w.opts)
	if err != nil {
		return err
	}
	w.dir = dir
	w.epoch++
	if err = w.checkList(after); err == nil {
		for _, s := range w.slots {
			if err = w.openSlot(s, after); err != nil {
				break
			}
		}
	}
	if err != nil {
		return errors.Join(err, w.close())
	}
	return nil
}

// checkList looks for folders of topics that are not to be there any more.
func (w *workload) checkList(after how) error {
	ids, err := w.dir.List(context.Background())
	if err != nil {
		return err
	}
	for _, id := range ids {
		s := w.slots[id.Partition]
		known := id == s.id || id.TopicID == [16]byte{} && (s.firm(after) == 0 || w.faulty)
		for _, h := range w.past {
			known = known || id == h.id && h.fate == displaced
		}
		if !known {
			return fmt.Errorf("folder %s has the topic id %x, after %s", id, id.TopicID[:8], after)
		}
	}
	return nil
}

// openSlot opens the log of a slot, after it has finished a delete that was begun.
func (w *workload) openSlot(s *slot, after how) error {
	if s.fate == deleting {
		if err := w.finishDelete(s); err != nil {
			return err
		}
	}
	l, err := w.dir.Open(context.Background(), s.id, w.cfg, listener{w, s.history}, w.keeper)
	if err != nil {
		return err
	}
	// It takes w.mu only for a moment: reading goes through the file system, whose hook needs it.
	w.mu.Lock()
	h := s.snapshot()
	w.mu.Unlock()
	if err := h.verify(l, after, w.r); err != nil {
		return errors.Join(fmt.Errorf("%s after %s: %w", s.id, after, err), l.Close())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	*s.history = *h
	s.log = l
	for _, old := range w.past {
		if old.fate == displaced && old.id.Partition == s.id.Partition {
			old.fate = aside
		}
	}
	return nil
}

// close closes the directory, which syncs all that was written unless something had failed.
func (w *workload) close() error {
	if w.dir == nil {
		return nil
	}
	err := w.dir.Close()
	w.dir = nil
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.slots {
		s.note(w.cfg)
		if err == nil && s.log != nil {
			s.durable = s.written
		}
		s.log = nil
	}
	return err
}

// follow reads what is committed as soon as it is, until the context ends, and holds it against what was written.
func (w *workload) follow(ctx context.Context) {
	read := map[*history]record.Offset{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.news:
		}
		var open []slot
		w.mu.Lock()
		for _, s := range w.slots {
			if s.log != nil {
				open = append(open, *s)
			}
		}
		w.mu.Unlock()
		for _, s := range open {
			start, committed, _ := s.log.Bounds()
			from := max(read[s.history], start)
			all, err := readBatches(s.log, from, committed, 2000)
			w.mu.Lock()
			next, wrong := s.seen(all, from, committed)
			if read[s.history] = next; w.cfg.FlushMessages == 1 {
				s.durable = max(s.durable, next)
			}
			if wrong == nil && err == nil && next < committed {
				wrong = fmt.Errorf("read up to %d, committed is %d", next, committed)
			}
			if wrong != nil {
				w.fault = errors.Join(w.fault, fmt.Errorf("reader of %s: %w", s.id, wrong))
			}
			w.mu.Unlock()
		}
	}
}

// seen holds what a reader has got against what was written there.
func (h *history) seen(all []record.Batch, from, committed record.Offset) (record.Offset, error) {
	next := from
	for _, b := range all {
		t, err := h.match(b, committed)
		if err != nil {
			return next, err
		}
		if t.base > next && !h.thins || t.next <= next || t.next > committed {
			return next, fmt.Errorf("read %d to %d at %d, committed is %d", t.base, t.next, next, committed)
		}
		next = t.next
	}
	return next, nil
}

// start has a reader run until the function that it returns is called.
func (w *workload) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { w.follow(ctx) })
	return func() { cancel(); group.Wait() }
}

// settle waits until nothing moves any more, and looks at what must be so by then.
func (w *workload) settle() error {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.slots {
		if s.log == nil || s.log.usable() != nil {
			continue
		}
		s.note(w.cfg)
		start, committed, end := s.log.Bounds()
		if behind := end - s.durable; int64(behind) >= w.cfg.FlushMessages || committed != end || s.told != end {
			return fmt.Errorf("%s: %d records wait for a sync; bounds %d, %d, %d; told %d", s.id, behind, start, committed, end, s.told)
		}
	}
	return w.fault
}

// leftovers looks, in a directory that was closed, for what should have been removed.
func (w *workload) leftovers() error {
	top, err := w.fs.ReadDir(dataPath)
	if err != nil {
		return err
	}
	for _, e := range top {
		if strings.HasSuffix(e.Name, deletedSuffix) || strings.HasSuffix(e.Name, tempSuffix) {
			return fmt.Errorf("%s is left over", e.Name)
		}
		if !e.Dir || strings.HasSuffix(e.Name, straySuffix) {
			continue
		}
		files, err := w.fs.ReadDir(dataPath + "/" + e.Name)
		if err != nil {
			return err
		}
		for _, f := range files {
			if strings.HasSuffix(f.Name, tempSuffix) || strings.HasSuffix(f.Name, swapSuffix) {
				return fmt.Errorf("%s/%s is left over", e.Name, f.Name)
			}
		}
	}
	return nil
}

// contents returns what is in the files of a folder with one of these suffixes.
func contents(fsys vfs.FS, folder string, suffixes ...string) (map[string]string, error) {
	all := map[string]string{}
	entries, err := fsys.ReadDir(folder)
	if err != nil {
		return all, nil // there is none
	}
	for _, e := range entries {
		for _, suffix := range suffixes {
			if !strings.Contains(e.Name, suffix) {
				continue
			}
			f, err := fsys.Open(folder + "/" + e.Name)
			if err != nil {
				return nil, err
			}
			b, err := io.ReadAll(io.NewSectionReader(f, 0, e.Size))
			if err = errors.Join(err, f.Close()); err != nil {
				return nil, err
			}
			all[e.Name] = string(b)
		}
	}
	return all, nil
}

// pause lets time pass. When more than the flush interval is over everything must be synced.
func (w *workload) pause(d time.Duration) error {
	time.Sleep(d)
	if err := w.settle(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.slots {
		if s.log != nil && s.log.usable() == nil && d >= w.cfg.FlushInterval && s.durable < s.written {
			return fmt.Errorf("%s: %d is written and %d synced, %v after", s.id, s.written, s.durable, d)
		}
	}
	return nil
}
