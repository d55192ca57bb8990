package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/coordinator/group"
	"segue/internal/server"
)

// offsetDelete answers OffsetDelete (KIP-496).
type offsetDelete struct {
	*groupCommands
	image func() *catalog.Image
}

func (h offsetDelete) handle(_ context.Context, _ *server.Client, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
	resp.Topics = make([]kmsg.OffsetDeleteResponseTopic, 0, len(req.Topics))
	image := h.image()
	in := group.DeleteOffsets{Group: req.Group}
	var open []*int16 // the codes that the group decides about, in the order in which it is asked
	for _, asked := range req.Topics {
		if len(asked.Partitions) == 0 {
			continue // Kafka does not answer about nothing
		}
		topic, unknown := findTopic(image, false, asked.Topic, [16]byte{})
		answer := kmsg.OffsetDeleteResponseTopic{Topic: asked.Topic}
		answer.Partitions = make([]kmsg.OffsetDeleteResponseTopicPartition, len(asked.Partitions))
		known := group.DeleteTopic{Topic: asked.Topic}
		for i, p := range asked.Partitions {
			result := &answer.Partitions[i]
			result.Partition = p.Partition
			if unknown != nil || !topic.Has(p.Partition) {
				result.ErrorCode = kerr.UnknownTopicOrPartition.Code
				continue
			}
			known.Partitions = append(known.Partitions, p.Partition)
			open = append(open, &result.ErrorCode)
		}
		if len(known.Partitions) > 0 {
			in.Topics = append(in.Topics, known)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	decided, err := command[*kmsg.OffsetDeleteResponse](h.groupCommands, req.Group, in)
	switch {
	case err != nil:
		resp.ErrorCode, resp.Topics = err.Code, nil
	case decided.ErrorCode != 0:
		resp.ErrorCode, resp.Topics = decided.ErrorCode, nil
	default:
		for _, topic := range decided.Topics {
			for _, p := range topic.Partitions {
				*open[0] = p.ErrorCode
				open = open[1:]
			}
		}
	}
	return resp
}
