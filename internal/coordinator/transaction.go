package coordinator

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/partition"
	"segue/storage/record"
)

// Transactional is a Machine whose records may be part of producers' transactions, which markers in the log decide. Its
// Handle asks for that with Effects.Producer.
type Transactional interface {
	// ApplyPending is Apply for a record of a transactional batch, in a replay. Whether it counts is for Decide to say.
	ApplyPending(p Producer, r Record) error
	// Decide is called when the producer's transaction has ended: a marker was written behind all that was applied, or was
	// read in a replay, whose effects are dropped. There may be nothing to decide. The epoch is the marker's.
	Decide(now time.Time, p Producer, commit bool) Effects
}

// Guarded is a command that may lead to a transactional batch: it is given to the machine only if the batch may be appended.
type Guarded interface {
	// Guard returns whose batch it would be, and the guard of the shard's partition that was taken for it
	// (partition.Partition.GuardProducer). Ok is false for a command that leads to none.
	Guard() (p Producer, g partition.Guard, ok bool)
}

// DoMarker has a shard end a producer's transaction: the marker is written behind all that was commanded before, and the
// machine decides. It returns when the marker is committed. The errors are those of Do, and INVALID_PRODUCER_EPOCH and
// TRANSACTION_COORDINATOR_FENCED, with which the partition refuses a marker. It may be called again after any error; after
// ErrPanicked, unlike a command, the marker stands.
func (r *Runtime[In]) DoMarker(ctx context.Context, index int32, m partition.Marker) error {
	_, err := r.do(ctx, index, func(q *request[In]) { q.marker = &m })
	return err
}

// checkGuard says why a command may not be given to the machine: the refusal of the partition.
func (t *tenure[In]) checkGuard(in In) error {
	if guarded, ok := any(in).(Guarded); ok {
		if p, g, ok := guarded.Guard(); ok {
			return t.log.CheckProducer(p.ID, p.Epoch, g)
		}
	}
	return nil
}

// mark does what DoMarker asks.
func (t *tenure[In]) mark(q *request[In], m partition.Marker) error {
	if err := t.flush(); err != nil {
		return err
	}
	ack, err := t.log.AppendMarker(context.Background(), t.epoch, m)
	if errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.TransactionCoordinatorFenced) {
		delete(t.waiting, t.tokens)
		q.answer <- answer{err: err}
		return nil
	}
	if err == nil {
		err = t.appended(ack, 1)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	if machine, ok := t.machine.(Transactional); ok {
		t.handling = t.tokens
		e := machine.Decide(now, Producer{m.ProducerID, m.ProducerEpoch}, m.Commit)
		t.handling = 0
		if err := t.apply(now, t.tokens, e); err != nil {
			return err
		}
	}
	t.reply(Reply{To: t.tokens})
	return nil
}

// applyMarker has the machine decide what a marker in the log decides. One that compaction has emptied, or that cannot be
// understood, decides nothing.
func (p *replay) applyMarker(b record.Batch) {
	machine, ok := p.machine.(Transactional)
	if !ok {
		return
	}
	if m, ok := partition.MarkerIn(b); ok {
		machine.Decide(time.Now(), Producer{m.ProducerID, m.ProducerEpoch}, m.Commit)
	}
}
