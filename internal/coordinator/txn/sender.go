package txn

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"

	"segue/partition"
)

// sender has the markers written of transactions that are decided, and then has them completed: of many side by side, each
// again and again until it is done or its shard is gone. It has a goroutine for each transaction that it is at, within a
// bound, and a timer for each that is to be tried again.
type sender struct {
	markers  MarkerWriter
	complete func(ctx context.Context, shard int32, done Complete) error
	fill     func(ctx context.Context) error // has producer ids at hand
	log      zerolog.Logger

	mu      sync.Mutex // guards what follows, and what is said so of the others
	shards  map[int32]*sending
	queue   []*task // whose turn it is, in order; those of shards that are gone are passed over
	running int     // tasks
}

// sending is what is being sent for a shard.
type sending struct {
	shard, epoch int32 // the coordinator's
	ctx          context.Context
	end          context.CancelFunc
	under        sync.WaitGroup     // goroutines and timers
	tasks        map[Complete]*task // guarded by the sender's mu
	filling      bool               // the same
}

// task is a transaction that is ending.
type task struct {
	to     *sending
	ending Ending
	left   []Partition   // where the marker is not written yet
	pause  time.Duration // before the last try
	timer  *time.Timer   // of the next one, guarded by the sender's mu; nil if none is to come
}

const (
	// sendAtOnce bounds how many transactions are at their markers at a time. Each waits for a sync or two.
	sendAtOnce = 128
	// The pauses between two tries.
	resendMin = 20 * time.Millisecond
	resendMax = 5 * time.Second
)

// open has what a shard sends be done from now on.
func (s *sender) open(shard, epoch int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shards[shard] != nil {
		return
	}
	ctx, end := context.WithCancel(context.Background())
	s.shards[shard] = &sending{shard: shard, epoch: epoch, ctx: ctx, end: end, tasks: make(map[Complete]*task)}
}

// close ends what is under way for a shard.
func (s *sender) close(shard int32) {
	s.mu.Lock()
	to := s.shards[shard]
	delete(s.shards, shard)
	if to != nil {
		to.end() // nothing begins any more from here on
		for _, t := range to.tasks {
			if t.timer != nil && t.timer.Stop() {
				to.under.Done()
			}
		}
	}
	s.mu.Unlock()
	if to != nil {
		to.under.Wait()
	}
}

func (s *sender) closeAll() {
	s.mu.Lock()
	var all []int32
	for shard := range s.shards {
		all = append(all, shard)
	}
	s.mu.Unlock()
	for _, shard := range all {
		s.close(shard)
	}
}

// send begins to end a transaction. A shard that was loaded again sends what is under way already.
func (s *sender) send(shard int32, e Ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.shards[shard]
	if to == nil || to.tasks[e.Complete] != nil {
		return
	}
	t := &task{to: to, ending: e, left: e.Partitions}
	to.tasks[e.Complete] = t
	s.enqueue(t)
}

// enqueue has a task done as soon as it is its turn. The caller holds mu.
func (s *sender) enqueue(t *task) {
	s.queue = append(s.queue, t)
	s.next()
}

// next begins as many tasks as may be. The caller holds mu.
func (s *sender) next() {
	for s.running < sendAtOnce && len(s.queue) > 0 {
		t := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if t.to.ctx.Err() == nil {
			s.running++
			t.to.under.Go(func() { s.run(t) })
		}
	}
}

// run does a task, or as much of it as can be now.
func (s *sender) run(t *task) {
	done := s.try(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	switch {
	case done:
		delete(t.to.tasks, t.ending.Complete)
	case t.to.ctx.Err() == nil:
		s.later(t)
	}
	s.next()
}

// later has a task tried again after a pause. The caller holds mu.
func (s *sender) later(t *task) {
	t.pause = min(max(2*t.pause, resendMin), resendMax)
	t.to.under.Add(1)
	t.timer = time.AfterFunc(t.pause, func() {
		defer t.to.under.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		t.timer = nil
		if t.to.ctx.Err() == nil {
			s.enqueue(t)
		}
	})
}

// try writes the markers of a transaction where they are missing and, if it can, has it completed. It says whether there is
// nothing left to do.
func (s *sender) try(t *task) bool {
	if len(t.left) > 0 {
		before := len(t.left)
		if t.left = s.write(t.to, &t.ending, t.left); len(t.left) > 0 {
			if len(t.left) < before {
				t.pause = 0 // it gets on
			}
			return false
		}
		t.pause = 0
	}
	err := s.complete(t.to.ctx, t.to.shard, t.ending.Complete)
	return err == nil || isGone(err)
}

// write tries to write a transaction's marker into partitions and returns those where it is not.
func (s *sender) write(to *sending, e *Ending, partitions []Partition) (left []Partition) {
	m := partition.Marker{
		ProducerID: e.ProducerID, ProducerEpoch: e.ProducerEpoch, Commit: e.Commit, CoordinatorEpoch: to.epoch, Version: e.Version,
	}
	for i, err := range s.markers.WriteMarkers(to.ctx, m, partitions) {
		switch {
		case err == nil, errors.Is(err, kerr.UnknownTopicOrPartition):
		case errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.TransactionCoordinatorFenced):
			// Whoever has written there since has decided the transaction; this marker never will.
			s.log.Warn().Err(err).Str("transactional_id", e.TransactionalID).Str("topic", partitions[i].Topic).
				Int32("partition", partitions[i].Partition).Msg("a partition refuses the marker of a transaction, which is over there")
		default:
			left = append(left, partitions[i])
		}
	}
	return left
}

// fetchIDs has producer ids at hand soon, for a machine that has none.
func (s *sender) fetchIDs(shard int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.shards[shard]
	if to == nil || to.filling {
		return
	}
	to.filling = true
	to.under.Go(func() {
		if err := s.fill(to.ctx); err != nil && to.ctx.Err() == nil {
			s.log.Error().Err(err).Int32("shard", shard).Msg("no producer ids could be allocated, which a transaction needs to be aborted")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		to.filling = false
	})
}
