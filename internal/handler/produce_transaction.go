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

// verify takes guards for the transactional batches among some, has the coordinator confirm those that need it, and returns
// the batches that may be appended. The others have their answer. A transaction is asked about once for all that goes to it.
func (h *produce) verify(work []addition) []addition {
	asked := map[verification][]int{} // the batches of each, by their place
	failed := map[int]error{}
	for i := range work {
		w := &work[i]
		if !w.batch.IsTransactional() {
			continue
		}
		bumps := w.of.version >= implicitProduce
		guard, ask, err := w.to.Guard(w.batch.Header, bumps)
		if err != nil {
			failed[i] = err
			continue
		}
		w.guard = guard
		v := verification{w.of.transactionalID, w.batch.ProducerID(), w.batch.ProducerEpoch(), bumps}
		if ask && (v.implicit || h.verifies()) {
			asked[v] = append(asked[v], i)
		}
	}
	if len(asked) == 0 && len(failed) == 0 {
		return work
	}
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
