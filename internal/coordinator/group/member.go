package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// member is one member of a group.
type member struct {
	timer // of its session

	group    *group
	id       string
	instance string // its group.instance.id, where static says that it has one
	static   bool
	fresh    bool // it has not been through a rebalance yet
	unsynced bool // it has joined the generation and not synced yet

	clientID, host  string
	sessionMillis   int32
	rebalanceMillis int32
	protocolType    string
	protocols       []protocol // that it offers, the one it likes most first
	assignment      []byte     // the leader's; nil for none

	join, sync waiter
}

// waiter is a request that waits for its reply.
type waiter struct {
	waits   bool
	version int16
	token   coordinator.Token
}

// instanceID is the instance id as messages carry it: nil for none.
func (mb *member) instanceID() *string {
	if !mb.static {
		return nil
	}
	return &mb.instance
}

// renew begins the member's session anew.
func (m *Machine) renew(mb *member) {
	m.Set(&mb.timer, mb, millis32(mb.sessionMillis))
}

// expire ends the member's session. One that waits for a rebalance cannot send heartbeats, so it counts as alive, and
// has a session again when it is answered; except a new one, whose client may have gone away without a word.
func (mb *member) expire(m *Machine) {
	if !mb.fresh && (mb.join.waits || mb.sync.waits) {
		return
	}
	g := mb.group
	m.dismiss(mb)
	switch {
	case g.state == Stable || g.state == CompletingRebalance:
		m.prepareRebalance(g, "the session of "+mb.id+" expired")
	case g.state == PreparingRebalance && g.allJoined():
		m.completeJoin(g)
	}
}

// dismiss takes a member out of its group. What it waits for is answered with UNKNOWN_MEMBER_ID, so that a client that
// is alive joins as a new member. What follows for the group is the caller's to see to.
func (m *Machine) dismiss(mb *member) {
	m.Timers.Stop(&mb.timer)
	m.answerJoin(mb, joinError(mb.join.version, "", kerr.UnknownMemberID))
	m.answerSync(mb, syncError(mb.sync.version, kerr.UnknownMemberID))
	mb.group.remove(mb)
}

// answerJoin answers the member's waiting JoinGroup, if there is one.
func (m *Machine) answerJoin(mb *member, resp *kmsg.JoinGroupResponse) {
	if mb.join.waits {
		m.Reply(mb.join.token, resp)
		mb.join = waiter{}
		mb.group.joining--
	}
}

// answerSync answers the member's waiting SyncGroup, if there is one, and says whether there was.
func (m *Machine) answerSync(mb *member, resp *kmsg.SyncGroupResponse) bool {
	if !mb.sync.waits {
		return false
	}
	m.Reply(mb.sync.token, resp)
	mb.sync = waiter{}
	return true
}

// awaitJoin makes a JoinGroup wait. One that waits already is answered: its client has given it up for this one.
func (m *Machine) awaitJoin(mb *member, t coordinator.Token, version int16) {
	m.answerJoin(mb, joinError(mb.join.version, mb.id, kerr.RebalanceInProgress))
	mb.join = waiter{waits: true, version: version, token: t}
	mb.group.joining++
}

// awaitSync makes a SyncGroup wait, as awaitJoin does.
func (m *Machine) awaitSync(mb *member, t coordinator.Token, version int16) {
	m.answerSync(mb, syncError(mb.sync.version, kerr.RebalanceInProgress))
	mb.sync = waiter{waits: true, version: version, token: t}
}

// pendingMember is an id that was handed out with MEMBER_ID_REQUIRED. A rebalance waits for it as for a member.
type pendingMember struct {
	timer
	group *group
	id    string
}

// expire forgets an id that nobody came back with.
func (p *pendingMember) expire(m *Machine) {
	m.forget(p)
	if g := p.group; g.state == PreparingRebalance && g.allJoined() {
		m.completeJoin(g)
	}
}

// expect adds an id that a member is expected to join with.
func (m *Machine) expect(g *group, id string, session time.Duration) {
	p := &pendingMember{group: g, id: id}
	if g.pending == nil {
		g.pending = map[string]*pendingMember{}
	}
	g.pending[id] = p
	m.Set(&p.timer, p, session)
}

// forget takes such an id away.
func (m *Machine) forget(p *pendingMember) {
	m.Timers.Stop(&p.timer)
	delete(p.group.pending, p.id)
	if len(p.group.pending) == 0 {
		p.group.pending = nil
	}
}
