package oracle

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the members of these cases have for a timeout: the shortest that can be asked for, and one that is told from it.
const (
	shortTimeout = 100 * time.Millisecond
	longTimeout  = 400 * time.Millisecond
)

// rebalanceScenario is about the times after which a group goes on without a member. Each case needs one version only.
func rebalanceScenario() scenario {
	return scenario{name: "rebalance", cases: append(silentCases(), lateCases()...)}
}

// after tells if what is waited for comes about earlier than it may.
func (c *client) after(least time.Duration, wait func()) {
	c.t.Helper()
	begun := time.Now()
	wait()
	if took := time.Since(begun); took < least {
		c.t.Errorf("it takes %v, and not before %v is allowed", took, least)
	}
}

// both joins changes into one.
func both(changes ...func(*kmsg.JoinGroupRequest)) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) {
		for _, change := range changes {
			change(req)
		}
	}
}

// silentCases are about sessions.
func silentCases() []oneCase {
	return []oneCase{
		{name: "a stable member goes silent", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			g := c.group("g")
			m := c.newMember(g, sessionOf(shortTimeout))
			c.after(shortTimeout, func() {
				m.entered(quietly(m.enter()))
				do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
				c.until(g, "Empty", 0)
			})
			m.beats()
			describeGroup(c.aside(), g)
			join(c, g, m.id())
		}},
		{name: "a member goes silent before its assignment", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			g := c.group("g")
			m := c.newMember(g, sessionOf(shortTimeout))
			c.after(shortTimeout, func() {
				m.entered(quietly(m.enter()))
				c.until(g, "Empty", 0)
			})
			m.syncs(nil)
		}},
		{name: "a static member goes silent", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			g := c.group("g")
			m := c.newMember(g, both(static("i"), sessionOf(shortTimeout)))
			c.after(shortTimeout, func() {
				m.entered(quietly(m.enter()))
				do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
				c.until(g, "Empty", 0)
			})
			m.beats()
		}},
		{name: "the leader goes silent", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			g := c.group("g")
			leader := c.alone(g, nil)
			leader.joins.SessionTimeoutMillis = int32(shortTimeout.Milliseconds()) // from when it joins again
			follower := leader.joinedBy(nil)
			do[*kmsg.SyncGroupResponse](leader.client, leader.syncRequest())
			c.until(g, "PreparingRebalance", 1)
			follower.beats()
			follower.entered(follower.enter())
			leader.beats()
		}},
		{name: "an id that was given is not used in time", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			var given *member
			c.after(longTimeout, func() {
				given = c.newMember(leader.group(), sessionOf(longTimeout))
				leader.entered(leader.enter()) // it waits for who has been given an id
			})
			given.entered(given.enter())
		}},
	}
}

// lateCases are about members that are alive, and do not do what the group waits for.
func lateCases() []oneCase {
	return []oneCase{
		{name: "a member does not join again in time", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			old := c.alone(c.group("g"), rebalancing(longTimeout))
			other := c.newMember(old.group(), rebalancing(shortTimeout))
			c.after(longTimeout, func() { // which is the longest of any member
				other.entered(other.enter())
			})
			old.beats()
			old.entered(old.enter())
		}},
		{name: "a member that is alive does not join again in time", api: kmsg.JoinGroup, to: 1, run: func(c *client) {
			g := c.group("g")
			times := both(sessionOf(longTimeout), rebalancing(longTimeout)) // version 0 has only the first
			old, other := c.alone(g, times), c.newMember(g, times)
			c.after(longTimeout, func() {
				entering := other.enter()
				for do[*kmsg.HeartbeatResponse](old.client, old.heartbeat()).ErrorCode != unknownMemberID {
				}
				other.entered(entering)
			})
		}},
		{name: "a static member does not join again in time", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			g := c.group("g")
			leader := c.alone(g, both(static("leader"), rebalancing(longTimeout)))
			other := c.newMember(g, both(static("other"), rebalancing(shortTimeout)))
			c.after(longTimeout, func() { other.entered(other.enter()) })
			leader.beats() // it keeps its place
			describeGroup(c.aside(), g)
		}},
		{name: "nobody joins again in time", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			g := c.group("g")
			leader, follower := c.two(g, rebalancing(longTimeout))
			c.after(longTimeout, func() {
				third := c.newMember(g, rebalancing(shortTimeout))
				third.entered(third.enter())
			})
			leader.beats()
			follower.beats()
		}},
		{name: "the leader does not assign in time", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			leader := c.newMember(c.group("g"), rebalancing(longTimeout))
			c.after(longTimeout, func() {
				leader.entered(leader.enter())
				c.until(leader.group(), "Empty", 0)
			})
			leader.syncs(nil, leader)
		}},
		{name: "a follower waits for an assignment that does not come in time", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			g := c.group("g")
			leader := c.alone(g, rebalancing(longTimeout))
			follower := c.newMember(g, rebalancing(longTimeout))
			entering := quietly(follower.enter())
			c.until(g, "PreparingRebalance", 2)
			c.after(longTimeout, func() {
				entered := quietly(leader.enter())
				follower.entered(entering)
				leader.entered(entered)
				follower.syncs(nil)
			})
			leader.beats()
			follower.entered(follower.enter())
		}},
		{name: "a follower does not ask for its assignment in time", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			g := c.group("g")
			leader := c.alone(g, rebalancing(longTimeout))
			follower := leader.joinedBy(rebalancing(longTimeout))
			leader.syncs(nil, leader, follower)
			c.until(g, "PreparingRebalance", 1)
			follower.beats()
			leader.beats()
			leader.entered(leader.enter())
		}},
	}
}

// rebalanceDelayScenario is about a broker that waits for more members before the first rebalance of a group.
func rebalanceDelayScenario() scenario {
	const delay = 400 * time.Millisecond
	return scenario{name: "rebalance_delay", settings: []string{"group.initial.rebalance.delay.ms=400"}, cases: []oneCase{
		{name: "a member alone", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			m := c.newMember(c.group("g"), nil)
			c.after(delay, func() { m.entered(m.enter()) })
			m.entered(m.enter())
		}},
		{name: "two members", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			g := c.group("g")
			one, two := c.newMember(g, nil), c.newMember(g, nil)
			c.after(2*delay, func() { // it waits once more after each round in which one has come
				first := one.enter()
				c.until(g, "PreparingRebalance", 1)
				second := two.enter()
				c.until(g, "PreparingRebalance", 2)
				two.entered(second)
				one.entered(first)
			})
		}},
		{name: "a member that wants less", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			m := c.newMember(c.group("g"), rebalancing(shortTimeout))
			c.after(delay, func() { m.entered(m.enter()) })
		}},
		{name: "a member leaves meanwhile", api: kmsg.JoinGroup, from: 9, run: func(c *client) {
			m := c.newMember(c.group("g"), nil)
			entering := m.enter()
			c.until(m.group(), "PreparingRebalance", 1)
			ask[*kmsg.LeaveGroupResponse](c.aside(), leaveRequest(m.group(), leaving(m.id(), nil)))
			entering.answer()
			c.until(m.group(), "Empty", 0)
			describeGroup(c.aside(), m.group())
		}},
	}}
}
