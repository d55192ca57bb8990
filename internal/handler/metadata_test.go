package handler

import (
	"math"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

// metadataFor asks for topics by name.
func metadataFor(names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	return req
}

func (s *stage) metadata(req *kmsg.MetadataRequest, version int16) *kmsg.MetadataResponse {
	s.Helper()
	return s.ask(req, version).(*kmsg.MetadataResponse)
}

// namesIn lists the topics of an answer.
func topicsOf(resp *kmsg.MetadataResponse) (names []string) {
	for _, t := range resp.Topics {
		names = append(names, stringOf(t.Topic))
	}
	return names
}

func TestMetadataSaysWhoAndWhere(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 3)
	s.create("__consumer_offsets", 1)
	for version := int16(0); version <= 13; version++ {
		resp := s.metadata(metadataFor("a"), version)
		if len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != nodeID || resp.Brokers[0].Host != "internal" || resp.Brokers[0].Port != 9000 {
			t.Errorf("v%d: brokers %+v, want the one of the client's listener", version, resp.Brokers)
		}
		if version >= 1 && (resp.ControllerID != nodeID || stringOf(resp.Brokers[0].Rack) != "r1") {
			t.Errorf("v%d: controller %d, rack %s", version, resp.ControllerID, stringOf(resp.Brokers[0].Rack))
		}
		if version >= 2 && stringOf(resp.ClusterID) != clusterID {
			t.Errorf("v%d: cluster %s", version, stringOf(resp.ClusterID))
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 3 {
			t.Fatalf("v%d: topics %+v", version, resp.Topics)
		}
		got := resp.Topics[0]
		if version >= 10 && got.TopicID != topic.ID {
			t.Errorf("v%d: topic id %x, want %x: Java stays at Fetch 12 without", version, got.TopicID, topic.ID)
		}
		for i, p := range got.Partitions {
			if p.Partition != int32(i) || p.Leader != nodeID || !slices.Equal(p.Replicas, []int32{nodeID}) || !slices.Equal(p.ISR, []int32{nodeID}) || p.ErrorCode != 0 {
				t.Errorf("v%d: partition %+v", version, p)
			}
			if version >= 7 && p.LeaderEpoch != leaderEpoch {
				t.Errorf("v%d: leader epoch %d, want %d", version, p.LeaderEpoch, leaderEpoch)
			}
		}
	}
	resp := s.metadata(metadataFor("__consumer_offsets", "a"), 12)
	if !resp.Topics[0].IsInternal || resp.Topics[1].IsInternal {
		t.Error("internal topics are not told from others")
	}
}

func TestMetadataWhichTopics(t *testing.T) {
	all := kmsg.NewPtrMetadataRequest() // null topics
	tests := []struct {
		name    string
		version int16
		req     *kmsg.MetadataRequest
		want    []string
	}{
		{"null is all", 1, all, []string{"a", "b"}},
		{"null is all", 13, all, []string{"a", "b"}},
		{"empty is none", 1, metadataFor(), nil},
		{"empty is none", 13, metadataFor(), nil},
		{"empty was all", 0, metadataFor(), []string{"a", "b"}},
		{"null is sent as empty, which was all", 0, all, []string{"a", "b"}},
		{"one", 0, metadataFor("b"), []string{"b"}},
		{"named twice is told once", 5, metadataFor("b", "a", "b"), []string{"b", "a"}},
	}
	for _, test := range tests {
		s := newStage(t)
		s.create("b", 1)
		s.create("a", 1)
		if got := topicsOf(s.metadata(test.req, test.version)); !slices.Equal(got, test.want) {
			t.Errorf("%s (v%d): %v, want %v", test.name, test.version, got, test.want)
		}
	}
}

func TestMetadataByID(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	s.create("b", 1)
	unknown := catalog.NewTopicID()
	req := metadataFor("b") // passed over beside ids
	for _, id := range [][16]byte{topic.ID, unknown, topic.ID} {
		rt := kmsg.NewMetadataRequestTopic()
		rt.TopicID = id
		req.Topics = append(req.Topics, rt)
	}
	req.IncludeTopicAuthorizedOperations = true
	for _, version := range []int16{12, 13} {
		resp := s.metadata(req, version)
		if len(resp.Topics) != 2 {
			t.Fatalf("v%d: %+v", version, resp.Topics)
		}
		if got := resp.Topics[0]; stringOf(got.Topic) != "a" || got.ErrorCode != 0 || got.AuthorizedOperations != topicOperations {
			t.Errorf("v%d: the known id: %+v", version, got)
		}
		got := resp.Topics[1]
		expectCode(t, "the unknown id", got.ErrorCode, kerr.UnknownTopicID)
		if got.Topic != nil || got.TopicID != unknown || got.AuthorizedOperations != math.MinInt32 {
			t.Errorf("v%d: the unknown id: %+v", version, got)
		}
	}
}

func TestMetadataRefusesWhatAVersionCannotName(t *testing.T) {
	byID := metadataFor()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic, rt.TopicID = kmsg.StringPtr("a"), catalog.NewTopicID()
	byID.Topics = append(byID.Topics, rt)
	nobody := metadataFor()
	nobody.Topics = append(nobody.Topics, kmsg.NewMetadataRequestTopic())
	for _, test := range []struct {
		name    string
		version int16
		req     *kmsg.MetadataRequest
	}{
		{"an id before ids", 10, byID},
		{"an id before ids", 11, byID},
		{"neither name nor id", 11, nobody},
		{"neither name nor id", 12, nobody},
	} {
		s := newStage(t)
		s.create("a", 1)
		resp := s.metadata(test.req, test.version)
		if len(resp.Topics) != 1 {
			t.Fatalf("%s (v%d): %+v", test.name, test.version, resp)
		}
		expectCode(t, test.name, resp.Topics[0].ErrorCode, kerr.InvalidRequest)
	}
}

func TestMetadataAuthorizedOperations(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	for version := int16(8); version <= 13; version++ {
		req := metadataFor("a")
		resp := s.metadata(req, version)
		if resp.AuthorizedOperations != math.MinInt32 || resp.Topics[0].AuthorizedOperations != math.MinInt32 {
			t.Errorf("v%d: %d and %d were not asked for", version, resp.AuthorizedOperations, resp.Topics[0].AuthorizedOperations)
		}
		req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = true, true
		resp = s.metadata(req, version)
		// What Kafka answers without an authorizer.
		if version <= 10 && resp.AuthorizedOperations != 8096 || resp.Topics[0].AuthorizedOperations != 3576 {
			t.Errorf("v%d: %d and %d, want 8096 and 3576", version, resp.AuthorizedOperations, resp.Topics[0].AuthorizedOperations)
		}
	}
}

// A topic is there, and led, in the answer to the request that has created it.
func TestMetadataCreatesTopics(t *testing.T) {
	for version := int16(0); version <= 13; version++ {
		s := newStage(t)
		req := metadataFor("old", "new")
		req.AllowAutoTopicCreation = true
		s.create("old", 1)
		resp := s.metadata(req, version)
		for _, topic := range resp.Topics {
			expectCode(t, *topic.Topic, topic.ErrorCode, nil)
		}
		if got := resp.Topics[1]; len(got.Partitions) != 2 || got.Partitions[1].Leader != nodeID {
			t.Errorf("v%d: %+v, want num.partitions and a leader", version, got)
		}
		topic, ok := s.catalog.Image().Topic("new")
		if !ok {
			t.Fatalf("v%d: not in the catalog", version)
		}
		s.partition(topic, 1) // it is open
		if topic.ReplicationFactor != 1 || len(topic.Configs) != 0 {
			t.Errorf("v%d: %+v", version, topic)
		}
	}
}

func TestMetadataDoesNotCreateTopics(t *testing.T) {
	tests := []struct {
		name     string
		version  int16
		topic    string
		allow    bool
		settings []string
		want     *kerr.Error
	}{
		{"the client does not want to", 4, "x", false, nil, kerr.UnknownTopicOrPartition},
		{"the client does not want to", 13, "x", false, nil, kerr.UnknownTopicOrPartition},
		{"the broker does not", 13, "x", true, []string{"auto.create.topics.enable", "false"}, kerr.UnknownTopicOrPartition},
		{"the broker does not, and an old client cannot say", 1, "x", false, []string{"auto.create.topics.enable", "false"}, kerr.UnknownTopicOrPartition},
		{"the name is bad", 9, "no good", true, nil, kerr.InvalidTopicException},
		{"the name is bad, and it is not to be created", 9, "no good", false, nil, kerr.InvalidTopicException},
		{"the name is empty", 9, "", true, nil, kerr.InvalidTopicException},
		{"the name is like another", 9, "a_b", true, nil, kerr.InvalidTopicException},
		{"more replicas than brokers", 9, "x", true, []string{"default.replication.factor", "2"}, kerr.UnknownTopicOrPartition},
		{"a coordinator's topic", 9, "__consumer_offsets", true, nil, kerr.UnknownTopicOrPartition},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, test.settings...)
			s.create("a.b", 1)
			req := metadataFor(test.topic)
			req.AllowAutoTopicCreation = test.allow
			resp := s.metadata(req, test.version)
			if len(resp.Topics) != 1 || stringOf(resp.Topics[0].Topic) != test.topic {
				t.Fatalf("%+v", resp.Topics)
			}
			expectCode(t, test.topic, resp.Topics[0].ErrorCode, test.want)
			if got := resp.Topics[0]; got.IsInternal != catalog.IsInternal(test.topic) || len(got.Partitions) != 0 {
				t.Errorf("%+v", got)
			}
			if names := topicNames(s.catalog.Image()); !slices.Equal(names, []string{"a.b"}) {
				t.Errorf("topics are now %v", names)
			}
		})
	}
}

func TestMetadataWhenTheCatalogFails(t *testing.T) {
	s := newStage(t)
	s.catalog.fail = errDisk
	req := metadataFor("x")
	req.AllowAutoTopicCreation = true
	expectCode(t, "x", s.metadata(req, 9).Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
}

// All topics are never a reason to create any.
func TestMetadataOfAllCreatesNone(t *testing.T) {
	s := newStage(t)
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	if resp := s.metadata(req, 9); len(resp.Topics) != 0 {
		t.Errorf("%+v", resp.Topics)
	}
}
