//go:build integration && unix

package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/integration/history"
)

// chaosSession is how long a group waits for a member whose farewell a kill has swallowed.
const chaosSession = 2 * time.Second

// newTeams makes one team for each balancer, and one of static members, with work to do.
func newTeams(t testing.TB, b *broker) (teams []*team) {
	t.Helper()
	for name, balancer := range balancers() {
		teams = append(teams, newTeam(t, b, "of-"+name, 5, kgo.Balancers(balancer), kgo.SessionTimeout(chaosSession)))
	}
	slices.SortFunc(teams, func(a, b *team) int { return strings.Compare(a.group, b.group) })
	teams = append(teams, newTeam(t, b, "static", 5, kgo.SessionTimeout(chaosSession)))
	for _, tm := range teams {
		tm.write()
		for range 3 {
			tm.replace(t, nil)
		}
	}
	return teams
}

// replace has a new member join in the place of one, or as one more. A static one comes back under its name.
func (tm *team) replace(t testing.TB, old *member) {
	t.Helper()
	name := fmt.Sprint("member-", len(tm.members))
	if old != nil {
		old.leave()
		if tm.group == "static" {
			name = old.name
		}
	}
	if tm.group == "static" {
		tm.join(t, name, kgo.InstanceID(name))
	} else {
		tm.join(t, name)
	}
}

// shake makes a team rebalance: a member is replaced, or does no more than ask for a rebalance.
func (tm *team) shake(t testing.TB, rng *rand.Rand) {
	t.Helper()
	var there []*member
	for _, m := range tm.members {
		select {
		case <-m.ended:
		default:
			there = append(there, m)
		}
	}
	m := there[rng.IntN(len(there))]
	if rng.IntN(3) == 0 {
		m.cl.ForceRebalance()
	} else {
		tm.replace(t, m)
	}
}

// TestGroupChaos kills the broker in the middle of rebalances and commits, again and again: no partition has two owners in a
// generation, no committed offset is lost or goes back, every record is processed.
func TestGroupChaos(t *testing.T) {
	rng := seeded(t)
	b := start(t, soon)
	begun := time.Now()
	teams := newTeams(t, b)
	for _, tm := range teams {
		defer tm.abandon()
	}
	for kills := range orLong(8, 150) {
		for _, tm := range teams {
			awaitWork(t, 1, tm.members[len(tm.members)-1]) // somebody always comes back to work
			if rng.IntN(4) > 0 {
				tm.shake(t, rng)
			}
		}
		pass(nil, time.Duration(rng.Int64N(int64(200*time.Millisecond))))
		if kills%4 == 3 {
			b.restart()
		} else {
			b.crash()
		}
		t.Logf("%v: %d kills", time.Since(begun).Round(time.Millisecond), kills+1)
	}
	for _, tm := range teams {
		tm.finish(t)
	}
}

// groupBugs are changes that make a coordinator wrong.
var groupBugs = []bug{
	{
		"a replay leaves out commits",
		edit{"internal/coordinator/group/replay.go", "	g.put(topic, partition, c)\n", `	if c.offset%5 > 1 {
		g.put(topic, partition, c)
	}
`},
		[]history.Name{history.CommitLost},
		true,
	}, {
		"members are given what the leader is",
		edit{"internal/coordinator/group/sync.go", "	resp.MemberAssignment = mb.assignment\n", `	resp.MemberAssignment = mb.assignment
	if leader := g.member(g.leader); leader != nil && g.generation%3 == 0 {
		resp.MemberAssignment = leader.assignment
	}
`},
		[]history.Name{history.TwoOwners},
		true,
	},
}

// TestGroupPlantedBugs: teams and their history find a coordinator that is wrong. What finds nothing here would prove
// nothing in TestGroupChaos.
func TestGroupPlantedBugs(t *testing.T) {
	if raceEnabled() {
		t.Skip("a planted bug may race")
	}
	for _, bug := range groupBugs {
		t.Run(bug.name, func(t *testing.T) {
			rng := seeded(t)
			b := newBroker(t, soon)
			b.binary = buildEdited(t, bug.change)
			b.tolerated = func(entry) bool { return true }
			b.launch()
			teams := newTeams(t, b)
			for _, tm := range teams {
				defer tm.abandon()
			}
			found := func() bool {
				return slices.ContainsFunc(teams, func(tm *team) bool {
					all := tm.book.Found()
					return slices.ContainsFunc(bug.want, func(n history.Name) bool { return all[n] > 0 })
				})
			}
			const patiently = 30 // kills
			for kills := range patiently {
				if holdsWithin(500*time.Millisecond, found) {
					t.Logf("found after %d kills", kills)
					return
				}
				for _, tm := range teams {
					tm.shake(t, rng)
				}
				b.crash()
			}
			t.Errorf("after %d kills none of %v is found", patiently, bug.want)
		})
	}
}

// TestGroupFencing: who is no longer a member, or of an older generation, cannot commit, nor can anybody for a group that
// has members.
func TestGroupFencing(t *testing.T) {
	b := start(t)
	tm := newTeam(t, b, "t", 2)
	defer tm.abandon()
	tm.write()
	ann := tm.join(t, "ann")
	tm.awaitShares(t, 2, ann)
	awaitWork(t, 10, ann)
	id, generation := ann.cl.GroupMetadata()
	w := b.dial(t)
	commit := func(id string, generation int32) error {
		return w.commit(tm.group, id, generation, "t", 0, 0, "")
	}
	for name, test := range map[string]struct {
		id         string
		generation int32
		want       *kerr.Error
	}{
		"nobody":               {"", -1, kerr.UnknownMemberID},
		"somebody else":        {"ann", generation, kerr.UnknownMemberID},
		"an older generation":  {id, generation - 1, kerr.IllegalGeneration},
		"a generation to come": {id, generation + 1, kerr.IllegalGeneration},
	} {
		if err := commit(test.id, test.generation); !errors.Is(err, test.want) {
			t.Errorf("commit by %s: %v, want %v", name, err, test.want)
		}
	}
	ann.leave()
	if err := commit(id, generation); !errors.Is(err, kerr.UnknownMemberID) {
		t.Errorf("commit by who has left: %v, want %v", err, kerr.UnknownMemberID)
	}
	tm.join(t, "bob")
	tm.finish(t)
}
