package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/coordinator/txn"
	"segue/internal/server"
)

// addPartitionsToTxn answers AddPartitionsToTxn: to clients up to version 3, to brokers about many transactions from version 4.
type addPartitionsToTxn struct{ *transactionCommands }

// batchedAdd is from when on AddPartitionsToTxn names many transactions.
const batchedAdd = 4

func (h addPartitionsToTxn) handle(_ context.Context, _ *server.Client, req *kmsg.AddPartitionsToTxnRequest) *kmsg.AddPartitionsToTxnResponse {
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	if req.Version < batchedAdd {
		one := kmsg.AddPartitionsToTxnRequestTransaction{
			TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch,
		}
		for _, t := range req.Topics {
			one.Topics = append(one.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: t.Topic, Partitions: t.Partitions})
		}
		for _, t := range h.one(req.Version, one).Topics {
			topic := kmsg.AddPartitionsToTxnResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: p.Partition, ErrorCode: p.ErrorCode})
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp
	}
	resp.Transactions = make([]kmsg.AddPartitionsToTxnResponseTransaction, len(req.Transactions))
	forEach(len(req.Transactions), func(i int) { resp.Transactions[i] = h.one(req.Version, req.Transactions[i]) })
	return resp
}

// one adds partitions to one transaction, all or none, or asks about each of them.
func (h addPartitionsToTxn) one(version int16, t kmsg.AddPartitionsToTxnRequestTransaction) kmsg.AddPartitionsToTxnResponseTransaction {
	image := h.image()
	result := kmsg.AddPartitionsToTxnResponseTransaction{TransactionalID: t.TransactionalID}
	var partitions []txn.Partition
	refused := map[txn.Partition]*kerr.Error{}
	for _, asked := range t.Topics {
		topic, ok := image.Topic(asked.Topic)
		for _, n := range asked.Partitions {
			p := txn.Partition{Topic: asked.Topic, Partition: n}
			partitions = append(partitions, p)
			switch {
			case version < batchedAdd && catalog.IsInternal(asked.Topic):
				refused[p] = kerr.TopicAuthorizationFailed // for AddOffsetsToTxn to add
			case !ok || !topic.Has(n):
				refused[p] = kerr.UnknownTopicOrPartition
			}
		}
	}
	code := func(p txn.Partition) *kerr.Error {
		if err := refused[p]; err != nil {
			return err
		}
		return kerr.OperationNotAttempted
	}
	if len(refused) == 0 {
		added, err := h.add(txn.AddPartitions{
			TransactionalID: t.TransactionalID, ProducerID: t.ProducerID, ProducerEpoch: t.ProducerEpoch,
			Partitions: partitions, VerifyOnly: t.VerifyOnly, Implicit: version >= batchedAdd,
		})
		missing := map[txn.Partition]bool{}
		for _, p := range added.Missing {
			missing[p] = true
		}
		err = fencedBefore(version, fencedAdd, err)
		code = func(p txn.Partition) *kerr.Error {
			if missing[p] {
				return kerr.TransactionAbortable
			}
			return err
		}
	}
	for _, asked := range t.Topics {
		topic := kmsg.AddPartitionsToTxnResponseTransactionTopic{Topic: asked.Topic}
		for _, n := range asked.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{
				Partition: n, ErrorCode: codeNumber(code(txn.Partition{Topic: asked.Topic, Partition: n})),
			})
		}
		result.Topics = append(result.Topics, topic)
	}
	return result
}
