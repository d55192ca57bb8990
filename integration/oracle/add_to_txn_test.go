package oracle

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// addToTxnScenario is about what becomes part of a transaction before something is written there.
func addToTxnScenario() scenario {
	return scenario{name: "add_to_txn", settings: transactionSettings, cases: slices.Concat(addedEarly(), addedPartitions(), verifiedPartitions(), addedOffsets())}
}

// strangers are producers that are not the one that a transactional id has now, and that one, which has begun nothing.
func strangers(p *txn) []*txn {
	return []*txn{
		p.otherwise(func(p *txn) { p.id = p.fresh("nobody") }), p.otherwise(func(p *txn) { p.id = "" }),
		p.otherwise(func(p *txn) { p.producer = aProducer }), p.otherwise(func(p *txn) { p.producer = -1 }),
		p.otherwise(func(p *txn) { p.epoch-- }), p.otherwise(func(p *txn) { p.epoch++ }), p.otherwise(func(p *txn) { p.epoch = -1 }),
	}
}

// bumped is a producer whose epoch is not the first one, so that there is one before it.
func (c *client) bumped(label string) *txn {
	c.t.Helper()
	p := c.begun(label)
	p.has(quietlySettled[*kmsg.InitProducerIDResponse](c, p.initRequest()))
	return p
}

func add(c *client, req *kmsg.AddPartitionsToTxnRequest) {
	c.t.Helper()
	settled[*kmsg.AddPartitionsToTxnResponse](c, req)
}

func addGroup(c *client, req *kmsg.AddOffsetsToTxnRequest) {
	c.t.Helper()
	settled[*kmsg.AddOffsetsToTxnResponse](c, req)
}

// addedEarly is about a broker that nobody has asked for a group's coordinator yet.
func addedEarly() []oneCase {
	return []oneCase{
		{name: "a group, before there are any", api: kmsg.AddOffsetsToTxn, run: func(c *client) {
			p := c.begun("p")
			addGroup(c, p.addingOffsets(c.fresh("g")))
			p.describes()
		}},
	}
}

// addedPartitions is about AddPartitionsToTxn as it adds.
func addedPartitions() []oneCase {
	return []oneCase{
		{name: "partitions", api: kmsg.AddPartitionsToTxn, run: func(c *client) {
			t, u, p := c.topic("t", 3), c.topic("u", 1), c.begun("p")
			add(c, p.adding(t, 0, 2))
			p.describes()
			add(c, p.adding(t, 0))
			req := p.adding(t, 1)
			alsoAdding(req, u, 0)
			add(c, req)
			add(c, p.adding(u, 0, 0))
			p.describes()
			p.ends(true)
			p.describes()
			add(c, p.adding(u, 0))
			p.describes()
			readWith(c, 0, t, 0)
		}},
		{name: "partitions that are not there", api: kmsg.AddPartitionsToTxn, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			add(c, p.adding(c.missing("missing"), 0))
			add(c, p.adding(t, 1))
			add(c, p.adding(t, -1))
			req := p.adding(t, 0, 5)
			alsoAdding(req, c.missing("none"), 0)
			add(c, req)
			add(c, p.otherwise(func(p *txn) { p.epoch++ }).adding(t, 0, 5))
			p.describes()
		}},
		{name: "by others", api: kmsg.AddPartitionsToTxn, run: func(c *client) {
			t, p := c.topic("t", 2), c.bumped("p")
			for _, other := range strangers(p) {
				add(c, other.adding(t, 0, 1))
			}
			p.adds(t, 0)
			for _, other := range strangers(p)[4:] {
				add(c, other.adding(t, 0))
			}
			p.describes()
		}},
		{name: "internal topics", api: kmsg.AddPartitionsToTxn, run: func(c *client) {
			p := c.begun("p")
			add(c, p.adding(c.offsetsTopic(), 0))
			add(c, p.adding(topic{name: "__transaction_state"}, 0))
			p.describes()
		}},
	}
}

// verifiedPartitions is about AddPartitionsToTxn as brokers use it among each other.
func verifiedPartitions() []oneCase {
	const from = 4
	verifying := func(req *kmsg.AddPartitionsToTxnRequest) *kmsg.AddPartitionsToTxnRequest {
		for i := range req.Transactions {
			req.Transactions[i].VerifyOnly = true
		}
		return req
	}
	return []oneCase{
		{name: "only to verify", api: kmsg.AddPartitionsToTxn, from: from, run: func(c *client) {
			t, p := c.topic("t", 3), c.bumped("p")
			add(c, verifying(p.adding(t, 0)))
			p.adds(t, 0, 1)
			add(c, verifying(p.adding(t, 0)))
			add(c, verifying(p.adding(t, 0, 1, 2)))
			add(c, verifying(p.adding(t, 0, 5)))
			add(c, verifying(p.adding(c.missing("missing"), 0)))
			for _, other := range strangers(p) {
				add(c, verifying(other.adding(t, 0)))
			}
			p.ends(true)
			add(c, verifying(p.adding(t, 0)))
			p.describes()
		}},
		{name: "several transactions", api: kmsg.AddPartitionsToTxn, from: from, run: func(c *client) {
			t, p, q := c.topic("t", 2), c.begun("p"), c.begun("q")
			r := p.otherwise(func(r *txn) { r.id = r.fresh("nobody") })
			req := p.adding(t, 0)
			req.Transactions = slices.Concat(req.Transactions, verifying(q.adding(t, 0, 1)).Transactions, r.adding(t, 0).Transactions)
			add(c, req)
			describeTransactions(c, p.id, q.id)
			req = q.adding(t, 1)
			req.Transactions = append(req.Transactions, p.adding(t, 0, 7).Transactions...)
			add(c, req)
			describeTransactions(c, p.id, q.id)
		}},
	}
}

// addedOffsets is about AddOffsetsToTxn.
func addedOffsets() []oneCase {
	return []oneCase{
		{name: "a group", api: kmsg.AddOffsetsToTxn, run: func(c *client) {
			g, p := c.group("g"), c.begun("p")
			addGroup(c, p.addingOffsets(g))
			addGroup(c, p.addingOffsets(g))
			p.describes()
			p.ends(false)
			p.describes()
			addGroup(c, p.addingOffsets(""))
			p.describes()
		}},
		{name: "a group, by others", api: kmsg.AddOffsetsToTxn, run: func(c *client) {
			g, p := c.group("g"), c.bumped("p")
			for _, other := range strangers(p) {
				addGroup(c, other.addingOffsets(g))
			}
			p.describes()
		}},
	}
}
