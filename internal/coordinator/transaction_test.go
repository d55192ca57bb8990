package coordinator_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/coordinator"
	"segue/partition"
	"segue/partition/logtest"
	"segue/storage/record"
)

// in makes a command part of a producer's transaction, which the shard's partition is guarded for.
func (s *stage) in(id int64, epoch int16, c command) command {
	s.Helper()
	guard, _, err := s.p.GuardProducer(id, epoch)
	if err != nil {
		s.Fatal(err)
	}
	c.by, c.guard = &coordinator.Producer{ID: id, Epoch: epoch}, guard
	return c
}

// mark starts to end a producer's transaction.
func (s *stage) mark(m partition.Marker) *call {
	x := &call{t: s.T, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		x.err = s.r.DoMarker(context.Background(), 0, m)
	}()
	synctest.Wait()
	return x
}

func commitOf(id int64) partition.Marker {
	return partition.Marker{ProducerID: id, Commit: true, Version: 1}
}

func abortOf(id int64) partition.Marker { return partition.Marker{ProducerID: id, Version: 1} }

// marked fails the test unless a marker is committed.
func (x *call) marked() {
	x.t.Helper()
	if !x.isDone() || x.err != nil {
		x.t.Errorf("marked: %v, %v", x.isDone(), x.err)
	}
}

// TestTransactionalBatch has the records of a transaction stand in a batch of their own, which is its producer's, between what
// was gathered before and what comes then.
func TestTransactionalBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.log.Hold()
		calls := []*call{s.start(add(1)), s.start(add(2)), s.start(add(3)), s.start(add(4, 5))} // the last two are gathered
		pending := s.start(s.in(70, 3, add(6, 7)))
		last := s.start(add(8))
		if got := s.batches(); got != "[1 1 3 2]" {
			t.Errorf("batches of %s records", got)
		}
		pending.waits()
		s.log.CommitAll()
		pending.saw(5)
		s.log.CommitAll()
		last.saw(6)
		for i, n := range []int{1, 2, 3, 5} {
			calls[i].saw(n)
		}
		if got := s.batches(); got != "[1 1 3 2 1]" {
			t.Errorf("batches of %s records", got)
		}
		for i, b := range s.log.Batches() {
			id, epoch := int64(record.NoProducerID), int16(record.NoProducerEpoch)
			if i == 3 {
				id, epoch = 70, 3
			}
			if b.IsTransactional() != (i == 3) || b.IsControl() || b.ProducerID() != id || b.ProducerEpoch() != epoch || b.BaseSequence() != record.NoSequence {
				t.Errorf("batch %d is of producer %d at epoch %d, transactional %v, sequence %d", i, b.ProducerID(), b.ProducerEpoch(), b.IsTransactional(), b.BaseSequence())
			}
		}
		s.log.CommitAll()
		s.close()
	})
}

// TestMarker: a marker is written behind all that was commanded before. Its machine decides then, and whoever asked is told when
// the marker is committed.
func TestMarker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.start(s.in(70, 0, add(1, 2))).saw(0)
		s.start(s.in(71, 0, add(3))).saw(0)
		s.start(s.in(70, 0, add(4))).saw(0)
		parked := s.start(command{park: true})
		s.log.Hold()
		first := []*call{s.start(add(5)), s.start(add(6)), s.start(add(7))} // the third is gathered
		ends := s.mark(commitOf(70))
		after := s.start(look())
		ends.waits()
		after.waits()
		if got := s.batches(); got != "[2 1 1 1 1 1 1]" {
			t.Errorf("batches of %s records", got)
		}
		s.log.CommitAll()
		ends.marked()
		after.saw(6)
		parked.saw(1) // it was woken by the number 5
		for i, c := range first {
			c.saw(i + 1)
		}
		ends = s.mark(abortOf(71))
		ends.waits()
		s.log.CommitAll()
		ends.marked()
		s.start(look()).saw(6)
		if got := replayed(t, s.log.Batches()); !slices.Equal(got.numbers, []int64{5, 6, 7, 1, 2, 4}) || len(got.pending) > 0 {
			t.Errorf("the log holds %d, and %v is pending", got.numbers, got.pending)
		}
		if got := s.p.Transactions(); got.Open != 0 {
			t.Errorf("%+v", got)
		}
		if got := s.r.Stats(); got.Batches != 8 || got.Records != 9 || got.Failures != 0 {
			t.Errorf("%+v", got)
		}
		s.close()
	})
}

// TestMarkerWakes: what a machine keeps waiting may wait for the end of a transaction.
func TestMarkerWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.start(s.in(70, 0, add(1))).saw(0)
		parked := s.start(command{park: true})
		s.log.Hold()
		ends := s.mark(commitOf(70))
		parked.waits()
		if len(s.sent) > 0 {
			t.Errorf("%v is sent before the marker is committed", s.sent)
		}
		s.log.CommitAll()
		ends.marked()
		parked.saw(1)
		if len(s.sent) != 1 || s.sent[0].(view).count != 1 {
			t.Errorf("%v is sent", s.sent)
		}
		s.close()
	})
}

// TestMarkerAgain: the end of a transaction may be asked for again, and that of one that was never begun.
func TestMarkerAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.start(s.in(70, 0, add(1))).saw(0)
		s.mark(commitOf(70)).marked()
		s.mark(commitOf(70)).marked()
		s.mark(abortOf(99)).marked()
		s.start(look()).saw(1)
		s.close()
	})
}

// TestRefusedMarker: a marker of a producer, or a coordinator, that another has followed is refused, and nothing else happens.
func TestRefusedMarker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		m := commitOf(70)
		m.ProducerEpoch, m.CoordinatorEpoch = 4, 2
		s.mark(m).marked()
		s.start(s.in(70, 5, add(1))).saw(0)
		parked := s.start(command{park: true})
		for _, tt := range []struct {
			epoch       int16
			coordinator int32
			want        error
		}{{4, 2, kerr.InvalidProducerEpoch}, {5, 1, kerr.TransactionCoordinatorFenced}} {
			m.ProducerEpoch, m.CoordinatorEpoch = tt.epoch, tt.coordinator
			s.mark(m).failed(tt.want)
		}
		if got := s.batches(); got != "[1 1]" {
			t.Errorf("batches of %s records", got)
		}
		parked.waits()
		m.ProducerEpoch, m.CoordinatorEpoch = 5, 2
		s.mark(m).marked()
		parked.saw(1)
		if got := s.r.Stats(); got.Failures != 0 || got.Loads != 1 {
			t.Errorf("%+v", got)
		}
		s.close()
	})
}

// TestFailedMarker fails the write of a marker, and of what was gathered before it. The transaction is open still.
func TestFailedMarker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.start(s.in(70, 0, add(1))).saw(0)
		parked := s.start(command{park: true})
		s.log.RefuseWrites(logtest.ErrDisk)
		s.mark(commitOf(70)).failed(coordinator.ErrUnavailable)
		parked.failed(coordinator.ErrUnavailable)
		s.log.RefuseWrites(nil)
		s.log.Hold()
		calls := []*call{s.start(add(2)), s.start(add(3)), s.start(add(4))}
		s.log.RefuseWrites(logtest.ErrDisk)
		s.mark(commitOf(70)).failed(coordinator.ErrUnavailable)
		for _, c := range calls {
			c.failed(coordinator.ErrUnavailable)
		}
		s.mark(commitOf(70)).failed(coordinator.ErrLoading)
		s.log.RefuseWrites(nil)
		s.log.CommitAll()
		synctest.Wait()
		time.Sleep(time.Second) // the pause before it is loaded
		s.start(look()).saw(2)
		ends := s.mark(commitOf(70))
		s.log.CommitAll()
		ends.marked()
		s.start(look()).saw(3)
		if len(s.sent) != 1 {
			t.Errorf("%v is sent", s.sent)
		}
		s.r.Unload(0)
		s.mark(commitOf(70)).failed(coordinator.ErrNotCoordinator)
		s.close()
	})
}

// TestPanicOverMarker: the marker is written, so its machine is made again and decides.
func TestPanicOverMarker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := true
		s := newStage(t, func(o *coordinator.Options[command]) {
			o.Machine = func(int32) coordinator.Machine[command] { return &panickyJournal{panics: &panics} }
		})
		s.start(s.in(70, 0, add(1))).saw(0)
		s.mark(commitOf(70)).failed(coordinator.ErrPanicked)
		s.start(look()).saw(1)
		if got := s.r.Stats(); got.Panics != 1 || got.Failures != 1 || got.Loads != 2 {
			t.Errorf("%+v", got)
		}
		s.close()
	})
}

// panickyJournal panics over its first decision.
type panickyJournal struct {
	journal
	panics *bool
}

func (j *panickyJournal) Decide(now time.Time, p coordinator.Producer, commit bool) coordinator.Effects {
	if *j.panics {
		*j.panics = false
		panic("the machine was told to")
	}
	return j.journal.Decide(now, p, commit)
}

// TestGuards: a command of a transaction that is not confirmed for the partition is not given to the machine, nor one of a
// producer that another has followed.
func TestGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		bare := command{add: []int64{1}, by: &coordinator.Producer{ID: 70, Epoch: 1}}
		s.start(bare).failed(kerr.InvalidTxnState)
		confirmed := s.in(70, 1, add(2))
		s.mark(partition.Marker{ProducerID: 70, ProducerEpoch: 1, Version: 1}).marked() // the transaction that it was for has ended
		s.start(confirmed).failed(kerr.InvalidTxnState)
		s.start(s.in(70, 1, add(3))).saw(0)
		s.start(bare).saw(0) // the transaction is open now
		s.mark(partition.Marker{ProducerID: 70, ProducerEpoch: 2, Commit: true, Version: 2}).marked()
		s.start(confirmed).failed(kerr.InvalidProducerEpoch)
		s.start(look()).saw(2)
		if got := replayed(t, s.log.Batches()).numbers; !slices.Equal(got, []int64{3, 1}) {
			t.Errorf("the log holds %d", got)
		}
		if got := s.r.Stats(); got.Failures != 0 {
			t.Errorf("%+v", got)
		}
		s.close()
	})
}

// TestSends: messages to others go out in order, when all that was applied before them is committed.
func TestSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(o *coordinator.Options[command]) { o.Held = 8 })
		sent := func(want ...any) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(s.sent, want) {
				t.Errorf("%v was sent, should be %v", s.sent, want)
			}
		}
		s.start(command{sends: []string{"a"}}).saw(0)
		sent("a")
		s.log.Hold()
		calls := []*call{s.start(command{add: []int64{1}, sends: []string{"b", "c"}}), s.start(command{sends: []string{"d"}}), s.start(command{add: []int64{2}, sends: []string{"e"}})}
		sent("a")
		s.log.Commit(1)
		sent("a", "b", "c", "d")
		calls[0].saw(1)
		calls[1].saw(1)
		calls[2].waits()
		full := s.start(command{add: []int64{3}, sends: []string{"1", "2", "3", "4", "5", "6"}}) // more than may be held
		late := s.start(command{sends: []string{"7"}})
		if got := s.r.Stats().Commands; got != 5 {
			t.Errorf("%d commands were taken", got)
		}
		s.log.CommitAll()
		synctest.Wait()
		s.log.CommitAll()
		full.saw(3)
		late.saw(3)
		sent("a", "b", "c", "d", "e", "1", "2", "3", "4", "5", "6", "7")

		// What fails before it is committed is not sent.
		s.sent = nil
		s.start(command{add: []int64{4}, sends: []string{"x"}}).waits()
		s.log.RefuseWrites(logtest.ErrDisk)
		s.start(command{add: []int64{5}, sends: []string{"y"}}).failed(coordinator.ErrUnavailable)
		s.log.RefuseWrites(nil)
		s.log.CommitAll()
		synctest.Wait()
		s.start(look()).saw(4)
		sent()

		// What is under way when a shard is unloaded is not, either, and what is when it is closed is waited for.
		s.start(command{add: []int64{6}, sends: []string{"x"}}).waits()
		s.r.Unload(0)
		s.log.CommitAll()
		sent()
		s.r.Load(0, s.p)
		synctest.Wait()
		s.start(command{add: []int64{7}, sends: []string{"z"}, nothing: true}).waits()
		closed := make(chan error, 1)
		go func() { closed <- s.r.Close(context.Background()) }()
		synctest.Wait()
		s.log.CommitAll()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		sent("z")
	})
}

// TestTransactionTooLarge: the records of one command go into one batch, or none.
func TestTransactionTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		large := s.in(70, 0, command{add: []int64{1, 2}, pad: int(testConfig().Log.SegmentBytes) / 2})
		x := s.start(large)
		x.failed(coordinator.ErrTooLarge)
		if !errors.Is(x.err, kerr.RecordListTooLarge) {
			t.Errorf("without its cause: %v", x.err)
		}
		s.start(s.in(70, 0, add(3))).saw(0)
		s.mark(commitOf(70)).marked()
		s.start(look()).saw(1)
		s.close()
	})
}

// TestLoadTransactions loads what is decided, and what is not yet.
func TestLoadTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.start(s.in(70, 0, add(1))).saw(0)
		s.start(s.in(71, 0, add(2))).saw(0)
		s.start(s.in(72, 0, add(3))).saw(0)
		s.mark(abortOf(71)).marked()
		s.start(add(4)).saw(1)
		s.mark(commitOf(72)).marked()
		s.sent = nil
		s.r.Unload(0)
		s.r.Load(0, s.p)
		synctest.Wait()
		s.start(look()).saw(2)
		if len(s.sent) > 0 {
			t.Errorf("a load has sent %v", s.sent)
		}
		s.start(s.in(70, 0, add(5))).saw(2)
		s.mark(commitOf(70)).marked()
		s.start(look()).saw(4)
		if got := replayed(t, s.log.Batches()).numbers; !slices.Equal(got, []int64{4, 3, 1, 5}) {
			t.Errorf("the log holds %d", got)
		}
		if got := s.r.Stats(); got.TransactionalRecords != 0 || got.LoadedRecords != 4 {
			t.Errorf("%+v", got)
		}
		s.close()
	})
}

// TestMachineWithoutTransactions: a machine that knows nothing of them is told nothing of them.
func TestMachineWithoutTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.start(s.in(70, 0, add(1, 2))).saw(0)
		s.mark(commitOf(70)).marked()
		s.start(add(3)).saw(3)
		s.r.Unload(0)
		var j journal
		r, told, _ := load(t, s.p, func(o *coordinator.Options[command]) {
			o.Machine = func(int32) coordinator.Machine[command] { return struct{ coordinator.Machine[command] }{&j} }
		})
		if got := mustDo(t, r, 0, look()).(view).count; got != 1 || !slices.Equal(j.numbers, []int64{3}) {
			t.Errorf("loaded %d, and told %d numbers", j.numbers, got)
		}
		if err := r.DoMarker(context.Background(), 0, abortOf(70)); err != nil {
			t.Error(err)
		}
		if got := r.Stats(); got.TransactionalRecords != 2 || got.LoadedRecords != 1 {
			t.Errorf("%+v", got)
		}
		if strings.Count(told.String(), "warn") != 1 {
			t.Errorf("told %s", told)
		}
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// TestLoadOddMarkers loads control batches that decide nothing: of a newer kind, of no transaction, and one that compaction has
// emptied.
func TestLoadOddMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &written{T: t}
		by := func(id int64, control bool) func(*record.Builder) {
			return func(b *record.Builder) {
				b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = id, 0, true, control
			}
		}
		marker := func(kind byte) coordinator.Record {
			return coordinator.Record{Key: []byte{0, 0, 0, kind}, Value: make([]byte, 6)}
		}
		w.batch(0, by(9, false), numbers(1)...)
		w.batch(1, by(9, true), marker(2))
		w.batch(2, func(b *record.Builder) { by(9, true)(b); b.LastOffset = 2 })
		w.batch(3, func(b *record.Builder) { b.Control = true }, coordinator.Record{Key: []byte{0, 0, 0, 4}})
		w.batch(4, by(8, true), marker(1))
		w.batch(5, by(9, true), coordinator.Record{Key: []byte{0, 0}})
		_, p := w.open()
		r, _, j := load(t, p)
		if got := mustDo(t, r, 0, look()).(view).count; got != 0 || !slices.Equal(j.pending[9], []int64{1}) {
			t.Errorf("%d numbers, and %v is pending", got, j.pending)
		}
		if err := r.DoMarker(context.Background(), 0, commitOf(9)); err != nil {
			t.Error(err)
		}
		if got := mustDo(t, r, 0, look()).(view).count; got != 1 {
			t.Errorf("%d numbers", got)
		}
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
