package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

// smallGroupsScenario is about a broker whose groups have at most two members.
func smallGroupsScenario() scenario {
	return scenario{name: "small_groups", settings: []string{"group.max.size=2"}, cases: []oneCase{
		{name: "a third member, stable", api: kmsg.JoinGroup, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			join(c, leader.group(), "")
			join(c, leader.group(), "", offers("sticky"))
			join(c, leader.group(), "nobody")
			join(c, leader.group(), "", static("i"))
			leader.beats()
			follower.beats()
			follower.entered(follower.enter())
		}},
		{name: "a third member, before the assignment", api: kmsg.JoinGroup, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			follower := leader.joinedBy(nil)
			join(c, leader.group(), "")
			follower.entered(follower.enter())
		}},
		{name: "a third member that has an id", api: kmsg.JoinGroup, from: 4, run: func(c *client) {
			leader := c.alone(c.group("g"), nil)
			third := c.newMember(leader.group(), nil)
			second := c.newMember(leader.group(), nil)
			entering := second.enter()
			c.until(leader.group(), "PreparingRebalance", 2)
			entered := leader.enter()
			ask[*kmsg.LeaveGroupResponse](c, leaveRequest(leader.group(), leaving(third.id(), nil)))
			second.entered(entering)
			leader.entered(entered)
			third.entered(third.enter())
		}},
		{name: "a static member is back", api: kmsg.JoinGroup, from: 5, run: func(c *client) {
			leader := c.alone(c.group("g"), static("leader"))
			follower := leader.joinedBy(static("follower"))
			do[*kmsg.SyncGroupResponse](leader.client, leader.syncRequest(leader, follower))
			join(c, leader.group(), "", static("follower"))
			join(c, leader.group(), follower.id(), static("follower"))
		}},
		{name: "room again", api: kmsg.JoinGroup, run: func(c *client) {
			leader, follower := c.two(c.group("g"), nil)
			follower.leaves()
			leader.entered(leader.enter())
			do[*kmsg.SyncGroupResponse](leader.client, leader.syncRequest())
			other := leader.joinedBy(nil)
			other.beats()
		}},
	}}
}
