package handler

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

// creationOf asks for topics of so many partitions each.
func creationOf(partitions int32, names ...string) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
		req.Topics = append(req.Topics, t)
	}
	return req
}

func namedMetadata(names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	for _, name := range names {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: &name})
	}
	return req
}

// Topics that would be too many partitions are refused with an error that says which setting to raise, those that fit
// are made, and those that there are go on.
func TestPartitionLimit(t *testing.T) {
	s := newStage(t, "max.partitions", "5") // num.partitions is 2
	resp := s.ask(creationOf(2, "a", "b", "c"), 7).(*kmsg.CreateTopicsResponse)
	expectCode(t, "a", resp.Topics[0].ErrorCode, nil)
	expectCode(t, "b", resp.Topics[1].ErrorCode, nil)
	expectCode(t, "c", resp.Topics[2].ErrorCode, kerr.PolicyViolation)
	for _, want := range []string{"'c'", "limit of 5", "max.partitions"} {
		if text := *resp.Topics[2].ErrorMessage; !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	validate := creationOf(2, "c")
	validate.ValidateOnly = true
	expectCode(t, "validated", s.ask(validate, 7).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode, kerr.PolicyViolation)

	for version := int16(0); version <= 13; version++ {
		topics := s.ask(namedMetadata("a", "d"), version).(*kmsg.MetadataResponse).Topics
		expectCode(t, "a", topics[0].ErrorCode, nil)
		expectCode(t, "d", topics[1].ErrorCode, kerr.PolicyViolation)
	}
	expectCode(t, "one that fits", s.ask(creationOf(1, "e"), 7).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode, nil)
	if n := s.catalog.Image().Partitions(); n != 5 {
		t.Errorf("%d partitions", n)
	}
	if n := s.refused.Load(); n != 16 {
		t.Errorf("%d refusals counted, want 16", n)
	}

	// What the broker needs for itself has some room behind the limit, and no more.
	expectCode(t, "internal", s.ask(creationOf(50, "__consumer_offsets"), 7).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode, nil)
	expectCode(t, "internal, too large", s.ask(creationOf(internalRoom, "__transaction_state"), 7).(*kmsg.CreateTopicsResponse).
		Topics[0].ErrorCode, kerr.PolicyViolation)
}

// Of many who create at the same time no more pass than there is room for.
func TestPartitionLimitUnderConcurrency(t *testing.T) {
	const room = 20
	s := newStage(t, "max.partitions", fmt.Sprint(room), "num.partitions", "1")
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for j := range room {
				r := s.request(namedMetadata(fmt.Sprintf("t-%d-%d", i, j)), 9)
				if i%2 == 0 {
					r = s.request(creationOf(1, fmt.Sprintf("t-%d-%d", i, j)), 5)
				}
				if _, err := s.rows[r.Key].Handle(s.Context(), r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	if n := s.catalog.Image().Partitions(); n != room {
		t.Errorf("%d partitions, want %d", n, room)
	}
}

// Somebody else takes the last place between the judgement and the commit.
func TestPartitionLimitIsCheckedWithTheCommit(t *testing.T) {
	s := newStage(t, "max.partitions", "1")
	s.catalog.mu.Lock()
	s.catalog.before = func() { s.create("first", 1) }
	s.catalog.mu.Unlock()
	resp := s.ask(creationOf(1, "second"), 7).(*kmsg.CreateTopicsResponse)
	expectCode(t, "second", resp.Topics[0].ErrorCode, kerr.PolicyViolation)
	if _, there := s.catalog.Image().Topic("second"); there {
		t.Error("it was made")
	}
	var none *catalog.Image
	if err := (&partitionLimit{}).check(none, "any", 1); err != nil {
		t.Errorf("without a limit: %v", err)
	}
}
