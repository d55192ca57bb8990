package oracle

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// staticMembersScenario is about members that have an instance id: they keep their place while they are away.
func staticMembersScenario() scenario {
	return scenario{name: "static_members", cases: append(staticCases(), fencedCases()...)}
}

func staticCases() []oneCase {
	return []oneCase{
		{name: "the first member", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			m := c.newMember(c.group("g"), static("i"))
			m.entered(m.enter())
			describeGroup(c.aside(), m.group())
			ask[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			describeGroup(c.aside(), m.group())
		}},
		{name: "instance ids", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			for _, id := range []string{"", ".", "a/b", "ü", strings.Repeat("i", 250)} {
				join(c, c.group("g"), "", static(id))
			}
		}},
		{name: "the leader is back", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			old := c.alone(c.group("g"), static("i"))
			back := c.newMember(old.group(), static("i"))
			back.entered(back.enter())
			ask[*kmsg.SyncGroupResponse](back.client, back.syncRequest())
			back.beats()
			old.beats()
			describeGroup(c.aside(), old.group())
			back.entered(back.enter())
		}},
		{name: "the leader is back with other metadata", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			old := c.alone(c.group("g"), static("i"))
			back := c.newMember(old.group(), static("i"))
			back.joins.Protocols[0].Metadata = says("something else")
			back.entered(back.enter())
			describeGroup(c.aside(), old.group())
		}},
		{name: "the leader is back with another protocol", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			old := c.alone(c.group("g"), func(req *kmsg.JoinGroupRequest) { static("i")(req); offers("range", "sticky")(req) })
			back := c.newMember(old.group(), static("i"))
			back.joins.Protocols = protocols("sticky", "range")
			back.entered(back.enter())
		}},
		{name: "a follower is back", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			leader := c.alone(c.group("g"), static("leader"))
			old := leader.joinedBy(static("follower"))
			do[*kmsg.SyncGroupResponse](leader.client, leader.syncRequest(leader, old))
			back := c.newMember(leader.group(), static("follower"))
			back.entered(back.enter())
			ask[*kmsg.SyncGroupResponse](back.client, back.syncRequest())
			leader.beats()
			old.beats()
			leader.joins.Protocols[0].Metadata = says("something else")
			entered := leader.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			back.entered(back.enter())
			leader.entered(entered)
		}},
		{name: "back before the assignment", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			leader := c.alone(c.group("g"), static("leader"))
			old := leader.joinedBy(static("follower"))
			back := c.newMember(leader.group(), static("follower"))
			entering := back.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			old.beats()
			entered := leader.enter()
			back.entered(entering)
			leader.entered(entered)
		}},
		{name: "back while it waits", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			leader, old := c.two(c.group("g"), nil)
			old.leaves()
			leader.entered(quietly(leader.enter()))
			old = c.newMember(leader.group(), static("i"))
			waiting := old.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			back := c.newMember(leader.group(), static("i"))
			entering := back.enter()
			waiting.answer()
			entered := leader.enter()
			back.entered(entering)
			leader.entered(entered)
		}},
		{name: "back while it waits for its assignment", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			leader := c.alone(c.group("g"), static("leader"))
			old := leader.joinedBy(static("follower"))
			waiting := begin[*kmsg.SyncGroupResponse](old.client, old.syncRequest())
			back := c.newMember(leader.group(), static("follower"))
			entering := back.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			waiting.answer()
			entered := leader.enter()
			back.entered(entering)
			leader.entered(entered)
		}},
		{name: "the same one again", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			leader := c.alone(c.group("g"), static("leader"))
			follower := leader.joinedBy(static("follower"))
			do[*kmsg.SyncGroupResponse](leader.client, leader.syncRequest(leader, follower))
			follower.entered(follower.enter())
			entered := leader.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			follower.entered(follower.enter())
			leader.entered(entered)
		}},
	}
}

func fencedCases() []oneCase {
	return []oneCase{
		{name: "who joins in another's name", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			g := c.group("g")
			m := c.alone(g, static("i"))
			join(c, g, "nobody", static("i"))
			join(c, g, "nobody", static("j"))
			join(c, g, m.id(), static("j"))
			join(c, g, m.id(), static("i"), offers("sticky"))
			resp := join(c, g, m.id()) // without the instance id it is the same member
			m.generation = resp.Generation
			m.beats()
			describeGroup(c.aside(), g)
		}},
		{name: "an id that was given, and an instance", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			m := c.newMember(c.group("g"), nil)
			join(c, m.group(), m.id(), static("i"))
			join(c, m.group(), m.id())
		}},
		{name: "a protocol that the others do not have", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			g := c.group("g")
			c.alone(g, static("i"))
			join(c, g, "", static("i"), func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "connect" })
			join(c, g, "", static("j"), offers("sticky"))
			join(c, g, "", static("i"), offers("sticky"))
		}},
		{name: "fenced by who is back", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			old := c.alone(g, static("i"))
			back := c.newMember(g, static("i"))
			back.entered(back.enter())
			old.enter().answer()
			describeGroup(c.aside(), g)
			ask[*kmsg.OffsetCommitResponse](c, old.commits(t, 1))
			ask[*kmsg.OffsetCommitResponse](c, back.commits(t, 1))
		}},
		{name: "an empty group has no instances", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			g := c.group("g")
			old := c.alone(g, static("i"))
			old.leaves()
			old.beats()
			join(c, g, old.id(), static("i"))
			join(c, g, "", static("i"))
		}},
	}
}
