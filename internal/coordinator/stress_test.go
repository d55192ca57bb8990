package coordinator_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"segue/internal/coordinator"
	"segue/partition"
	"segue/partition/logtest"
)

// TestEverythingAtOnce has callers who lose their patience, shards that come and go, and a log that refuses writes or
// holds commits back, all at once. In the end every answer must fit what is in the logs.
func TestEverythingAtOnce(t *testing.T) {
	const shards = 3
	store := logtest.NewMemory()
	r := coordinator.New(coordinator.Options[command]{
		Machine: journals, Send: func(int32, any) {}, Inbox: 4, Held: 10, BatchBytes: 500, ReadBytes: 3000,
		RetryMin: 10 * time.Microsecond, RetryMax: time.Millisecond,
	})
	var partitions [shards]*partition.Partition
	var histories [shards]*history
	for i := range int32(shards) {
		partitions[i], histories[i] = openPartition(t, store, i, 0), &history{}
	}
	commands := orLong(200, 10_000)
	done := make(chan struct{})
	var meddlers, callers sync.WaitGroup
	for i := range int32(shards) {
		meddlers.Go(func() { meddle(r, store.Log(identity(i)), partitions[i], i, done) })
	}
	for i := range 12 {
		callers.Go(func() { ask(t, r, partitions[:], histories[:], rand.New(rand.NewPCG(uint64(i), 7)), commands) })
	}
	callers.Wait()
	if err := r.Close(context.Background()); err != nil {
		t.Error(err)
	}
	close(done)
	meddlers.Wait()
	for i := range int32(shards) {
		if err := histories[i].explains(replayed(t, store.Log(identity(i)).Batches()), histories[i].count()); err != nil {
			t.Errorf("shard %d: %v", i, err)
		}
		if n := histories[i].count(); n < commands {
			t.Errorf("shard %d has answered only %d commands", i, n)
		}
	}
	if n := store.Pinned(); n != 0 {
		t.Errorf("%d chunks were not released", n)
	}
}

// meddle troubles a shard until it is told to stop. It is also who commits what is appended.
func meddle(r *coordinator.Runtime[command], log *logtest.MemoryLog, p *partition.Partition, shard int32, done chan struct{}) {
	random := rand.New(rand.NewPCG(uint64(shard), 6))
	log.Hold()
	for {
		select {
		case <-done:
			return
		default:
		}
		switch random.IntN(40) {
		case 0:
			r.Unload(shard)
		case 1:
			log.RefuseWrites(logtest.ErrDisk)
		case 2, 3:
			log.RefuseWrites(nil)
		default:
			r.Stats()
			log.CommitAll()
			r.Load(shard, p)
			runtime.Gosched()
		}
	}
}

// ask gives commands until so many are answered, and there was enough trouble meanwhile.
func ask(t *testing.T, r *coordinator.Runtime[command], partitions []*partition.Partition, histories []*history, random *rand.Rand, commands int) {
	enough := func() bool {
		s := r.Stats()
		return s.Loads >= 20 && s.Failures >= 5
	}
	for answered := 0; answered < commands || !enough(); {
		shard := random.IntN(len(histories))
		h := histories[shard]
		if random.IntN(10) == 0 {
			transactOnce(r, partitions[shard], int32(shard), h, random)
			continue
		}
		n := random.IntN(4)
		numbers, least := h.begin(n)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(3000))*time.Microsecond)
		message, err := r.Do(ctx, int32(shard), command{add: numbers, park: n == 0 && random.IntN(4) == 0})
		cancel()
		switch {
		case err == nil:
			answered++
			v, _ := message.(view)
			h.end(numbers, least, v)
		case !errors.Is(err, coordinator.ErrLoading) && !errors.Is(err, coordinator.ErrNotCoordinator) &&
			!errors.Is(err, coordinator.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("Do: %v", err)
			return
		}
	}
}

// transactOnce runs a transaction of a producer of its own, with a caller as impatient as others. Where something fails it is
// given up, and stays open.
func transactOnce(r *coordinator.Runtime[command], p *partition.Partition, shard int32, h *history, random *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(10_000))*time.Microsecond)
	defer cancel()
	by := &coordinator.Producer{ID: random.Int64()}
	commit := random.IntN(2) == 0
	numbers, least := h.begin(1 + random.IntN(3))
	if !commit {
		h.doom(numbers)
	}
	guard, _, err := p.GuardProducer(by.ID, by.Epoch)
	var message any
	if err == nil {
		message, err = r.Do(ctx, shard, command{add: numbers, by: by, guard: guard})
	}
	if err != nil {
		return
	}
	h.end(nil, least, message.(view))
	if r.DoMarker(ctx, shard, partition.Marker{ProducerID: by.ID, Commit: commit, Version: 1}) == nil && commit {
		h.commit(numbers)
	}
}
