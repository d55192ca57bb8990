package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func offsetFetchScenario() scenario {
	// committed is a group that has committed 5 for the first of a topic's two partitions.
	committed := func(c *client) (group string, t topic) {
		c.t.Helper()
		group, t = c.group("g"), c.topic("t", 2)
		req := commitRequest(group, t, 5)
		metadata := "some"
		req.Topics[0].Partitions[0].Metadata = &metadata
		do[*kmsg.OffsetCommitResponse](c, req)
		return group, t
	}
	fetch := func(c *client, req *kmsg.OffsetFetchRequest) {
		c.t.Helper()
		ask[*kmsg.OffsetFetchResponse](c, req)
	}
	return scenario{name: "offset_fetch", cases: []oneCase{
		{name: "of partitions", api: kmsg.OffsetFetch, run: func(c *client) {
			g, t := committed(c)
			fetch(c, fetchOffsetsRequest(g, t, 0))
			fetch(c, fetchOffsetsRequest(g, t, 1, 0))
			fetch(c, fetchOffsetsRequest(g, t))
		}},
		{name: "of all partitions", api: kmsg.OffsetFetch, from: 2, run: func(c *client) {
			g, t := committed(c)
			fetch(c, fetchAllRequest(g))
			other := c.topic("other", 1)
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, other, 1))
			fetch(c, fetchAllRequest(g))
			showOffsets(c, g, t, 0)
			fetch(c, fetchAllRequest(c.group("new")))
		}},
		{name: "of no partitions", api: kmsg.OffsetFetch, run: func(c *client) {
			g, _ := committed(c)
			req := fetchAllRequest(g)
			req.Topics, req.Groups[0].Topics = []kmsg.OffsetFetchRequestTopic{}, []kmsg.OffsetFetchRequestGroupTopic{}
			fetch(c, req)
		}},
		{name: "of null partitions", api: kmsg.OffsetFetch, to: 1, run: func(c *client) {
			g, _ := committed(c)
			begin[*kmsg.OffsetFetchResponse](c, fetchAllRequest(g)).isClosed()
		}},
		{name: "of a group that is not there", api: kmsg.OffsetFetch, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			fetch(c, fetchOffsetsRequest(g, t, 0, 7))
			fetch(c, fetchOffsetsRequest("", t, 0))
			describeGroup(c, g)
		}},
		{name: "topics and partitions that are not there", api: kmsg.OffsetFetch, run: func(c *client) {
			g, t := committed(c)
			missing := c.missing("missing")
			fetch(c, fetchOffsetsRequest(g, missing, 0))
			fetch(c, fetchOffsetsRequest(g, t, 2, -1))
			req := fetchOffsetsRequest(g, t, 0, 2)
			addOffsets(req, missing, 0, 1)
			addOffsets(req, missing)
			fetch(c, req)
			fetch(c, fetchOffsetsRequest(c.group("new"), missing, 0))
		}},
		{name: "a topic without an id", api: kmsg.OffsetFetch, run: func(c *client) {
			g, t := committed(c)
			fetch(c, fetchOffsetsRequest(g, topic{name: t.name}, 0))
		}},
		{name: "names that are none", api: kmsg.OffsetFetch, to: 9, run: func(c *client) {
			g, _ := committed(c)
			for _, name := range badTopicNames() {
				fetch(c, fetchOffsetsRequest(g, topic{name: name}, 0))
			}
		}},
		{name: "a topic and a partition again and again", api: kmsg.OffsetFetch, run: func(c *client) {
			g, t := committed(c)
			req := fetchOffsetsRequest(g, t, 0, 0)
			addOffsets(req, t, 1)
			fetch(c, req)
		}},
		{name: "groups in one request", api: kmsg.OffsetFetch, from: 8, run: func(c *client) {
			one, t := committed(c)
			two := c.group("two")
			do[*kmsg.OffsetCommitResponse](c, commitRequest(two, t, 9))
			all := fetchAllRequest(one, two, c.group("new"))
			fetch(c, all)
			some := fetchOffsetsRequest(one, t, 0, 1)
			some.Groups = append(some.Groups, all.Groups[1], fetchOffsetsRequest(two, t, 1).Groups[0], fetchOffsetsRequest("", t, 1).Groups[0])
			fetch(c, some)
			fetch(c, fetchAllRequest(one, one))
			fetch(c, fetchAllRequest())
		}},
		{name: "of a topic that is deleted, and made again", api: kmsg.OffsetFetch, from: 8, run: func(c *client) {
			g, t := committed(c)
			do[*kmsg.DeleteTopicsResponse](c, deleteByName(t.name))
			c.settle()
			askUntil(c, fetchAllRequest(g), func(resp *kmsg.OffsetFetchResponse) bool { return len(resp.Groups[0].Topics) == 0 })
			fetch(c, fetchOffsetsRequest(g, t, 0))
			again := do[*kmsg.CreateTopicsResponse](c, createRequest(newTopic(t.name, 2))).Topics[0]
			t.id = again.TopicID
			c.names.ids[t.id] = "<id of t>"
			c.lead(t, 2)
			fetch(c, fetchOffsetsRequest(g, t, 0))
			fetch(c, fetchAllRequest(g))
			describeGroup(c, g)
		}},
		{name: "only what is stable", api: kmsg.OffsetFetch, from: 7, run: func(c *client) {
			g, t := committed(c)
			req := fetchOffsetsRequest(g, t, 0, 1)
			req.RequireStable = true
			fetch(c, req)
			req = fetchAllRequest(g)
			req.RequireStable = true
			fetch(c, req)
		}},
		{name: "as a member of what has no epochs", api: kmsg.OffsetFetch, from: 9, run: func(c *client) {
			t := c.topic("t", 1)
			m := c.alone(c.group("g"), nil)
			do[*kmsg.OffsetCommitResponse](c, m.commits(t, 5))
			id, nobody, none := m.id(), "nobody", ""
			for _, who := range []*string{nil, &id, &nobody, &none} {
				for _, epoch := range []int32{-2, -1, 0, m.generation, 9} {
					req := fetchOffsetsRequest(m.group(), t, 0)
					req.Groups[0].MemberID, req.Groups[0].MemberEpoch = who, epoch
					fetch(c, req)
				}
			}
			req := fetchOffsetsRequest(c.group("new"), t, 0)
			req.Groups[0].MemberID, req.Groups[0].MemberEpoch = &nobody, 3
			fetch(c, req)
			req = fetchAllRequest(m.group(), c.group("new"))
			for i := range req.Groups {
				req.Groups[i].MemberID, req.Groups[i].MemberEpoch = &nobody, 3
			}
			fetch(c, req)
		}},
		{name: "in each state", api: kmsg.OffsetFetch, run: func(c *client) {
			t := c.topic("t", 1)
			m := c.joined(c.group("g"), nil)
			fetch(c, fetchOffsetsRequest(m.group(), t, 0))
			do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			do[*kmsg.OffsetCommitResponse](c, m.commits(t, 5))
			fetch(c, fetchOffsetsRequest(m.group(), t, 0))
			c.newMember(m.group(), nil).enter()
			c.until(m.group(), "PreparingRebalance", 2)
			fetch(c, fetchOffsetsRequest(m.group(), t, 0))
		}},
	}}
}
