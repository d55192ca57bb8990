package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/coordinator/group"
	"segue/internal/coordinator/txn"
	"segue/internal/server"
	"segue/partition"
)

// The versions of TxnOffsetCommit at which something changes.
const (
	loadingTxnCommit   = 2 // COORDINATOR_LOAD_IN_PROGRESS is known
	abortableTxnCommit = 4 // TRANSACTION_ABORTABLE is known
	implicitTxnCommit  = 5 // the broker adds the partition of the offsets to the transaction (KIP-890)
	txnCommitByID      = 6 // topics are named by id
)

// producerGuard is what txnOffsetCommit asks of a partition; *partition.Partition is one.
type producerGuard interface {
	GuardProducer(id int64, epoch int16) (g partition.Guard, ask bool, err error)
}

// txnOffsetCommit answers TxnOffsetCommit: the coordinator of transactions confirms that the group's offsets are part of the
// transaction, and the group decides about each of them.
type txnOffsetCommit struct {
	*groupCommands
	transactions *transactionCommands
	lookup       func(topicID [16]byte, partition int32) (producerGuard, error)
}

func (h txnOffsetCommit) handle(_ context.Context, _ *server.Client, req *kmsg.TxnOffsetCommitRequest) *kmsg.TxnOffsetCommitResponse {
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	resp.Topics = make([]kmsg.TxnOffsetCommitResponseTopic, 0, len(req.Topics))
	image := h.transactions.image()
	sound := *req
	sound.Topics = make([]kmsg.TxnOffsetCommitRequestTopic, 0, len(req.Topics))
	var open []*int16 // the codes that the group decides about, in the order in which it is asked
	for _, asked := range req.Topics {
		topic, unknown := findTopic(image, req.Version >= txnCommitByID, asked.Topic, asked.TopicID)
		answer := kmsg.TxnOffsetCommitResponseTopic{Topic: asked.Topic, TopicID: asked.TopicID}
		answer.Partitions = make([]kmsg.TxnOffsetCommitResponseTopicPartition, len(asked.Partitions))
		var known []kmsg.TxnOffsetCommitRequestTopicPartition
		for i, p := range asked.Partitions {
			result := &answer.Partitions[i]
			result.Partition = p.Partition
			switch {
			case unknown != nil:
				result.ErrorCode = unknown.Code
			case !topic.Has(p.Partition):
				result.ErrorCode = kerr.UnknownTopicOrPartition.Code
			default:
				known = append(known, p)
				open = append(open, &result.ErrorCode)
			}
		}
		if len(known) > 0 {
			sound.Topics = append(sound.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: topic.Name, TopicID: topic.ID, Partitions: known})
		}
		resp.Topics = append(resp.Topics, answer)
	}
	if len(open) > 0 {
		h.commit(image, &sound, open)
	}
	return resp
}

// commit asks the group, and says of each partition what became of it.
func (h txnOffsetCommit) commit(image *catalog.Image, req *kmsg.TxnOffsetCommitRequest, codes []*int16) {
	var decided *kmsg.TxnOffsetCommitResponse
	var guard partition.Guard
	err := refused(req.Group, group.TxnCommit{})
	if err == nil {
		guard, err = h.verify(image, req)
	}
	if err == nil {
		decided, err = command[*kmsg.TxnOffsetCommitResponse](h.groupCommands, req.Group,
			group.TxnCommit{Request: req, Guard: guard})
	}
	if err == kerr.CoordinatorLoadInProgress && req.Version < loadingTxnCommit {
		err = kerr.CoordinatorNotAvailable
	}
	if err != nil {
		for _, code := range codes {
			*code = err.Code
		}
		return
	}
	for _, topic := range decided.Topics {
		for _, p := range topic.Partitions {
			*codes[0] = p.ErrorCode
			codes = codes[1:]
		}
	}
}

// verify returns the guard that the commit needs, once the coordinator of transactions has confirmed it.
func (h txnOffsetCommit) verify(image *catalog.Image, req *kmsg.TxnOffsetCommitRequest) (partition.Guard, *kerr.Error) {
	p, code := offsetsPartition(image, req.Group)
	if code != nil {
		return 0, code
	}
	topic, _ := image.Topic(p.Topic)
	offsets, err := h.lookup(topic.ID, p.Partition)
	if err != nil {
		return 0, kerr.NotCoordinator
	}
	return confirmedGuard(offsets, req, func() *kerr.Error { return h.confirm(p, req) })
}

// confirmedGuard takes the guard of a producer until it is the one that was confirmed: while the coordinator was asked the
// marker of the transaction before may have ended another (verifyRounds).
func confirmedGuard(p producerGuard, req *kmsg.TxnOffsetCommitRequest, confirm func() *kerr.Error) (confirmed partition.Guard, code *kerr.Error) {
	for range verifyRounds {
		guard, ask, err := p.GuardProducer(req.ProducerID, req.ProducerEpoch)
		switch {
		case err != nil:
			return 0, errorOf(err)
		case !ask:
			return 0, nil
		case guard == confirmed:
			return guard, nil
		}
		if code := confirm(); code != nil {
			return 0, code
		}
		confirmed = guard
	}
	return confirmed, nil
}

// confirm has the coordinator of transactions confirm that a group's partition is part of a producer's, or adds it.
func (h txnOffsetCommit) confirm(p txn.Partition, req *kmsg.TxnOffsetCommitRequest) *kerr.Error {
	added, code := h.transactions.add(txn.AddPartitions{
		TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch,
		Partitions: []txn.Partition{p}, VerifyOnly: req.Version < implicitTxnCommit, Implicit: true,
	})
	if code == nil && len(added.Missing) > 0 {
		code = kerr.TransactionAbortable
	}
	switch {
	case code == kerr.ProducerFenced:
		code = kerr.InvalidProducerEpoch
	case code == kerr.TransactionAbortable && req.Version < abortableTxnCommit:
		code = kerr.InvalidTxnState
	}
	return code
}
