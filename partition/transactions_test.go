package partition

import (
	"reflect"
	"testing"

	"segue/storage/record"
)

// txnBatch makes a batch of so many records of a transaction; of none, as compaction leaves it, for 0.
func txnBatch(t *testing.T, base record.Offset, id int64, records int, control bool, key []byte) record.Batch {
	t.Helper()
	b := record.NewBuilder(base)
	b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = id, 0, true, control
	if !control {
		b.BaseSequence = 0
	}
	b.LastOffset = base + record.Offset(max(records, 1)) - 1
	for range records {
		b.Add(1, key, nil)
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// TestTransactions: what a reader of committed data may see follows from batches and markers.
func TestTransactions(t *testing.T) {
	var s transactions
	data := func(base record.Offset, id int64, n int) {
		if step, takes := stepOf(txnBatch(t, base, id, n, false, nil).Header, noMarker, 0); takes {
			s.apply(step)
		}
	}
	end := func(base record.Offset, id int64, key ...byte) {
		b := txnBatch(t, base, id, 1, true, key)
		m, ok := MarkerIn(b)
		kind := noMarker
		if ok {
			kind = m.kind()
		}
		if step, takes := stepOf(b.Header, kind, 0); takes {
			s.apply(step)
		}
	}
	stable := func(want record.Offset) {
		t.Helper()
		if got := s.stable(0, 100); got != want {
			t.Errorf("the last stable offset is %d, want %d", got, want)
		}
	}
	abort, commit := []byte{0, 0, 0, 0}, []byte{0, 0, 0, 1}
	stable(100)
	data(10, 1, 5)
	data(15, 2, 5)
	stable(10)
	end(20, 1, commit...)
	stable(15)
	data(21, 3, 0) // emptied
	data(22, 4, 2)
	end(24, 2, abort...)
	stable(22)
	end(25, 4, 0, 0) // unreadable
	stable(22)
	end(26, 9, abort...) // of a transaction that is gone
	if got := s.overlapping(0, 100, 9); !reflect.DeepEqual(got, []AbortedTxn{{2, 15}}) {
		t.Errorf("aborted are %+v", got)
	}
	if len(s.overlapping(25, 100, 9)) != 0 || len(s.overlapping(0, 15, 9)) != 0 {
		t.Error("a transaction is told of where none of it lies")
	}
	for _, test := range []struct {
		base record.Offset
		id   int64
		want bool
	}{{15, 2, true}, {10, 1, false}, {22, 4, false}, {30, 2, false}} {
		if got := s.isAborted(txnBatch(t, test.base, test.id, 1, false, nil).Header); got != test.want {
			t.Errorf("producer %d at %d: aborted %t", test.id, test.base, got)
		}
	}
	if s.stable(23, 100) != 23 || s.stable(0, 20) != 10 {
		t.Errorf("with the log starting at 23, and with what is committed ending at 20: %d and %d", s.stable(23, 100), s.stable(0, 20))
	}
	s.settle(25, 100)
	if len(s.open) != 1 || len(s.undecided) != 1 || len(s.aborted) != 0 {
		t.Errorf("from 25 on there is %+v", s)
	}
}
