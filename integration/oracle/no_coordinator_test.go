package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

// noCoordinatorScenario is about a broker that nobody has asked for a coordinator yet, so that it is none.
func noCoordinatorScenario() scenario {
	return scenario{name: "no_coordinator", cases: []oneCase{
		{name: "members", api: kmsg.JoinGroup, run: func(c *client) {
			g := c.fresh("g")
			join(c, g, "")
			join(c, g, "nobody")
			join(c, "", "")
			join(c, g, "", sessionOf(0))
		}},
		{name: "assignments", api: kmsg.SyncGroup, run: func(c *client) {
			m := &member{client: c, joins: joinRequest(c.fresh("g"), "nobody")}
			m.syncs(nil)
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.Group = "" })
			m.syncs(func(req *kmsg.SyncGroupRequest) { req.Protocol = nil })
		}},
		{name: "heartbeats", api: kmsg.Heartbeat, run: func(c *client) {
			ask[*kmsg.HeartbeatResponse](c, heartbeatRequest(c.fresh("g"), 1, "nobody"))
			ask[*kmsg.HeartbeatResponse](c, heartbeatRequest("", 1, "nobody"))
		}},
		{name: "leaving", api: kmsg.LeaveGroup, run: func(c *client) {
			ask[*kmsg.LeaveGroupResponse](c, leaveRequest(c.fresh("g"), leaving("nobody", nil), leaving("somebody", nil)))
			ask[*kmsg.LeaveGroupResponse](c, leaveRequest("", leaving("nobody", nil)))
		}},
		{name: "commits", api: kmsg.OffsetCommit, run: func(c *client) {
			g, t, missing := c.fresh("g"), c.topic("t", 1), c.missing("missing")
			commit(c, commitRequest(g, t, 1), also(missing, committing(0, 1)))
			commit(c, commitRequest(g, missing, 1))
			commit(c, commitRequest("", t, 1))
			empty := commitRequest(g, t, 1)
			empty.Topics = nil
			commit(c, empty)
		}},
		{name: "offsets", api: kmsg.OffsetFetch, run: func(c *client) {
			g, t := c.fresh("g"), c.topic("t", 2)
			showOffsets(c, g, t, 0, 1)
			showOffsets(c, g, c.missing("missing"), 0)
			showOffsets(c, "", t, 0)
			if c.version >= 2 {
				ask[*kmsg.OffsetFetchResponse](c, fetchAllRequest(g))
			}
		}},
		{name: "deletion of offsets", api: kmsg.OffsetDelete, run: func(c *client) {
			t := c.topic("t", 1)
			for _, group := range []string{c.fresh("g"), ""} {
				ask[*kmsg.OffsetDeleteResponse](c, offsetDeleteRequest(group, t, 0))
				ask[*kmsg.OffsetDeleteResponse](c, offsetDeleteRequest(group, c.missing("missing"), 0))
			}
		}},
		{name: "deletion", api: kmsg.DeleteGroups, run: func(c *client) {
			ask[*kmsg.DeleteGroupsResponse](c, deleteGroupsRequest(c.fresh("g"), ""))
			ask[*kmsg.DeleteGroupsResponse](c, deleteGroupsRequest())
		}},
		{name: "descriptions", api: kmsg.DescribeGroups, run: func(c *client) {
			ask[*kmsg.DescribeGroupsResponse](c, describeGroupsRequest(c.fresh("g"), ""))
			ask[*kmsg.DescribeGroupsResponse](c, describeGroupsRequest())
		}},
		{name: "lists", api: kmsg.ListGroups, run: func(c *client) {
			ask[*kmsg.ListGroupsResponse](c, kmsg.NewPtrListGroupsRequest())
		}},
		{name: "transactional ids", api: kmsg.InitProducerID, run: func(c *client) {
			c.awaitProducerIDs()
			p := uncoordinated(c)
			ask[*kmsg.InitProducerIDResponse](c, p.initRequest())
			req := p.initRequest()
			req.TransactionTimeoutMillis = -1
			ask[*kmsg.InitProducerIDResponse](c, req)
		}},
		{name: "partitions of transactions", api: kmsg.AddPartitionsToTxn, run: func(c *client) {
			t, p := c.topic("t", 1), uncoordinated(c)
			ask[*kmsg.AddPartitionsToTxnResponse](c, p.adding(t, 0))
			ask[*kmsg.AddPartitionsToTxnResponse](c, p.adding(c.missing("missing"), 0))
		}},
		{name: "groups of transactions", api: kmsg.AddOffsetsToTxn, run: func(c *client) {
			ask[*kmsg.AddOffsetsToTxnResponse](c, uncoordinated(c).addingOffsets("g"))
		}},
		{name: "the end of transactions", api: kmsg.EndTxn, run: func(c *client) {
			ask[*kmsg.EndTxnResponse](c, uncoordinated(c).ending(true))
		}},
		{name: "offsets of transactions", api: kmsg.TxnOffsetCommit, run: func(c *client) {
			t, p := c.topic("t", 1), uncoordinated(c)
			ask[*kmsg.TxnOffsetCommitResponse](c, p.committing("g", t, 1))
			ask[*kmsg.TxnOffsetCommitResponse](c, p.committing("g", c.missing("missing"), 1))
		}},
		{name: "records of transactions", api: kmsg.Produce, from: 11, run: func(c *client) {
			t, p := c.topic("t", 1), uncoordinated(c)
			ask[*kmsg.ProduceResponse](c, p.producing(t, 0, p.batch(t, 0, "a")))
		}},
		{name: "descriptions of transactions", api: kmsg.DescribeTransactions, run: func(c *client) {
			ask[*kmsg.DescribeTransactionsResponse](c, describeTransactionsRequest(c.fresh("p"), ""))
		}},
		{name: "lists of transactions", api: kmsg.ListTransactions, run: func(c *client) {
			ask[*kmsg.ListTransactionsResponse](c, kmsg.NewPtrListTransactionsRequest())
		}},
		// It is the last one: with it the broker begins to coordinate groups.
		{name: "the first question", api: kmsg.FindCoordinator, from: 6, to: 6, run: func(c *client) {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorKeys = []string{c.fresh("g")}
			ask[*kmsg.FindCoordinatorResponse](c, req)
		}},
	}}
}

// uncoordinated is a producer whose transactional id has no coordinator.
func uncoordinated(c *client) *txn {
	return &txn{client: c, id: c.fresh("p"), producer: aProducer, next: map[place]int32{}}
}
