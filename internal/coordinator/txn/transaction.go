package txn

import (
	"cmp"
	"math"
	"slices"

	"segue/internal/coordinator"
)

// State is the state of a transactional id, by Kafka's names (TransactionState).
type State int8

// The states, by their numbers in the log. Dead and PrepareEpochFence are never written.
const (
	Empty State = iota
	Ongoing
	PrepareCommit
	PrepareAbort
	CompleteCommit
	CompleteAbort
	Dead
	PrepareEpochFence
	states
)

var stateNames = [states]string{
	"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence",
}

func (s State) String() string { return stateNames[s] }

// stateNamed returns the state of a name.
func stateNamed(name string) (State, bool) {
	i := slices.Index(stateNames[:], name)
	return State(i), i >= 0
}

// isOpen says that there is a transaction, decided or not.
func (s State) isOpen() bool { return s == Ongoing || s.isPrepared() }

// isPrepared says that the transaction is decided and its markers are not known to be written.
func (s State) isPrepared() bool { return s == PrepareCommit || s == PrepareAbort }

// isComplete says that the last transaction is over.
func (s State) isComplete() bool { return s == CompleteCommit || s == CompleteAbort }

const (
	noProducerID    = -1
	noProducerEpoch = -1
	noTime          = -1
	// lastEpoch is the largest epoch that a producer is given: one more is left to fence it with.
	lastEpoch = math.MaxInt16 - 1
)

// Partition is a partition that is part of a transaction.
type Partition struct {
	Topic     string
	Partition int32
}

func comparePartitions(a, b Partition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// transaction is a transactional id and the transaction that is under way (Kafka's TransactionMetadata). What is in its
// record comes first.
type transaction struct {
	id         string
	producerID int64
	previousID int64 // of the producer at the last change
	nextID     int64 // that the producer has once the transaction is complete; noProducerID for the same
	epoch      int16
	timeout    int32 // milliseconds
	state      State
	partitions []Partition // in order
	start      int64       // of the transaction, in Unix milliseconds; noTime for none
	updated    int64       // in Unix milliseconds; each change has a larger one than the one before
	version    int16       // of transactions that the producer speaks

	// lastEpoch is what the producer had before its epoch was raised at its own wish; noProducerEpoch for none. A request
	// from that epoch may be a repeated one.
	lastEpoch int16

	timer
	waiting []*waiter // for the end of the transaction, in order
}

func (t *transaction) exhausted() bool { return t.epoch >= lastEpoch }

// has says whether partitions are part of the transaction.
func (t *transaction) has(p Partition) bool {
	_, found := slices.BinarySearchFunc(t.partitions, p, comparePartitions)
	return found
}

// with returns the transaction's partitions and some more.
func (t *transaction) with(more []Partition) []Partition {
	all := slices.Concat(t.partitions, more)
	slices.SortFunc(all, comparePartitions)
	return slices.Compact(all)
}

// Ending is a transaction that is decided: a marker has to be written into each of its partitions, and then Complete to be
// commanded. The machine sends it.
type Ending struct {
	Complete
	Commit     bool
	Version    int16       // of transactions, which the markers are written under
	Partitions []Partition // not to be changed
}

// Complete says that the markers of an Ending are written. There is no reply to speak of.
type Complete struct {
	TransactionalID string
	ProducerID      int64
	ProducerEpoch   int16
	// Decided is when the transaction was decided, in Unix milliseconds. Of two transactions with the same producer and
	// epoch, as there are before version 2, it is the later one's that is larger.
	Decided int64
}

func (t *transaction) ending() Ending {
	return Ending{
		Complete: Complete{TransactionalID: t.id, ProducerID: t.producerID, ProducerEpoch: t.epoch, Decided: t.updated},
		Commit:   t.state == PrepareCommit, Version: t.version, Partitions: t.partitions,
	}
}

// timer is one of the machine's.
type timer = coordinator.Timer[expirer]

// expirer is what owns a timer.
type expirer interface{ expire(m *Machine) }
