package oracle

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceScenario is about the request; what a batch may be is produceBatchesScenario's. Null records are left out: Kafka
// gives no answer to them.
func produceScenario() scenario {
	return scenario{name: "produce", cases: slices.Concat(producedAs(), producedTo(), producedByWhom())}
}

// producedAs is about what a request says of all its batches.
func producedAs() []oneCase {
	return []oneCase{
		{name: "acks", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			for _, acks := range []int16{-1, 1, 2, -2, 32767, -32768} {
				askAcks(c, t, acks, values("a").bytes())
			}
			tellAcks(c, t, values("b"))
			readBack(c, t, 3)
		}},
		{name: "acks of 0 for what is refused", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			for _, req := range []*kmsg.ProduceRequest{
				produceRequest(c.missing("missing"), 0, values("a").bytes()),
				produceRequest(t, 1, values("a").bytes()),
				produceRequest(t, 0, batch{values: []string{"a"}, spoil: flip(17)}.bytes()),
				produceRequest(t, 0, []byte{}),
			} {
				req.Acks = 0
				begin[*kmsg.ProduceResponse](c, req).isClosed()
			}
			// Those that are good are appended all the same.
			req := produceRequest(t, 1, values("a").bytes())
			req.Acks = 0
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, produceRequest(t, 0, values("b").bytes()).Topics[0].Partitions[0])
			begin[*kmsg.ProduceResponse](c, req).isClosed()
			readBack(c, t, 1)
		}},
		{name: "acks out of range and something else", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			askAcks(c, c.missing("missing"), 2, values("a").bytes())
			askAcks(c, t, 2, batch{values: []string{"a"}, spoil: flip(17)}.bytes())
			askAcks(c, t, 2, records(values("a"), values("b")))
			askAcks(c, c.offsetsTopic(), 2, values("a").bytes())
			askAcks(c, t, 2, batch{values: []string{"a"}, attrs: transactional}.bytes())
		}},
		// Those below a disk's time are left out: one broker keeps them, and the other does not.
		{name: "timeouts", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			for _, millis := range []int32{10_000, 2147483647, 0, -1} {
				req := produceRequest(t, 0, values("a").bytes())
				req.TimeoutMillis = millis
				ask[*kmsg.ProduceResponse](c, req)
			}
		}},
	}
}

// producedTo is about where records are to go.
func producedTo() []oneCase {
	return []oneCase{
		{name: "what is not there", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 2)
			askProduce(c, c.missing("missing"), 0, values("a"))
			askProduce(c, topic{"", [16]byte{}}, 0, values("a"))
			askProduce(c, topic{"no name", [16]byte{}}, 0, values("a"))
			for _, partition := range []int32{2, -1, 2147483647} {
				askProduce(c, t, partition, values("a"))
			}
			// What is there is served beside it.
			req := produceRequest(t, 0, values("a").bytes())
			for _, other := range []*kmsg.ProduceRequest{
				produceRequest(c.missing("none"), 0, values("a").bytes()), produceRequest(c.missing("neither"), 1, values("a").bytes()),
			} {
				req.Topics = append(req.Topics, other.Topics...)
			}
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, produceRequest(t, 2, values("b").bytes()).Topics[0].Partitions[0])
			ask[*kmsg.ProduceResponse](c, req)
			// Of what is not there, it does not count what is to be appended.
			ask[*kmsg.ProduceResponse](c, produceRequest(t, 2, []byte{}))
			askProduce(c, t, 2, batch{values: []string{"a"}, spoil: flip(17)})
		}},
		{name: "a topic that is deleted", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, values("a"))
			c.remove(t)
			askProduce(c, t, 0, values("a"))
		}},
		{name: "empty lists", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			req := produceRequest(t, 0, []byte{})
			ask[*kmsg.ProduceResponse](c, req)
			req.Topics[0].Partitions = nil
			ask[*kmsg.ProduceResponse](c, req)
			req.Topics = nil
			ask[*kmsg.ProduceResponse](c, req)
		}},
		{name: "several topics and partitions", api: kmsg.Produce, run: func(c *client) {
			t, u := c.topic("t", 2), c.topic("u", 1)
			req := produceRequest(t, 1, values("a", "b").bytes())
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, produceRequest(t, 0, values("c").bytes()).Topics[0].Partitions[0])
			req.Topics = append(req.Topics, produceRequest(u, 0, values("d").bytes()).Topics...)
			ask[*kmsg.ProduceResponse](c, req)
			ask[*kmsg.ProduceResponse](c, req)
		}},
		{name: "a partition twice", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			req := produceRequest(t, 0, values("a").bytes())
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, produceRequest(t, 0, values("b", "c").bytes()).Topics[0].Partitions[0])
			ask[*kmsg.ProduceResponse](c, req)
			askProduce(c, t, 0, values("d"))
		}},
		{name: "a topic twice", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 2)
			req := produceRequest(t, 0, values("a").bytes())
			req.Topics = append(req.Topics, produceRequest(t, 1, values("b").bytes()).Topics...)
			ask[*kmsg.ProduceResponse](c, req)
		}},
	}
}

// producedByWhom is about who may append, and with how many replicas.
func producedByWhom() []oneCase {
	return []oneCase{
		{name: "internal topics", api: kmsg.Produce, run: func(c *client) {
			t := c.offsetsTopic()
			askProduce(c, t, 0, values("a"))
			askProduce(c.named("__admin_client"), t, 0, values("a")) // which lacks a key
		}},
		{name: "more replicas than there are", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1, "min.insync.replicas=2")
			for _, acks := range []int16{-1, 1} {
				askAcks(c, t, acks, values("a").bytes())
			}
			tellAcks(c, t, values("b"))
			readBack(c, t, 3) // one replica is all that a topic of one replica can have
			askAcks(c, t, -1, batch{values: []string{"a"}, spoil: flip(17)}.bytes())
		}},
		{name: "a transactional id without transactions", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			id := "transactional"
			req := produceRequest(t, 0, values("a").bytes())
			req.TransactionID = &id
			ask[*kmsg.ProduceResponse](c, req)
		}},
		{name: "a transaction without an id", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 2)
			req := produceRequest(t, 0, batch{values: []string{"a"}, attrs: transactional, named: true, producer: 1 << 40}.bytes())
			ask[*kmsg.ProduceResponse](c, req)
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, produceRequest(t, 1, values("b").bytes()).Topics[0].Partitions[0])
			req.Topics = append(req.Topics, produceRequest(c.missing("none"), 0, values("b").bytes()).Topics...)
			ask[*kmsg.ProduceResponse](c, req)
			req.Acks = 0
			begin[*kmsg.ProduceResponse](c, req).isClosed()
		}},
	}
}

// askProduce asks for batches to be appended to a partition.
func askProduce(c *client, to topic, partition int32, list ...batch) {
	c.t.Helper()
	ask[*kmsg.ProduceResponse](c, produceRequest(to, partition, records(list...)))
}

func askAcks(c *client, to topic, acks int16, records []byte) {
	c.t.Helper()
	req := produceRequest(to, 0, records)
	req.Acks = acks
	ask[*kmsg.ProduceResponse](c, req)
}

// tellAcks appends batches with acks=0.
func tellAcks(c *client, to topic, list ...batch) {
	c.t.Helper()
	req := produceRequest(to, 0, records(list...))
	req.Acks = 0
	c.tell(req)
}

// readBack asks for all records of a topic's first partition, of which there are so many by and by.
func readBack(c *client, t topic, count int64) {
	c.t.Helper()
	c.awaitEnd(t, count)
	ask[*kmsg.FetchResponse](c, fetchRequest(t, 0, 0))
}

// awaitEnd waits until a topic's first partition has so many records.
func (c *client) awaitEnd(t topic, count int64) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if do[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(t.name, 0, -1)).Topics[0].Partitions[0].Offset >= count {
			return
		}
	}
	c.t.Fatalf("the topic %s does not get %d records in %v", t.name, count, patience)
}

// remove deletes a topic, and waits until it is gone.
func (c *client) remove(t topic) {
	c.t.Helper()
	if code := do[*kmsg.DeleteTopicsResponse](c, deleteByName(t.name)).Topics[0].ErrorCode; code != 0 {
		c.t.Fatalf("the topic %s cannot be deleted: %v", t.name, codeName(code))
	}
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		found := do[*kmsg.ListOffsetsResponse](c, listOffsetsRequest(t.name, 0, -1)).Topics[0].Partitions[0]
		if found.ErrorCode == kerr.UnknownTopicOrPartition.Code {
			return
		}
	}
	c.t.Fatalf("the topic %s is still there after %v", t.name, patience)
}

// offsetsTopic is the topic of committed offsets, which is made if it is not there.
func (c *client) offsetsTopic() topic {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKeys = []string{"any"}
		if do[*kmsg.FindCoordinatorResponse](c, find).Coordinators[0].ErrorCode != 0 {
			continue
		}
		name := "__consumer_offsets"
		req := kmsg.NewPtrMetadataRequest()
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &name
		req.Topics = append(req.Topics, rt)
		t := topic{name, do[*kmsg.MetadataResponse](c, req).Topics[0].TopicID}
		c.names.ids[t.id] = "<id of " + name + ">"
		c.lead(t, 1)
		return t
	}
	c.t.Fatalf("there is no __consumer_offsets after %v", patience)
	return topic{}
}
