package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func deleteRecordsScenario() scenario {
	return scenario{name: "delete_records", cases: []oneCase{
		{name: "up to offsets", api: kmsg.DeleteRecords, run: func(c *client) {
			t := c.topic("t", 2)
			produceTo(c, t, 0, values("a", "b"), values("c"))
			for _, before := range []int64{0, 1, 0, 2, 4, -2, -1, 3} {
				cut(c, t.name, 0, before)
				ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(t.name, 0, -2))
			}
			cut(c, t.name, 1, -1)
			cut(c, t.name, 1, 0)
			cut(c, t.name, 1, 1)
		}},
		{name: "what is not there", api: kmsg.DeleteRecords, run: func(c *client) {
			t := c.topic("t", 1)
			cut(c, t.name, 1, 0)
			cut(c, t.name, -1, 0)
			cut(c, c.fresh("missing"), 0, 0)
			cut(c, "", 0, 0)
			ask[*kmsg.DeleteRecordsResponse](c, kmsg.NewPtrDeleteRecordsRequest())
		}},
		{name: "policies", api: kmsg.DeleteRecords, run: func(c *client) {
			for _, policy := range []string{"compact", "compact,delete", ""} {
				cut(c, c.topic("t", 1, "cleanup.policy="+policy).name, 0, 0)
			}
		}},
	}}
}

// cut has the records before an offset deleted.
func cut(c *client, topic string, partition int32, before int64) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = partition, before
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	ask[*kmsg.DeleteRecordsResponse](c, req)
}
