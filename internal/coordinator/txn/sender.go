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

// sender has the markers written of transactions that are decided.
type sender struct {
	markers  MarkerWriter
	complete func(ctx context.Context, shard int32, done Complete) error
	log      zerolog.Logger

	mu     sync.Mutex // guards what follows, and under of each
	shards map[int32]*sending
}

// sending is what is being sent for a shard.
type sending struct {
	epoch int32 // the coordinator's
	ctx   context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup
	under map[Complete]bool // transactions that are ending
}

// The pauses between two tries with what could not be written.
const (
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
	s.shards[shard] = &sending{epoch: epoch, ctx: ctx, end: end, under: make(map[Complete]bool)}
}

// close ends what is under way for a shard.
func (s *sender) close(shard int32) {
	s.mu.Lock()
	to := s.shards[shard]
	delete(s.shards, shard)
	s.mu.Unlock()
	if to != nil {
		to.end()
		to.tasks.Wait()
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
	done := Complete{e.TransactionalID, e.ProducerID, e.ProducerEpoch}
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.shards[shard]
	if to == nil || to.under[done] {
		return
	}
	to.under[done] = true
	to.tasks.Go(func() {
		s.finish(to, shard, e, done)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(to.under, done)
	})
}

// finish writes the markers of a transaction and has it completed. It tries until it can, or until the shard is gone.
func (s *sender) finish(to *sending, shard int32, e Ending, done Complete) {
	m := partition.Marker{
		ProducerID: e.ProducerID, ProducerEpoch: e.ProducerEpoch, Commit: e.Commit, CoordinatorEpoch: to.epoch, Version: e.Version,
	}
	left := e.Partitions
	for pause := resendMin; len(left) > 0; pause = min(2*pause, resendMax) {
		if left = s.write(to.ctx, m, e.TransactionalID, left); len(left) > 0 && !sleep(to.ctx, pause) {
			return
		}
	}
	for pause := resendMin; to.ctx.Err() == nil; pause = min(2*pause, resendMax) {
		if err := s.complete(to.ctx, shard, done); err == nil || isGone(err) || !sleep(to.ctx, pause) {
			return
		}
	}
}

// write tries to write a marker into partitions and returns those where it is not.
func (s *sender) write(ctx context.Context, m partition.Marker, id string, to []Partition) (left []Partition) {
	for i, err := range s.markers.WriteMarkers(ctx, m, to) {
		switch {
		case err == nil, errors.Is(err, kerr.UnknownTopicOrPartition):
		case errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.TransactionCoordinatorFenced):
			// Whoever has written there since has decided the transaction; this marker never will.
			s.log.Warn().Err(err).Str("transactional_id", id).Str("topic", to[i].Topic).Int32("partition", to[i].Partition).
				Msg("a partition refuses the marker of a transaction, which is over there")
		default:
			left = append(left, to[i])
		}
	}
	return left
}

// sleep waits for a time and says whether the context has lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
