package oracle

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func createTopicsScenario() scenario {
	return scenario{name: "create_topics", settings: []string{"num.partitions=3"}, cases: []oneCase{
		{name: "a topic", api: kmsg.CreateTopics, run: func(c *client) {
			create(c, newTopic(c.fresh("t"), 2))
		}},
		{name: "several topics, some of which cannot be", api: kmsg.CreateTopics, to: 4, run: func(c *client) {
			there := c.topic("there", 1)
			create(c, newTopic(c.fresh("new"), 1), newTopic(there.name, 1), newTopic("a b", 1))
		}},
		{name: "a topic that is there", api: kmsg.CreateTopics, run: func(c *client) {
			create(c, newTopic(c.topic("t", 1).name, 1))
		}},
		{name: "a topic that is there, with other mistakes", api: kmsg.CreateTopics, run: func(c *client) {
			t := c.topic("t", 1).name
			create(c, newTopic(t, 0))
			create(c, newTopic(t, 1, "retention.ms=never"))
		}},
		{name: "no topics", api: kmsg.CreateTopics, run: func(c *client) { create(c) }},
		{name: "a topic named twice", api: kmsg.CreateTopics, run: func(c *client) {
			t, other := c.fresh("t"), c.fresh("other")
			create(c, newTopic(t, 1), newTopic(other, 0), newTopic(t, 2))
		}},
		{name: "names that are none", api: kmsg.CreateTopics, run: func(c *client) {
			for _, name := range badTopicNames() {
				create(c, newTopic(name, 1))
			}
		}},
		{name: "the longest name", api: kmsg.CreateTopics, to: 4, run: func(c *client) {
			t := c.fresh("long")
			long := t + strings.Repeat("x", 249-len(t))
			c.names.show(long, "<249 letters>")
			create(c, newTopic(long, 1))
		}},
		{name: "names that collide", api: kmsg.CreateTopics, run: func(c *client) {
			base := c.fresh("collide")
			do[*kmsg.CreateTopicsResponse](c, createRequest(newTopic(base+".a", 1)))
			create(c, newTopic(base+"_a", 1))
		}},
		{name: "names that Kafka keeps", api: kmsg.CreateTopics, run: func(c *client) {
			create(c, newTopic("__cluster_metadata", 1))
		}},
		{name: "counts", api: kmsg.CreateTopics, run: func(c *client) {
			for _, n := range []int32{0, -1, -2, 1 << 20} {
				create(c, newTopic(c.fresh("t"), n))
			}
			for _, n := range []int16{0, -1, -2, 2, 1000} {
				t := newTopic(c.fresh("t"), 1)
				t.ReplicationFactor = n
				create(c, t)
			}
			t := newTopic(c.fresh("t"), 0)
			t.ReplicationFactor = 0
			create(c, t)
		}},
		{name: "assignments", api: kmsg.CreateTopics, run: func(c *client) {
			for _, a := range assignments() {
				t := newTopic(c.fresh("t"), -1)
				t.ReplicationFactor, t.ReplicaAssignment = -1, a
				create(c, t)
			}
		}},
		{name: "an assignment and counts", api: kmsg.CreateTopics, run: func(c *client) {
			for _, counts := range [][2]int{{1, 1}, {1, -1}, {-1, 1}} {
				t := newTopic(c.fresh("t"), int32(counts[0]))
				t.ReplicationFactor, t.ReplicaAssignment = int16(counts[1]), assigned([]int32{1})
				create(c, t)
			}
		}},
		{name: "configs", api: kmsg.CreateTopics, run: func(c *client) {
			create(c, newTopic(c.fresh("t"), 1, "retention.ms=1000", "cleanup.policy=compact,delete", "max.message.bytes=2000", "flush.messages=5"))
		}},
		{name: "configs that are none", api: kmsg.CreateTopics, run: func(c *client) {
			for _, config := range badTopicConfigs() {
				create(c, newTopic(c.fresh("t"), 1, config))
			}
		}},
		{name: "a config without a value", api: kmsg.CreateTopics, run: func(c *client) {
			t := newTopic(c.fresh("t"), 1)
			rc := kmsg.NewCreateTopicsRequestTopicConfig()
			rc.Name = "retention.ms"
			t.Configs = append(t.Configs, rc)
			create(c, t)
		}},
		{name: "a config twice", api: kmsg.CreateTopics, run: func(c *client) {
			create(c, newTopic(c.fresh("t"), 1, "retention.ms=1000", "retention.ms=2000"))
		}},
		{name: "only asking", api: kmsg.CreateTopics, run: func(c *client) {
			t := c.fresh("t")
			for range 2 {
				req := createRequest(newTopic(t, 2))
				req.ValidateOnly = true
				ask[*kmsg.CreateTopicsResponse](c, req)
			}
			req := createRequest(newTopic(t, 0))
			req.ValidateOnly = true
			ask[*kmsg.CreateTopicsResponse](c, req)
			ask[*kmsg.MetadataResponse](c, metadataRequest(t))
		}},
	}}
}

func deleteTopicsScenario() scenario {
	return scenario{name: "delete_topics", cases: []oneCase{
		{name: "a topic", api: kmsg.DeleteTopics, run: func(c *client) {
			t := c.topic("t", 2)
			ask[*kmsg.DeleteTopicsResponse](c, deleteByName(t.name))
			ask[*kmsg.DeleteTopicsResponse](c, deleteByName(t.name))
		}},
		{name: "several topics", api: kmsg.DeleteTopics, run: func(c *client) {
			ask[*kmsg.DeleteTopicsResponse](c, deleteByName(c.topic("one", 1).name, c.fresh("missing"), c.topic("two", 1).name))
		}},
		{name: "no topics", api: kmsg.DeleteTopics, run: func(c *client) {
			ask[*kmsg.DeleteTopicsResponse](c, deleteByName())
		}},
		{name: "a topic named twice", api: kmsg.DeleteTopics, run: func(c *client) {
			t, other := c.topic("t", 1), c.topic("other", 1)
			ask[*kmsg.DeleteTopicsResponse](c, deleteByName(t.name, other.name, t.name))
		}},
		{name: "names that are none", api: kmsg.DeleteTopics, run: func(c *client) {
			for _, name := range badTopicNames() {
				ask[*kmsg.DeleteTopicsResponse](c, deleteByName(name))
			}
		}},
		{name: "names that Kafka keeps", api: kmsg.DeleteTopics, run: func(c *client) {
			ask[*kmsg.DeleteTopicsResponse](c, deleteByName("__cluster_metadata"))
		}},
		{name: "by id", api: kmsg.DeleteTopics, from: 6, run: func(c *client) {
			t := c.topic("t", 1)
			ask[*kmsg.DeleteTopicsResponse](c, deleteByID(t.id, [16]byte{1, 2, 3}))
			ask[*kmsg.DeleteTopicsResponse](c, deleteByID(t.id))
			u := c.topic("u", 1)
			ask[*kmsg.DeleteTopicsResponse](c, deleteByID(u.id, u.id))
		}},
		{name: "by name and by id", api: kmsg.DeleteTopics, from: 6, run: func(c *client) {
			t := c.topic("t", 1)
			req := deleteByID(t.id)
			req.Topics[0].Topic = &t.name
			ask[*kmsg.DeleteTopicsResponse](c, req)
			req = deleteByID(t.id)
			req.Topics = append(req.Topics, deleteByNames(t.name)...)
			ask[*kmsg.DeleteTopicsResponse](c, req)
		}},
		{name: "neither name nor id", api: kmsg.DeleteTopics, from: 6, run: func(c *client) {
			ask[*kmsg.DeleteTopicsResponse](c, deleteByID([16]byte{}))
		}},
	}}
}

func noDeletionScenario() scenario {
	return scenario{name: "no_deletion", settings: []string{"delete.topic.enable=false"}, cases: []oneCase{
		{name: "a topic", api: kmsg.DeleteTopics, run: func(c *client) {
			ask[*kmsg.DeleteTopicsResponse](c, deleteByName(c.topic("t", 1).name, c.fresh("missing")))
		}},
	}}
}

// badTopicConfigs are configs that no topic can have.
func badTopicConfigs() []string {
	return []string{
		"retention.ms=never", "retention.ms=-2", "retention.ms=", "cleanup.policy=shred", "cleanup.policy=", "compression.type=rar",
		"max.message.bytes=-1", "max.message.bytes=3000000000", "min.cleanable.dirty.ratio=2", "segment.bytes=1", "no.such.config=1", "=1",
		"unclean.leader.election.enable=maybe", "min.insync.replicas=0", "message.timestamp.type=Never", "retention.ms=1 ",
		"min.compaction.lag.ms=10", "compression.zstd.level=99", "remote.storage.enable=true", "local.retention.ms=100",
	}
}

// assignments are manual assignments of partitions to brokers, of which there is one: 1.
func assignments() [][]kmsg.CreateTopicsRequestTopicReplicaAssignment {
	shifted := assigned([]int32{1}, []int32{1})
	shifted[0].Partition, shifted[1].Partition = 1, 2
	twice := assigned([]int32{1}, []int32{1})
	twice[1].Partition = 0
	return [][]kmsg.CreateTopicsRequestTopicReplicaAssignment{
		assigned([]int32{1}, []int32{1}), assigned([]int32{2}), assigned([]int32{1, 2}), assigned([]int32{1, 1}), assigned([]int32{}),
		assigned([]int32{-1}), shifted, twice, assigned([]int32{1}, []int32{1, 2}),
	}
}

func assigned(brokers ...[]int32) (list []kmsg.CreateTopicsRequestTopicReplicaAssignment) {
	for i, b := range brokers {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), b
		list = append(list, a)
	}
	return list
}

func newTopic(name string, partitions int32, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	for _, text := range configs {
		name, value, _ := strings.Cut(text, "=")
		rc := kmsg.NewCreateTopicsRequestTopicConfig()
		rc.Name, rc.Value = name, &value
		t.Configs = append(t.Configs, rc)
	}
	return t
}

func createRequest(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.TimeoutMillis = topics, 10_000
	return req
}

// create asks for topics; what Kafka tells of the configs of those that it makes is left to one case.
func create(c *client, topics ...kmsg.CreateTopicsRequestTopic) {
	c.t.Helper()
	ask[*kmsg.CreateTopicsResponse](c, createRequest(topics...))
}

func deleteByNames(names ...string) (list []kmsg.DeleteTopicsRequestTopic) {
	for _, name := range names {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		list = append(list, t)
	}
	return list
}

// deleteByName deletes topics in whatever way the version has.
func deleteByName(names ...string) *kmsg.DeleteTopicsRequest {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames, req.Topics, req.TimeoutMillis = names, deleteByNames(names...), 10_000
	return req
}

func deleteByID(ids ...[16]byte) *kmsg.DeleteTopicsRequest {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	for _, id := range ids {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.TopicID = id
		req.Topics = append(req.Topics, t)
	}
	return req
}
