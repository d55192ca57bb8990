package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// sync handles SyncGroup.
func (m *Machine) sync(t coordinator.Token, req *kmsg.SyncGroupRequest) {
	g, mb, err := m.checkSync(req)
	if err != nil {
		m.Reply(t, syncError(req.Version, err))
		return
	}
	m.synced(mb)
	if g.state == Stable {
		m.Reply(t, g.assigned(mb, req.Version))
		return
	}
	m.awaitSync(mb, t, req.Version)
	if g.leader == mb.id {
		m.assign(g, req.GroupAssignment)
	}
}

// checkSync returns the group and the member that a SyncGroup speaks for, or why it cannot be served.
func (m *Machine) checkSync(req *kmsg.SyncGroupRequest) (*group, *member, *kerr.Error) {
	if err := checkGroupID(req.Group); err != nil {
		return nil, nil, err
	}
	g := m.groups[req.Group]
	if g == nil || g.state == Empty {
		return nil, nil, kerr.UnknownMemberID
	}
	if err := g.validate(req.MemberID, req.InstanceID); err != nil {
		return nil, nil, err
	}
	differs := func(said *string, is string) bool { return said != nil && is != "" && *said != is }
	switch {
	case req.Generation != g.generation:
		return nil, nil, kerr.IllegalGeneration
	case differs(req.ProtocolType, g.protocolType), differs(req.Protocol, g.protocol):
		return nil, nil, kerr.InconsistentGroupProtocol
	case g.state == PreparingRebalance:
		return nil, nil, kerr.RebalanceInProgress
	}
	return g, g.member(req.MemberID), nil
}

// assign takes the leader's assignment and makes the group Stable. Who waits for it is answered; members that the
// leader left out get an empty one, and those that the group does not have are left out.
func (m *Machine) assign(g *group, assignment []kmsg.SyncGroupRequestGroupAssignment) {
	for _, mb := range g.members {
		mb.assignment = nil
	}
	size := 0
	for _, a := range assignment {
		size += len(a.MemberAssignment)
	}
	all := make([]byte, 0, size)
	for _, a := range assignment {
		if mb := g.member(a.MemberID); mb != nil {
			start := len(all)
			all = append(all, a.MemberAssignment...)
			mb.assignment = all[start:len(all):len(all)]
		}
	}
	since := g.since
	m.enter(g, Stable)
	record := groupRecord(g)
	if m.tooLarge(record) {
		g.state, g.since = CompletingRebalance, since
		m.refuseSyncs(g, kerr.UnknownServerError) // as Kafka makes of MESSAGE_TOO_LARGE
		m.prepareRebalance(g, "the assignment is too large to be written")
		return
	}
	m.Write(record)
	for _, mb := range g.members {
		if m.answerSync(mb, g.assigned(mb, mb.sync.version)) {
			m.renew(mb) // while it waited its session may have run out
		}
	}
}

// tooLarge says whether a record of a group exceeds what may be written.
func (m *Machine) tooLarge(r coordinator.Record) bool {
	return len(r.Key)+len(r.Value) > m.opts.MaxRecordBytes()
}

// assigned is the answer to a member of a stable group.
func (g *group) assigned(mb *member, version int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = version
	resp.ProtocolType = pointer(g.protocolType)
	resp.Protocol = pointer(g.protocol)
	resp.MemberAssignment = mb.assignment
	return resp
}

// syncError is the answer to a SyncGroup that is refused.
func syncError(version int16, err *kerr.Error) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = version
	resp.ErrorCode = code(err)
	return resp
}
