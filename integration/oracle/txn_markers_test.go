package oracle

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnMarkersScenario is about markers that are written by hand, as the admin tool does it, and what is known of producers.
func txnMarkersScenario() scenario {
	return scenario{name: "txn_markers", settings: transactionSettings, cases: append(markersWritten(), producersDescribed()...)}
}

// markers asks for markers to be written.
func markers(list ...kmsg.WriteTxnMarkersRequestMarker) *kmsg.WriteTxnMarkersRequest {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Markers = list
	return req
}

// marker is one for a topic's partitions. The version is transaction.version.
func marker(producer int64, epoch int16, coordinator int32, commit bool, version int8, t topic, partitions ...int32) kmsg.WriteTxnMarkersRequestMarker {
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch, m.Committed, m.TransactionVersion = producer, epoch, coordinator, commit, version
	rt := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	rt.Topic, rt.Partitions = t.name, partitions
	m.Topics = append(m.Topics, rt)
	return m
}

// markersWritten is about WriteTxnMarkers.
func markersWritten() []oneCase {
	write := func(c *client, list ...kmsg.WriteTxnMarkersRequestMarker) {
		c.t.Helper()
		ask[*kmsg.WriteTxnMarkersResponse](c, markers(list...))
	}
	return []oneCase{
		{name: "an open transaction", api: kmsg.WriteTxnMarkers, run: func(c *client) {
			t, p := c.topic("t", 2), c.begun("p")
			p.produces(t, 0, "a")
			p.produces(t, 1, "a")
			epoch := p.epoch
			if c.version >= 2 {
				epoch++
			}
			write(c, marker(p.producer, epoch, c.names.epoch, false, 2, t, 0, 1))
			describeProducers(c, t, 0)
			readCommitted(c, t)
			p.describes() // who does not hear of it
			p.tries(t, 0, "b")
			p.triesToEnd(true)
			readCommitted(c, t)
		}},
		{name: "a producer that nobody knows", api: kmsg.WriteTxnMarkers, run: func(c *client) {
			t := c.topic("t", 1)
			write(c, marker(aProducer, 0, 0, true, 0, t, 0))
			write(c, marker(aProducer, 0, 0, true, 0, t, 0))
			write(c, marker(-1, 0, 0, true, 0, t, 0))
			readCommitted(c, t)
		}},
		{name: "epochs of producers", api: kmsg.WriteTxnMarkers, run: func(c *client) {
			for _, version := range []int8{0, 2} {
				t := c.topic("t", 1)
				produceTo(c, t, 0, numbered(aProducer, 5, 0, 1))
				for _, epoch := range []int16{4, 5, 5, 6, 5, 6, -1} {
					write(c, marker(aProducer, epoch, 0, false, version, t, 0))
				}
				describeProducers(c, t, 0)
			}
		}},
		{name: "epochs of producers, in a transaction", api: kmsg.WriteTxnMarkers, run: func(c *client) {
			for _, version := range []int8{0, 1, 2, 3, -1} {
				t, p := c.topic("t", 1), c.bumped("p")
				p.produces(t, 0, "a")
				for _, epoch := range []int16{p.epoch - 1, p.epoch, p.epoch, p.epoch + 1} {
					write(c, marker(p.producer, epoch, 0, true, version, t, 0))
				}
			}
		}},
		{name: "epochs of coordinators", api: kmsg.WriteTxnMarkers, run: func(c *client) {
			t := c.topic("t", 1)
			for _, epoch := range []int32{3, 2, 3, 4, -1, 4} {
				if epoch >= 0 {
					epoch += c.names.epoch
				}
				write(c, marker(aProducer, 0, epoch, true, 0, t, 0))
			}
			write(c, marker(aProducer+1, 0, -1, true, 0, t, 0))
			readCommitted(c, t)
		}},
		{name: "partitions that are not there", api: kmsg.WriteTxnMarkers, run: func(c *client) {
			t := c.topic("t", 1)
			write(c)
			write(c, marker(aProducer, 0, 0, true, 0, t))
			write(c, marker(aProducer, 0, 0, true, 0, c.missing("missing"), 0))
			write(c, marker(aProducer, 0, 0, true, 0, t, 0, 1, -1))
			write(c, marker(aProducer, 0, 0, true, 0, t, 0), marker(aProducer, 0, 0, true, 0, t, 7), marker(aProducer+1, 0, 0, false, 0, t, 0))
			readCommitted(c, t)
		}},
		{name: "several markers", api: kmsg.WriteTxnMarkers, run: func(c *client) {
			t, u := c.topic("t", 1), c.topic("u", 1)
			both := marker(aProducer, 1, 0, true, 0, t, 0)
			both.Topics = append(both.Topics, marker(aProducer, 1, 0, true, 0, u, 0).Topics...)
			write(c, both, marker(aProducer+1, 1, 0, false, 0, t, 0))
			write(c, marker(aProducer, 0, 0, false, 0, t, 0), marker(aProducer+1, 2, 0, false, 0, t, 0))
		}},
		{name: "of offsets", api: kmsg.WriteTxnMarkers, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 1), c.begun("p")
			p.commitsOffset(g, t, 5)
			epoch := p.epoch
			if c.version >= 2 {
				epoch++
			}
			write(c, marker(p.producer, epoch, c.names.epoch, true, 2, topic{name: "__consumer_offsets"}, 0, 1, 2))
			showStable(c, g, t, 0)
		}},
	}
}

// describeProducers shows what a partition knows of producers.
func describeProducers(c *client, t topic, partitions ...int32) {
	c.t.Helper()
	ask[*kmsg.DescribeProducersResponse](c, describeProducersRequest(t, partitions...))
}

func describeProducersRequest(t topic, partitions ...int32) *kmsg.DescribeProducersRequest {
	req := kmsg.NewPtrDescribeProducersRequest()
	rt := kmsg.NewDescribeProducersRequestTopic()
	rt.Topic, rt.Partitions = t.name, partitions
	req.Topics = append(req.Topics, rt)
	return req
}

// producersDescribed is about DescribeProducers.
func producersDescribed() []oneCase {
	return []oneCase{
		{name: "producers", api: kmsg.DescribeProducers, run: func(c *client) {
			t, p, q := c.topic("t", 2), c.begun("p"), c.begun("q")
			produceTo(c, t, 0, present("a"))
			describeProducers(c, t, 0)
			produceTo(c, t, 0, numbered(aProducer, 3, 0, 2))
			describeProducers(c, t, 0, 1)
			p.produces(t, 0, "b")
			p.produces(t, 0, "c", "d")
			q.produces(t, 0, "e")
			describeProducers(c, t, 0)
			p.ends(true)
			q.ends(false)
			describeProducers(c, t, 0)
			q.produces(t, 0, "f")
			describeProducers(c, t, 0)
			do[*kmsg.DeleteRecordsResponse](c, cut(t.name, 0, 4))
			describeProducers(c, t, 0)
		}},
		{name: "what is not there", api: kmsg.DescribeProducers, run: func(c *client) {
			t, u := c.topic("t", 1), c.topic("u", 1)
			describeProducers(c, c.missing("missing"), 0)
			describeProducers(c, t, 0, 1, -1)
			describeProducers(c, t)
			describeProducers(c, topic{}, 0)
			describeProducers(c, topic{name: "no name"}, 0)
			req := describeProducersRequest(t, 0)
			req.Topics = slices.Concat(req.Topics, describeProducersRequest(u, 0).Topics, describeProducersRequest(c.missing("none"), 0).Topics)
			ask[*kmsg.DescribeProducersResponse](c, req)
			req.Topics = nil
			ask[*kmsg.DescribeProducersResponse](c, req)
		}},
	}
}
