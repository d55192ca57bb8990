package handler

import (
	"cmp"
	"context"
	"slices"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/server"
	"segue/partition"
)

// producerSource is what describeProducers asks of a partition; *partition.Partition is one.
type producerSource interface {
	Producers() []partition.ProducerState
}

// describeProducers answers DescribeProducers (KIP-664).
type describeProducers struct {
	log    zerolog.Logger
	image  func() *catalog.Image
	lookup func(topicID [16]byte, partition int32) (producerSource, error)
}

func (h *describeProducers) handle(_ context.Context, _ *server.Client, req *kmsg.DescribeProducersRequest) *kmsg.DescribeProducersResponse {
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	image := h.image()
	for _, asked := range req.Topics {
		topic := kmsg.NewDescribeProducersResponseTopic()
		topic.Topic = asked.Topic
		for _, n := range asked.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = n
			states, err := h.producers(image, asked.Topic, n)
			if err != nil {
				p.ErrorCode, p.ErrorMessage = codeOf(err), plain(errorOf(err)).message()
			}
			for _, s := range states {
				a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				a.ProducerID, a.ProducerEpoch = s.ProducerID, int32(s.Epoch)
				a.LastSequence, a.LastTimestamp = s.LastSequence, s.LastTimestamp
				a.CoordinatorEpoch, a.CurrentTxnStartOffset = s.CoordinatorEpoch, int64(s.TxnStart)
				p.ActiveProducers = append(p.ActiveProducers, a)
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// producers returns the producers of a partition in the order of their ids.
func (h *describeProducers) producers(image *catalog.Image, name string, n int32) ([]partition.ProducerState, error) {
	if catalog.ValidateName(name) != nil {
		return nil, kerr.InvalidTopicException
	}
	topic, ok := image.Topic(name)
	if !ok || !topic.Has(n) {
		return nil, kerr.UnknownTopicOrPartition
	}
	source, err := h.lookup(topic.ID, n)
	if err != nil {
		return nil, err
	}
	states := source.Producers()
	slices.SortFunc(states, func(a, b partition.ProducerState) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return states, nil
}

func describeProducersSize(r *kmsg.DescribeProducersResponse) int {
	const each = 150
	size := 0
	for _, t := range r.Topics {
		size += topicCost + encodedFactor*len(t.Topic)
		for _, p := range t.Partitions {
			size += offsetCost + each*len(p.ActiveProducers)
		}
	}
	return size
}
