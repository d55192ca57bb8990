package oracle

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func initProducerIDScenario() scenario {
	return scenario{name: "init_producer_id", settings: transactionSettings, cases: append(initializedAlone(), initialized()...)}
}

// initializedAlone is about producers that are given an id without a transactional one, and those that are refused.
func initializedAlone() []oneCase {
	return []oneCase{
		{name: "a new id each time", api: kmsg.InitProducerID, run: func(c *client) {
			c.awaitProducerIDs()
			for range 2 {
				ask[*kmsg.InitProducerIDResponse](c, initProducerID())
			}
		}},
		{name: "no transactional id, and any timeout", api: kmsg.InitProducerID, run: func(c *client) {
			c.awaitProducerIDs()
			for _, millis := range []int32{0, -1, 2147483647} {
				req := initProducerID()
				req.TransactionTimeoutMillis = millis
				ask[*kmsg.InitProducerIDResponse](c, req)
			}
		}},
		{name: "an id and an epoch that one has", api: kmsg.InitProducerID, from: 3, run: func(c *client) {
			c.awaitProducerIDs()
			id := ask[*kmsg.InitProducerIDResponse](c, initProducerID()).ProducerID
			for _, has := range []struct {
				id    int64
				epoch int16
			}{{id, 0}, {id, 5}, {id, 32767}, {aProducer, 0}, {id, -1}, {-1, 0}, {-2, 0}, {id, -2}, {-2, -2}, {-1, -2}} {
				req := initProducerID()
				req.ProducerID, req.ProducerEpoch = has.id, has.epoch
				ask[*kmsg.InitProducerIDResponse](c, req)
			}
		}},
		{name: "transactional ids that are refused", api: kmsg.InitProducerID, run: func(c *client) {
			for _, has := range []struct {
				id     string
				millis int32
			}{{"", 60_000}, {"", 0}, {"t", 0}, {"t", -1}, {"t", 900_001}} {
				req := initProducerID()
				req.TransactionalID, req.TransactionTimeoutMillis = &has.id, has.millis
				ask[*kmsg.InitProducerIDResponse](c, req)
			}
		}},
		{name: "a transactional id, and half of a producer", api: kmsg.InitProducerID, from: 3, run: func(c *client) {
			id := ""
			req := initProducerID()
			req.TransactionalID, req.ProducerID = &id, aProducer
			ask[*kmsg.InitProducerIDResponse](c, req)
		}},
	}
}

// initialized is about transactional ids.
func initialized() []oneCase {
	again := func(p *txn, changes ...func(*kmsg.InitProducerIDRequest)) *kmsg.InitProducerIDResponse {
		p.t.Helper()
		req := p.initRequest()
		for _, change := range changes {
			change(req)
		}
		return settled[*kmsg.InitProducerIDResponse](p.client, req)
	}
	expecting := func(producer int64, epoch int16) func(*kmsg.InitProducerIDRequest) {
		return func(req *kmsg.InitProducerIDRequest) { req.ProducerID, req.ProducerEpoch = producer, epoch }
	}
	return []oneCase{
		{name: "a transactional id, again and again", api: kmsg.InitProducerID, run: func(c *client) {
			p := &txn{client: c, id: c.transactional("p")}
			for _, millis := range []int32{60_000, 1, 900_000} {
				again(p, func(req *kmsg.InitProducerIDRequest) { req.TransactionTimeoutMillis = millis })
				p.describes()
			}
		}},
		{name: "an open transaction, which ends", api: kmsg.InitProducerID, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			again(p)
			p.describes()
			p.triesToEnd(true)
			p.tries(t, 0, "b")
			readCommitted(c, t)
		}},
		{name: "a transaction that is over", api: kmsg.InitProducerID, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			for _, commit := range []bool{true, false} {
				p.produces(t, 0, "a")
				p.ends(commit)
				p.has(again(p))
			}
		}},
		{name: "a producer that is expected", api: kmsg.InitProducerID, from: 3, run: func(c *client) {
			p := &txn{client: c, id: c.transactional("p")}
			p.has(again(p, expecting(aProducer, 5))) // who has been forgotten
			for _, epoch := range []int16{0, 0, 1, 0, 7, -2} {
				again(p, expecting(p.producer, epoch))
			}
			again(p, expecting(p.producer, 32767))
			again(p, expecting(aProducer, 2))
			again(p, expecting(aProducer, 32766))
			again(p, expecting(p.producer, -1))
			again(p, expecting(-1, 2))
			again(p)
			p.describes()
		}},
		{name: "a producer that is expected, with an open transaction", api: kmsg.InitProducerID, from: 3, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			again(p, expecting(p.producer, 7))
			p.describes()
			again(p, expecting(p.producer, p.epoch))
			p.describes()
		}},
		{name: "a producer that is expected, after a transaction", api: kmsg.InitProducerID, from: 3, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			before := p.epoch
			p.produces(t, 0, "a")
			p.ends(true)
			again(p, expecting(p.producer, before))
			again(p, expecting(p.producer, p.epoch))
			p.describes()
		}},
	}
}

func initProducerID() *kmsg.InitProducerIDRequest {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionTimeoutMillis = 60_000
	return req
}

// awaitProducerIDs waits until the broker has ids to give out, which a Kafka has not when it has just started.
func (c *client) awaitProducerIDs() {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for do[*kmsg.InitProducerIDResponse](c, initProducerID()).ErrorCode != 0 {
		if time.Now().After(deadline) {
			c.t.Fatalf("there are no producer ids after %v", patience)
		}
	}
	c.names.labels = map[label]string{} // for what is asked from here on
}
