package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"segue/storage/record"
	"segue/storage/vfs"
)

// resource is something that must not be open twice.
type resource struct{ live *atomic.Int32 }

func (r resource) Close() error {
	runtime.Gosched() // as if it had something to write back
	r.live.Add(-1)
	return nil
}

// TestHandleIsOpenOnce has many share more handles than may be open. No resource is opened while it is open already, or
// being closed: where mappings are copies, the second one would miss what the first one has yet to write back.
func TestHandleIsOpenOnce(t *testing.T) {
	set := newHandles(2)
	var faults atomic.Int32
	all := make([]*handle[resource], 5)
	for i := range all {
		live := new(atomic.Int32)
		fails := new(atomic.Int32)
		all[i] = newHandle(set, func() (resource, error) {
			if fails.Add(1)%10 == 0 {
				return resource{}, errors.New("no descriptor left")
			}
			if live.Add(1) != 1 {
				faults.Add(1)
			}
			runtime.Gosched()
			return resource{live}, nil
		})
	}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 2000 {
				h := all[r.IntN(len(all))]
				if v, err := h.pin(); err == nil {
					if v.live.Load() != 1 {
						faults.Add(1)
					}
					h.unpin()
				}
			}
		})
	}
	group.Wait()
	if n := faults.Load(); n > 0 {
		t.Errorf("%d times a resource was open twice, or closed while it was pinned", n)
	}
	if n := set.count(); n > 2 {
		t.Errorf("%d handles are open", n)
	}
	for _, h := range all {
		if err := h.drop(); err != nil {
			t.Error(err)
		}
		if _, err := h.pin(); !errors.Is(err, ErrClosed) {
			t.Errorf("pin of a dropped handle: %v", err)
		}
	}
	if n := set.count(); n != 0 {
		t.Errorf("%d handles are open", n)
	}
}

// TestNoDescriptorsLeft works on more logs than the process may have files open, with a bound on handles that is far too
// high. Idle ones are closed in time.
func TestNoDescriptorsLeft(t *testing.T) {
	var mu sync.Mutex
	open := 0
	const most = 14
	disk := vfs.NewCrashable()
	b := newBench(t, vfs.Inject(disk, func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch op.Kind {
		case vfs.OpOpen, vfs.OpOpenFile, vfs.OpCreate, vfs.OpLock:
			if _, err := disk.Stat(op.Name); err != nil && (op.Kind == vfs.OpOpen || op.Kind == vfs.OpOpenFile) {
				return nil // it will fail anyhow
			}
			if open++; open > most {
				open--
				return syscall.EMFILE
			}
		case vfs.OpClose, vfs.OpUnlock:
			open--
		case vfs.OpReadDir, vfs.OpSyncDir:
			if open == most {
				return syscall.EMFILE
			}
		}
		return nil
	}), nil)
	logs := b.more(12)
	for i := range 5 {
		for _, l := range logs {
			if _, _, err := l.Append(context.Background(), 1, numbered(t, record.Offset(i), 1, 0, 0, record.None)); err != nil {
				t.Fatal(err)
			}
			if err := l.sync(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, l := range logs {
		if all, err := readBatches(l, 0, 5, 100); err != nil || len(all) != 5 {
			t.Fatal(len(all), err)
		}
	}
}
