package txn

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// initProducerID handles InitProducerId: a producer begins under a transactional id, or begins anew after an error (KIP-360).
// Whoever had the id before is fenced, and a transaction that it left open is aborted, which is waited for.
func (m *Machine) initProducerID(req *kmsg.InitProducerIDRequest) (reply any, ends *transaction) {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = noProducerID, noProducerEpoch
	fail := func(err *kerr.Error) *kmsg.InitProducerIDResponse {
		resp.ErrorCode = err.Code
		return resp
	}
	id := ""
	if req.TransactionalID != nil {
		id = *req.TransactionalID
	}
	switch {
	case id == "" || len(id) > maxID || recordSize(id, nil) > m.opts.MaxRecordBytes(),
		(req.ProducerID == noProducerID) != (req.ProducerEpoch == noProducerEpoch):
		return fail(kerr.InvalidRequest), nil
	case req.TransactionTimeoutMillis <= 0 || int64(req.TransactionTimeoutMillis) > m.opts.MaxTimeout.Milliseconds():
		return fail(kerr.InvalidTransactionTimeout), nil
	}
	t := m.transactions[id]
	expects := req.ProducerID != noProducerID
	switch {
	case t == nil:
		t = &transaction{
			id: id, producerID: noProducerID, previousID: noProducerID, nextID: noProducerID,
			epoch: noProducerEpoch, lastEpoch: noProducerEpoch, start: noTime,
		}
	case t.state.isPrepared():
		return fail(kerr.ConcurrentTransactions), t
	case expects && !t.knows(req.ProducerID, req.ProducerEpoch):
		return fail(kerr.ProducerFenced), nil
	case t.state == Ongoing && expects && req.ProducerEpoch != t.epoch:
		// Whoever has begun this transaction has followed the one that asks, or is the same and has asked long ago. Kafka
		// aborts it, and then fences the one that asks.
		return fail(kerr.ProducerFenced), nil
	case t.state == Ongoing:
		if !m.fence(t) {
			return NeedProducerID{}, nil
		}
		return fail(kerr.ConcurrentTransactions), t
	}
	if err, ok := m.renew(t, expects, req.ProducerEpoch); err != nil {
		return fail(err), nil
	} else if !ok {
		return NeedProducerID{}, nil
	}
	t.timeout, t.state, t.partitions, t.start, t.nextID = req.TransactionTimeoutMillis, Empty, nil, noTime, noProducerID
	m.transactions[id] = t
	m.change(t)
	resp.ProducerID, resp.ProducerEpoch = t.producerID, t.epoch
	return resp, nil
}

// knows says whether a producer that begins anew was the transactional id's last one: by its id, or by the one before if that
// had run out of epochs, in which case it may have missed the answer that gave it the new one.
func (t *transaction) knows(producerID int64, epoch int16) bool {
	return producerID == t.producerID || producerID == t.previousID && epoch >= lastEpoch
}

// renew gives the transactional id an epoch that fences all before, and another producer id where epochs have run out or
// there is none. A producer that begins anew and has done so already is given what it was given then. It returns false if there
// is no producer id at hand.
func (m *Machine) renew(t *transaction, expects bool, expected int16) (err *kerr.Error, ok bool) {
	repeated := expects && t.epoch != noProducerEpoch && expected != t.epoch
	switch {
	case repeated && expected != t.lastEpoch:
		return kerr.ProducerFenced, true
	case repeated:
		return nil, true
	}
	last := int16(noProducerEpoch)
	if expects {
		last = t.epoch
	}
	id, epoch := t.producerID, t.epoch+1
	if id == noProducerID || t.exhausted() {
		if id, ok = m.opts.TakeProducerID(); !ok {
			return nil, false
		}
		epoch = 0
	}
	if t.previousID = t.producerID; t.previousID == noProducerID {
		t.previousID = id // so Kafka writes it
	}
	t.producerID, t.epoch, t.lastEpoch = id, epoch, last
	return nil, true
}

// fence aborts a transaction whose producer is gone, so that nothing of it can come any more. It returns false if that takes a
// producer id and there is none at hand.
func (m *Machine) fence(t *transaction) bool {
	if version := m.opts.Version(); version >= 2 {
		return m.prepare(t, PrepareAbort, version)
	}
	if t.epoch < math.MaxInt16 {
		t.epoch++
	}
	t.lastEpoch = noProducerEpoch
	return m.prepare(t, PrepareAbort, 0)
}
