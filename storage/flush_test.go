package storage

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// TestBulkSyncThatToldAnother has the disk lose what one log wrote, and the bulk sync of another log hear of it: a bulk
// sync reports each failure once and does not say whose it was. The log whose bytes were lost is not to take its own
// bulk sync, which succeeds, for a proof.
func TestBulkSyncThatToldAnother(t *testing.T) {
	disk := vfs.NewCrashable()
	disk.SetBulkSync(true)
	other := testID
	other.Partition++
	var broken, lost atomic.Bool
	b := newBench(t, vfs.Inject(disk, func(op vfs.Op) error {
		switch {
		case op.Kind == vfs.OpBulkSync && broken.CompareAndSwap(true, false):
			lost.Store(true)
			return errors.Join(syscall.EIO, disk.Drop(filepath.Join("/data", testID.Folder(), segmentName(0)+dataSuffix)))
		case op.Kind == vfs.OpSyncFile && lost.Load() && strings.HasSuffix(op.Name, filepath.Join(testID.Folder(), segmentName(0)+dataSuffix)):
			return syscall.EIO // what the kernel tells whoever has the file open
		}
		return nil
	}), func(b *bench) {
		b.opts.BulkFlush = 1
		b.cfg.FlushMessages, b.cfg.FlushInterval = 1000, time.Hour
	})
	ev := &events{}
	l, err := b.dir.Open(context.Background(), other, testConfig(), ev, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.append(3, 0)
	b.sync()
	b.append(3, 0)
	broken.Store(true)
	if _, _, err := l.Append(context.Background(), 1, numbered(t, 0, 3, 0, 0, record.None)); err != nil {
		t.Fatal(err)
	}
	if err := l.sync(context.Background()); err != nil {
		t.Fatal("the other log:", err)
	}
	if err := b.log.sync(context.Background()); !errors.Is(err, ErrFailed) {
		t.Fatalf("sync of the log that lost its bytes: %v, want %v", err, ErrFailed)
	}
	// A log that began to write later has nothing to do with it, and is synced in bulk again.
	if _, _, err := l.Append(context.Background(), 1, numbered(t, 3, 3, 0, 0, record.None)); err != nil {
		t.Fatal(err)
	}
	if err := l.sync(context.Background()); err != nil {
		t.Fatal("the other log, later:", err)
	}
	if err := b.dir.Close(); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	b.dir = nil
}

// TestBulkSyncsRunOneAtATime since a failure is told to one of two that run side by side.
func TestBulkSyncsRunOneAtATime(t *testing.T) {
	disk := vfs.NewCrashable()
	disk.SetBulkSync(true)
	var running, most, all atomic.Int32
	b := newBench(t, vfs.Inject(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpBulkSync {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(100 * time.Microsecond) // as long as a disk takes
			running.Add(-1)
			all.Add(1)
		}
		return nil
	}), func(b *bench) { b.opts.BulkFlush = 2 })
	logs := b.more(20)
	for i := range 30 {
		for _, l := range logs {
			if _, _, err := l.Append(context.Background(), 1, numbered(t, record.Offset(i), 1, 0, 0, record.None)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, l := range logs {
		if err := l.sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		if _, committed, end := l.Bounds(); committed != 30 || end != 30 {
			t.Fatal(committed, end)
		}
	}
	if all.Load() == 0 || most.Load() > 1 {
		t.Fatalf("%d bulk syncs, up to %d at a time", all.Load(), most.Load())
	}
}

// more opens n further logs in the bench's directory.
func (b *bench) more(n int) (logs []*Log) {
	b.t.Helper()
	for i := range n {
		id := Identity{Topic: "many", TopicID: [16]byte{9}, Partition: int32(i)}
		l, err := b.dir.Open(context.Background(), id, b.cfg, &events{}, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		logs = append(logs, l)
	}
	return logs
}

// TestShorterFlushInterval shortens the interval of a log whose records wait for the end of a longer one.
func TestShorterFlushInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int32
		b := &bench{t: t, path: "/data", cfg: testConfig()}
		b.fs = vfs.Inject(vfs.NewCrashable(), func(op vfs.Op) error {
			if op.Kind == vfs.OpSyncFile && filepath.Ext(op.Name) == dataSuffix {
				syncs.Add(1)
			}
			return nil
		})
		b.cfg.FlushMessages, b.cfg.FlushInterval = math.MaxInt64, math.MaxInt64 // Kafka's defaults
		b.open()
		defer b.close()
		b.append(3, 0)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if syncs.Load() != 0 {
			t.Fatal("synced with no reason to")
		}
		b.cfg.FlushInterval = time.Second
		b.log.Configure(b.cfg)
		time.Sleep(time.Second)
		synctest.Wait()
		if syncs.Load() == 0 {
			t.Fatal("records wait longer than the interval")
		}
	})
}

// TestJitterLongerThanTheAge gives a log a jitter that is longer than its segments' age. It takes no more than all of
// the age away, as in Kafka, so records of one time stay together.
func TestJitterLongerThanTheAge(t *testing.T) {
	for range 20 { // each log has a jitter of its own
		b := newBench(t, vfs.NewCrashable(), func(b *bench) { b.cfg.SegmentAge, b.cfg.SegmentJitter = time.Hour, 1000*time.Hour })
		for range 5 {
			b.append(1, 5000)
		}
		if n := b.segments(); n != 1 {
			t.Fatalf("%d segments for 5 records", n)
		}
	}
}

// TestCatalogRollsOnAFullDisk fills a disk with a log and goes on with one that may use the reserve, past the end of its
// segment.
func TestCatalogRollsOnAFullDisk(t *testing.T) {
	disk := vfs.NewCrashable()
	disk.SetCapacity(400 << 10)
	b := newBench(t, disk, func(b *bench) {
		b.opts.Reserve = 128 << 10
		b.cfg.SegmentBytes = 1 << 20
	})
	c := b.cfg
	c.UseReserve, c.SegmentBytes = true, 5000
	id := testID
	id.Topic = "@catalog"
	catalog, err := b.dir.Open(context.Background(), id, c, &events{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The disk is filled to the last block, so that no room is left over by chance.
	for size := 4000; size >= 0; size -= 1000 {
		for err = nil; err == nil; {
			_, _, err = b.log.Append(context.Background(), 1, numbered(t, b.end(), 1, 0, size, record.None))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		if _, _, err := catalog.Append(context.Background(), 1, numbered(t, record.Offset(i), 1, 0, 1000, record.None)); err != nil {
			t.Fatalf("append %d: %v", i, err)
		}
	}
	if n := len(catalog.view.Load().segments); n < 3 {
		t.Fatalf("%d segments", n)
	}
}

// TestGather appends to many logs while their syncs are gathered: none begins before that is over, and one bulk sync takes
// them all then.
func TestGather(t *testing.T) {
	const logs = 40
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrashable()
		disk.SetBulkSync(true)
		var single, bulk atomic.Int32
		b := &bench{t: t, path: "/data", cfg: testConfig()}
		b.fs = vfs.Inject(disk, func(op vfs.Op) error {
			switch {
			case op.Kind == vfs.OpBulkSync:
				bulk.Add(1)
			case op.Kind == vfs.OpSyncFile && filepath.Ext(op.Name) == dataSuffix:
				single.Add(1)
			}
			return nil
		})
		b.open()
		all := b.more(logs)
		sync := b.dir.Gather()
		other := b.dir.Gather()
		for _, l := range all {
			if _, _, err := l.Append(context.Background(), 1, numbered(t, 0, 1, 0, 0, record.None)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if single.Load() != 0 || bulk.Load() != 0 {
			t.Errorf("%d syncs and %d bulk syncs while they are gathered", single.Load(), bulk.Load())
		}
		sync()
		synctest.Wait()
		if single.Load() != 0 || bulk.Load() != 1 {
			t.Errorf("%d syncs and %d bulk syncs for %d logs, want one bulk sync", single.Load(), bulk.Load(), logs)
		}
		for _, l := range all {
			if _, committed, _ := l.Bounds(); committed != 1 {
				t.Errorf("%s is committed to %d, want 1", l.Identity(), committed)
			}
		}
		other()
		b.close()
	})
}

// TestBulkWhereItIsQuicker: what syncs have cost decides how fewer logs than BulkFlush are synced.
func TestBulkWhereItIsQuicker(t *testing.T) {
	f := &flusher{bulkMin: 32, bulk: struct{ vfs.Syncer }{}}
	expect := func(n int, want bool) {
		t.Helper()
		if got := f.prefersBulk(n); got != want {
			t.Errorf("%d logs at %v each and %v for all: bulk is %v, want %v", n, f.oneCost, f.allCost, got, want)
		}
	}
	expect(2, false) // nothing is known yet
	expect(32, true)
	measured(&f.oneCost, 200*time.Microsecond)
	expect(1, false)
	expect(2, true) // to be measured
	for range 100 {
		measured(&f.allCost, 500*time.Microsecond)
	}
	expect(4, false)
	expect(6, true)
	for range 100 {
		measured(&f.allCost, 60*time.Millisecond) // beside somebody who writes a lot
	}
	expect(6, false)
	expect(31, false)
	for range 1000 {
		f.prefersBulk(6)
	}
	expect(6, true) // that is long ago
	f.bulk = nil
	expect(100, false)
}

// TestSyncedEndIsNoted looks into the index of a log that is written to, then rolls, then is closed: it notes all that bulk
// syncs were of within a second, with one note for many of them, and at the end without that.
func TestSyncedEndIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrashable()
		disk.SetBulkSync(true)
		b := &bench{t: t, path: "/data", cfg: testConfig(), fs: disk}
		b.opts.BulkFlush = 1
		b.open()
		noted := func(want record.Offset) {
			t.Helper()
			segments := b.log.view.Load().segments
			if _, got := segments[len(segments)-1].idx.Load().synced(); got != want {
				t.Fatalf("the index notes %d, want %d", got, want)
			}
		}
		write := func() {
			b.append(3, 0)
			if err := b.log.sync(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		write()
		noted(0)
		time.Sleep(noteEvery / 2)
		write()
		noted(0)
		time.Sleep(noteEvery / 2)
		synctest.Wait()
		noted(6)
		write()
		noted(6)
		time.Sleep(noteEvery)
		synctest.Wait()
		noted(9)

		write()
		b.cfg.SegmentBytes = 1
		b.log.Configure(b.cfg)
		write()
		segments := b.log.view.Load().segments
		if _, got := segments[len(segments)-2].idx.Load().synced(); len(segments) != 2 || got != 12 {
			t.Fatalf("%d segments, the sealed one notes %d", len(segments), got)
		}
		time.Sleep(noteEvery)
		synctest.Wait()
		noted(15)
		b.log.Configure(testConfig())
		write()
		noted(15)
		path := b.log.view.Load().segments[1].idx.Load().path
		b.close()
		data, err := readFile(b.fs, path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := noteIn(data); got != 18 {
			t.Fatalf("after the close %s notes %d", path, got)
		}
	})
}
