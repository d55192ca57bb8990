package handler

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/coordinator"
)

// codesIn lists the error codes of an answer.
func codesIn(resp kmsg.Response) (codes []int16) {
	switch resp := resp.(type) {
	case *kmsg.JoinGroupResponse:
		return []int16{resp.ErrorCode}
	case *kmsg.SyncGroupResponse:
		return []int16{resp.ErrorCode}
	case *kmsg.HeartbeatResponse:
		return []int16{resp.ErrorCode}
	case *kmsg.LeaveGroupResponse:
		return []int16{resp.ErrorCode}
	case *kmsg.ListGroupsResponse:
		return []int16{resp.ErrorCode}
	case *kmsg.OffsetDeleteResponse:
		return []int16{resp.ErrorCode}
	case *kmsg.DeleteGroupsResponse:
		for _, g := range resp.Groups {
			codes = append(codes, g.ErrorCode)
		}
	case *kmsg.DescribeGroupsResponse:
		for _, g := range resp.Groups {
			codes = append(codes, g.ErrorCode)
		}
	case *kmsg.OffsetCommitResponse:
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
	case *kmsg.OffsetFetchResponse:
		switch {
		case resp.Version >= fetchGroupsVersion:
			for _, g := range resp.Groups {
				codes = append(codes, g.ErrorCode)
			}
		case resp.Version >= fetchGroupVersion:
			codes = []int16{resp.ErrorCode}
		default:
			for _, topic := range resp.Topics {
				for _, p := range topic.Partitions {
					codes = append(codes, p.ErrorCode)
				}
			}
		}
	}
	return codes
}

// groupRequests is one request for each API of groups, about a group.
func groupRequests(a *catalog.Topic, id string) []kmsg.Request {
	fetch := fetchRequest(id, fetchTopic("a", a.ID, 0))
	describe, list := kmsg.NewPtrDescribeGroupsRequest(), kmsg.NewPtrListGroupsRequest()
	describe.Groups = []string{id}
	remove, offsets := kmsg.NewPtrDeleteGroupsRequest(), kmsg.NewPtrOffsetDeleteRequest()
	remove.Groups, offsets.Group = []string{id}, id
	joined := &kmsg.JoinGroupResponse{MemberID: "m"}
	return []kmsg.Request{
		joinRequest(id, "m"), syncRequest(joined, id), heartbeatRequest(id, "m", 1), leaveRequest(id, "m"),
		commitRequest(id, commitTopic("a", a.ID, 0)), fetch, describe, list, remove, offsets,
	}
}

// Why the coordinator cannot answer is said in each version of each API where it has its place.
func TestCoordinatorErrors(t *testing.T) {
	s := newGroupStage(t)
	a, _ := s.catalog.Image().Topic("a")
	wrap := func(err error) error { return fmt.Errorf("shard 4: %w", err) }
	for _, test := range []struct {
		err  error
		want *kerr.Error
	}{
		{wrap(coordinator.ErrLoading), kerr.CoordinatorLoadInProgress},
		{wrap(coordinator.ErrNotCoordinator), kerr.NotCoordinator},
		{wrap(coordinator.ErrUnavailable), kerr.CoordinatorNotAvailable},
		{context.DeadlineExceeded, kerr.CoordinatorNotAvailable},
		{context.Canceled, kerr.RequestTimedOut},
		{wrap(coordinator.ErrTooLarge), kerr.UnknownServerError},
		{wrap(coordinator.ErrPanicked), kerr.UnknownServerError},
	} {
		s.groups.fail.Store(&test.err)
		for _, m := range groupRequests(a, "g") {
			want := test.want
			switch {
			case m.Key() == int16(kmsg.Heartbeat) && want == kerr.CoordinatorLoadInProgress:
				want = nil
			case m.Key() == int16(kmsg.OffsetFetch) && want == kerr.CoordinatorNotAvailable:
				want = kerr.NotCoordinator
			}
			for version := int16(0); version <= s.rows[m.Key()].Max; version++ {
				codes := codesIn(s.ask(m, version))
				if len(codes) != 1 {
					t.Fatalf("%T v%d: %d codes", m, version, len(codes))
				}
				expectCode(t, fmt.Sprintf("%v: %T v%d", test.err, m, version), codes[0], want)
			}
		}
	}
}

// Members need a group with a name, loaded or not. To commit, fetch, describe and delete, the empty one is a group.
func TestEmptyGroupID(t *testing.T) {
	s := newGroupStage(t)
	a, _ := s.catalog.Image().Topic("a")
	for _, err := range []error{nil, coordinator.ErrLoading} {
		if err != nil {
			s.groups.fail.Store(&err)
		}
		for _, m := range groupRequests(a, "") {
			var want *kerr.Error
			switch m.(type) {
			case *kmsg.JoinGroupRequest, *kmsg.SyncGroupRequest, *kmsg.HeartbeatRequest, *kmsg.LeaveGroupRequest, *kmsg.OffsetDeleteRequest:
				want = kerr.InvalidGroupID
			default:
				if err != nil {
					want = kerr.CoordinatorLoadInProgress
				}
			}
			if commit, ok := m.(*kmsg.OffsetCommitRequest); ok {
				commit.MemberID, commit.Generation = "", -1
			}
			if resp := s.ask(m, s.rows[m.Key()].Max); codesIn(resp)[0] != 0 || want != nil {
				expectCode(t, fmt.Sprintf("%T (%v)", m, err), codesIn(resp)[0], want)
			}
		}
	}
}

// A reply of a kind that does not belong to the command is the broker's fault, and no panic.
func TestOddReply(t *testing.T) {
	s := newGroupStage(t)
	c := &groupCommands{log: zerolog.Nop(), broker: t.Context(), groups: s.groups, patience: func() time.Duration { return time.Minute }}
	_, err := query[*kmsg.HeartbeatResponse](t.Context(), c, "g", joinRequest("g", "m"))
	if !errors.Is(err, kerr.UnknownServerError) {
		t.Errorf("%v", err)
	}
}
