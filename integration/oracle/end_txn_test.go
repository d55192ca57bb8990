package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func endTxnScenario() scenario {
	return scenario{name: "end_txn", settings: transactionSettings, cases: append(ended(), endedLate()...)}
}

// ended is about ends as they are meant to be, and those that are refused.
func ended() []oneCase {
	return []oneCase{
		{name: "commit and abort", api: kmsg.EndTxn, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			for _, commit := range []bool{true, false} {
				p.produces(t, 0, "a", "b")
				p.endsAloud(commit)
				p.describes()
			}
			readCommitted(c, t)
		}},
		{name: "several partitions", api: kmsg.EndTxn, run: func(c *client) {
			t, u, p := c.topic("t", 3), c.topic("u", 1), c.begun("p")
			p.produces(t, 1, "a")
			p.produces(u, 0, "b")
			p.produces(t, 0, "c")
			p.endsAloud(true)
			readCommitted(c, t)
			readCommitted(c, u)
		}},
		{name: "twice", api: kmsg.EndTxn, run: func(c *client) {
			t := c.topic("t", 1)
			for _, commit := range []bool{true, false} {
				p := c.begun("p")
				p.produces(t, 0, "a")
				old := p.otherwise(func(*txn) {})
				p.endsAloud(commit)
				old.triesToEnd(commit)
				old.triesToEnd(!commit)
				p.describes()
			}
		}},
		{name: "again with what the end has given", api: kmsg.EndTxn, from: 5, run: func(c *client) {
			t := c.topic("t", 1)
			for _, commit := range []bool{true, false} {
				for _, then := range []bool{true, false} {
					p := c.begun("p")
					p.produces(t, 0, "a")
					p.endsAloud(commit)
					p.triesToEnd(then)
					p.describes()
				}
			}
			readCommitted(c, t)
		}},
		{name: "nothing begun", api: kmsg.EndTxn, run: func(c *client) {
			p := c.begun("p")
			p.triesToEnd(true)
			p.triesToEnd(false)
			p.describes()
			p.triesToEnd(false)
			p.describes()
		}},
		{name: "nothing begun, and then something", api: kmsg.EndTxn, from: 5, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.endsAloud(false)
			p.produces(t, 0, "a")
			p.endsAloud(true)
			readCommitted(c, t)
		}},
		{name: "partitions without records", api: kmsg.EndTxn, run: func(c *client) {
			t, p := c.topic("t", 2), c.begun("p")
			p.adds(t, 0, 1)
			p.endsAloud(true)
			readCommitted(c, t)
		}},
		{name: "by others", api: kmsg.EndTxn, run: func(c *client) {
			t, p := c.topic("t", 1), c.bumped("p")
			for range 2 { // before and in a transaction
				for _, other := range strangers(p) {
					settled[*kmsg.EndTxnResponse](c, other.ending(true))
				}
				p.describes()
				p.produces(t, 0, "a")
			}
		}},
		{name: "after another has begun", api: kmsg.EndTxn, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			old := p.otherwise(func(*txn) {})
			p.has(quietlySettled[*kmsg.InitProducerIDResponse](c, p.initRequest()))
			old.triesToEnd(false)
			p.produces(t, 0, "a")
			old.triesToEnd(false)
			p.endsAloud(true)
		}},
		{name: "a topic that is deleted", api: kmsg.EndTxn, run: func(c *client) {
			t, u, p := c.topic("t", 1), c.topic("u", 1), c.begun("p")
			p.produces(t, 0, "a")
			p.produces(u, 0, "b")
			c.remove(t)
			p.endsAloud(true)
			readCommitted(c, u)
		}},
	}
}

// endedLate is about ends that come when the next transaction is on its way (KAFKA-17754).
func endedLate() []oneCase {
	return []oneCase{
		{name: "a request that is late", api: kmsg.EndTxn, run: func(c *client) {
			t := c.topic("t", 1)
			for _, late := range []bool{true, false} {
				p := c.begun("p")
				p.produces(t, 0, "a")
				old := p.otherwise(func(*txn) {})
				p.endsAloud(true)
				p.produces(t, 0, "b")
				old.triesToEnd(late)
				p.describes()
				p.triesToEnd(true)
			}
			readCommitted(c, t)
		}},
		{name: "a request that is two transactions late", api: kmsg.EndTxn, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			old := p.otherwise(func(*txn) {})
			p.ends(true)
			p.produces(t, 0, "b")
			p.ends(false)
			for _, commit := range []bool{true, false} {
				old.triesToEnd(commit)
			}
			p.describes()
		}},
	}
}
