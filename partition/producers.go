package partition

import (
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage"
	"segue/storage/record"
)

// window is how many of a producer's last batches are remembered, and so how many requests an idempotent producer may
// have in flight (Kafka's ProducerStateEntry.NUM_BATCHES_TO_RETAIN).
const window = 5

// producers is the producer table of a partition: what each idempotent producer last wrote. It is a fold over the
// headers of the log's batches in order: check refuses what may not come next, apply takes in what was written. The
// zero value is empty. The append lock guards it.
type producers struct {
	byID map[int64]*producer // nil until the first idempotent batch: most partitions of a big broker are idle
	// owing are the producers that the log does not tell of and whose first batch could not be written, for want of
	// room. What they had in flight behind it may not come before it. It is not part of the fold: who is cut off by a
	// restart sends everything again, in order.
	owing map[int64]owed
}

// owed is the batch that has to come first.
type owed struct {
	epoch int16
	seq   int32
	since int64 // in Unix milliseconds
}

// producer is what the table knows of one producer id.
type producer struct {
	epoch int16
	known uint8 // how many of batches are in use
	// coordinatorEpoch is the largest of the transaction coordinators that have ended its transactions, -1 for none.
	coordinatorEpoch int32
	batches          [window]written
	timestamp        int64 // the largest of its last batch or marker
	// active is when this broker last took a batch of the producer's, in Unix milliseconds. Kafka counts from the
	// timestamp of the batch, which under CreateTime is whatever its producer says: one that writes old events would
	// be forgotten while it is at it, and its next retry be taken for new data.
	active int64
}

// written is one batch that a producer wrote.
type written struct {
	last      record.Offset // offset of its last record
	timestamp int64         // its largest timestamp
	lastSeq   int32         // sequence number of its last record; record.NoSequence if it has none
	delta     int32         // last offset less first, in offsets and in sequence numbers
}

func (w written) first() record.Offset { return w.last - record.Offset(w.delta) }

// check says whether a batch of a producer with an id, which is no retry, comes in its turn, by the rules of Kafka's
// ProducerAppendInfo. Coordinators number no batches; for theirs only the epoch counts. It changes nothing.
func (t *producers) check(id storage.Identity, h record.Header, from Origin) error {
	p := t.byID[h.ProducerID()]
	if p == nil {
		// Nothing is known of a producer that is new, and nothing any more of one whose batches are gone or whose time
		// is up: it may go on at any sequence number.
		if first, ok := t.owing[h.ProducerID()]; ok && h.ProducerEpoch() == first.epoch && h.BaseSequence() != first.seq {
			return refuse(kerr.OutOfOrderSequenceNumber,
				"producer %d appends to %s with sequence number %d, and its batch with %d could not be written",
				h.ProducerID(), id, h.BaseSequence(), first.seq)
		}
		return nil
	}
	epoch := h.ProducerEpoch()
	if epoch < p.epoch {
		return staleEpoch(id, h.ProducerID(), epoch, p.epoch)
	}
	if from != Client || p.epoch == record.NoProducerEpoch {
		return nil
	}
	want := int32(0)
	if epoch == p.epoch {
		want = p.nextSeq()
	}
	if seq := h.BaseSequence(); seq != want {
		return refuse(kerr.OutOfOrderSequenceNumber,
			"producer %d appends to %s at epoch %d (last seen %d) with sequence number %d, expected %d",
			h.ProducerID(), id, epoch, p.epoch, seq, want)
	}
	return nil
}

// staleEpoch refuses a batch of a producer that another instance of it has followed.
func staleEpoch(id storage.Identity, producer int64, epoch, seen int16) error {
	return refuse(kerr.InvalidProducerEpoch, "producer %d appends to %s at epoch %d, and epoch %d has been seen", producer, id, epoch, seen)
}

// find returns the remembered batch with exactly these sequence numbers.
func (p *producer) find(firstSeq, lastSeq int32) *written {
	for i := range p.batches[:p.known] {
		w := &p.batches[i]
		if w.lastSeq == lastSeq && w.lastSeq >= 0 && record.SequenceAfter(firstSeq, w.delta) == lastSeq {
			return w
		}
	}
	return nil
}

// endWith says whether a batch is the last one of its producer, or a marker of an epoch in which it has written nothing.
func (t *producers) endWith(h record.Header) bool {
	p := t.byID[h.ProducerID()]
	switch {
	case p == nil:
		return false
	case p.known == 0:
		return h.IsControl() && h.ProducerEpoch() == p.epoch
	}
	return p.batches[p.known-1].last == h.LastOffset()
}

// lastSeq is the sequence number of the producer's last record in its epoch, record.NoSequence if it has none.
func (p *producer) lastSeq() int32 {
	if p.known == 0 {
		return record.NoSequence
	}
	return p.batches[p.known-1].lastSeq
}

// nextSeq is the sequence number that has to come next: one more than the last, and 0 in an epoch without a batch.
func (p *producer) nextSeq() int32 {
	if last := p.lastSeq(); last >= 0 {
		return record.SequenceAfter(last, 1)
	}
	return 0
}

// count is how many producers the table has anything to say about.
func (t *producers) count() int64 { return int64(len(t.byID) + len(t.owing)) }

// missed notes that a batch that check has let pass was not written. Nothing waits for a marker.
func (t *producers) missed(h record.Header, now int64) {
	id := h.ProducerID()
	if id < 0 || h.IsControl() || t.byID[id] != nil {
		return // the log tells what comes next
	}
	if t.owing == nil {
		t.owing = make(map[int64]owed)
	}
	t.owing[id] = owed{h.ProducerEpoch(), h.BaseSequence(), now}
}

// apply takes in a batch that is in the log, at the offsets in its header. A transaction marker (a control batch) moves
// its producer's epoch and that of its coordinator, and is none of its batches.
func (t *producers) apply(h record.Header, coordinatorEpoch int32, now int64) {
	if h.ProducerID() < 0 {
		return
	}
	p := t.byID[h.ProducerID()]
	if p == nil {
		if t.byID == nil {
			t.byID = make(map[int64]*producer)
		}
		p = &producer{epoch: h.ProducerEpoch(), coordinatorEpoch: -1}
		t.byID[h.ProducerID()] = p
		delete(t.owing, h.ProducerID())
	}
	if p.epoch != h.ProducerEpoch() {
		p.epoch, p.known = h.ProducerEpoch(), 0
	}
	p.active, p.timestamp = now, h.MaxTimestamp()
	if h.IsControl() {
		p.coordinatorEpoch = max(p.coordinatorEpoch, coordinatorEpoch)
		return
	}
	if p.known == window {
		copy(p.batches[:], p.batches[1:])
		p.known--
	}
	p.batches[p.known] = written{
		last: h.LastOffset(), timestamp: h.MaxTimestamp(), lastSeq: h.LastSequence(), delta: h.LastOffsetDelta(),
	}
	p.known++
}

// expire forgets the producers that have not written for as long as expiry (producer.id.expiration.ms), unless they have a
// transaction open.
func (t *producers) expire(now int64, expiry time.Duration, open map[int64]*transaction) {
	before := now - expiry.Milliseconds()
	for id, p := range t.byID {
		if p.active <= before && open[id] == nil {
			delete(t.byID, id)
		}
	}
	if len(t.byID) == 0 {
		t.byID = nil
	}
	maps.DeleteFunc(t.owing, func(_ int64, first owed) bool { return first.since <= before })
}

// ProducerState is what a partition knows of one producer, as DescribeProducers tells it (KIP-664).
type ProducerState struct {
	ProducerID    int64
	Epoch         int16
	LastSequence  int32 // -1 if it has written nothing in this epoch
	LastTimestamp int64 // largest timestamp of its last batch, or of the marker behind it; -1 if there is none
	// CoordinatorEpoch is that of the transaction coordinator that has last ended a transaction of its, -1 for none.
	CoordinatorEpoch int32
	TxnStart         record.Offset // where its open transaction began, -1 if there is none
}

func (t *producers) states(open map[int64]*transaction) []ProducerState {
	states := make([]ProducerState, 0, len(t.byID))
	for id, p := range t.byID {
		s := ProducerState{
			ProducerID: id, Epoch: p.epoch, LastSequence: p.lastSeq(), LastTimestamp: p.timestamp,
			CoordinatorEpoch: p.coordinatorEpoch, TxnStart: -1,
		}
		if txn := open[id]; txn != nil {
			s.TxnStart = txn.first
		}
		states = append(states, s)
	}
	return states
}
