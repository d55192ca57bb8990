package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"segue/internal/coordinator"
	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
	"segue/storage/record"
)

// identity names a partition of a coordinator's topic.
func identity(shard int32) storage.Identity {
	return storage.Identity{Topic: "__consumer_offsets", TopicID: [16]byte{7}, Partition: shard}
}

// testConfig is that of a coordinator's topic, with segments so small that they roll.
func testConfig() partition.Config {
	c := partition.Config{
		Log: logtest.Config(), MaxMessageBytes: 1<<20 + 12,
		TimestampBeforeMax: partition.NoLimit, TimestampAfterMax: partition.NoLimit, ProducerExpiry: time.Hour,
	}
	c.Log.Compact, c.Log.Delete = true, false
	return c
}

func openPartition(t testing.TB, store partition.Store, shard, epoch int32) *partition.Partition {
	t.Helper()
	p, err := partition.Open(context.Background(), store, identity(shard), epoch, testConfig(), partition.NewCodecs(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mustDo gives a command as soon as the shard is loaded.
func mustDo[In any](t testing.TB, r *coordinator.Runtime[In], shard int32, in In) any {
	t.Helper()
	for {
		message, err := r.Do(context.Background(), shard, in)
		if errors.Is(err, coordinator.ErrLoading) {
			continue
		}
		if err != nil {
			t.Errorf("Do: %v", err)
		}
		return message
	}
}

// stage is a runtime with one journal, shard 0, on a log in memory. It is for use in a bubble of testing/synctest.
type stage struct {
	*testing.T
	store *logtest.Memory
	log   *logtest.MemoryLog
	p     *partition.Partition
	r     *coordinator.Runtime[command]
	sent  []any // to others, in the order in which it was
}

func journals(int32) coordinator.Machine[command] { return &journal{} }

// newStage returns a stage whose shard is loaded. Each change is made to the options.
func newStage(t *testing.T, changes ...func(*coordinator.Options[command])) *stage {
	s := &stage{T: t, store: logtest.NewMemory()}
	s.log = s.store.Log(identity(0))
	s.p = openPartition(t, s.store, 0, 0)
	o := coordinator.Options[command]{Machine: journals, Send: func(_ int32, message any) { s.sent = append(s.sent, message) }}
	for _, change := range changes {
		change(&o)
	}
	s.r = coordinator.New(o)
	s.r.Load(0, s.p)
	synctest.Wait()
	return s
}

// close ends the runtime and says what it has left behind.
func (s *stage) close() {
	s.Helper()
	if err := s.r.Close(context.Background()); err != nil {
		s.Error(err)
	}
	if n := s.store.Pinned(); n != 0 {
		s.Errorf("%d chunks were not released", n)
	}
}

// call is a command under way.
type call struct {
	t    *testing.T
	done chan struct{}
	view view
	err  error
}

func (s *stage) start(c command) *call { return s.startWith(context.Background(), c) }

func (s *stage) startWith(ctx context.Context, c command) *call {
	s.Helper()
	x := &call{t: s.T, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		var message any
		message, x.err = s.r.Do(ctx, 0, c)
		x.view, _ = message.(view)
	}()
	synctest.Wait()
	return x
}

// isDone says whether the command has been answered.
func (x *call) isDone() bool {
	synctest.Wait()
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

// waits fails the test if the command has been answered.
func (x *call) waits() {
	x.t.Helper()
	if x.isDone() {
		x.t.Errorf("answered with %v, %v, should wait", x.view, x.err)
	}
}

// saw fails the test unless the command has been answered, by a machine with that many numbers.
func (x *call) saw(count int) {
	x.t.Helper()
	switch {
	case !x.isDone():
		x.t.Errorf("not answered, should see %d numbers", count)
	case x.err != nil || x.view.count != count:
		x.t.Errorf("answered with %d numbers, %v, should be %d", x.view.count, x.err, count)
	}
}

// failed fails the test unless the command has been answered with that error.
func (x *call) failed(want error) {
	x.t.Helper()
	switch {
	case !x.isDone():
		x.t.Errorf("not answered, should fail with %v", want)
	case !errors.Is(x.err, want):
		x.t.Errorf("answered with %v, %v, should be %v", x.view, x.err, want)
	}
}

// do gives a command and demands that it is answered at once.
func (s *stage) do(c command) view {
	s.Helper()
	x := s.start(c)
	if !x.isDone() || x.err != nil {
		s.Fatalf("answered %v with %v, %v", x.isDone(), x.view, x.err)
	}
	return x.view
}

// batches returns the sizes, in records, of the batches in the log.
func (s *stage) batches() string {
	var counts []int32
	for _, b := range s.log.Batches() {
		counts = append(counts, b.Count())
	}
	return fmt.Sprint(counts)
}

// replayed returns a journal to which the log was applied by other means than the runtime's.
func replayed(t testing.TB, batches []record.Batch) *journal {
	t.Helper()
	j := &journal{}
	for _, b := range batches {
		by := coordinator.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch()}
		if b.IsControl() {
			m, ok := partition.MarkerIn(b)
			if !ok {
				t.Fatalf("the control batch at offset %d is no marker", b.BaseOffset())
			}
			j.Decide(time.Time{}, by, m.Commit)
			continue
		}
		for r, err := range b.Records(nil) {
			if err == nil {
				r = r.Clone()
				rec := coordinator.Record{Key: r.Key, Value: r.Value}
				if b.IsTransactional() {
					err = j.ApplyPending(by, rec)
				} else {
					err = j.Apply(rec)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return j
}

func add(numbers ...int64) command { return command{add: numbers} }

// look is a command that changes nothing.
func look() command { return command{} }
