package coordinator_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"segue/internal/coordinator"
)

func TestRepliesWaitForCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.start(look()).saw(0) // nothing is under way
		s.log.Hold()
		first := s.start(add(1))
		first.waits()
		read := s.start(look())
		read.waits() // it saw what may yet be lost
		second := s.start(add(2))
		late := s.start(look())
		s.log.Commit(1)
		first.saw(1)
		read.saw(1)
		second.waits()
		late.waits()
		s.log.CommitAll()
		second.saw(2)
		late.saw(2)
		s.start(look()).saw(2)
		s.close()
	})
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.log.Hold()
		var calls []*call
		for n := range int64(6) {
			calls = append(calls, s.start(add(10*n, 10*n+1)))
		}
		// The first is under way, the second waits for the next sync; the others are gathered.
		if got := s.batches(); got != "[2 2]" {
			t.Errorf("batches of %s records while one is under way", got)
		}
		s.log.Commit(2)
		synctest.Wait()
		if got := s.batches(); got != "[2 2 8]" {
			t.Errorf("batches of %s records", got)
		}
		s.log.CommitAll()
		for i, c := range calls {
			c.saw(2 * (i + 1))
		}
		if got := s.r.Stats(); got.Commands != 6 || got.Batches != 3 || got.Records != 12 || got.Serving != 1 {
			t.Errorf("%+v", got)
		}
		s.close()
	})
}

// TestBatchLimit has commands fill batches: none is split, and one that is larger than the limit goes by itself.
func TestBatchLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(o *coordinator.Options[command]) { o.BatchBytes = 1000 })
		s.log.Hold()
		var calls []*call
		give := func(pad int, numbers ...int64) { calls = append(calls, s.start(command{add: numbers, pad: pad})) }
		give(0, 1)
		give(0, 2)
		for n := range int64(4) {
			give(100, 100+3*n, 101+3*n, 102+3*n) // two of these fit
		}
		give(3000, 1000, 1001)
		give(0, 3)
		s.log.CommitAll()
		synctest.Wait()
		s.log.CommitAll()
		count := 0
		for i, n := range []int{1, 1, 3, 3, 3, 3, 2, 1} {
			count += n
			calls[i].saw(count)
		}
		if got := s.batches(); got != "[1 1 6 6 2 1]" {
			t.Errorf("batches of %s records", got)
		}
		s.close()
	})
}

func TestReplyLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		a, b := s.start(command{park: true}), s.start(command{park: true})
		a.waits()
		s.log.Hold()
		c := s.start(add(1))
		a.waits()
		s.log.CommitAll()
		a.saw(1)
		b.saw(1)
		c.saw(1)
		s.start(command{twice: true}).saw(1) // the second reply goes to nobody
		s.start(look()).saw(1)
		s.close()
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		begin := time.Now()
		parked := s.start(command{park: true})
		s.do(command{expire: 1, after: 10 * time.Second})
		time.Sleep(6 * time.Second)
		s.do(command{expire: 2, after: 10 * time.Second}) // moved back, as a heartbeat does
		time.Sleep(9 * time.Second)
		parked.waits()
		time.Sleep(time.Second)
		parked.saw(1)
		if got := time.Since(begin); got != 16*time.Second {
			t.Errorf("after %v", got)
		}
		s.do(command{expire: 3, after: time.Hour})
		s.do(command{expire: 4, after: time.Second}) // and forward
		time.Sleep(time.Second)
		s.start(look()).saw(2)
		time.Sleep(2 * time.Hour)
		s.start(look()).saw(2)
		s.close()
		if got := replayed(t, s.log.Batches()).numbers; len(got) != 2 || got[0] != 2 || got[1] != 4 {
			t.Errorf("the log holds %d", got)
		}
	})
}

// TestExpiredReplies has a reply that comes of a deadline wait for the record that it rests on.
func TestExpiredReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		parked := s.start(command{park: true})
		s.do(command{expire: 1, after: time.Second})
		s.log.Hold()
		time.Sleep(time.Minute)
		parked.waits()
		s.log.CommitAll()
		parked.saw(1)
		s.close()
	})
}

func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.log.Hold()
		ctx, cancel := context.WithCancelCause(context.Background())
		left := s.startWith(ctx, add(1))
		left.waits()
		cancel(errors.New("the client is gone"))
		left.failed(context.Canceled)
		s.startWith(ctx, add(2)).failed(context.Canceled) // it is not even taken
		short, cancel2 := context.WithTimeout(context.Background(), time.Second)
		defer cancel2()
		timed := s.startWith(short, look())
		time.Sleep(time.Second)
		timed.failed(context.DeadlineExceeded)
		// The command stands, and its reply goes to nobody else.
		next := s.start(add(3))
		s.log.CommitAll()
		synctest.Wait()
		next.saw(2)
		s.log.CommitAll()
		s.start(look()).saw(2)
		s.close()
	})
}

// TestInbox has a shard that is busy: Do waits for room, as long as its context lets it.
func TestInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := make(chan struct{})
		s := newStage(t, func(o *coordinator.Options[command]) {
			o.Inbox = 2
			o.Machine = func(int32) coordinator.Machine[command] { return &busyJournal{until: busy} }
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		calls := []*call{s.start(add(1)), s.start(add(2)), s.start(add(3)), s.start(add(4))}
		impatient := s.startWith(ctx, add(5))
		for _, c := range append(calls, impatient) {
			c.waits()
		}
		time.Sleep(time.Second)
		impatient.failed(context.DeadlineExceeded)
		close(busy)
		for _, c := range calls {
			if !c.isDone() || c.err != nil {
				t.Errorf("answered with %v, %v", c.view, c.err)
			}
		}
		s.start(look()).saw(4)
		s.close()
	})
}

// busyJournal takes its time over the first command.
type busyJournal struct {
	journal
	until chan struct{}
}

func (j *busyJournal) Handle(now time.Time, t coordinator.Token, c command) coordinator.Effects {
	<-j.until
	return j.journal.Handle(now, t, c)
}

// TestHeld has a log that commits nothing: the shard takes commands up to a limit, and goes on when it does.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(o *coordinator.Options[command]) { o.Held, o.Inbox = 5, 1 })
		s.log.Hold()
		var calls []*call
		for n := range int64(20) {
			calls = append(calls, s.start(add(n)))
		}
		if got := s.r.Stats().Commands; got != 5 {
			t.Errorf("%d commands taken", got)
		}
		for range 20 {
			s.log.CommitAll()
			synctest.Wait()
		}
		for _, c := range calls {
			if !c.isDone() || c.err != nil {
				t.Errorf("answered with %v, %v", c.view, c.err)
			}
		}
		s.start(look()).saw(20)
		s.close()
	})
}

func TestShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		if _, err := s.r.Do(t.Context(), 7, look()); !errors.Is(err, coordinator.ErrNotCoordinator) {
			t.Errorf("a shard that is not here: %v", err)
		}
		s.r.Load(7, openPartition(t, s.store, 7, 0))
		s.r.Load(3, openPartition(t, s.store, 3, 0))
		s.r.Load(3, nil) // it is here already
		synctest.Wait()
		if got := s.r.Shards(); len(got) != 3 || got[0] != 0 || got[1] != 3 || got[2] != 7 {
			t.Errorf("shards %d", got)
		}
		mustDo(t, s.r, 3, add(3))
		s.start(look()).saw(0)
		s.r.Unload(3)
		s.r.Unload(3)
		if _, err := s.r.Do(t.Context(), 3, look()); !errors.Is(err, coordinator.ErrNotCoordinator) {
			t.Errorf("a shard that was unloaded: %v", err)
		}
		if got := s.r.Shards(); len(got) != 2 {
			t.Errorf("shards %d", got)
		}
		s.close()
		if got := s.r.Stats(); got.Serving+got.Loading+got.Pausing != 0 || len(s.r.Shards()) != 0 || got.Loads != 3 {
			t.Errorf("%+v", got)
		}
	})
}
