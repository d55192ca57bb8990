package handler

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/coordinator/txn"
)

// The versions of Produce at which transactions change.
const (
	abortableProduce = 11 // TRANSACTION_ABORTABLE is known
	implicitProduce  = 12 // the broker adds partitions to the transaction (KIP-890)
)

// verification is what the coordinator of transactions is asked for some batches.
type verification struct {
	transactionalID string
	producerID      int64
	producerEpoch   int16
	implicit        bool
}

// verifyRounds is how often a batch is confirmed at most. A second time is needed where the marker of the transaction before
// has come while the coordinator was asked, and ended the guard: the coordinator answers when that transaction is over.
const verifyRounds = 3

// verify takes guards for the transactional batches among some, has the coordinator confirm those that need it, and returns
// the batches that may be appended. The others have their answer. A transaction is asked about once for all that goes to it.
func (h *produce) verify(work []addition) []addition {
	if !anyTransactional(work) {
		return work
	}
	failed := map[int]error{}
	for round := range verifyRounds {
		asked := h.guard(work, failed, round == 0)
		if len(asked) == 0 {
			break
		}
		h.ask(work, asked, failed)
	}
	if len(failed) == 0 {
		return work
	}
	sound := work[:0]
	for i, w := range work {
		if err := failed[i]; err != nil {
			w.of.fail(&w.of.resp.Topics[w.topic].Partitions[w.partition], err)
			continue
		}
		sound = append(sound, w)
	}
	return sound
}

func anyTransactional(work []addition) bool {
	for i := range work {
		if work[i].batch.IsTransactional() {
			return true
		}
	}
	return false
}

// guard takes the guards of the transactional batches that have not failed, and returns which of them the coordinator has to
// confirm: at first all that the partition says, and then those whose guard is another one than was confirmed.
func (h *produce) guard(work []addition, failed map[int]error, first bool) map[verification][]int {
	asked := map[verification][]int{} // the batches of each, by their place
	for i := range work {
		w := &work[i]
		if !w.batch.IsTransactional() || failed[i] != nil {
			continue
		}
		bumps := w.of.version >= implicitProduce
		guard, ask, err := w.to.Guard(w.batch.Header, bumps)
		if err != nil {
			failed[i] = err
			continue
		}
		ask = ask && (first || guard != w.guard)
		w.guard = guard
		v := verification{w.of.transactionalID, w.batch.ProducerID(), w.batch.ProducerEpoch(), bumps}
		if ask && (v.implicit || h.verifies()) {
			asked[v] = append(asked[v], i)
		}
	}
	return asked
}

// ask has the coordinator confirm batches, and adds those that it does not to the ones that have failed.
func (h *produce) ask(work []addition, asked map[verification][]int, failed map[int]error) {
	var mu sync.Mutex // guards failed
	var waiting sync.WaitGroup
	for v, batches := range asked {
		waiting.Go(func() {
			errs := h.confirm(v, work, batches)
			mu.Lock()
			defer mu.Unlock()
			for i, err := range errs {
				failed[i] = err
			}
		})
	}
	waiting.Wait()
}

// confirm asks the coordinator about batches of one transaction and returns why some of them may not be appended.
func (h *produce) confirm(v verification, work []addition, batches []int) map[int]error {
	partitions := make([]txn.Partition, len(batches))
	at := make(map[txn.Partition][]int, len(batches))
	for n, i := range batches {
		w := &work[i]
		p := txn.Partition{Topic: w.name, Partition: w.of.resp.Topics[w.topic].Partitions[w.partition].Partition}
		partitions[n] = p
		at[p] = append(at[p], i)
	}
	added, code := h.transactions.add(txn.AddPartitions{
		TransactionalID: v.transactionalID, ProducerID: v.producerID, ProducerEpoch: v.producerEpoch,
		Partitions: partitions, VerifyOnly: !v.implicit, Implicit: v.implicit,
	})
	errs := map[int]error{}
	if code != nil {
		for _, i := range batches {
			errs[i] = verificationError(work[i].of.version, code)
		}
		return errs
	}
	for _, p := range added.Missing {
		for _, i := range at[p] {
			errs[i] = verificationError(work[i].of.version, kerr.TransactionAbortable)
		}
	}
	return errs
}

// verificationError is what a producer is told for a code of the coordinator's: what it can do something about, and what makes
// it try again where that helps (Kafka's AddPartitionsToTxnManager and ReplicaManager.handleProduceAppend).
func verificationError(version int16, code *kerr.Error) error {
	switch {
	case code == kerr.ProducerFenced:
		return kerr.InvalidProducerEpoch
	case code == kerr.TransactionAbortable && version < abortableProduce, code == kerr.InvalidTxnState:
		return failure(kerr.InvalidTxnState, "Partition was not added to the transaction")
	case code == kerr.CoordinatorLoadInProgress, code == kerr.CoordinatorNotAvailable, code == kerr.NotCoordinator,
		code == kerr.RequestTimedOut, code == kerr.UnknownServerError,
		code == kerr.ConcurrentTransactions && version < implicitProduce:
		return failure(kerr.NotEnoughReplicas,
			"Unable to verify the partition has been added to the transaction. Underlying error: %s", code.Message)
	}
	return code
}
