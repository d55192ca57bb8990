package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"segue/internal/coordinator"
	"segue/partition"
	"segue/storage/record"
	"segue/storage/vfs"
)

// patience is how long a world waits for a shard to be loaded, in the bubble's time.
const patience = time.Minute

// pause lets a moment pass, in the bubble's time.
func pause() { time.Sleep(time.Millisecond) }

// do gives a command. One that was not looked at is given again.
func (w *world) do(ctx context.Context, shard int32, c command) (view, error) {
	for begun := time.Now(); ; {
		message, err := w.r.Do(ctx, shard, c)
		if errors.Is(err, coordinator.ErrLoading) {
			if time.Since(begun) > patience {
				return view{}, fmt.Errorf("shard %d is not loaded: %s", shard, w.told.String())
			}
			pause()
			continue
		}
		v, _ := message.(view)
		return v, err
	}
}

// crashes runs random commands on a disk that loses power, or whose process is killed, at random operations, and
// returns the first thing wrong that was found then, and at how many operations it was looked for.
func crashes(t *testing.T, seed uint64, plant func(*partition.Partition) coordinator.Log) (points int, fault error) {
	r, when := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	disk := vfs.NewCrashable()
	disk.SetBulkSync(seed%2 == 0)
	var (
		w     *world
		mu    sync.Mutex // guards what follows, and when
		disks []func() error
	)
	w = newWorld(t, vfs.Inject(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpRead || op.Kind == vfs.OpStat || op.Kind == vfs.OpSize {
			return nil
		}
		// Whoever would have an answer before this is done gets it now.
		for range 30 {
			runtime.Gosched()
		}
		mu.Lock()
		defer mu.Unlock()
		if when.IntN(5) > 0 {
			return nil
		}
		marks, killed, cut := w.marks(), disk.Kill(), disk.Crash(when)
		points++
		check := func() error { return w.survives(killed, marks) }
		if when.IntN(4) == 0 {
			check = func() error { return w.showsThenLoses(killed, rand.New(rand.NewPCG(seed, uint64(op.N)))) }
		}
		disks = append(disks, check, func() error { return w.survives(cut, marks) })
		return nil
	}))
	if plant != nil {
		w.plant = plant
	}
	check := func() {
		mu.Lock()
		found := disks
		disks = nil
		mu.Unlock()
		for _, f := range found {
			if fault = f(); fault != nil {
				return
			}
		}
	}
	for range 3 { // starts
		if !w.open() {
			t.Fatal("the log cannot be opened")
		}
		for range 15 {
			if w.round(r); fault == nil {
				check()
			}
		}
		if w.close(); fault == nil {
			check()
		}
	}
	if fault == nil {
		fault = w.survives(disk.Kill(), w.marks())
	}
	committed, doomed := 0, 0
	for _, h := range w.histories {
		committed, doomed = committed+len(h.committed), doomed+len(h.doomed)
	}
	if plant == nil && (committed < 3 || doomed < 3) {
		t.Errorf("only %d transactions were committed, and %d numbers aborted", committed, doomed)
	}
	return points, fault
}

// showsThenLoses starts a runtime on a disk, has it show what there is, cuts the power, and returns what is wrong with
// what is found then.
func (w *world) showsThenLoses(disk *vfs.Crashable, r *rand.Rand) error {
	next := newWorld(w.T, disk)
	next.epoch = 1000 + w.epoch
	if !next.open() {
		return errors.New("the log cannot be opened")
	}
	defer next.close()
	var shown [worldShards]view
	for i := range shown {
		var err error
		if shown[i], err = next.do(context.Background(), int32(i), command{}); err != nil {
			return err
		}
	}
	last := newWorld(w.T, disk.Crash(r))
	last.epoch = 2000 + w.epoch
	if !last.open() {
		return errors.New("the log cannot be opened")
	}
	defer last.close()
	for i := range shown {
		if v, err := last.do(context.Background(), int32(i), command{}); err != nil || v != shown[i] {
			return fmt.Errorf("%v was shown, after a power cut it is %v (%w)", shown[i], v, err)
		}
	}
	return nil
}

// TestEveryCrashPoint holds what is found after a crash at any operation on the disk against all that was answered
// before it: every answered command is there, in order and whole, nothing is there that was not asked for, and nothing
// that was shown is gone.
func TestEveryCrashPoint(t *testing.T) {
	for seed := range uint64(orLong(3, 300)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				points, err := crashes(t, seed, nil)
				if err != nil {
					t.Error(err)
				}
				if points < 50 {
					t.Errorf("only %d crash points", points)
				}
			})
		})
	}
}

// TestCrashesFindFaults plants faults between the runtime and its log, which the crashes must find.
func TestCrashesFindFaults(t *testing.T) {
	for name, plant := range map[string]func(*partition.Partition) coordinator.Log{
		"replies before commit": func(p *partition.Partition) coordinator.Log { return eagerLog{p} },
		"commands torn apart":   func(p *partition.Partition) coordinator.Log { return tearingLog{p} },
		"transactions ignored":  func(p *partition.Partition) coordinator.Log { return plainLog{p} },
		"markers turned round":  func(p *partition.Partition) coordinator.Log { return turningLog{p} },
		"loads end too early":   func(p *partition.Partition) coordinator.Log { return shortLog{p} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for seed := range uint64(20) {
					if _, err := crashes(t, seed, plant); err != nil {
						t.Logf("found with seed %d: %v", seed, err)
						return
					}
				}
				t.Error("not found")
			})
		})
	}
}

// eagerLog says that all is committed that is written.
type eagerLog struct{ *partition.Partition }

func (l eagerLog) Offsets() partition.Offsets {
	o := l.Partition.Offsets()
	o.HighWatermark = o.LogEnd
	return o
}

func (l eagerLog) Watch(w *partition.Waiter, beyond record.Offset, readCommitted bool) {
	l.Partition.Watch(w, min(beyond, -1), readCommitted)
}

// plainLog writes transactional batches as if they were none.
type plainLog struct{ *partition.Partition }

func (l plainLog) Append(ctx context.Context, epoch int32, b record.Batch, from partition.Origin) (partition.Ack, error) {
	builder := record.NewBuilder(0)
	for r, err := range b.Records(nil) {
		if err != nil {
			return partition.Ack{}, err
		}
		builder.Add(r.Timestamp, r.Key, r.Value)
	}
	plain, err := builder.Build()
	if err != nil {
		return partition.Ack{}, err
	}
	return l.Partition.Append(ctx, epoch, plain, from)
}

// turningLog writes commits for aborts and aborts for commits.
type turningLog struct{ *partition.Partition }

func (l turningLog) AppendMarker(ctx context.Context, epoch int32, m partition.Marker) (partition.Ack, error) {
	m.Commit = !m.Commit
	return l.Partition.AppendMarker(ctx, epoch, m)
}

// tearingLog writes each record in a batch of its own.
type tearingLog struct{ *partition.Partition }

func (l tearingLog) Append(ctx context.Context, epoch int32, b record.Batch, from partition.Origin) (all partition.Ack, err error) {
	first := true
	for r, err := range b.Records(nil) {
		if err != nil {
			return all, err
		}
		builder := record.NewBuilder(0)
		builder.Add(r.Timestamp, r.Key, r.Value)
		one, err := builder.Build()
		if err != nil {
			return all, err
		}
		ack, err := l.Partition.Append(ctx, epoch, one, from)
		if err != nil {
			return all, err
		}
		if first {
			all, first = ack, false
		}
		all.Next = ack.Next
	}
	return all, nil
}

// shortLog has loads end before the log does.
type shortLog struct{ *partition.Partition }

func (l shortLog) Read(ctx context.Context, r partition.ReadRequest) (partition.ReadResult, error) {
	if r.Offset > 0 {
		return partition.ReadResult{}, nil
	}
	return l.Partition.Read(ctx, r)
}

// TestEveryFailedOperation fails the 1st, 2nd, 3rd... operation on the disk until a run gets by without meeting it. The
// shards that have lost their machine or their log come back; and whatever failed, what was answered is there in the
// end, and after a power cut.
func TestEveryFailedOperation(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		t.Run(cause.Error(), func(t *testing.T) {
			t.Parallel()
			met, failures := true, int64(0)
			step := orLong(3, 1)
			n := 1
			for ; met; n += step {
				synctest.Test(t, func(t *testing.T) {
					var f int64
					met, f = failNth(t, n, cause)
					failures += f
				})
			}
			if n < 100 || failures < 5 {
				t.Errorf("%d operations, %d failures of shards", n, failures)
			}
		})
	}
}

// goesOn says whether a shard does what it is told, now that whatever has failed is healed.
func (w *world) goesOn(shard int32) bool {
	h := w.histories[shard]
	numbers, least := h.begin(1)
	if !w.heal(shard) {
		return false
	}
	v, err := w.do(context.Background(), shard, command{add: numbers})
	if err == nil {
		h.end(numbers, least, v)
	}
	return err == nil
}

// failNth returns whether there was an n-th operation, and how often shards failed for it.
func failNth(t *testing.T, n int, cause error) (met bool, failures int64) {
	disk := vfs.NewCrashable()
	disk.SetBulkSync(n%2 == 0)
	var mu sync.Mutex
	var what vfs.Op
	w := newWorld(t, vfs.Inject(disk, func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.N != n {
			return nil
		}
		met, what = true, op
		switch {
		case op.Kind == vfs.OpWrite && n%2 == 0:
			return &vfs.ShortWrite{N: int(op.Length / 2), Err: cause}
		case op.Kind == vfs.OpSyncFile:
			return errors.Join(cause, disk.Drop(op.Name))
		}
		return cause
	}))
	defer func() {
		if t.Failed() {
			t.Logf("operation %d failed: %s", n, what)
		}
	}()
	r := rand.New(rand.NewPCG(uint64(n), 1))
	if w.open() {
		for range 8 {
			w.round(r)
			for i := range int32(worldShards) {
				if !w.heal(i) {
					t.Errorf("shard %d cannot be opened again", i)
				}
			}
		}
		for i := range int32(worldShards) {
			goesOn := w.goesOn(i)
			if !goesOn { // the one failure came only now
				goesOn = w.goesOn(i)
			}
			if !goesOn {
				t.Errorf("shard %d does not go on", i)
			}
		}
		failures = w.r.Stats().Failures
		w.close()
	}
	marks := w.marks()
	if err := w.survives(disk.Kill(), marks); err != nil {
		t.Errorf("killed: %v", err)
	}
	if err := w.survives(disk.Crash(r), marks); err != nil {
		t.Errorf("power cut: %v", err)
	}
	return met, failures
}
