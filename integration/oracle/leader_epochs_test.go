package oracle

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaderEpochsScenario is about partitions that have been led more than once: the broker restarts in each case.
func leaderEpochsScenario() scenario {
	return scenario{name: "leader_epochs", cases: []oneCase{
		{name: "where they end", api: kmsg.OffsetForLeaderEpoch, from: 4, run: func(c *client) {
			t := ledAgain(c)
			for _, epoch := range []int32{-1, c.names.epoch, c.names.later[0], c.names.later[1], c.names.later[1] + 1} {
				ask[*kmsg.OffsetForLeaderEpochResponse](c, epochRequest(t.name, 0, epoch))
				req := epochRequest(t.name, 0, c.names.epoch)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
				ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
			}
			c.deleteBefore(t, 3)
			for _, epoch := range []int32{c.names.epoch, c.names.later[0], c.names.later[1]} {
				ask[*kmsg.OffsetForLeaderEpochResponse](c, epochRequest(t.name, 0, epoch))
			}
		}},
		{name: "of offsets", api: kmsg.ListOffsets, from: 11, run: func(c *client) {
			t := ledAgain(c)
			askTimes(c, t, -1, -2, -3, -4, longAgo, longAgo+1)
			for _, epoch := range []int32{c.names.epoch, c.names.later[0], c.names.later[1]} {
				req := listOffsetsRequest(t.name, 0, -1)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
				ask[*kmsg.ListOffsetsResponse](c, req)
			}
			c.deleteBefore(t, 3)
			askTimes(c, t, -1, -2, -4)
		}},
		{name: "fetched", api: kmsg.Fetch, from: 16, run: func(c *client) {
			t := ledAgain(c)
			ask[*kmsg.FetchResponse](c, fetchRequest(t, 0, 0))
			for _, epoch := range []int32{c.names.epoch, c.names.later[0], c.names.later[1], c.names.later[1] + 1} {
				req := fetchRequest(t, 0, 1)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
				ask[*kmsg.FetchResponse](c, req)
				as(c, req, 7)
				ask[*kmsg.FetchResponse](c, req)
				for _, offset := range []int64{1, 3, 4} {
					req := fetchRequest(t, 0, offset)
					req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
					ask[*kmsg.FetchResponse](c, req)
				}
			}
		}},
	}}
}

// ledAgain returns a topic whose first partition has records of two leader epochs, and is led at a third one.
func ledAgain(c *client) topic {
	c.t.Helper()
	t := c.topic("t", 1)
	produceTo(c, t, 0, values("a", "b"))
	c.restart(t)
	produceTo(c, t, 0, values("c"), values("d"))
	c.restart(t)
	return t
}
