package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// rejoinStatic handles a static member that has come back without its member id, so from a new process: it gets a new
// id, and whoever holds the old one is fenced. In a stable group nothing else changes unless the chosen protocol does,
// so a restart within the session costs no rebalance (KIP-345).
func (m *Machine) rejoinStatic(mb *member, id string, t coordinator.Token, req *kmsg.JoinGroupRequest) {
	g := mb.group
	oldLeader := g.leader
	m.answerJoin(mb, joinError(mb.join.version, mb.id, kerr.FencedInstanceID))
	m.answerSync(mb, syncError(mb.sync.version, kerr.FencedInstanceID))
	g.rename(mb, id)
	mb.fresh = false
	m.updateMember(mb, t, req)
	m.renew(mb)
	back := "the static member " + mb.instance + " is back as " + id
	switch g.state {
	case PreparingRebalance:
		m.completeJoinIfAll(g)
	case CompletingRebalance: // the leader may be assigning partitions to the old id just now
		m.prepareRebalance(g, back+clientReason(req))
	default:
		if g.choose() != g.protocol {
			m.prepareRebalance(g, back+" and changes the protocol"+clientReason(req))
			return
		}
		g.subscribe()
		record := groupRecord(g)
		if m.tooLarge(record) {
			m.prepareRebalance(g, back+" and makes the group's record too large")
			return
		}
		m.Write(record)
		m.answerJoin(mb, g.rejoined(mb, req.Version, oldLeader))
	}
}

// rejoined is the answer to a static member that took its place in a stable group again. If it leads, it must not assign
// partitions now: it is told so from version 9 on (KIP-814), and before that it is not told that it leads.
func (g *group) rejoined(mb *member, version int16, oldLeader string) *kmsg.JoinGroupResponse {
	resp := g.joined(mb, version)
	if version >= 9 {
		resp.SkipAssignment = g.leader == mb.id
	} else {
		resp.LeaderID, resp.Members = oldLeader, nil
	}
	return resp
}
