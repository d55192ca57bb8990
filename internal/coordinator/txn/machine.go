package txn

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// Options are what a machine is told once. All of them must be set.
type Options struct {
	// Version is the finalised transaction.version.
	Version func() int16
	// MaxTimeout is the longest timeout of a transaction (transaction.max.timeout.ms).
	MaxTimeout time.Duration
	// Expiration is how long a transactional id is kept without use (transactional.id.expiration.ms), and ExpireEvery how
	// often ids are looked through for that (transaction.remove.expired.transaction.cleanup.interval.ms).
	Expiration, ExpireEvery time.Duration
	// MaxRecordBytes bounds the record of a transactional id, key and value. Who hands it in knows what the log takes as a
	// batch at the moment.
	MaxRecordBytes func() int
	// TakeProducerID returns a producer id that nobody has, false if there is none at hand. It must not wait.
	TakeProducerID func() (int64, bool)
	// Patience is how long a request waits for a transaction that ends; Waiting how many may, of all transactions.
	Patience time.Duration
	Waiting  int
}

// Input is one command for the machine.
type Input struct {
	// Request is a *kmsg.InitProducerIDRequest with a transactional id or a *kmsg.EndTxnRequest, answered by the kmsg response of
	// the same version; or an AddPartitions, Describe, List, Count or Complete, answered as each says. In place of any of
	// them the answer may be NeedProducerID. A client of an older version is told INVALID_PRODUCER_EPOCH for a PRODUCER_FENCED,
	// which is for the handler to see to. The machine keeps no part of it but strings and lists of partitions.
	Request any
}

// NeedProducerID is replied where a producer id was needed and none at hand. Nothing was done. The machine sends it where it
// needs one by itself.
type NeedProducerID struct{}

// maxID bounds a transactional id, in bytes; records carry the length in 16 bits.
const maxID = 4 << 10

// Machine holds the transactional ids of one shard of __transaction_state. It implements coordinator.Machine[Input].
type Machine struct {
	coordinator.Turn[expirer]

	opts         Options
	transactions map[string]*transaction
	expiry       expiry
	waiting      int // requests, of all transactions
}

var _ coordinator.Machine[Input] = (*Machine)(nil)

// New returns an empty machine.
func New(o Options) *Machine {
	return &Machine{opts: o, transactions: map[string]*transaction{}}
}

// Handle implements coordinator.Machine.
func (m *Machine) Handle(now time.Time, t coordinator.Token, in Input) coordinator.Effects {
	m.Begin(now)
	m.handle(t, in.Request, true)
	return m.End()
}

// handle does what a request asks. One that meets a transaction that ends waits, if it may.
func (m *Machine) handle(t coordinator.Token, request any, mayWait bool) {
	var txn *transaction // that ends
	var reply any
	switch req := request.(type) {
	case *kmsg.InitProducerIDRequest:
		reply, txn = m.initProducerID(req)
	case AddPartitions:
		reply, txn = m.addPartitions(req)
	case *kmsg.EndTxnRequest:
		reply, txn = m.endTxn(req)
	case Complete:
		m.complete(req)
	case Describe:
		reply = m.describe(req)
	case List:
		reply = m.list(req)
	case Count:
		reply = m.count()
	default:
		reply = fmt.Errorf("transaction machine: a %T is not a request that it knows", request)
	}
	if txn != nil && mayWait && m.wait(txn, t, request, reply) {
		return
	}
	m.Reply(t, reply)
}

// Expire implements coordinator.Machine. What is due beside the first that has something to write is left to the next call, for
// which the deadline asks at once: records of one call go into one batch, and each may be as large as a batch may be.
func (m *Machine) Expire(now time.Time) coordinator.Effects {
	m.Begin(now)
	for range firesAtOnce {
		t := m.Timers.First()
		if t == nil || t.At() > m.Clock() || len(m.Led.Records) > 0 {
			break
		}
		m.Timers.Stop(t)
		t.Owner().expire(m)
	}
	return m.End()
}

// firesAtOnce bounds how many timers one Expire runs.
const firesAtOnce = 500

// Loaded implements coordinator.Machine: transactions go on where the log left them.
func (m *Machine) Loaded(now time.Time) coordinator.Effects {
	m.Begin(now)
	for _, id := range m.ids() {
		t := m.transactions[id]
		switch {
		case t.state == Ongoing:
			m.setTimeout(t)
		case t.state.isPrepared():
			m.Send(t.ending())
		}
	}
	m.Set(&m.expiry.timer, &m.expiry, m.opts.ExpireEvery)
	return m.End()
}

// change notes a change of a transactional id: it has been made, and is to be written.
func (m *Machine) change(t *transaction) {
	t.updated = max(m.Millis(), t.updated+1)
	m.Write(t.record(m.opts.Version()))
}

// ids returns all transactional ids, in order.
func (m *Machine) ids() []string {
	ids := make([]string, 0, len(m.transactions))
	for id := range m.transactions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// written is about what has been written so far by the command that is under way, in bytes, and not less.
func (m *Machine) written() (size int) {
	for _, r := range m.Led.Records {
		size += recordOverhead + len(r.Key) + len(r.Value)
	}
	return size
}

// code is the number of an error; nil is none.
func code(err *kerr.Error) int16 {
	if err == nil {
		return 0
	}
	return err.Code
}
