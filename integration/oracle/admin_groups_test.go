package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func deleteGroupsRequest(groups ...string) *kmsg.DeleteGroupsRequest {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = groups
	return req
}

func deleteGroupsScenario() scenario {
	remove := func(c *client, groups ...string) {
		c.t.Helper()
		ask[*kmsg.DeleteGroupsResponse](c, deleteGroupsRequest(groups...))
	}
	return scenario{name: "delete_groups", cases: []oneCase{
		{name: "with offsets", api: kmsg.DeleteGroups, run: func(c *client) {
			g, t := c.group("g"), c.topic("t", 1)
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, t, 5))
			remove(c, g)
			showOffsets(c, g, t, 0)
			describeGroup(c, g)
			remove(c, g)
		}},
		{name: "that are not there", api: kmsg.DeleteGroups, run: func(c *client) {
			remove(c, c.group("g"))
			remove(c, "")
			remove(c)
		}},
		{name: "in each state", api: kmsg.DeleteGroups, run: func(c *client) {
			m := c.joined(c.group("g"), nil)
			remove(c, m.group())
			do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			remove(c, m.group())
			entering := c.newMember(m.group(), nil)
			pending := quietly(entering.enter())
			c.until(m.group(), "PreparingRebalance", 2)
			remove(c, m.group())
			m.leaves()
			entering.entered(pending)
			entering.leaves()
			remove(c, m.group())
			m.beats()
		}},
		{name: "of which somebody has been given an id", api: kmsg.DeleteGroups, run: func(c *client) {
			given := c.newMember(c.group("g"), nil)
			remove(c, given.group())
			given.enter().answer()
		}},
		{name: "many in one request", api: kmsg.DeleteGroups, run: func(c *client) {
			empty, live, missing := c.group("empty"), c.alone(c.group("live"), nil), c.group("missing")
			do[*kmsg.OffsetCommitResponse](c, commitRequest(empty, c.topic("t", 1), 5))
			remove(c, missing, live.group(), empty, missing, empty)
		}},
	}}
}

func describeGroupsScenario() scenario {
	return scenario{name: "describe_groups", cases: []oneCase{
		{name: "in each state", api: kmsg.DescribeGroups, run: func(c *client) {
			g := c.group("g")
			given := c.newMember(g, nil)
			c.until(g, "Empty", 0)
			describeGroup(c, g)
			given.leaves()
			m := c.joined(g, nil)
			describeGroup(c, g)
			do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			describeGroup(c, g)
			other := c.newMember(g, nil)
			entering := quietly(other.enter())
			c.until(g, "PreparingRebalance", 2)
			describeGroup(c, g)
			entered := quietly(m.enter())
			other.entered(entering)
			m.entered(entered)
			describeGroup(c, g)
			do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m, other))
			describeGroup(c, g)
			m.leaves()
			other.leaves()
			describeGroup(c, g)
			do[*kmsg.DeleteGroupsResponse](c, deleteGroupsRequest(g))
			describeGroup(c, g)
		}},
		{name: "that are not there", api: kmsg.DescribeGroups, run: func(c *client) {
			describeGroup(c, c.group("g"))
			describeGroup(c, "")
			ask[*kmsg.DescribeGroupsResponse](c, describeGroupsRequest())
		}},
		{name: "that only commit", api: kmsg.DescribeGroups, run: func(c *client) {
			g := c.group("g")
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, c.topic("t", 1), 5))
			describeGroup(c, g)
		}},
		{name: "what clients may do", api: kmsg.DescribeGroups, from: 3, run: func(c *client) {
			m, missing := c.alone(c.group("g"), nil), c.group("missing")
			req := describeGroupsRequest(m.group(), missing)
			req.IncludeAuthorizedOperations = true
			ask[*kmsg.DescribeGroupsResponse](c, req)
		}},
		{name: "many in one request", api: kmsg.DescribeGroups, run: func(c *client) {
			one, two, missing := c.alone(c.group("one"), nil), c.joined(c.group("two"), nil), c.group("missing")
			ask[*kmsg.DescribeGroupsResponse](c, describeGroupsRequest(two.group(), missing, one.group(), "", two.group(), missing))
		}},
		{name: "static members", api: kmsg.DescribeGroups, run: func(c *client) {
			m := c.alone(c.group("g"), static("i"))
			describeGroup(c, m.group())
		}},
		{name: "what is no consumer", api: kmsg.DescribeGroups, run: func(c *client) {
			m := c.alone(c.group("g"), func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "connect" })
			describeGroup(c, m.group())
		}},
		{name: "clients", api: kmsg.DescribeGroups, run: func(c *client) {
			for _, id := range []string{"", "my client"} {
				m := c.named(id).alone(c.group("g"), nil)
				describeGroup(c, m.group())
			}
		}},
	}}
}

func listGroupsScenario() scenario {
	request := func(states, types []string) *kmsg.ListGroupsRequest {
		req := kmsg.NewPtrListGroupsRequest()
		req.StatesFilter, req.TypesFilter = states, types
		return req
	}
	// inEach makes a group for each state.
	inEach := func(c *client) (groups []string) {
		c.t.Helper()
		empty, joined, stable := c.group("empty"), c.joined(c.group("completing"), nil), c.alone(c.group("stable"), nil)
		do[*kmsg.OffsetCommitResponse](c, commitRequest(empty, c.topic("t", 1), 5))
		preparing := c.alone(c.group("preparing"), nil)
		c.newMember(preparing.group(), nil).enter()
		c.until(preparing.group(), "PreparingRebalance", 2)
		connect := c.alone(c.group("connect"), func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "connect" })
		left := c.alone(c.group("left"), nil)
		left.leaves()
		given := c.newMember(c.group("given"), nil)
		c.until(given.group(), "Empty", 0)
		return []string{empty, joined.group(), stable.group(), preparing.group(), connect.group(), left.group(), given.group()}
	}
	return scenario{name: "list_groups", cases: []oneCase{
		{name: "all of them", api: kmsg.ListGroups, run: func(c *client) {
			listGroups(c, request(nil, nil), inEach(c)...)
		}},
		{name: "without an id", api: kmsg.ListGroups, run: func(c *client) {
			c.coordinated(c.fresh("g"))
			do[*kmsg.OffsetCommitResponse](c, commitRequest("", c.topic("t", 1), 5))
			listGroups(c, request(nil, nil), "")
			describeGroup(c, "")
			do[*kmsg.DeleteGroupsResponse](c, deleteGroupsRequest(""))
			listGroups(c, request(nil, nil), "")
		}},
		{name: "by state", api: kmsg.ListGroups, from: 4, run: func(c *client) {
			groups := inEach(c)
			for _, states := range [][]string{
				{"Stable"}, {"Empty"}, {"PreparingRebalance", "CompletingRebalance"}, {"Dead"}, {"stable"}, {" Stable "}, {"STABLE", "Stable"},
				{"Assigning"}, {"Reconciling", "Stable"}, {"NotReady"}, {""}, {"no state"}, {"Unknown"}, {"no state", "Stable"},
			} {
				listGroups(c, request(states, nil), groups...)
			}
		}},
		{name: "by type", api: kmsg.ListGroups, from: 5, run: func(c *client) {
			groups := inEach(c)
			for _, types := range [][]string{
				{"classic"}, {"Classic"}, {" classic "}, {"consumer"}, {"consumer", "classic"}, {"share"}, {"streams"}, {""}, {"no type"}, {"unknown"}, {"no type", "classic"},
			} {
				listGroups(c, request(nil, types), groups...)
			}
			listGroups(c, request([]string{"Stable"}, []string{"classic"}), groups...)
			listGroups(c, request([]string{"Stable"}, []string{"consumer"}), groups...)
		}},
	}}
}
