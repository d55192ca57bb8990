package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func heartbeatScenario() scenario {
	beat := func(c *client, group string, generation int32, memberID string) {
		c.t.Helper()
		ask[*kmsg.HeartbeatResponse](c, heartbeatRequest(group, generation, memberID))
	}
	return scenario{name: "heartbeat", cases: []oneCase{
		{name: "no group id", api: kmsg.Heartbeat, run: func(c *client) {
			c.group("g")
			beat(c, "", 1, "nobody")
		}},
		{name: "a group that is not there", api: kmsg.Heartbeat, run: func(c *client) {
			g := c.group("g")
			beat(c, g, 0, "")
			beat(c, g, 1, "nobody")
		}},
		{name: "in each state", api: kmsg.Heartbeat, run: func(c *client) {
			m := c.joined(c.group("g"), nil)
			beat(c, m.group(), m.generation, m.id())
			do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			beat(c, m.group(), m.generation, m.id())
			follower := c.newMember(m.group(), nil)
			entering := quietly(follower.enter())
			c.until(m.group(), "PreparingRebalance", 2)
			beat(c, m.group(), m.generation, m.id())
			beat(c, m.group(), m.generation, follower.id())
			beat(c, m.group(), m.generation+1, m.id())
			m.leaves()
			follower.entered(entering)
			beat(c, m.group(), m.generation, m.id())
			beat(c, m.group(), follower.generation, follower.id())
			follower.leaves()
			beat(c, m.group(), follower.generation, follower.id())
			beat(c, m.group(), follower.generation+1, "nobody")
		}},
		{name: "members that lie", api: kmsg.Heartbeat, run: func(c *client) {
			one, two := c.alone(c.group("one"), nil), c.alone(c.group("two"), nil)
			given := c.newMember(one.group(), nil)
			for _, id := range []string{"", "nobody", two.id(), given.id()} {
				beat(c, one.group(), one.generation, id)
				beat(c, one.group(), 9, id)
			}
			for _, generation := range []int32{-1, 0, 2, 1<<31 - 1} {
				beat(c, one.group(), generation, one.id())
			}
			beat(c, one.group(), one.generation, one.id())
		}},
		{name: "instances", api: kmsg.Heartbeat, from: 3, run: func(c *client) {
			m := c.alone(c.group("g"), static("i"))
			for _, instance := range []string{"i", "j", ""} {
				for _, id := range []string{m.id(), "nobody", ""} {
					for _, generation := range []int32{m.generation, 9} {
						req := heartbeatRequest(m.group(), generation, id)
						req.InstanceID = &instance
						ask[*kmsg.HeartbeatResponse](c, req)
					}
				}
			}
			beat(c, m.group(), m.generation, m.id())
		}},
	}}
}
