package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func findCoordinatorScenario() scenario {
	// request asks for the coordinator of each key; of the first alone in versions that have no more.
	request := func(kind int8, keys ...string) *kmsg.FindCoordinatorRequest {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType, req.CoordinatorKeys = kind, keys
		if len(keys) > 0 {
			req.CoordinatorKey = keys[0]
		}
		return req
	}
	find := func(c *client, kind int8, keys ...string) {
		c.t.Helper()
		ask[*kmsg.FindCoordinatorResponse](c, request(kind, keys...))
	}
	const group, transaction, share = 0, 1, 2
	return scenario{name: "find_coordinator", settings: transactionSettings, cases: []oneCase{
		{name: "of groups", api: kmsg.FindCoordinator, run: func(c *client) {
			find(c, group, c.group("g"))
			find(c, group, "")
			find(c, group, "ü €")
		}},
		{name: "of many", api: kmsg.FindCoordinator, from: 4, run: func(c *client) {
			one, two := c.group("one"), c.group("two")
			find(c, group, one, two, one, "")
			find(c, group)
		}},
		{name: "of transactions", api: kmsg.FindCoordinator, from: 1, run: func(c *client) {
			find(c, transaction, c.transactional("p"))
			find(c, transaction, "")
			if c.version >= 4 {
				find(c, transaction, c.transactional("one"), c.transactional("two"), "")
			}
		}},
		{name: "of what is no share", api: kmsg.FindCoordinator, from: 1, run: func(c *client) {
			for _, key := range []string{
				"", "g", "g:t", "g:t:0", ":AAAAAAAAAAAAAAAAAAAAAQ:0", "g:AAAAAAAAAAAAAAAAAAAAAQ:", "g:AAAAAAAAAAAAAAAAAAAAAQ:p",
				"g::0", " :AAAAAAAAAAAAAAAAAAAAAQ:0",
			} {
				find(c, share, key)
			}
		}},
		{name: "of nothing that there is", api: kmsg.FindCoordinator, from: 1, run: func(c *client) {
			g := c.group("g")
			for _, kind := range []int8{-1, 3, 127} {
				begin[*kmsg.FindCoordinatorResponse](c, request(kind, g)).isClosed()
			}
		}},
	}}
}
