package handler

import (
	"context"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"segue/internal/catalog"
	"segue/internal/server"
	"segue/storage/record"
)

// recordDeleter is what DeleteRecords needs of a partition.
type recordDeleter interface {
	DeleteBefore(context.Context, record.Offset) (record.Offset, error)
}

// deleteRecords answers DeleteRecords (KIP-107). What was deleted is gone for good when it is answered.
type deleteRecords struct {
	log    zerolog.Logger
	broker context.Context // a deletion is not given up because a client has gone
	image  func() *catalog.Image
	lookup func(topicID [16]byte, partition int32) (recordDeleter, error)
}

// parallelDeletions is how many partitions of a request are cut side by side: each waits for the disk.
const parallelDeletions = 16

func (h *deleteRecords) handle(_ context.Context, _ *server.Client, req *kmsg.DeleteRecordsRequest) *kmsg.DeleteRecordsResponse {
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	image := h.image()
	var deletions errgroup.Group
	deletions.SetLimit(parallelDeletions)
	for _, t := range req.Topics {
		topic := kmsg.NewDeleteRecordsResponseTopic()
		topic.Topic = t.Topic
		topic.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.Partitions))
		for i, p := range t.Partitions {
			answer := &topic.Partitions[i]
			*answer = kmsg.NewDeleteRecordsResponseTopicPartition()
			answer.Partition = p.Partition
			deletions.Go(func() error {
				low, err := h.delete(image, t.Topic, p)
				answer.LowWatermark, answer.ErrorCode = int64(low), codeOf(err)
				return nil
			})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	_ = deletions.Wait() // the errors are in the answer
	return resp
}

// delete returns where the log begins now, or -1 and why nothing was deleted.
func (h *deleteRecords) delete(image *catalog.Image, name string, p kmsg.DeleteRecordsRequestTopicPartition) (record.Offset, error) {
	topic, ok := image.Topic(name)
	switch {
	case !ok || !topic.Has(p.Partition):
		return -1, kerr.UnknownTopicOrPartition
	case topic.Internal:
		return -1, kerr.InvalidTopicException
	}
	partition, err := h.lookup(topic.ID, p.Partition)
	if err != nil {
		return -1, err
	}
	low, err := partition.DeleteBefore(h.broker, record.Offset(p.Offset))
	if err != nil {
		h.log.Info().Err(err).Str("topic", name).Int32("partition", p.Partition).Msg("records not deleted")
		return -1, err
	}
	h.log.Info().Str("topic", name).Int32("partition", p.Partition).Int64("before", int64(low)).Msg("records deleted")
	return low, nil
}
