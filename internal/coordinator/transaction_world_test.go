package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/coordinator"
	"segue/partition"
)

// transaction is one that a producer of its own is to run.
type transaction struct {
	shard  int32
	sizes  []int // of its commands: how many numbers each writes down
	commit bool
}

// ended is a transaction whose marker is to be written.
type ended struct {
	shard   int32
	marker  partition.Marker
	numbers []int64
}

// transact runs a transaction. If it is not known whether one of its commands stands it is aborted.
func (w *world) transact(ctx context.Context, x transaction) {
	w.mu.Lock()
	w.producers++
	by := &coordinator.Producer{ID: w.producers}
	w.mu.Unlock()
	e := ended{shard: x.shard, marker: partition.Marker{ProducerID: by.ID, Commit: x.commit, Version: 1}}
	h := w.histories[x.shard]
	for _, n := range x.sizes {
		numbers, least := h.begin(n)
		e.numbers = append(e.numbers, numbers...)
		guard, _, err := w.partitions[x.shard].GuardProducer(by.ID, by.Epoch)
		var v view
		if err == nil {
			v, err = w.do(ctx, x.shard, command{add: numbers, by: by, guard: guard})
		}
		if err != nil {
			e.marker.Commit = false
			break
		}
		h.end(nil, least, v)
	}
	if !e.marker.Commit {
		h.doom(e.numbers)
	}
	w.finish(ctx, e)
}

// finish writes the marker of a transaction, as long as the context lets it.
func (w *world) finish(ctx context.Context, e ended) {
	for ctx.Err() == nil {
		err := w.r.DoMarker(ctx, e.shard, e.marker)
		if err == nil {
			if e.marker.Commit {
				w.histories[e.shard].commit(e.numbers)
			}
			return
		}
		if errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.TransactionCoordinatorFenced) {
			w.Errorf("a marker is refused: %v", err)
		}
		pause()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unfinished = append(w.unfinished, e)
}

func (w *world) takeUnfinished() []ended {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.unfinished
	w.unfinished = nil
	return all
}

// abortAll aborts what a crash has left undecided in a shard, and returns what is wrong with what comes of it.
func (w *world) abortAll(shard int32, j *journal) error {
	before := j.now()
	for _, id := range slices.Sorted(maps.Keys(j.pending)) {
		if err := w.r.DoMarker(context.Background(), shard, partition.Marker{ProducerID: id, Version: 1}); err != nil {
			return err
		}
	}
	if len(j.pending) > 0 || j.now() != before {
		return fmt.Errorf("aborting what was undecided has changed %v into %v, and %d producers have something left", before, j.now(), len(j.pending))
	}
	if open := w.partitions[shard].Transactions().Open; open > 0 {
		return fmt.Errorf("the shard knows nothing of %d transactions that are open in its partition", open)
	}
	return nil
}
