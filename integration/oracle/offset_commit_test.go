package oracle

import (
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func offsetCommitScenario() scenario {
	return scenario{name: "offset_commit", cases: append(commitCases(), memberCommitCases()...)}
}

// commit shows what a commit is answered.
func commit(c *client, req *kmsg.OffsetCommitRequest, changes ...func(*kmsg.OffsetCommitRequest)) {
	c.t.Helper()
	for _, change := range changes {
		change(req)
	}
	ask[*kmsg.OffsetCommitResponse](c, req)
}

// also commits offsets of one more topic.
func also(t topic, partitions ...kmsg.OffsetCommitRequestTopicPartition) func(*kmsg.OffsetCommitRequest) {
	return func(req *kmsg.OffsetCommitRequest) {
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic, rt.TopicID, rt.Partitions = t.name, t.id, partitions
		req.Topics = append(req.Topics, rt)
	}
}

func commitCases() []oneCase {
	with := func(metadata string) func(*kmsg.OffsetCommitRequest) {
		return func(req *kmsg.OffsetCommitRequest) { req.Topics[0].Partitions[0].Metadata = &metadata }
	}
	return []oneCase{
		{name: "by nobody", api: kmsg.OffsetCommit, run: func(c *client) {
			g, one, two := c.group("g"), c.topic("one", 3), c.topic("two", 1)
			commit(c, commitRequest(g, one, 5), also(two, committing(0, 7)), also(one, committing(2, 9)))
			commit(c, commitRequest(g, two, 8))
			ask[*kmsg.OffsetFetchResponse](c, fetchAllRequest(g))
			describeGroup(c, g)
		}},
		{name: "by somebody in an unknown group", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			for _, generation := range []int32{math.MinInt32, -1, 0, 1} {
				for _, id := range []string{"", "nobody"} {
					commit(c, commitRequest(g, t, 1), func(req *kmsg.OffsetCommitRequest) { req.Generation, req.MemberID = generation, id })
					do[*kmsg.DeleteGroupsResponse](c, deleteGroupsRequest(g))
				}
			}
		}},
		{name: "nothing", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			req := commitRequest(g, t, 1)
			req.Topics[0].Partitions = nil
			commit(c, req)
			req.Topics = nil
			commit(c, req)
			req.Generation = 3
			commit(c, req)
			describeGroup(c, g)
		}},
		{name: "no group id", api: kmsg.OffsetCommit, run: func(c *client) {
			t := c.topic("t", 1)
			c.group("g")
			for _, generation := range []int32{-1, 3} {
				commit(c, commitRequest("", t, 1), func(req *kmsg.OffsetCommitRequest) { req.Generation = generation })
			}
			showOffsets(c, "", t, 0)
			do[*kmsg.DeleteGroupsResponse](c, deleteGroupsRequest(""))
		}},
		{name: "topics and partitions that are not there", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t, missing := c.group("g"), c.topic("t", 2), c.missing("missing")
			commit(c, commitRequest(g, missing, 1))
			describeGroup(c, g)
			commit(c, commitRequest(g, missing, 1), also(t, committing(1, 4), committing(2, 4), committing(-1, 4)), also(missing))
			showOffsets(c, g, t, 0, 1, 2)
			commit(c, commitRequest(g, missing, 1), func(req *kmsg.OffsetCommitRequest) { req.Generation = 3 })
			commit(c, commitRequest(g, missing, 1), also(t, committing(1, 4)), func(req *kmsg.OffsetCommitRequest) { req.Generation = 3 })
			commit(c, commitRequest("", missing, 1))
		}},
		{name: "a topic without an id", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			commit(c, commitRequest(g, topic{name: t.name}, 1))
		}},
		{name: "names that are none", api: kmsg.OffsetCommit, to: 9, run: func(c *client) {
			g := c.group("g")
			for _, name := range badTopicNames() {
				commit(c, commitRequest(g, topic{name: name}, 1))
			}
		}},
		{name: "one partition again and again", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			commit(c, commitRequest(g, t, 5), also(t, committing(0, 6), committing(0, 7)))
			showOffsets(c, g, t, 0)
		}},
		{name: "offsets that are none", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			for _, offset := range []int64{-1, -2, math.MinInt64, 0, math.MaxInt64} {
				commit(c, commitRequest(g, t, offset))
				showOffsets(c, g, t, 0)
			}
		}},
		{name: "leader epochs", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			for _, epoch := range []int32{-2, -1, c.names.epoch, c.names.epoch + 1} {
				commit(c, commitRequest(g, t, 1), func(req *kmsg.OffsetCommitRequest) { req.Topics[0].Partitions[0].LeaderEpoch = epoch })
				showOffsets(c, g, t, 0)
			}
		}},
		{name: "metadata", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			for _, metadata := range []string{"", "some", "ü€😀"} {
				commit(c, commitRequest(g, t, 1), with(metadata))
				showOffsets(c, g, t, 0)
			}
			commit(c, commitRequest(g, t, 1))
			showOffsets(c, g, t, 0)
		}},
		{name: "large metadata", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 2)
			for _, metadata := range []string{
				strings.Repeat("m", 4096), strings.Repeat("m", 4097), strings.Repeat("€", 4096), strings.Repeat("€", 4097),
				strings.Repeat("😀", 2048), strings.Repeat("😀", 2049),
			} {
				commit(c, commitRequest(g, t, 1), with(metadata))
			}
			commit(c, commitRequest(g, t, 2), with(strings.Repeat("m", 4097)), also(t, committing(1, 2)))
			showOffsets(c, g, t, 1)
			commit(c, commitRequest(c.group("other"), t, 2), with(strings.Repeat("m", 4097)), func(req *kmsg.OffsetCommitRequest) { req.Generation = 3 })
		}},
		{name: "only large metadata", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			commit(c, commitRequest(g, t, 2), with(strings.Repeat("m", 4097)))
			describeGroup(c, g)
		}},
		{name: "more than fits into one batch", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			req := commitRequest(g, t, 1)
			with(strings.Repeat("m", 4096))(req)
			for range 300 {
				req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
			}
			resp := do[*kmsg.OffsetCommitResponse](c, req)
			resp.Topics[0].Partitions = slices.CompactFunc(resp.Topics[0].Partitions, func(a, b kmsg.OffsetCommitResponseTopicPartition) bool {
				return a.ErrorCode == b.ErrorCode // they all say the same
			})
			c.show(req, resp)
			showOffsets(c, g, t, 0)
		}},
		{name: "retention", api: kmsg.OffsetCommit, to: 4, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			for _, millis := range []int64{-2, -1, 1000, math.MaxInt64} {
				commit(c, commitRequest(g, t, 1), func(req *kmsg.OffsetCommitRequest) { req.RetentionTimeMillis = millis })
				showOffsets(c, g, t, 0)
			}
		}},
		{name: "an internal topic", api: kmsg.OffsetCommit, to: 9, run: func(c *client) {
			g := c.group("g")
			commit(c, commitRequest(g, topic{name: "__consumer_offsets"}, 1))
			showOffsets(c.connect(kmsg.OffsetFetch, 9), g, topic{name: "__consumer_offsets"}, 0)
		}},
	}
}

func memberCommitCases() []oneCase {
	set := func(s string) *string { return &s }
	as := func(generation int32, id string) func(*kmsg.OffsetCommitRequest) {
		return func(req *kmsg.OffsetCommitRequest) { req.Generation, req.MemberID = generation, id }
	}
	return []oneCase{
		{name: "by a member", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			m := c.alone(g, nil)
			commit(c, m.commits(t, 4))
			showOffsets(c, g, t, 0)
			m.leaves()
			commit(c, m.commits(t, 5))
			commit(c, commitRequest(g, t, 6), as(m.generation+1, ""))
			commit(c, commitRequest(g, t, 6), as(m.generation+1, "nobody"))
			commit(c, commitRequest(g, t, 6))
			showOffsets(c, g, t, 0)
		}},
		{name: "members that lie", api: kmsg.OffsetCommit, run: func(c *client) {
			t := c.topic("t", 1)
			one, two := c.alone(c.group("one"), nil), c.alone(c.group("two"), nil)
			given := c.newMember(one.group(), nil)
			for _, id := range []string{"", "nobody", two.id(), given.id()} {
				for _, generation := range []int32{-1, 0, 1, 9} {
					commit(c, commitRequest(one.group(), t, 1), as(generation, id))
				}
			}
			for _, generation := range []int32{-1, 0, 2, math.MaxInt32} {
				commit(c, commitRequest(one.group(), t, 1), as(generation, one.id()))
			}
			showOffsets(c, one.group(), t, 0)
		}},
		{name: "in each state", api: kmsg.OffsetCommit, run: func(c *client) {
			t := c.topic("t", 1)
			m := c.joined(c.group("g"), nil)
			commit(c, m.commits(t, 1))
			commit(c, commitRequest(m.group(), t, 1))
			do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			commit(c, m.commits(t, 2))
			other := c.newMember(m.group(), nil)
			other.enter()
			c.until(m.group(), "PreparingRebalance", 2)
			commit(c, m.commits(t, 3))
			commit(c, commitRequest(m.group(), t, 3), as(m.generation, other.id()))
			commit(c, commitRequest(m.group(), t, 3))
			showOffsets(c, m.group(), t, 0)
		}},
		{name: "of a generation that is over", api: kmsg.OffsetCommit, run: func(c *client) {
			t := c.topic("t", 1)
			m := c.alone(c.group("g"), nil)
			m.entered(quietly(m.enter()))
			commit(c, commitRequest(m.group(), t, 1), as(m.generation-1, m.id()))
			commit(c, commitRequest(m.group(), t, 1), as(m.generation, m.id()))
			do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			commit(c, commitRequest(m.group(), t, 1), as(m.generation-1, m.id()))
			commit(c, commitRequest(m.group(), t, 1), as(m.generation, m.id()))
		}},
		{name: "instances", api: kmsg.OffsetCommit, from: 7, run: func(c *client) {
			t := c.topic("t", 1)
			m := c.alone(c.group("g"), static("i"))
			for _, instance := range []*string{nil, set("i"), set("j"), set("")} {
				for _, id := range []string{m.id(), "nobody", ""} {
					for _, generation := range []int32{m.generation, -1, 9} {
						commit(c, commitRequest(m.group(), t, 1), as(generation, id), func(req *kmsg.OffsetCommitRequest) { req.InstanceID = instance })
					}
				}
			}
		}},
		{name: "an instance in a group without members", api: kmsg.OffsetCommit, from: 7, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			commit(c, commitRequest(g, t, 1), func(req *kmsg.OffsetCommitRequest) { req.InstanceID = set("i") })
			commit(c, commitRequest(g, t, 1), func(req *kmsg.OffsetCommitRequest) { req.InstanceID = set("i") })
			commit(c, commitRequest(g, t, 1), as(0, ""), func(req *kmsg.OffsetCommitRequest) { req.InstanceID = set("i") })
		}},
		{name: "a member, and a topic that is not there", api: kmsg.OffsetCommit, run: func(c *client) {
			t, missing := c.topic("t", 1), c.missing("missing")
			m := c.alone(c.group("g"), nil)
			commit(c, m.commits(missing, 1))
			commit(c, m.commits(t, 1), also(missing, committing(0, 1)))
			commit(c, m.commits(t, 1), also(missing, committing(0, 1)), as(9, m.id()))
		}},
	}
}
