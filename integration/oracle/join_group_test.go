package oracle

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func joinGroupScenario() scenario {
	return scenario{name: "join_group", cases: append(append(joinCases(), rejoinCases()...), joinRefusals()...)}
}

// join shows what a JoinGroup is answered at once.
func join(c *client, group, memberID string, changes ...func(*kmsg.JoinGroupRequest)) *kmsg.JoinGroupResponse {
	c.t.Helper()
	req := joinRequest(group, memberID)
	for _, change := range changes {
		change(req)
	}
	return ask[*kmsg.JoinGroupResponse](c, req)
}

func joinCases() []oneCase {
	return []oneCase{
		{name: "the first member", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			resp := join(c, g, "")
			if resp.ErrorCode == memberIDRequired {
				join(c, g, resp.MemberID)
			}
			describeGroup(c.aside(), g)
		}},
		{name: "a second member", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			leader := c.alone(g, nil)
			follower := c.newMember(g, nil)
			entering := follower.enter()
			c.until(g, "PreparingRebalance", 2)
			leader.beats()
			entered := leader.enter()
			follower.entered(entering)
			leader.entered(entered)
			describeGroup(c.aside(), g)
		}},
		{name: "three members in one rebalance", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			leader := c.alone(g, nil)
			second, third := c.newMember(g, nil), c.newMember(g, nil)
			c.rebalance(leader, second, third)
		}},
		{name: "the protocol that all have in common", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			leader := c.alone(g, offers("range", "sticky", "cooperative-sticky"))
			follower := c.newMember(g, offers("cooperative-sticky", "roundrobin"))
			c.rebalance(leader, follower)
		}},
		{name: "the protocol that most prefer", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			leader := c.alone(g, offers("range", "sticky"))
			second, third := c.newMember(g, offers("sticky", "range")), c.newMember(g, offers("roundrobin", "sticky", "range"))
			c.rebalance(leader, second, third)
		}},
		{name: "a protocol that is named twice", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			m := c.newMember(g, offers("range", "range", "sticky"))
			m.joins.Protocols[1].Metadata = says("something else")
			m.entered(m.enter())
		}},
		{name: "no metadata", api: kmsg.JoinGroup, run: func(c *client) {
			m := c.newMember(c.group("g"), func(req *kmsg.JoinGroupRequest) { req.Protocols[0].Metadata = nil })
			m.entered(m.enter())
			ask[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			describeGroup(c.aside(), m.group())
		}},
		{name: "what is no consumer", api: kmsg.JoinGroup, run: func(c *client) {
			m := c.newMember(c.group("g"), func(req *kmsg.JoinGroupRequest) {
				req.ProtocolType, req.Protocols = "connect", protocols("sessioned", "compatible", "default")
			})
			m.entered(m.enter())
		}},
		{name: "a reason", api: kmsg.JoinGroup, from: 8, run: func(c *client) {
			g := c.group("g")
			for _, reason := range []string{"", "because", strings.Repeat("because ", 100)} {
				resp := join(c, g, "", func(req *kmsg.JoinGroupRequest) { req.Reason = &reason })
				join(c, g, resp.MemberID, func(req *kmsg.JoinGroupRequest) { req.Reason = &reason })
				leave := leaveRequest(g, leaving(resp.MemberID, nil))
				leave.Members[0].Reason = &reason
				ask[*kmsg.LeaveGroupResponse](c, leave)
			}
		}},
		{name: "client ids", api: kmsg.JoinGroup, run: func(c *client) {
			for _, id := range []string{"", "my client", "a/b:c", "ü"} {
				join(c.named(id), c.group("g"), "")
			}
		}},
		{name: "a group that has become empty", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			c.alone(g, nil).leaves()
			join(c, g, "nobody")
			m := c.newMember(g, func(req *kmsg.JoinGroupRequest) { req.ProtocolType, req.Protocols = "connect", protocols("default") })
			m.entered(m.enter())
			describeGroup(c.aside(), g)
		}},
		{name: "a group that has only committed", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, c.topic("t", 1), 5))
			join(c, g, "nobody")
			m := c.newMember(g, nil)
			m.entered(m.enter())
			m.leaves()
			describeGroup(c.aside(), g)
		}},
		{name: "groups with odd ids", api: kmsg.JoinGroup, run: func(c *client) {
			for _, id := range []string{c.fresh(" "), c.fresh("."), c.fresh("a/b"), c.fresh("ü€😀"), c.fresh("__consumer_offsets")} {
				c.coordinated(id)
				join(c, id, "")
			}
		}},
	}
}

func rejoinCases() []oneCase {
	return []oneCase{
		{name: "again, alone and stable", api: kmsg.JoinGroup, run: func(c *client) {
			m := c.alone(c.group("g"), nil)
			m.entered(m.enter())
			m.beats()
		}},
		{name: "again, before the assignment", api: kmsg.JoinGroup, run: func(c *client) {
			m := c.joined(c.group("g"), nil)
			m.entered(m.enter())
			m.joins.Protocols = protocols("range", "sticky")
			m.entered(m.enter())
			m.joins.Protocols = protocols("sticky", "range")
			m.entered(m.enter())
		}},
		{name: "a follower again, before the assignment", api: kmsg.JoinGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := leader.joinedBy(nil)
			follower.entered(follower.enter())
			leader.entered(leader.enter())
		}},
		{name: "a follower again, with other metadata, before the assignment", api: kmsg.JoinGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := leader.joinedBy(nil)
			waiting := begin[*kmsg.SyncGroupResponse](leader.another(), follower.syncRequest())
			follower.joins.Protocols[0].Metadata = says("something else")
			entering := follower.enter()
			c.until(follower.group(), "PreparingRebalance", 2)
			waiting.answer()
			entered := leader.enter()
			follower.entered(entering)
			leader.entered(entered)
		}},
		{name: "a follower again, stable", api: kmsg.JoinGroup, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			follower.entered(follower.enter())
			follower.beats()
			leader.beats()
		}},
		{name: "a follower again, with other metadata, stable", api: kmsg.JoinGroup, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			follower.joins.Protocols[0].Metadata = says("something else")
			entering := follower.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			leader.beats()
			entered := leader.enter()
			follower.entered(entering)
			leader.entered(entered)
		}},
		{name: "the leader again, stable", api: kmsg.JoinGroup, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			entered := leader.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			follower.beats()
			entering := follower.enter()
			follower.entered(entering)
			leader.entered(entered)
		}},
		{name: "again while it waits", api: kmsg.JoinGroup, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			leader.enter() // it is not heard of again
			c.until(leader.group(), "PreparingRebalance", 2)
			leader.client = c.another()
			entered := leader.enter()
			follower.entered(follower.enter())
			leader.entered(entered)
		}},
		{name: "the leader leaves", api: kmsg.JoinGroup, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			leader.leaves()
			follower.beats()
			follower.entered(follower.enter())
			leader.beats()
		}},
		{name: "the leader leaves while another waits", api: kmsg.JoinGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			other := c.newMember(leader.group(), nil)
			entering := other.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			leader.leaves()
			other.entered(entering)
		}},
		{name: "who waits leaves", api: kmsg.JoinGroup, from: 4, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			other := c.newMember(leader.group(), nil)
			entering := other.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			ask[*kmsg.LeaveGroupResponse](c.aside(), leaveRequest(leader.group(), leaving(other.id(), nil)))
			entering.answer()
			leader.entered(leader.enter())
		}},
		{name: "ids that were given and are not used", api: kmsg.JoinGroup, from: 4, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			given := c.newMember(leader.group(), nil)
			other := c.newMember(leader.group(), nil)
			entering := other.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			entered := leader.enter()
			describeGroup(c.aside(), leader.group())
			ask[*kmsg.LeaveGroupResponse](c, leaveRequest(leader.group(), leaving(given.id(), nil)))
			other.entered(entering)
			leader.entered(entered)
		}},
		{name: "another's id", api: kmsg.JoinGroup, run: func(c *client) {
			one, two := c.alone(c.group("one"), nil), c.alone(c.group("two"), nil)
			join(c, one.group(), two.id())
			join(c, two.group(), two.id(), static("i"))
			two.beats()
		}},
	}
}

func joinRefusals() []oneCase {
	return []oneCase{
		{name: "no group id", api: kmsg.JoinGroup, run: func(c *client) {
			c.group("g")
			join(c, "", "")
			join(c, "", "nobody")
			join(c, "", "", offers(), sessionOf(0))
		}},
		{name: "session timeouts", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			for _, millis := range []int32{-1, 0, 99, 1_800_001, 1<<31 - 1} {
				timeout := func(req *kmsg.JoinGroupRequest) { req.SessionTimeoutMillis = millis }
				join(c, g, "", timeout)
				join(c, g, "nobody", timeout, offers())
			}
			describeGroup(c.aside(), g)
			join(c, g, "", func(req *kmsg.JoinGroupRequest) { req.SessionTimeoutMillis = 1_800_000 })
		}},
		{name: "rebalance timeouts", api: kmsg.JoinGroup, from: 4, run: func(c *client) {
			g := c.group("g")
			for _, millis := range []int32{-1, 0, 1<<31 - 1} {
				join(c, g, "", func(req *kmsg.JoinGroupRequest) { req.RebalanceTimeoutMillis = millis })
			}
		}},
		{name: "a member that is not there", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			join(c, g, "nobody")
			join(c, g, "nobody", offers())
			describeGroup(c.aside(), g)
			m := c.joined(g, nil)
			join(c, g, "nobody")
			do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			join(c, g, "nobody")
			join(c, g, "nobody", offers("sticky"))
			m.leaves()
			join(c, g, "nobody")
		}},
		{name: "no protocols in a new group", api: kmsg.JoinGroup, run: func(c *client) {
			noType := func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "" }
			join(c, c.group("g"), "", offers())
			join(c, c.group("g"), "", noType)
			join(c, c.group("g"), "", noType, offers())
			join(c, c.group("g"), "", noType, static("i"))
		}},
		{name: "no protocols in an empty group", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			c.alone(g, nil).leaves()
			join(c, g, "", offers())
			join(c, g, "", func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "" })
		}},
		{name: "protocols that the others do not have", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.group("g")
			m := c.joined(g, nil)
			refused := func() {
				join(c, g, "", offers("sticky"))
				join(c, g, "", offers())
				join(c, g, "", offers(""))
				join(c, g, "", func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "connect" })
				join(c, g, "", func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "" })
				join(c, g, m.id(), func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "connect" })
			}
			refused()
			do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			refused()
			m.beats()
		}},
		{name: "a protocol without a name", api: kmsg.JoinGroup, run: func(c *client) {
			m := c.newMember(c.group("g"), nil)
			m.joins.Protocols = protocols("", "range")
			m.entered(m.enter())
		}},
		{name: "more than a member may bring here", api: kmsg.JoinGroup, from: 8, run: func(c *client) {
			long := strings.Repeat("l", 5000)
			c.names.show(long, "long")
			join(c, c.fresh(long), "")
			join(c, c.group("g"), long)
			join(c, c.group("g"), "", static(long))
			join(c.named(long), c.group("g"), "")
			join(c, c.group("g"), "", offers(long))
			join(c, c.group("g"), "", func(req *kmsg.JoinGroupRequest) { req.ProtocolType = long })
			join(c, c.group("g"), "", func(req *kmsg.JoinGroupRequest) { req.Protocols[0].Metadata = make([]byte, 1<<20+1) })
			many := []string{}
			for i := range 33 {
				many = append(many, string(rune('A'+i)))
			}
			join(c, c.group("g"), "", offers(many...))
		}},
		{name: "instances before there are any", api: kmsg.JoinGroup, to: 4, run: func(c *client) {
			g := c.group("g")
			m := c.alone(g, nil)
			resp := join(c, g, m.id(), static("i")) // which the version has no room for
			m.generation = resp.Generation
			m.beats()
		}},
	}
}

// rebalance has others join the leader's group, one after the other, and then the leader join again.
func (c *client) rebalance(leader *member, others ...*member) {
	c.t.Helper()
	var entering []*pending[*kmsg.JoinGroupResponse]
	for _, m := range others {
		entering = append(entering, m.enter())
		c.until(leader.group(), "PreparingRebalance", 1+len(entering))
	}
	entered := leader.enter()
	for i, m := range others {
		m.entered(entering[i])
	}
	leader.entered(entered)
}
