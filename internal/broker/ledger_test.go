package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"segue/storage/record"
)

// The tests in crash_test.go and fault_test.go have clients work with a broker whose disk crashes or fails, and hold
// the next broker on that disk against what the clients were told. A life is one broker from its start to its end
// and the clients that work with it; the ledger is what the clients remember across lives; an audit is what they find
// after a start.

// ledger is what clients were told by the brokers on one disk, and what they asked for and were not told of.
type ledger struct {
	mu           sync.Mutex // guards all below
	identity     *identityPromise
	topics       *topicPromise
	records      *recordPromise
	producers    *producerPromise
	groups       *groupPromise
	transactions *transactionPromise
}

// promise is one kind of what a ledger holds. Whoever asks for something notes it before, whoever is answered notes it
// after: then a disk that is copied together with the ledger, under its lock, holds all that the ledger says clients
// were told, and nothing that it does not know of. The ledger's lock is held over all methods but audit.
type promise interface {
	// audit holds what a broker shows right after its start against what was told. Then it takes over what is shown:
	// what was under way has happened by now, or never will.
	audit(a *audit)
}

func newLedger() *ledger {
	return &ledger{
		identity: &identityPromise{}, topics: newTopicPromise(),
		records: &recordPromise{logs: map[place]*toldLog{}}, producers: &producerPromise{sessions: map[session]*sequence{}},
		groups: newGroupPromise(), transactions: newTransactionPromise(),
	}
}

// promises returns all kinds, in the order in which they are audited.
func (l *ledger) promises() []promise {
	return []promise{l.identity, l.topics, l.records, &historyPromise{}, l.producers, l.transactions, l.groups}
}

// copy returns what the ledger holds now. The caller holds the lock.
func (l *ledger) copy() *ledger {
	return &ledger{
		identity: l.identity.copy(), topics: l.topics.copy(), records: l.records.copy(), producers: l.producers.copy(),
		groups: l.groups.copy(), transactions: l.transactions.copy(),
	}
}

// place names a partition.
type place struct {
	topic     [16]byte
	partition int32
}

func (p place) String() string { return fmt.Sprintf("%x-%d", p.topic[:3], p.partition) }

// audit is what clients find right after the start of a broker.
type audit struct {
	*life
	rand *rand.Rand
	wire *wire
	// weak says that the power was cut where flush.messages is above 1: then the last batches of a log may be gone.
	weak   bool
	epoch  int32 // the leader epoch of all partitions
	topics map[[16]byte]topic
	logs   map[place]*foundLog
}

// foundLog is a partition as it was read, from the log start to the high watermark.
type foundLog struct {
	start, high int64
	batches     []record.Batch
}

// run looks at everything there is and has every promise audited.
func (a *audit) run() {
	if err := a.look(); err != nil {
		a.violated("the broker cannot be audited: %w", err)
		return
	}
	for _, p := range a.ledger.promises() {
		p.audit(a)
	}
}

// look reads the metadata of all topics and all records of those that clients write to.
func (a *audit) look() error {
	if err := a.lookAtTopics(); err != nil {
		return err
	}
	starts, err := listOffsets(a.wire, earliest, a.topics)
	if err != nil {
		return err
	}
	highs, err := listOffsets(a.wire, latest, a.topics)
	if err != nil {
		return err
	}
	a.logs = map[place]*foundLog{}
	for at, start := range starts {
		t := a.topics[at.topic]
		if !t.isOrdinary() {
			continue
		}
		if a.logs[at], err = a.lookAtLog(t, at.partition, start.Offset, highs[at].Offset); err != nil {
			return fmt.Errorf("partition %d of %s: %w", at.partition, t, err)
		}
	}
	return nil
}

// places returns all partitions that were found, in an order that the topics' ids give.
func (a *audit) places() []place {
	places := make([]place, 0, len(a.logs))
	for at := range a.logs {
		places = append(places, at)
	}
	slices.SortFunc(places, func(x, y place) int {
		if c := slices.Compare(x.topic[:], y.topic[:]); c != 0 {
			return c
		}
		return int(x.partition - y.partition)
	})
	return places
}
