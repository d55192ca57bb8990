package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"segue/storage/record"
	"segue/storage/vfs"
)

// workload is a run of random operations on one log, which remembers what it was promised.
type workload struct {
	b *bench
	r *rand.Rand

	mu    sync.Mutex
	acked record.Offset   // end of what was told to be committed, before the operation under way
	start record.Offset   // log start that the last DeleteBefore asked for
	asked []record.Offset // every log start that was asked for and may have taken effect
}

func (w *workload) promise() promise {
	w.mu.Lock()
	defer w.mu.Unlock()
	committed, _, _ := w.b.ev.get()
	return promise{max(w.acked, committed), w.start, slices.Clone(w.asked)}
}

// promise is what must be found on a disk after a crash.
type promise struct {
	acked record.Offset // the least that the log may end at
	start record.Offset
	asked []record.Offset
}

// step does one operation. Errors are for the caller to judge; a log may refuse everything after a failure.
func (w *workload) step() error {
	ctx := context.Background()
	switch k := w.r.IntN(20); {
	case k < 14:
		for range 1 + w.r.IntN(3) {
			batch := numbered(w.b.t, w.b.end(), 1+w.r.IntN(4), w.r.Int64N(1000), w.r.IntN(1500), record.None)
			if _, _, err := w.b.log.Append(ctx, 1, batch); err != nil {
				return err
			}
		}
		if w.r.IntN(2) == 0 {
			return w.b.log.sync(ctx)
		}
	case k < 16:
		start, committed, _ := w.b.log.Bounds()
		to := start + record.Offset(w.r.Int64N(int64(committed-start)+1))
		w.mu.Lock()
		w.asked = append(w.asked, to)
		w.mu.Unlock()
		if err := w.b.log.DeleteBefore(ctx, to); err != nil {
			return err
		}
		w.mu.Lock()
		w.start = max(w.start, to)
		w.mu.Unlock()
	case k < 18:
		end := w.b.end()
		if err := w.b.log.Save(ctx, "fold", end, fmt.Append(nil, end)); err != nil {
			return err
		}
	default:
		w.mu.Lock()
		committed, _, _ := w.b.ev.get()
		w.acked = max(w.acked, committed)
		w.mu.Unlock()
		err := w.b.dir.Close()
		w.b.dir = nil
		return errors.Join(err, w.b.tryOpen())
	}
	return nil
}

// survives opens a log on a disk as a crash left it and checks it against what was promised.
func survives(t *testing.T, fsys vfs.FS, cfg Config, p promise) (end record.Offset) {
	t.Helper()
	b := &bench{t: t, fs: fsys, path: "/data", cfg: cfg}
	b.open()
	defer b.close()
	s, committed, end := b.log.Bounds()
	if committed != end || end < p.acked {
		t.Fatalf("log ends at %d (committed %d), %d was acknowledged", end, committed, p.acked)
	}
	// As long as nothing was acknowledged, a power cut may leave a second segment without the first.
	if s != p.start && !slices.Contains(p.asked, s) && p.acked > p.start {
		t.Fatalf("log starts at %d, want %d, or %d which was under way", s, p.start, p.asked)
	}
	b.wantAll(s, end)
	if at, state, err := b.log.Load(context.Background(), "fold"); err == nil {
		if string(state) != fmt.Sprint(at) || at > end {
			t.Fatalf("checkpoint at %d says %q, the log ends at %d", at, state, end)
		}
	} else if !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	if d := b.dir.Stats().Damage; d != 0 {
		t.Fatalf("%d stretches count as damaged", d)
	}
	if base := b.append(2, 0); base != end {
		t.Fatalf("append at %d, want %d", base, end)
	}
	b.sync()
	b.wantAll(s, end+2)
	return end
}

func crashConfig(flushMessages int64) Config {
	c := testConfig()
	c.SegmentBytes, c.IndexBytes, c.FlushMessages = 9000, 200, flushMessages
	return c
}

// TestEveryCrashPoint runs random operations and cuts the power, or kills the process, at each single operation on
// the disk. Whatever the disk is then found to hold, the log opens with everything that was acknowledged, no
// offset out of its place, and nothing that was never written.
func TestEveryCrashPoint(t *testing.T) {
	for _, flush := range []int64{1, 5} {
		for seed := range uint64(orLong(3, 300)) {
			t.Run(fmt.Sprintf("flush.messages %d, seed %d", flush, seed), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, 2))
				disk := vfs.NewCrashable()
				disk.SetBulkSync(seed%2 == 0)
				w := &workload{r: r}
				crashes := rand.New(rand.NewPCG(seed, 3))
				var mu sync.Mutex
				var disks []func() // checks of disks after a crash, which only the test's own goroutine may run
				points := 0
				hook := func(op vfs.Op) error {
					mu.Lock()
					defer mu.Unlock()
					if w.b == nil || op.Kind == vfs.OpRead || op.Kind == vfs.OpStat || op.Kind == vfs.OpSize || crashes.IntN(4) > 0 {
						return nil
					}
					points++
					p := w.promise()
					killed, cut := disk.Kill(), disk.Crash(crashes)
					disks = append(disks, func() {
						survives(t, killed, crashConfig(flush), p)
						if flush > 1 {
							p.acked = 0 // a power cut may take what was not synced
						}
						survives(t, cut, crashConfig(flush), p)
					})
					return nil
				}
				check := func() {
					mu.Lock()
					defer mu.Unlock()
					for _, f := range disks {
						f()
					}
					disks = nil
				}
				b := &bench{t: t, fs: vfs.Inject(disk, hook), path: "/data", cfg: crashConfig(flush), opts: Options{BulkFlush: 1}}
				b.open()
				mu.Lock()
				w.b = b
				mu.Unlock()
				for range 60 {
					if err := w.step(); err != nil {
						t.Fatal(err)
					}
					check()
				}
				b.close()
				check()
				if points < 50 {
					t.Fatalf("only %d crash points", points)
				}
			})
		}
	}
}

// TestEveryFailedOperation fails the 1st, 2nd, 3rd… operation on the disk until a run gets by without meeting it.
// Whatever fails, nothing that was acknowledged is lost, to a power cut right after it either, and the next open
// goes on where the log ended. What that one shows is as durable as what was acknowledged.
func TestEveryFailedOperation(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for seed := range uint64(orLong(1, 50)) {
			t.Run(fmt.Sprintf("%v, seed %d", cause, seed), func(t *testing.T) {
				t.Parallel()
				n := 1
				for failNth(t, seed, n, cause) {
					n++
				}
				if n < 100 {
					t.Fatalf("only %d operations", n)
				}
			})
		}
	}
}

// failNth runs a workload whose n-th operation on the disk fails, and cuts the power at its end. It returns false if
// there was no n-th operation.
func failNth(t *testing.T, seed uint64, n int, cause error) bool {
	disk := vfs.NewCrashable()
	disk.SetBulkSync(seed%2 == 1)
	var met vfs.Op
	var mu sync.Mutex
	defer func() {
		if t.Failed() {
			t.Logf("operation %d failed: %s", n, met)
		}
	}()
	b := &bench{t: t, path: "/data", cfg: crashConfig(1), opts: Options{BulkFlush: 1}}
	b.fs = vfs.Inject(disk, func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.N != n {
			return nil
		}
		met = op
		switch {
		case op.Kind == vfs.OpWrite && n%2 == 0:
			return &vfs.ShortWrite{N: int(op.Length / 2), Err: cause}
		case op.Kind == vfs.OpSyncFile: // and no later sync brings back what this one has dropped
			return errors.Join(cause, disk.Drop(op.Name))
		}
		return cause
	})
	w := &workload{b: b, r: rand.New(rand.NewPCG(1+seed, 1))}
	err := b.tryOpen()
	for i := 0; i < 40 && err == nil; i++ {
		if stepErr := w.step(); stepErr != nil && b.dir == nil {
			err = stepErr
		}
	}
	var p promise
	if b.ev != nil {
		p = w.promise()
	}
	if b.dir != nil {
		_ = b.dir.Close() // it may well have failed
	}
	r := rand.New(rand.NewPCG(uint64(n), 5))
	survives(t, disk.Crash(r), crashConfig(1), p)
	if long() || n%4 == 0 {
		// The next run in the same boot shows what it has found, and then the power is cut.
		next := disk.Kill()
		b := &bench{t: t, fs: next, path: "/data", cfg: crashConfig(1)}
		b.open()
		p.start, p.acked, _ = b.log.Bounds()
		cut := next.Crash(r)
		b.close()
		survives(t, cut, crashConfig(1), p)
	}
	return met.N == n
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
	if err := b.dir.Close(); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if end := survives(t, disk.Kill(), testConfig(), promise{acked: 3}); end != 5 {
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
