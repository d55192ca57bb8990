package oracle

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnOffsetCommitScenario is about offsets that are committed with a transaction, and who sees them before it ends.
func txnOffsetCommitScenario() scenario {
	return scenario{name: "txn_offset_commit", settings: transactionSettings, cases: slices.Concat(
		committedWith(), committedByMembers(), pendingOffsets(),
	)}
}

// commitWith shows what a commit is answered.
func commitWith(c *client, req *kmsg.TxnOffsetCommitRequest, changes ...func(*kmsg.TxnOffsetCommitRequest)) {
	c.t.Helper()
	for _, change := range changes {
		change(req)
	}
	settled[*kmsg.TxnOffsetCommitResponse](c, req)
}

// committedWith is about commits by producers whose group has no members.
func committedWith() []oneCase {
	return []oneCase{
		{name: "commit and abort", api: kmsg.TxnOffsetCommit, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 2), c.begun("p")
			for i, commit := range []bool{true, false} {
				p.addsGroup(g)
				commitWith(c, p.committing(g, t, int64(5+i)))
				showUnstable(c, g, t, 0)
				showStable(c, g, t, 0, 1)
				p.ends(commit)
				showStable(c, g, t, 0, 1)
			}
			describeGroup(c, g)
		}},
		{name: "again, and with all that an offset has", api: kmsg.TxnOffsetCommit, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 3), c.begun("p")
			p.addsGroup(g)
			metadata := "some"
			commitWith(c, p.committing(g, t, 1))
			commitWith(c, p.committing(g, t, 2), func(req *kmsg.TxnOffsetCommitRequest) {
				one := &req.Topics[0].Partitions[0]
				one.Metadata, one.LeaderEpoch = &metadata, c.names.epoch
				two := *one
				two.Partition, two.Offset = 2, -7
				req.Topics[0].Partitions = append(req.Topics[0].Partitions, two)
			})
			p.ends(true)
			showStable(c, g, t, 0, 1, 2)
		}},
		{name: "a group that was not added", api: kmsg.TxnOffsetCommit, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 1), c.begun("p")
			commitWith(c, p.committing(g, t, 1))
			p.describes()
			p.produces(t, 0, "a")
			commitWith(c, p.committing(g, t, 2))
			p.ends(true)
			commitWith(c, p.committing(g, t, 3))
			p.describes()
			showStable(c, g, t, 0)
		}},
		{name: "by others", api: kmsg.TxnOffsetCommit, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 1), c.bumped("p")
			p.addsGroup(g)
			for _, other := range strangers(p) {
				commitWith(c, other.committing(g, t, 1))
			}
			p.commitsOffset(g, t, 2)
			for _, other := range strangers(p) {
				commitWith(c, other.committing(g, t, 1))
			}
			p.ends(true)
			showStable(c, g, t, 0)
		}},
		{name: "after the end", api: kmsg.TxnOffsetCommit, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 1), c.begun("p")
			p.commitsOffset(g, t, 2)
			old := p.otherwise(func(*txn) {})
			p.ends(true)
			commitWith(c, old.committing(g, t, 3))
			showStable(c, g, t, 0)
		}},
		{name: "what is not there", api: kmsg.TxnOffsetCommit, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 1), c.begun("p")
			p.addsGroup(g)
			commitWith(c, p.committing(g, c.missing("missing"), 1))
			req := p.committing(g, t, 1)
			req.Topics = append(req.Topics, p.committing(g, c.missing("none"), 1).Topics...)
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
			req.Topics[0].Partitions[1].Partition = 1
			commitWith(c, req)
			p.addsGroup("")
			commitWith(c, p.committing("", t, 1))
			commitWith(c, p.committing(g, t, 1), func(req *kmsg.TxnOffsetCommitRequest) { req.Topics = nil })
			p.ends(true)
			showStable(c, g, t, 0)
		}},
		{name: "large metadata", api: kmsg.TxnOffsetCommit, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 1), c.begun("p")
			p.addsGroup(g)
			for _, size := range []int{4097, 4096} {
				large := strings.Repeat("m", size)
				commitWith(c, p.committing(g, t, 1), func(req *kmsg.TxnOffsetCommitRequest) { req.Topics[0].Partitions[0].Metadata = &large })
			}
		}},
	}
}

// committedByMembers is about commits that say for whom they are (KIP-447).
func committedByMembers() []oneCase {
	by := func(generation int32, id string, instance *string) func(*kmsg.TxnOffsetCommitRequest) {
		return func(req *kmsg.TxnOffsetCommitRequest) {
			req.Generation, req.MemberID, req.InstanceID = generation, id, instance
		}
	}
	set := func(s string) *string { return &s }
	return []oneCase{
		{name: "by a member", api: kmsg.TxnOffsetCommit, from: 3, run: func(c *client) {
			t, p, m := c.topic("t", 1), c.begun("p"), c.alone(c.group("g"), nil)
			p.addsGroup(m.group())
			for _, generation := range []int32{m.generation, -1, 0, m.generation + 1} {
				for _, id := range []string{m.id(), "", "nobody"} {
					commitWith(c, p.committing(m.group(), t, 1), by(generation, id, nil))
				}
			}
			m.leaves()
			commitWith(c, p.committing(m.group(), t, 2), by(m.generation, m.id(), nil))
			commitWith(c, p.committing(m.group(), t, 2), by(m.generation+1, "", nil))
			p.ends(true)
			showStable(c, m.group(), t, 0)
		}},
		{name: "by an instance", api: kmsg.TxnOffsetCommit, from: 3, run: func(c *client) {
			t, p, m := c.topic("t", 1), c.begun("p"), c.alone(c.group("g"), static("i"))
			p.addsGroup(m.group())
			for _, instance := range []*string{set("i"), set("j"), nil} {
				for _, id := range []string{m.id(), "", "nobody"} {
					commitWith(c, p.committing(m.group(), t, 1), by(m.generation, id, instance))
				}
			}
		}},
		{name: "while the group rebalances", api: kmsg.TxnOffsetCommit, from: 3, run: func(c *client) {
			t, p, m := c.topic("t", 1), c.begun("p"), c.joined(c.group("g"), nil)
			p.addsGroup(m.group())
			commitWith(c, p.committing(m.group(), t, 1), by(m.generation, m.id(), nil))
			do[*kmsg.SyncGroupResponse](m.client, m.syncRequest(m))
			other := c.newMember(m.group(), nil)
			other.enter()
			c.until(m.group(), "PreparingRebalance", 2)
			commitWith(c, p.committing(m.group(), t, 2), by(m.generation, m.id(), nil))
			p.ends(true)
			showStable(c, m.group(), t, 0)
		}},
		{name: "a group that is not there, by somebody in it", api: kmsg.TxnOffsetCommit, from: 3, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 1), c.begun("p")
			p.addsGroup(g)
			commitWith(c, p.committing(g, t, 1), by(0, "", nil))
			commitWith(c, p.committing(g, t, 1), by(-1, "nobody", nil))
			commitWith(c, p.committing(g, t, 1), by(1, "nobody", nil))
			describeGroup(c, g)
		}},
	}
}

// pendingOffsets is about what others see of offsets whose transaction is open, and what they can do to them.
func pendingOffsets() []oneCase {
	return []oneCase{
		{name: "who asks for offsets", api: kmsg.OffsetFetch, from: 7, run: func(c *client) {
			g, t, u, p := c.group("g"), c.topic("t", 2), c.topic("u", 1), c.begun("p")
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, u, 9))
			p.commitsOffset(g, t, 5)
			for _, stable := range []bool{false, true} {
				for _, req := range []*kmsg.OffsetFetchRequest{fetchOffsetsRequest(g, t, 0, 1), fetchAllRequest(g)} {
					req.RequireStable = stable
					ask[*kmsg.OffsetFetchResponse](c, req)
				}
			}
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, t, 3))
			for _, stable := range []bool{false, true} {
				req := fetchAllRequest(g)
				req.RequireStable = stable
				ask[*kmsg.OffsetFetchResponse](c, req)
			}
			p.ends(false)
			showStable(c, g, t, 0)
		}},
		{name: "two producers, and one without", api: kmsg.OffsetFetch, from: 10, run: func(c *client) {
			g, t, p, q := c.group("g"), c.topic("t", 1), c.begun("p"), c.begun("q")
			p.commitsOffset(g, t, 5)
			q.commitsOffset(g, t, 6)
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, t, 3))
			showUnstable(c, g, t, 0)
			q.ends(true)
			showStable(c, g, t, 0)
			showUnstable(c, g, t, 0)
			p.ends(true)
			showStable(c, g, t, 0)
		}},
		{name: "a group that is deleted", api: kmsg.DeleteGroups, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 1), c.begun("p")
			p.commitsOffset(g, t, 5)
			describeGroup(c, g)
			ask[*kmsg.DeleteGroupsResponse](c, deleteGroupsRequest(g))
			showStable(c, g, t, 0)
			describeGroup(c, g)
			p.ends(true)
			showStable(c, g, t, 0)
			ask[*kmsg.DeleteGroupsResponse](c, deleteGroupsRequest(g))
			showStable(c, g, t, 0)
		}},
		{name: "offsets that are deleted", api: kmsg.OffsetDelete, run: func(c *client) {
			g, t, p := c.group("g"), c.topic("t", 1), c.begun("p")
			do[*kmsg.OffsetCommitResponse](c, commitRequest(g, t, 3))
			p.commitsOffset(g, t, 5)
			ask[*kmsg.OffsetDeleteResponse](c, offsetDeleteRequest(g, t, 0))
			showUnstable(c, g, t, 0)
			showStable(c, g, t, 0)
			p.ends(true)
			showStable(c, g, t, 0)
		}},
		{name: "a topic that is deleted", api: kmsg.OffsetFetch, from: 10, run: func(c *client) {
			g, t, u, p := c.group("g"), c.topic("t", 1), c.topic("u", 1), c.begun("p")
			p.commitsOffset(g, t, 5)
			p.commitsOffset(g, u, 6)
			c.remove(t)
			c.settle()
			p.ends(true)
			req := fetchAllRequest(g)
			req.RequireStable = true
			ask[*kmsg.OffsetFetchResponse](c, req)
		}},
		{name: "a member that leaves its group", api: kmsg.OffsetFetch, from: 10, run: func(c *client) {
			t, p, m := c.topic("t", 1), c.begun("p"), c.alone(c.group("g"), nil)
			req := p.committing(m.group(), t, 5)
			req.Generation, req.MemberID = m.generation, m.id()
			quietlySettled[*kmsg.TxnOffsetCommitResponse](c, req)
			m.leaves()
			showStable(c, m.group(), t, 0)
			p.ends(true)
			showStable(c, m.group(), t, 0)
		}},
	}
}
