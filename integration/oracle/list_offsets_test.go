package oracle

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func listOffsetsScenario() scenario {
	return scenario{name: "list_offsets", cases: []oneCase{
		{name: "the ends of a partition", api: kmsg.ListOffsets, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b"), values("c"))
			for _, at := range []int64{-1, -2, -3, -4, -5, -6, -7, 0, longAgo, longAgo + 1} {
				ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(t.name, 0, at))
			}
		}},
		{name: "what is not there", api: kmsg.ListOffsets, run: func(c *client) {
			t := c.topic("t", 1)
			ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(c.fresh("missing"), 0, -1))
			ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(t.name, 1, -1))
			ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(t.name, -1, -1))
			ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest("", 0, -1))
		}},
	}}
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
