package oracle

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnProduceScenario is about batches of transactions.
func txnProduceScenario() scenario {
	return scenario{name: "txn_produce", settings: transactionSettings, cases: slices.Concat(producedIn(), producedOut(), producedOddly())}
}

// producedIn is about batches that belong in a transaction.
func producedIn() []oneCase {
	return []oneCase{
		{name: "one after the other", api: kmsg.Produce, run: func(c *client) {
			t, p := c.topic("t", 2), c.begun("p")
			if !p.implicit {
				p.adds(t, 0, 1)
			}
			p.tries(t, 0, "a")
			p.tries(t, 0, "b", "c")
			p.tries(t, 1, "d")
			p.describes()
			p.ends(true)
			if !p.implicit {
				p.adds(t, 0)
			}
			p.tries(t, 0, "e")
			p.ends(false)
			readWith(c, 0, t, 0)
		}},
		{name: "again", api: kmsg.Produce, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			one, two := p.batch(t, 0, "a"), p.batch(t, 0, "b")
			if !p.implicit {
				p.adds(t, 0)
			}
			for _, b := range []batch{one, one, two, one} {
				produce(c, p.producing(t, 0, b))
			}
			late := p.producing(t, 0, two)
			p.ends(true)
			produce(c, late)
			p.describes()
			readCommitted(c, t)
		}},
		{name: "gaps", api: kmsg.Produce, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			if !p.implicit {
				p.adds(t, 0)
			}
			at := place{t.name, 0}
			for _, sequence := range []int32{3, 0, 2, 1} {
				p.next[at] = sequence
				p.tries(t, 0, "a")
			}
			p.ends(true)
			p.next[at] = 5
			if !p.implicit {
				p.adds(t, 0)
			}
			p.tries(t, 0, "b")
			p.describes()
		}},
		{name: "several partitions", api: kmsg.Produce, run: func(c *client) {
			t, u, p := c.topic("t", 2), c.topic("u", 1), c.begun("p")
			if !p.implicit {
				p.adds(t, 1)
			}
			req := p.producing(t, 1, p.batch(t, 1, "a"))
			req.Topics = append(req.Topics, p.producing(u, 0, p.batch(u, 0, "b")).Topics...)
			req.Topics = append(req.Topics, p.producing(c.missing("none"), 0, p.batch(u, 5, "b")).Topics...)
			produce(c, req)
			p.describes()
		}},
		{name: "acks", api: kmsg.Produce, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			if !p.implicit {
				p.adds(t, 0)
			}
			req := p.producing(t, 0, p.batch(t, 0, "a"))
			req.Acks = 1
			produce(c, req)
			req = p.producing(t, 0, p.batch(t, 0, "b"))
			req.Acks = 0
			c.tell(req)
			c.awaitEnd(t, 2)
			p.ends(true)
			readCommitted(c, t)
		}},
	}
}

// producedOut is about batches that belong in no transaction, or in none any more.
func producedOut() []oneCase {
	return []oneCase{
		{name: "a partition that was not added", api: kmsg.Produce, run: func(c *client) {
			t, p := c.topic("t", 2), c.begun("p")
			p.tries(t, 0, "a")
			p.describes()
			p.adds(t, 1)
			p.tries(t, 0, "a")
			p.ends(true)
		}},
		{name: "after the end", api: kmsg.Produce, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			old := p.otherwise(func(*txn) {})
			old.next[place{t.name, 0}] = 1
			p.ends(true)
			old.tries(t, 0, "b")
			p.tries(t, 0, "c")
			p.describes()
			readCommitted(c, t)
		}},
		{name: "by others", api: kmsg.Produce, run: func(c *client) {
			t, p := c.topic("t", 1), c.bumped("p")
			p.produces(t, 0, "a")
			for _, other := range strangers(p) {
				if other.producer >= 0 && other.epoch >= 0 { // else it is no producer
					other.tries(t, 0, "b")
				}
			}
			p.describes()
		}},
		{name: "by others, before anything was added", api: kmsg.Produce, run: func(c *client) {
			t, p := c.topic("t", 1), c.bumped("p")
			for _, other := range strangers(p) {
				if other.producer >= 0 && other.epoch >= 0 {
					other.tries(t, 0, "b")
				}
			}
			p.describes()
		}},
		{name: "after another has begun", api: kmsg.Produce, run: func(c *client) {
			t, p := c.topic("t", 2), c.begun("p")
			p.produces(t, 0, "a")
			old := p.otherwise(func(*txn) {})
			old.next[place{t.name, 0}] = 1
			p.has(quietlySettled[*kmsg.InitProducerIDResponse](c, p.initRequest()))
			old.tries(t, 0, "b")
			old.tries(t, 1, "b")
			p.produces(t, 1, "c")
			old.tries(t, 1, "b")
			p.ends(true)
			readWith(c, 0, t, 0)
		}},
	}
}

// producedOddly is about batches that no client sends.
func producedOddly() []oneCase {
	const from = 11 // the last version of transaction.version 1
	return []oneCase{
		{name: "a control batch", api: kmsg.Produce, from: from, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			b := p.batch(t, 0, "")
			b.attrs |= control
			b.values, b.whole = nil, []kmsg.Record{{Key: []byte{0, 0, 0, 1}, Value: []byte{0, 0, 0, 0, 0, 0}}}
			produce(c, p.producing(t, 0, b))
			readCommitted(c, t)
		}},
		{name: "two producers in a request", api: kmsg.Produce, from: from, run: func(c *client) {
			t, p, q := c.topic("t", 2), c.begun("p"), c.begun("q")
			if !p.implicit {
				p.adds(t, 0)
				q.adds(t, 1)
			}
			req := p.producing(t, 0, p.batch(t, 0, "a"))
			req.Topics = append(req.Topics, q.producing(t, 1, q.batch(t, 1, "b")).Topics...)
			produce(c, req)
			describeTransactions(c, p.id, q.id)
		}},
		{name: "no transactional id", api: kmsg.Produce, from: from, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			req := p.producing(t, 0, p.batch(t, 0, "b"))
			req.TransactionID = nil
			ask[*kmsg.ProduceResponse](c, req)
		}},
		{name: "with and without a transaction", api: kmsg.Produce, from: from, run: func(c *client) {
			t, u, p := c.topic("t", 1), c.topic("u", 1), c.begun("p")
			plain := func(b batch) batch {
				b.attrs = 0
				return b
			}
			produce(c, p.producing(t, 0, plain(p.batch(t, 0, "a"))))
			p.produces(t, 0, "b")
			produce(c, p.producing(t, 0, plain(p.batch(t, 0, "c"))))
			req := p.producing(u, 0, plain(p.batch(u, 0, "d")))
			req.Topics = append(req.Topics, p.producing(t, 0, p.batch(t, 0, "e")).Topics...)
			produce(c, req)
			p.describes()
		}},
		{name: "a batch that is none", api: kmsg.Produce, from: from, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			if !p.implicit {
				p.adds(t, 0)
			}
			b := p.batch(t, 0, "a")
			b.spoil = flip(17)
			produce(c, p.producing(t, 0, b))
			b.spoil = nil
			produce(c, p.producing(t, 0, b))
			p.ends(true)
			readCommitted(c, t)
		}},
	}
}
