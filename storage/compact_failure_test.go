package storage

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"segue/storage/vfs"
)

// TestCompactionOnAFullDisk: a round that does not fit fails and gives the room back; appends go on.
func TestCompactionOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrashable()
		b := newCompactBench(t, disk, func(b *bench) { b.cfg.SegmentBytes = 40_000 })
		filler := strings.Repeat("x", 5000)
		for _, key := range []string{"a", "b", "c", "d", "e", "a"} {
			b.put(key + "=" + filler)
		}
		b.seal()
		b.put("hot=1")
		want := b.contents()
		free, err := disk.Free(b.path)
		if err != nil {
			t.Fatal(err)
		}
		used := int64(1<<63-1) - free
		disk.SetCapacity(used + 20_000)
		room, _ := disk.Free(b.path)
		b.compact()
		b.wantContents(want...)
		if now, _ := disk.Free(b.path); now != room || b.dir.Stats().CompactFailures != 1 {
			t.Fatalf("%d bytes are free, %d were; %+v", now, room, b.dir.Stats())
		}
		b.wantTidy()
		b.put("hot=2")
		disk.SetCapacity(used + 100_000)
		time.Sleep(2 * time.Minute)
		b.compact()
		if got := b.contents(); got[0] != "0-0:" {
			t.Fatal(got[0][:20])
		}
	})
}

// TestCompactionEnds: a close and a delete do not wait for a round that takes long.
func TestCompactionEnds(t *testing.T) {
	for name, end := range map[string]func(b *bench) error{
		"close of the log":       func(b *bench) error { return b.log.Close() },
		"close of the directory": func(b *bench) error { return b.dir.Close() },
		"delete":                 func(b *bench) error { return b.dir.Delete(context.Background(), testID) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bench{t: t, fs: vfs.NewCrashable(), path: "/data", cfg: compactConfig(), opts: compactOptions()}
				b.opts.CompactBytesPerSecond, b.opts.Compactors = 1, 1
				b.open()
				b.put("a=1", "b=1")
				b.put("a=2", "c=1")
				b.seal()
				b.put("hot=1")
				time.Sleep(30 * time.Second) // it has begun
				synctest.Wait()
				begun := time.Now()
				if err := end(b); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took > time.Second {
					t.Fatalf("it took %v", took)
				}
				if err := b.dir.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := throttle{perSecond: 1000}
		begun := time.Now()
		for range 100 {
			if err := th.wait(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took < 9*time.Second || took > 10*time.Second {
			t.Fatalf("10 kB at 1 kB/s took %v", took)
		}
	})
}

// TestCheckpointInACompactedSegment: what a checkpoint says of offsets outlives the segment that it names.
func TestCheckpointInACompactedSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrashable()
		b := newCompactBench(t, disk, nil)
		b.put("a=1", "b=1")
		b.put("a=2", "c=1")
		at := b.end()
		if err := b.log.Save(context.Background(), "fold", at, []byte("state")); err != nil {
			t.Fatal(err)
		}
		b.put("b=2")
		b.seal()
		b.put("hot=1")
		b.compact()
		want := []string{"0-1:", "2-3: 2 a=2 3 c=1", "4-4: 4 b=2", "5-5: 5 hot=1"}
		b.wantContents(want...)
		for range 2 {
			if got, state, err := b.log.Load(context.Background(), "fold"); err != nil || got != at || string(state) != "state" {
				t.Fatal(got, string(state), err)
			}
			b.reopen()
			b.wantContents(want...)
			if s := b.dir.Stats(); s.Damage != 0 {
				t.Fatalf("%+v", s)
			}
		}
	})
}

// TestFailedExchange: whatever operation of an exchange fails, all can be read and written afterwards, and the next open
// finishes or forgets it.
func TestFailedExchange(t *testing.T) {
	for n := int64(1); ; n++ {
		var count atomic.Int64 // of operations that change something, the flusher's too
		synctest.Test(t, func(t *testing.T) {
			var on atomic.Bool
			fsys := vfs.Inject(vfs.NewCrashable(), func(op vfs.Op) error {
				if !on.Load() || !changes(op.Kind) {
					return nil
				}
				if count.Add(1) == n {
					return syscall.EIO
				}
				return nil
			})
			b := newCompactBench(t, fsys, nil)
			for range 3 {
				b.put("a=1", "b=1")
				b.put("a=2", "c=1")
				b.seal()
			}
			b.put("hot=1")
			before, after := b.contents(), []string{"0-1:", "8-9: 9 b=1", "10-11: 10 a=2 11 c=1", "12-12: 12 hot=1"}
			on.Store(true)
			b.compact()
			on.Store(false)
			if got := b.contents(); !slices.Equal(got, before) && !slices.Equal(got, after) {
				t.Fatalf("operation %d: the log holds\n%s", n, strings.Join(got, "\n"))
			}
			if _, _, err := b.log.Append(context.Background(), 1, pairs(t, 0, "hot=2")); err == nil {
				before, after = append(before, "13-13: 13 hot=2"), append(after, "13-13: 13 hot=2")
			} else if !errors.Is(err, ErrFailed) {
				t.Fatal(err)
			}
			if err := b.dir.Close(); err != nil && !errors.Is(err, ErrFailed) {
				t.Fatal(err)
			}
			b.open()
			if got := b.contents(); !slices.Equal(got, before) && !slices.Equal(got, after) {
				t.Fatalf("operation %d: the log is found to hold\n%s", n, strings.Join(got, "\n"))
			}
			if s := b.dir.Stats(); s.Damage+s.Cuts != 0 {
				t.Fatalf("operation %d: %+v", n, s)
			}
			b.wantTidy()
			b.compact()
			b.wantContents(after...)
		})
		if count.Load() < n || t.Failed() {
			t.Logf("%d operations", n-1)
			return
		}
	}
}
