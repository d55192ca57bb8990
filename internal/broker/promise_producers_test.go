package broker

import (
	"errors"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/partition"
	"segue/storage/record"
)

// producerPromise: no producer id is handed out twice; what a partition knows of its producers is what its log says,
// no more and no less; so a batch that is sent again is answered as it was the first time and not written again, the
// next one is taken, and one that would leave a gap is refused.
type producerPromise struct {
	ids      []int64 // that were handed out
	sessions map[session]*sequence
}

// session is what an idempotent producer writes to one partition.
type session struct {
	place
	id int64
}

// sequence is where a session stands. It is replaced, never changed.
type sequence struct {
	epoch int16
	next  int32        // the sequence number of the next new batch
	doubt []*sentBatch // sent and not acknowledged, in order: they are sent again before anything new
}

func (p *producerPromise) copy() *producerPromise {
	return &producerPromise{slices.Clip(p.ids), maps.Clone(p.sessions)}
}

// forget drops what is known of a topic that is gone.
func (p *producerPromise) forget(id [16]byte) {
	maps.DeleteFunc(p.sessions, func(s session, _ *sequence) bool { return s.topic == id })
}

// handedOut notes a producer id, and says whether it was handed out before.
func (p *producerPromise) handedOut(id int64) (again bool) {
	again = slices.Contains(p.ids, id)
	p.ids = append(p.ids, id)
	return again
}

// fold is the producer table of a partition as the tests make it from a log: the last batches of each producer.
type fold map[int64]*folded

type folded struct {
	epoch int16
	last  []record.Batch // the newest ones of that epoch, at most five
}

// remembered is how many batches of a producer a broker knows again.
const remembered = 5

func foldOf(batches []record.Batch) fold {
	f := fold{}
	for _, b := range batches {
		f.add(b)
	}
	return f
}

func (f fold) add(b record.Batch) {
	if b.ProducerID() < 0 {
		return
	}
	p := f[b.ProducerID()]
	if p == nil || p.epoch != b.ProducerEpoch() {
		p = &folded{epoch: b.ProducerEpoch()}
		f[b.ProducerID()] = p
	}
	p.last = append(p.last, b)
	p.last = p.last[max(0, len(p.last)-remembered):]
}

func (p *folded) next() int32 { return p.last[len(p.last)-1].LastSequence() + 1 }

// expect says how a batch is to be answered by a partition whose log ends at end: with which offset, or error.
func (f fold) expect(b record.Batch, end int64) (base int64, err error) {
	p := f[b.ProducerID()]
	switch {
	case p == nil:
		return end, nil
	case b.ProducerEpoch() < p.epoch:
		return -1, kerr.InvalidProducerEpoch
	case b.ProducerEpoch() > p.epoch && b.BaseSequence() != 0:
		return -1, kerr.OutOfOrderSequenceNumber
	case b.ProducerEpoch() > p.epoch:
		return end, nil
	}
	for _, known := range p.last {
		if known.BaseSequence() == b.BaseSequence() && known.LastSequence() == b.LastSequence() {
			return int64(known.BaseOffset()), nil
		}
	}
	if b.BaseSequence() != p.next() {
		return -1, kerr.OutOfOrderSequenceNumber
	}
	return end, nil
}

func (p *producerPromise) audit(a *audit) {
	for _, at := range a.places() {
		auditTable(a, at)
	}
	unlock := a.lock()
	p.settle(a)
	sessions := slices.Collect(maps.Keys(p.sessions))
	unlock()
	slices.SortFunc(sessions, func(x, y session) int {
		return int(x.id-y.id)<<8 + slices.Compare(x.topic[:], y.topic[:]) + int(x.partition-y.partition)
	})
	for range min(2, len(sessions)) {
		i := a.rand.IntN(len(sessions))
		auditSession(a, sessions[i])
		sessions = slices.Delete(sessions, i, i+1)
	}
	if _, err := a.takeProducerID(a.wire); err != nil {
		a.violated("no producer id: %w", err)
	}
}

// auditTable compares what a partition knows of its producers with what its log says.
func auditTable(a *audit, at place) {
	led, err := a.broker.partitions.Get(at.topic, at.partition)
	if err != nil {
		a.violated("%s: %w", at, err)
		return
	}
	found := a.logs[at]
	want := foldOf(found.batches)
	for _, is := range led.Producers() {
		f := want[is.ProducerID]
		delete(want, is.ProducerID)
		if f == nil {
			if found.start == 0 { // else its batches may have been deleted, which it outlives
				a.violated("%s: producer %d is known, and has no batch in the log", at, is.ProducerID)
			}
			continue
		}
		last := f.last[len(f.last)-1]
		if should := (partition.ProducerState{ProducerID: is.ProducerID, Epoch: f.epoch, LastSequence: last.LastSequence(), LastTimestamp: last.MaxTimestamp(),
			CoordinatorEpoch: -1, TxnStart: -1}); is != should {
			a.violated("%s: the state of a producer is %+v, its log says %+v", at, is, should)
		}
	}
	for id := range want {
		a.violated("%s: producer %d has batches in the log and is not known", at, id)
	}
}

// settle brings the sessions to where the logs say that they are. The batches that are in doubt and not there stay in
// doubt: their producers will send them again.
func (p *producerPromise) settle(a *audit) {
	settled := map[session]*sequence{}
	for s, told := range p.sessions {
		found := a.logs[s.place]
		if found == nil {
			continue // the topic is gone
		}
		f := foldOf(found.batches)[s.id]
		if f == nil || f.epoch > told.epoch {
			continue // nothing is left of it, or it would have to ask for a new id
		}
		there := map[string]bool{}
		for _, b := range found.batches {
			there[keyOf(b)] = true
		}
		next := &sequence{epoch: told.epoch, next: told.next}
		for _, b := range told.doubt {
			switch {
			case !there[b.key]:
				next.doubt = append(next.doubt, b)
			case len(next.doubt) > 0 && !a.weak && found.start == 0:
				a.violated("%s: the batch of producer %d with sequence %d is in the log, the one before it is not", s.place, s.id, b.BaseSequence())
			}
		}
		if a.weak { // those before them may be gone too, and then nothing helps them
			next = &sequence{epoch: f.epoch, next: f.next()}
		}
		settled[s] = next
	}
	p.sessions = settled
}

// auditSession sends batches of a session that the broker has, that come next, and that do not.
func auditSession(a *audit, s session) {
	unlock := a.lock()
	at := *a.ledger.producers.sessions[s]
	unlock()
	t := a.topics[s.topic]
	found := a.logs[s.place]
	f := foldOf(found.batches)
	try := func(what string, b *sentBatch) {
		base, err := f.expect(b.Batch, found.high)
		got, gotErr := a.deliver(a.wire, delivery{t, s.partition, b})
		if !errors.Is(gotErr, err) || got != base {
			a.violated("%s: %s of producer %d, epoch %d, sequence %d to %d, is answered with offset %d and %v, want %d and %v",
				s.place, what, s.id, b.ProducerEpoch(), b.BaseSequence(), b.LastSequence(), got, gotErr, base, err)
			return
		}
		if err == nil && base == found.high {
			b := record.Batch{Header: slices.Clone(b.Header)}
			b.SetBaseOffset(record.Offset(base))
			f.add(b)
			found.batches, found.high = append(found.batches, b), int64(b.NextOffset())
		}
	}
	for _, b := range f[s.id].last {
		sent := record.Batch{Header: slices.Clone(b.Header)}
		sent.SetBaseOffset(0)
		try("a batch that is there", asSent(sent, b.LeaderEpoch()))
	}
	for _, b := range at.doubt {
		try("a batch in doubt", b)
	}
	p := f[s.id] // a batch in doubt may have begun an epoch
	try("a batch after a gap", a.newBatch(s.id, p.epoch, p.next()+3, 1))
	try("the next batch", a.newBatch(s.id, p.epoch, p.next(), 2))
	try("the one after it", a.newBatch(s.id, p.epoch, f[s.id].next(), 1))
	unlock = a.lock()
	a.ledger.producers.sessions[s] = &sequence{epoch: f[s.id].epoch, next: f[s.id].next()}
	unlock()
}
