package partition

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"

	"segue/storage/record"
)

// transactions is what the log tells of transactions: a fold over the headers of transactional batches and over the
// markers that end transactions. The append lock guards it; readers look at an isolation, which is published of it.
//
// An append notes what it is about to write before it does, and takes it back if that fails. So a reader that may see a
// batch knows already what is undecided, or aborted, about it.
type transactions struct {
	open map[int64]*transaction // by producer id; nil if there is none
	isolation
	dropped int64 // aborted transactions that have been taken out of isolation
}

// isolation is what keeps readers of committed data from what is not committed. What is published of it is not changed but
// for the ends of transactions.
type isolation struct {
	// undecided are the transactions in the order of their first offsets: those that are open, those whose marker is not
	// committed yet, and some of before.
	undecided []*transaction
	aborted   []abortedTxn // in the order of their markers
}

// transaction is a transaction that is open or was a moment ago.
type transaction struct {
	first record.Offset // of its records
	since int64         // when it began here, in Unix milliseconds
	end   atomic.Int64  // offset of its marker; isOpen while there is none
}

// isOpen is the end of a transaction that has none.
const isOpen = math.MaxInt64

func newTransaction(first record.Offset, since int64) *transaction {
	t := &transaction{first: first, since: since}
	t.end.Store(isOpen)
	return t
}

// abortedTxn is a transaction that was aborted (Kafka's AbortedTxn).
type abortedTxn struct {
	producerID int64
	first      record.Offset // its first record's
	last       record.Offset // its marker's
	// stable is where the first transaction began that was undecided behind the marker, or the offset behind the marker. No
	// transaction that ends later has records below it.
	stable record.Offset
}

// step is what a batch does to the transactions.
type step struct {
	producerID int64
	base, last record.Offset
	marker     marker // noMarker for data
	now        int64
}

// stepOf returns the step that a batch in the log takes, and whether it takes any: one without records, as compaction leaves
// it, begins nothing.
func stepOf(h record.Header, m marker, now int64) (step, bool) {
	takes := h.IsTransactional() && h.ProducerID() >= 0 && h.Count() > 0 && h.IsControl() == (m != noMarker)
	return step{h.ProducerID(), h.BaseOffset(), h.LastOffset(), m, now}, takes
}

// apply takes a step and says whether it changed anything.
func (t *transactions) apply(s step) bool {
	txn := t.open[s.producerID]
	switch {
	case s.marker == noMarker && txn != nil, s.marker != noMarker && txn == nil:
		return false
	case s.marker == noMarker:
		if t.open == nil {
			t.open = make(map[int64]*transaction)
		}
		txn = newTransaction(s.base, s.now)
		t.open[s.producerID] = txn
		t.undecided = append(t.undecided, txn)
		return true
	}
	if delete(t.open, s.producerID); len(t.open) == 0 {
		t.open = nil
	}
	if s.marker == abortMarker {
		stable := s.last + 1
		for _, other := range t.undecided {
			if other != txn && other.end.Load() == isOpen {
				stable = min(stable, other.first)
				break
			}
		}
		t.aborted = append(t.aborted, abortedTxn{s.producerID, txn.first, s.last, stable})
	}
	txn.end.Store(int64(s.last))
	return true
}

// undo takes back the last step that has changed anything and is not undone. What is published may go on in the memory that
// lies behind, so the next step gets other memory.
func (t *transactions) undo(s step) {
	if s.marker == noMarker {
		delete(t.open, s.producerID)
		n := len(t.undecided) - 1
		t.undecided = t.undecided[:n:n]
		return
	}
	if s.marker == abortMarker {
		n := len(t.aborted) - 1
		t.aborted = t.aborted[:n:n]
	}
	for _, txn := range slices.Backward(t.undecided) {
		if txn.end.CompareAndSwap(int64(s.last), isOpen) {
			if t.open == nil {
				t.open = make(map[int64]*transaction)
			}
			t.open[s.producerID] = txn
			return
		}
	}
}

// settle forgets what no reader asks for any more: transactions whose marker is committed, and aborted ones that lie below
// the log start.
func (t *transactions) settle(start, high record.Offset) {
	n := 0
	for n < len(t.undecided) && t.undecided[n].end.Load() < int64(high) {
		n++
	}
	t.undecided = t.undecided[n:]
	if len(t.undecided) > 2*len(t.open)+16 { // one that stays open has many others behind it
		kept := make([]*transaction, 0, 2*len(t.open))
		for _, txn := range t.undecided {
			if txn.end.Load() >= int64(high) {
				kept = append(kept, txn)
			}
		}
		t.undecided = kept
	}
	n = 0
	for n < len(t.aborted) && t.aborted[n].last < start {
		n++
	}
	t.aborted = t.aborted[n:]
	t.dropped += int64(n)
}

// forget drops the aborted transactions that ended at these offsets, which ascend, and says whether there was one: no data of
// them is left and their markers go, so that a reader who was told of them would wait for their end and skip what their
// producers have committed since.
func (t *transactions) forget(markers []record.Offset) bool {
	was := len(t.aborted)
	t.aborted = slices.DeleteFunc(slices.Clone(t.aborted), func(a abortedTxn) bool {
		_, gone := slices.BinarySearch(markers, a.last)
		return gone
	})
	t.dropped += int64(was - len(t.aborted))
	return len(t.aborted) < was
}

// reopen drops the transactions that are open, where not all that followed is there to be read, so that nobody knows whether
// they have ended. Each begins anew with the first of its batches that is left.
func (t *transactions) reopen() { t.open, t.undecided = nil, nil }

// view returns what is to be published, nil if there is nothing to say.
func (t *transactions) view() *isolation {
	if len(t.undecided)+len(t.aborted) == 0 {
		return nil
	}
	view := t.isolation
	return &view
}

// stable returns the last stable offset: high, or where the first transaction began that is not decided below high. It is
// never below the log start: what was deleted of a transaction is no reason to wait.
//
// High must have been taken before the isolation: then whatever lies below it was published.
func (i *isolation) stable(start, high record.Offset) record.Offset {
	if i == nil {
		return high
	}
	for _, txn := range i.undecided {
		if txn.end.Load() >= int64(high) {
			return min(high, max(start, txn.first))
		}
	}
	return high
}

// overlapping returns the aborted transactions with records between two offsets, the second excluded, by first offset. It
// stops when there are more than most.
func (i *isolation) overlapping(from, to record.Offset, most int) (found []AbortedTxn) {
	for _, a := range i.abortedFrom(from) {
		if a.first < to {
			found = append(found, AbortedTxn{a.producerID, a.first})
		}
		if a.stable >= to || len(found) > most {
			break
		}
	}
	slices.SortFunc(found, func(a, b AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return found
}

// abortedFrom returns the aborted transactions that end at or behind an offset.
func (i *isolation) abortedFrom(at record.Offset) []abortedTxn {
	if i == nil {
		return nil
	}
	n, _ := slices.BinarySearchFunc(i.aborted, at, func(a abortedTxn, at record.Offset) int { return cmp.Compare(a.last, at) })
	return i.aborted[n:]
}

// isAborted says whether a batch of data is part of an aborted transaction.
func (i *isolation) isAborted(h record.Header) bool {
	for _, a := range i.abortedFrom(h.BaseOffset()) {
		if a.producerID == h.ProducerID() {
			return a.first <= h.BaseOffset() // the first of this producer's that ends behind the batch
		}
		if a.stable > h.BaseOffset() {
			break
		}
	}
	return false
}

// TransactionStats is what a partition says of its transactions.
type TransactionStats struct {
	Open   int           // without a marker
	Oldest int64         // when the first of them began, in Unix milliseconds; 0 if there is none
	Behind record.Offset // how far the last stable offset is behind the high watermark
}

// Transactions returns what there is to say of transactions. It waits for nobody.
func (p *Partition) Transactions() TransactionStats {
	o := p.Offsets()
	s := TransactionStats{Behind: o.HighWatermark - o.LastStable}
	view := p.isolation.Load()
	if view == nil {
		return s
	}
	for _, txn := range view.undecided {
		if txn.end.Load() != isOpen {
			continue
		}
		if s.Open++; s.Open == 1 || txn.since < s.Oldest {
			s.Oldest = txn.since
		}
	}
	return s
}
