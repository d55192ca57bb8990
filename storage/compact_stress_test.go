package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// thinCrowd writes numbers under a few keys and reads them while the log is compacted: the number of a key never goes
// back, and who has read to the end knows the last one of each.
type thinCrowd struct {
	b       *bench
	keys    int
	written []atomic.Int64 // the last number of each key that was committed
	last    []int64        // of the writer alone
	stop    chan struct{}
	group   sync.WaitGroup
	passes  atomic.Int64 // reads of the whole log
	news    chan struct{}
}

// write appends a few records, and tells what is committed.
func (c *thinCrowd) write(r *rand.Rand) error {
	bb := record.NewBuilder(0)
	var touched []int
	for range 1 + r.IntN(4) {
		k := r.IntN(c.keys)
		touched = append(touched, k)
		c.last[k]++
		bb.Add(time.Now().UnixMilli(), []byte(strconv.Itoa(k)), fmt.Appendf(nil, "%d %s", c.last[k], strings.Repeat("x", r.IntN(100))))
	}
	batch, err := bb.Build()
	if err != nil {
		return err
	}
	if _, _, err := c.b.log.Append(context.Background(), 1, batch); err != nil {
		return err
	}
	if err := c.b.log.sync(context.Background()); err != nil {
		return err
	}
	for _, k := range touched {
		c.written[k].Store(c.last[k])
	}
	return nil
}

// pass reads the whole log, to where it ends when there is nothing more to read: what is superseded while it is at it may
// be gone before it comes there.
func (c *thinCrowd) pass(r *rand.Rand) error {
	least := make([]int64, c.keys)
	for k := range least {
		least[k] = c.written[k].Load()
	}
	start, to, _ := c.b.log.Bounds()
	seen := make([]int64, c.keys)
	for at := start; at < to; _, to, _ = c.b.log.Bounds() {
		chunk, err := c.b.log.Read(context.Background(), at, to, 200+r.IntN(3000), true)
		if err != nil {
			return fmt.Errorf("read at %d of %d: %w", at, to, err)
		}
		if chunk.Length == 0 {
			return fmt.Errorf("nothing to read at %d of %d", at, to)
		}
		all, err := chunkBatches(chunk)
		if err != nil {
			return fmt.Errorf("read at %d: %w", at, err)
		}
		for _, b := range all {
			if b.NextOffset() <= at {
				return fmt.Errorf("read up to %d at %d", b.NextOffset(), at)
			}
			for rec, err := range b.Records(nil) {
				if err != nil {
					return err
				}
				k, _ := strconv.Atoi(string(rec.Key))
				n, _, _ := strings.Cut(string(rec.Value), " ")
				number, err := strconv.ParseInt(n, 10, 64)
				if err != nil || number <= seen[k] {
					return fmt.Errorf("key %d has %q at %d after %d: %w", k, rec.Value[:min(len(rec.Value), 20)], rec.Offset, seen[k], err)
				}
				seen[k] = number
			}
			at = b.NextOffset()
		}
	}
	for k, n := range least {
		if seen[k] < n {
			return fmt.Errorf("key %d was last seen with %d, and %d was committed before", k, seen[k], n)
		}
	}
	c.passes.Add(1)
	return nil
}

// search asks for times, checkpoints and places while segments are exchanged.
func (c *thinCrowd) search(r *rand.Rand) error {
	ctx, l := context.Background(), c.b.log
	start, committed, _ := l.Bounds()
	if _, _, err := l.OffsetForTime(ctx, time.Now().UnixMilli()-r.Int64N(1000)); err != nil {
		return err
	}
	if _, _, err := l.MaxTimestamp(ctx); err != nil {
		return err
	}
	if committed > start {
		if err := l.Save(ctx, "fold", committed, []byte("state")); err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
			return err
		}
	}
	return nil
}

// TestCompactionUnderReaders compacts a log all the time while it is written and read, by few handles, so that files are
// closed and opened again in between.
func TestCompactionUnderReaders(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"disk": nil, "memory": vfs.NewCrashable()} {
		t.Run(name, func(t *testing.T) {
			b := newCompactBench(t, fsys, func(b *bench) {
				b.cfg.SegmentBytes, b.cfg.MinDirtyRatio = 3000, 0.2
				b.opts.CompactBackoff, b.opts.OpenFiles, b.opts.Compactors = time.Millisecond, 2, 2
				b.opts.CompactMemory = 2 * 24 * 8
			})
			c := &thinCrowd{b: b, keys: 20, stop: make(chan struct{}), news: make(chan struct{}, 1)}
			c.written, c.last = make([]atomic.Int64, c.keys), make([]int64, c.keys)
			faults := make(chan error, 16)
			for i, work := range []func(*rand.Rand) error{c.write, c.pass, c.pass, c.pass, c.search} {
				c.group.Go(func() {
					r := rand.New(rand.NewPCG(uint64(i), 7))
					for {
						select {
						case <-c.stop:
							return
						default:
						}
						if err := work(r); err != nil {
							faults <- fmt.Errorf("worker %d: %w", i, err)
							return
						}
						select {
						case c.news <- struct{}{}:
						default:
						}
					}
				})
			}
			var fault error
			for enough := false; fault == nil && !enough; {
				select {
				case fault = <-faults:
				case <-c.news:
				}
				s := b.dir.Stats()
				enough = s.Compactions >= int64(orLong(30, 20_000)) && c.passes.Load() > 20
			}
			close(c.stop)
			c.group.Wait()
			if s := b.dir.Stats(); fault != nil || s.Damage+s.CorruptReads+s.CompactFailures+int64(s.CompactHalted) != 0 {
				t.Fatalf("%v; %+v", fault, s)
			}
			t.Logf("%d rounds, %d passes", b.dir.Stats().Compactions, c.passes.Load())
			if err := c.pass(rand.New(rand.NewPCG(1, 1))); err != nil {
				t.Fatal(err)
			}
		})
	}
}
