package partition

import (
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage/record"
)

// Guard lets transactional batches of one producer's epoch into one partition, once the coordinator has confirmed that the
// partition is part of the producer's transaction (KIP-890; Kafka's VerificationGuard). Zero is none.
type Guard uint64

// guards are the guards of a partition. The append lock guards them. The zero value is empty.
type guards struct {
	byID  map[int64]guarded // by producer id; nil if there is none
	last  Guard             // that was given
	sweep int               // how many there have to be before old ones are looked for
}

// guarded is what a guard stands for (Kafka's VerificationStateEntry).
type guarded struct {
	guard Guard
	epoch int16 // the newest that was asked for
	// lowest is the smallest sequence number that was asked for in that epoch: those behind it have to wait for it.
	lowest int32
	// bumps says that the producer's epoch grows with each transaction, so that each begins with sequence number 0.
	bumps bool
	since int64 // when it was last asked for, in Unix milliseconds
}

const (
	// guardLife is for how long a guard is good: longer than any request waits for the coordinator.
	guardLife = 5 * time.Minute
	// fewGuards are not looked through for old ones, and there are never more than mostGuards: whoever asks for one has
	// not been confirmed by anybody.
	fewGuards, mostGuards = 1 << 10, 1 << 16
)

// give returns the guard of a producer, a new one if there is none, and false if there is no room. All epochs have it in
// common: whoever asks in a newer one has not been confirmed, and must not lock out who will be.
func (g *guards) give(id int64, want guarded, now int64) (Guard, bool) {
	e, there := g.byID[id]
	if there && now-e.since < guardLife.Milliseconds() {
		switch {
		case e.epoch == want.epoch:
			e.lowest = min(e.lowest, want.lowest)
		case e.epoch < want.epoch:
			e.epoch, e.lowest, e.bumps = want.epoch, want.lowest, want.bumps
		}
		e.since = now
		g.byID[id] = e
		return e.guard, true
	}
	if len(g.byID) >= max(fewGuards, g.sweep) {
		g.expire(now)
		g.sweep = min(2*len(g.byID), mostGuards)
	}
	if len(g.byID) >= mostGuards {
		return 0, false
	}
	if g.byID == nil {
		g.byID = make(map[int64]guarded)
	}
	if g.last == 0 { // those of an earlier opening are not to be good now
		g.last = Guard(rand.Uint64())
	}
	g.last = max(g.last+1, 1)
	want.guard, want.since = g.last, now
	g.byID[id] = want
	return g.last, true
}

// end takes a producer's guard back: its transaction has begun in the log, or has ended.
func (g *guards) end(id int64) {
	if delete(g.byID, id); len(g.byID) == 0 {
		g.byID = nil
	}
}

// expire takes back the guards whose time is up.
func (g *guards) expire(now int64) {
	for id, e := range g.byID {
		if now-e.since >= guardLife.Milliseconds() {
			g.end(id)
		}
	}
}

// Guard returns what a producer's transactional batch must bring to be appended, and whether the coordinator has to be asked
// before it does: not while the producer's transaction is open here. Bumps says that the producer speaks version 2 of
// transactions (Produce 12). A marker ends a guard, and so do a batch that begins the transaction, and five minutes. The guard of
// a newer epoch is good for an older one too: the coordinator knows who is fenced.
//
// An epoch below the one that is known is INVALID_PRODUCER_EPOCH (Kafka's UnifiedLog.maybeStartTransactionVerification). When
// too many wait to be confirmed it is NOT_ENOUGH_REPLICAS, on which a producer tries again, and which Kafka answers when a
// confirmation cannot be had.
func (p *Partition) Guard(h record.Header, bumps bool) (g Guard, ask bool, err error) {
	return p.guard(h.ProducerID(), guarded{epoch: h.ProducerEpoch(), lowest: h.BaseSequence(), bumps: bumps})
}

// GuardProducer is Guard for a partition of a coordinator's, whose batches carry no sequence numbers. Check takes the guard.
func (p *Partition) GuardProducer(id int64, epoch int16) (g Guard, ask bool, err error) {
	return p.guard(id, guarded{epoch: epoch, lowest: record.NoSequence})
}

func (p *Partition) guard(id int64, want guarded) (g Guard, ask bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkEpoch(id, want.epoch); err != nil {
		return 0, false, err
	}
	if p.transactionOpen(id, want.epoch) {
		return 0, false, nil
	}
	g, ok := p.guards.give(id, want, time.Now().UnixMilli())
	if !ok {
		return 0, false, refuse(kerr.NotEnoughReplicas, "append to %s: the transactions of %d producers wait to be confirmed, more than there may be",
			p.id, mostGuards)
	}
	p.counters.guards.Store(int64(len(p.guards.byID)))
	return g, true, nil
}

// CheckProducer says whether a transactional batch of a producer may be appended on behalf of a coordinator, which is the only
// one that appends to the partition, markers included: so nothing comes between. The guard is GuardProducer's. The errors are
// INVALID_PRODUCER_EPOCH and INVALID_TXN_STATE.
func (p *Partition) CheckProducer(id int64, epoch int16, g Guard) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkEpoch(id, epoch); err != nil {
		return err
	}
	if p.transactionOpen(id, epoch) {
		return nil
	}
	_, err := p.checkGuard(id, epoch, g)
	return err
}

// checkEpoch refuses a producer that another instance of it has followed. The caller holds mu.
func (p *Partition) checkEpoch(id int64, epoch int16) error {
	if known := p.producers.byID[id]; known != nil && epoch < known.epoch {
		return staleEpoch(p.id, id, epoch, known.epoch)
	}
	return nil
}

// transactionOpen says whether a producer's transaction is open in its epoch. The caller holds mu.
func (p *Partition) transactionOpen(id int64, epoch int16) bool {
	if p.transactions.open[id] == nil {
		return false
	}
	known := p.producers.byID[id]
	return known != nil && known.epoch == epoch
}

// checkGuard returns what a producer's guard stands for, INVALID_TXN_STATE if it is not good. The caller holds mu.
func (p *Partition) checkGuard(id int64, epoch int16, g Guard) (guarded, error) {
	e, there := p.guards.byID[id]
	if g == 0 || !there || e.guard != g || e.epoch < epoch {
		return e, refuse(kerr.InvalidTxnState,
			"append to %s: the transaction of producer %d has not been confirmed for the partition, or has ended since", p.id, id)
	}
	return e, nil
}

// checkTransaction says whether a client's batch, which is no retry, has its place in the transactions: a transactional one
// belongs to an open one or brings a guard, and a producer writes nothing else while its transaction is open. The caller
// holds mu.
func (p *Partition) checkTransaction(h record.Header, g Guard) error {
	id := h.ProducerID()
	open := p.transactionOpen(id, h.ProducerEpoch())
	switch {
	case !h.IsTransactional() && p.transactions.open[id] != nil:
		return refuse(kerr.InvalidTxnState, "append to %s: producer %d has a transaction open and the batch is not part of it", p.id, id)
	case !h.IsTransactional(), open:
		return nil
	}
	e, err := p.checkGuard(id, h.ProducerEpoch(), g)
	switch {
	case err != nil:
		return err
	case e.epoch != h.ProducerEpoch():
		return nil // what is known is of a newer one
	case h.BaseSequence() > e.lowest:
		return refuse(kerr.OutOfOrderSequenceNumber, "producer %d appends to %s with sequence number %d, and has yet to write %d", id, p.id, h.BaseSequence(), e.lowest)
	case e.bumps && h.BaseSequence() != 0 && p.producers.byID[id] == nil:
		return refuse(kerr.OutOfOrderSequenceNumber, "producer %d, of which %s knows nothing, begins a transaction with sequence number %d, expected 0",
			id, p.id, h.BaseSequence())
	}
	return nil
}
