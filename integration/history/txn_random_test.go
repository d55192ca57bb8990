package history

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// txnModel is sound logs with transactions, in small: it makes legal histories of producers that begin and end transactions over
// two partitions, and of readers of both kinds.
type txnModel struct {
	rng     *rand.Rand
	now     time.Duration
	rec     History
	logs    [2][]txnRecord
	open    map[int32]*txnOpen // by producer
	next    map[[2]int32]int64 // where a reader is, by client and partition
	values  Value
	numbers int32
}

// txnRecord is a record, or a marker, which has no value.
type txnRecord struct {
	value  Value
	txn    int32
	marker bool
}

type txnOpen struct {
	txn   int32
	wrote [2]bool
	first [2]int64
}

const txnProducers, txnReaders = 3, 2 // and a drainer behind the readers

// legalTransactions returns a history of so many steps.
func legalTransactions(seed uint64, steps int) *History {
	m := &txnModel{rng: rand.New(rand.NewPCG(seed, 3)), open: map[int32]*txnOpen{}, next: map[[2]int32]int64{}}
	m.rec.Partitions = []Partition{{Topic: "t"}, {Topic: "t", Index: 1}}
	m.rec.Clients = make([]Process, txnProducers+txnReaders+1)
	for range steps {
		switch n := m.rng.IntN(100); {
		case n < 45:
			m.send(m.rng.Int32N(txnProducers), m.rng.Int32N(2))
		case n < 65:
			m.end(m.rng.Int32N(txnProducers))
		default:
			m.poll(txnProducers+m.rng.Int32N(txnReaders), m.rng.Int32N(2))
		}
	}
	for p := range int32(txnProducers) {
		m.end(p)
	}
	m.drain()
	return &m.rec
}

func (m *txnModel) add(op Op) {
	op.Invoke, m.now = m.now, m.now+2*time.Millisecond
	op.Complete = m.now - time.Millisecond
	if op.Outcome == Unknown {
		op.Complete = Never
	}
	m.rec.Ops = append(m.rec.Ops, op)
}

// send writes a record: in the producer's transaction, which begins with it, or now and then outside of any.
func (m *txnModel) send(client, p int32) {
	m.values++
	op := Op{Kind: Send, Outcome: OK, Client: client, Partition: p, Value: m.values, Offset: int64(len(m.logs[p])), Time: Nowhere}
	if x := m.open[client]; x != nil || m.rng.IntN(4) > 0 {
		if x == nil {
			m.numbers++
			x = &txnOpen{txn: m.numbers}
			m.open[client] = x
		}
		if !x.wrote[p] {
			x.wrote[p], x.first[p] = true, op.Offset
		}
		op.Txn = x.txn
	}
	m.logs[p] = append(m.logs[p], txnRecord{value: op.Value, txn: op.Txn})
	m.add(op)
}

// end commits or aborts. Of some commits nobody hears what came of them.
func (m *txnModel) end(client int32) {
	x := m.open[client]
	if x == nil {
		return
	}
	delete(m.open, client)
	kind, outcome := Commit, OK
	committed := m.rng.IntN(3) > 0
	switch {
	case m.rng.IntN(4) == 0:
		outcome = Unknown
	case !committed:
		kind = Abort
	}
	m.add(Op{Kind: kind, Outcome: outcome, Client: client, Partition: Nowhere, Offset: Nowhere, Txn: x.txn})
	for p := range m.logs {
		if !x.wrote[p] {
			continue
		}
		for i, r := range m.logs[p] {
			if r.txn == x.txn && !committed {
				m.logs[p][i].txn = -x.txn // aborted
			}
		}
		m.logs[p] = append(m.logs[p], txnRecord{marker: true})
	}
}

func (m *txnModel) stable(p int32) int64 {
	last := int64(len(m.logs[p]))
	for _, x := range m.open {
		if x.wrote[p] {
			last = min(last, x.first[p])
		}
	}
	return last
}

// poll has every second reader read what is committed.
func (m *txnModel) poll(client, p int32) {
	op := Op{
		Kind: Poll, Outcome: OK, Client: client, Partition: p, Offset: Nowhere, Committed: client%2 == 0,
		HighWatermark: int64(len(m.logs[p])), LastStable: m.stable(p),
	}
	end := op.HighWatermark
	if op.Committed {
		end = op.LastStable
	}
	at := [2]int32{client, p}
	for end = min(end, m.next[at]+1+m.rng.Int64N(8)); m.next[at] < end; m.next[at]++ {
		r := m.logs[p][m.next[at]]
		if r.marker || op.Committed && r.txn < 0 {
			continue
		}
		op.Records = append(op.Records, Record{Offset: m.next[at], Value: r.value})
	}
	m.add(op)
}

func (m *txnModel) drain() {
	const drainer = txnProducers + txnReaders
	for p := range int32(2) {
		begun := m.now
		m.add(Op{Kind: Seek, Outcome: OK, Client: drainer, Partition: p, Offset: 0})
		op := Op{Kind: Poll, Outcome: OK, Client: drainer, Partition: p, Offset: Nowhere, Committed: true,
			HighWatermark: int64(len(m.logs[p])), LastStable: int64(len(m.logs[p]))}
		for offset, r := range m.logs[p] {
			if !r.marker && r.txn >= 0 {
				op.Records = append(op.Records, Record{Offset: int64(offset), Value: r.value})
			}
		}
		m.add(op)
		m.rec.Ops = append(m.rec.Ops, Op{Kind: Drain, Outcome: OK, Client: drainer, Partition: p, Offset: op.HighWatermark,
			Committed: true, Invoke: begun, Complete: m.now})
	}
}

// TestLegalTransactions: whatever a sound log does with transactions, nothing is found.
func TestLegalTransactions(t *testing.T) {
	made, _ := randomHistories()
	for seed := range made {
		if err := Check(legalTransactions(seed, 300)).Err(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// lastDrain returns the drainer's poll of a partition in which something is.
func lastDrain(h *History) *Op {
	for i := range h.Ops {
		if op := &h.Ops[i]; op.Kind == Poll && op.Client == txnProducers+txnReaders && len(op.Records) > 0 {
			return op
		}
	}
	return nil
}

var txnMutations = []mutation{
	{"abort what was read", []Name{AbortedRead}, func(h *History, rng *rand.Rand) bool {
		read := map[int32]bool{}
		for _, r := range lastDrain(h).Records {
			send := pick(h, rng, func(o *Op) bool { return o.Kind == Send && o.Value == r.Value })
			read[send.Txn] = send.Txn != 0
		}
		op := pick(h, rng, func(o *Op) bool { return o.Kind == Commit && read[o.Txn] })
		if op == nil {
			return false
		}
		op.Kind = Abort
		return true
	}},
	{"tear a transaction", []Name{TornTransaction, LostWrite}, func(h *History, rng *rand.Rand) bool {
		drain := lastDrain(h)
		var in []int
		for i, r := range drain.Records {
			if pick(h, rng, func(o *Op) bool { return o.Kind == Send && o.Value == r.Value && o.Txn != 0 }) != nil {
				in = append(in, i)
			}
		}
		if len(in) == 0 {
			return false
		}
		gone := drain.Records[in[rng.IntN(len(in))]].Value
		committed := pick(h, rng, func(o *Op) bool {
			return o.Kind == Commit && o.Outcome == OK && pick(h, rng, func(s *Op) bool { return s.Kind == Send && s.Value == gone && s.Txn == o.Txn }) != nil
		})
		edit(h, func(records []Record) []Record {
			return slices.DeleteFunc(records, func(r Record) bool { return r.Value == gone })
		})
		return committed != nil
	}},
	{"commit after it was read", []Name{UncommittedRead}, func(h *History, rng *rand.Rand) bool {
		poll := pick(h, rng, func(o *Op) bool {
			return o.Kind == Poll && o.Committed && o.Client < txnProducers+txnReaders && len(o.Records) > 0
		})
		if poll == nil {
			return false
		}
		send := pick(h, rng, func(o *Op) bool { return o.Kind == Send && o.Value == poll.Records[0].Value })
		commit := pick(h, rng, func(o *Op) bool { return o.Kind == Commit && o.Txn == send.Txn && send.Txn != 0 })
		if commit == nil {
			return false
		}
		commit.Invoke = poll.Complete + 1
		commit.Complete = max(commit.Complete, commit.Invoke)
		return true
	}},
	{"go on as if nothing were open", []Name{LastStableAboveOpen}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, func(o *Op) bool { return o.Kind == Poll && o.LastStable < o.HighWatermark })
		if op == nil {
			return false
		}
		op.LastStable = op.HighWatermark
		// The transaction that holds it back has to be one that was then committed.
		return slices.ContainsFunc(h.Ops, func(c Op) bool {
			return c.Kind == Commit && c.Outcome == OK && c.Invoke > op.Complete && slices.ContainsFunc(h.Ops, func(s Op) bool {
				return s.Kind == Send && s.Txn == c.Txn && s.Partition == op.Partition && s.Complete < op.Invoke
			})
		})
	}},
	{"let the last stable offset go back", []Name{LastStableBack, LastStableBelowRead}, func(h *History, rng *rand.Rand) bool {
		op := lastDrain(h)
		known := slices.ContainsFunc(h.Ops, func(o Op) bool {
			return o.Kind == Poll && o.Partition == op.Partition && o.Client < op.Client && o.LastStable > 0
		})
		op.LastStable = 0
		return known
	}},
}

// TestBrokenTransactions: whatever legal history with transactions is broken, in whatever way, it is found.
func TestBrokenTransactions(t *testing.T) {
	for _, m := range txnMutations {
		t.Run(m.name, func(t *testing.T) {
			checkMutation(t, m, func(seed uint64) *History { return legalTransactions(seed, 300) })
		})
	}
}
