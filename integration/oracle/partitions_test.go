package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func createPartitionsScenario() scenario {
	grow := func(topic string, count int32, brokers ...[]int32) *kmsg.CreatePartitionsRequest {
		req := kmsg.NewPtrCreatePartitionsRequest()
		rt := kmsg.NewCreatePartitionsRequestTopic()
		rt.Topic, rt.Count = topic, count
		for _, b := range brokers {
			a := kmsg.NewCreatePartitionsRequestTopicAssignment()
			a.Replicas = b
			rt.Assignment = append(rt.Assignment, a)
		}
		req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10_000
		return req
	}
	askFor := func(c *client, req *kmsg.CreatePartitionsRequest) {
		c.t.Helper()
		ask[*kmsg.CreatePartitionsResponse](c, req)
	}
	return scenario{name: "create_partitions", cases: []oneCase{
		{name: "more of them", api: kmsg.CreatePartitions, run: func(c *client) {
			t := c.topic("t", 1)
			askFor(c, grow(t.name, 3))
			c.lead(t, 3)
			ask[*kmsg.MetadataResponse](c, metadataRequest(t.name))
			askFor(c, grow(t.name, 4, []int32{1}))
		}},
		{name: "counts", api: kmsg.CreatePartitions, run: func(c *client) {
			t := c.topic("t", 2)
			for _, n := range []int32{2, 1, 0, -1} {
				askFor(c, grow(t.name, n))
			}
		}},
		{name: "assignments", api: kmsg.CreatePartitions, run: func(c *client) {
			t := c.topic("t", 1)
			for _, brokers := range [][][]int32{
				{{1}, {1}}, {{2}}, {{1, 1}}, {{1, 2}}, {{}}, {{-1}}, {},
			} {
				req := grow(t.name, 2, brokers...)
				req.Topics[0].Assignment = append([]kmsg.CreatePartitionsRequestTopicAssignment{}, req.Topics[0].Assignment...)
				askFor(c, req)
			}
		}},
		{name: "what is not there", api: kmsg.CreatePartitions, run: func(c *client) {
			askFor(c, grow(c.fresh("missing"), 2))
			for _, name := range badTopicNames() {
				askFor(c, grow(name, 2))
			}
			askFor(c, grow("__cluster_metadata", 2))
			askFor(c, kmsg.NewPtrCreatePartitionsRequest())
		}},
		{name: "a topic twice", api: kmsg.CreatePartitions, run: func(c *client) {
			t, other := c.topic("t", 1), c.topic("other", 1)
			req := grow(t.name, 2)
			req.Topics = append(req.Topics, grow(other.name, 0).Topics[0], grow(t.name, 3).Topics[0])
			askFor(c, req)
		}},
		{name: "only asking", api: kmsg.CreatePartitions, run: func(c *client) {
			t := c.topic("t", 1)
			for _, n := range []int32{3, 1} {
				req := grow(t.name, n)
				req.ValidateOnly = true
				askFor(c, req)
			}
			ask[*kmsg.MetadataResponse](c, metadataRequest(t.name))
		}},
	}}
}

// cut deletes the records of a partition below an offset.
func cut(topic string, partition int32, offset int64) *kmsg.DeleteRecordsRequest {
	req := kmsg.NewPtrDeleteRecordsRequest()
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = partition, offset
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10_000
	return req
}

func deleteRecordsScenario() scenario {
	askFor := func(c *client, req *kmsg.DeleteRecordsRequest) {
		c.t.Helper()
		ask[*kmsg.DeleteRecordsResponse](c, req)
	}
	return scenario{name: "delete_records", cases: []oneCase{
		{name: "up to an offset", api: kmsg.DeleteRecords, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b", "c"), values("d"))
			for _, offset := range []int64{0, 1, 1, 0, 3, 5, -2, 4, -1} {
				askFor(c, cut(t.name, 0, offset))
				ask[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(t.name, 0, -2))
			}
		}},
		{name: "all, and of an empty partition", api: kmsg.DeleteRecords, run: func(c *client) {
			t := c.topic("t", 1)
			askFor(c, cut(t.name, 0, -1))
			askFor(c, cut(t.name, 0, 1))
			produceTo(c, t, 0, values("a", "b", "c"))
			askFor(c, cut(t.name, 0, -1))
		}},
		{name: "what is not there", api: kmsg.DeleteRecords, run: func(c *client) {
			t := c.topic("t", 1)
			askFor(c, cut(c.fresh("missing"), 0, 0))
			askFor(c, cut(t.name, 1, 0))
			askFor(c, cut(t.name, -1, 0))
			askFor(c, cut("a b", 0, 0))
			askFor(c, kmsg.NewPtrDeleteRecordsRequest())
		}},
		{name: "of a compacted topic", api: kmsg.DeleteRecords, run: func(c *client) {
			t := c.topic("t", 1, "cleanup.policy=compact")
			produceTo(c, t, 0, batch{values: []string{"a"}, keys: []string{"k"}})
			askFor(c, cut(t.name, 0, 1))
			both := c.topic("both", 1, "cleanup.policy=compact,delete")
			produceTo(c, both, 0, batch{values: []string{"a"}, keys: []string{"k"}})
			askFor(c, cut(both.name, 0, 1))
		}},
		{name: "a partition twice", api: kmsg.DeleteRecords, run: func(c *client) {
			t := c.topic("t", 2)
			produceTo(c, t, 0, values("a", "b", "c"))
			req := cut(t.name, 0, 1)
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, cut(t.name, 1, 0).Topics[0].Partitions...)
			askFor(c, req)
		}},
	}}
}

func describeLogDirsScenario() scenario {
	askFor := func(c *client, topic string, partitions ...int32) {
		c.t.Helper()
		req := kmsg.NewPtrDescribeLogDirsRequest()
		rt := kmsg.NewDescribeLogDirsRequestTopic()
		rt.Topic, rt.Partitions = topic, partitions
		req.Topics = append([]kmsg.DescribeLogDirsRequestTopic{}, rt)
		ask[*kmsg.DescribeLogDirsResponse](c, req)
	}
	return scenario{name: "describe_log_dirs", cases: []oneCase{
		{name: "nothing, where there is nothing", api: kmsg.DescribeLogDirs, run: func(c *client) {
			req := kmsg.NewPtrDescribeLogDirsRequest()
			req.Topics = nil
			ask[*kmsg.DescribeLogDirsResponse](c, req)
			req.Topics = []kmsg.DescribeLogDirsRequestTopic{}
			ask[*kmsg.DescribeLogDirsResponse](c, req)
		}},
		{name: "partitions", api: kmsg.DescribeLogDirs, run: func(c *client) {
			t := c.topic("t", 3)
			produceTo(c, t, 1, values("a", "b", "c"), values("d"))
			askFor(c, t.name, 0, 1)
			askFor(c, t.name, 1, 1)
			askFor(c, t.name)
		}},
		{name: "what is not there", api: kmsg.DescribeLogDirs, run: func(c *client) {
			t := c.topic("t", 1)
			askFor(c, t.name, 1)
			askFor(c, t.name, -1)
			askFor(c, c.fresh("missing"), 0)
			askFor(c, "", 0)
		}},
	}}
}

func listConfigResourcesScenario() scenario {
	return scenario{name: "list_config_resources", cases: []oneCase{
		{name: "all that there are", api: kmsg.ListConfigResources, run: func(c *client) {
			ask[*kmsg.ListConfigResourcesResponse](c, kmsg.NewPtrListConfigResourcesRequest())
		}},
		{name: "by their kind", api: kmsg.ListConfigResources, from: 1, run: func(c *client) {
			t := c.topic("t", 1)
			c.topic("u", 1)
			for _, kind := range []int8{2, 4, 8, 16, 32, 0, 3, 127, -1} {
				req := kmsg.NewPtrListConfigResourcesRequest()
				req.ResourceTypes = []int8{kind}
				ask[*kmsg.ListConfigResourcesResponse](c, req)
			}
			alter(c, topicConfigs, t.name, change{kmsg.IncrementalAlterConfigOpSet, "retention.ms=5"})
			c.settle()
			req := kmsg.NewPtrListConfigResourcesRequest()
			req.ResourceTypes = []int8{2, 4, 2}
			ask[*kmsg.ListConfigResourcesResponse](c, req)
		}},
	}}
}
