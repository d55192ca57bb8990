package txn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
)

const testShards = 3

// stage is a Coordinator over logs in memory. It is for use in a bubble of testing/synctest.
type stage struct {
	*testing.T
	store   *logtest.Memory
	epoch   int32
	open    [testShards]*partition.Partition
	version int16
	markers MarkerWriter
	ids     *ProducerIDs
	c       *Coordinator
}

func newStage(t *testing.T, markers MarkerWriter) *stage {
	s := &stage{T: t, store: logtest.NewMemory(), version: 2, markers: markers, epoch: 6}
	next := int64(100)
	s.ids = NewProducerIDs(func(_ context.Context, n int) (int64, error) {
		next += int64(n)
		return next - int64(n), nil
	})
	s.start()
	return s
}

// start makes a Coordinator that has loaded all shards.
func (s *stage) start() {
	s.c = NewCoordinator(Config{
		Machine: func() Options {
			return Options{
				Version: func() int16 { return s.version }, MaxTimeout: 15 * time.Minute, Expiration: testExpiration, ExpireEvery: time.Hour,
				MaxRecordBytes: func() int { return 1 << 20 }, Patience: testPatience, Waiting: 1000,
			}
		},
		Shards: func() int32 { return testShards }, IDs: s.ids, Markers: s.markers,
	})
	s.epoch++
	for shard := range int32(testShards) {
		s.load(shard)
	}
	synctest.Wait()
}

func (s *stage) id(shard int32) storage.Identity {
	return storage.Identity{Topic: "__transaction_state", TopicID: [16]byte{9}, Partition: shard}
}

func (s *stage) load(shard int32) {
	s.Helper()
	s.open[shard] = openPartition(s.T, s.store, s.id(shard), s.epoch)
	s.c.Load(shard, s.open[shard])
}

func openPartition(t *testing.T, store partition.Store, id storage.Identity, epoch int32) *partition.Partition {
	t.Helper()
	c := partition.Config{
		Log: logtest.Config(), MaxMessageBytes: 1<<20 + 200,
		TimestampBeforeMax: partition.NoLimit, TimestampAfterMax: partition.NoLimit, ProducerExpiry: time.Hour,
	}
	c.Log.SegmentBytes = 1 << 30
	p, err := partition.Open(context.Background(), store, id, epoch, c, partition.NewCodecs(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// stop ends everything, and checks that nothing goes on.
func (s *stage) stop() {
	s.Helper()
	if err := s.c.Close(context.Background()); err != nil {
		s.Error(err)
	}
	s.c.sender.mu.Lock()
	if n := len(s.c.sender.shards) + s.c.sender.running; n > 0 {
		s.Errorf("%d shards or tasks are left", n)
	}
	s.c.sender.mu.Unlock()
	for _, p := range s.open {
		_ = p.Close(context.Background()) // one that has failed says so again
	}
	if n := s.store.Pinned(); n != 0 {
		s.Errorf("%d chunks were not released", n)
	}
}

// idle checks that the sender has nothing to do and no goroutine.
func (s *stage) idle() {
	s.Helper()
	synctest.Wait()
	s.c.sender.mu.Lock()
	defer s.c.sender.mu.Unlock()
	n := s.c.sender.running + len(s.c.sender.queue)
	for _, to := range s.c.sender.shards {
		n += len(to.tasks)
	}
	if n > 0 {
		s.Errorf("the sender is not idle: %d tasks", n)
	}
}

func (s *stage) do(id string, request any) any {
	s.Helper()
	reply, err := s.c.Do(context.Background(), id, Input{Request: request})
	if err != nil {
		s.Fatalf("%T: %v", request, err)
	}
	return reply
}

// begin returns the producer that a transactional id is given.
func (s *stage) begin(id string) (producerID int64, epoch int16) {
	s.Helper()
	resp := s.do(id, initOf(id, 60_000)).(*kmsg.InitProducerIDResponse)
	if resp.ErrorCode != 0 {
		s.Fatalf("InitProducerId of %s: %s", id, errorName(resp.ErrorCode))
	}
	return resp.ProducerID, resp.ProducerEpoch
}

func (s *stage) add(id string, producerID int64, epoch int16, partitions ...Partition) {
	s.Helper()
	added := s.do(id, AddPartitions{TransactionalID: id, ProducerID: producerID, ProducerEpoch: epoch, Partitions: partitions, Implicit: true})
	if err := added.(Added).Err; err != nil {
		s.Fatalf("AddPartitions of %s: %v", id, err)
	}
}

func (s *stage) end(id string, producerID int64, epoch int16, commit bool) *kmsg.EndTxnResponse {
	s.Helper()
	resp := s.do(id, endOf(id, producerID, epoch, commit, 5)).(*kmsg.EndTxnResponse)
	if resp.ErrorCode != 0 {
		s.Fatalf("EndTxn of %s: %s", id, errorName(resp.ErrorCode))
	}
	return resp
}

func (s *stage) state(id string) string {
	s.Helper()
	return s.do(id, Describe{id}).(kmsg.DescribeTransactionsResponseTransactionState).State
}

func (s *stage) inState(id, want string) {
	s.Helper()
	synctest.Wait()
	if got := s.state(id); got != want {
		s.Errorf("%s is %s, want %s", id, got, want)
	}
}

func (s *stage) counts() Counts {
	s.Helper()
	replies, err := s.c.Each(context.Background(), Input{Request: Count{}})
	if err != nil || len(replies) != testShards {
		s.Errorf("%d shards reply, %v", len(replies), err)
	}
	all := Counts{ByState: map[State]int{}}
	for _, reply := range replies {
		all.Add(reply.(Counts))
	}
	return all
}

// writer writes markers down. It is safe for concurrent use.
type writer struct {
	block chan struct{} // writes wait until it is closed; nil for none

	mu      sync.Mutex
	fail    map[Partition][]error // what it fails with, one after the other
	written []string
	at      []time.Duration // since the first
	began   time.Time
	now     int // calls under way
	most    int
}

// WriteMarkers implements MarkerWriter.
func (w *writer) WriteMarkers(ctx context.Context, m partition.Marker, to []Partition) []error {
	errs := make([]error, len(to))
	w.mu.Lock()
	w.now++
	w.most = max(w.most, w.now)
	block := w.block
	w.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			for i := range errs {
				errs[i] = ctx.Err()
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now--
	if w.began.IsZero() {
		w.began = time.Now()
	}
	for i, p := range to {
		if errs[i] != nil {
			continue
		}
		if fail := w.fail[p]; len(fail) > 0 {
			errs[i], w.fail[p] = fail[0], fail[1:]
		}
		outcome := "abort"
		if m.Commit {
			outcome = "commit"
		}
		if errs[i] != nil {
			outcome += " fails"
		}
		w.written = append(w.written, fmt.Sprintf("%s/%d %d/%d %s coordinator %d version %d", p.Topic, p.Partition, m.ProducerID, m.ProducerEpoch,
			outcome, m.CoordinatorEpoch, m.Version))
		w.at = append(w.at, time.Since(w.began))
	}
	return errs
}

// wrote fails the test unless these were written, and forgets them.
func (w *writer) wrote(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.written, want) {
		t.Errorf("markers written:\n%s\nwant:\n%s", strings.Join(w.written, "\n"), strings.Join(want, "\n"))
	}
	w.written = nil
}

func tp(n int32) Partition { return Partition{"t", n} }

// A transaction is decided, its markers are written, and it is complete; then nothing goes on any more.
func TestCoordinatorEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{}
		s := newStage(t, w)
		defer s.stop()
		id, epoch := s.begin("a")
		s.add("a", id, epoch, tp(0), tp(1))
		s.inState("a", "Ongoing")
		if resp := s.end("a", id, epoch, true); resp.ProducerID != id || resp.ProducerEpoch != 1 {
			t.Errorf("EndTxn gives the producer %d/%d", resp.ProducerID, resp.ProducerEpoch)
		}
		s.inState("a", "CompleteCommit")
		w.wrote(t, "t/0 100/1 commit coordinator 7 version 2", "t/1 100/1 commit coordinator 7 version 2")
		s.end("a", id, 1, false) // of nothing
		s.inState("a", "CompleteAbort")
		w.wrote(t)
		s.idle()
	})
}

// Shards that are not here, and a topic that is not.
func TestCoordinatorWithoutShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, &writer{})
		defer s.stop()
		n := int32(0)
		s.c.config.Shards = func() int32 { return n }
		if _, err := s.c.Do(t.Context(), "a", Input{Request: Describe{"a"}}); !errors.Is(err, coordinator.ErrNotCoordinator) {
			t.Errorf("without the topic: %v", err)
		}
		n = 1000
		if _, err := s.c.Do(t.Context(), "a", Input{Request: Describe{"a"}}); !errors.Is(err, coordinator.ErrNotCoordinator) {
			t.Errorf("without the shard: %v", err)
		}
		if got := s.c.Shards(); !slices.Equal(got, []int32{0, 1, 2}) {
			t.Errorf("shards %v", got)
		}
	})
}

// Where a marker cannot be written it is tried again, and only there; where it never will be it counts as written.
func TestCoordinatorTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := fmt.Errorf("busy: %w", kerr.NotLeaderForPartition)
		w := &writer{fail: map[Partition][]error{
			tp(1): {busy, busy, busy},
			tp(2): {fmt.Errorf("gone: %w", kerr.UnknownTopicOrPartition)},
			tp(3): {fmt.Errorf("fenced: %w", kerr.InvalidProducerEpoch)},
			tp(4): {busy, fmt.Errorf("fenced: %w", kerr.TransactionCoordinatorFenced)},
		}}
		s := newStage(t, w)
		defer s.stop()
		id, epoch := s.begin("a")
		s.add("a", id, epoch, tp(0), tp(1), tp(2), tp(3), tp(4))
		s.end("a", id, epoch, false)
		s.inState("a", "PrepareAbort")
		w.wrote(t, "t/0 100/1 abort coordinator 7 version 2", "t/1 100/1 abort fails coordinator 7 version 2",
			"t/2 100/1 abort fails coordinator 7 version 2", "t/3 100/1 abort fails coordinator 7 version 2", "t/4 100/1 abort fails coordinator 7 version 2")
		time.Sleep(resendMin)
		w.wrote(t, "t/1 100/1 abort fails coordinator 7 version 2", "t/4 100/1 abort fails coordinator 7 version 2")
		time.Sleep(time.Minute)
		w.wrote(t, "t/1 100/1 abort fails coordinator 7 version 2", "t/1 100/1 abort coordinator 7 version 2")
		s.inState("a", "CompleteAbort")
		s.idle()
	})
}

// The pause between two tries grows up to its bound, and begins anew when something was written.
func TestCoordinatorPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := func(n int) []error { return slices.Repeat([]error{kerr.KafkaStorageError}, n) }
		w := &writer{fail: map[Partition][]error{tp(0): failing(15), tp(1): failing(17)}}
		s := newStage(t, w)
		defer s.stop()
		id, epoch := s.begin("a")
		s.add("a", id, epoch, tp(0), tp(1))
		s.end("a", id, epoch, false)
		time.Sleep(time.Minute)
		s.inState("a", "CompleteAbort")
		w.mu.Lock()
		defer w.mu.Unlock()
		var pauses []time.Duration
		at := slices.Compact(w.at)
		for i := range at[1:] {
			pauses = append(pauses, at[i+1]-at[i])
		}
		want := []time.Duration{20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 20, 40}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(pauses, want) {
			t.Errorf("the pauses are %v", pauses)
		}
	})
}

// Many transactions end at a time, a bounded number of them side by side.
func TestCoordinatorEndsMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 2*sendAtOnce + 10
		w := &writer{block: make(chan struct{})}
		s := newStage(t, w)
		defer s.stop()
		for n := range many {
			name := fmt.Sprint("id-", n)
			id, epoch := s.begin(name)
			s.add(name, id, epoch, tp(0))
			s.end(name, id, epoch, n%2 == 0)
		}
		synctest.Wait()
		counts := s.counts()
		if counts.ByState[PrepareCommit] != many/2 || counts.ByState[PrepareAbort] != many/2 {
			t.Errorf("%+v", counts)
		}
		close(w.block)
		synctest.Wait()
		counts = s.counts()
		if counts.ByState[CompleteCommit] != many/2 || counts.ByState[CompleteAbort] != many/2 || w.most != sendAtOnce {
			t.Errorf("%+v; %d at a time", counts, w.most)
		}
		s.idle()
	})
}

// A shard that leaves has no markers written any more; when it comes again it has them written all over.
func TestCoordinatorUnloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{fail: map[Partition][]error{tp(9): {kerr.NotLeaderForPartition, kerr.NotLeaderForPartition}}}
		s := newStage(t, w)
		defer s.stop()
		id, epoch := s.begin("b") // which pauses when its shard leaves
		s.add("b", id, epoch, tp(9))
		s.end("b", id, epoch, true)
		w.wrote(t, "t/9 100/1 commit fails coordinator 7 version 2")
		block := make(chan struct{})
		w.mu.Lock()
		w.block = block
		w.mu.Unlock()
		id, epoch = s.begin("a") // which is being written
		s.add("a", id, epoch, tp(0))
		s.end("a", id, epoch, true)
		synctest.Wait()
		w.mu.Lock()
		w.block = nil
		w.mu.Unlock()
		shards := []int32{coordinator.ShardOf("a", testShards), coordinator.ShardOf("b", testShards)}
		for _, shard := range shards {
			s.c.Unload(shard)
		}
		w.wrote(t)
		close(block)
		time.Sleep(time.Minute)
		w.wrote(t)
		if _, err := s.c.Do(t.Context(), "a", Input{Request: Describe{"a"}}); !errors.Is(err, coordinator.ErrNotCoordinator) {
			t.Errorf("a shard that has left: %v", err)
		}
		s.epoch++
		slices.Sort(shards)
		for _, shard := range slices.Compact(shards) {
			if err := s.open[shard].Close(t.Context()); err != nil {
				t.Error(err)
			}
			s.load(shard)
			s.c.Load(shard, s.open[shard]) // which is nothing
		}
		synctest.Wait()
		s.inState("a", "CompleteCommit")
		time.Sleep(time.Minute)
		s.inState("b", "CompleteCommit")
		w.mu.Lock()
		slices.Sort(w.written)
		w.mu.Unlock()
		w.wrote(t, "t/0 101/1 commit coordinator 8 version 2", "t/9 100/1 commit coordinator 8 version 2", "t/9 100/1 commit fails coordinator 8 version 2")
		s.idle()
	})
}

// The coordinator closes while a marker is being written and while one is to be written again.
func TestCoordinatorCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{fail: map[Partition][]error{tp(9): slices.Repeat([]error{kerr.NotLeaderForPartition}, 1000)}}
		s := newStage(t, w)
		id, epoch := s.begin("b")
		s.add("b", id, epoch, tp(9))
		s.end("b", id, epoch, true)
		time.Sleep(time.Second)
		w.mu.Lock()
		w.block = make(chan struct{})
		w.written = nil
		w.mu.Unlock()
		id, epoch = s.begin("a")
		s.add("a", id, epoch, tp(0))
		s.end("a", id, epoch, true)
		synctest.Wait()
		began := time.Now()
		s.stop()
		if took := time.Since(began); took > 0 {
			t.Errorf("it takes %v", took)
		}
		time.Sleep(time.Minute)
		w.wrote(t)
	})
}

// What comes while a transaction ends waits for that, or for as long as it may.
func TestCoordinatorHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{block: make(chan struct{})}
		s := newStage(t, w)
		defer s.stop()
		id, epoch := s.begin("a")
		s.add("a", id, epoch, tp(0))
		s.end("a", id, epoch, true)
		began := time.Now()
		got := s.do("a", AddPartitions{TransactionalID: "a", ProducerID: id, ProducerEpoch: 1, Partitions: []Partition{tp(0)}, Implicit: true})
		if got.(Added).Err != kerr.ConcurrentTransactions || time.Since(began) != testPatience {
			t.Errorf("%+v after %v", got, time.Since(began))
		}
		time.AfterFunc(testPatience/2, func() { close(w.block) })
		began = time.Now()
		s.add("a", id, 1, tp(0))
		if time.Since(began) != testPatience/2 {
			t.Errorf("answered after %v", time.Since(began))
		}
		s.inState("a", "Ongoing")
	})
}

// A transaction runs out of time.
func TestCoordinatorAborts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{}
		s := newStage(t, w)
		defer s.stop()
		id, epoch := s.begin("a")
		s.add("a", id, epoch, tp(0))
		time.Sleep(time.Minute - time.Millisecond)
		s.inState("a", "Ongoing")
		time.Sleep(2 * time.Millisecond)
		s.inState("a", "CompleteAbort")
		w.wrote(t, "t/0 100/1 abort coordinator 7 version 2")
	})
}

// plant writes what was written long ago into the log of a shard that is not loaded yet.
func (s *stage) plant(t *transaction) {
	s.Helper()
	shard := coordinator.ShardOf(t.id, testShards)
	s.c.Unload(shard)
	log := &planter{p: s.open[shard]}
	r := coordinator.New(coordinator.Options[coordinator.Record]{Machine: func(int32) coordinator.Machine[coordinator.Record] { return log }})
	r.Load(shard, log.p)
	synctest.Wait()
	if _, err := r.Do(context.Background(), shard, t.record(2)); err != nil {
		s.Fatal(err)
	}
	if err := r.Close(context.Background()); err != nil {
		s.Fatal(err)
	}
	s.c.Load(shard, log.p)
	synctest.Wait()
}

// planter is a machine that writes down what it is told.
type planter struct{ p *partition.Partition }

func (*planter) Apply(coordinator.Record) error       { return nil }
func (*planter) Loaded(time.Time) coordinator.Effects { return coordinator.Effects{} }
func (*planter) Expire(time.Time) coordinator.Effects { return coordinator.Effects{} }
func (*planter) Handle(_ time.Time, t coordinator.Token, r coordinator.Record) coordinator.Effects {
	return coordinator.Effects{Records: []coordinator.Record{r}, Replies: []coordinator.Reply{{To: t}}}
}

// A transaction runs out of time whose producer has run out of epochs, and there is no producer id at hand.
func TestCoordinatorFetchesIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{}
		s := newStage(t, w)
		defer s.stop()
		fails := 2
		s.ids.allocate = func(context.Context, int) (int64, error) {
			if fails--; fails >= 0 {
				return 0, errors.New("the catalog is away")
			}
			return 500, nil
		}
		s.plant(&transaction{
			id: "a", producerID: 7, previousID: 7, nextID: noProducerID, epoch: lastEpoch, timeout: 1000, state: Ongoing,
			partitions: []Partition{tp(0)}, start: time.Now().UnixMilli(), updated: time.Now().UnixMilli(), version: 2,
		})
		time.Sleep(1500 * time.Millisecond)
		s.inState("a", "Ongoing")
		time.Sleep(5 * time.Second)
		s.inState("a", "CompleteAbort")
		w.wrote(t, "t/0 7/32767 abort coordinator 7 version 2")
		if got := s.do("a", Describe{"a"}).(kmsg.DescribeTransactionsResponseTransactionState); got.ProducerID != 500 || got.ProducerEpoch != 0 {
			t.Errorf("the producer is %d/%d", got.ProducerID, got.ProducerEpoch)
		}
		s.idle()
	})
}

// Producer ids are fetched for whoever needs one, and whoever gets none may come again.
func TestCoordinatorProducerIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, &writer{})
		defer s.stop()
		away := errors.New("the catalog is away")
		allocate := s.ids.allocate
		s.ids.allocate = func(context.Context, int) (int64, error) { return 0, away }
		_, err := s.c.Do(t.Context(), "a", Input{Request: initOf("a", 1000)})
		if !errors.Is(err, coordinator.ErrLoading) || !errors.Is(err, away) {
			t.Errorf("without producer ids: %v", err)
		}
		s.ids.allocate = func(ctx context.Context, n int) (int64, error) {
			time.Sleep(time.Millisecond)
			return allocate(ctx, n)
		}
		var mu sync.Mutex
		seen := map[int64]bool{}
		var all sync.WaitGroup
		for n := range 2 * producerIDBlock {
			all.Go(func() {
				name := fmt.Sprint("id-", n)
				reply, err := s.c.Do(context.Background(), name, Input{Request: initOf(name, 1000)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				seen[reply.(*kmsg.InitProducerIDResponse).ProducerID] = true
			})
		}
		all.Wait()
		if len(seen) != 2*producerIDBlock {
			t.Errorf("%d different producer ids", len(seen))
		}
	})
}

// A Complete whose reply was lost although it stands does not complete the next transaction, which under version 1 has the same
// producer and epoch, and does not keep its markers from being written.
func TestSenderTellsTransactionsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{}
		var mu sync.Mutex
		var completed []int64
		s := sender{markers: w, shards: map[int32]*sending{}, complete: func(_ context.Context, _ int32, done Complete) error {
			mu.Lock()
			defer mu.Unlock()
			if completed = append(completed, done.Decided); len(completed) == 1 {
				return coordinator.ErrUnavailable
			}
			return nil
		}}
		s.open(0, 3)
		first := Ending{Complete: Complete{"a", 1, 0, 1000}, Commit: true, Partitions: []Partition{tp(0)}}
		second := Ending{Complete: Complete{"a", 1, 0, 1001}, Partitions: []Partition{tp(1)}}
		s.send(0, first)
		s.send(0, first) // the shard was loaded again
		synctest.Wait()
		s.send(0, second)
		time.Sleep(time.Minute)
		w.wrote(t, "t/0 1/0 commit coordinator 3 version 0", "t/1 1/0 abort coordinator 3 version 0")
		if !slices.Equal(completed, []int64{1000, 1001, 1000}) {
			t.Errorf("completed were %v", completed)
		}
		s.send(7, first) // which is not here
		s.fetchIDs(7)
		s.closeAll()
		if len(s.shards) > 0 {
			t.Error("shards are left")
		}
	})
}

// The log fails where a transaction is to be completed: the shard is loaded again, the markers are not forgotten.
func TestCoordinatorSurvivesTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{block: make(chan struct{})}
		s := newStage(t, w)
		defer s.stop()
		id, epoch := s.begin("a")
		s.add("a", id, epoch, tp(0))
		s.end("a", id, epoch, true)
		log := s.store.Log(s.id(coordinator.ShardOf("a", testShards)))
		log.RefuseWrites(errors.New("no space"))
		close(w.block)
		time.Sleep(time.Minute)
		if _, err := s.c.Do(t.Context(), "a", Input{Request: endOf("a", id, 1, false, 5)}); err == nil {
			t.Error("EndTxn is answered though nothing can be written")
		}
		log.RefuseWrites(nil)
		time.Sleep(time.Minute)
		s.inState("a", "CompleteCommit")
		s.idle()
	})
}

// The process is killed between any two batches that the log of a shard is given: what is decided then is carried out, and
// nothing else is.
func TestCoordinatorAfterACrash(t *testing.T) {
	states := []string{"", "Empty", "Ongoing", "Ongoing", "CompleteCommit", "CompleteCommit", "Ongoing", "CompleteAbort", "CompleteAbort"}
	for keep, want := range states {
		synctest.Test(t, func(t *testing.T) {
			w := &writer{}
			s := newStage(t, w)
			defer s.stop()
			id, epoch := s.begin("a")
			s.add("a", id, epoch, tp(0))
			s.add("a", id, epoch, tp(1))
			s.end("a", id, epoch, true)
			synctest.Wait()
			s.add("a", id, 1, tp(2))
			s.end("a", id, 1, false)
			synctest.Wait()
			shard := coordinator.ShardOf("a", testShards)
			batches := s.store.Log(s.id(shard)).Batches()
			if len(batches) != len(states)-1 {
				t.Fatalf("%d batches were written", len(batches))
			}
			s.stop()
			s.store, w.written = logtest.NewMemory(), nil
			p := openPartition(t, s.store, s.id(shard), 0)
			for _, b := range batches[:keep] {
				if _, err := p.Append(t.Context(), -1, b, partition.Coordinator); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.start()
			if keep == 0 {
				if got := s.do("a", Describe{"a"}).(kmsg.DescribeTransactionsResponseTransactionState); got.ErrorCode != kerr.TransactionalIDNotFound.Code {
					t.Errorf("%+v", got)
				}
				return
			}
			s.inState("a", want)
			switch keep {
			case 4:
				w.wrote(t, "t/0 100/1 commit coordinator 8 version 2", "t/1 100/1 commit coordinator 8 version 2")
			case 7:
				w.wrote(t, "t/2 100/2 abort coordinator 8 version 2")
			default:
				w.wrote(t)
			}
			s.idle()
			time.Sleep(2 * time.Minute)
			if want == "Ongoing" { // nobody ends it
				want = "CompleteAbort"
			}
			s.inState("a", want)
		})
	}
}
