//go:build integration && unix

package integration

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"segue/integration/history"
)

// balancers are the ways in which clients share partitions out.
func balancers() map[string]kgo.GroupBalancer {
	return map[string]kgo.GroupBalancer{
		"range":              kgo.RangeBalancer(),
		"roundrobin":         kgo.RoundRobinBalancer(),
		"sticky":             kgo.StickyBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}
}

// TestGroupBalancers: members come and go, with each of the balancers, and all records are processed.
func TestGroupBalancers(t *testing.T) {
	b := start(t)
	t.Run("all", func(t *testing.T) {
		for name, balancer := range balancers() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tm := newTeam(t, b, "of-"+name, 6, kgo.Balancers(balancer))
				defer tm.abandon()
				tm.write()
				ann := tm.join(t, "ann")
				tm.awaitShares(t, 6, ann)
				bob, cid := tm.join(t, "bob"), tm.join(t, "cid")
				tm.awaitShares(t, 6, ann, bob, cid)
				awaitWork(t, 10, ann, bob, cid)
				ann.leave()
				tm.awaitShares(t, 6, bob, cid)
				dan := tm.join(t, "dan")
				tm.awaitShares(t, 6, bob, cid, dan)
				awaitWork(t, 10, bob, cid, dan)
				tm.finish(t)
				if n := tm.book.Expelled(); n != 0 {
					t.Errorf("%d partitions were lost, and every member was there in time: %v", n, tm.members)
				}
			})
		}
	})
}

// TestGroupStatic: a static member that is away for less than its session finds its partitions as they were, and the
// others do not notice; one that stays away is given up.
func TestGroupStatic(t *testing.T) {
	b := start(t, soon)
	tm := newTeam(t, b, "t", 4, kgo.Balancers(kgo.RangeBalancer()))
	defer tm.abandon()
	tm.write()
	ann := tm.join(t, "ann", kgo.InstanceID("ann"))
	bob := tm.join(t, "bob", kgo.InstanceID("bob"))
	tm.awaitShares(t, 4, ann, bob)
	awaitWork(t, 10, ann, bob)
	rounds := ann.rounds.Load()
	for range 3 {
		had := bob.owns()
		bob.leave() // a static member does not tell
		bob = tm.join(t, "bob", kgo.InstanceID("bob"))
		awaitWork(t, 10, bob)
		if has := bob.owns(); !slices.Equal(has, had) {
			t.Errorf("it had %v, and has %v after it was away", had, has)
		}
	}
	if n := ann.rounds.Load(); n != rounds {
		t.Errorf("%d more rebalances while a static member was away", n-rounds)
	}

	// One with a short session is given up.
	bob.leave()
	cid := tm.join(t, "cid", kgo.InstanceID("cid"), kgo.SessionTimeout(time.Second))
	bob = tm.join(t, "bob", kgo.InstanceID("bob"))
	tm.awaitShares(t, 4, ann, bob, cid)
	awaitWork(t, 1, cid)
	cid.leave()
	tm.awaitShares(t, 4, ann, bob)
	tm.finish(t)
}

// TestGroupRegex: who wants topics by a pattern is given those that come later, too, and no internal one.
func TestGroupRegex(t *testing.T) {
	b := start(t)
	tm := newTeam(t, b, "in-1", 2, kgo.ConsumeRegex(), kgo.ConsumeTopics("^in-.*", "^__consumer.*"), kgo.MetadataMaxAge(200*time.Millisecond))
	defer tm.abandon()
	b.createTopic(t, "out-1", 2)
	ann, bob := tm.join(t, "ann"), tm.join(t, "bob")
	tm.awaitShares(t, 2, ann, bob)
	b.createTopic(t, "in-2", 4)
	tm.topics = append(tm.topics, "in-2")
	tm.awaitShares(t, 6, ann, bob)
	tm.write()
	awaitWork(t, 10, ann, bob)
	tm.finish(t)
	for _, m := range tm.members {
		for p := range m.owned {
			if !slices.Contains(tm.topics, p.Topic) {
				t.Errorf("%s was given %v", m.name, p)
			}
		}
	}
}

// TestGroupGoesOn: a restart of the broker, and a kill, are no reason for a rebalance: members go on where they were. Those
// that give up when they cannot connect join again, and one rebalance takes in all of them.
func TestGroupGoesOn(t *testing.T) {
	b := start(t)
	teams := map[string]*team{
		"patient":   newTeam(t, b, "patient", 6, kgo.Dialer(dialPatiently)),
		"impatient": newTeam(t, b, "impatient", 6),
	}
	for _, tm := range teams {
		defer tm.abandon()
		tm.write()
		for i := range 3 {
			tm.join(t, fmt.Sprint("member-", i))
		}
	}
	for _, tm := range teams {
		tm.awaitShares(t, 6, tm.members...)
		awaitWork(t, 10, tm.members...)
		tm.awaitQuiet(t)
	}
	for name, again := range map[string]func() time.Duration{"restart": b.restart, "kill": b.crash} {
		before := map[string][]standing{}
		for name, tm := range teams {
			before[name] = tm.standings()
		}
		again()
		for _, tm := range teams {
			awaitWork(t, 20, tm.members...)
		}
		if was, is := before["patient"], teams["patient"].standings(); !slices.Equal(was, is) {
			t.Errorf("after a %s: %v, was %v; %v", name, is, was, teams["patient"].members)
		}
		teams["impatient"].awaitQuiet(t)
		const most = 3 // one, and two more for members that were not there when it began
		for i, is := range teams["impatient"].standings() {
			if was := before["impatient"][i]; is.generation > was.generation+most || is.id != was.id {
				t.Errorf("after a %s: %v, was %v; %v", name, is, was, teams["impatient"].members)
			}
		}
	}
	for _, tm := range teams {
		tm.finish(t)
	}
}

// dialPatiently waits for a broker that is away for a moment.
func dialPatiently(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	dialer := &net.Dialer{}
	holdsWithin(patience, func() bool {
		conn, err = dialer.DialContext(ctx, network, addr)
		return err == nil || ctx.Err() != nil
	})
	return conn, err
}

// standing is what a member is in its group.
type standing struct {
	id         string
	generation int32
	rounds     int64
	owned      string
}

// standings returns those of all members.
func (tm *team) standings() (all []standing) {
	for _, m := range tm.members {
		id, generation := m.cl.GroupMetadata()
		all = append(all, standing{id, generation, m.rounds.Load(), fmt.Sprint(m.owns())})
	}
	return all
}

// awaitQuiet waits until the group is stable, and has been for as long as all members take to notice that it is not.
func (tm *team) awaitQuiet(t testing.TB) {
	t.Helper()
	adm := tm.b.admin(t)
	defer adm.Close()
	rounds := func() (n int64) {
		for _, m := range tm.members {
			n += m.rounds.Load()
		}
		return n
	}
	eventually(t, 2*patience, "the group is stable", func() bool {
		before := rounds()
		described, err := adm.DescribeGroups(within(t, patience), tm.group)
		return err == nil && described[tm.group].State == "Stable" && pass(nil, time.Second) && rounds() == before
	})
}

// TestGroupTopicRecreated: a topic that is deleted takes its committed offsets along; the members read the one that is
// made in its place from its start.
func TestGroupTopicRecreated(t *testing.T) {
	b := start(t, onlyByRequest)
	tm := newTeam(t, b, "t", 2, kgo.MetadataMaxAge(200*time.Millisecond))
	defer tm.abandon()
	ann := tm.join(t, "ann")
	cl := b.client(t, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	send := func(n int) {
		for range n {
			r := &kgo.Record{Topic: "t", Value: []byte("x")}
			produce(t, cl, r)
			tm.book.Produced(partitionOf(r), r.Offset)
		}
	}
	send(40)
	eventually(t, patience, "all is committed", func() bool { _, n := tm.book.Behind(); return n == 0 })
	tm.watch.end()

	adm := b.admin(t)
	committed := func() map[int32]int64 {
		found := map[int32]int64{}
		offsets, err := adm.FetchOffsets(within(t, patience), tm.group)
		if err != nil {
			t.Fatal(err)
		}
		for p, o := range offsets["t"] {
			found[p] = o.At
		}
		return found
	}
	if c := committed(); len(c) != 2 {
		t.Errorf("committed: %v, want two partitions", c)
	}
	ann.leave()
	if _, err := adm.DeleteTopic(within(t, patience), "t"); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the offsets of the topic are gone", func() bool { return len(committed()) == 0 })
	b.createTopic(t, "t", 2)
	if c := committed(); len(c) != 0 {
		t.Errorf("committed for the new topic: %v", c)
	}
	if err := tm.book.Report().Err(); err != nil {
		t.Error(err)
	}

	tm.book, tm.watch = history.NewMembership(), newGroup()
	tm.look()
	cl.Close()
	cl = b.client(t, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	send(10)
	tm.join(t, "bob")
	tm.finish(t)
	b.crash()
	if c := committed(); c[0]+c[1] != 10 {
		t.Errorf("committed for the new topic after a kill: %v, want 10 in all", c)
	}
}
