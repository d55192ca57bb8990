package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func createPartitionsScenario() scenario {
	return scenario{name: "create_partitions", cases: []oneCase{
		{name: "more", api: kmsg.CreatePartitions, run: func(c *client) {
			t := c.topic("t", 1)
			grow(c, grown(t.name, 3))
			c.lead(t, 3)
			grow(c, grown(t.name, 4, []int32{1}))
			c.lead(t, 4)
			grow(c, grown(t.name, 4))
		}},
		{name: "as many or fewer", api: kmsg.CreatePartitions, run: func(c *client) {
			t := c.topic("t", 2)
			for _, n := range []int32{2, 1, 0, -1} {
				grow(c, grown(t.name, n))
			}
		}},
		{name: "what is not there", api: kmsg.CreatePartitions, run: func(c *client) {
			grow(c, grown(c.fresh("missing"), 2))
			for _, name := range badTopicNames() {
				grow(c, grown(name, 2))
			}
			grow(c)
		}},
		{name: "a topic twice, and others", api: kmsg.CreatePartitions, run: func(c *client) {
			t, other := c.topic("t", 1), c.topic("other", 1)
			grow(c, grown(t.name, 2), grown(other.name, 2), grown(t.name, 3), grown(c.fresh("missing"), 2))
			c.lead(other, 2)
			grow(c, grown(t.name, 1))
		}},
		{name: "assignments that are none", api: kmsg.CreatePartitions, run: func(c *client) {
			t := c.topic("t", 1).name
			grow(c, grown(t, 2, []int32{}))
			grow(c, grown(t, 2, []int32{2}))
			grow(c, grown(t, 2, []int32{-1}))
			grow(c, grown(t, 2, []int32{1, 1}))
			grow(c, grown(t, 2, []int32{1, 2}))
			grow(c, grown(t, 2, []int32{1}, []int32{1}))
			grow(c, grown(t, 3, []int32{1}))
			none := grown(t, 2)
			none.Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{}
			grow(c, none)
		}},
		{name: "only validated", api: kmsg.CreatePartitions, run: func(c *client) {
			t := c.topic("t", 1).name
			req := growRequest(grown(t, 2), grown(c.fresh("missing"), 2))
			req.ValidateOnly = true
			ask[*kmsg.CreatePartitionsResponse](c, req)
			grow(c, grown(t, 1))
		}},
	}}
}

// grown asks for a number of partitions, with the brokers of each new one unless there are none.
func grown(topic string, count int32, brokers ...[]int32) kmsg.CreatePartitionsRequestTopic {
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = topic, count
	for _, b := range brokers {
		t.Assignment = append(t.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: b})
	}
	return t
}

func growRequest(topics ...kmsg.CreatePartitionsRequestTopic) *kmsg.CreatePartitionsRequest {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics, req.TimeoutMillis = topics, 10_000
	return req
}

func grow(c *client, topics ...kmsg.CreatePartitionsRequestTopic) {
	c.t.Helper()
	ask[*kmsg.CreatePartitionsResponse](c, growRequest(topics...))
}
