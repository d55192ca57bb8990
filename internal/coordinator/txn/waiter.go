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

// waitingForOne bounds how many requests wait for one transaction.
const waitingForOne = 16

// wait has a request wait for a transaction that ends, and says whether there was room for it.
func (m *Machine) wait(t *transaction, token coordinator.Token, request, reply any) bool {
	if m.waiting >= m.opts.Waiting || len(t.waiting) >= waitingForOne {
		return false
	}
	m.waiting++
	w := &waiter{of: t, token: token, request: request, reply: reply}
	t.waiting = append(t.waiting, w)
	m.set(&w.timer, w, m.opts.Patience)
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
	m.reply(w.token, w.reply)
}

// resume handles what has waited for a transaction, in order. What meets the end of another one then has waited enough.
func (m *Machine) resume(t *transaction) {
	waiting := t.waiting
	t.waiting = nil
	for _, w := range waiting {
		m.timers.Stop(&w.timer)
		m.waiting--
		m.handle(w.token, w.request, false)
	}
}
