package handler

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

// named and byID are topics of a request of version 6.
func named(name string) kmsg.DeleteTopicsRequestTopic {
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = &name
	return t
}

func byID(id [16]byte) kmsg.DeleteTopicsRequestTopic {
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.TopicID = id
	return t
}

func deleteRequest(topics ...kmsg.DeleteTopicsRequestTopic) *kmsg.DeleteTopicsRequest {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics = topics
	for _, t := range topics {
		if t.Topic != nil {
			req.TopicNames = append(req.TopicNames, *t.Topic)
		}
	}
	return req
}

func (s *stage) deleteTopics(req *kmsg.DeleteTopicsRequest, version int16) []kmsg.DeleteTopicsResponseTopic {
	s.Helper()
	return s.ask(req, version).(*kmsg.DeleteTopicsResponse).Topics
}

func TestDeleteTopicsEveryVersion(t *testing.T) {
	for version := int16(0); version <= 6; version++ {
		s := newStage(t)
		a := s.create("a", 1)
		s.create("b", 1)
		got := s.deleteTopics(deleteRequest(named("a"), named("nope")), version)
		if len(got) != 2 || stringOf(got[0].Topic) != "a" || stringOf(got[1].Topic) != "nope" {
			t.Fatalf("v%d: %+v", version, got)
		}
		expectCode(t, "a", got[0].ErrorCode, nil)
		expectCode(t, "nope", got[1].ErrorCode, kerr.UnknownTopicOrPartition)
		if version >= 5 && (got[0].ErrorMessage != nil || got[1].ErrorMessage == nil) {
			t.Errorf("v%d: messages %s and %s", version, stringOf(got[0].ErrorMessage), stringOf(got[1].ErrorMessage))
		}
		if version >= 6 && got[0].TopicID != a.ID {
			t.Errorf("v%d: topic id %x, want %x", version, got[0].TopicID, a.ID)
		}
		if names := topicNames(s.catalog.Image()); !slices.Equal(names, []string{"b"}) {
			t.Errorf("v%d: topics are now %v", version, names)
		}
		if deleting := s.catalog.Image().Deleting(); len(deleting) != 1 || deleting[0].ID != a.ID {
			t.Errorf("v%d: being deleted: %v", version, deleting)
		}
	}
}

func TestDeleteTopicsByID(t *testing.T) {
	s := newStage(t)
	a, b, c := s.create("a", 1), s.create("b", 1), s.create("c", 1)
	s.create("d", 1)
	unknown := catalog.NewTopicID()
	both := named("d")
	both.TopicID = unknown
	got := s.deleteTopics(deleteRequest(
		byID(a.ID), byID(unknown), byID([16]byte{}), both, // one for each outcome
		byID(b.ID), named("b"), // the same topic twice
		byID(c.ID), byID(c.ID),
		named("x"), named("x"),
	), 6)
	want := []struct {
		name string
		id   [16]byte
		code *kerr.Error
	}{
		{"a", a.ID, nil}, {"<nil>", unknown, kerr.UnknownTopicID}, {"<nil>", [16]byte{}, kerr.InvalidRequest},
		{"d", unknown, kerr.InvalidRequest}, {"b", b.ID, kerr.InvalidRequest}, {"b", b.ID, kerr.InvalidRequest},
		{"<nil>", c.ID, kerr.InvalidRequest}, {"x", [16]byte{}, kerr.InvalidRequest},
	}
	if len(got) != len(want) {
		t.Fatalf("%d answers, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		expectCode(t, w.name, got[i].ErrorCode, w.code)
		if stringOf(got[i].Topic) != w.name || got[i].TopicID != w.id {
			t.Errorf("answer %d is for %s with id %x, want %s with %x", i, stringOf(got[i].Topic), got[i].TopicID, w.name, w.id)
		}
	}
	if names := topicNames(s.catalog.Image()); !slices.Equal(names, []string{"b", "c", "d"}) {
		t.Errorf("topics are now %v", names)
	}
}

func TestDeleteTopicsDisabled(t *testing.T) {
	s := newStage(t, "delete.topic.enable", "false")
	s.create("a", 1)
	for version := int16(0); version <= 6; version++ {
		want := kerr.TopicDeletionDisabled
		if version < 3 {
			want = kerr.InvalidRequest
		}
		expectCode(t, "a", s.deleteTopics(deleteRequest(named("a")), version)[0].ErrorCode, want)
	}
	if names := topicNames(s.catalog.Image()); !slices.Equal(names, []string{"a"}) {
		t.Errorf("topics are now %v", names)
	}
}

func TestDeleteTopicsIsOvertaken(t *testing.T) {
	s := newStage(t)
	a := s.create("a", 1)
	s.create("b", 1)
	s.catalog.before = func() { s.catalog.Commit(t.Context(), catalog.Any, catalog.DeleteTopic{ID: a.ID}) }
	got := s.deleteTopics(deleteRequest(named("a"), named("b")), 6)
	expectCode(t, "a", got[0].ErrorCode, kerr.UnknownTopicOrPartition)
	expectCode(t, "b", got[1].ErrorCode, nil)
}

func TestDeleteTopicsWhenTheCatalogFails(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	s.catalog.fail = errDisk
	got := s.deleteTopics(deleteRequest(named("a"), named("x")), 6)
	expectCode(t, "a", got[0].ErrorCode, kerr.UnknownServerError)
	expectCode(t, "x", got[1].ErrorCode, kerr.UnknownTopicOrPartition)
}
