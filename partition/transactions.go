package partition

import (
	"cmp"
	"encoding/binary"
	"slices"

	"segue/storage/record"
)

// transactions is what the log tells of transactions: a fold over the headers of transactional batches and over the
// markers that end transactions. Clients cannot write any, but a log that was brought from Kafka may hold them. It is not
// changed once the partition is open.
type transactions struct {
	open    map[int64]openTxn // by producer id; nil if there is none
	aborted []abortedTxn      // in the order of their markers
}

// openTxn is a transaction without a marker. Its producer is lost, and so nothing ends it any more.
type openTxn struct {
	first, last record.Offset // of its records
}

// abortedTxn is a transaction that was aborted.
type abortedTxn struct {
	producerID int64
	first      record.Offset // its first record's
	last       record.Offset // its marker's
}

// apply takes in a batch that is in the log, and what marker is in it. A batch without records is what compaction has left,
// and begins nothing.
func (t *transactions) apply(h record.Header, m marker) {
	id := h.ProducerID()
	if !h.IsTransactional() || id < 0 || h.Count() == 0 {
		return
	}
	txn, under := t.open[id]
	switch {
	case !h.IsControl() && under:
		txn.last = h.LastOffset()
		t.open[id] = txn
	case !h.IsControl():
		if t.open == nil {
			t.open = make(map[int64]openTxn)
		}
		t.open[id] = openTxn{h.BaseOffset(), h.LastOffset()}
	case under && m != noMarker:
		if m == abortMarker {
			t.aborted = append(t.aborted, abortedTxn{id, txn.first, h.LastOffset()})
		}
		if delete(t.open, id); len(t.open) == 0 {
			t.open = nil
		}
	}
}

// forget drops what lies wholly below the log start.
func (t *transactions) forget(start record.Offset) {
	t.aborted = slices.DeleteFunc(t.aborted, func(a abortedTxn) bool { return a.last < start })
	for id, txn := range t.open {
		if txn.last < start {
			delete(t.open, id)
		}
	}
	if len(t.open) == 0 {
		t.open = nil
	}
}

// stable returns the last stable offset: high, or where the first transaction began that is open above the log start.
func (t *transactions) stable(start, high record.Offset) record.Offset {
	for _, txn := range t.open {
		if txn.last >= start {
			high = min(high, max(start, txn.first))
		}
	}
	return high
}

// overlapping returns the aborted transactions with records between two offsets, the second excluded, by first offset.
func (t *transactions) overlapping(from, to record.Offset) (found []AbortedTxn) {
	at, _ := slices.BinarySearchFunc(t.aborted, from, func(a abortedTxn, from record.Offset) int { return cmp.Compare(a.last, from) })
	for _, a := range t.aborted[at:] {
		if a.first < to {
			found = append(found, AbortedTxn{a.producerID, a.first})
		}
	}
	slices.SortFunc(found, func(a, b AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return found
}

// isAborted says whether a batch of data is part of an aborted transaction.
func (t *transactions) isAborted(h record.Header) bool {
	at, _ := slices.BinarySearchFunc(t.aborted, h.BaseOffset(), func(a abortedTxn, base record.Offset) int { return cmp.Compare(a.last, base) })
	for _, a := range t.aborted[at:] {
		if a.producerID == h.ProducerID() {
			return a.first <= h.BaseOffset() // the first of this producer's that ends behind the batch
		}
	}
	return false
}

// marker is what a control batch does with its producer's transaction.
type marker uint8

const (
	noMarker marker = iota
	abortMarker
	commitMarker
)

// markerIn returns the marker in a control batch whose header is sound (Kafka's ControlRecordType).
func markerIn(b record.Batch) marker {
	if b.Codec() != record.None || b.Verify() != nil {
		return noMarker
	}
	for r, err := range b.Records(nil) {
		const typeAt, size = 2, 4 // behind the version of the key's form
		if err != nil || len(r.Key) < size {
			return noMarker
		}
		switch binary.BigEndian.Uint16(r.Key[typeAt:]) {
		case 0:
			return abortMarker
		case 1:
			return commitMarker
		}
		return noMarker
	}
	return noMarker
}
