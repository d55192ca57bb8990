package partition_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage/record"
)

// entry is a batch of the model's log: data of a producer, in a transaction or not, or a marker.
type entry struct {
	sent
	txn    bool
	marker *partition.Marker
}

func (e entry) build(t *testing.T) record.Batch {
	return logtest.Spec{
		Records: int(e.count), Time: 1, Producer: e.id + 1, ProducerEpoch: e.epoch, Sequence: e.seq, Transactional: e.txn,
	}.Batch(t)
}

// txnLog is all batches of a log, in order: what transactions mean, told the long way.
type txnLog []entry

// knownProducer is what a log tells of a producer.
type knownProducer struct {
	epoch       int16
	coordinator int32
	data        []entry // of its epoch
	open        record.Offset
}

// producer folds the log into what it tells of a producer, nil if nothing.
func (l txnLog) producer(id int64) *knownProducer {
	var k *knownProducer
	for _, e := range l {
		if e.id != id || id < 0 {
			continue
		}
		if k == nil {
			k = &knownProducer{epoch: e.epoch, coordinator: -1, open: -1}
		}
		if k.epoch != e.epoch {
			k.epoch, k.data = e.epoch, nil
		}
		switch {
		case e.marker != nil:
			k.coordinator, k.open = max(k.coordinator, e.marker.CoordinatorEpoch), -1
		default:
			k.data = append(k.data, e)
			if e.txn && k.open < 0 {
				k.open = e.base
			}
		}
	}
	return k
}

func (k *knownProducer) nextSeq() int32 {
	if k == nil || len(k.data) == 0 {
		return 0
	}
	return k.data[len(k.data)-1].nextSeq()
}

func (l txnLog) end() record.Offset {
	if len(l) == 0 {
		return 0
	}
	return l[len(l)-1].next()
}

// markerOf returns the marker that ends the transaction of the i-th batch, nil if there is none.
func (l txnLog) markerOf(i int) *entry {
	for j := range l[i:] {
		if e := &l[i+j]; e.id == l[i].id && e.marker != nil {
			return e
		}
	}
	return nil
}

// stable is the last stable offset.
func (l txnLog) stable(start, high record.Offset) record.Offset {
	for i, e := range l {
		if e.base >= high {
			break
		}
		if m := l.markerOf(i); e.txn && e.marker == nil && (m == nil || m.base >= high) {
			return max(start, e.base)
		}
	}
	return high
}

// visible are the records between two offsets that a reader of committed data is to see.
func (l txnLog) visible(from, to record.Offset) (offsets []record.Offset) {
	for i, e := range l {
		if e.marker != nil || e.txn && !(l.markerOf(i) != nil && l.markerOf(i).marker.Commit) {
			continue
		}
		for o := max(e.base, from); o < min(e.next(), to); o++ {
			offsets = append(offsets, o)
		}
	}
	return offsets
}

// committed reads a partition as a consumer of committed data does (Kafka's CompletedFetch), from an offset on to where there
// is nothing more to read, and shows it the records.
func committed(t *testing.T, p *partition.Partition, from record.Offset, maxBytes int, see func(record.Record)) (next record.Offset) {
	t.Helper()
	for {
		r, err := p.Read(context.Background(), partition.ReadRequest{
			Offset: from, MaxBytes: maxBytes, AtLeastOne: true, CurrentEpoch: -1, LastFetchedEpoch: -1, ReadCommitted: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		data, err := r.Chunk.AppendTo(nil)
		if r.Chunk.Release(); err != nil {
			t.Fatal(err)
		}
		if len(data) == 0 {
			return from
		}
		if !slices.IsSortedFunc(r.Aborted, func(a, b partition.AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) }) {
			t.Fatalf("aborted are not in order: %+v", r.Aborted)
		}
		aborted := map[int64]bool{}
		for len(data) > 0 {
			b, rest, err := record.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			for len(r.Aborted) > 0 && r.Aborted[0].FirstOffset <= b.LastOffset() {
				aborted[r.Aborted[0].ProducerID] = true
				r.Aborted = r.Aborted[1:]
			}
			if m, ok := partition.MarkerIn(b); ok && !m.Commit {
				delete(aborted, b.ProducerID())
			} else if !b.IsControl() && !(b.IsTransactional() && aborted[b.ProducerID()]) {
				for rec, err := range b.Records(nil) {
					if err != nil {
						t.Fatal(err)
					}
					if rec.Offset >= from {
						see(rec)
					}
				}
			}
			if b.LastOffset() >= r.LastStable {
				t.Fatalf("read %d, and only what is below %d is stable", b.LastOffset(), r.LastStable)
			}
			from, data = b.NextOffset(), rest
		}
	}
}

// endsWithMarker says whether the last batch of a producer is a marker, which has the present time.
func (l txnLog) endsWithMarker(id int64) bool {
	for _, e := range slices.Backward(l) {
		if e.id == id {
			return e.marker != nil
		}
	}
	return false
}

// heldGuard is what the model knows of a guard.
type heldGuard struct {
	guard  partition.Guard
	epoch  int16
	lowest int32
	bumps  bool
}

// txnTrial is a partition under random transactions, and its model.
type txnTrial struct {
	*testing.T
	rand  *rand.Rand
	store *logtest.Memory
	disk  *logtest.MemoryLog
	p     *partition.Partition
	epoch int32

	log    txnLog
	start  record.Offset
	high   record.Offset
	guards map[int64]heldGuard // that are good
	stale  []partition.Guard
	owed   map[int64]sent // whose first batch could not be written
	room   int            // batches that the disk takes
}

// judge says what becomes of a batch that is sent with a guard.
func (t *txnTrial) judge(e entry, g partition.Guard) (code string, base record.Offset, duplicate bool) {
	k := t.log.producer(e.id)
	if k != nil && e.epoch == k.epoch {
		for _, old := range k.data[max(0, len(k.data)-5):] {
			if old.same(e.sent) {
				return "ok", old.base, true
			}
		}
	}
	open := k != nil && k.open >= 0
	held, there := t.guards[e.id]
	owed, owes := t.owed[e.id]
	switch {
	case e.id < 0:
	case k != nil && e.epoch < k.epoch:
		return "INVALID_PRODUCER_EPOCH", 0, false
	case !e.txn && open:
		return "INVALID_TXN_STATE", 0, false
	case e.txn && !(open && e.epoch == k.epoch) && (!there || g == 0 || held.guard != g || held.epoch < e.epoch):
		return "INVALID_TXN_STATE", 0, false
	case e.txn && !(open && e.epoch == k.epoch) && held.epoch == e.epoch && (e.seq > held.lowest || held.bumps && k == nil && e.seq != 0),
		k == nil && owes && owed.epoch == e.epoch && owed.seq != e.seq,
		k != nil && e.epoch > k.epoch && e.seq != 0,
		k != nil && e.epoch == k.epoch && e.seq != k.nextSeq():
		return "OUT_OF_ORDER_SEQUENCE_NUMBER", 0, false
	}
	if t.room == 0 {
		return "KAFKA_STORAGE_ERROR", 0, false
	}
	return "ok", t.log.end(), false
}

// wrote takes in what came of a batch.
func (t *txnTrial) wrote(e entry, code string, duplicate bool) {
	switch {
	case code == "KAFKA_STORAGE_ERROR" && e.marker == nil && e.id >= 0 && t.log.producer(e.id) == nil:
		t.owed[e.id] = e.sent
	case code != "ok" || duplicate:
		return
	default:
		t.log = append(t.log, e)
		t.room--
		delete(t.owed, e.id)
		if e.txn || e.marker != nil {
			delete(t.guards, e.id)
		}
	}
}

// guard asks for a guard as a produce request does, and returns it.
func (t *txnTrial) guard(e entry, bumps bool) partition.Guard {
	t.Helper()
	k := t.log.producer(e.id)
	g, ask, err := t.p.Guard(e.build(t.T).Header, bumps)
	held, there := t.guards[e.id]
	switch {
	case k != nil && e.epoch < k.epoch:
		if code(err) != "INVALID_PRODUCER_EPOCH" {
			t.Fatalf("the guard of %+v is %v, %v", e, g, err)
		}
		return 0
	case err != nil, ask == (k != nil && k.open >= 0 && k.epoch == e.epoch):
		t.Fatalf("the guard of %+v is %v, %v, %v", e, g, ask, err)
	case !ask:
	case there:
		if g != held.guard {
			t.Fatalf("%+v has guard %v, and had %v", e, g, held)
		}
		switch {
		case held.epoch == e.epoch:
			held.lowest = min(held.lowest, e.seq)
		case held.epoch < e.epoch:
			held = heldGuard{g, e.epoch, e.seq, bumps}
		}
		t.guards[e.id] = held
	default:
		if g == 0 || slices.Contains(t.stale, g) {
			t.Fatalf("%+v has guard %v, which is not new", e, g)
		}
		t.guards[e.id] = heldGuard{g, e.epoch, e.seq, bumps}
		t.stale = append(t.stale, g)
	}
	return g
}

// next is a batch of a producer: mostly the one that is to come.
func (t *txnTrial) next() entry {
	e := entry{sent: sent{id: t.rand.Int64N(4), count: 1 + t.rand.Int32N(3)}, txn: t.rand.IntN(5) > 0}
	if e.id == 3 && t.rand.IntN(2) == 0 {
		e.id, e.txn = -1, false
		return e
	}
	if k := t.log.producer(e.id); k != nil {
		e.epoch, e.seq = k.epoch, k.nextSeq()
		e.txn = e.txn || k.open >= 0
		if len(k.data) > 0 && t.rand.IntN(8) == 0 {
			e = k.data[t.rand.IntN(len(k.data))]
		}
	}
	switch t.rand.IntN(16) {
	case 0:
		e.seq += t.rand.Int32N(3)
	case 1:
		e.epoch, e.seq = max(0, e.epoch+int16(t.rand.IntN(3)-1)), 0
	case 2:
		e.txn = !e.txn
	}
	return e
}

// produce sends a few batches together.
func (t *txnTrial) produce() {
	t.Helper()
	var entries []entry
	var all []partition.Addition
	for range 1 + t.rand.IntN(4)*t.rand.IntN(2) {
		e := t.next()
		for _, before := range entries {
			if before.id == e.id && t.rand.IntN(4) > 0 {
				e.epoch, e.seq, e.txn = before.epoch, before.nextSeq(), before.txn
			}
		}
		var g partition.Guard
		switch n := t.rand.IntN(10); {
		case e.txn && n > 0:
			g = t.guard(e, t.rand.IntN(2) == 0)
		case n == 0 && len(t.stale) > 0:
			g = t.stale[t.rand.IntN(len(t.stale))]
		}
		entries = append(entries, e)
		all = append(all, partition.Addition{Batch: e.build(t.T), Guard: g})
	}
	t.limitRoom(len(all))
	t.p.AppendAll(context.Background(), -1, all, partition.Client)
	for i, e := range entries {
		a := all[i]
		want, base, duplicate := t.judge(e, a.Guard)
		if got := code(a.Err); got != want || a.Err == nil && (a.Ack.Base != base || a.Ack.Duplicate != duplicate) {
			t.Fatalf("batch %d of %+v gave %s at %d (%v), want %s at %d; the log is %+v", i, entries, got, a.Ack.Base, a.Err, want, base, t.log)
		}
		e.base = base
		t.wrote(e, want, duplicate)
	}
	t.endLimit()
}

// end writes a marker, which may be one that has no business to come now.
func (t *txnTrial) end() {
	t.Helper()
	m := partition.Marker{
		ProducerID: t.rand.Int64N(4), Commit: t.rand.IntN(2) == 0, CoordinatorEpoch: int32(len(t.log) / 40), Version: int16(1 + t.rand.IntN(2)),
	}
	k := t.log.producer(m.ProducerID)
	if k != nil {
		m.ProducerEpoch = k.epoch
	}
	if m.Version == 2 {
		m.ProducerEpoch++
	}
	switch t.rand.IntN(8) {
	case 0:
		m.ProducerEpoch = max(0, m.ProducerEpoch-1)
	case 1:
		m.CoordinatorEpoch--
	}
	want := "ok"
	if k != nil {
		switch {
		case m.ProducerEpoch < k.epoch, m.Version == 2 && m.ProducerEpoch == k.epoch && k.open >= 0:
			want = "INVALID_PRODUCER_EPOCH"
		case m.CoordinatorEpoch < k.coordinator:
			want = "TRANSACTION_COORDINATOR_FENCED"
		}
	}
	t.limitRoom(1)
	if want == "ok" && t.room == 0 {
		want = "KAFKA_STORAGE_ERROR"
	}
	ack, err := t.p.AppendMarker(context.Background(), -1, m)
	if code(err) != want || err == nil && ack.Base != t.log.end() {
		t.Fatalf("%+v gave %v at %d, want %s; the log is %+v", m, err, ack.Base, want, t.log)
	}
	t.wrote(entry{sent: sent{id: m.ProducerID, epoch: m.ProducerEpoch, seq: -1, count: 1, base: t.log.end()}, marker: &m}, want, false)
	t.endLimit()
}

// limitRoom sometimes has the disk be full before so many batches are written.
func (t *txnTrial) limitRoom(batches int) {
	if t.room = 1 << 30; t.rand.IntN(10) == 0 {
		t.room = t.rand.IntN(batches)
		t.disk.RefuseWritesBehind(t.room, logtest.ErrDisk)
	}
}

func (t *txnTrial) endLimit() { t.disk.RefuseWrites(nil) }

func (t *txnTrial) open() {
	t.Helper()
	t.epoch++
	var err error
	if t.p, err = partition.Open(context.Background(), t.store, theID, t.epoch, testConfig(), codecs()); err != nil {
		t.Fatal(err)
	}
	t.guards, t.owed = map[int64]heldGuard{}, map[int64]sent{}
	end := t.p.Offsets().LogEnd
	if n := slices.IndexFunc(t.log, func(e entry) bool { return e.next() > end }); n >= 0 {
		t.log = t.log[:n]
	}
	t.commit(end)
}

func (t *txnTrial) commit(to record.Offset) {
	t.disk.Commit(to)
	t.high = max(t.high, to)
}

// check holds all that the partition says against the model.
func (t *txnTrial) check() {
	t.Helper()
	want := partition.Offsets{
		LogStart: t.start, LastStable: t.log.stable(t.start, t.high), HighWatermark: t.high, LogEnd: t.log.end(), LeaderEpoch: t.epoch,
	}
	if got := t.p.Offsets(); got != want {
		t.Fatalf("the marks are %+v, want %+v; the log is %+v", got, want, t.log)
	}
	open := 0
	states := t.p.Producers()
	for id := range int64(4) {
		k := t.log.producer(id)
		i := slices.IndexFunc(states, func(s partition.ProducerState) bool { return s.ProducerID == id })
		if (k == nil) != (i < 0) {
			t.Fatalf("producer %d is %+v, the log is %+v", id, states, t.log)
		}
		if k == nil {
			continue
		}
		if k.open >= 0 {
			open++
		}
		want := partition.ProducerState{
			ProducerID: id, Epoch: k.epoch, LastSequence: -1, LastTimestamp: 1, CoordinatorEpoch: k.coordinator, TxnStart: k.open,
		}
		if n := len(k.data); n > 0 {
			want.LastSequence = k.data[n-1].nextSeq() - 1
		}
		if t.log.endsWithMarker(id) {
			if want.LastTimestamp = states[i].LastTimestamp; want.LastTimestamp <= 1 {
				t.Fatalf("producer %d is %+v behind a marker", id, states[i])
			}
		}
		if states[i] != want {
			t.Fatalf("producer %d is %+v, want %+v", id, states[i], want)
		}
	}
	if s := t.p.Transactions(); s.Open != open || s.Behind != want.HighWatermark-want.LastStable || (s.Oldest == 0) != (open == 0) {
		t.Fatalf("of transactions it says %+v, open are %d", s, open)
	}
	from := t.start + record.Offset(t.rand.Int64N(int64(want.LastStable-t.start)+1))
	var seen []record.Offset
	next := committed(t.T, t.p, from, 1+t.rand.IntN(1000), func(r record.Record) { seen = append(seen, r.Offset) })
	if visible := t.log.visible(from, want.LastStable); !slices.Equal(seen, visible) || next > want.LastStable {
		t.Fatalf("from %d a reader sees %v, want %v; the log is %+v", from, seen, visible, t.log)
	}
	first, err := t.p.OffsetForTime(context.Background(), 0, true)
	if nothing := t.start >= want.LastStable; err != nil || nothing != (first.Offset < 0) || !nothing && first.Offset != t.start {
		t.Fatalf("the first record is %+v (%v), the marks are %+v", first, err, want)
	}
}

// step does something, and looks whether a reader of committed data who waits is woken when there is more.
func (t *txnTrial) step() {
	t.Helper()
	ctx := context.Background()
	w, beyond, before := partition.NewWaiter(), t.p.Offsets().LastStable, t.p
	t.p.Watch(w, beyond, true)
	switch n := t.rand.IntN(100); {
	case n < 55:
		t.produce()
	case n < 75:
		t.end()
	case n < 84:
		if len(t.log) > 0 {
			t.commit(t.log[t.rand.IntN(len(t.log))].next())
		}
	case n < 89:
		t.commit(t.log.end())
		if err := t.p.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
	case n < 92:
		t.commit(t.log.end())
		start := record.Offset(t.rand.Int64N(int64(t.high) + 1))
		if _, err := t.p.DeleteBefore(ctx, start); err != nil {
			t.Fatal(err)
		}
		t.start = max(t.start, start)
	case n < 97:
		t.disk.Crash(t.rand.IntN(4))
		if t.start == 0 && t.rand.IntN(3) == 0 {
			t.disk.SetCheckpoint("partition", 0, nil) // all is replayed
		}
		t.open()
	default:
		t.commit(t.log.end())
		if err := t.p.Close(ctx); err != nil {
			t.Fatal(err)
		}
		t.open()
	}
	t.check()
	if t.p != before {
		return
	}
	select {
	case <-w.C():
	default:
		if t.p.Offsets().LastStable > beyond {
			t.Fatalf("stable is %d now, and a reader was not woken who waits beyond %d", t.p.Offsets().LastStable, beyond)
		}
	}
	t.p.Unwatch(w)
}

// TestTransactionModel has random producers and coordinators do what they should and should not, while the log commits when it
// likes, records are deleted and the broker is killed. All that the partition says is at every moment what the log says.
func TestTransactionModel(t *testing.T) {
	rounds := 120
	if testing.Short() {
		rounds = 20
	}
	for range rounds {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			tr := &txnTrial{T: t, rand: rand.New(rand.NewPCG(seed, 0)), store: logtest.NewMemory()}
			tr.disk = tr.store.Log(theID)
			tr.disk.Hold()
			tr.open()
			for range 120 {
				tr.step()
			}
			if n := tr.store.Pinned(); n != 0 {
				t.Fatalf("%d chunks were not released", n)
			}
		})
	}
}
