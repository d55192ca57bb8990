package partition_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"segue/partition"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
)

// txnCrowd is producers who say in each record what will become of its transaction, and readers who believe them.
type txnCrowd struct {
	*testing.T
	p         *partition.Partition
	dir       *storage.Dir
	stop      atomic.Bool
	committed [crowdProducers]atomic.Pointer[crowdValue] // the last of each producer that was committed
	passes    atomic.Int64
	leave     chan struct{}      // to have a transaction: readers give it, or the log would grow faster than they read
	enough    context.CancelFunc // of passes and compactions
}

// crowdValue is a value and where it was written.
type crowdValue struct {
	n  int64
	at record.Offset
}

// progress notes that something has come round.
func (c *txnCrowd) progress() {
	for range cap(c.leave) {
		select {
		case c.leave <- struct{}{}:
		default:
		}
	}
	if c.stop.Load() || c.passes.Load() > 100 && c.dir.Stats().Compactions > 40 {
		c.enough()
	}
}

const crowdProducers = 4

// produce has one transaction after the other, some of which are to be aborted.
func (c *txnCrowd) produce(id int64, enough <-chan struct{}) error {
	ctx, r := context.Background(), rand.New(rand.NewPCG(uint64(id), 9))
	seq, n := int32(0), int64(0)
	for epoch := int16(0); !c.stop.Load(); epoch++ {
		select {
		case <-c.leave:
		case <-enough:
			return nil
		}
		commit := r.IntN(2) == 0
		var last crowdValue
		for range 1 + r.IntN(3) {
			n++
			bb := record.NewBuilder(0)
			bb.ProducerID, bb.ProducerEpoch, bb.BaseSequence, bb.Transactional = id, epoch, seq, true
			bb.Add(time.Now().UnixMilli(), fmt.Append(nil, id), fmt.Appendf(nil, "%d %t", n, commit))
			b, err := bb.Build()
			if err != nil {
				return err
			}
			one := []partition.Addition{{Batch: b}}
			if one[0].Guard, _, err = c.p.Guard(b.Header, true); err != nil {
				return err
			}
			if c.p.AppendAll(ctx, -1, one, partition.Client); one[0].Err != nil {
				return one[0].Err
			}
			if r.IntN(2) == 0 {
				if err := one[0].Ack.Wait(ctx); err != nil {
					return err
				}
			}
			last = crowdValue{n, one[0].Ack.Base}
			seq++
		}
		seq = 0
		ack, err := c.p.AppendMarker(ctx, -1, partition.Marker{ProducerID: id, ProducerEpoch: epoch + 1, Commit: commit, Version: 2})
		if err == nil {
			err = ack.Wait(ctx)
		}
		if err != nil {
			return err
		}
		if commit {
			c.committed[id].Store(&last)
		}
	}
	return nil
}

// read goes over what is committed, again and again, and sees nothing that was to be aborted, and all that had been committed
// before it began.
func (c *txnCrowd) read(maxBytes int) error {
	for !c.stop.Load() {
		var want, got [crowdProducers]int64
		for id := range want {
			if v := c.committed[id].Load(); v != nil && v.at < c.p.Offsets().LastStable {
				want[id] = v.n
			}
		}
		var wrong error
		committed(c.T, c.p, 0, maxBytes, func(r record.Record) {
			var id, n int64
			var commit bool
			_, err := fmt.Sscanf(string(r.Key)+" "+string(r.Value), "%d %d %t", &id, &n, &commit)
			if err != nil || !commit || n <= got[id] {
				wrong = errors.Join(wrong, fmt.Errorf("at %d a reader sees %s %s behind %d (%v)", r.Offset, r.Key, r.Value, got[id], err))
			}
			got[id] = n
		})
		for id := range want {
			if got[id] < want[id] {
				wrong = errors.Join(wrong, fmt.Errorf("of producer %d the last value seen is %d, and %d was committed before", id, got[id], want[id]))
			}
		}
		if wrong != nil {
			return wrong
		}
		c.passes.Add(1)
		c.progress()
	}
	return nil
}

// compact compacts the log whenever there is anything to compact.
func (c *txnCrowd) compact(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := c.dir.Compact(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// TestTransactionsUnderReaders has producers, readers and compaction at work side by side.
func TestTransactionsUnderReaders(t *testing.T) {
	ctx := context.Background()
	dir, err := storage.OpenDir("data", storage.Options{FS: vfs.NewCrashable(), Compactors: -1, CompactBackoff: time.Nanosecond, Reserve: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	config := testConfig()
	config.Log.Compact, config.Log.Delete, config.Log.SegmentBytes, config.Log.TombstoneAge = true, false, 2000, 50*time.Millisecond
	p, err := partition.Open(ctx, partition.Local(dir), theID, 1, config, codecs())
	if err != nil {
		t.Fatal(err)
	}
	patience, enough := context.WithTimeout(ctx, 30*time.Second)
	defer enough()
	c := &txnCrowd{T: t, p: p, dir: dir, leave: make(chan struct{}, 10), enough: enough}
	var group sync.WaitGroup
	run := func(what func() error) {
		group.Go(func() {
			if err := what(); err != nil {
				t.Error(err)
				c.stop.Store(true)
				enough()
			}
		})
	}
	for id := range int64(crowdProducers) {
		run(func() error { return c.produce(id, patience.Done()) })
	}
	run(func() error { return c.read(1 << 20) })
	run(func() error { return c.read(300) })
	run(func() error { return c.compact(patience) })
	if <-patience.Done(); context.Cause(patience) != context.Canceled {
		t.Errorf("%d reads of the log and %d compactions in all that time; the marks are %+v", c.passes.Load(), dir.Stats().Compactions, p.Offsets())
	}
	c.stop.Store(true)
	group.Wait()
	if err := errors.Join(p.Close(ctx), dir.Close()); err != nil {
		t.Fatal(err)
	}
}
