package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/coordinator/group"
	"segue/internal/server"
)

// The versions of OffsetFetch at which something changes.
const (
	fetchNoOffsetVersion = 1  // that no offset is committed is no error any more
	fetchGroupVersion    = 2  // errors of the group have a place of their own
	fetchGroupsVersion   = 8  // about many groups (KIP-709)
	fetchOffsetByID      = 10 // topics are named by id (KIP-848)
)

// offsetFetch answers OffsetFetch.
type offsetFetch struct {
	*groupCommands
	image func() *catalog.Image
}

func (h offsetFetch) handle(ctx context.Context, _ *server.Client, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
	image := h.image()
	if req.Version >= fetchGroupsVersion {
		resp.Groups = h.fetchMany(ctx, image, req)
		return resp
	}
	asked := kmsg.OffsetFetchRequestGroup{Group: req.Group, MemberEpoch: -1}
	if req.Topics != nil {
		asked.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(req.Topics))
		for _, t := range req.Topics {
			asked.Topics = append(asked.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
		}
	}
	answer := h.fetch(ctx, image, req, &asked)
	if resp.ErrorCode = answer.ErrorCode; answer.ErrorCode != 0 && req.Version < fetchGroupVersion {
		answer.Topics = make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(asked.Topics))
		for _, t := range asked.Topics {
			answer.Topics = append(answer.Topics, notFetched(t, answer.ErrorCode))
		}
	}
	resp.Topics = ofOneGroup(&answer, req.Version)
	return resp
}

// fetchMany answers about each group of a request. All offsets of a group are asked for once; where partitions are named,
// the request is as large as what it asks for.
func (h offsetFetch) fetchMany(ctx context.Context, image *catalog.Image, req *kmsg.OffsetFetchRequest) []kmsg.OffsetFetchResponseGroup {
	type asked struct {
		group string
		named int // which of those that name topics it is; 0 for all topics
	}
	key := func(i int) asked {
		if req.Groups[i].Topics == nil {
			return asked{group: req.Groups[i].Group}
		}
		return asked{named: i + 1}
	}
	return forEachKey(len(req.Groups), key, func(i int) kmsg.OffsetFetchResponseGroup {
		return h.fetch(ctx, image, req, &req.Groups[i])
	})
}

// ofOneGroup is the answer about a group in the form that it had while there was one group in each request.
func ofOneGroup(g *kmsg.OffsetFetchResponseGroup, version int16) []kmsg.OffsetFetchResponseTopic {
	topics := make([]kmsg.OffsetFetchResponseTopic, 0, len(g.Topics))
	for _, t := range g.Topics {
		topic := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
		topic.Partitions = make([]kmsg.OffsetFetchResponseTopicPartition, 0, len(t.Partitions))
		for _, p := range t.Partitions {
			if version < fetchNoOffsetVersion && p.ErrorCode == 0 && p.Offset < 0 {
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			}
			topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			})
		}
		topics = append(topics, topic)
	}
	return topics
}

// fetch answers about one group. What was committed for a topic that is gone is none, though it may take a moment until
// the group has dropped it, and so is what was committed for another topic of the same name.
func (h offsetFetch) fetch(ctx context.Context, image *catalog.Image, req *kmsg.OffsetFetchRequest,
	asked *kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
	byID := req.Version >= fetchOffsetByID
	in := group.Fetch{Group: asked.Group, MemberID: asked.MemberID, MemberEpoch: asked.MemberEpoch, RequireStable: req.RequireStable}
	var unknown []kmsg.OffsetFetchResponseGroupTopic
	if asked.Topics != nil {
		in.Topics = make([]group.FetchTopic, 0, len(asked.Topics))
	}
	for _, t := range asked.Topics {
		switch topic, err := findTopic(image, byID, t.Topic, t.TopicID); {
		case err == nil:
			in.Topics = append(in.Topics, group.FetchTopic{Topic: topic.Name, ID: topic.ID, Partitions: t.Partitions})
		case byID:
			unknown = append(unknown, notFetched(t, err.Code))
		default:
			unknown = append(unknown, notFetched(t, 0))
		}
	}
	answer, err := query[*kmsg.OffsetFetchResponseGroup](ctx, h.groupCommands, asked.Group, in)
	switch {
	case err == kerr.CoordinatorNotAvailable:
		err = kerr.NotCoordinator // the other one is not expected here by consumers before 3.9
		fallthrough
	case err != nil:
		return kmsg.OffsetFetchResponseGroup{Group: asked.Group, ErrorCode: err.Code}
	case asked.Topics == nil:
		answer.Topics = ofTopics(image, answer.Topics)
	}
	answer.Topics = append(answer.Topics, unknown...)
	return *answer
}

// ofTopics are the offsets of topics that there are, of all that a group has. They come in order of names, and those of
// one name by the ids under which they were committed, zero among them where that is not known.
func ofTopics(image *catalog.Image, all []kmsg.OffsetFetchResponseGroupTopic) []kmsg.OffsetFetchResponseGroupTopic {
	known := all[:0]
	for _, t := range all {
		topic, ok := image.Topic(t.Topic)
		if !ok || t.TopicID != topic.ID && t.TopicID != [16]byte{} {
			continue
		}
		t.TopicID = topic.ID
		if last := len(known) - 1; last >= 0 && known[last].TopicID == topic.ID {
			known[last].Partitions = append(known[last].Partitions, t.Partitions...)
			continue
		}
		known = append(known, t)
	}
	return known
}

// notFetched answers with an error for all partitions of a topic.
func notFetched(t kmsg.OffsetFetchRequestGroupTopic, code int16) kmsg.OffsetFetchResponseGroupTopic {
	answer := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
	answer.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, 0, len(t.Partitions))
	for _, p := range t.Partitions {
		answer.Partitions = append(answer.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{
			Partition: p, Offset: -1, LeaderEpoch: -1, Metadata: kmsg.StringPtr(""), ErrorCode: code,
		})
	}
	return answer
}
