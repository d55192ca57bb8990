package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func describeLogDirsScenario() scenario {
	return scenario{name: "describe_log_dirs", cases: []oneCase{
		{name: "some partitions", api: kmsg.DescribeLogDirs, run: func(c *client) {
			t, other := c.topic("t", 3), c.topic("other", 1)
			produceTo(c, t, 1, values("a", "b"))
			logDirs(c, inTopic(t.name, 0, 1))
			logDirs(c, inTopic(t.name, 1, 1, 7), inTopic(other.name, 0), inTopic(c.fresh("missing"), 0))
			logDirs(c, inTopic(t.name))
			logDirs(c, inTopic(t.name, 0), inTopic(t.name, 1))
			logDirs(c)
		}},
	}}
}

func inTopic(topic string, partitions ...int32) kmsg.DescribeLogDirsRequestTopic {
	return kmsg.DescribeLogDirsRequestTopic{Topic: topic, Partitions: partitions}
}

// logDirs asks about partitions; without any, about none.
func logDirs(c *client, topics ...kmsg.DescribeLogDirsRequestTopic) {
	c.t.Helper()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Topics = append([]kmsg.DescribeLogDirsRequestTopic{}, topics...)
	ask[*kmsg.DescribeLogDirsResponse](c, req)
}
