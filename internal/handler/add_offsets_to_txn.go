package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/coordinator"
	"segue/internal/coordinator/txn"
	"segue/internal/server"
)

// addOffsetsToTxn answers AddOffsetsToTxn: the partition that holds a group's offsets becomes part of the transaction.
// The producer asks this before anybody may have asked for the group's coordinator, so that it makes __consumer_offsets too.
type addOffsetsToTxn struct {
	*transactionCommands
	topics *coordinatorTopics
}

func (h addOffsetsToTxn) handle(_ context.Context, c *server.Client, req *kmsg.AddOffsetsToTxnRequest) *kmsg.AddOffsetsToTxnResponse {
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	resp.ErrorCode = codeNumber(fencedBefore(req.Version, fencedAdd, h.addGroup(c.Listener, req)))
	return resp
}

func (h addOffsetsToTxn) addGroup(listener string, req *kmsg.AddOffsetsToTxnRequest) *kerr.Error {
	add := txn.AddPartitions{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch}
	p, err := offsetsPartition(h.image(), req.Group)
	if err != nil { // whoever may not add it makes no topic either
		asks := add
		asks.VerifyOnly = true
		if _, err = h.add(asks); err != nil {
			return err
		}
		if h.topics.ensure(listener, groupCoordinator) != nil {
			return kerr.CoordinatorNotAvailable
		}
		if p, err = offsetsPartition(h.image(), req.Group); err != nil {
			return err
		}
	}
	add.Partitions = []txn.Partition{p}
	_, err = h.add(add)
	return err
}

// offsetsPartition is where a group's offsets are, COORDINATOR_NOT_AVAILABLE while there is no __consumer_offsets.
func offsetsPartition(image *catalog.Image, group string) (txn.Partition, *kerr.Error) {
	topic, ok := image.Topic(catalog.GroupOffsetsTopic)
	if !ok {
		return txn.Partition{}, kerr.CoordinatorNotAvailable
	}
	return txn.Partition{Topic: topic.Name, Partition: coordinator.ShardOf(group, topic.Partitions)}, nil
}
