package coordinator_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"segue/internal/coordinator"
	"segue/partition"
	"segue/storage"
	"segue/storage/vfs"
)

// worldShards is the number of shards in a world.
const worldShards = 3

// world is a runtime on a disk: its shards, their histories, and the machines that they have now. It is for use in a
// bubble of testing/synctest.
type world struct {
	*testing.T
	fs    vfs.FS
	plant func(*partition.Partition) coordinator.Log // puts a fault between a shard and its partition

	dir        *storage.Dir
	partitions [worldShards]*partition.Partition
	epoch      int32
	r          *coordinator.Runtime[command]
	histories  [worldShards]*history

	told told // by the runtime

	mu         sync.Mutex // guards what follows
	machines   [worldShards]*journal
	producers  int64   // ids that were given
	unfinished []ended // transactions of whose end it is not known whether it is in the log
}

func newWorld(t *testing.T, fs vfs.FS) *world {
	w := &world{T: t, fs: fs, plant: func(p *partition.Partition) coordinator.Log { return p }}
	for i := range w.histories {
		w.histories[i] = &history{}
	}
	return w
}

// open starts the runtime. It returns false if the disk would not have it.
func (w *world) open() bool {
	var err error
	w.dir, err = storage.OpenDir("/data", storage.Options{FS: w.fs, Reserve: 64 << 10, BulkFlush: 2})
	if err != nil {
		return false
	}
	w.r = coordinator.New(coordinator.Options[command]{
		Log: zerolog.New(&w.told),
		Machine: func(shard int32) coordinator.Machine[command] {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.machines[shard] = &journal{}
			return w.machines[shard]
		},
		// What is sent was committed: it is like the answer to somebody who has asked for nothing.
		Send: func(shard int32, message any) { w.histories[shard].end(nil, floor{}, message.(view)) },
	})
	for i := range int32(worldShards) {
		if !w.lead(i) {
			w.close()
			return false
		}
	}
	return true
}

// lead opens the partition of a shard, and loads the shard. It tries a few times.
func (w *world) lead(shard int32) bool {
	for range 3 {
		w.epoch++
		p, err := partition.Open(context.Background(), partition.Local(w.dir), identity(shard), w.epoch, testConfig(), partition.NewCodecs(1<<20))
		if err == nil {
			w.partitions[shard] = p
			w.r.Load(shard, w.plant(p))
			return true
		}
	}
	return false
}

// heal opens a partition again that has failed, as a restart would. It returns false if that cannot be.
func (w *world) heal(shard int32) bool {
	p := w.partitions[shard]
	if p.Ended() == nil {
		return true
	}
	w.r.Unload(shard)
	_ = p.Close(context.Background()) // it has failed, and may say so again
	return w.lead(shard)
}

func (w *world) close() {
	_ = w.r.Close(context.Background()) // where something fails on purpose, so may this
	for _, p := range w.partitions {
		if p != nil {
			_ = p.Close(context.Background())
		}
	}
	_ = w.dir.Close()
}

// round gives some random commands at a time, and waits until they are answered or left to themselves.
func (w *world) round(r *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var group sync.WaitGroup
	for _, e := range w.takeUnfinished() {
		group.Go(func() { w.finish(ctx, e) })
	}
	for range 1 + r.IntN(8) {
		shard, c, n := int32(r.IntN(worldShards)), command{}, 0
		switch k := r.IntN(12); {
		case k < 6:
			n, c.pad = 1+r.IntN(5), r.IntN(200)
		case k < 7:
			c.park = true
		case k < 9:
			x := transaction{shard: shard, commit: r.IntN(3) > 0}
			for range r.IntN(4) {
				x.sizes = append(x.sizes, 1+r.IntN(5))
			}
			group.Go(func() { w.transact(ctx, x) })
			continue
		}
		group.Go(func() {
			h := w.histories[shard]
			var least floor
			c.add, least = h.begin(n)
			if v, err := w.do(ctx, shard, c); err == nil {
				h.end(c.add, least, v)
			}
		})
	}
	group.Wait()
}

// told is what a runtime has logged last.
type told struct {
	mu   sync.Mutex
	last string
}

// Write implements io.Writer.
func (x *told) Write(line []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = string(line)
	return len(line), nil
}

func (x *told) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// marks returns how many answers each shard has given.
func (w *world) marks() (marks [worldShards]int) {
	for i, h := range w.histories {
		marks[i] = h.count()
	}
	return marks
}

// survives starts a runtime on a disk as a crash has left it, and returns what is wrong with what it finds, given the
// answers that were out before. What it shows itself becomes part of the histories.
func (w *world) survives(fs vfs.FS, marks [worldShards]int) error {
	next := newWorld(w.T, fs)
	next.epoch = 1000 + w.epoch
	if !next.open() {
		return errors.New("the log cannot be opened")
	}
	defer next.close()
	for i := range int32(worldShards) {
		shown, err := next.do(context.Background(), i, command{})
		if err != nil {
			return err
		}
		// The machine is idle now, and what it has is final.
		next.mu.Lock()
		j := next.machines[i]
		next.mu.Unlock()
		if shown != j.now() {
			return errors.New("the answer is not what the machine has")
		}
		if err := w.histories[i].explains(j, marks[i]); err != nil {
			return err
		}
		if err := next.abortAll(i, j); err != nil {
			return err
		}
	}
	return nil
}
