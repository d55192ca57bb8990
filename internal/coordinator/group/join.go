package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// join handles JoinGroup.
func (m *Machine) join(t coordinator.Token, c Client, req *kmsg.JoinGroupRequest) {
	refuse := func(memberID string, err *kerr.Error) { m.Reply(t, joinError(req.Version, memberID, err)) }
	if err := m.checkJoin(c, req); err != nil {
		refuse(req.MemberID, err)
		return
	}
	g := m.groups[req.Group]
	switch {
	case g == nil && req.MemberID != "":
		refuse(req.MemberID, kerr.UnknownMemberID)
	case g == nil && (req.ProtocolType == "" || len(req.Protocols) == 0):
		// Kafka makes the group all the same. Requests that are refused leave nothing behind here.
		refuse("", kerr.InconsistentGroupProtocol)
	case g == nil:
		g = m.newGroup(req.Group)
		m.enter(g, Empty)
		m.Write(groupRecord(g))
		m.joinNew(g, t, c, req)
	case !m.accepts(g, req.MemberID):
		m.turnAway(g, req.MemberID)
		refuse("", kerr.GroupMaxSizeReached)
	case !g.supports(req.ProtocolType, req.Protocols):
		refuse(req.MemberID, kerr.InconsistentGroupProtocol)
	case req.MemberID == "":
		m.joinNew(g, t, c, req)
	default:
		m.joinAgain(g, t, c, req)
	}
}

// checkJoin refuses what no group could take.
func (m *Machine) checkJoin(c Client, req *kmsg.JoinGroupRequest) *kerr.Error {
	if err := checkGroupID(req.Group); err != nil {
		return err
	}
	session := millis32(req.SessionTimeoutMillis)
	if session < m.opts.MinSession || session > m.opts.MaxSession {
		return kerr.InvalidSessionTimeout
	}
	if tooLong(req.MemberID, req.ProtocolType, c.ID, c.Host) || req.InstanceID != nil && tooLong(*req.InstanceID) {
		return kerr.InvalidRequest
	}
	if len(req.Protocols) > maxProtocols {
		return kerr.InvalidRequest
	}
	size := 0
	for _, p := range req.Protocols {
		if p.Name == "" || tooLong(p.Name) {
			return kerr.InconsistentGroupProtocol
		}
		size += len(p.Metadata)
	}
	if size > maxMetadata {
		return kerr.InvalidRequest
	}
	return nil
}

// checkGroupID refuses group ids that cannot have members.
func checkGroupID(id string) *kerr.Error {
	if id == "" || tooLong(id) {
		return kerr.InvalidGroupID
	}
	return nil
}

// tooLong says whether a string cannot be written into a record.
func tooLong(ss ...string) bool {
	for _, s := range ss {
		if len(s) > maxString {
			return true
		}
	}
	return false
}

// accepts says whether a group has room for who joins. While a rebalance is prepared those count that have joined it:
// so when group.max.size was lowered, the last to come back are the ones that have to go.
func (m *Machine) accepts(g *group, memberID string) bool {
	if g.metadata > maxOffered {
		return false
	}
	mb := g.member(memberID)
	switch g.state {
	case PreparingRebalance:
		return mb != nil && mb.join.waits || g.joining < m.opts.MaxSize
	case CompletingRebalance, Stable:
		return mb != nil || len(g.members) < m.opts.MaxSize
	default:
		return true
	}
}

// turnAway takes out who has no room in the group any more. (Kafka leaves the rebalance waiting for its timeout then.)
func (m *Machine) turnAway(g *group, memberID string) {
	if p := g.pending[memberID]; p != nil {
		m.forget(p)
	} else if mb := g.member(memberID); mb != nil {
		m.dismiss(mb)
	}
	m.completeJoinIfAll(g)
}

// joinNew handles a JoinGroup that comes without a member id.
func (m *Machine) joinNew(g *group, t coordinator.Token, c Client, req *kmsg.JoinGroupRequest) {
	switch {
	case req.InstanceID != nil:
		id := m.opts.MemberID(*req.InstanceID)
		if mb := g.instances[*req.InstanceID]; mb != nil {
			m.rejoinStatic(mb, id, t, req)
			return
		}
		m.addMember(g, id, t, c, req)
	case req.Version < 4: // from there on a member has to come back with the id that it is given (KIP-394)
		m.addMember(g, m.opts.MemberID(c.ID), t, c, req)
	case len(g.pending) >= maxPending:
		m.Reply(t, joinError(req.Version, "", kerr.CoordinatorLoadInProgress)) // which clients try again
	default:
		id := m.opts.MemberID(c.ID)
		m.expect(g, id, millis32(req.SessionTimeoutMillis))
		m.Reply(t, joinError(req.Version, id, kerr.MemberIDRequired))
	}
}

// joinAgain handles a JoinGroup with a member id.
func (m *Machine) joinAgain(g *group, t coordinator.Token, c Client, req *kmsg.JoinGroupRequest) {
	if p := g.pending[req.MemberID]; p != nil {
		if req.InstanceID != nil { // static members are never told to come back; Kafka throws
			m.Reply(t, joinError(req.Version, "", kerr.UnknownServerError))
			return
		}
		m.forget(p)
		m.addMember(g, req.MemberID, t, c, req)
		return
	}
	if err := g.validate(req.MemberID, req.InstanceID); err != nil {
		m.Reply(t, joinError(req.Version, req.MemberID, err))
		return
	}
	mb := g.member(req.MemberID)
	same := mb.offersSame(req.Protocols)
	switch {
	case g.state == CompletingRebalance && same, // the first answer may have been lost
		g.state == Stable && same && g.leader != mb.id:
		m.Reply(t, g.joined(mb, req.Version))
	case g.state == Stable && same: // the leader may have seen topics change
		m.updateMember(mb, t, req)
		m.prepareRebalance(g, "the leader "+mb.id+" joins again"+clientReason(req))
	default:
		m.updateMember(mb, t, req)
		m.rebalanceOrComplete(g, mb.id+" joins with other metadata"+clientReason(req))
	}
}

// addMember adds a member that waits for the rebalance which it brings about.
func (m *Machine) addMember(g *group, id string, t coordinator.Token, c Client, req *kmsg.JoinGroupRequest) {
	mb := &member{
		group: g, id: id, fresh: true,
		clientID: c.ID, host: c.Host,
		protocolType: req.ProtocolType,
	}
	if req.InstanceID != nil {
		mb.instance, mb.static = *req.InstanceID, true
	}
	mb.take(req)
	if g.state == PreparingRebalance {
		g.more = true
	}
	g.insert(mb)
	m.awaitJoin(mb, t, req.Version)
	m.Set(&mb.timer, mb, newMemberTimeout)
	m.rebalanceOrComplete(g, id+" is new"+clientReason(req))
}

// updateMember takes over what a member now says of itself, and makes it wait.
func (m *Machine) updateMember(mb *member, t coordinator.Token, req *kmsg.JoinGroupRequest) {
	mb.group.vote(mb.protocols, -1)
	mb.take(req)
	mb.group.vote(mb.protocols, +1)
	m.awaitJoin(mb, t, req.Version)
}

// take takes over what a request says of its member.
func (mb *member) take(req *kmsg.JoinGroupRequest) {
	mb.protocols = copyProtocols(req.Protocols)
	mb.sessionMillis = req.SessionTimeoutMillis
	mb.rebalanceMillis = req.RebalanceTimeoutMillis
	if req.Version == 0 { // which knows of no other
		mb.rebalanceMillis = req.SessionTimeoutMillis
	}
}

// clientReason is why a client says that it joins, as the end of a sentence.
func clientReason(req *kmsg.JoinGroupRequest) string {
	if req.Reason == nil || *req.Reason == "" {
		return ""
	}
	reason := *req.Reason
	return ": " + reason[:min(len(reason), maxReason)]
}

// joined is the answer to a member that is part of the present generation. The leader is told of all members.
func (g *group) joined(mb *member, version int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = version
	resp.Generation = g.generation
	resp.ProtocolType = pointer(g.protocolType)
	resp.Protocol = pointer(g.protocol)
	resp.LeaderID = g.leader
	resp.MemberID = mb.id
	if g.leader == mb.id {
		resp.Members = make([]kmsg.JoinGroupResponseMember, 0, len(g.members))
		for _, other := range g.members {
			resp.Members = append(resp.Members, kmsg.JoinGroupResponseMember{
				MemberID: other.id, InstanceID: other.instanceID(), ProtocolMetadata: other.metadata(g.protocol),
			})
		}
	}
	return resp
}

// joinError is the answer to a JoinGroup that is refused.
func joinError(version int16, memberID string, err *kerr.Error) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = version
	resp.ErrorCode = code(err)
	resp.MemberID = memberID
	return resp
}

// pointer returns a pointer to a copy: replies are encoded while the machine goes on.
func pointer[T any](v T) *T { return &v }
