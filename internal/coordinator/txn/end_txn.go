package txn

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// epochBumpVersion is from when on EndTxn raises the producer's epoch (KIP-890).
const epochBumpVersion = 5

// endTxn handles EndTxn.
func (m *Machine) endTxn(req *kmsg.EndTxnRequest) (reply any, ends *transaction) {
	resp := req.ResponseKind().(*kmsg.EndTxnResponse)
	resp.ProducerID, resp.ProducerEpoch = noProducerID, noProducerEpoch
	t := m.transactions[req.TransactionalID]
	var err *kerr.Error
	ok := true
	switch {
	case req.TransactionalID == "":
		err = kerr.InvalidRequest
	case t == nil:
		err = kerr.InvalidProducerIDMapping
	case req.Version >= epochBumpVersion && m.opts.Version() < taggedVersion:
		err = kerr.UnsupportedVersion
	case req.Version >= epochBumpVersion:
		err, ok = m.endBumping(t, req)
		if err == nil && ok {
			resp.ProducerID, resp.ProducerEpoch = t.next()
		}
	default:
		err = m.endKeeping(t, req)
	}
	if !ok {
		return NeedProducerID{}, nil
	}
	resp.ErrorCode = code(err)
	if err == kerr.ConcurrentTransactions {
		ends = t
	}
	return resp, ends
}

// next is what the producer has when the transaction is complete.
func (t *transaction) next() (id int64, epoch int16) {
	if t.state.isPrepared() && t.nextID != noProducerID {
		return t.nextID, 0
	}
	return t.producerID, t.epoch
}

// endKeeping ends a transaction by the rules of versions 0 and 1: in the epoch that it was begun in. A repeated request is
// known by the state that the first has led to (Kafka's endTransactionWithTV1).
func (m *Machine) endKeeping(t *transaction, req *kmsg.EndTxnRequest) *kerr.Error {
	switch {
	case t.producerID != req.ProducerID:
		return kerr.InvalidProducerIDMapping
	case t.epoch != req.ProducerEpoch:
		return kerr.ProducerFenced
	case t.state.isPrepared():
		return kerr.ConcurrentTransactions
	case t.state == Ongoing:
		m.prepare(t, prepared(req.Commit), 0)
		return nil
	case t.state == completed(req.Commit):
		return nil
	}
	return kerr.InvalidTxnState
}

// endBumping ends a transaction by the rules of version 2: the producer's next one has another epoch. So a request at the epoch
// that is known is about the transaction that is open, or about none, and one at the epoch before may be a repeated one
// (Kafka's endTransaction). It returns false if it takes a producer id and there is none at hand.
func (m *Machine) endBumping(t *transaction, req *kmsg.EndTxnRequest) (err *kerr.Error, ok bool) {
	if t.state.isPrepared() {
		return kerr.ConcurrentTransactions, true
	}
	overflown := t.previousID == req.ProducerID && req.ProducerEpoch == lastEpoch && t.epoch == 0
	repeated := overflown || int(t.epoch) == int(req.ProducerEpoch)+1
	switch {
	case t.producerID != req.ProducerID && !overflown:
		return kerr.InvalidProducerIDMapping, true
	case t.epoch != req.ProducerEpoch && !(repeated && t.state.isComplete()):
		return kerr.ProducerFenced, true
	case t.state == Ongoing:
		return nil, m.prepare(t, prepared(req.Commit), 2)
	case repeated && t.state == completed(req.Commit):
		return nil, true
	case repeated || req.Commit:
		return kerr.InvalidTxnState, true
	}
	// What the producer has written may not have got as far as to be part of a transaction. Abort all the same, so that it never
	// will.
	return nil, m.prepare(t, PrepareAbort, 2)
}

// prepare decides a transaction. Under version 2 that raises the epoch; where epochs have run out the producer gets another
// id when all is complete. It returns false, having done nothing, if there is none at hand.
func (m *Machine) prepare(t *transaction, s State, version int16) bool {
	nextID := int64(noProducerID)
	if version >= 2 {
		if t.exhausted() {
			id, ok := m.opts.TakeProducerID()
			if !ok {
				return false
			}
			nextID = id
		}
		t.lastEpoch = t.epoch
		if t.epoch < math.MaxInt16 {
			t.epoch++
		}
	}
	if t.state != Ongoing {
		t.start = m.Millis() // when it began is not known
	}
	t.state, t.version, t.previousID, t.nextID = s, version, t.producerID, nextID
	m.Timers.Stop(&t.timer)
	m.change(t)
	m.Send(t.ending())
	return true
}

// complete handles Complete.
func (m *Machine) complete(req Complete) {
	t := m.transactions[req.TransactionalID]
	if t == nil || !t.state.isPrepared() || t.ending().Complete != req {
		return // it was completed before
	}
	t.state = completed(t.state == PrepareCommit)
	t.previousID = t.producerID
	if t.nextID != noProducerID {
		t.producerID, t.epoch, t.nextID = t.nextID, 0, noProducerID
	}
	t.partitions = nil
	m.change(t)
	m.resume(t)
}

// prepared and completed are the states that a decision leads to.
func prepared(commit bool) State {
	if commit {
		return PrepareCommit
	}
	return PrepareAbort
}

func completed(commit bool) State {
	if commit {
		return CompleteCommit
	}
	return CompleteAbort
}
