package handler

import (
	"context"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/internal/placement"
	"segue/internal/server"
)

// The versions of Metadata at which something changes.
const (
	emptyTopicsVersion  = 1  // no topics are none; before they were all
	autoCreateVersion   = 4  // the client says whether topics may be created
	metadataByIDVersion = 12 // topics may be named by id (KIP-516)
)

// metadata answers Metadata. Topics that it creates are there, and led, in the same answer: Kafka answers
// UNKNOWN_TOPIC_OR_PARTITION first, and clients that do not try again lose their first record.
type metadata struct {
	image   func() *catalog.Image
	config  func() *config.Layers
	creator *topicCreator
	view    interface {
		ClusterID() string
		Controller() int32
		Brokers(listener string) []placement.Broker
		Leader(topicID [16]byte, partition int32) placement.Leader
	}
}

func (h *metadata) handle(_ context.Context, c *server.Client, req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	if faulty := refuseMetadata(req); faulty != nil {
		resp.Topics = faulty
		return resp
	}
	for _, b := range h.view.Brokers(c.Listener) {
		broker := kmsg.NewMetadataResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack = b.NodeID, b.Host, b.Port, b.Rack
		resp.Brokers = append(resp.Brokers, broker)
	}
	resp.ClusterID = kmsg.StringPtr(h.view.ClusterID())
	resp.ControllerID = h.view.Controller()
	resp.AuthorizedOperations = math.MinInt32
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	resp.Topics = h.topics(c, req)
	if req.IncludeTopicAuthorizedOperations {
		for i := range resp.Topics {
			if resp.Topics[i].ErrorCode != kerr.UnknownTopicID.Code {
				resp.Topics[i].AuthorizedOperations = topicOperations
			}
		}
	}
	return resp
}

// refuseMetadata returns the answer to a request that names topics as its version cannot: Kafka refuses it as a whole.
func refuseMetadata(req *kmsg.MetadataRequest) []kmsg.MetadataResponseTopic {
	sound := true
	for _, t := range req.Topics {
		named, byID := t.Topic != nil, t.TopicID != [16]byte{}
		sound = sound && (named || byID) && (req.Version >= metadataByIDVersion || named && !byID)
	}
	if sound {
		return nil
	}
	var topics []kmsg.MetadataResponseTopic
	for _, t := range req.Topics {
		if t.Topic == nil {
			t.Topic = kmsg.StringPtr("")
		}
		topics = append(topics, missingTopic(t.Topic, t.TopicID, kerr.InvalidRequest))
	}
	return topics
}

// topics answers for the topics that a request names, each once.
func (h *metadata) topics(c *server.Client, req *kmsg.MetadataRequest) []kmsg.MetadataResponseTopic {
	image := h.image()
	if asksForAll(req) {
		var topics []kmsg.MetadataResponseTopic
		for _, t := range image.Topics() {
			topics = append(topics, h.describe(t))
		}
		return topics
	}
	if ids := idsIn(req); len(ids) > 0 {
		return h.byID(image, ids) // names beside ids are passed over, as in Kafka
	}
	names := namesIn(req)
	image, failed := h.autoCreate(c, req, image, names)
	topics := make([]kmsg.MetadataResponseTopic, 0, len(names))
	for _, name := range names {
		topic, ok := image.Topic(name)
		switch err := failed[name]; {
		case ok:
			topics = append(topics, h.describe(topic))
		case err != nil:
			topics = append(topics, missingTopic(&name, [16]byte{}, err))
		case catalog.ValidateName(name) != nil:
			topics = append(topics, missingTopic(&name, [16]byte{}, kerr.InvalidTopicException))
		default:
			topics = append(topics, missingTopic(&name, [16]byte{}, kerr.UnknownTopicOrPartition))
		}
	}
	return topics
}

// asksForAll tells whether a request is about all topics.
func asksForAll(req *kmsg.MetadataRequest) bool {
	return req.Topics == nil || req.Version < emptyTopicsVersion && len(req.Topics) == 0
}

// idsIn returns the topic ids of a request, each once.
func idsIn(req *kmsg.MetadataRequest) [][16]byte {
	var ids [][16]byte
	seen := map[[16]byte]bool{{}: true}
	for _, t := range req.Topics {
		if !seen[t.TopicID] {
			seen[t.TopicID] = true
			ids = append(ids, t.TopicID)
		}
	}
	return ids
}

// namesIn returns the topic names of a request, each once.
func namesIn(req *kmsg.MetadataRequest) []string {
	names := make([]string, 0, len(req.Topics))
	seen := make(map[string]bool, len(req.Topics))
	for _, t := range req.Topics {
		if !seen[*t.Topic] {
			seen[*t.Topic] = true
			names = append(names, *t.Topic)
		}
	}
	return names
}

func (h *metadata) byID(image *catalog.Image, ids [][16]byte) []kmsg.MetadataResponseTopic {
	topics := make([]kmsg.MetadataResponseTopic, 0, len(ids))
	for _, id := range ids {
		if topic, ok := image.TopicByID(id); ok {
			topics = append(topics, h.describe(topic))
		} else {
			topics = append(topics, missingTopic(nil, id, kerr.UnknownTopicID))
		}
	}
	return topics
}

// autoCreate creates the topics that are missing, where broker and client agree to that, and returns the image with
// them. A topic that cannot be created for its name, or because there would be too many, is reported as such; for any
// other reason it is simply unknown, as in Kafka, and the reason is in the log.
//
// Internal topics are left to the coordinators, which know how they have to look.
func (h *metadata) autoCreate(c *server.Client, req *kmsg.MetadataRequest, image *catalog.Image, names []string) (
	*catalog.Image, map[string]*kerr.Error) {
	if !h.config().Broker().AutoCreateTopics || req.Version >= autoCreateVersion && !req.AllowAutoTopicCreation {
		return image, nil
	}
	var missing []topicSpec
	for _, name := range names {
		if _, ok := image.Topic(name); !ok && !catalog.IsInternal(name) {
			missing = append(missing, topicSpec{name: name, partitions: -1, replicas: -1})
		}
	}
	if len(missing) == 0 {
		return image, nil
	}
	image, results := h.creator.create(c.Listener, missing, false)
	failed := map[string]*kerr.Error{}
	for i, r := range results {
		if r.err != nil && (r.err.code == kerr.InvalidTopicException || isRefusal(r.err)) {
			failed[missing[i].name] = r.err.code
		}
	}
	return image, failed
}

// describe is what the answer says of a topic.
func (h *metadata) describe(t *catalog.Topic) kmsg.MetadataResponseTopic {
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.TopicID, topic.IsInternal = &t.Name, t.ID, t.Internal
	topic.Partitions = make([]kmsg.MetadataResponseTopicPartition, 0, t.Partitions)
	for i := range t.Partitions {
		leader := h.view.Leader(t.ID, i)
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch = i, leader.NodeID, leader.Epoch
		p.Replicas, p.ISR, p.OfflineReplicas = leader.Replicas, leader.ISR, leader.Offline
		if leader.NodeID < 0 {
			p.ErrorCode = kerr.LeaderNotAvailable.Code
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	return topic
}

// missingTopic is what the answer says of a topic that there is not.
func missingTopic(name *string, id [16]byte, err *kerr.Error) kmsg.MetadataResponseTopic {
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.TopicID, topic.ErrorCode = name, id, err.Code
	topic.IsInternal = name != nil && catalog.IsInternal(*name)
	return topic
}
