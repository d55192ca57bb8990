package oracle

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupLimitsScenario is about a broker whose groups have at most two members, and are bounded otherwise too.
func groupLimitsScenario() scenario {
	return scenario{name: "group_limits", settings: []string{
		"group.max.size=2", "group.min.session.timeout.ms=1000", "group.max.session.timeout.ms=60000", "offset.metadata.max.bytes=10",
	}, cases: []oneCase{
		{name: "session timeouts", api: kmsg.JoinGroup, run: func(c *client) {
			for _, timeout := range []time.Duration{999 * time.Millisecond, time.Second, time.Minute, time.Minute + time.Millisecond} {
				join(c, c.group("g"), "", sessionOf(timeout))
			}
		}},
		{name: "metadata of offsets", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			for _, metadata := range []string{"0123456789", "0123456789a", "ÄÖÜ€€€€€€€", "😀😀😀😀😀", "😀😀😀😀😀!"} {
				commit(c, commitRequest(g, t, 1), func(req *kmsg.OffsetCommitRequest) { req.Topics[0].Partitions[0].Metadata = &metadata })
				showOffsets(c, g, t, 0)
			}
		}},
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
