package group

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

const (
	groupsInSimulation = 2
	longestWait        = 21 * time.Second // above every client's rebalance timeout
)

// TestSimulation lets consumers come, go, hang and restart at random while the machine crashes at random, and checks:
//
//   - All that world checks, after every command.
//   - In one generation no partition is given to two members, and everybody is given what that generation's leader said.
//   - No committed offset is lost or goes back. Half of the consumers commit in transactions, and find that all of one
//     holds or nothing (what is read, and where reading goes on, is of one transaction).
//   - Every request is answered, once, within the longest rebalance timeout.
//   - When the trouble ends, every group comes to rest, and each of its partitions has exactly one owner.
func TestSimulation(t *testing.T) {
	seeds, steps := 12, 2000
	if os.Getenv("SEGUE_LONG") != "" {
		seeds, steps = 300, 10_000
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := newSimulation(t, uint64(seed))
			for range steps {
				s.step()
			}
			s.settle()
		})
	}
}

// simulation is a world full of clients.
type simulation struct {
	w       *world
	rng     *rand.Rand
	clients []*client
	made    int
	asked   map[coordinator.Token]asked
	said    map[string]map[string]string // by generation and owner, the assignment as the leader gave it
	given   map[string]map[int32]string  // by generation and partition, the owner
	offsets map[place]int64

	transactions map[int64]transaction // those that are open, by producer
	calm         bool                  // nothing crashes any more
}

// place is what an offset is committed for.
type place struct {
	group     string
	partition int32
}

// asked is a request and who sent it.
type asked struct {
	by  *client
	req any
}

func newSimulation(t testing.TB, seed uint64) *simulation {
	o := testOptions()
	s := &simulation{
		rng: rand.New(rand.NewPCG(seed, 1)), asked: map[coordinator.Token]asked{}, said: map[string]map[string]string{},
		given: map[string]map[int32]string{}, offsets: map[place]int64{}, transactions: map[int64]transaction{},
	}
	if seed%3 == 1 {
		o.InitialRebalanceDelay = 3 * time.Second
	}
	if seed%4 == 3 {
		o.MaxSize = 3
	}
	s.w = newWorld(t, o)
	return s
}

// step lets something happen.
func (s *simulation) step() {
	switch n := s.rng.IntN(1000); {
	case n < 730 && len(s.clients) > 0:
		s.clients[s.rng.IntN(len(s.clients))].act()
	case n < 940:
		s.tick(time.Duration(s.rng.IntN(1500)) * time.Millisecond)
	case n < 955 && len(s.clients) < 10:
		s.made++
		s.clients = append(s.clients, newClient(s, s.rng, s.made))
	case n < 996 && len(s.clients) > 0:
		s.trouble(s.clients[s.rng.IntN(len(s.clients))])
	case n > 996:
		s.crash(s.w.reload)
	}
}

// trouble makes something go wrong with a client.
func (s *simulation) trouble(c *client) {
	switch s.rng.IntN(8) {
	case 0: // it is killed
		s.bury(c)
	case 1: // it leaves in good order
		if c.memberID != "" {
			r := kmsg.NewPtrLeaveGroupRequest()
			r.Version, r.Group = 5, c.group
			r.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.memberID, InstanceID: c.instance}}
			s.bury(c)
			s.send(nil, r)
		}
	case 2: // it is killed and restarted
		s.bury(c)
		n := *c
		n.memberID, n.generation, n.phase, n.owned, n.position = "", -1, joining, nil, map[int32]int64{}
		n.token, n.answer, n.lost, n.leads = 0, nil, false, nil
		n.producer.sent = nil
		s.end(n.producer.id, false) // as InitProducerId does
		s.clients = append(s.clients, &n)
	case 3: // it hangs
		c.sleepUntil = s.w.now.Add(time.Duration(s.rng.IntN(30)) * time.Second)
	case 4, 5: // its connection breaks, and it asks again
		if c.token != 0 {
			c.lost = true
		}
	case 6: // it joins again for a reason of its own
		if c.phase == working {
			c.rejoin()
		}
	case 7: // an administrator looks on
		s.send(nil, Describe{Group: c.group, Version: 6})
		s.send(nil, List{})
		s.send(nil, TopicsDeleted{without("other")})
	}
}

// bury forgets a client; what it has asked for goes to nobody.
func (s *simulation) bury(c *client) {
	c.dead = true
	s.clients = slices.DeleteFunc(s.clients, func(d *client) bool { return d == c })
}

// send sends a client's request, or nobody's. Now and then the machine crashes before its effects are written.
func (s *simulation) send(c *client, req any) {
	in := Input{Client: Client{ID: "client", Host: "/h"}, Request: req}
	if c != nil {
		in.Client.ID = c.name
	}
	if !s.calm && s.rng.IntN(400) == 0 {
		s.crash(func(compacted bool) coordinator.Effects {
			s.w.m.Handle(s.w.now, s.w.token+1, in)
			return s.w.reload(compacted)
		})
		if c != nil {
			c.token, c.lost = 1<<40, true
		}
		return
	}
	s.asked[s.w.token+1] = asked{c, req}
	t, fx := s.w.do(in)
	if c != nil {
		c.token = t
	}
	if sync, ok := req.(*kmsg.SyncGroupRequest); ok {
		s.note(sync, fx)
	}
	s.deliver(fx)
}

// crash loses all requests that wait.
func (s *simulation) crash(reload func(compacted bool) coordinator.Effects) {
	fx := reload(s.rng.IntN(2) == 0)
	for _, c := range s.clients {
		if c.token != 0 && c.answer == nil {
			c.lost = true
		}
	}
	clear(s.asked)
	s.deliver(fx)
}

// tick lets time pass.
func (s *simulation) tick(d time.Duration) {
	s.w.advance(d, s.deliver)
	s.abortOld(false)
	for t, at := range s.w.waiting {
		if waits := s.w.now.Sub(at); waits > longestWait {
			s.w.t.Fatalf("request #%d, a %T, has waited for %v", t, s.asked[t].req, waits)
		}
	}
}

// deliver checks answers, and puts them where their clients find them.
func (s *simulation) deliver(fx coordinator.Effects) {
	for _, r := range fx.Replies {
		a := s.asked[r.To]
		delete(s.asked, r.To)
		if a.by == nil {
			continue
		}
		switch m := r.Message.(type) {
		case *kmsg.SyncGroupResponse:
			if m.ErrorCode == 0 {
				s.checkAssignment(a, m)
			}
		case *kmsg.OffsetCommitResponse:
			s.checkCommit(a, m)
		}
		if a.by.token == r.To {
			a.by.answer = r.Message
		}
	}
	s.checkOffsets()
}

// note takes down what a leader says, if it was heard: the group has become Stable by it.
func (s *simulation) note(req *kmsg.SyncGroupRequest, fx coordinator.Effects) {
	g := s.w.m.groups[req.Group]
	if len(req.GroupAssignment) == 0 || len(fx.Records) == 0 || g == nil || g.state != Stable {
		return
	}
	said := map[string]string{}
	for _, a := range req.GroupAssignment {
		if mb := g.member(a.MemberID); mb != nil {
			said[who(mb.id, mb.instanceID())] = string(a.MemberAssignment)
		}
	}
	s.said[fmt.Sprintf("%s/%d", req.Group, req.Generation)] = said
}

// who is who owns partitions: a static member keeps them over a restart.
func who(id string, instance *string) string {
	if instance != nil {
		return *instance
	}
	return id
}

// checkAssignment checks what a member is given.
func (s *simulation) checkAssignment(a asked, m *kmsg.SyncGroupResponse) {
	req := a.req.(*kmsg.SyncGroupRequest)
	generation := fmt.Sprintf("%s/%d", req.Group, req.Generation)
	who := who(req.MemberID, req.InstanceID)
	if want := s.said[generation][who]; want != string(m.MemberAssignment) {
		s.w.t.Fatalf("%s in generation %s is given %q, and the leader said %q", who, generation, m.MemberAssignment, want)
	}
	if s.given[generation] == nil {
		s.given[generation] = map[int32]string{}
	}
	for _, p := range partitionsOf(m.MemberAssignment) {
		if other, taken := s.given[generation][p]; taken && other != who {
			s.w.t.Fatalf("partition %d of generation %s has two owners: %s and %s", p, generation, other, who)
		}
		s.given[generation][p] = who
	}
}

// checkCommit notes what was committed.
func (s *simulation) checkCommit(a asked, m *kmsg.OffsetCommitResponse) {
	req := a.req.(*kmsg.OffsetCommitRequest)
	if m.Topics[0].Partitions[0].ErrorCode != 0 {
		return
	}
	p := req.Topics[0].Partitions[0]
	at := place{req.Group, p.Partition}
	if p.Offset < s.offsets[at] { // the same again is a retry
		s.w.t.Fatalf("%s commits %d for %v, which was at %d", a.by, p.Offset, at, s.offsets[at])
	}
	s.offsets[at] = p.Offset
}

// checkOffsets checks that what was committed is there.
func (s *simulation) checkOffsets() {
	for n := range groupsInSimulation {
		for p := range int32(partitions) {
			at := place{fmt.Sprintf("g%d", n), p}
			if got, want := s.fetch(at.group, p), s.offsets[at]; got != want {
				s.w.t.Fatalf("%v is at %d, and %d was committed", at, got, want)
			}
		}
	}
}

// fetch returns a committed offset, 0 for none.
func (s *simulation) fetch(group string, p int32) int64 {
	resp := s.w.m.fetch(Fetch{Group: group, Topics: []FetchTopic{{Topic: topic, Partitions: []int32{p}}}})
	return max(resp.Topics[0].Partitions[0].Offset, 0)
}

// stable returns a committed offset, 0 for none, unless a transaction may be about to change it.
func (s *simulation) stable(group string, p int32) (offset int64, ok bool) {
	resp := s.w.m.fetch(Fetch{Group: group, RequireStable: true, Topics: []FetchTopic{{Topic: topic, Partitions: []int32{p}}}})
	answer := resp.Topics[0].Partitions[0]
	return max(answer.Offset, 0), answer.ErrorCode == 0
}

// settle ends all trouble, and waits for all groups to come to rest.
func (s *simulation) settle() {
	s.calm = true
	for _, c := range s.clients {
		c.sleepUntil = time.Time{}
	}
	for range 240 {
		for _, c := range s.clients {
			c.act()
		}
		s.tick(500 * time.Millisecond)
	}
	s.abortOld(true)
	if len(s.w.m.open) > 0 {
		s.w.t.Errorf("%d producers have something pending, and no transaction is open", len(s.w.m.open))
	}
	s.clients = slices.DeleteFunc(s.clients, func(c *client) bool { return c.dead })
	for n := range groupsInSimulation {
		s.checkRest(fmt.Sprintf("g%d", n))
	}
}

// checkRest checks that a group is at rest, and that each partition has one owner.
func (s *simulation) checkRest(group string) {
	var owned []int32
	members := 0
	g := groupOr(s.w.m, group)
	for _, c := range s.clients {
		if c.group != group {
			continue
		}
		members++
		if c.phase != working || c.generation != g.generation || g.member(c.memberID) == nil {
			s.w.t.Errorf("%s is in phase %d of generation %d, and its group %s", c, c.phase, c.generation, saidOf(g))
		}
		owned = append(owned, c.owned...)
	}
	want := Stable
	if members == 0 {
		want = Empty
	}
	if g.state != want || len(g.members) != members {
		s.w.t.Errorf("group %s of %d clients is not at rest: %s", group, members, saidOf(g))
	}
	slices.Sort(owned)
	if all := []int32{0, 1, 2, 3, 4, 5, 6}; members > 0 && !slices.Equal(owned, all) {
		s.w.t.Errorf("in group %s these partitions have an owner: %v", group, owned)
	}
}
