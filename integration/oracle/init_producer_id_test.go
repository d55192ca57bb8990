package oracle

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// initProducerIDScenario leaves out what a transactional id leads to.
func initProducerIDScenario() scenario {
	return scenario{name: "init_producer_id", cases: []oneCase{
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
	}}
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
