package coordinator_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"segue/internal/coordinator"
)

// TestUnload ends a shard with everything under way that can be.
func TestUnload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.log.Hold()
		calls := []*call{
			s.start(command{park: true}), s.start(add(1)), s.start(add(2)), s.start(add(3)), s.start(look()),
		}
		s.r.Unload(0)
		for _, c := range calls {
			c.failed(coordinator.ErrNotCoordinator)
		}
		s.log.CommitAll()
		s.start(look()).failed(coordinator.ErrNotCoordinator)
		// The two that were appended stand; the third was gathered and is not.
		s.r.Load(0, s.p)
		synctest.Wait()
		s.start(look()).saw(2)
		s.close()
	})
}

// TestUnloadWithFullInbox has a Do that waits for room find out that there will be none.
func TestUnloadWithFullInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(o *coordinator.Options[command]) { o.Inbox, o.Held = 1, 1 })
		s.log.Hold()
		calls := []*call{s.start(add(1)), s.start(add(2)), s.start(add(3)), s.start(add(4))}
		s.r.Unload(0)
		for _, c := range calls {
			c.failed(coordinator.ErrNotCoordinator)
		}
		s.log.CommitAll()
		s.close()
	})
}

// TestClose has patience: what was taken is appended and answered, and what the machine keeps is told that this is the
// end.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.log.Hold()
		parked := s.start(command{park: true, add: nil})
		calls := []*call{s.start(add(1)), s.start(add(2)), s.start(add(3)), s.start(add(4)), s.start(look())}
		parked.waits()
		quiet := s.start(command{add: []int64{5}, nothing: true})
		closed := make(chan error, 1)
		go func() { closed <- s.r.Close(context.Background()) }()
		synctest.Wait()
		s.start(add(9)).failed(coordinator.ErrNotCoordinator) // too late
		select {
		case err := <-closed:
			t.Fatalf("closed with %v while replies are held", err)
		default:
		}
		for range 4 {
			s.log.CommitAll()
			synctest.Wait()
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		for i, c := range calls {
			c.saw(min(i+1, 4))
		}
		parked.saw(1)
		quiet.failed(coordinator.ErrNotCoordinator)
		if got := replayed(t, s.log.Batches()).numbers; len(got) != 5 {
			t.Errorf("the log holds %d", got)
		}
		s.start(look()).failed(coordinator.ErrNotCoordinator)
		s.r.Load(0, s.p)
		s.start(look()).failed(coordinator.ErrNotCoordinator)
		s.close() // again
	})
}

// TestCloseAppendsWhatWasGathered closes with records gathered that nobody waits for.
func TestCloseAppendsWhatWasGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.log.Hold()
		for n := range int64(4) {
			s.start(command{add: []int64{n}, nothing: true}).waits()
		}
		closed := make(chan error, 1)
		go func() { closed <- s.r.Close(context.Background()) }()
		synctest.Wait()
		s.log.CommitAll()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if got := s.batches(); got != "[1 1 2]" {
			t.Errorf("batches of %s records", got)
		}
	})
}

// TestCloseWithoutPatience closes with a log that commits nothing.
func TestCloseWithoutPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.log.Hold()
		calls := []*call{s.start(add(1)), s.start(look()), s.start(command{park: true})}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		if err := s.r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closed with %v", err)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("closed after %v", took)
		}
		for _, c := range calls {
			c.failed(coordinator.ErrNotCoordinator)
		}
		s.log.CommitAll()
		s.close()
	})
}

// TestCloseDuringLoad does not wait for the log to be read.
func TestCloseDuringLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.do(add(1))
		s.r.Unload(0)
		slow := newSlowLog(s.p)
		s.r.Load(0, slow)
		s.start(look()).failed(coordinator.ErrLoading)
		closed := make(chan error, 1)
		go func() { closed <- s.r.Close(context.Background()) }()
		synctest.Wait()
		select {
		case err := <-closed:
			t.Fatalf("closed with %v while a read is under way", err)
		default:
		}
		close(slow.release)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if got := s.r.Stats().Loads; got != 1 {
			t.Errorf("%d loads", got)
		}
	})
}
