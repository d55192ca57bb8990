package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func leaveGroupScenario() scenario {
	leave := func(c *client, group string, members ...kmsg.LeaveGroupRequestMember) {
		c.t.Helper()
		ask[*kmsg.LeaveGroupResponse](c, leaveRequest(group, members...))
	}
	set := func(s string) *string { return &s }
	return scenario{name: "leave_group", cases: []oneCase{
		{name: "no group id", api: kmsg.LeaveGroup, run: func(c *client) {
			c.group("g")
			leave(c, "", leaving("nobody", nil))
			leave(c, "")
		}},
		{name: "a group that is not there", api: kmsg.LeaveGroup, run: func(c *client) {
			g := c.group("g")
			leave(c, g, leaving("nobody", nil))
			leave(c, g, leaving("", nil))
			leave(c, g)
		}},
		{name: "the only member", api: kmsg.LeaveGroup, run: func(c *client) {
			m := c.alone(c.group("g"), nil)
			leave(c, m.group(), leaving(m.id(), nil))
			describeGroup(c, m.group())
			leave(c, m.group(), leaving(m.id(), nil))
			m.beats()
		}},
		{name: "before the assignment", api: kmsg.LeaveGroup, run: func(c *client) {
			m := c.joined(c.group("g"), nil)
			leave(c, m.group(), leaving(m.id(), nil))
			describeGroup(c, m.group())
		}},
		{name: "one of two", api: kmsg.LeaveGroup, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			leave(c, leader.group(), leaving(follower.id(), nil))
			leader.beats()
			follower.beats()
			leader.entered(leader.enter())
		}},
		{name: "members that lie", api: kmsg.LeaveGroup, run: func(c *client) {
			one, two := c.alone(c.group("one"), nil), c.alone(c.group("two"), nil)
			leave(c, one.group(), leaving(two.id(), nil))
			leave(c, one.group(), leaving("nobody", nil))
			leave(c, one.group(), leaving("", nil))
			describeGroup(c, one.group())
			two.beats()
		}},
		{name: "an id that was given and is not used", api: kmsg.LeaveGroup, run: func(c *client) {
			m := c.alone(c.group("g"), nil)
			given := c.newMember(m.group(), nil)
			leave(c, m.group(), leaving(given.id(), nil))
			leave(c, m.group(), leaving(given.id(), nil))
			m.beats()
			lone := c.newMember(c.group("lone"), nil)
			leave(c, lone.group(), leaving(lone.id(), nil))
			describeGroup(c, lone.group())
		}},
		{name: "an id that was given, and an instance", api: kmsg.LeaveGroup, from: 3, run: func(c *client) {
			given := c.newMember(c.group("g"), nil)
			leave(c, given.group(), leaving(given.id(), set("i")))
			leave(c, given.group(), leaving(given.id(), nil))
		}},
		{name: "many in one request", api: kmsg.LeaveGroup, from: 3, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			leave(c, leader.group(), leaving(leader.id(), nil), leaving("nobody", nil), leaving(follower.id(), nil), leaving(leader.id(), nil))
			describeGroup(c, leader.group())
		}},
		{name: "one twice", api: kmsg.LeaveGroup, from: 3, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			leave(c, leader.group(), leaving(follower.id(), nil), leaving(follower.id(), nil))
			leader.beats()
		}},
		{name: "nobody", api: kmsg.LeaveGroup, from: 3, run: func(c *client) {
			m := c.alone(c.group("g"), nil)
			leave(c, m.group())
			m.beats()
		}},
		{name: "by instance id", api: kmsg.LeaveGroup, from: 3, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			follower.leaves()
			leader.entered(quietly(leader.enter()))
			do[*kmsg.SyncGroupResponse](leader.client, leader.syncRequest(leader))
			m := leader.joinedBy(static("i"))
			leave(c, m.group(), leaving("", set("j")))
			leave(c, m.group(), leaving("", set("")))
			leave(c, m.group(), leaving("nobody", set("i")))
			leave(c, m.group(), leaving("nobody", set("j")))
			leave(c, m.group(), leaving(m.id(), set("j")))
			leave(c, m.group(), leaving(leader.id(), set("i")))
			leave(c, m.group(), leaving("", set("i")))
			m.beats()
			leader.beats()
		}},
		{name: "a static member by its id", api: kmsg.LeaveGroup, run: func(c *client) {
			m := c.alone(c.group("g"), static("i"))
			leave(c, m.group(), leaving(m.id(), nil))
			describeGroup(c, m.group())
		}},
		{name: "a static member by both", api: kmsg.LeaveGroup, from: 3, run: func(c *client) {
			m := c.alone(c.group("g"), static("i"))
			leave(c, m.group(), leaving(m.id(), set("i")), leaving("", set("i")))
			describeGroup(c, m.group())
		}},
		{name: "while it waits for others", api: kmsg.LeaveGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			other := c.newMember(leader.group(), nil)
			entering := other.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			leave(c, leader.group(), leaving(other.id(), nil))
			entering.answer()
			leader.entered(leader.enter())
		}},
		{name: "a reason", api: kmsg.LeaveGroup, from: 5, run: func(c *client) {
			m := c.alone(c.group("g"), nil)
			l := leaving(m.id(), nil)
			l.Reason = set("because")
			leave(c, m.group(), l)
		}},
	}}
}
