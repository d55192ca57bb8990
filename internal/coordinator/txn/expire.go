package txn

import "time"

// setTimeout has a transaction aborted when its time is up.
func (m *Machine) setTimeout(t *transaction) {
	m.set(&t.timer, t, time.Duration(t.start+int64(t.timeout)-m.millis())*time.Millisecond)
}

// retryAbort is after what time the abort of a transaction is tried again for which there was no producer id.
const retryAbort = time.Second

// expire aborts a transaction whose time is up. Its producer is fenced.
func (t *transaction) expire(m *Machine) {
	if !m.fence(t) {
		m.set(&t.timer, t, retryAbort)
	}
}

// expiry forgets transactional ids that were not used for a time. It goes over all of them, a step at a time.
type expiry struct {
	timer
	ids []string // still to be visited
}

// stepIDs is how many ids one step visits.
const stepIDs = 1000

// expire does one step.
func (e *expiry) expire(m *Machine) {
	if e.ids == nil {
		e.ids = m.ids()
	}
	n := min(stepIDs, len(e.ids))
	for _, id := range e.ids[:n] {
		if t := m.transactions[id]; t != nil && m.unused(t) {
			delete(m.transactions, id)
			m.fx.Records = append(m.fx.Records, tombstone(id))
		}
	}
	if e.ids = e.ids[n:]; len(e.ids) > 0 {
		m.set(&e.timer, e, 0)
		return
	}
	e.ids = nil
	m.set(&e.timer, e, m.opts.ExpireEvery)
}

// unused says whether a transactional id may be forgotten.
func (m *Machine) unused(t *transaction) bool {
	return (t.state == Empty || t.state.isComplete()) && t.updated <= m.millis()-m.opts.Expiration.Milliseconds()
}
