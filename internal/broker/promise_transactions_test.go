package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

// transactionPromise: a transaction is there as a whole, its records in all partitions and its offset, or nothing of it is;
// one whose commit was answered is there, one whose commit nobody asked for never is; what has begun to end does end without
// anybody's help; a transactional id keeps its producer id, and never has an epoch twice; and when all have ended, nothing
// holds the last stable offset back.
type transactionPromise struct {
	// era moves on where a power cut may have taken what was told: nothing is promised to the transactions before. It is in the
	// names of all that transactions use.
	era int
	ids map[string]*toldProducer
}

// toldProducer is what the only user of a transactional id knows. It is replaced, never changed, and so are its slices.
type toldProducer struct {
	id           int64 // -1 before the first answer
	epoch        int16
	transactions []toldTransaction
}

type toldTransaction struct {
	number int     // the value of all its records, and the offset that it commits
	to     []place // of each of its records
	offset bool    // it commits one
	end    ending
}

// ending is what the user of a transaction knows of its end.
type ending int

const (
	uncommitted ending = iota // nobody has asked for a commit, or it has turned out that none happened
	committing                // it was asked for
	committed                 // it was answered, or what was committed was read
)

func newTransactionPromise() *transactionPromise {
	return &transactionPromise{ids: map[string]*toldProducer{}}
}

func (p *transactionPromise) copy() *transactionPromise {
	return &transactionPromise{p.era, maps.Clone(p.ids)}
}

// topic is what the records of transactions are in.
func (p *transactionPromise) topic() string { return fmt.Sprintf("%s%d", transactionTopics, p.era) }

// transactionTopics is what the names of such topics begin with.
const transactionTopics = "transactions-"

// holdsTransactions says whether a topic is one for transactions, which the other promises do not look at.
func (t topic) holdsTransactions() bool { return strings.HasPrefix(t.name, transactionTopics) }

// groupOf is the group that the transactions of an id commit offsets for.
func groupOf(transactionalID string) string { return "of-" + transactionalID }

// change notes something of a transactional id.
func (p *transactionPromise) change(id string, with func(t *toldProducer)) {
	fresh := toldProducer{id: -1, epoch: -1}
	if was := p.ids[id]; was != nil {
		fresh = *was
		fresh.transactions = slices.Clone(was.transactions)
	}
	with(&fresh)
	p.ids[id] = &fresh
}

// changeLast notes something of the newest transaction of an id.
func (p *transactionPromise) changeLast(id string, with func(t *toldTransaction)) {
	p.change(id, func(told *toldProducer) { with(&told.transactions[len(told.transactions)-1]) })
}

// see notes the records of one partition that a read_committed consumer was shown, and says what is wrong with them.
func (p *transactionPromise) see(at place, shown map[int]int) error {
	left := maps.Clone(shown)
	for id, told := range p.ids {
		for i, t := range told.transactions {
			n := shown[t.number]
			delete(left, t.number)
			switch want := t.records()[at]; {
			case n == 0:
			case t.end == uncommitted:
				return fmt.Errorf("%d records of transaction %d of %s are shown, and nobody has committed it", n, t.number, id)
			case n != want:
				return fmt.Errorf("%d records of transaction %d of %s are shown, it has %d", n, t.number, id, want)
			default:
				p.change(id, func(told *toldProducer) { told.transactions[i].end = committed })
			}
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("records of transactions that never were are shown: %v", left)
	}
	return nil
}

// records counts the records of a transaction by partition.
func (t toldTransaction) records() map[place]int {
	n := map[place]int{}
	for _, at := range t.to {
		n[at]++
	}
	return n
}

// audit asks without the ledger's lock, as what the coordinator writes meanwhile may be a crash point.
func (p *transactionPromise) audit(a *audit) {
	unlock := a.lock()
	was := p.copy()
	if a.weak {
		*p = transactionPromise{p.era + 1, map[string]*toldProducer{}}
	}
	unlock()
	if a.weak {
		return
	}
	is := newTransactionPromise()
	is.era = was.era
	for _, id := range slices.Sorted(maps.Keys(was.ids)) {
		told, err := was.ids[id].auditEnd(a, id)
		if err != nil { // then the records may not be as they will be
			a.violated("transactional id %s: %w", id, err)
			return
		}
		is.ids[id] = told
	}
	seen, err := a.committedRecords(was.topic())
	if err != nil {
		a.violated("the records of transactions cannot be read: %w", err)
		return
	}
	for id, told := range is.ids {
		is.ids[id] = told.auditWhole(a, id, seen)
	}
	for number := range seen {
		a.violated("records of transaction %d are there, which never was", number)
	}
	defer a.lock()()
	*p = *is
}

// auditEnd waits until what has begun to end has ended, and then begins anew with the id, which aborts what is open.
func (t *toldProducer) auditEnd(a *audit, id string) (*toldProducer, error) {
	if t.id < 0 {
		return t, nil
	}
	var state string
	err := untilLoaded(func() (err error, again bool) {
		state, err = describeTransaction(a.wire, id)
		return err, isNotYet(err) || strings.HasPrefix(state, "Prepare")
	})
	n := len(t.transactions)
	switch {
	case err != nil:
		return nil, fmt.Errorf("DescribeTransactions: %w", err)
	case strings.HasPrefix(state, "Prepare"):
		return nil, fmt.Errorf("it stays in state %s", state)
	case n > 0 && t.transactions[n-1].end == committed && (state == "Ongoing" || state == "CompleteAbort"):
		return nil, fmt.Errorf("it is in state %s, its last transaction was committed", state)
	}
	fresh := *t
	err = untilLoaded(func() (err error, again bool) {
		fresh.id, fresh.epoch, err = initTransactions(a.wire, id, -1, -1)
		return err, isNotYet(err)
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("it cannot begin anew: %w", err)
	case fresh.id != t.id || fresh.epoch <= t.epoch:
		return nil, fmt.Errorf("it is producer %d in epoch %d, it was %d in %d", fresh.id, fresh.epoch, t.id, t.epoch)
	}
	return &fresh, nil
}

// auditWhole holds the transactions of an id against the records that were found, of which it takes its own away, and returns
// what is known of them from now on.
func (t *toldProducer) auditWhole(a *audit, id string, seen map[int]map[place]int) *toldProducer {
	fresh := *t
	fresh.transactions = nil
	offset := int64(-1)
	asked := false
	for _, x := range t.transactions {
		found := seen[x.number]
		delete(seen, x.number)
		whole := maps.Equal(found, x.records())
		switch {
		case !whole && len(found) > 0:
			a.violated("transactional id %s: of transaction %d are %v there, it has %v", id, x.number, found, x.records())
		case whole && x.end == uncommitted && len(found) > 0:
			a.violated("transactional id %s: transaction %d is there, nobody has committed it", id, x.number)
		case !whole && x.end == committed:
			a.violated("transactional id %s: transaction %d was committed, nothing of it is there", id, x.number)
		}
		x.end = uncommitted
		if len(found) > 0 {
			x.end = committed
		}
		asked = asked || x.offset
		if x.offset && x.end == committed {
			offset = int64(x.number)
		}
		fresh.transactions = append(fresh.transactions, x)
	}
	if asked {
		auditTransactionOffset(a, id, offset)
	}
	return &fresh
}

// auditTransactionOffset checks the offset that the transactions of an id have committed.
func auditTransactionOffset(a *audit, id string, want int64) {
	at := committedAt{groupOf(id), place{a.transactionTopic().id, 0}}
	offset, err := fetchOffset(a.wire, at)
	if err != nil || offset != want {
		a.violated("transactional id %s: the committed offset is %d (%v), its last committed transaction says %d", id, offset, err, want)
	}
}

// transactionTopic returns what the records of transactions are in; the zero topic if it is not there.
func (a *audit) transactionTopic() topic {
	for _, t := range a.topics {
		if t.name == a.ledger.transactions.topic() {
			return t
		}
	}
	return topic{}
}

// committedRecords counts the records that a read_committed consumer is shown, by their values and partitions, when no
// transaction is open.
func (a *audit) committedRecords(name string) (map[int]map[place]int, error) {
	seen := map[int]map[place]int{}
	t := a.transactionTopic()
	for n := range t.partitions {
		at := place{t.id, n}
		shown, behind, err := readCommitted(a.wire, t, n)
		switch {
		case err != nil:
			return nil, err
		case behind > 0:
			a.violated("%s-%d: the last stable offset is %d behind the high watermark, and no transaction is open", name, n, behind)
		}
		for number, records := range shown {
			if seen[number] == nil {
				seen[number] = map[place]int{}
			}
			seen[number][at] = records
		}
	}
	return seen, nil
}

// readCommitted reads a partition as a read_committed consumer does, counts its records by their values, and says how far
// the last stable offset is behind the high watermark.
func readCommitted(w *wire, t topic, partition int32) (shown map[int]int, behind int64, err error) {
	shown = map[int]int{}
	aborting := map[int64]bool{} // producers whose batches are to be passed over
	for at := int64(0); ; {
		p, err := fetchRecords(w, t, partition, at, 1)
		if err != nil {
			return nil, 0, err
		}
		batches, err := split(p.RecordBatches)
		if err != nil {
			return nil, 0, err
		}
		if len(batches) == 0 {
			return shown, p.HighWatermark - at, nil
		}
		aborted := slices.SortedFunc(slices.Values(p.AbortedTransactions), func(x, y kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
			return int(x.FirstOffset - y.FirstOffset)
		})
		for _, b := range batches {
			if int64(b.NextOffset()) > p.LastStableOffset {
				return nil, 0, fmt.Errorf("the batch at offset %d is shown, the last stable offset is %d", b.BaseOffset(), p.LastStableOffset)
			}
			for len(aborted) > 0 && aborted[0].FirstOffset <= int64(b.BaseOffset()) {
				aborting[aborted[0].ProducerID] = true
				aborted = aborted[1:]
			}
			at = int64(b.NextOffset())
			if b.IsControl() {
				delete(aborting, b.ProducerID())
				continue
			}
			for r, err := range b.Records(nil) {
				if err != nil {
					return nil, 0, err
				}
				text, _, _ := strings.Cut(string(r.Value), ":")
				number, err := strconv.Atoi(text)
				if err != nil {
					return nil, 0, err
				}
				if !aborting[b.ProducerID()] {
					shown[number]++
				}
			}
		}
	}
}

// isNotYet says whether an answer of a coordinator's is that it is not ready: it is loading, or the transaction before ends.
func isNotYet(err error) bool {
	return isLoading(err) || errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.ConcurrentTransactions)
}

// initTransactions asks for the producer id and epoch of a transactional id, from what they are: -1 and -1 if that is not known.
func initTransactions(w *wire, transactionalID string, producer int64, current int16) (id int64, epoch int16, err error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &transactionalID, 600_000
	req.ProducerID, req.ProducerEpoch = producer, current
	resp, err := ask[*kmsg.InitProducerIDResponse](w, req, 4)
	if err != nil {
		return -1, -1, err
	}
	return resp.ProducerID, resp.ProducerEpoch, kerr.ErrorForCode(resp.ErrorCode)
}

// describeTransaction returns the state of a transactional id.
func describeTransaction(w *wire, transactionalID string) (state string, err error) {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{transactionalID}
	resp, err := ask[*kmsg.DescribeTransactionsResponse](w, req, 0)
	if err != nil {
		return "", err
	}
	is := resp.TransactionStates[0]
	return is.State, kerr.ErrorForCode(is.ErrorCode)
}

// transactionStateTopic is __transaction_state as crashSettings have it made.
func transactionStateTopic() topic {
	return topic{name: catalog.TransactionStateTopic, partitions: 2, configs: map[string]string{
		"cleanup.policy": "compact", "compression.type": "uncompressed", "min.insync.replicas": "1", "segment.bytes": "104857600",
		"unclean.leader.election.enable": "false",
	}}
}
