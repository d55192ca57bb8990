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
	"syscall"
	"testing"
	"testing/synctest"

	"segue/storage/record"
	"segue/storage/vfs"
)

// fault is something that goes wrong with a disk from the n-th operation on.
type fault struct {
	cause error
	ops   int        // how many of the operations that it concerns fail; negative for all
	kinds []vfs.Kind // that it concerns; all if empty
	tell  bool       // the operations are done, and what was written before to one file is lost, as only its next sync tells
}

const forGood = -1

var (
	needsRoom       = []vfs.Kind{vfs.OpWrite, vfs.OpAllocate, vfs.OpCreate, vfs.OpMkdir, vfs.OpMkdirAll}
	needsDescriptor = []vfs.Kind{vfs.OpOpen, vfs.OpOpenFile, vfs.OpCreate, vfs.OpReadDir, vfs.OpSyncDir, vfs.OpLock, vfs.OpRemoveAll}

	faults = map[string]fault{
		"EIO once":             {cause: syscall.EIO, ops: 1},
		"ENOSPC once":          {cause: syscall.ENOSPC, ops: 1},
		"EMFILE once":          {cause: syscall.EMFILE, ops: 1, kinds: needsDescriptor},
		"EIO for a while":      {cause: syscall.EIO, ops: 7},
		"ENOSPC for a while":   {cause: syscall.ENOSPC, ops: 9, kinds: needsRoom},
		"EIO for good":         {cause: syscall.EIO, ops: forGood},
		"EIO of all syncs":     {cause: syscall.EIO, ops: forGood, kinds: []vfs.Kind{vfs.OpSyncFile, vfs.OpBulkSync}},
		"ENOSPC for good":      {cause: syscall.ENOSPC, ops: forGood, kinds: needsRoom},
		"EMFILE for good":      {cause: syscall.EMFILE, ops: forGood, kinds: needsDescriptor},
		"EIO of the writeback": {cause: syscall.EIO, ops: 1, tell: true},
	}
)

// failing is a disk on which a fault happens.
type failing struct {
	fault
	disk *vfs.Crashable
	w    *workload
	n    int

	tamper func(fsys vfs.FS, disk *vfs.Crashable) vfs.FS // what is put between the workload and the disk, and excuses logs from the letter

	mu    sync.Mutex // guards what follows; taken outside workload.mu
	r     *rand.Rand
	met   []vfs.Op // what has failed
	over  bool
	lost  map[string]bool // files whose next sync has to fail
	doubt bool            // the next bulk sync has to fail
	bad   map[*Log]bool   // logs with a failed sync of their own data
	syncs int             // how many syncs of any kind have failed
}

// hook fails what is to fail. A sync that fails loses what it was to make durable, and no later one brings it back.
func (f *failing) hook(op vfs.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return nil
	}
	due := op.N >= f.n && (f.ops == forGood || len(f.met) < f.ops) && (len(f.kinds) == 0 || slices.Contains(f.kinds, op.Kind))
	if due {
		f.met = append(f.met, op)
	}
	if due && f.tell {
		if err := f.lose(); err != nil {
			return err
		}
	}
	late := f.late(op)
	if !late && (!due || f.tell) {
		return nil
	}
	switch op.Kind {
	case vfs.OpWrite:
		if f.r.IntN(2) == 0 {
			return &vfs.ShortWrite{N: f.r.IntN(int(op.Length)), Err: f.cause}
		}
	case vfs.OpSyncFile:
		f.syncs++
		delete(f.lost, op.Name)
		f.blame(op.Name)
		return errors.Join(f.cause, f.disk.Drop(op.Name))
	case vfs.OpBulkSync:
		f.syncs++
		if !late {
			if err := f.lose(); err != nil {
				return err
			}
		}
		f.doubt = false // it is told once
	case vfs.OpSyncDir:
		f.syncs++
	}
	return f.cause
}

// sync is that of a file. What was lost while it was under way is for it to tell.
func (f *failing) sync(file vfs.File) error {
	return errors.Join(file.Sync(), f.lateFor(vfs.Op{Kind: vfs.OpSyncFile, Name: file.Name()}))
}

func (f *failing) bulk(s vfs.Syncer) error {
	return errors.Join(s.Sync(), f.lateFor(vfs.Op{Kind: vfs.OpBulkSync}))
}

// lateFor fails a sync that was not to fail when it began.
func (f *failing) lateFor(op vfs.Op) error {
	f.mu.Lock()
	late := f.late(op)
	f.mu.Unlock()
	if !late {
		return nil
	}
	return f.hook(op) // it concerns no operation by its number
}

// late says whether a sync has to fail for what was lost before. The caller holds mu.
func (f *failing) late(op vfs.Op) bool {
	return op.Kind == vfs.OpSyncFile && f.lost[op.Name] || op.Kind == vfs.OpBulkSync && f.doubt
}

// lose has the disk lose what was written to the hot segment of a log and not synced.
func (f *failing) lose() error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	for _, i := range f.r.Perm(slotCount) {
		if l := f.w.slots[i].log; l != nil {
			if all := l.view.Load().segments; len(all) > 0 {
				name := all[len(all)-1].path + dataSuffix
				f.lost[name], f.doubt = true, true
				return f.disk.Drop(name)
			}
		}
	}
	return nil
}

// blame notes that a log which is open has to fail.
func (f *failing) blame(name string) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	for _, s := range f.w.slots {
		if s.log != nil && filepath.Ext(name) == dataSuffix && filepath.Dir(name) == s.log.folder {
			f.bad[s.log] = true
		}
	}
}

// judge says whether an error is one that the fault explains.
func (f *failing) judge(err error) error {
	var wrong *violation
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return err
	case errors.Is(err, f.cause), errors.Is(err, ErrFailed), errors.Is(err, ErrClosed):
		return nil
	}
	return fmt.Errorf("nothing explains it: %w", err)
}

// letter holds the logs against the letter of what a failure means: that of a sync is final for its log, and nothing else
// is.
func (f *failing) letter() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	for _, s := range f.w.slots {
		if s.log == nil {
			continue
		}
		failed := errors.Is(s.log.usable(), ErrFailed)
		if !failed && f.bad[s.log] && f.tamper == nil {
			return fmt.Errorf("%s goes on after its sync has failed", s.id)
		}
		if failed && f.syncs == 0 {
			return fmt.Errorf("%s has failed, and no sync has: %w", s.id, s.log.usable())
		}
	}
	return nil
}

// run goes through a workload in which the n-th operation fails, then through one in which none does. Whatever happens,
// what was promised survives a kill and a power cut, at once and later.
func (f *failing) run(t *testing.T, p policy, seed uint64) (err error) {
	f.disk.SetBulkSync(p.bulk)
	f.r = rand.New(rand.NewPCG(seed, uint64(f.n)))
	f.lost, f.bad = map[string]bool{}, map[*Log]bool{}
	cfg, opts := p.config(f.r)
	w := newWorkload(t, seed, &tampered{FS: vfs.Inject(f.disk, f.hook), sync: f.sync, bulk: f.bulk}, cfg, opts)
	if f.tamper != nil {
		w.fs = f.tamper(w.fs, f.disk)
	}
	f.w, w.faulty = w, true
	defer func() { // it may have ended anywhere
		_ = w.close()
	}()
	stop := w.start()
	defer stop()
	if err := f.judge(w.open(closed)); err != nil {
		return fmt.Errorf("first open: %w", err)
	}
	for i := range 25 {
		if err := errors.Join(f.judge(w.step()), w.settle(), f.letter()); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	if err := f.survive(); err != nil {
		return err
	}
	if err := f.judge(w.close()); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	f.mu.Lock()
	f.over, w.faulty = true, false
	f.mu.Unlock()
	for i := range 8 {
		if err := errors.Join(w.step(), w.settle()); err != nil {
			return fmt.Errorf("step %d after the fault: %w", i, err)
		}
		if i == 0 || i == 7 {
			if err := f.survive(); err != nil {
				return fmt.Errorf("step %d after the fault: %w", i, err)
			}
		}
	}
	return w.close()
}

// survive looks at what a kill leaves, and power cuts. The disk itself goes on.
func (f *failing) survive() error {
	for _, after := range []how{kill, cut, cut} {
		f.w.mu.Lock()
		forked := f.w.fork(f.r.Uint64(), nil)
		if forked.fs = f.disk.Kill(); after == cut {
			forked.fs = f.disk.Crash(f.r)
		}
		f.w.mu.Unlock()
		if err := forked.survive(after, nil); err != nil {
			return err
		}
	}
	return nil
}

// TestEveryFailedOperation fails the 1st, 2nd, 3rd… operation on the disk until a run gets by without meeting it, in every
// way that disks fail. Whatever fails, nothing that was acknowledged is lost, before or after, the error says what it
// was, nothing hangs, a log has failed for good if and only if a sync has, and the next open goes on where the log ended.
func TestEveryFailedOperation(t *testing.T) {
	var mu sync.Mutex
	count := map[string]int{}
	stride := orLong(80, 1)
	t.Run("faults", func(t *testing.T) {
		for name, kind := range faults {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(orLong(2, 3)) {
					for n, met := 1+int(seed)*stride/3, true; met && !t.Failed(); n += stride {
						met = failAt(t, kind, seed, n)
						mu.Lock()
						count[name]++
						mu.Unlock()
					}
				}
			})
		}
	})
	t.Log(count)
}

// failAt has a fault happen at the n-th operation of a run, and returns false if there is none.
func failAt(t *testing.T, kind fault, seed uint64, n int) (met bool) {
	synctest.Test(t, func(t *testing.T) {
		p := policies[(int(seed)+n)%len(policies)]
		f := &failing{fault: kind, disk: vfs.NewCrashable(), n: n}
		if err := f.run(t, p, seed); err != nil {
			t.Errorf("%s, seed %d, operation %d (%s): %v", p, seed, n, f.told(), err)
		}
		met = len(f.met) > 0
	})
	return met
}

// told lists what has failed.
func (f *failing) told() string {
	var all []string
	for _, op := range f.met[:min(len(f.met), 3)] {
		all = append(all, op.String())
	}
	return strings.Join(all, "; ")
}

func TestFailedSyncIsFinal(t *testing.T) {
	disk := vfs.NewCrashable()
	broken := false
	var mu sync.Mutex
	b := &bench{t: t, path: "/data", cfg: testConfig()}
	b.fs = vfs.Inject(disk, func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if broken && op.Kind == vfs.OpSyncFile && filepath.Ext(op.Name) == dataSuffix {
			broken = false // the next one would succeed, and must not be believed
			return syscall.EIO
		}
		return nil
	})
	b.open()
	b.append(3, 0)
	b.sync()
	mu.Lock()
	broken = true
	mu.Unlock()
	b.append(2, 0)
	if err := b.log.sync(context.Background()); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if _, _, err := b.log.Append(context.Background(), 1, numbered(t, 5, 1, 0, 0, record.None)); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	b.wantBounds(0, 3, 5)
	b.wantAll(0, 3)
	if committed, failure, back := b.ev.get(); committed != 3 || failure == nil || back {
		t.Fatal(committed, failure, back)
	}
	h := b.remember()
	h.durable = 3
	if err := b.dir.Close(); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if end := b.mustSurvive(disk.Kill(), h, kill); end != 5 {
		t.Fatalf("the log ends at %d after a restart", end)
	}
}

func TestFullDisk(t *testing.T) {
	disk := vfs.NewCrashable()
	b := &bench{t: t, fs: disk, path: "/data", cfg: testConfig(), opts: Options{Reserve: 32 << 10}}
	b.cfg.SegmentBytes = 20_000
	disk.SetCapacity(300 << 10)
	b.open()
	var end record.Offset
	for {
		_, next, err := b.log.Append(context.Background(), 1, numbered(t, end, 2, 0, 1000, record.None))
		if errors.Is(err, ErrNotWritten) && errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		end = next
	}
	b.sync()
	b.wantBounds(0, end, end)
	b.wantAll(0, end)
	// Checkpoints and deletes work, and so does a restart.
	if err := b.log.Save(context.Background(), "fold", end, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	b.wantAll(0, end)
	if _, _, err := b.log.Append(context.Background(), 1, numbered(t, end, 20, 0, 1500, record.None)); !errors.Is(err, ErrNotWritten) {
		t.Fatal(err)
	}
	if err := b.log.DeleteBefore(context.Background(), end/2); err != nil {
		t.Fatal(err)
	}
	b.reopen() // what was dropped is removed for certain
	if base := b.append(2, 0); base != end {
		t.Fatalf("append at %d, want %d", base, end)
	}
	b.sync()
	b.wantAll(end/2, end+2)
	b.close()
}
