package oracle

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchScenario is about fetches without a session, and those of replicas as far as one broker answers them.
func fetchScenario() scenario {
	return scenario{name: "fetch", cases: slices.Concat(fetchedFrom(), fetchedBytes(), fetchedAfter(), fetchedBy())}
}

// fetchedFrom is about where to read.
func fetchedFrom() []oneCase {
	return []oneCase{
		{name: "offsets", api: kmsg.Fetch, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b"), values("c"))
			for _, offset := range []int64{0, 1, 2, 3, 4, -1, -2, 1 << 62} {
				ask[*kmsg.FetchResponse](c, fetchRequest(t, 0, offset))
			}
		}},
		{name: "offsets of an empty partition", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			for _, offset := range []int64{0, 1, -1} {
				ask[*kmsg.FetchResponse](c, fetchRequest(t, 0, offset))
			}
		}},
		{name: "offsets below the log's start", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b", "c"), values("d"))
			c.deleteBefore(t, 1)
			for _, offset := range []int64{0, 1, 3} {
				ask[*kmsg.FetchResponse](c, fetchRequest(t, 0, offset))
			}
			c.deleteBefore(t, 4)
			for _, offset := range []int64{3, 4, 5} {
				ask[*kmsg.FetchResponse](c, fetchRequest(t, 0, offset))
			}
		}},
		{name: "what is not there", api: kmsg.Fetch, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			for _, req := range []*kmsg.FetchRequest{
				fetchRequest(c.missing("missing"), 0, 0), fetchRequest(topic{}, 0, 0), fetchRequest(topic{name: "no id"}, 0, 0),
				fetchRequest(t, 1, 0), fetchRequest(t, -1, 0), fetchRequest(t, 2147483647, 0),
			} {
				ask[*kmsg.FetchResponse](c, req)
			}
			for _, other := range []topic{t, c.missing("missing")} {
				req := fetchRequest(t, 0, 0)
				addFetch(req, other, 1, 0)
				ask[*kmsg.FetchResponse](c, req)
			}
		}},
		{name: "a topic that is deleted", api: kmsg.Fetch, run: func(c *client) {
			t := c.topic("t", 1)
			c.remove(t)
			ask[*kmsg.FetchResponse](c, fetchRequest(t, 0, 0))
		}},
		{name: "empty lists", api: kmsg.Fetch, run: func(c *client) {
			t := c.topic("t", 1)
			req := fetchRequest(t, 0, 0)
			req.Topics[0].Partitions = nil
			ask[*kmsg.FetchResponse](c, req)
			req.Topics, req.MaxWaitMillis = nil, 10_000
			ask[*kmsg.FetchResponse](c, req)
		}},
		{name: "several partitions", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t, u := c.topic("t", 2), c.topic("u", 1)
			produceTo(c, t, 0, values("a"))
			produceTo(c, u, 0, values("b"))
			req := fetchRequest(t, 0, 0)
			addFetch(req, u, 0, 0)
			addFetch(req, t, 1, 0)
			ask[*kmsg.FetchResponse](c, req)
		}},
		{name: "a partition twice", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"), values("b"))
			req := fetchRequest(t, 0, 0)
			addFetch(req, t, 0, 1)
			ask[*kmsg.FetchResponse](c, req)
		}},
	}
}

// fetchedBytes is about how much to read.
func fetchedBytes() []oneCase {
	return []oneCase{
		{name: "max bytes of a partition", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"), values("b"), values("c")) // of 69 bytes each
			for _, most := range []int32{207, 138, 69, 1, 0} {
				req := fetchRequest(t, 0, 0)
				req.Topics[0].Partitions[0].PartitionMaxBytes = most
				ask[*kmsg.FetchResponse](c, req)
			}
		}},
		{name: "max bytes", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t, u := c.topic("t", 1), c.topic("u", 1)
			produceTo(c, t, 0, values("a"), values("b"))
			produceTo(c, u, 0, values("c"), values("d"))
			for _, most := range []int32{276, 207, 138, 69, 1, 0} {
				req := fetchRequest(t, 0, 0)
				addFetch(req, u, 0, 0)
				req.MaxBytes = most
				ask[*kmsg.FetchResponse](c, req)
			}
		}},
		{name: "max bytes that end within a batch", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"), values("b"))
			for _, most := range []int32{80, 86, 87, 130, 137} {
				req := fetchRequest(t, 0, 0)
				req.MaxBytes = most
				ask[*kmsg.FetchResponse](c, req)
			}
		}},
		{name: "limits below 0", api: kmsg.Fetch, from: 15, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			req := fetchRequest(t, 0, 0)
			req.Topics[0].Partitions[0].PartitionMaxBytes = -1
			ask[*kmsg.FetchResponse](c, req)
			req = fetchRequest(t, 0, 0)
			req.MaxBytes = -1
			ask[*kmsg.FetchResponse](c, req)
		}},
		{name: "the first partition has nothing, and the second one a large batch", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t, u := c.topic("t", 1), c.topic("u", 1)
			produceTo(c, u, 0, values("large"))
			req := fetchRequest(t, 0, 0)
			addFetch(req, u, 0, 0).PartitionMaxBytes = 1
			req.MaxBytes = 1
			ask[*kmsg.FetchResponse](c, req)
		}},
	}
}

// fetchedAfter is about how long to wait.
func fetchedAfter() []oneCase {
	return []oneCase{
		{name: "min bytes", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"), values("b"))
			for _, least := range []int32{138, 0, -1} { // which do not wait
				req := fetchRequest(t, 0, 0)
				req.MinBytes, req.MaxWaitMillis = least, 10_000
				ask[*kmsg.FetchResponse](c, req)
			}
			req := fetchRequest(t, 0, 2)
			req.MinBytes, req.MaxWaitMillis = 0, 10_000
			ask[*kmsg.FetchResponse](c, req)
			req = fetchRequest(t, 0, 0)
			req.MinBytes, req.MaxBytes, req.MaxWaitMillis = 1000, 138, 10_000 // more than may come
			ask[*kmsg.FetchResponse](c, req)
		}},
		{name: "a wait for more than there is", api: kmsg.Fetch, from: 15, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			for _, offset := range []int64{0, 1} {
				req := fetchRequest(t, 0, offset)
				req.MinBytes, req.MaxWaitMillis = 1000, 20
				askAfter[*kmsg.FetchResponse](c, 20*time.Millisecond, req)
			}
			req := fetchRequest(t, 0, 1)
			req.MaxWaitMillis = -1
			ask[*kmsg.FetchResponse](c, req)
		}},
		{name: "a wait that records end", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 2)
			req := fetchRequest(t, 0, 0)
			addFetch(req, t, 1, 0)
			req.MaxWaitMillis = 20_000
			waiting := begin[*kmsg.FetchResponse](c.another(), req)
			produceTo(c, t, 1, values("a"))
			waiting.answer()
			req = fetchRequest(t, 1, 0)
			req.MinBytes, req.MaxWaitMillis = 100, 20_000
			waiting = begin[*kmsg.FetchResponse](c.another(), req)
			produceTo(c, t, 1, values("b"))
			waiting.answer()
		}},
		{name: "errors that end a wait, and some that do not", api: kmsg.Fetch, from: 15, run: func(c *client) {
			t := c.topic("t", 2)
			req := fetchRequest(t, 0, 0)
			addFetch(req, t, 1, 5) // out of range
			req.MaxWaitMillis = 20_000
			ask[*kmsg.FetchResponse](c, req)
			req = fetchRequest(t, 0, 0)
			addFetch(req, t, 1, 0).CurrentLeaderEpoch = 1000
			req.MaxWaitMillis = 20_000
			ask[*kmsg.FetchResponse](c, req)
			for _, other := range []topic{t, c.missing("missing")} {
				req = fetchRequest(t, 0, 0)
				addFetch(req, other, 7, 0)
				req.MaxWaitMillis = 20
				askAfter[*kmsg.FetchResponse](c, 20*time.Millisecond, req)
			}
			req = fetchRequest(t, 7, 0) // nothing to wait for
			req.MaxWaitMillis = 20_000
			ask[*kmsg.FetchResponse](c, req)
		}},
	}
}

// fetchedBy is about who reads: with which isolation level, epochs and ids.
func fetchedBy() []oneCase {
	return []oneCase{
		{name: "committed records", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"), values("b"))
			for _, level := range []int8{0, 1} {
				for _, offset := range []int64{1, 2, 3} {
					req := fetchRequest(t, 0, offset)
					req.IsolationLevel = level
					ask[*kmsg.FetchResponse](c, req)
				}
			}
		}},
		{name: "an isolation level that there is not", api: kmsg.Fetch, from: 6, run: func(c *client) {
			t := c.topic("t", 1)
			for _, level := range []int8{2, -1} {
				req := fetchRequest(t, 0, 0)
				req.IsolationLevel = level
				ask[*kmsg.FetchResponse](c, req)
			}
		}},
		{name: "leader epochs", api: kmsg.Fetch, from: 9, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			for _, epoch := range []int32{-1, c.names.epoch, c.names.epoch + 1, -2} {
				for _, offset := range []int64{0, 7} {
					req := fetchRequest(t, 0, offset)
					req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
					ask[*kmsg.FetchResponse](c, req)
				}
			}
		}},
		{name: "leader epochs that a fetch ended with", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a", "b"))
			for _, epoch := range []int32{c.names.epoch, c.names.epoch + 1, -2} {
				for _, offset := range []int64{0, 2, 3} {
					req := fetchRequest(t, 0, offset)
					req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
					req.MaxWaitMillis = 10
					ask[*kmsg.FetchResponse](c, req)
				}
			}
			c.deleteBefore(t, 1)
			for _, epoch := range []int32{c.names.epoch, c.names.epoch + 1} {
				for _, offset := range []int64{0, 1, 7} {
					req := fetchRequest(t, 0, offset)
					req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
					ask[*kmsg.FetchResponse](c, req)
				}
			}
			empty := c.topic("empty", 1)
			for _, offset := range []int64{0, 1} {
				req := fetchRequest(empty, 0, offset)
				req.Topics[0].Partitions[0].LastFetchedEpoch = c.names.epoch
				ask[*kmsg.FetchResponse](c, req)
			}
		}},
		{name: "a leader epoch that has not been, and one that a fetch ended with", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			req := fetchRequest(t, 0, 5)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch, req.Topics[0].Partitions[0].LastFetchedEpoch = 1000, 1000
			ask[*kmsg.FetchResponse](c, req)
		}},
		{name: "followers and others that are no consumers", api: kmsg.Fetch, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			for _, id := range []int32{-1, -2, -3, 0, 7} { // 1 is the broker itself
				for _, epoch := range []int32{-1, c.names.epoch, 1000} {
					req := fetchRequest(t, 0, 0)
					as(c, req, id)
					req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
					ask[*kmsg.FetchResponse](c, req)
				}
			}
			req := fetchRequest(t, 1, 0)
			addFetch(req, c.missing("missing"), 0, 0)
			as(c, req, 7)
			ask[*kmsg.FetchResponse](c, req)
		}},
		{name: "what is told and does not matter", api: kmsg.Fetch, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			id := "another cluster"
			req := fetchRequest(t, 0, 0)
			req.Rack, req.ClusterID = "a rack", &id
			p := &req.Topics[0].Partitions[0]
			p.LogStartOffset = 7
			if c.version >= 17 {
				p.ReplicaDirectoryID = [16]byte{1}
			}
			ask[*kmsg.FetchResponse](c, req)
		}},
		{name: "a high watermark that a consumer knows", api: kmsg.Fetch, from: 18, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values("a"))
			for _, mark := range []int64{0, 1, 7, -1} {
				req := fetchRequest(t, 0, 1)
				req.Topics[0].Partitions[0].HighWatermark, req.MaxWaitMillis = mark, 20
				askAfter[*kmsg.FetchResponse](c, 20*time.Millisecond, req)
			}
		}},
		{name: "a large batch", api: kmsg.Fetch, from: 15, run: func(c *client) {
			t := c.topic("t", 1)
			produceTo(c, t, 0, values(strings.Repeat("large ", 100)))
			req := fetchRequest(t, 0, 0)
			req.MaxBytes, req.MinBytes, req.MaxWaitMillis = 100, 1<<20, 20_000
			ask[*kmsg.FetchResponse](c, req)
		}},
	}
}

// as has a request come from a replica.
func as(c *client, req *kmsg.FetchRequest, id int32) {
	if c.version < 15 {
		req.ReplicaID = id
	} else {
		req.ReplicaState.ID = id
	}
}

// deleteBefore deletes the records of a topic's first partition that are below an offset.
func (c *client) deleteBefore(t topic, offset int64) {
	c.t.Helper()
	if code := do[*kmsg.DeleteRecordsResponse](c, cut(t.name, 0, offset)).Topics[0].Partitions[0].ErrorCode; code != 0 {
		c.t.Fatalf("the records of %s below %d cannot be deleted: %v", t.name, offset, codeName(code))
	}
}

// fetchRequest is a request for a partition's records, outside of any session, that does not wait.
func fetchRequest(t topic, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes = 1, 1<<20
	addFetch(req, t, partition, offset)
	return req
}

// addFetch adds a partition to a request.
func addFetch(req *kmsg.FetchRequest, t topic, partition int32, offset int64) *kmsg.FetchRequestTopicPartition {
	rt := kmsg.NewFetchRequestTopic()
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = partition, offset, 1<<20
	rt.Topic, rt.TopicID, rt.Partitions = t.name, t.id, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return &req.Topics[len(req.Topics)-1].Partitions[0]
}
