package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/server"
)

// commitByIDVersion is from when on OffsetCommit names topics by id (KIP-848).
const commitByIDVersion = 10

// offsetCommit answers OffsetCommit. What there is no partition for is refused here, and the group asked about the rest.
type offsetCommit struct {
	*groupCommands
	image func() *catalog.Image
}

func (h offsetCommit) handle(_ context.Context, _ *server.Client, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, 0, len(req.Topics))
	image := h.image()
	sound := *req
	sound.Topics = make([]kmsg.OffsetCommitRequestTopic, 0, len(req.Topics))
	var open []*int16 // the codes that the group decides about, in the order in which it is asked
	for _, asked := range req.Topics {
		if len(asked.Partitions) == 0 {
			continue // Kafka does not answer about nothing
		}
		topic, unknown := findTopic(image, req.Version >= commitByIDVersion, asked.Topic, asked.TopicID)
		answer := kmsg.OffsetCommitResponseTopic{Topic: asked.Topic, TopicID: asked.TopicID}
		answer.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(asked.Partitions))
		var known []kmsg.OffsetCommitRequestTopicPartition
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
			sound.Topics = append(sound.Topics, kmsg.OffsetCommitRequestTopic{Topic: topic.Name, TopicID: topic.ID, Partitions: known})
		}
		resp.Topics = append(resp.Topics, answer)
	}
	if len(open) > 0 {
		h.commit(&sound, open)
	}
	return resp
}

// commit asks the group, and says of each partition what became of it.
func (h offsetCommit) commit(req *kmsg.OffsetCommitRequest, codes []*int16) {
	decided, err := command[*kmsg.OffsetCommitResponse](h.groupCommands, req.Group, req)
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
