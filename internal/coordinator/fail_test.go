package coordinator_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/coordinator"
	"segue/partition"
	"segue/partition/logtest"
	"segue/storage/record"
)

// TestFailedAppend fails the append of one command while others are under way: all that wait are told so, and the shard
// then has exactly what is in the log.
func TestFailedAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.do(add(1))
		s.log.Hold()
		calls := []*call{s.start(command{park: true}), s.start(add(2)), s.start(look())}
		s.log.RefuseWrites(logtest.ErrDisk)
		failed := s.start(add(3))
		for _, c := range append(calls, failed) {
			c.failed(coordinator.ErrUnavailable)
		}
		if !errors.Is(failed.err, kerr.KafkaStorageError) {
			t.Errorf("without its cause: %v", failed.err)
		}
		s.log.RefuseWrites(nil)
		// The number 2 is in the log, and nobody knows yet whether it will stay.
		s.start(look()).failed(coordinator.ErrLoading)
		s.log.CommitAll()
		synctest.Wait()
		s.start(look()).saw(2)
		last := s.start(add(4))
		s.log.CommitAll()
		last.saw(3)
		if got := replayed(t, s.log.Batches()).numbers; !slices.Equal(got, []int64{1, 2, 4}) {
			t.Errorf("the log holds %d", got)
		}
		if got := s.r.Stats(); got.Failures != 1 || got.Loads != 2 || got.LoadFailures != 0 {
			t.Errorf("%+v", got)
		}
		s.close()
	})
}

// TestGrowingPause fails every append. The first time the shard is there again at once, then it takes longer and longer,
// until one goes well.
func TestGrowingPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		away := func() time.Duration {
			begin := time.Now()
			s.start(add(1)).failed(coordinator.ErrUnavailable)
			for {
				x := s.start(look())
				if x.err == nil {
					return time.Since(begin).Round(10 * time.Millisecond)
				}
				x.failed(coordinator.ErrLoading)
				time.Sleep(time.Millisecond)
			}
		}
		s.log.RefuseWrites(logtest.ErrDisk)
		for i, want := range []time.Duration{0, 100, 200, 400, 800, 1600, 3200, 5000, 5000} {
			if got := away(); got != want*time.Millisecond {
				t.Errorf("away for %v the %dth time, want %dms", got, i+1, want)
			}
		}
		s.log.RefuseWrites(nil)
		s.start(add(7)).saw(1)
		s.log.RefuseWrites(logtest.ErrDisk)
		if got := away(); got != 0 {
			t.Errorf("away for %v after all was well again", got)
		}
		s.close()
	})
}

func TestFailedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.do(add(1))
		s.log.Hold()
		calls := []*call{s.start(command{park: true}), s.start(add(2)), s.start(look())}
		s.log.Fail(logtest.ErrDisk)
		for _, c := range calls {
			c.failed(coordinator.ErrUnavailable)
		}
		time.Sleep(time.Minute)
		s.start(look()).failed(coordinator.ErrUnavailable) // and not loading, which would end some time
		if got := s.r.Stats(); got.Pausing != 1 || got.LoadFailures < 5 {
			t.Errorf("%+v", got)
		}
		// What was not committed goes with the power, say.
		s.r.Unload(0)
		if err := s.p.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.log.Crash(0)
		s.p = openPartition(t, s.store, 0, 1)
		s.r.Load(0, s.p)
		synctest.Wait()
		s.start(look()).saw(1)
		s.close()
	})
}

// TestFailedIdle has a log fail while nothing is under way but what the machine keeps.
func TestFailedIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		parked := s.start(command{park: true})
		s.log.Fail(logtest.ErrDisk)
		parked.failed(coordinator.ErrUnavailable)
		time.Sleep(time.Minute)
		s.start(look()).failed(coordinator.ErrUnavailable)
		if got := s.r.Stats(); got.Failures != 1 || got.Loads != 1 { // it was not even read again
			t.Errorf("%+v", got)
		}
		s.close()
	})
}

// TestClosedPartition closes the partition under a shard. What was committed by that is still answered.
func TestClosedPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.log.Hold()
		written := s.start(add(1))
		parked := s.start(command{park: true})
		closed := make(chan error, 1)
		go func() { closed <- s.p.Close(context.Background()) }()
		synctest.Wait()
		written.waits()
		s.log.CommitAll()
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		written.saw(1)
		parked.failed(coordinator.ErrNotCoordinator)
		time.Sleep(time.Minute)
		s.start(add(1)).failed(coordinator.ErrNotCoordinator)
		s.close()
	})
}

func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.do(add(1))
		parked := s.start(command{park: true})
		s.start(command{add: []int64{2}, panic: true}).failed(coordinator.ErrPanicked)
		parked.failed(coordinator.ErrUnavailable)
		s.start(look()).saw(1)
		if got := s.r.Stats(); got.Panics != 1 || got.Failures != 1 {
			t.Errorf("%+v", got)
		}
		s.close()
	})
}

// TestSomebodyElseWrites appends to the log behind the shard's back, which it finds out with its next append.
func TestSomebodyElseWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.do(add(1))
		b := record.NewBuilder(0)
		r := encode(2, 0)
		b.Add(time.Now().UnixMilli(), r.Key, r.Value)
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.p.Append(context.Background(), -1, batch, partition.Coordinator); err != nil {
			t.Fatal(err)
		}
		s.start(add(3)).failed(coordinator.ErrUnavailable)
		s.start(look()).saw(3) // it was written nevertheless
		s.close()
	})
}

// TestTooLarge has a command lead to more than the log takes in one batch. It is told so, and is not done.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(o *coordinator.Options[command]) { o.BatchBytes = 1000 })
		config := testConfig()
		config.MaxMessageBytes = 500 // which is for clients
		s.p.Configure(config)
		s.start(command{add: []int64{1, 2}, pad: 1000}).saw(2)
		parked := s.start(command{park: true})
		x := s.start(command{add: []int64{3, 4}, pad: int(config.Log.SegmentBytes) / 2})
		x.failed(coordinator.ErrTooLarge)
		if !errors.Is(x.err, kerr.RecordListTooLarge) {
			t.Errorf("without its cause: %v", x.err)
		}
		parked.failed(coordinator.ErrUnavailable)
		s.start(look()).saw(2)
		s.close()
	})
}
