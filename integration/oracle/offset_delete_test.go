package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func offsetDeleteRequest(group string, t topic, partitions ...int32) *kmsg.OffsetDeleteRequest {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	rt := kmsg.NewOffsetDeleteRequestTopic()
	rt.Topic = t.name
	for _, p := range partitions {
		rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
	}
	req.Topics = append(req.Topics, rt)
	return req
}

func offsetDeleteScenario() scenario {
	remove := func(c *client, req *kmsg.OffsetDeleteRequest) {
		c.t.Helper()
		ask[*kmsg.OffsetDeleteResponse](c, req)
	}
	return scenario{name: "offset_delete", cases: []oneCase{
		{name: "of a group without members", api: kmsg.OffsetDelete, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 2)
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, t, 5))
			remove(c, offsetDeleteRequest(g, t, 0, 1))
			showOffsets(c, g, t, 0)
			remove(c, offsetDeleteRequest(g, t, 0))
			describeGroup(c, g)
		}},
		{name: "groups that are not there", api: kmsg.OffsetDelete, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			remove(c, offsetDeleteRequest(g, t, 0))
			remove(c, offsetDeleteRequest("", t, 0))
			remove(c, offsetDeleteRequest(g, c.missing("missing"), 0))
			remove(c, offsetDeleteRequest(g, t))
			req := offsetDeleteRequest(g, t)
			req.Topics = nil
			remove(c, req)
		}},
		{name: "topics and partitions that are not there", api: kmsg.OffsetDelete, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, t, 5))
			remove(c, offsetDeleteRequest(g, c.missing("missing"), 0, 1))
			remove(c, offsetDeleteRequest(g, t, 1, -1))
			req := offsetDeleteRequest(g, c.missing("missing"), 0)
			req.Topics = append(req.Topics, offsetDeleteRequest(g, t, 0, 3).Topics...)
			remove(c, req)
			showOffsets(c, g, t, 0)
			for _, name := range badTopicNames() {
				remove(c, offsetDeleteRequest(g, topic{name: name}, 0))
			}
		}},
		{name: "nothing", api: kmsg.OffsetDelete, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, t, 5))
			req := offsetDeleteRequest(g, t)
			remove(c, req)
			req.Topics = nil
			remove(c, req)
		}},
		{name: "a topic and a partition again and again", api: kmsg.OffsetDelete, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 2)
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, t, 5))
			req := offsetDeleteRequest(g, t, 0, 0)
			req.Topics = append(req.Topics, offsetDeleteRequest(g, t, 1).Topics...)
			remove(c, req)
		}},
		{name: "of what consumers read, and what they do not", api: kmsg.OffsetDelete, run: func(c *client) {
			read, other := c.topic("read", 1), c.topic("other", 1)
			m := c.alone(c.group("g"), subscribed(read.name))
			do[*kmsg.OffsetCommitResponse](c, m.commits(read, 5))
			do[*kmsg.OffsetCommitResponse](c, m.commits(other, 5))
			req := offsetDeleteRequest(m.group(), read, 0, 7)
			req.Topics = append(req.Topics, offsetDeleteRequest(m.group(), other, 0).Topics...)
			remove(c, req)
			showOffsets(c, m.group(), read, 0)
			showOffsets(c, m.group(), other, 0)
			c.newMember(m.group(), subscribed(other.name)).enter()
			c.until(m.group(), "PreparingRebalance", 2)
			remove(c, offsetDeleteRequest(m.group(), read, 0))
			remove(c, offsetDeleteRequest(m.group(), other, 0))
		}},
		{name: "before the assignment", api: kmsg.OffsetDelete, run: func(c *client) {
			read, other := c.topic("read", 1), c.topic("other", 1)
			m := c.joined(c.group("g"), subscribed(read.name))
			remove(c, offsetDeleteRequest(m.group(), read, 0))
			remove(c, offsetDeleteRequest(m.group(), other, 0))
			m.leaves()
			remove(c, offsetDeleteRequest(m.group(), read, 0))
		}},
		{name: "of what is no consumer", api: kmsg.OffsetDelete, run: func(c *client) {
			t := c.topic("t", 1)
			m := c.alone(c.group("g"), func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "connect" })
			remove(c, offsetDeleteRequest(m.group(), t, 0))
			remove(c, offsetDeleteRequest(m.group(), c.missing("missing"), 0))
			m.leaves()
			remove(c, offsetDeleteRequest(m.group(), t, 0))
		}},
	}}
}
