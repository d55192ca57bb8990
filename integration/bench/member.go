//go:build linux

package main

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// member is a member of a group by the classic protocol that has nothing else to do.
type member struct {
	wire       *wire
	group, id  string
	generation int32
	assigned   []byte
}

func newMember(addr, group string) (*member, error) {
	w, err := dial(addr)
	if err != nil {
		return nil, err
	}
	return &member{wire: w, group: group}, nil
}

// heartbeatEvery is how often a member that is settled asks whether the others are. It is shorter than clients' own, which
// would be most of what is measured.
const heartbeatEvery = 200 * time.Millisecond

// settling notes the generations that members have come to.
type settling struct {
	mu      sync.Mutex
	at      map[*member]int32
	members int
	done    chan struct{} // closed when all are at the same one
}

func (s *settling) note(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[m] = m.generation
	if len(s.at) < s.members {
		return
	}
	for _, g := range s.at {
		if g != m.generation {
			return
		}
	}
	select {
	case <-s.done:
	default:
		close(s.done)
	}
}

// settle has members go through rebalances until all of them have the assignment of one generation.
func settle(ctx context.Context, members []*member) error {
	s := &settling{at: map[*member]int32{}, members: len(members), done: make(chan struct{})}
	all, ctx := errgroup.WithContext(ctx)
	for _, m := range members {
		all.Go(func() error { return m.settle(ctx, s) })
	}
	return all.Wait()
}

func (m *member) settle(ctx context.Context, s *settling) error {
	for {
		if err := m.rebalance(ctx); err != nil {
			return err
		}
		s.note(m)
		for stable := true; stable; {
			select {
			case <-s.done:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(heartbeatEvery):
			}
			switch err := m.heartbeat(); err {
			case nil:
			case kerr.RebalanceInProgress, kerr.IllegalGeneration:
				stable = false
			default:
				return err
			}
		}
	}
}

// rebalance joins until it has an assignment.
func (m *member) rebalance(ctx context.Context) error {
	for ctx.Err() == nil {
		joined, err := m.join()
		switch err {
		case nil:
		case kerr.MemberIDRequired:
			m.id = joined.MemberID
			continue
		case kerr.UnknownMemberID:
			m.id = ""
			continue
		case kerr.RebalanceInProgress, kerr.CoordinatorLoadInProgress:
			continue
		default:
			return err
		}
		m.id, m.generation = joined.MemberID, joined.Generation
		switch err := m.sync(joined); err {
		case nil:
			return nil
		case kerr.RebalanceInProgress, kerr.IllegalGeneration:
		default:
			return err
		}
	}
	return ctx.Err()
}

// subscription is what a consumer of the topic sends with its JoinGroup.
func subscription() []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Topics = 1, []string{topicName}
	return meta.AppendTo(nil)
}

func (m *member) join() (*kmsg.JoinGroupResponse, error) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 7, m.group, m.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(45*time.Second/time.Millisecond), int32(patience/time.Millisecond)
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", subscription()
	req.Protocols = append(req.Protocols, p)
	resp, err := ask[*kmsg.JoinGroupResponse](m.wire, req)
	if err != nil {
		return nil, err
	}
	return resp, kerr.ErrorForCode(resp.ErrorCode)
}

// sync sends the assignment if the member leads, one partition to a member, and waits for its own.
func (m *member) sync(joined *kmsg.JoinGroupResponse) error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 5, m.group, m.id, joined.Generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), joined.Protocol
	for i, other := range joined.Members {
		share := kmsg.NewConsumerMemberAssignment()
		if i < topicParts {
			topic := kmsg.NewConsumerMemberAssignmentTopic()
			topic.Topic, topic.Partitions = topicName, []int32{int32(i)}
			share.Topics = append(share.Topics, topic)
		}
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = other.MemberID, share.AppendTo(nil)
		req.GroupAssignment = append(req.GroupAssignment, a)
	}
	resp, err := ask[*kmsg.SyncGroupResponse](m.wire, req)
	if err != nil {
		return err
	}
	m.assigned = resp.MemberAssignment
	return kerr.ErrorForCode(resp.ErrorCode)
}

func (m *member) heartbeat() error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, m.group, m.id, m.generation
	resp, err := ask[*kmsg.HeartbeatResponse](m.wire, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}
