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
type addOffsetsToTxn struct{ *transactionCommands }

func (h addOffsetsToTxn) handle(_ context.Context, _ *server.Client, req *kmsg.AddOffsetsToTxnRequest) *kmsg.AddOffsetsToTxnResponse {
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	p, err := offsetsPartition(h.image(), req.Group)
	if err == nil {
		_, err = h.add(txn.AddPartitions{
			TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch,
			Partitions: []txn.Partition{p},
		})
	}
	resp.ErrorCode = codeNumber(fencedBefore(req.Version, fencedAdd, err))
	return resp
}

// offsetsPartition is where a group's offsets are, COORDINATOR_NOT_AVAILABLE while there is no __consumer_offsets.
func offsetsPartition(image *catalog.Image, group string) (txn.Partition, *kerr.Error) {
	topic, ok := image.Topic(catalog.GroupOffsetsTopic)
	if !ok {
		return txn.Partition{}, kerr.CoordinatorNotAvailable
	}
	return txn.Partition{Topic: topic.Name, Partition: coordinator.ShardOf(group, topic.Partitions)}, nil
}
