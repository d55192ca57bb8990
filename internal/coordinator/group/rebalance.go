package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// prepareRebalance begins a rebalance of a group that is Empty, CompletingRebalance or Stable: all members have to join
// again. Those that wait for their assignment are sent to do so.
func (m *Machine) prepareRebalance(g *group, reason string) {
	if m.opts.Rebalancing != nil {
		m.opts.Rebalancing(Rebalance{Group: g.id, Generation: g.generation, Members: len(g.members), Reason: reason})
	}
	if g.state == CompletingRebalance {
		m.refuseSyncs(g, kerr.RebalanceInProgress)
	}
	for _, mb := range g.members {
		mb.unsynced = false
	}
	g.unsynced = 0
	m.Timers.Stop(&g.timer)

	g.initial = g.state == Empty
	m.enter(g, PreparingRebalance)
	switch {
	case g.initial:
		delay := m.opts.InitialRebalanceDelay
		g.more, g.remaining = false, max(g.rebalanceTimeout()-delay, 0)
		m.Set(&g.timer, g, delay)
	case g.allJoined():
		m.completeJoin(g)
	default:
		m.Set(&g.timer, g, g.rebalanceTimeout())
	}
}

// refuseSyncs answers all waiting SyncGroups of a group with an error, and takes back the assignments, which are of an
// older generation. It begins the sessions of those it answers.
func (m *Machine) refuseSyncs(g *group, err *kerr.Error) {
	for _, mb := range g.members {
		mb.assignment = nil
		if m.answerSync(mb, syncError(mb.sync.version, err)) {
			m.renew(mb)
		}
	}
}

// expire ends the phase of the rebalance that the group is in.
func (g *group) expire(m *Machine) {
	switch {
	case g.state == PreparingRebalance && g.initial && g.more && g.remaining > 0:
		g.more = false
		delay := min(m.opts.InitialRebalanceDelay, g.remaining)
		g.remaining = max(g.remaining-m.opts.InitialRebalanceDelay, 0)
		m.Set(&g.timer, g, delay)
	case g.state == PreparingRebalance:
		m.completeJoin(g)
	case g.unsynced > 0: // CompletingRebalance or Stable
		m.expireUnsynced(g)
	}
}

// completeJoinIfAll goes on to the next phase when nobody is missing any more. The first rebalance of an empty group
// always takes its time.
func (m *Machine) completeJoinIfAll(g *group) {
	if g.state == PreparingRebalance && !g.initial && g.allJoined() {
		m.completeJoin(g)
	}
}

// rebalanceOrComplete begins a rebalance, or goes on with the one that is being prepared.
func (m *Machine) rebalanceOrComplete(g *group, reason string) {
	if g.state == PreparingRebalance {
		m.completeJoinIfAll(g)
		return
	}
	m.prepareRebalance(g, reason)
}

// completeJoin ends the joining: a new generation begins, of the members that have joined and the static ones that may
// yet come back.
func (m *Machine) completeJoin(g *group) {
	m.Timers.Stop(&g.timer)
	for i := len(g.members) - 1; i >= 0; i-- {
		if mb := g.members[i]; !mb.static && !mb.join.waits {
			m.dismiss(mb)
		}
	}
	if len(g.members) > 0 && !g.electJoined() {
		// Static members are all there are, and none has joined: wait for them until their sessions end.
		g.remaining = 0
		m.Set(&g.timer, g, max(g.rebalanceTimeout(), time.Second))
		return
	}
	g.generation++
	if len(g.members) == 0 {
		g.protocol = ""
		g.subscribe()
		m.enter(g, Empty)
		m.Write(groupRecord(g))
		return
	}
	g.protocol = g.choose()
	g.subscribe()
	m.enter(g, CompletingRebalance)
	for _, mb := range g.members {
		m.answerJoin(mb, g.joined(mb, mb.join.version))
		m.renew(mb)
		mb.fresh = false
		mb.unsynced = true
	}
	g.unsynced = len(g.members)
	m.Set(&g.timer, g, g.rebalanceTimeout())
}

// expireUnsynced takes out the members that have joined the generation but did not ask for their assignment in time.
func (m *Machine) expireUnsynced(g *group) {
	reason := "no SyncGroup in time from"
	for i := len(g.members) - 1; i >= 0; i-- {
		if mb := g.members[i]; mb.unsynced {
			if len(reason) < maxReason {
				reason += " " + mb.id
			}
			m.dismiss(mb)
		}
	}
	m.prepareRebalance(g, reason)
}

// synced notes that a member has asked for its assignment.
func (m *Machine) synced(mb *member) {
	if !mb.unsynced {
		return
	}
	mb.unsynced = false
	if mb.group.unsynced--; mb.group.unsynced == 0 {
		m.Timers.Stop(&mb.group.timer)
	}
}
