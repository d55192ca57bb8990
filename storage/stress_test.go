package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// crowd works on one log in every way at once. Each worker goes on until the crowd is told to stop or the log is
// closed, and checks what it sees.
type crowd struct {
	l     *Log
	ev    *events
	dir   *Dir
	epoch int32
	stop  chan struct{}
	wrote atomic.Int64  // records
	moved chan struct{} // holds a token when wrote has moved, or somebody has found a fault
	group sync.WaitGroup
	mu    sync.Mutex
	fault error
}

func (b *bench) gather(l *Log, ev *events) *crowd {
	c := &crowd{l: l, ev: ev, dir: b.dir, epoch: 1, stop: make(chan struct{}), moved: make(chan struct{}, 1)}
	workers := []func(*rand.Rand) error{
		func(r *rand.Rand) error { return c.write(b.t, r) }, c.follow, c.follow, c.readAnywhere, c.search, c.save,
		c.deleteRecords, c.clean, c.configure,
	}
	for i, work := range workers {
		c.group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), uint64(l.id.Partition)))
			for {
				select {
				case <-c.stop:
					return
				default:
				}
				err := work(r)
				if errors.Is(err, ErrClosed) || err == nil && l.ifClosed() != nil {
					return
				}
				if err != nil {
					c.mu.Lock()
					c.fault = errors.Join(c.fault, fmt.Errorf("worker %d: %w", i, err))
					c.mu.Unlock()
					c.tell()
					return
				}
			}
		})
	}
	return c
}

// end waits for everybody and returns what they found wrong.
func (c *crowd) end() error {
	c.group.Wait()
	if _, failure, back := c.ev.get(); failure != nil || back {
		return errors.Join(c.fault, fmt.Errorf("events: failed with %v, out of order %v", failure, back))
	}
	return c.fault
}

func (c *crowd) write(t testing.TB, r *rand.Rand) error {
	_, _, end := c.l.Bounds()
	_, next, err := c.l.Append(context.Background(), c.epoch, numbered(t, end, 1+r.IntN(4), int64(end), r.IntN(300), record.None))
	c.wrote.Store(int64(next))
	c.tell()
	return err
}

func (c *crowd) tell() {
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// await waits until the log has grown to an end, or somebody has found a fault.
func (c *crowd) await(end record.Offset) {
	for c.faultless() && c.wrote.Load() < int64(end) {
		<-c.moved
	}
}

// follow reads everything from the log start to what is committed, and checks that nothing is missing.
func (c *crowd) follow(*rand.Rand) error {
	start, committed, _ := c.l.Bounds()
	for at := start; at < committed; {
		chunk, err := c.l.Read(context.Background(), at, committed, 3000, true)
		if errors.Is(err, ErrOffsetOutOfRange) {
			if at, _, _ = c.l.Bounds(); at > start {
				continue // deleted meanwhile
			}
		}
		if err != nil {
			return fmt.Errorf("read at %d: %w", at, err)
		}
		next, err := c.check(chunk, at, committed)
		if err != nil {
			return err
		}
		at = next
	}
	return nil
}

// check looks at every record of a chunk that was read at an offset, and releases it.
func (c *crowd) check(chunk record.Chunk, at, committed record.Offset) (record.Offset, error) {
	defer chunk.Release()
	data, err := chunk.AppendTo(nil)
	if err != nil || len(data) == 0 {
		return at, fmt.Errorf("read at %d of %d: %d bytes: %w", at, committed, len(data), err)
	}
	for len(data) > 0 {
		var b record.Batch
		if b, data, err = record.Parse(data); err == nil {
			err = b.Verify()
		}
		if err != nil {
			return at, err
		}
		if b.BaseOffset() > at || b.NextOffset() <= at || b.NextOffset() > committed {
			return at, fmt.Errorf("read at %d of %d: batch of offsets %d to %d", at, committed, b.BaseOffset(), b.LastOffset())
		}
		at = b.NextOffset()
	}
	return at, nil
}

// readAnywhere holds on to a chunk while others are read.
func (c *crowd) readAnywhere(r *rand.Rand) error {
	var held record.Chunk
	defer func() { held.Release() }()
	for range 5 {
		start, committed, _ := c.l.Bounds()
		if start == committed {
			continue
		}
		at := start + record.Offset(r.Int64N(int64(committed-start)))
		to := at + record.Offset(r.Int64N(int64(committed-at)+1))
		chunk, err := c.l.Read(context.Background(), at, to, r.IntN(5000), r.IntN(2) == 0)
		if errors.Is(err, ErrOffsetOutOfRange) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %d to %d: %w", at, to, err)
		}
		if held.Length > 0 {
			data, err := held.AppendTo(nil)
			if err == nil {
				_, _, err = record.Parse(data)
			}
			if err != nil {
				return fmt.Errorf("a chunk that is held: %w", err)
			}
		}
		held.Release()
		held = chunk
	}
	return nil
}

func (c *crowd) search(r *rand.Rand) error {
	start, _, end := c.l.Bounds()
	ts := int64(start) + r.Int64N(int64(end-start)+1)
	at, found, err := c.l.OffsetForTime(context.Background(), ts)
	if err != nil {
		return fmt.Errorf("search for %d: %w", ts, err)
	}
	if at >= 0 && found < ts {
		return fmt.Errorf("search for %d: found %d at %d", ts, found, at)
	}
	if _, _, err := c.l.MaxTimestamp(context.Background()); err != nil {
		return fmt.Errorf("search for the largest timestamp: %w", err)
	}
	c.l.Size()
	c.dir.Stats()
	return nil
}

func (c *crowd) save(*rand.Rand) error {
	_, committed, _ := c.l.Bounds()
	if committed == 0 {
		return nil // there is nothing to remember yet
	}
	err := c.l.Save(context.Background(), "fold", committed, fmt.Append(nil, committed))
	if errors.Is(err, ErrOffsetOutOfRange) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return fmt.Errorf("save at %d: %w", committed, err)
	}
	at, state, err := c.l.Load(context.Background(), "fold")
	if err == nil && string(state) != fmt.Sprint(at) {
		err = fmt.Errorf("checkpoint at %d says %q", at, state)
	}
	return err
}

func (c *crowd) deleteRecords(r *rand.Rand) error {
	start, committed, _ := c.l.Bounds()
	to := start + record.Offset(r.Int64N(int64(committed-start)/2+1))
	if err := c.l.DeleteBefore(context.Background(), to); err != nil {
		return fmt.Errorf("delete before %d: %w", to, err)
	}
	if start, _, _ := c.l.Bounds(); start < to {
		return fmt.Errorf("deleted before %d, the log starts at %d", to, start)
	}
	return nil
}

func (c *crowd) clean(*rand.Rand) error { return c.dir.Clean(context.Background()) }

func (c *crowd) configure(r *rand.Rand) error {
	cfg := testConfig()
	cfg.SegmentBytes = 1000 + r.Int64N(9000)
	cfg.IndexInterval = 1 + r.Int64N(500)
	cfg.RetentionBytes = 20_000 + r.Int64N(20_000)
	cfg.FlushMessages, cfg.FlushInterval = 1+r.Int64N(2)*50, time.Duration(r.IntN(3))*time.Millisecond
	c.l.Configure(cfg)
	return nil
}

// crowds are the file systems that a crowd works on.
var crowds = map[string]func(t *testing.T, b *bench){
	"on a disk": func(t *testing.T, b *bench) { b.fs, b.path = vfs.OS(), filepath.Join(t.TempDir(), "data") },
	"in memory, with bulk syncs": func(t *testing.T, b *bench) {
		disk := vfs.NewCrashable()
		disk.SetBulkSync(true)
		b.fs, b.opts.BulkFlush = disk, 2
	},
}

// TestEverythingAtOnce lets crowds loose on two logs that have to share four handles.
func TestEverythingAtOnce(t *testing.T) {
	for name, on := range crowds {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, vfs.NewCrashable(), func(b *bench) {
				on(t, b)
				b.opts.OpenFiles = 4
				b.cfg.SegmentBytes = 3000
			})
			var all []*crowd
			var logs []*Log
			for i := range 2 {
				ev := &events{}
				id := Identity{Topic: "crowded", TopicID: [16]byte{9}, Partition: int32(i)}
				l, err := b.dir.Open(context.Background(), id, b.cfg, ev, nil)
				if err != nil {
					t.Fatal(err)
				}
				logs = append(logs, l)
				all = append(all, b.gather(l, ev))
			}
			records := record.Offset(orLong(120, 5_000))
			for _, c := range all {
				c.await(records)
			}
			for _, c := range all {
				close(c.stop)
			}
			for _, c := range all {
				if err := c.end(); err != nil {
					t.Error(err)
				}
			}
			if s := b.dir.Stats(); s.IndexesOdd+s.IndexesRebuilt+s.Damage+s.Cuts+s.CorruptReads+int64(s.Failed) != 0 {
				t.Errorf("%+v", s)
			}
			for i, l := range logs {
				start, _, end := l.Bounds()
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				again := bench{t: t, dir: b.dir}
				var err error
				if again.log, err = b.dir.Open(context.Background(), l.id, b.cfg, &events{}, nil); err != nil {
					t.Fatal(err)
				}
				again.wantBounds(start, end, end)
				again.wantAll(start, end)
				t.Logf("log %d holds %d to %d", i, start, end)
			}
		})
	}
}

func (c *crowd) faultless() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault == nil
}

// TestCloseDuringEverything closes or deletes a log, or closes its directory, in the middle of a crowd. Everybody is
// told that the log is closed, no handle stays open, and what was committed is there at the next open.
func TestCloseDuringEverything(t *testing.T) {
	ends := map[string]func(b *bench) error{
		"log closed":       func(b *bench) error { return b.log.Close() },
		"directory closed": func(b *bench) error { return b.dir.Close() },
		"both closed": func(b *bench) error {
			var group sync.WaitGroup
			errs := make([]error, 4)
			for i := range errs {
				group.Go(func() {
					if i%2 == 0 {
						errs[i] = b.log.Close()
					} else {
						errs[i] = b.dir.Close()
					}
				})
			}
			group.Wait()
			return errors.Join(errs...)
		},
		"topic deleted": func(b *bench) error { return b.dir.Delete(context.Background(), testID) },
	}
	rounds := orLong(3, 200)
	for name, on := range crowds {
		for how, end := range ends {
			t.Run(name+", "+how, func(t *testing.T) {
				b := newBench(t, vfs.NewCrashable(), func(b *bench) {
					on(t, b)
					b.opts.OpenFiles = 4
					b.cfg.SegmentBytes = 3000
				})
				for round := range rounds {
					c := b.gather(b.log, b.ev)
					c.await(b.end() + record.Offset(10*round))
					if err := end(b); err != nil {
						t.Fatal(err)
					}
					if err := c.end(); err != nil {
						t.Fatal(err)
					}
					committed, _, _ := b.ev.get()
					if err := b.dir.Close(); err != nil {
						t.Fatal(err)
					}
					if n := b.dir.handles.count(); n != 0 {
						t.Fatalf("%d handles are open", n)
					}
					b.open()
					start, _, to := b.log.Bounds()
					if how == "topic deleted" {
						committed = 0
					}
					if to < committed {
						t.Fatalf("the log ends at %d, %d was committed", to, committed)
					}
					b.wantAll(start, to)
				}
			})
		}
	}
}
