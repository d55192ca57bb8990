package oracle

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func syncGroupScenario() scenario {
	return scenario{name: "sync_group", cases: append(syncCases(), syncRefusals()...)}
}

// syncs asks for a member's assignment, and shows the answer.
func (m *member) syncs(change func(*kmsg.SyncGroupRequest), assigned ...*member) {
	m.t.Helper()
	req := m.syncRequest(assigned...)
	if change != nil {
		change(req)
	}
	ask[*kmsg.SyncGroupResponse](m.client, req)
}

func syncCases() []oneCase {
	return []oneCase{
		{name: "a member alone", api: kmsg.SyncGroup, run: func(c *client) {
			m := c.joined(c.group("g"), nil)
			m.syncs(nil, m)
			m.syncs(nil)
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.GroupAssignment[0].MemberAssignment = []byte("other") }, m)
			m.syncs(nil)
			describeGroup(c, m.group())
		}},
		{name: "leader and follower", api: kmsg.SyncGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := leader.joinedBy(nil)
			leader.syncs(nil, leader, follower)
			follower.syncs(nil)
			describeGroup(c, leader.group())
		}},
		{name: "the follower first", api: kmsg.SyncGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := leader.joinedBy(nil)
			waiting := begin[*kmsg.SyncGroupResponse](follower.client, follower.syncRequest())
			leader.syncs(nil, leader, follower)
			waiting.answer()
		}},
		{name: "who is left out, and who is not there", api: kmsg.SyncGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := leader.joinedBy(nil)
			leader.syncs(func(req *kmsg.SyncGroupRequest) {
				req.GroupAssignment = append(req.GroupAssignment, assignment("nobody", "for nobody"), assignment("", "for no name"))
			})
			follower.syncs(nil)
			describeGroup(c, leader.group())
		}},
		{name: "two assignments for one", api: kmsg.SyncGroup, run: func(c *client) {
			m := c.joined(c.group("g"), nil)
			m.syncs(nil, m, m)
		}},
		{name: "an assignment that is too large to be kept", api: kmsg.SyncGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := leader.joinedBy(nil) // who does not ask: whether before the leader or after, nobody can tell from here
			leader.syncs(func(req *kmsg.SyncGroupRequest) { req.GroupAssignment[0].MemberAssignment = make([]byte, 2<<20) }, leader)
			follower.beats()
			describeGroup(c, leader.group())
		}},
		{name: "a follower's assignments", api: kmsg.SyncGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := leader.joinedBy(nil)
			waiting := begin[*kmsg.SyncGroupResponse](follower.client, follower.syncRequest(leader, follower))
			leader.syncs(nil)
			waiting.answer()
			follower.syncs(nil, leader, follower)
			describeGroup(c, leader.group())
		}},
		{name: "a rebalance while it waits", api: kmsg.SyncGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := leader.joinedBy(nil)
			waiting := begin[*kmsg.SyncGroupResponse](follower.client, follower.syncRequest())
			leader.leaves()
			waiting.answer()
			follower.beats()
		}},
		{name: "it leaves while it waits", api: kmsg.SyncGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := leader.joinedBy(nil)
			begin[*kmsg.SyncGroupResponse](follower.client, follower.syncRequest()) // Kafka never answers it
			ask[*kmsg.LeaveGroupResponse](c, leaveRequest(leader.group(), leaving(follower.id(), nil)))
			leader.syncs(nil, leader)
		}},
		{name: "a static member", api: kmsg.SyncGroup, from: 3, run: func(c *client) {
			m := c.joined(c.group("g"), static("i"))
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.InstanceID = nil }, m)
			m.syncs(nil)
			describeGroup(c, m.group())
		}},
	}
}

func syncRefusals() []oneCase {
	set := func(s string) *string { return &s }
	return []oneCase{
		{name: "no group id", api: kmsg.SyncGroup, run: func(c *client) {
			m := c.joined(c.group("g"), nil)
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.Group = "" })
		}},
		{name: "a group that is not there", api: kmsg.SyncGroup, run: func(c *client) {
			m := c.joined(c.group("g"), nil)
			other := c.group("other")
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.Group = other })
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.Group, req.MemberID = other, "" })
		}},
		{name: "an empty group", api: kmsg.SyncGroup, run: func(c *client) {
			m := c.alone(c.group("g"), nil)
			m.leaves()
			m.syncs(nil)
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.Generation++ })
		}},
		{name: "members that are not there", api: kmsg.SyncGroup, run: func(c *client) {
			one, two := c.joined(c.group("one"), nil), c.joined(c.group("two"), nil)
			for _, id := range []string{"", "nobody", two.id()} {
				one.syncs(func(req *kmsg.SyncGroupRequest) { req.MemberID = id }, one)
				one.syncs(func(req *kmsg.SyncGroupRequest) { req.MemberID, req.Generation = id, 9 }, one)
			}
			given := c.newMember(one.group(), nil)
			given.generation = one.generation
			given.syncs(nil)
			one.syncs(nil, one)
		}},
		{name: "wrong generations", api: kmsg.SyncGroup, run: func(c *client) {
			m := c.joined(c.group("g"), nil)
			for _, g := range []int32{-1, 0, 2, 1<<31 - 1} {
				m.syncs(func(req *kmsg.SyncGroupRequest) { req.Generation = g }, m)
			}
			m.syncs(nil, m)
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.Generation = 0 })
		}},
		{name: "wrong protocols", api: kmsg.SyncGroup, from: 5, run: func(c *client) {
			m := c.joined(c.group("g"), nil)
			for _, name := range []*string{nil, set(""), set("other")} {
				m.syncs(func(req *kmsg.SyncGroupRequest) { req.ProtocolType = name }, m)
				m.syncs(func(req *kmsg.SyncGroupRequest) { req.Protocol = name }, m)
				m.syncs(func(req *kmsg.SyncGroupRequest) { req.Protocol, req.Generation = name, 9 }, m)
				m.syncs(func(req *kmsg.SyncGroupRequest) { req.Protocol, req.MemberID = name, "nobody" }, m)
				m.syncs(func(req *kmsg.SyncGroupRequest) { req.Protocol, req.Group = name, "" }, m)
			}
			m.syncs(nil, m)
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.Protocol = set("other") })
		}},
		{name: "while the others join", api: kmsg.SyncGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := c.newMember(leader.group(), nil)
			follower.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			leader.syncs(nil)
			leader.syncs(func(req *kmsg.SyncGroupRequest) { req.Generation++ })
		}},
		{name: "wrong instances", api: kmsg.SyncGroup, from: 3, run: func(c *client) {
			m := c.joined(c.group("g"), static("i"))
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.InstanceID = set("j") }, m)
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.MemberID = "nobody" }, m)
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.MemberID, req.Generation = "nobody", 9 }, m)
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.MemberID = "" }, m)
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.MemberID, req.InstanceID = "nobody", nil }, m)
			m.syncs(nil, m)
		}},
	}
}
