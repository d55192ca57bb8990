package handler

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

// growTopic asks for so many partitions, with the brokers of each new one unless there are none.
func growTopic(name string, count int32, brokers ...[]int32) kmsg.CreatePartitionsRequestTopic {
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = name, count
	for _, b := range brokers {
		a := kmsg.NewCreatePartitionsRequestTopicAssignment()
		a.Replicas = b
		t.Assignment = append(t.Assignment, a)
	}
	return t
}

func (s *stage) grow(version int16, validateOnly bool, topics ...kmsg.CreatePartitionsRequestTopic) []kmsg.CreatePartitionsResponseTopic {
	s.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics, req.ValidateOnly = topics, validateOnly
	return s.ask(req, version).(*kmsg.CreatePartitionsResponse).Topics
}

func (s *stage) expectPartitions(name string, want int32) {
	s.Helper()
	topic, _ := s.catalog.Image().Topic(name)
	if topic.Partitions != want {
		s.Errorf("%s has %d partitions, want %d", name, topic.Partitions, want)
	}
	for i := range topic.Partitions {
		s.partition(topic, i) // it is open
	}
}

func TestCreatePartitionsEveryVersion(t *testing.T) {
	for version := int16(0); version <= 3; version++ {
		s := newStage(t)
		s.create("a", 1)
		s.create("b", 2)
		s.create("c", 1)
		got := s.grow(version, false, growTopic("c", 4), growTopic("b", 3, []int32{nodeID}), growTopic("none", 2))
		if len(got) != 3 || got[0].Topic != "c" || got[1].Topic != "b" || got[0].ErrorMessage != nil {
			t.Fatalf("v%d: %+v", version, got)
		}
		expectCode(t, "c", got[0].ErrorCode, nil)
		expectCode(t, "b", got[1].ErrorCode, nil)
		expectCode(t, "none", got[2].ErrorCode, kerr.UnknownTopicOrPartition)
		s.expectPartitions("a", 1)
		s.expectPartitions("b", 3)
		s.expectPartitions("c", 4)
		got = s.grow(version, true, growTopic("a", 2), growTopic("c", 4))
		expectCode(t, "a", got[0].ErrorCode, nil)
		expectCode(t, "c", got[1].ErrorCode, kerr.InvalidPartitions)
		s.expectPartitions("a", 1)
	}
}

func TestCreatePartitionsRefusals(t *testing.T) {
	empty := growTopic("a", 3)
	empty.Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{}
	for _, test := range []struct {
		name    string
		topic   kmsg.CreatePartitionsRequestTopic
		want    *kerr.Error
		message string
	}{
		{"unknown", growTopic("none", 3), kerr.UnknownTopicOrPartition, ""},
		{"as many", growTopic("a", 2), kerr.InvalidPartitions, "Topic already has 2 partition(s)."},
		{"fewer", growTopic("a", 1), kerr.InvalidPartitions, "The topic a currently has 2 partition(s); 1 would not be an increase."},
		{"negative", growTopic("a", -1), kerr.InvalidPartitions, "-1 would not be an increase"},
		{"more than there can be", growTopic("a", 1<<30), kerr.InvalidPartitions, "1048576"},
		{"too many at once", growTopic("a", 10_003), kerr.PolicyViolation, "Excessively large number"},
		{"the coordinator's", growTopic("__consumer_offsets", 9), kerr.InvalidPartitions, "would be lost"},
		{"no assignments", empty, kerr.InvalidReplicaAssignment, "Attempted to add 1 additional partition(s), but only 0 assignment(s) were specified."},
		{"too few assignments", growTopic("a", 4, []int32{nodeID}), kerr.InvalidReplicaAssignment, "only 1 assignment(s)"},
		{"another broker", growTopic("a", 3, []int32{9}), kerr.InvalidReplicaAssignment, "includes broker 9, but no such broker is registered"},
		{"no broker", growTopic("a", 3, []int32{}), kerr.InvalidReplicaAssignment, "empty replica list"},
		{"a broker twice", growTopic("a", 3, []int32{nodeID, nodeID}), kerr.InvalidReplicaAssignment, "more than once"},
	} {
		s := newStage(t)
		s.create("a", 2)
		s.create("good", 1)
		s.create("__consumer_offsets", 3)
		got := s.grow(3, false, test.topic, growTopic("good", 2))
		expectCode(t, test.name, got[0].ErrorCode, test.want)
		if !strings.Contains(stringOf(got[0].ErrorMessage), test.message) {
			t.Errorf("%s: message %q, want %q in it", test.name, stringOf(got[0].ErrorMessage), test.message)
		}
		expectCode(t, "the other beside "+test.name, got[1].ErrorCode, nil)
		s.expectPartitions("a", 2)
		s.expectPartitions("good", 2)
		s.expectPartitions("__consumer_offsets", 3)
	}
}

func TestCreatePartitionsNamedTwice(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	s.create("b", 1)
	got := s.grow(3, false, growTopic("a", 2), growTopic("b", 2), growTopic("a", 3))
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	expectCode(t, "a", got[0].ErrorCode, kerr.InvalidRequest)
	expectCode(t, "b", got[1].ErrorCode, nil)
	s.expectPartitions("a", 1)
}

func TestCreatePartitionsBeyondTheLimit(t *testing.T) {
	s := newStage(t, "max.partitions", "6")
	s.create("a", 1)
	s.create("b", 1)
	got := s.grow(3, false, growTopic("a", 4), growTopic("b", 4)) // each alone would have room
	expectCode(t, "a", got[0].ErrorCode, nil)
	expectCode(t, "b", got[1].ErrorCode, kerr.PolicyViolation)
	if !strings.Contains(stringOf(got[1].ErrorMessage), "limit of 6") || s.refused.Load() != 1 {
		t.Errorf("%d refused, message %q", s.refused.Load(), stringOf(got[1].ErrorMessage))
	}
	s.expectPartitions("a", 4)
	s.expectPartitions("b", 1)
}

// Between the look and the commit somebody else makes the topic as large: there is nothing left to do.
func TestCreatePartitionsAtTheSameTime(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	s.catalog.before = func() {
		if _, err := s.catalog.Commit(t.Context(), catalog.Any, catalog.SetPartitions{ID: topic.ID, Partitions: 2}); err != nil {
			t.Error(err)
		}
	}
	got := s.grow(3, false, growTopic("a", 2))
	expectCode(t, "a", got[0].ErrorCode, kerr.InvalidPartitions)
	s.expectPartitions("a", 2)
}

func TestCreatePartitionsOnAFailingDisk(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	s.catalog.fail = fmt.Errorf("%w: %w", kerr.KafkaStorageError, errDisk)
	got := s.grow(3, false, growTopic("a", 2), growTopic("none", 2))
	expectCode(t, "a", got[0].ErrorCode, kerr.KafkaStorageError)
	expectCode(t, "none", got[1].ErrorCode, kerr.UnknownTopicOrPartition)
}
