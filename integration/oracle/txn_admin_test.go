package oracle

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnAdminScenario is about who looks at transactions, and how long they may take.
func txnAdminScenario() scenario {
	return scenario{name: "txn_admin", settings: transactionSettings, cases: append(described(), listed()...)}
}

// oneEach are producers whose transactions are in one state each.
func oneEach(c *client, t topic) (empty, ongoing, committed, aborted *txn) {
	c.t.Helper()
	empty, ongoing, committed, aborted = c.begun("empty"), c.begun("ongoing"), c.begun("committed"), c.begun("aborted")
	for _, p := range []*txn{ongoing, committed, aborted} {
		p.produces(t, 0, "a")
	}
	committed.ends(true)
	aborted.ends(false)
	return empty, ongoing, committed, aborted
}

// described is about DescribeTransactions.
func described() []oneCase {
	return []oneCase{
		{name: "descriptions", api: kmsg.DescribeTransactions, run: func(c *client) {
			empty, ongoing, committed, aborted := oneEach(c, c.topic("t", 1))
			ask[*kmsg.DescribeTransactionsResponse](c, describeTransactionsRequest(empty.id))
			ask[*kmsg.DescribeTransactionsResponse](c, describeTransactionsRequest(ongoing.id, c.fresh("nobody"), committed.id, aborted.id, ""))
			ask[*kmsg.DescribeTransactionsResponse](c, describeTransactionsRequest())
		}},
		{name: "a topic that is deleted", api: kmsg.DescribeTransactions, run: func(c *client) {
			t, p := c.topic("t", 1), c.begun("p")
			p.produces(t, 0, "a")
			c.remove(t)
			p.describes()
		}},
	}
}

// listed is about ListTransactions.
func listed() []oneCase {
	return []oneCase{
		{name: "filters", api: kmsg.ListTransactions, run: func(c *client) {
			empty, ongoing, committed, aborted := oneEach(c, c.topic("t", 1))
			own := []string{empty.id, ongoing.id, committed.id, aborted.id}
			list := func(change func(*kmsg.ListTransactionsRequest)) {
				c.t.Helper()
				req := kmsg.NewPtrListTransactionsRequest()
				change(req)
				resp := do[*kmsg.ListTransactionsResponse](c, req)
				resp.TransactionStates = slices.DeleteFunc(resp.TransactionStates, func(s kmsg.ListTransactionsResponseTransactionState) bool {
					return !slices.Contains(own, s.TransactionalID)
				})
				c.show(req, resp)
			}
			list(func(*kmsg.ListTransactionsRequest) {})
			for _, states := range [][]string{
				{"Ongoing"}, {"Empty", "CompleteCommit"}, {"PrepareCommit"}, {"ongoing"}, {"Nothing", "CompleteAbort"}, {""}, {"Dead", "PrepareEpochFence"},
			} {
				list(func(req *kmsg.ListTransactionsRequest) { req.StateFilters = states })
			}
			for _, producers := range [][]int64{{ongoing.producer}, {empty.producer, aborted.producer, aProducer}, {aProducer}, {-1}} {
				list(func(req *kmsg.ListTransactionsRequest) { req.ProducerIDFilters = producers })
			}
			list(func(req *kmsg.ListTransactionsRequest) {
				req.StateFilters, req.ProducerIDFilters = []string{"Ongoing"}, []int64{empty.producer}
			})
			if c.version >= 1 {
				for _, millis := range []int64{0, 3_600_000, -1, -2} {
					list(func(req *kmsg.ListTransactionsRequest) { req.DurationFilterMillis = millis })
				}
			}
			if c.version >= 2 {
				for _, pattern := range []string{"", "ongoing.*", "ongoing", "(committed|empty).*", ".*", "^ongoing", "[", "(?i)ONGOING.*", "a{2001}"} {
					list(func(req *kmsg.ListTransactionsRequest) { req.TransactionalIDPattern = &pattern })
				}
			}
		}},
	}
}
