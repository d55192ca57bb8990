package handler

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

// newTopic asks for a topic; configs are name and value in turn.
func newTopic(name string, partitions int32, replicas int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replicas
	for i := 0; i < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		t.Configs = append(t.Configs, c)
	}
	return t
}

// assigned asks for a topic with these brokers for each partition.
func assigned(name string, partitions int32, replicas int16, brokers ...[]int32) kmsg.CreateTopicsRequestTopic {
	t := newTopic(name, partitions, replicas)
	for i, b := range brokers {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), b
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	return t
}

func createRequest(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = topics
	return req
}

func (s *stage) createTopics(req *kmsg.CreateTopicsRequest, version int16) *kmsg.CreateTopicsResponse {
	s.Helper()
	return s.ask(req, version).(*kmsg.CreateTopicsResponse)
}

func TestCreateTopicsEveryVersion(t *testing.T) {
	for version := int16(0); version <= 7; version++ {
		s := newStage(t)
		resp := s.createTopics(createRequest(newTopic("b", 3, 1, "retention.ms", "5000"), newTopic("a", -1, -1)), version)
		if len(resp.Topics) != 2 || resp.Topics[0].Topic != "b" || resp.Topics[1].Topic != "a" {
			t.Fatalf("v%d: %+v", version, resp.Topics)
		}
		b, _ := s.catalog.Image().Topic("b")
		a, ok := s.catalog.Image().Topic("a")
		if !ok || b == nil || b.Partitions != 3 || b.Configs["retention.ms"] != "5000" || a.Partitions != 2 || a.ReplicationFactor != 1 {
			t.Fatalf("v%d: topics are %+v and %+v", version, b, a)
		}
		s.partition(b, 2) // it is open
		got := resp.Topics[0]
		expectCode(t, "b", got.ErrorCode, nil)
		if got.ErrorMessage != nil {
			t.Errorf("v%d: a message %q", version, *got.ErrorMessage)
		}
		if version >= 5 && (got.NumPartitions != 3 || got.ReplicationFactor != 1 || got.ConfigErrorCode != 0) {
			t.Errorf("v%d: %+v", version, got)
		}
		if version >= 7 && got.TopicID != b.ID {
			t.Errorf("v%d: topic id %x, want %x", version, got.TopicID, b.ID)
		}
		if version >= 5 {
			checkCreatedConfigs(t, got.Configs)
		}
	}
}

// checkCreatedConfigs looks for all configs of a topic, in order, with where they come from.
func checkCreatedConfigs(t *testing.T, configs []kmsg.CreateTopicsResponseTopicConfig) {
	t.Helper()
	var names []string
	for _, c := range configs {
		names = append(names, c.Name)
		switch c.Name {
		case "retention.ms":
			if stringOf(c.Value) != "5000" || c.Source != 1 {
				t.Errorf("retention.ms is %q from %d, want 5000 from the topic", stringOf(c.Value), c.Source)
			}
		case "cleanup.policy":
			if stringOf(c.Value) != "delete" || c.Source != 5 || c.IsSensitive || c.ReadOnly {
				t.Errorf("cleanup.policy: %+v", c)
			}
		}
	}
	if len(names) < 30 || !slices.IsSorted(names) {
		t.Errorf("configs %v, want all of them in order", names)
	}
}

func TestCreateTopicsRefusals(t *testing.T) {
	nullConfig := newTopic("x", 1, 1, "retention.ms", "1")
	nullConfig.Configs[0].Value = nil
	twice := assigned("x", -1, -1, []int32{nodeID}, []int32{nodeID})
	twice.ReplicaAssignment[1].Partition = 0
	gap := assigned("x", -1, -1, []int32{nodeID}, []int32{nodeID})
	gap.ReplicaAssignment[1].Partition = 2
	tests := []struct {
		name  string
		topic kmsg.CreateTopicsRequestTopic
		want  *kerr.Error
	}{
		{"no name", newTopic("", 1, 1), kerr.InvalidTopicException},
		{"a bad name", newTopic("no good", 1, 1), kerr.InvalidTopicException},
		{"two dots", newTopic("..", 1, 1), kerr.InvalidTopicException},
		{"a long name", newTopic(strings.Repeat("x", 250), 1, 1), kerr.InvalidTopicException},
		{"a name that is taken", newTopic("a.b", 1, 1), kerr.TopicAlreadyExists},
		{"a name like another", newTopic("a_b", 1, 1), kerr.InvalidTopicException},
		{"more replicas than brokers", newTopic("x", 1, 2), kerr.InvalidReplicationFactor},
		{"no replicas", newTopic("x", 1, 0), kerr.InvalidReplicationFactor},
		{"negative replicas", newTopic("x", 1, -2), kerr.InvalidReplicationFactor},
		{"no partitions", newTopic("x", 0, 1), kerr.InvalidPartitions},
		{"negative partitions", newTopic("x", -2, 1), kerr.InvalidPartitions},
		{"both are wrong: replicas first", newTopic("x", 0, 0), kerr.InvalidReplicationFactor},
		{"too many partitions", newTopic("x", 10_001, 1), kerr.PolicyViolation},
		{"an unknown config", newTopic("x", 1, 1, "retentoin.ms", "1"), kerr.InvalidConfig},
		{"a bad value", newTopic("x", 1, 1, "retention.ms", "soon"), kerr.InvalidConfig},
		{"a value that is not allowed", newTopic("x", 1, 1, "cleanup.policy", "shred"), kerr.InvalidConfig},
		{"configs that contradict each other", newTopic("x", 1, 1, "min.compaction.lag.ms", "10", "max.compaction.lag.ms", "5"), kerr.InvalidConfig},
		{"no value", nullConfig, kerr.InvalidConfig},
		{"a name that only Kafka's controllers use", newTopic("__cluster_metadata", 1, 1), kerr.InvalidRequest},
		{"brokers and a number of partitions", assigned("x", 1, -1, []int32{nodeID}), kerr.InvalidRequest},
		{"brokers and a number of replicas", assigned("x", -1, 1, []int32{nodeID}), kerr.InvalidRequest},
		{"a broker that is not there", assigned("x", -1, -1, []int32{99}), kerr.InvalidReplicaAssignment},
		{"a broker twice", assigned("x", -1, -1, []int32{nodeID, nodeID}), kerr.InvalidReplicaAssignment},
		{"no broker", assigned("x", -1, -1, []int32{}), kerr.InvalidReplicaAssignment},
		{"a different number of replicas", assigned("x", -1, -1, []int32{nodeID}, []int32{nodeID, nodeID}), kerr.InvalidReplicaAssignment},
		{"brokers for a partition twice", twice, kerr.InvalidReplicaAssignment},
		{"a partition left out", gap, kerr.InvalidReplicaAssignment},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			s.create("a.b", 1)
			for _, version := range []int16{4, 7} {
				// A good one beside it is created all the same, but for a refusal of the whole request.
				resp := s.createTopics(createRequest(test.topic, newTopic("good", 1, 1)), version)
				if len(resp.Topics) != 2 || resp.Topics[0].Topic != test.topic.Topic {
					t.Fatalf("%+v", resp.Topics)
				}
				got := resp.Topics[0]
				expectCode(t, test.name, got.ErrorCode, test.want)
				if stringOf(got.ErrorMessage) == "" || got.ErrorMessage == nil {
					t.Error("there is no message")
				}
				if version >= 5 && (got.NumPartitions != -1 || got.ReplicationFactor != -1 || got.Configs == nil || len(got.Configs) > 0) {
					t.Errorf("%+v", got)
				}
				want := []string{"a.b", "good"}
				if test.want == kerr.PolicyViolation {
					want = want[:1]
				}
				if names := topicNames(s.catalog.Image()); !slices.Equal(names, want) {
					t.Errorf("topics are now %v, want %v", names, want)
				}
			}
		})
	}
}

// A string of that length has been possible since lengths are compact.
func TestCreateTopicsLongValue(t *testing.T) {
	s := newStage(t)
	long := newTopic("x", 1, 1, "follower.replication.throttled.replicas", strings.Repeat("0:1,", 10_000)+"0:1")
	expectCode(t, "x", s.createTopics(createRequest(long), 7).Topics[0].ErrorCode, kerr.InvalidConfig)
}

func TestCreateTopicsWithBrokers(t *testing.T) {
	s := newStage(t)
	resp := s.createTopics(createRequest(assigned("x", -1, -1, []int32{nodeID}, []int32{nodeID}, []int32{nodeID})), 5)
	expectCode(t, "x", resp.Topics[0].ErrorCode, nil)
	if topic, ok := s.catalog.Image().Topic("x"); !ok || topic.Partitions != 3 || topic.ReplicationFactor != 1 {
		t.Errorf("the topic is %+v", topic)
	}
}

func TestCreateTopicsNamedTwice(t *testing.T) {
	s := newStage(t)
	resp := s.createTopics(createRequest(newTopic("x", 1, 1), newTopic("y", 1, 1), newTopic("x", 2, 1), newTopic("x", 3, 1)), 7)
	if len(resp.Topics) != 2 {
		t.Fatalf("%+v", resp.Topics)
	}
	expectCode(t, "x", resp.Topics[0].ErrorCode, kerr.InvalidRequest)
	expectCode(t, "y", resp.Topics[1].ErrorCode, nil)
	if names := topicNames(s.catalog.Image()); !slices.Equal(names, []string{"y"}) {
		t.Errorf("topics are now %v", names)
	}
}

// Two topics of one request that metrics could not tell apart: the first one has the name.
func TestCreateTopicsThatCollide(t *testing.T) {
	s := newStage(t)
	resp := s.createTopics(createRequest(newTopic("x.y", 1, 1), newTopic("x_y", 1, 1)), 7)
	expectCode(t, "x.y", resp.Topics[0].ErrorCode, nil)
	expectCode(t, "x_y", resp.Topics[1].ErrorCode, kerr.InvalidTopicException)
}

func TestCreateTopicsValidateOnly(t *testing.T) {
	s := newStage(t)
	req := createRequest(newTopic("x", 4, 1, "retention.ms", "5000"), newTopic("no good", 1, 1))
	req.ValidateOnly = true
	for version := int16(1); version <= 7; version++ {
		resp := s.createTopics(req, version)
		expectCode(t, "x", resp.Topics[0].ErrorCode, nil)
		expectCode(t, "no good", resp.Topics[1].ErrorCode, kerr.InvalidTopicException)
		if version >= 5 && resp.Topics[0].NumPartitions != 4 {
			t.Errorf("v%d: %+v", version, resp.Topics[0])
		}
	}
	if names := topicNames(s.catalog.Image()); names != nil {
		t.Errorf("topics are now %v", names)
	}
}

// The catalog moves on between the judgement and the commit.
func TestCreateTopicsIsOvertaken(t *testing.T) {
	s := newStage(t)
	s.catalog.before = func() { s.create("x", 1) }
	resp := s.createTopics(createRequest(newTopic("x", 1, 1), newTopic("y", 1, 1)), 7)
	expectCode(t, "x", resp.Topics[0].ErrorCode, kerr.TopicAlreadyExists)
	expectCode(t, "y", resp.Topics[1].ErrorCode, nil)
}

func TestCreateTopicsWhenTheCatalogFails(t *testing.T) {
	for _, test := range []struct {
		fail error
		want *kerr.Error
	}{
		{errDisk, kerr.UnknownServerError},
		{kerr.KafkaStorageError, kerr.KafkaStorageError},
		{context.DeadlineExceeded, kerr.RequestTimedOut},
		{catalog.ErrClosed, kerr.UnknownServerError},
	} {
		s := newStage(t)
		s.catalog.fail = test.fail
		resp := s.createTopics(createRequest(newTopic("x", 1, 1), newTopic("no good", 1, 1)), 7)
		expectCode(t, "x", resp.Topics[0].ErrorCode, test.want)
		expectCode(t, "no good", resp.Topics[1].ErrorCode, kerr.InvalidTopicException)
		if strings.Contains(stringOf(resp.Topics[0].ErrorMessage), "fire") {
			t.Errorf("the client is told of the broker's insides: %q", *resp.Topics[0].ErrorMessage)
		}
	}
}
