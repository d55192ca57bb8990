package txn

import (
	"segue/internal/coordinator"
)

// waiter is a request that waits for a transaction to end.
type waiter struct {
	timer
	of      *transaction
	token   coordinator.Token
	request any
	reply   any // if it has waited in vain
}

const (
	// waitingForOne bounds how many requests wait for one transaction.
	waitingForOne = 16
	// waitingPartitions bounds how many partitions a request may bring that waits.
	waitingPartitions = 1000
)

// wait has a request wait for a transaction that ends, and says whether there was room for it.
func (m *Machine) wait(t *transaction, token coordinator.Token, request, reply any) bool {
	add, _ := request.(AddPartitions)
	if m.waiting >= m.opts.Waiting || len(t.waiting) >= waitingForOne || len(add.Partitions) > waitingPartitions {
		return false
	}
	m.waiting++
	w := &waiter{of: t, token: token, request: request, reply: reply}
	t.waiting = append(t.waiting, w)
	m.Set(&w.timer, w, m.opts.Patience)
	return true
}

// expire answers a request that has waited in vain.
func (w *waiter) expire(m *Machine) {
	kept := w.of.waiting[:0]
	for _, other := range w.of.waiting {
		if other != w {
			kept = append(kept, other)
		}
	}
	w.of.waiting = kept
	m.waiting--
	m.Reply(w.token, w.reply)
}

// resume handles what has waited for a transaction, in order. What meets the end of another one then has waited enough, and so
// has what might not fit into one batch with the rest.
func (m *Machine) resume(t *transaction) {
	waiting := t.waiting
	t.waiting = nil
	for _, w := range waiting {
		m.Timers.Stop(&w.timer)
		m.waiting--
		add, _ := w.request.(AddPartitions)
		if m.written()+recordSize(t.id, t.partitions)+recordSize("", add.Partitions) > m.opts.MaxRecordBytes() {
			m.Reply(w.token, w.reply)
			continue
		}
		m.handle(w.token, w.request, false)
	}
}
