//go:build integration && unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// try sends a request and waits for its answer, and fails no test.
func try[R kmsg.Response](w *wire, req kmsg.Request) (resp R, err error) {
	if _, err := w.conn.Write(w.formatter.AppendRequest(nil, req, w.next)); err != nil {
		return resp, err
	}
	w.next++
	w.asked = append(w.asked, req)
	any, err := w.tryReceive()
	if err != nil {
		return resp, err
	}
	return any.(R), nil
}

// commitRequest commits one offset, for a member or, if generation is -1, for nobody.
func commitRequest(group, member string, generation int32, topic string, partition int32, offset int64, metadata string) *kmsg.OffsetCommitRequest {
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata = partition, offset, &metadata
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 9, group, member, generation
	req.Topics = append(req.Topics, t)
	return req
}

// commit commits one offset as commitRequest says.
func (w *wire) commit(group, member string, generation int32, topic string, partition int32, offset int64, metadata string) error {
	resp, err := try[*kmsg.OffsetCommitResponse](w, commitRequest(group, member, generation, topic, partition, offset, metadata))
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// committed asks for one offset that a group has committed; -1 if it has none.
func (w *wire) committed(group, topic string, partition int32) (offset int64, metadata string, err error) {
	t := kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.Partitions = topic, []int32{partition}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, append(g.Topics, t)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Groups = 9, append(req.Groups, g)
	resp, err := try[*kmsg.OffsetFetchResponse](w, req)
	if err != nil {
		return 0, "", err
	}
	if err := kerr.ErrorForCode(resp.Groups[0].ErrorCode); err != nil {
		return 0, "", err
	}
	p := resp.Groups[0].Topics[0].Partitions[0]
	if p.Metadata != nil {
		metadata = *p.Metadata
	}
	return p.Offset, metadata, kerr.ErrorForCode(p.ErrorCode)
}

// seat is a member of a group that a test makes by hand: it owns what the leader, who is a seat as well, gives it.
type seat struct {
	w     *wire
	group string

	mu         sync.Mutex
	id         string
	generation int32
	assignment string // "" while there is none
}

const seatSession = patience

// take joins the group and waits for an assignment. It tries again while members come and go.
func (s *seat) take() error {
	s.set(s.id, s.generation, "")
	for {
		joined, err := s.join()
		if err != nil {
			return fmt.Errorf("join group %q: %w", s.group, err)
		}
		assignment, err := s.sync(joined)
		if err == nil {
			s.set(s.id, s.generation, assignment)
			return nil
		}
		if !errors.Is(err, kerr.RebalanceInProgress) {
			return fmt.Errorf("sync group %q: %w", s.group, err)
		}
	}
}

func (s *seat) set(id string, generation int32, assignment string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id, s.generation, s.assignment = id, generation, assignment
}

// standing returns the generation and the assignment.
func (s *seat) standing() (int32, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation, s.assignment
}

func (s *seat) join() (*kmsg.JoinGroupResponse, error) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.ProtocolType = 9, s.group, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(seatSession.Milliseconds()), int32(seatSession.Milliseconds())
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", (&kmsg.ConsumerMemberMetadata{Topics: []string{"t"}}).AppendTo(nil)
	req.Protocols = append(req.Protocols, protocol)
	for {
		req.MemberID = s.id
		resp, err := try[*kmsg.JoinGroupResponse](s.w, req)
		if err != nil {
			return nil, err
		}
		switch err := kerr.ErrorForCode(resp.ErrorCode); {
		case err == nil:
			s.set(resp.MemberID, resp.Generation, "")
			return resp, nil
		case errors.Is(err, kerr.MemberIDRequired):
			s.set(resp.MemberID, 0, "")
		default:
			return nil, err
		}
	}
}

// sync waits for the assignment; the leader hands out what each member gets.
func (s *seat) sync(joined *kmsg.JoinGroupResponse) (string, error) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 5, s.group, s.id, s.generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), joined.Protocol
	for i, member := range joined.Members {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = member.MemberID, fmt.Appendf(nil, "%d of %d in %d", i, len(joined.Members), s.generation)
		req.GroupAssignment = append(req.GroupAssignment, a)
	}
	resp, err := try[*kmsg.SyncGroupResponse](s.w, req)
	if err != nil {
		return "", err
	}
	return string(resp.MemberAssignment), kerr.ErrorForCode(resp.ErrorCode)
}

func (s *seat) heartbeat() error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, s.group, s.id, s.generation
	resp, err := try[*kmsg.HeartbeatResponse](s.w, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// keep holds the seat until the context ends: it sends heartbeats, and joins again when it is told to.
func (s *seat) keep(ctx context.Context, every time.Duration) error {
	if err := s.take(); err != nil {
		return err
	}
	for pass(ctx.Done(), every) {
		err := s.heartbeat()
		if errors.Is(err, kerr.RebalanceInProgress) {
			err = s.take()
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// awaitGroups waits until groups are served: once somebody has looked for a coordinator, and it has loaded what there is.
func (b *broker) awaitGroups(t testing.TB) {
	t.Helper()
	w := b.dial(t)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKeys = 4, []string{"any"}
	expectCode(t, "find a coordinator", ask[*kmsg.FindCoordinatorResponse](w, find).Coordinators[0].ErrorCode, nil)
	list := kmsg.NewPtrListGroupsRequest()
	list.Version = 4
	eventually(t, patience, "all groups are loaded", func() bool { return ask[*kmsg.ListGroupsResponse](w, list).ErrorCode == 0 })
}

// seats opens so many connections, each for a member of a group.
func (b *broker) seats(t testing.TB, n int, group string) []*seat {
	t.Helper()
	b.awaitGroups(t)
	all := make([]*seat, n)
	for i := range all {
		all[i] = &seat{w: b.dial(t), group: group}
	}
	return all
}

func (s *seat) leave() error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, s.group
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID = s.id
	req.Members = append(req.Members, member)
	resp, err := try[*kmsg.LeaveGroupResponse](s.w, req)
	if err != nil {
		return err
	}
	return errors.Join(kerr.ErrorForCode(resp.ErrorCode), kerr.ErrorForCode(resp.Members[0].ErrorCode))
}
