package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/internal/server"
)

// createTopics answers CreateTopics.
type createTopics struct {
	creator *topicCreator
	config  func() *config.Layers
}

func (h *createTopics) handle(_ context.Context, c *server.Client, req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	times := map[string]int{}
	for _, t := range req.Topics {
		times[t.Topic]++
	}
	var specs []topicSpec
	for _, t := range req.Topics {
		if times[t.Topic] == 1 {
			specs = append(specs, specOf(t))
		}
	}
	_, results := h.creator.create(c.Listener, specs, req.ValidateOnly)
	for _, t := range req.Topics {
		switch n := times[t.Topic]; {
		case n == 0:
			continue // a duplicate that is answered
		case n > 1:
			times[t.Topic] = 0
			resp.Topics = append(resp.Topics, notCreated(t.Topic, failure(kerr.InvalidRequest, "Duplicate topic name.")))
		case results[0].err != nil:
			resp.Topics = append(resp.Topics, notCreated(t.Topic, results[0].err))
			results = results[1:]
		default:
			resp.Topics = append(resp.Topics, h.describe(&results[0].topic))
			results = results[1:]
		}
	}
	return resp
}

func specOf(t kmsg.CreateTopicsRequestTopic) topicSpec {
	s := topicSpec{name: t.Topic, partitions: t.NumPartitions, replicas: t.ReplicationFactor}
	for _, a := range t.ReplicaAssignment {
		s.assigned = append(s.assigned, assignment{partition: a.Partition, brokers: a.Replicas})
	}
	for _, c := range t.Configs {
		s.configs = append(s.configs, topicConfig{name: c.Name, value: c.Value})
	}
	return s
}

func notCreated(name string, err *apiError) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic, t.ErrorCode, t.ErrorMessage = name, err.code.Code, err.message()
	t.NumPartitions, t.ReplicationFactor = -1, -1
	t.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	return t
}

// describe is the answer for a topic that was created, or would be.
func (h *createTopics) describe(topic *catalog.CreateTopic) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic, t.TopicID = topic.Name, topic.ID
	t.NumPartitions, t.ReplicationFactor = topic.Partitions, topic.ReplicationFactor
	for _, e := range h.config().DescribeTopic(topic.Configs, nil) {
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Value, c.ReadOnly, c.Source, c.IsSensitive = e.Name, e.Value, e.ReadOnly, int8(e.Source), e.Sensitive
		t.Configs = append(t.Configs, c)
	}
	return t
}
