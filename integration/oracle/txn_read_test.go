package oracle

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnReadScenario is about who reads what is committed.
func txnReadScenario() scenario {
	return scenario{name: "txn_read", settings: transactionSettings, cases: slices.Concat(readIsolated(), readOpen(), listedIsolated(), deletedOpen())}
}

// interleaved has two producers write by turns: the first one commits, the second one aborts, and a third one's is open.
func interleaved(c *client) (t topic, open *txn) {
	c.t.Helper()
	t, open = c.topic("t", 1), c.begun("open")
	p, q := c.begun("p"), c.begun("q")
	produceTo(c, t, 0, present("plain")) // 0
	p.produces(t, 0, "p1")               // 1
	q.produces(t, 0, "q1", "q2")         // 2, 3
	p.produces(t, 0, "p2")               // 4
	q.ends(false)                        // 5
	p.ends(true)                         // 6
	q.produces(t, 0, "q3")               // 7
	open.produces(t, 0, "open")          // 8
	q.ends(false)                        // 9
	produceTo(c, t, 0, present("late"))  // 10
	return t, open
}

// present is a batch of nobody, with the present time.
func present(values ...string) batch {
	return batch{values: values, timestamp: time.Now().UnixMilli()}
}

// readIsolated is about Fetch with an isolation level.
func readIsolated() []oneCase {
	return []oneCase{
		{name: "committed, aborted and open", api: kmsg.Fetch, run: func(c *client) {
			t, open := interleaved(c)
			req := fetchRequest(t, 0, 0)
			req.IsolationLevel = 1
			ask[*kmsg.FetchResponse](c, req)
			readWith(c, 0, t, 0)
			open.ends(false)
			readWith(c, 1, t, 7)
		}},
		{name: "each offset", api: kmsg.Fetch, from: 12, to: 12, run: func(c *client) {
			t, open := interleaved(c)
			for _, more := range []bool{true, false} { // while it is open, and then
				for offset := range int64(13) {
					req := fetchRequest(t, 0, offset)
					req.IsolationLevel = 1
					resp := do[*kmsg.FetchResponse](c, req)
					resp.Topics[0].Partitions[0].RecordBatches = nil // they are as in the case before
					readShort(c, req, resp)
				}
				if more {
					open.ends(true)
				}
			}
		}},
		{name: "limits", api: kmsg.Fetch, from: 12, to: 12, run: func(c *client) {
			t, open := interleaved(c)
			open.ends(true)
			for _, most := range []int32{1, 80, 250} { // the first batch, one, and some
				req := fetchRequest(t, 0, 1)
				req.IsolationLevel, req.Topics[0].Partitions[0].PartitionMaxBytes = 1, most
				resp := do[*kmsg.FetchResponse](c, req)
				p := &resp.Topics[0].Partitions[0]
				p.RecordBatches = nil // where they end is another case's
				if most == 250 {
					p.AbortedTransactions = nil
				}
				readShort(c, req, resp)
			}
		}},
	}
}

// readOpen is about readers that meet an open transaction.
func readOpen() []oneCase {
	return []oneCase{
		{name: "a wait for the end", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t := c.topic("t", 1)
			for _, commit := range []bool{true, false} {
				p := c.begun("p")
				p.produces(t, 0, "a")
				req := fetchRequest(t, 0, do[*kmsg.ListOffsetsResponse](c.aside(), isolated(t, -1)).Topics[0].Partitions[0].Offset)
				req.IsolationLevel, req.MaxWaitMillis = 1, 20_000
				waiting := quietly(begin[*kmsg.FetchResponse](c.another(), req))
				produceTo(c, t, 0, present("late"))
				p.ends(commit)
				readShort(c, req, waiting.answer())
			}
		}},
		{name: "a wait for nothing", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			for _, offset := range []int64{0, 1} { // where the last stable offset is, and behind it
				req := fetchRequest(t, 0, offset)
				req.IsolationLevel, req.MaxWaitMillis = 1, 20
				readShort(c, req, do[*kmsg.FetchResponse](c, req))
			}
			readWith(c, 1, t, 2)
		}},
		{name: "in a session", api: kmsg.Fetch, from: 12, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			req := fetchRequest(t, 0, 0)
			req.IsolationLevel, req.SessionEpoch = 1, 0
			session := ask[*kmsg.FetchResponse](c, req).SessionID
			p.ends(true)
			req = fetchRequest(t, 0, 0)
			req.Topics, req.IsolationLevel, req.SessionID, req.SessionEpoch = nil, 1, session, 1
			ask[*kmsg.FetchResponse](c, req)
			p.produces(t, 0, "b")
			req.SessionEpoch = 2
			ask[*kmsg.FetchResponse](c, req)
		}},
	}
}

// isolated asks for an offset of what is committed.
func isolated(t topic, timestamp int64) *kmsg.ListOffsetsRequest {
	req := listOffsetsRequest(t.name, 0, timestamp)
	req.IsolationLevel = 1
	return req
}

// listedIsolated is about ListOffsets with an isolation level.
func listedIsolated() []oneCase {
	base := time.Now().UnixMilli() - 100_000 // before any marker
	list := func(c *client, t topic) {
		c.t.Helper()
		kinds := []int64{-1, -2, base, base + 5, base + 10, base + 11}
		if c.version >= 7 {
			kinds = append(kinds, -3)
		}
		for _, timestamp := range kinds {
			ask[*kmsg.ListOffsetsResponse](c, isolated(t, timestamp))
		}
	}
	return []oneCase{
		{name: "offsets", api: kmsg.ListOffsets, from: 2, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			list(c, t)
			at := func(b batch, after int64) batch {
				b.timestamp = base + after
				return b
			}
			produceTo(c, t, 0, at(values("a"), 0))
			settled[*kmsg.ProduceResponse](c.aside(), p.producing(t, 0, at(p.batch(t, 0, "b"), 5)))
			produceTo(c, t, 0, at(values("c"), 10))
			list(c, t)
			p.ends(false)
			for _, timestamp := range []int64{-1, base + 5, base + 10} { // the marker has the present time
				ask[*kmsg.ListOffsetsResponse](c, isolated(t, timestamp))
			}
		}},
	}
}

// deletedOpen is about records that are deleted while their transaction is open.
func deletedOpen() []oneCase {
	return []oneCase{
		{name: "records of an open transaction", api: kmsg.DeleteRecords, from: 2, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a", "b")
			produceTo(c, t, 0, present("c"))
			for _, offset := range []int64{1, 2, -1} {
				ask[*kmsg.DeleteRecordsResponse](c, cut(t.name, 0, offset))
				readCommitted(c, t)
				readWith(c, 1, t, 2)
			}
			p.produces(t, 0, "d")
			readWith(c, 1, t, 3)
			p.ends(true)
			readWith(c, 1, t, 3)
		}},
		{name: "records of an aborted transaction", api: kmsg.DeleteRecords, from: 2, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			p.produces(t, 0, "b")
			p.ends(false)
			produceTo(c, t, 0, present("c"))
			for _, offset := range []int64{1, 2, 3} {
				ask[*kmsg.DeleteRecordsResponse](c, cut(t.name, 0, offset))
				readWith(c, 1, t, offset)
			}
		}},
	}
}
