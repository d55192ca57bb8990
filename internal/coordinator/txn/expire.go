package txn

import (
	"math"
	"time"
)

// setTimeout has a transaction aborted when its time is up. A clock that was set back does not make that time longer.
func (m *Machine) setTimeout(t *transaction) {
	if t.timeout == math.MaxInt32 {
		return // Kafka's two-phase commit: it is for somebody else to decide (TransactionMetadata.isDistributedTwoPhaseCommitTxn)
	}
	left := min(max(t.start+int64(t.timeout)-m.Millis(), 0), int64(t.timeout))
	m.Set(&t.timer, t, time.Duration(left)*time.Millisecond)
}

// retryAbort is after what time the abort of a transaction is tried again for which there was no producer id.
const retryAbort = time.Second

// expire aborts a transaction whose time is up. Its producer is fenced.
func (t *transaction) expire(m *Machine) {
	if !m.fence(t) {
		m.Send(NeedProducerID{})
		m.Set(&t.timer, t, retryAbort)
	}
}

// expiry forgets transactional ids that were not used for a time. It goes over all of them, a step at a time.
type expiry struct {
	timer
	ids []string // still to be visited
}

const (
	// stepIDs is how many ids one step visits.
	stepIDs = 1000
	// stepBytes is how much one step writes, if a batch may have that much.
	stepBytes = 16 << 10
)

// expire does one step.
func (e *expiry) expire(m *Machine) {
	if e.ids == nil {
		e.ids = m.ids()
	}
	limit := min(stepBytes, m.opts.MaxRecordBytes())
	for n := 0; n < stepIDs && len(e.ids) > 0; n++ {
		id := e.ids[0]
		if len(m.Led.Records) > 0 && m.written()+recordSize(id, nil) > limit {
			break
		}
		e.ids = e.ids[1:]
		if t := m.transactions[id]; t != nil && m.unused(t) {
			delete(m.transactions, id)
			m.Write(tombstone(id))
		}
	}
	if len(e.ids) > 0 {
		m.Set(&e.timer, e, 0)
		return
	}
	e.ids = nil
	m.Set(&e.timer, e, m.opts.ExpireEvery)
}

// unused says whether a transactional id may be forgotten.
func (m *Machine) unused(t *transaction) bool {
	return (t.state == Empty || t.state.isComplete()) && t.updated <= m.Millis()-m.opts.Expiration.Milliseconds()
}
