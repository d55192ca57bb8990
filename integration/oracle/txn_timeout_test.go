package oracle

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnTimeoutScenario is about transactions that take longer than they may.
func txnTimeoutScenario() scenario {
	return scenario{name: "txn_timeout", settings: transactionSettings, cases: timedOut()}
}

// overdue is a producer whose transaction was aborted since its time was over, after it has written something about a topic:
// write returns an error code if the time was over before that.
func overdue(c *client, write func(p *txn, t topic) (code int16)) (*txn, topic) {
	c.t.Helper()
	for timeout := 20 * time.Millisecond; timeout < patience; timeout *= 3 {
		t, p := c.topic("t", 2), c.begunFor("p", timeout)
		code := write(p, t)
		p.awaitState("CompleteAbort")
		if code == 0 {
			return p, t
		}
		delete(c.names.labels, label{"producer", p.producer}) // nobody hears of it
	}
	c.t.Fatal("whatever the timeout, it is over before something is written")
	return nil, topic{}
}

// aRecord writes a record to a topic's partition 0.
func aRecord(p *txn, t topic) int16 { return p.produced(t, 0, "a") }

func timedOut() []oneCase {
	return []oneCase{
		{name: "the end", api: kmsg.EndTxn, run: func(c *client) {
			for _, commit := range []bool{true, false} {
				p, t := overdue(c, aRecord)
				p.describes()
				p.triesToEnd(commit)
				readCommitted(c, t)
			}
		}},
		{name: "a batch", api: kmsg.Produce, from: 11, run: func(c *client) {
			p, t := overdue(c, aRecord)
			p.tries(t, 0, "b")
			p.tries(t, 1, "b")
			p.describes()
		}},
		{name: "a partition", api: kmsg.AddPartitionsToTxn, run: func(c *client) {
			p, t := overdue(c, aRecord)
			add(c, p.adding(t, 0))
		}},
		{name: "a group", api: kmsg.AddOffsetsToTxn, run: func(c *client) {
			p, _ := overdue(c, aRecord)
			addGroup(c, p.addingOffsets(c.group("g")))
		}},
		{name: "offsets", api: kmsg.TxnOffsetCommit, run: func(c *client) {
			g := c.group("g")
			p, t := overdue(c, func(p *txn, t topic) int16 { return p.committed(g, t, 5) })
			commitWith(c, p.committing(g, t, 6))
			showStable(c, g, t, 0)
		}},
		{name: "the next beginning", api: kmsg.InitProducerID, run: func(c *client) {
			p, t := overdue(c, aRecord)
			if c.version >= 3 {
				req := p.initRequest()
				req.ProducerID, req.ProducerEpoch = p.producer, p.epoch
				settled[*kmsg.InitProducerIDResponse](c, req)
			}
			p.has(settled[*kmsg.InitProducerIDResponse](c, p.initRequest()))
			p.produces(t, 0, "b")
			p.ends(true)
			readCommitted(c, t)
		}},
	}
}

// txnVersionOneScenario is about a cluster whose transaction.version is 1, as it comes from an older one, or 0.
func txnVersionOneScenario() scenario {
	// lower has a case with the level of transaction.version.
	lower := func(level int16, cases []oneCase) []oneCase {
		for i := range cases {
			run := cases[i].run
			cases[i].name = "level " + string(rune('0'+level)) + ": " + cases[i].name
			cases[i].run = func(c *client) {
				c.level(level)
				run(c)
			}
		}
		return cases
	}
	return scenario{name: "txn_version_1", settings: transactionSettings, cases: slices.Concat(
		lower(1, slices.Concat(spokenOld(), timedOut()[:1], timedOut()[5:])), lower(0, spokenOld()), switched(),
	)}
}

// spokenOld is about what goes as transaction.version 1 has it.
func spokenOld() []oneCase {
	return []oneCase{
		{name: "commit and abort", api: kmsg.EndTxn, from: 4, to: 4, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 1), c.begun("p")
			for _, commit := range []bool{true, false} {
				p.produces(t, 0, "a")
				p.commitsOffset(g, t, 5)
				p.endsAloud(commit)
				p.describes()
			}
			readCommitted(c, t)
			showStable(c, g, t, 0)
			describeProducers(c, t, 0)
		}},
		{name: "an open transaction, which ends", api: kmsg.InitProducerID, from: 4, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			settled[*kmsg.InitProducerIDResponse](c, p.initRequest())
			p.describes()
			p.triesToEnd(true)
			p.tries(t, 0, "b")
			readCommitted(c, t)
		}},
		{name: "a batch that was not added", api: kmsg.Produce, from: 11, to: 12, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.tries(t, 0, "a")
			p.describes()
		}},
	}
}

// switched is about transactions that are open when transaction.version changes.
func switched() []oneCase {
	return []oneCase{
		{name: "up, with an open transaction", api: kmsg.EndTxn, from: 4, to: 4, run: func(c *client) {
			c.level(1)
			t, p, q, r := c.topic("t", 1), c.begun("p"), c.begun("q"), c.begun("r")
			for _, each := range []*txn{p, q, r} {
				each.produces(t, 0, "a")
			}
			c.level(2)
			p.endsAloud(true)
			p.describes()
			settled[*kmsg.InitProducerIDResponse](c, q.initRequest())
			q.describes()
			c.level(1)
			r.endsAloud(false)
			r.describes()
			readCommitted(c, t)
			c.level(2)
		}},
	}
}
