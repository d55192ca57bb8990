package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The kinds of coordinators.
const (
	groupKind       = 0
	transactionKind = 1
)

// findCoordinator asks for the coordinator of a group or a transactional id, which makes its topic, and says whether there
// is one.
func (c *user) findCoordinator(kind int8, key string) (bool, error) {
	t := offsetsTopic()
	if kind == transactionKind {
		t = transactionStateTopic()
	}
	unlock := c.lock()
	c.ledger.topics.creating(t)
	unlock()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKey = kind, key
	resp, err := ask[*kmsg.FindCoordinatorResponse](c.wire, req, 3)
	if err != nil {
		return false, err
	}
	defer c.lock()()
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case err == nil:
		is, ok := c.broker.catalog.Image().Topic(t.name)
		if !ok {
			c.violated("there is a coordinator, and no topic %s", t.name)
			return false, nil
		}
		t.id = is.ID
		_, known := c.ledger.topics.live[t.id]
		c.ledger.topics.created(t)
		if known {
			c.ledger.topics.refused(t) // it was there before
		}
		return true, nil
	case c.faulty && err == kerr.CoordinatorNotAvailable: // the topic may be there after all
	default:
		c.violated("find the coordinator of %s: %w", key, err)
	}
	return false, nil
}

// excusedGroup says whether an answer of the coordinator's is none because it is loading, or about to (another client has
// __consumer_offsets made), or because its disk is failing.
func (c *user) excusedGroup(err error) bool {
	return err == kerr.CoordinatorLoadInProgress || err == kerr.NotCoordinator || c.faulty && err == kerr.CoordinatorNotAvailable
}

// commit commits offsets of a group that the user alone commits for.
func (c *user) commit() error {
	group := fmt.Sprintf("g%d-%d", c.number, c.rand.IntN(3))
	if ok, err := c.findCoordinator(groupKind, group); !ok {
		return err
	}
	for range 1 + c.rand.IntN(3) {
		t, ok := c.pick()
		if !ok {
			return nil
		}
		at := committedAt{group, place{t.id, c.rand.Int32N(t.partitions)}}
		offset := int64(c.values.next())
		unlock := c.lock()
		c.ledger.groups.committing(at, t, offset)
		unlock()
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = group, -1
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = at.partition, offset
		req.Topics = []kmsg.OffsetCommitRequestTopic{{TopicID: t.id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
		resp, err := ask[*kmsg.OffsetCommitResponse](c.wire, req, 10)
		if err != nil {
			return err
		}
		switch err := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); {
		case err == nil:
			unlock := c.lock()
			c.ledger.groups.committed(at, offset)
			unlock()
			if c.rand.IntN(2) == 0 {
				if err := c.recall(at, t, offset); err != nil {
					return err
				}
			}
		case !c.excused(t, err) && !c.excusedGroup(err):
			c.violated("commit for %s-%d of group %s: %w", t, at.partition, group, err)
		}
	}
	return nil
}

// recall fetches an offset that was committed.
func (c *user) recall(at committedAt, t topic, want int64) error {
	is, err := fetchOffset(c.wire, at)
	switch err.(type) {
	case nil:
		unlock := c.lock()
		defer unlock()
		if is != want && !c.ledger.topics.gone[t.id] && !c.ledger.topics.deleting[t.id] {
			c.violated("group %s has committed %d for %s-%d, and is told %d", at.group, want, t, at.partition, is)
		}
		return nil
	case *kerr.Error:
		if !c.excused(t, err) && !c.excusedGroup(err) {
			c.violated("fetch the offset of group %s for %s-%d: %w", at.group, t, at.partition, err)
		}
		return nil
	}
	return err
}

// rebalance has the only member of a group join it again, and take its assignment.
func (c *user) rebalance() error {
	group := fmt.Sprintf("m%d", c.number)
	if ok, err := c.findCoordinator(groupKind, group); !ok {
		return err
	}
	unlock := c.lock()
	m := c.ledger.groups.members[group]
	unlock()
	if m == nil {
		m = &toldMember{}
	}
	joined, err := c.join(group, m.id)
	if err != nil || joined == nil {
		return err
	}
	switch err := kerr.ErrorForCode(joined.ErrorCode); {
	case err == nil:
	case err == kerr.UnknownMemberID && m.told == 0 && m.id != "": // the answer to its first JoinGroup is all that it had
		c.note(group, &toldMember{})
		return nil
	default:
		if !c.excusedGroup(err) {
			c.violated("join group %s as member %q: %w", group, m.id, err)
		}
		return nil
	}
	if joined.Generation <= m.told {
		c.violated("group %s is at generation %d, it was at %d", group, joined.Generation, m.told)
	}
	next := &toldMember{joined.MemberID, m.told, append(m.asked[:len(m.asked):len(m.asked)], joined.Generation)}
	c.note(group, next)
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = group, joined.MemberID, joined.Generation
	req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: []byte("all")}}
	resp, err := ask[*kmsg.SyncGroupResponse](c.wire, req, 3)
	if err != nil {
		return err
	}
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case err == nil:
		c.note(group, &toldMember{id: joined.MemberID, told: joined.Generation})
	case !c.excusedGroup(err) && !(c.faulty && (err == kerr.UnknownMemberID || err == kerr.IllegalGeneration)):
		c.violated("sync group %s as member %q: %w", group, next.id, err)
	}
	return nil
}

// note notes what a member knows.
func (c *user) note(group string, m *toldMember) {
	defer c.lock()()
	c.ledger.groups.members[group] = m
}

func (c *user) join(group, member string) (*kmsg.JoinGroupResponse, error) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = group, member, "consumer"
	// Who has not come to SyncGroup by then is put out, which must not happen to a test that is slow; and whose id was
	// lost with an answer is waited for until then.
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 1_800_000, int32(patience.Milliseconds()/2)
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}
	return ask[*kmsg.JoinGroupResponse](c.wire, req, 3)
}
