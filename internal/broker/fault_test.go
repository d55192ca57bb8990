package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"segue/storage/vfs"
)

// fault has operations on a disk fail, from the first-th on, so many of them.
type fault struct {
	disk  *vfs.Crashable
	first int
	count int
	cause error

	mu  sync.Mutex // guards what follows
	met []string
}

// before is called before each operation on the disk.
func (f *fault) before(op vfs.Op) error {
	if op.N < f.first || f.cause == syscall.ENOSPC && !changes(op.Kind) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.met) == f.count {
		return nil
	}
	f.met = append(f.met, op.String())
	switch {
	case op.Kind == vfs.OpWrite && f.first%2 == 0:
		return &vfs.ShortWrite{N: int(op.Length / 2), Err: f.cause}
	case op.Kind == vfs.OpSyncFile: // and no later sync brings back what this one has dropped
		return errors.Join(f.cause, f.disk.Drop(op.Name))
	}
	return f.cause
}

func (f *fault) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("operations from %d on, %d of them, failed with %v: %s", f.first, f.count, f.cause, strings.Join(f.met, "; "))
}

// meets says whether the fault was met at all.
func (f *fault) meets() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.met) > 0
}

// suffer has clients work with a broker on whose disk some operations fail, and others work with those that are
// started on the disk as it is then, and after a power cut.
func (tr *trial) suffer(f *fault, steps int) error {
	f.disk = vfs.NewCrashable()
	f.disk.SetBulkSync(tr.seed%2 == 0)
	l, _ := tr.life("", f.disk, newLedger(), tr.seed, 0)
	l.fs, l.faulty, l.follow = vfs.Inject(f.disk, f.before), true, nil
	err := l.start()
	for i := 0; i < steps && err == nil; i++ {
		err = l.step()
	}
	if err != nil && !errors.Is(err, f.cause) {
		l.violated("the error does not say that %v: %w", f.cause, err)
	}
	_ = l.stop() // what is broken may say so
	if err := l.violations(); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(tr.seed, uint64(f.first)))
	for _, p := range []point{
		{"kill", f.disk.Kill(), l.ledger.copy(), false, r.Uint64()},
		{"power cut", f.disk.Crash(r), l.ledger.copy(), tr.flush > 1, r.Uint64()},
	} {
		if err := tr.survive(p, tr.depth); err != nil {
			return err
		}
	}
	return nil
}

// TestEveryFailedOperation fails the 1st, 2nd, 3rd… operation on the disk, alone or with some that follow, until a
// workload gets by without meeting that. Every request is answered, with a code that says that it is the disk and that
// another try may help; the broker stops; and the next one on that disk keeps all that clients were told.
func TestEveryFailedOperation(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, count := range []int{1, 30} {
			for _, flush := range []int{1, 5} {
				t.Run(fmt.Sprintf("%v, %d times, flush.messages=%d", cause, count, flush), func(t *testing.T) {
					everyFailure(t, cause, count, flush)
				})
			}
		}
	}
}

func everyFailure(t *testing.T, cause error, count, flush int) {
	settings, err := crashSettings(flush)
	if err != nil {
		t.Fatal(err)
	}
	stride, steps := 61, 12
	if long() {
		stride, steps = 1, 20
	}
	seed := firstSeed(t)
	var runs atomic.Int64
	var past atomic.Bool // the fault lies behind the end of the workload
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for n := 1 + (flush+count)%stride; !past.Load(); n += stride {
		group.Go(func() error {
			f := &fault{first: n, count: count, cause: cause}
			tr := &trial{seed: seed, flush: flush, settings: settings, faulty: true}
			if err := tr.suffer(f, steps); err != nil {
				t.Errorf("seed %d: %v\n%v", seed, f, err)
			}
			if !f.meets() {
				past.Store(true)
			}
			runs.Add(1)
			return nil
		})
	}
	_ = group.Wait() // nobody returns an error
	t.Logf("seed %d: %d runs", seed, runs.Load())
}
