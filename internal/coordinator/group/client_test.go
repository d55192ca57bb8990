package group

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// client is a consumer as Java's is: it joins, assigns partitions when it leads, sends heartbeats, commits, perhaps in
// transactions, and starts anew when it is told to. It has one request under way at a time, and sees an answer only when it looks for it.
type client struct {
	sim         *simulation
	name, group string
	instance    *string
	cooperative bool
	session     time.Duration
	rebalance   time.Duration
	version     int16 // of JoinGroup

	memberID   string
	generation int32
	phase      phase
	token      coordinator.Token // of the request under way; 0 if there is none
	answer     any               // to it; nil if there is none yet
	lost       bool              // the connection broke
	leads      *kmsg.JoinGroupResponse
	owned      []int32
	position   map[int32]int64 // by partition, the offset that was committed last, as far as that is known
	beat       time.Time       // when the next heartbeat is due
	sleepUntil time.Time       // it hangs
	dead       bool

	producer producer
}

type phase int

const (
	joining phase = iota
	syncing
	working
)

// partitions is how many partitions the topic that all groups read has.
const partitions = 7

const topic = "t"

func (c *client) String() string { return fmt.Sprintf("%s (%s)", c.name, c.memberID) }

// act looks at an answer, if there is one, and sends the next request, if none is under way.
func (c *client) act() {
	if c.dead || c.sim.w.now.Before(c.sleepUntil) {
		return
	}
	if c.lost {
		c.token, c.answer, c.lost = 0, nil, false
		c.producer.doubtful = true
	}
	if c.answer != nil {
		answer := c.answer
		c.token, c.answer = 0, nil
		c.take(answer)
	}
	if c.token == 0 && !c.dead {
		c.send()
	}
}

// send sends what the client's phase asks for.
func (c *client) send() {
	switch c.phase {
	case joining:
		c.finish(!c.producer.doubtful && c.sim.rng.IntN(2) == 0)
		c.sim.send(c, c.joinRequest())
	case syncing:
		c.sim.send(c, c.syncRequest())
	case working:
		if !c.sim.w.now.Before(c.beat) {
			r := kmsg.NewPtrHeartbeatRequest()
			r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = 4, c.group, c.memberID, c.generation, c.instance
			c.sim.send(c, r)
			return
		}
		switch {
		case len(c.owned) == 0 || c.sim.rng.IntN(3) > 0:
		case c.producer.id != 0:
			c.transact()
		default:
			c.commit()
		}
	}
}

func (c *client) joinRequest() any {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.InstanceID = c.version, c.group, c.memberID, c.instance
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = int32(c.session.Milliseconds()), int32(c.rebalance.Milliseconds())
	r.ProtocolType = consumerProtocol
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics, m.Generation = 3, []string{topic}, c.generation
	if len(c.owned) > 0 {
		m.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: topic, Partitions: c.owned}}
	}
	name := "range"
	if c.cooperative {
		name = "cooperative"
	}
	r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: name, Metadata: m.AppendTo(nil)}}
	return r
}

func (c *client) syncRequest() any {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = 4, c.group, c.memberID, c.generation, c.instance
	if c.leads != nil {
		assignment := c.assign(c.leads.Members)
		for _, id := range slices.Sorted(maps.Keys(assignment)) {
			r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
				MemberID: id, MemberAssignment: partitionBytes(assignment[id]),
			})
		}
	}
	return r
}

// assign shares out the partitions. A cooperative one takes none from a member that still has it: that member gives it
// up first, and joins again.
func (c *client) assign(members []kmsg.JoinGroupResponseMember) map[string][]int32 {
	owner := map[int32]string{}
	newest := int32(-1)
	assignment := map[string][]int32{}
	for _, mb := range members {
		assignment[mb.MemberID] = nil
		var m kmsg.ConsumerMemberMetadata
		must(m.ReadFrom(mb.ProtocolMetadata))
		if len(m.OwnedPartitions) == 0 || m.Generation < newest {
			continue
		}
		if m.Generation > newest {
			clear(owner)
			newest = m.Generation
		}
		for _, p := range m.OwnedPartitions[0].Partitions {
			owner[p] = mb.MemberID
		}
	}
	for p := range int32(partitions) {
		id := members[int(p)%len(members)].MemberID
		if c.cooperative && owner[p] != "" && owner[p] != id {
			continue
		}
		assignment[id] = append(assignment[id], p)
	}
	return assignment
}

// commit commits how far the client has come in a partition, if it knows where it has begun.
func (c *client) commit() {
	p := c.owned[c.sim.rng.IntN(len(c.owned))]
	at, known := c.at(p)
	if !known {
		return
	}
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = 9, c.group, c.memberID, c.generation, c.instance
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset = p, at+1
	r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{rp}}}
	c.sim.send(c, r)
}

// take takes in an answer.
func (c *client) take(answer any) {
	switch m := answer.(type) {
	case *kmsg.JoinGroupResponse:
		if m.ErrorCode != 0 {
			if m.ErrorCode == kerr.MemberIDRequired.Code {
				c.memberID = m.MemberID
				return
			}
			c.refused(m.ErrorCode)
			return
		}
		if m.Generation != c.generation+1 { // others may have come further with what it has
			clear(c.position)
		}
		c.memberID, c.generation, c.phase, c.leads = m.MemberID, m.Generation, syncing, nil
		if m.LeaderID == m.MemberID && !m.SkipAssignment {
			c.leads = m
		}
	case *kmsg.SyncGroupResponse:
		if m.ErrorCode != 0 {
			c.refused(m.ErrorCode)
			return
		}
		c.phase = working
		c.beat = c.sim.w.now.Add(min(c.session, c.rebalance) / 3)
		c.own(partitionsOf(m.MemberAssignment))
	case *kmsg.HeartbeatResponse:
		c.beat = c.sim.w.now.Add(min(c.session, c.rebalance) / 3)
		c.refused(m.ErrorCode)
	case *kmsg.OffsetCommitResponse:
		p := m.Topics[0].Partitions[0]
		c.refused(p.ErrorCode)
		if p.ErrorCode == 0 {
			c.position[p.Partition]++
		}
	case *kmsg.TxnOffsetCommitResponse:
		p := m.Topics[0].Partitions[0]
		c.refused(p.ErrorCode)
		if p.ErrorCode != 0 {
			return
		}
		if _, open := c.sim.transactions[c.producer.id]; open {
			c.producer.sent[p.Partition] = c.producer.asks
		}
	}
}

// own takes over an assignment. A cooperative consumer that has lost something joins again, to say so.
func (c *client) own(assigned []int32) {
	for _, p := range assigned {
		if !slices.Contains(c.owned, p) {
			delete(c.position, p)
			c.at(p)
		}
	}
	lost := slices.ContainsFunc(c.owned, func(p int32) bool { return !slices.Contains(assigned, p) })
	c.owned = assigned
	if c.cooperative && lost {
		c.phase = joining
	}
}

// rejoin has the client join again.
func (c *client) rejoin() {
	c.phase = joining
	if !c.cooperative {
		c.owned = nil
	}
}

// refused does what a consumer does when it is told that it is out of date.
func (c *client) refused(code int16) {
	if code == 0 {
		return
	}
	switch err := kerr.ErrorForCode(code); err {
	case kerr.RebalanceInProgress:
		c.rejoin()
	case kerr.UnknownMemberID, kerr.IllegalGeneration:
		c.phase, c.owned, c.generation = joining, nil, -1
		if err == kerr.UnknownMemberID {
			c.memberID = ""
		}
	case kerr.FencedInstanceID, kerr.GroupMaxSizeReached:
		c.dead = true
	default:
		c.sim.w.t.Fatalf("%s is told %v", c, err)
	}
}

// partitionBytes is an assignment as the simulated consumers write it.
func partitionBytes(ps []int32) []byte { return bytes.Trim([]byte(fmt.Sprint(ps)), "[]") }

func partitionsOf(b []byte) []int32 {
	var ps []int32
	for _, f := range strings.Fields(string(b)) {
		var p int32
		_, err := fmt.Sscan(f, &p)
		must(err)
		ps = append(ps, p)
	}
	return ps
}

// newClient returns a client that has not joined yet.
func newClient(s *simulation, rng *rand.Rand, n int) *client {
	g := rng.IntN(groupsInSimulation)
	c := &client{
		sim: s, name: fmt.Sprintf("c%d", n), group: fmt.Sprintf("g%d", g), cooperative: g == 0,
		session: time.Duration(6+rng.IntN(6)) * time.Second, rebalance: time.Duration(500+rng.IntN(20_000)) * time.Millisecond,
		version: int16(2 + rng.IntN(8)), generation: -1, position: map[int32]int64{},
	}
	if rng.IntN(3) == 0 && c.version >= 5 {
		c.instance = pointer(c.name)
	}
	if rng.IntN(2) == 0 {
		c.producer.id = int64(n)
	}
	return c
}
