package oracle

import (
	"github.com/twmb/franz-go/pkg/kmsg"
	"slices"
)

func offsetForLeaderEpochScenario() scenario {
	return scenario{name: "offset_for_leader_epoch", cases: slices.Concat(endOfEpochs(), endOfEpochsOf())}
}

// endOfEpochs is about epochs.
func endOfEpochs() []oneCase {
	return []oneCase{
		{name: "epochs", api: kmsg.OffsetForLeaderEpoch, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b"))
			for _, epoch := range []int32{c.names.epoch, c.names.epoch + 1, -1, -2, 2147483647} {
				ask[*kmsg.OffsetForLeaderEpochResponse](c, epochRequest(t.name, 0, epoch))
			}
		}},
		{name: "an empty partition", api: kmsg.OffsetForLeaderEpoch, run: func(c *client) {
			t := c.topic("t", 1)
			for _, epoch := range []int32{c.names.epoch, c.names.epoch + 1, -1} {
				ask[*kmsg.OffsetForLeaderEpochResponse](c, epochRequest(t.name, 0, epoch))
			}
		}},
		{name: "a partition whose records are deleted", api: kmsg.OffsetForLeaderEpoch, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b"))
			for _, offset := range []int64{1, 2} {
				c.deleteBefore(t, offset)
				for _, epoch := range []int32{c.names.epoch, c.names.epoch + 1} {
					ask[*kmsg.OffsetForLeaderEpochResponse](c, epochRequest(t.name, 0, epoch))
				}
			}
		}},
		{name: "the leader epoch that a client knows", api: kmsg.OffsetForLeaderEpoch, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			for _, current := range []int32{-1, c.names.epoch, c.names.epoch + 1, -2} {
				for _, epoch := range []int32{c.names.epoch, 1000} {
					req := epochRequest(t.name, 0, epoch)
					req.Topics[0].Partitions[0].CurrentLeaderEpoch = current
					ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
				}
			}
		}},
	}
}

// endOfEpochsOf is about the rest of a request.
func endOfEpochsOf() []oneCase {
	return []oneCase{
		{name: "what is not there", api: kmsg.OffsetForLeaderEpoch, run: func(c *client) {
			t := c.topic("t", 1)
			ask[*kmsg.OffsetForLeaderEpochResponse](c, epochRequest(c.fresh("missing"), 0, 0))
			ask[*kmsg.OffsetForLeaderEpochResponse](c, epochRequest("", 0, 0))
			for _, partition := range []int32{1, -1} {
				req := epochRequest(t.name, partition, 0)
				ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = 1000
				ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
			}
		}},
		{name: "replicas", api: kmsg.OffsetForLeaderEpoch, from: 3, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			for _, id := range []int32{-2, -1, 0, 1, 7} {
				req := epochRequest(t.name, 0, c.names.epoch)
				req.ReplicaID = id
				ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
			}
		}},
		{name: "several topics and partitions", api: kmsg.OffsetForLeaderEpoch, run: func(c *client) {
			t, u := c.topic("t", 2), c.topic("u", 1)
			produceTo(c, t, 1, values("a"))
			req := epochRequest(t.name, 0, c.names.epoch)
			for _, partition := range []int32{1, 2} {
				req.Topics[0].Partitions = append(req.Topics[0].Partitions, epochRequest("", partition, c.names.epoch).Topics[0].Partitions...)
			}
			req.Topics = append(req.Topics, epochRequest(u.name, 0, c.names.epoch).Topics...)
			ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
		}},
		{name: "a partition twice", api: kmsg.OffsetForLeaderEpoch, run: func(c *client) {
			t := c.topic("t", 1)
			req := epochRequest(t.name, 0, c.names.epoch)
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, epochRequest("", 0, c.names.epoch+1).Topics[0].Partitions...)
			ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
		}},
		{name: "a topic twice", api: kmsg.OffsetForLeaderEpoch, run: func(c *client) {
			t := c.topic("t", 2)
			req := epochRequest(t.name, 0, c.names.epoch)
			req.Topics = append(req.Topics, epochRequest(t.name, 1, c.names.epoch).Topics...)
			ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
		}},
		{name: "empty lists", api: kmsg.OffsetForLeaderEpoch, run: func(c *client) {
			t := c.topic("t", 1)
			req := epochRequest(t.name, 0, 0)
			req.Topics[0].Partitions = nil
			ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
			req.Topics = nil
			ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
		}},
	}
}

// epochRequest asks where an epoch of a partition ends, as a consumer does.
func epochRequest(topic string, partition, epoch int32) *kmsg.OffsetForLeaderEpochRequest {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
	rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = partition, -1, epoch
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}
