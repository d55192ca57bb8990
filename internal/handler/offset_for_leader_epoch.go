package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/server"
	"segue/partition"
)

// epochSource is what OffsetForLeaderEpoch asks of a partition; *partition.Partition is one.
type epochSource interface {
	CheckEpoch(current int32) error
	EpochEnd(epoch int32) partition.EpochEnd
}

// offsetForLeaderEpoch answers OffsetForLeaderEpoch (KIP-320): where a client's log parts from ours, if it does.
type offsetForLeaderEpoch struct {
	image  func() *catalog.Image
	lookup func(topicID [16]byte, partition int32) (epochSource, error)
}

func (h *offsetForLeaderEpoch) handle(_ context.Context, _ *server.Client, req *kmsg.OffsetForLeaderEpochRequest) *kmsg.OffsetForLeaderEpochResponse {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	image := h.image()
	for _, t := range req.Topics {
		topic := kmsg.NewOffsetForLeaderEpochResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			result := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			result.Partition = p.Partition
			end, err := h.end(image, t.Topic, p)
			result.ErrorCode, result.LeaderEpoch, result.EndOffset = codeOf(err), end.Epoch, int64(end.End)
			topic.Partitions = append(topic.Partitions, result)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

func (h *offsetForLeaderEpoch) end(image *catalog.Image, name string, p kmsg.OffsetForLeaderEpochRequestTopicPartition) (partition.EpochEnd, error) {
	unknown := partition.EpochEnd{Epoch: -1, End: -1}
	topic, ok := image.Topic(name)
	if !ok || !topic.Has(p.Partition) {
		return unknown, kerr.UnknownTopicOrPartition
	}
	source, err := h.lookup(topic.ID, p.Partition)
	if err != nil {
		return unknown, err
	}
	if err := source.CheckEpoch(p.CurrentLeaderEpoch); err != nil {
		return unknown, err
	}
	return source.EpochEnd(p.LeaderEpoch), nil
}
