package storage

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"segue/storage/vfs"
)

// policy is a flush policy under which crashes are tried.
type policy struct {
	messages int64
	bulk     bool
}

var policies = []policy{{1, false}, {1, true}, {5, false}, {5, true}, {math.MaxInt64, false}, {math.MaxInt64, true}}

func (p policy) String() string {
	name := fmt.Sprintf("flush.messages %d", p.messages)
	if p.messages == math.MaxInt64 {
		name = "flush.ms"
	}
	if p.bulk {
		name += ", bulk syncs"
	}
	return name
}

// config returns a configuration for a workload: segments and what is kept are small, so that much happens.
func (p policy) config(r *rand.Rand) (Config, Options) {
	c := testConfig()
	c.SegmentBytes = [...]int64{1200, 5000, 9000}[r.IntN(3)]
	c.IndexBytes, c.IndexInterval = 200, 100+r.Int64N(300)
	c.SegmentAge = 20 * time.Minute
	c.FlushMessages, c.FlushInterval = p.messages, time.Second
	c.RetentionBytes, c.RetentionAge = 2*c.SegmentBytes, time.Hour
	c.Compact = r.IntN(2) == 0
	c.MinDirtyRatio, c.TombstoneAge = [...]float64{0, 0.5}[r.IntN(2)], [...]time.Duration{0, 10 * time.Minute}[r.IntN(2)]
	return c, Options{
		Reserve: 4 << 10, CleanInterval: 1000 * time.Hour, OpenFiles: 1 + r.IntN(20), BulkFlush: 1 + r.IntN(2),
		Compactors: -1, CompactBackoff: time.Minute, CompactMemory: [...]int64{100, 1 << 20}[r.IntN(2)],
	}
}

// explorer runs workloads and crashes them.
type explorer struct {
	t      *testing.T
	policy policy
	every  int                                           // one operation in so many is a crash point
	cuts   int                                           // how many power cuts are tried at each
	tamper func(fsys vfs.FS, disk *vfs.Crashable) vfs.FS // what is put between workloads and the disk; nothing if nil
	keeper Keeper                                        // of the logs
	thins  bool                                          // whether they are compacted for sure
	tally  *tally

	mu   sync.Mutex // guards what follows; taken inside workload.mu
	r    *rand.Rand
	left []survivor
}

// survivor is a disk as a crash left it, with the promises of that moment.
type survivor struct {
	*workload
	disk  *vfs.Crashable
	after how
	op    string // that was about to be done, or half done

	// of a disk that crashed while it was being opened after a power cut: what was in its files before that, durably
	origin *[slotCount]map[string]string
}

// changes says whether an operation changes anything on the disk, or makes it durable.
func changes(k vfs.Kind) bool {
	switch k {
	case vfs.OpOpen, vfs.OpOpenFile, vfs.OpReadDir, vfs.OpStat, vfs.OpSize, vfs.OpRead, vfs.OpFree, vfs.OpTotal, vfs.OpMakeSyncer, vfs.OpCloseSyncer,
		vfs.OpMap, vfs.OpUnmap, vfs.OpClose, vfs.OpUnlock:
		return false
	}
	return true
}

// on has a workload run on a disk, which crashes before one operation in so many, and in the middle of writes.
func (e *explorer) on(w *workload, disk *vfs.Crashable, every int) {
	injected := vfs.Inject(disk, func(op vfs.Op) error {
		if changes(op.Kind) && e.pick(every) == 0 {
			e.crash(w, disk, op)
		}
		return nil
	})
	w.fs = e.above(&tampered{FS: injected, write: func(f vfs.File, p []byte, off int64) (int, error) {
		if len(p) > 1 && e.pick(2*every) == 0 {
			e.killWithin(w, disk, f.Name(), p, off)
		}
		return f.WriteAt(p, off)
	}}, disk)
}

// above puts what the explorer tampers with above a file system.
func (e *explorer) above(fsys vfs.FS, disk *vfs.Crashable) vfs.FS {
	if e.tamper == nil {
		return fsys
	}
	return e.tamper(fsys, disk)
}

// crash remembers what is left of a disk if the process is killed now, or the power cut.
func (e *explorer) crash(w *workload, disk *vfs.Crashable, op vfs.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tally.count(e.policy, string(op.Kind), 1+e.cuts)
	e.keep(w, disk.Kill, kill, op.String())
	for range e.cuts {
		e.keep(w, func() *vfs.Crashable { return disk.Crash(e.r) }, cut, op.String())
	}
}

// killWithin remembers what is left if the process is killed when a write is half done.
func (e *explorer) killWithin(w *workload, disk *vfs.Crashable, name string, p []byte, off int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 1 + e.r.IntN(len(p)-1)
	e.tally.count(e.policy, "half a write", 1)
	e.keep(w, func() *vfs.Crashable {
		killed := disk.Kill()
		f, err := killed.OpenFile(name)
		if err != nil {
			return killed // it has another name by now
		}
		if _, err = f.WriteAt(p[:n], off); errors.Join(err, f.Close()) != nil {
			e.t.Error(err)
		}
		return killed
	}, kill, fmt.Sprintf("write %s %d+%d of %d", name, off, n, len(p)))
}

// keep remembers a crash. The promises are looked at before the disk is: what is promised in between, as a log may do at
// any time, is not asked of it. The caller holds both locks, so nothing is tried in between that the promises do not know.
func (e *explorer) keep(w *workload, crash func() *vfs.Crashable, after how, op string) {
	f := w.fork(e.r.Uint64(), nil)
	disk := crash()
	f.fs = disk
	if after == cut { // if it crashes again before it is opened, what this crash may have taken is still not promised
		for _, s := range f.slots {
			s.written, s.through = s.durable, 0
		}
		for _, h := range f.past {
			h.written, h.through = h.durable, 0
		}
	}
	e.left = append(e.left, survivor{workload: f, disk: disk, after: after, op: op})
}

// take returns the disks that were left since the last time.
func (e *explorer) take() []survivor {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := e.left
	e.left = nil
	return left
}

// check looks at disks that were left by crashes, and crashes some of them again while they are being opened. It returns
// one of them, untouched, to go on with.
func (e *explorer) check(left []survivor, depth int) (next survivor, err error) {
	for i, s := range left {
		again := depth > 0 && e.pick(100) == 0
		if i == 0 || e.pick(i+1) == 0 {
			next = s.copy()
		}
		if again {
			if err := e.recover(s.copy(), depth-1); err != nil {
				return next, fmt.Errorf("%s at %q, then\n%w", s.after, s.op, err)
			}
		}
		s.fs = e.above(s.disk, s.disk)
		if err := s.survive(s.after, s.origin); err != nil {
			return next, fmt.Errorf("%s at %q:\n%w", s.after, s.op, err)
		}
	}
	return next, nil
}

func (e *explorer) pick(n int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.r.IntN(n)
}

// copy returns another disk with the same content and promises. It was not opened yet, so a kill changes nothing.
func (s survivor) copy() survivor {
	disk := s.disk.Kill()
	return survivor{s.fork(1, disk), disk, s.after, s.op, s.origin}
}

// recover crashes at operations of the recovery from a crash.
func (e *explorer) recover(s survivor, depth int) error {
	if s.origin == nil && s.after == cut {
		files, err := s.files()
		if err != nil {
			return err
		}
		s.origin = &files
	}
	e.on(s.workload, s.disk, 3)
	err := errors.Join(s.open(s.after), s.close())
	left := e.take()
	for i := range left {
		left[i].origin = s.origin
	}
	e.tally.recovered(e.policy, len(left))
	if err == nil {
		_, err = e.check(left, depth)
	}
	return err
}

// run goes through generations of a workload: each goes on from a disk that a crash has left of the one before.
func (e *explorer) run(seed uint64, generations, steps int) error {
	r := rand.New(rand.NewPCG(seed, 3))
	cfg, opts := e.policy.config(r)
	if e.thins {
		cfg.Compact, cfg.MinDirtyRatio = true, 0
	}
	disk := vfs.NewCrashable()
	disk.SetBulkSync(e.policy.bulk)
	w, after := newWorkload(e.t, seed, disk, cfg, opts), closed
	w.keeper, w.eager = e.keeper, e.thins
	for g := range generations {
		e.on(w, disk, e.every)
		next, err := e.generation(w, after, steps)
		if err != nil {
			return fmt.Errorf("generation %d: %w", g, err)
		}
		w, disk, after = next.workload, next.disk, next.after
	}
	return nil
}

// generation does steps of a workload, and checks after each what its crashes have left. It returns something left.
func (e *explorer) generation(w *workload, after how, steps int) (next survivor, err error) {
	err = w.open(after)
	stop := w.start()
	defer func() { stop(); err = errors.Join(err, w.close()) }()
	for i := 0; i <= steps && err == nil; i++ {
		if i > 0 {
			err = w.step()
		}
		if err = errors.Join(err, w.settle()); err != nil {
			return next, fmt.Errorf("step %d: %w", i, err)
		}
		var one survivor
		if one, err = e.check(e.take(), 2); one.workload != nil && (next.workload == nil || e.pick(4) == 0) {
			next = one
		}
	}
	return next, err
}

// tally counts crash points.
type tally struct {
	mu     sync.Mutex
	points map[policy]map[string]int
	disks  map[policy]int
	again  map[policy]int
}

func newTally() *tally {
	return &tally{points: map[policy]map[string]int{}, disks: map[policy]int{}, again: map[policy]int{}}
}

func (y *tally) count(p policy, kind string, disks int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.points[p] == nil {
		y.points[p] = map[string]int{}
	}
	y.points[p][kind]++
	y.disks[p] += disks
}

func (y *tally) recovered(p policy, disks int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.again[p] += disks
}

func (y *tally) total(p policy) (n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, points := range y.points[p] {
		n += points
	}
	return n
}

// String is a table: a line for each policy, a column for each kind of operation that a crash came before.
func (y *tally) String() string {
	totals := map[policy]int{}
	for p := range y.points {
		totals[p] = y.total(p)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	kinds := map[string]bool{}
	for _, points := range y.points {
		for kind := range points {
			kinds[kind] = true
		}
	}
	var b strings.Builder
	columns := slices.Sorted(maps.Keys(kinds))
	fmt.Fprintf(&b, "\n%-34s %8s %8s %8s", "crash points", "all", "disks", "of these recovering")
	for _, kind := range columns {
		fmt.Fprintf(&b, " %s", kind)
	}
	for _, p := range slices.SortedFunc(maps.Keys(y.points), func(a, b policy) int { return cmp.Compare(a.String(), b.String()) }) {
		fmt.Fprintf(&b, "\n%-34s %8d %8d %19d", p, totals[p], y.disks[p], y.again[p])
		for _, kind := range columns {
			fmt.Fprintf(&b, " %*d", len(kind), y.points[p][kind])
		}
	}
	return b.String()
}

// TestEveryCrashPoint runs random operations on the logs of a directory and cuts the power, or kills the process, at
// operations on the disk: at each single one in the long run. Whatever the disk is then found to hold, everything opens,
// with all that was acknowledged, synced, seen or deleted, no offset out of its place, and nothing that was never
// written. Some of what is left is crashed again while it is being opened, and again, and one goes on as the next
// generation.
func TestEveryCrashPoint(t *testing.T) {
	counts := newTally()
	want := orLong(100, 10_000)
	t.Run("policies", func(t *testing.T) {
		for _, p := range policies {
			t.Run(p.String(), func(t *testing.T) {
				t.Parallel()
				for seed := uint64(0); counts.total(p) < want && !t.Failed(); seed++ {
					synctest.Test(t, func(t *testing.T) {
						e := &explorer{t: t, policy: p, tally: counts, r: rand.New(rand.NewPCG(seed, 4))}
						e.every, e.cuts = orLong(8, 1), 2
						if err := e.run(seed, 3, orLong(15, 30)); err != nil {
							t.Errorf("seed %d: %v", seed, err)
						}
					})
				}
			})
		}
	})
	t.Log(counts)
}
