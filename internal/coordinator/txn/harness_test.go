package txn

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"segue/internal/coordinator"
)

// start is when time begins in tests.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	testExpiration = 7 * 24 * time.Hour
	testPatience   = time.Second
)

// world is a machine with the log that it writes, a clock, producer ids, and those who are to write its markers. After every
// command it checks what must always hold:
//
//   - The durable part of the machine equals that of a machine that has replayed its log, and of one that has replayed the log
//     after compaction. (Not durable, as in Kafka: a producer's epoch before the last.)
//   - No request is answered twice, or after its machine is gone.
//   - What is written of a transactional id follows from what was written before (checkStep).
//   - A marker is asked for only where a decision is written, for just that decision and its partitions.
//   - The parts of the machine that say the same thing twice agree.
type world struct {
	t       testing.TB
	opts    Options
	version int16 // transaction.version
	m       *Machine
	now     time.Time
	log     []coordinator.Record
	fold    *Machine // has replayed the log, record by record as it grows

	nextID int64 // producer id
	ids    int   // at hand

	token    coordinator.Token // the newest
	waiting  map[coordinator.Token]time.Time
	next     time.Time // the machine's deadline
	endings  map[Complete]Ending
	wants    bool // it has sent for producer ids
	lastKeys map[string]int
	compared int // records that the log had when it was last compared after compaction
	highest  map[int64]int16
	maxBatch int // bytes that the records of one command may have together
}

func newWorld(t testing.TB, version int16, changes ...func(*Options)) *world {
	w := &world{
		t: t, now: start, version: version, nextID: 1, ids: 1 << 30, waiting: map[coordinator.Token]time.Time{},
		endings: map[Complete]Ending{}, lastKeys: map[string]int{}, highest: map[int64]int16{},
	}
	w.opts = Options{
		Version: func() int16 { return w.version }, MaxTimeout: 15 * time.Minute,
		Expiration: testExpiration, ExpireEvery: time.Hour, MaxRecordBytes: func() int { return 1 << 20 },
		TakeProducerID: w.takeID, Patience: testPatience, Waiting: 100,
	}
	for _, change := range changes {
		change(&w.opts)
	}
	w.maxBatch = w.opts.MaxRecordBytes()
	w.m, w.fold = New(w.opts), New(w.opts)
	w.took(w.m.Loaded(w.now))
	return w
}

func (w *world) takeID() (int64, bool) {
	if w.ids == 0 {
		return -1, false
	}
	w.ids--
	w.nextID++
	return w.nextID - 1, true
}

// do hands the machine a command.
func (w *world) do(request any) (coordinator.Token, coordinator.Effects) {
	w.token++
	w.waiting[w.token] = w.now
	t := w.token
	fx := w.m.Handle(w.now, t, Input{Request: request})
	w.took(fx)
	return t, fx
}

// advance lets time pass, and calls the machine whenever it wants to be. each sees what comes of it.
func (w *world) advance(d time.Duration, each func(coordinator.Effects)) {
	until := w.now.Add(d)
	idle := 0
	for !w.next.IsZero() && !w.next.After(until) {
		before := w.now
		if w.next.After(w.now) {
			w.now = w.next
		}
		fx := w.m.Expire(w.now)
		w.took(fx)
		each(fx)
		if idle++; w.now.After(before) || len(fx.Records)+len(fx.Replies) > 0 {
			idle = 0
		}
		if idle > 20 {
			w.t.Fatalf("at %v the machine asks again and again to be called, and does nothing", since(w.now))
		}
	}
	w.now = until
}

// took takes in the effects of a command and checks everything.
func (w *world) took(fx coordinator.Effects) {
	w.t.Helper()
	for _, r := range fx.Replies {
		if _, ok := w.waiting[r.To]; !ok {
			w.t.Fatalf("request #%d is answered and does not wait: %v", r.To, r.Message)
		}
		delete(w.waiting, r.To)
	}
	size := 0
	for _, rec := range fx.Records {
		size += len(rec.Key) + len(rec.Value)
		w.write(rec)
	}
	if size > w.maxBatch {
		w.t.Fatalf("one command leads to %d bytes of records, and a batch has room for %d", size, w.maxBatch)
	}
	w.next = fx.Deadline
	for _, message := range fx.Sends {
		switch message := message.(type) {
		case Ending:
			w.sent(message)
		case NeedProducerID:
			w.wants = true
		default:
			w.t.Fatalf("the machine sends a %T", message)
		}
	}
	w.check()
}

// write takes in a record.
func (w *world) write(rec coordinator.Record) {
	w.t.Helper()
	key := coordinator.Reader{Left: rec.Key}
	key.Int16()
	id := key.String()
	before := said(w.fold.transactions[id])
	old := w.fold.transactions[id]
	w.lastKeys[string(rec.Key)] = len(w.log)
	w.log = append(w.log, coordinator.Record{Key: bytes.Clone(rec.Key), Value: bytes.Clone(rec.Value)})
	if err := w.fold.Apply(rec); err != nil {
		w.t.Fatalf("a record that was written cannot be replayed: %v", err)
	}
	if err := w.checkStep(old, w.fold.transactions[id]); err != nil {
		w.t.Fatalf("transactional id %q: %v\nbefore: %s\nafter:  %s", id, err, before, said(w.fold.transactions[id]))
	}
}

// follows are the states from which each may be reached (Kafka's TransactionState.VALID_PREVIOUS_STATES).
var follows = map[State][]State{
	Empty:          {Empty, CompleteCommit, CompleteAbort},
	Ongoing:        {Ongoing, Empty, CompleteCommit, CompleteAbort},
	PrepareCommit:  {Ongoing},
	PrepareAbort:   {Ongoing, Empty, CompleteCommit, CompleteAbort},
	CompleteCommit: {PrepareCommit},
	CompleteAbort:  {PrepareAbort},
}

// checkStep says what is wrong with a transactional id becoming this after it was that; nil is none.
func (w *world) checkStep(old, now *transaction) error {
	switch {
	case now == nil && old == nil:
		return errors.New("what was not there is forgotten")
	case now == nil && old.state.isOpen():
		return errors.New("an open transaction is forgotten")
	case now == nil:
		return nil
	case old == nil && (now.state != Empty || now.epoch != 0):
		return errors.New("it does not begin Empty at epoch 0")
	case old != nil && !slices.Contains(follows[now.state], old.state):
		return errors.New("the states do not follow on another")
	case now.producerID < 0 || now.epoch < 0:
		return errors.New("there is no producer")
	}
	if highest, known := w.highest[now.producerID]; known && now.epoch < highest {
		return fmt.Errorf("the epoch goes back from %d", highest)
	} else if !known && now.epoch != 0 {
		return errors.New("a new producer does not begin at epoch 0")
	}
	w.highest[now.producerID] = now.epoch
	if old == nil {
		return nil
	}
	switch now.state {
	case Ongoing, PrepareCommit, PrepareAbort:
		if now.producerID != old.producerID {
			return errors.New("another producer goes on with the transaction")
		}
		if now.state.isPrepared() && !slices.Equal(old.partitions, now.partitions) {
			return errors.New("the decision is about other partitions")
		}
		for _, p := range old.partitions {
			if !now.has(p) {
				return fmt.Errorf("partition %v is lost", p)
			}
		}
		if old.state == Ongoing && old.start != now.start {
			return errors.New("it has another beginning")
		}
		if now.state == Ongoing && now.epoch != old.epoch {
			return errors.New("partitions are added in another epoch")
		}
	case CompleteCommit, CompleteAbort:
		if e, unwritten := w.endings[old.ending().Complete]; unwritten {
			return fmt.Errorf("it is complete without the markers of %+v", e)
		}
	}
	if now.updated <= old.updated {
		return errors.New("the time of the change is not later")
	}
	return nil
}

// sent takes in that markers are asked for.
func (w *world) sent(e Ending) {
	w.t.Helper()
	t := w.fold.transactions[e.TransactionalID]
	if t == nil || !t.state.isPrepared() {
		w.t.Fatalf("markers are asked for, and nothing is decided: %+v", e)
	}
	want := t.ending()
	if e.Complete != want.Complete || e.Commit != want.Commit || e.Version != want.Version || !slices.Equal(e.Partitions, want.Partitions) {
		w.t.Fatalf("markers are asked for that were not decided: %+v, decided was %+v", e, want)
	}
	w.endings[e.Complete] = e
}

// finish says that the markers of an Ending are written.
func (w *world) finish(done Complete) coordinator.Effects {
	delete(w.endings, done)
	_, fx := w.do(done)
	return fx
}

// pending returns the Endings whose markers are not written, in order.
func (w *world) pending() []Ending {
	return slices.SortedFunc(maps.Values(w.endings), func(a, b Ending) int {
		return strings.Compare(fmt.Sprint(a.Complete), fmt.Sprint(b.Complete))
	})
}

// reload throws the machine away, as after a crash or a failed append, and replays the log.
func (w *world) reload(compacted bool) coordinator.Effects {
	w.t.Helper()
	log := w.log
	if compacted {
		log = w.compacted()
	}
	w.m = w.replay(log)
	clear(w.waiting)
	before := maps.Clone(w.endings)
	fx := w.m.Loaded(w.now)
	for id, t := range w.m.transactions { // what was decided is sent again, whatever had been written of it
		sent := slices.ContainsFunc(fx.Sends, func(m any) bool { e, ok := m.(Ending); return ok && e.TransactionalID == id })
		if t.state.isPrepared() != sent {
			w.t.Fatalf("transactional id %q is loaded as %s, and its markers are asked for: %v", id, t.state, sent)
		}
	}
	w.took(fx)
	for done := range before {
		if _, still := w.endings[done]; !still {
			w.t.Fatalf("the markers of %+v are forgotten", done)
		}
	}
	return fx
}

func (w *world) replay(log []coordinator.Record) *Machine {
	w.t.Helper()
	m := New(w.opts)
	for _, rec := range log {
		if err := m.Apply(rec); err != nil {
			w.t.Fatalf("replay: %v", err)
		}
	}
	return m
}

// compacted returns the log with only the last record of each key, and without tombstones.
func (w *world) compacted() []coordinator.Record {
	var log []coordinator.Record
	for _, i := range slices.Sorted(maps.Values(w.lastKeys)) {
		if w.log[i].Value != nil {
			log = append(log, w.log[i])
		}
	}
	return log
}

// said is all that the record of a transactional id says.
func said(t *transaction) string {
	if t == nil {
		return "none"
	}
	s := fmt.Sprintf("%s producer=%d/%d", t.state, t.producerID, t.epoch)
	if t.previousID != t.producerID {
		s += fmt.Sprintf(" previous=%d", t.previousID)
	}
	if t.nextID != noProducerID {
		s += fmt.Sprintf(" next=%d", t.nextID)
	}
	s += fmt.Sprintf(" timeout=%v start=%s version=%d", time.Duration(t.timeout)*time.Millisecond, sinceMillis(t.start), t.version)
	return s + show(t.partitions)
}

// check fails the test when something does not hold that always must.
func (w *world) check() {
	w.t.Helper()
	w.compare("replay", w.fold)
	if len(w.log) > w.compared { // else neither changed
		w.compared = len(w.log)
		w.compare("replay after compaction", w.replay(w.compacted()))
	}
	timers := map[*timer]bool{}
	for t := range w.m.Timers.All() {
		timers[t] = true
	}
	waiting := 0
	for id, t := range w.m.transactions {
		if t.id != id || len(t.waiting) > 0 && !t.state.isPrepared() || t.timer.IsSet() != (t.state == Ongoing && t.timeout != 1<<31-1) {
			w.t.Fatalf("transactional id %q (%s) contradicts itself: %d wait, its timer is set: %v", id, t.state, len(t.waiting), t.timer.IsSet())
		}
		delete(timers, &t.timer)
		for _, r := range t.waiting {
			if _, waits := w.waiting[r.token]; r.of != t || !waits || !r.timer.IsSet() {
				w.t.Fatalf("request #%d waits for %q in vain", r.token, id)
			}
			delete(timers, &r.timer)
			waiting++
		}
	}
	delete(timers, &w.m.expiry.timer)
	if len(timers) > 0 || waiting != w.m.waiting || waiting != len(w.waiting) {
		w.t.Fatalf("%d timers belong to nobody; %d requests wait, %d are counted, %d have no answer", len(timers), waiting, w.m.waiting, len(w.waiting))
	}
}

// compare compares the durable part of the machine with another's.
func (w *world) compare(what string, other *Machine) {
	w.t.Helper()
	ids := append(w.m.ids(), other.ids()...)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		live, dead := w.m.transactions[id], other.transactions[id]
		if i, ok := w.lastKeys[string(keyOf(id))]; ok && live != nil && len(w.log[i].Value) > 1 && w.log[i].Value[1] == 0 {
			short := *live // version 0 says less
			short.previousID, short.nextID, short.version = noProducerID, noProducerID, 0
			live = &short
		}
		same := live != nil && dead != nil && live.updated == dead.updated
		if l, d := said(live), said(dead); l != d || !same {
			w.t.Fatalf("%s of transactional id %q gives another one:\nlive:     %s\nreplayed: %s", what, id, l, d)
		}
	}
}

// since shows a time as what has passed since the test began.
func since(t time.Time) string { return t.Sub(start).String() }

func sinceMillis(ms int64) string {
	if ms == noTime {
		return "never"
	}
	return since(time.UnixMilli(ms))
}
