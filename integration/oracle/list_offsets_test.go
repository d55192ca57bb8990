package oracle

import (
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"slices"
)

func listOffsetsScenario() scenario {
	return scenario{name: "list_offsets", cases: slices.Concat(listedTimes(), listedFor())}
}

// listedTimes is about times, and those that mean something else.
func listedTimes() []oneCase {
	return []oneCase{
		{name: "the ends of a partition", api: kmsg.ListOffsets, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b"), values("c"))
			askTimes(c, t, -1, -2, -3, -4, -5, -6, -7, -1<<63, 0, longAgo, longAgo+1, 1<<62)
		}},
		{name: "an empty partition", api: kmsg.ListOffsets, run: func(c *client) {
			askTimes(c, c.topic("t", 1), -1, -2, -3, -4, -5, -6, 0, longAgo)
		}},
		{name: "a partition whose records are deleted", api: kmsg.ListOffsets, from: 9, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b", "c"), batch{values: []string{"d"}, timestamp: longAgo + 5})
			c.deleteBefore(t, 1)
			askTimes(c, t, -1, -2, -3, -4, -5, -6, 0, longAgo, longAgo+1)
			c.deleteBefore(t, 4)
			askTimes(c, t, -1, -2, -4, 0)
		}},
		{name: "times", api: kmsg.ListOffsets, from: 6, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0,
				batch{timestamp: longAgo, whole: []kmsg.Record{{}, {OffsetDelta: 1, TimestampDelta64: 10}, {OffsetDelta: 2, TimestampDelta64: 20}}},
				batch{values: []string{"d"}, timestamp: longAgo + 5},
				batch{values: []string{"e", "f"}, timestamp: longAgo + 30},
				batch{values: []string{"g"}, timestamp: longAgo + 30},
				batch{values: []string{"h"}, timestamp: longAgo + 25},
			)
			for _, after := range []int64{-1, 0, 1, 10, 11, 20, 21, 26, 30, 31} {
				askTimes(c, t, longAgo+after)
			}
			askTimes(c, t, -3)
		}},
		{name: "times in compressed batches", api: kmsg.ListOffsets, from: 9, run: func(c *client) {
			t := c.topic("t", 1)
			for i, codec := range allCodecs() {
				produceTo(c, t, 0, batch{timestamp: longAgo + int64(i)*10, codec: codec, whole: []kmsg.Record{{}, {OffsetDelta: 1, TimestampDelta64: 5}}})
			}
			askTimes(c, t, longAgo, longAgo+1, longAgo+5, longAgo+6, longAgo+15, longAgo+25, longAgo+35, longAgo+36, -3)
		}},
		{name: "times that fall", api: kmsg.ListOffsets, from: 9, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0,
				batch{timestamp: longAgo + 100, codec: kgo.GzipCompression(), whole: []kmsg.Record{{TimestampDelta64: 50}, {OffsetDelta: 1}, {OffsetDelta: 2, TimestampDelta64: 50}}},
				batch{values: []string{"d"}, timestamp: longAgo},
			)
			askTimes(c, t, longAgo, longAgo+100, longAgo+101, longAgo+150, longAgo+151, -3)
		}},
		{name: "no times", api: kmsg.ListOffsets, from: 9, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, batch{values: []string{"a", "b"}, timestamp: -1}, batch{values: []string{"c"}, timestamp: -1})
			askTimes(c, t, 0, longAgo, -3)
			produceTo(c, t, 0, batch{values: []string{"d"}})
			askTimes(c, t, 0, longAgo, -3)
		}},
		{name: "append times", api: kmsg.ListOffsets, from: 9, run: func(c *client) {
			t := c.topic("t", 1, "message.timestamp.type=LogAppendTime")
			produceTo(c, t, 0, values("a", "b"), batch{values: []string{"c", "d"}, codec: kgo.GzipCompression()})
			askTimes(c, t, 0, longAgo, 1<<62)
		}},
		{name: "the latest append time", api: kmsg.ListOffsets, from: 9, run: func(c *client) {
			t := c.topic("t", 1, "message.timestamp.type=LogAppendTime")
			produceTo(c, t, 0, batch{values: []string{"a", "b", "c"}, codec: kgo.GzipCompression()})
			askTimes(c, t, -3)
		}},
		{name: "times of a compacted topic", api: kmsg.ListOffsets, from: 9, run: func(c *client) {
			t := c.topic("t", 1, "cleanup.policy=compact")
			produceTo(c, t, 0, batch{values: []string{"a", "b"}, keys: []string{"k", "l"}, codec: kgo.Lz4Compression()})
			askTimes(c, t, longAgo, longAgo+1, -3)
		}},
	}
}

// listedFor is about the rest of a request.
func listedFor() []oneCase {
	return []oneCase{
		{name: "what is not there", api: kmsg.ListOffsets, run: func(c *client) {
			t := c.topic("t", 1)
			for _, at := range []int64{-1, -3, 0} {
				ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(c.fresh("missing"), 0, at))
				ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(t.name, 1, at))
				ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(t.name, -1, at))
				ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest("", 0, at))
			}
			ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(c.fresh("missing"), 0, -7)) // which there is not either
		}},
		{name: "leader epochs", api: kmsg.ListOffsets, from: 4, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			for _, epoch := range []int32{-1, c.names.epoch, c.names.epoch + 1, -2} {
				for _, at := range []int64{-1, -2, -3, 0, -7} {
					req := listOffsetsRequest(t.name, 0, at)
					req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
					ask[*kmsg.ListOffsetsResponse](c, req)
				}
			}
			req := listOffsetsRequest(t.name, 1, -1)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = 1000
			ask[*kmsg.ListOffsetsResponse](c, req)
		}},
		{name: "committed records", api: kmsg.ListOffsets, from: 9, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b"))
			for _, at := range []int64{-1, -2, -3, 0} {
				req := listOffsetsRequest(t.name, 0, at)
				req.IsolationLevel = 1
				ask[*kmsg.ListOffsetsResponse](c, req)
			}
		}},
		{name: "an isolation level that there is not", api: kmsg.ListOffsets, from: 9, run: func(c *client) {
			t := c.topic("t", 1)
			for _, level := range []int8{2, -1} {
				req := listOffsetsRequest(t.name, 0, -1)
				req.IsolationLevel = level
				ask[*kmsg.ListOffsetsResponse](c, req)
			}
		}},
		{name: "replicas", api: kmsg.ListOffsets, from: 9, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b"))
			for _, id := range []int32{-2, -3, 0, 1, 7} {
				for _, at := range []int64{-1, -2, 0} {
					req := listOffsetsRequest(t.name, 0, at)
					req.ReplicaID, req.IsolationLevel = id, 1
					ask[*kmsg.ListOffsetsResponse](c, req)
				}
			}
		}},
		{name: "timeouts", api: kmsg.ListOffsets, from: 10, run: func(c *client) {
			t := c.topic("t", 1)
			for _, millis := range []int32{0, 1, -1, 2147483647} {
				req := listOffsetsRequest(t.name, 0, -1)
				req.TimeoutMillis = millis
				ask[*kmsg.ListOffsetsResponse](c, req)
			}
		}},
		{name: "several topics and partitions", api: kmsg.ListOffsets, run: func(c *client) {
			t, u := c.topic("t", 2), c.topic("u", 1)
			produceTo(c, t, 1, values("a"))
			req := listOffsetsRequest(t.name, 0, -1)
			addTime(req, 1, -1)
			addTime(req, 2, -1)
			req.Topics = append(req.Topics, listOffsetsRequest(u.name, 0, -2).Topics...)
			req.Topics = append(req.Topics, listOffsetsRequest(c.fresh("missing"), 0, -2).Topics...)
			ask[*kmsg.ListOffsetsResponse](c, req)
		}},
		{name: "a partition twice", api: kmsg.ListOffsets, run: func(c *client) {
			t := c.topic("t", 2)
			req := listOffsetsRequest(t.name, 0, -1)
			addTime(req, 0, -2)
			addTime(req, 1, -2)
			ask[*kmsg.ListOffsetsResponse](c, req)
			req = listOffsetsRequest(t.name, 7, -1)
			addTime(req, 7, -7)
			ask[*kmsg.ListOffsetsResponse](c, req)
		}},
		{name: "a topic twice", api: kmsg.ListOffsets, run: func(c *client) {
			t := c.topic("t", 2)
			for _, partition := range []int32{0, 1} {
				req := listOffsetsRequest(t.name, 0, -1)
				req.Topics = append(req.Topics, listOffsetsRequest(t.name, partition, -1).Topics...)
				ask[*kmsg.ListOffsetsResponse](c, req)
			}
		}},
		{name: "empty lists", api: kmsg.ListOffsets, run: func(c *client) {
			t := c.topic("t", 1)
			req := listOffsetsRequest(t.name, 0, -1)
			req.Topics[0].Partitions = nil
			ask[*kmsg.ListOffsetsResponse](c, req)
			req.Topics = nil
			ask[*kmsg.ListOffsetsResponse](c, req)
		}},
	}
}

// askTimes asks for the offsets of a topic's first partition at several times.
func askTimes(c *client, t topic, times ...int64) {
	c.t.Helper()
	for _, at := range times {
		ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(t.name, 0, at))
	}
}

// addTime adds a partition to a request's first topic.
func addTime(req *kmsg.ListOffsetsRequest, partition int32, timestamp int64) {
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, listOffsetsRequest("", partition, timestamp).Topics[0].Partitions...)
}

func listOffsetsRequest(topic string, partition int32, timestamp int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	rt := kmsg.NewListOffsetsRequestTopic()
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp = partition, timestamp
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// produceTo appends batches to a partition.
func produceTo(c *client, to topic, partition int32, list ...batch) {
	c.t.Helper()
	for _, b := range list {
		resp := do[*kmsg.ProduceResponse](c, produceRequest(to, partition, b.bytes()))
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
			c.t.Fatalf("a batch is not taken: %v", codeName(code))
		}
	}
}

// produceRequest is a request for acks=-1, with the topic's name and id.
func produceRequest(to topic, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	rt := kmsg.NewProduceRequestTopic()
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, records
	rt.Topic, rt.TopicID, rt.Partitions = to.name, to.id, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}
