package txn

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// AddPartitions adds partitions to a transaction, which begins with the first, or asks whether they are part of it. The reply
// is an Added.
type AddPartitions struct {
	TransactionalID string
	ProducerID      int64
	ProducerEpoch   int16
	Partitions      []Partition // the machine's to keep
	VerifyOnly      bool        // asks
	// Implicit says that the broker adds what a producer of version 2 writes to (KIP-890).
	Implicit bool
}

// Added says what became of an AddPartitions.
type Added struct {
	// Err is why none was added, or none is known: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS,
	// INVALID_REQUEST, UNSUPPORTED_VERSION for what transaction.version 0 has no records for, TRANSACTION_ABORTABLE for more
	// partitions than a record holds. Nil if all are part of the transaction now, or if it was asked about each.
	Err *kerr.Error
	// Missing are the partitions that were asked about and are not part of the transaction.
	Missing []Partition
}

// addPartitions handles AddPartitions.
func (m *Machine) addPartitions(req AddPartitions) (reply any, ends *transaction) {
	t := m.transactions[req.TransactionalID]
	switch {
	case req.TransactionalID == "":
		return Added{Err: kerr.InvalidRequest}, nil
	case t == nil:
		return Added{Err: kerr.InvalidProducerIDMapping}, nil
	case t.state.isPrepared() && !req.VerifyOnly:
		// Before anything else: the producer may have been given what it has only when the end is complete.
		return Added{Err: kerr.ConcurrentTransactions}, t
	case t.producerID != req.ProducerID:
		return Added{Err: kerr.InvalidProducerIDMapping}, nil
	case t.epoch != req.ProducerEpoch:
		return Added{Err: kerr.ProducerFenced}, nil
	case t.state.isPrepared():
		return Added{Err: kerr.ConcurrentTransactions}, t
	case req.VerifyOnly:
		return Added{Missing: slices.DeleteFunc(slices.Clone(req.Partitions), t.has)}, nil
	case t.state == Ongoing && !slices.ContainsFunc(req.Partitions, func(p Partition) bool { return !t.has(p) }):
		return Added{}, nil
	case req.Implicit && m.opts.Version() < taggedVersion:
		return Added{Err: kerr.UnsupportedVersion}, nil
	}
	all := t.with(req.Partitions)
	if recordSize(t.id, all) > m.opts.MaxRecordBytes() {
		return Added{Err: kerr.TransactionAbortable}, nil
	}
	if t.state != Ongoing {
		t.start = m.Millis()
	}
	t.state, t.partitions, t.previousID, t.version = Ongoing, all, t.producerID, 0
	if req.Implicit {
		t.version = 2
	}
	m.change(t)
	m.setTimeout(t)
	return Added{}, nil
}
