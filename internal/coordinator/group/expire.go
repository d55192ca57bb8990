package group

import (
	"slices"

	"segue/internal/coordinator"
)

// A sweep goes over all groups, a step at a time, each small enough for one batch. It runs on a timer: what it leaves
// undone is due at once.
type sweep interface {
	expirer
	sweeps()
}

// What one step of a sweep does at the most: it ends with the group in which it comes to so many tombstones, or after
// so many groups.
const (
	stepTombstones = 1000
	stepGroups     = 1000
)

// round is the groups that a sweep has still to visit.
type round struct{ ids []string }

// step visits groups until the step is full, and says whether all are done. Groups that are gone meanwhile are left out.
func (r *round) step(m *Machine, visit func(*group)) bool {
	wrote := len(m.Led.Records)
	for n := 0; len(r.ids) > 0; n++ {
		if n == stepGroups || len(m.Led.Records)-wrote >= stepTombstones {
			return false
		}
		if g := m.groups[r.ids[0]]; g != nil {
			visit(g)
		}
		r.ids = r.ids[1:]
	}
	r.ids = nil
	return true
}

// expirySweep drops offsets that have expired, and empty groups that have none left.
type expirySweep struct {
	timer
	round
}

func (*expirySweep) sweeps() {}

// expire does one step.
func (s *expirySweep) expire(m *Machine) {
	if s.ids == nil {
		s.ids = m.groupIDs()
	}
	if s.step(m, m.expireOffsets) {
		m.Set(&s.timer, s, m.opts.OffsetsCheckInterval)
	} else {
		m.Set(&s.timer, s, 0)
	}
}

// expireOffsets drops the offsets of one group that have expired, and the group if it is empty and has none left.
// An id that was handed out keeps it a while: its member would have to begin anew otherwise.
func (m *Machine) expireOffsets(g *group) {
	if m.mayExpire(g) {
		for _, topic := range sortedKeys(g.offsets) {
			if g.subscribesTo(topic) {
				continue
			}
			var due []int32
			for p, c := range g.offsets[topic] {
				if m.expired(g, c) && !g.isUndecided(topic, p) {
					due = append(due, p)
				}
			}
			for _, p := range slices.Sorted(slices.Values(due)) {
				m.dropOffset(g, topic, p)
			}
		}
	}
	if g.state == Empty && len(g.offsets)+len(g.undecided)+len(g.pending) == 0 {
		m.Write(groupTombstone(g.id))
		m.bury(g)
	}
}

// mayExpire says whether any offset of a group may expire now: while members of another protocol type than consumers',
// or a rebalance, are there, none does (Kafka's ClassicGroup.offsetExpirationCondition).
func (m *Machine) mayExpire(g *group) bool {
	switch {
	case g.protocolType == "", g.state == Empty:
		return true
	default:
		return g.state == Stable && g.protocolType == consumerProtocol && g.known
	}
}

// expired says whether the time of a committed offset is up. It counts from when the group lost its last member, and
// from the commit where there never was one or there are some now (Kafka's OffsetExpirationConditionImpl).
func (m *Machine) expired(g *group, c *committed) bool {
	now := m.Millis()
	if c.expires != noTime {
		return now >= c.expires
	}
	from := c.at
	if g.protocolType != "" && g.state == Empty && g.since != noTime {
		from = g.since
	}
	return now-from >= m.opts.OffsetsRetention.Milliseconds()
}

// TopicsDeleted says that topics may have been deleted: the offsets of those that have been have to go, too. The reply is
// a Dropped, when all is done.
type TopicsDeleted struct {
	// Exists says whether there is a topic of that name and id, or of that name where the id is zero, for which offsets
	// may be committed. It is asked for each offset at the time at which it would go: what exists by then stays. It
	// must not wait.
	Exists func(topic string, id [16]byte) bool
}

// Dropped says how many offsets were dropped.
type Dropped struct{ Offsets int }

// deletionSweep drops the offsets of deleted topics.
type deletionSweep struct {
	timer
	round
	exists  func(topic string, id [16]byte) bool
	token   coordinator.Token
	dropped int
}

func (*deletionSweep) sweeps() {}

// topicsDeleted handles TopicsDeleted.
func (m *Machine) topicsDeleted(t coordinator.Token, req TopicsDeleted) {
	s := &deletionSweep{exists: req.Exists, token: t, round: round{m.groupIDs()}}
	s.expire(m)
}

// expire does one step.
func (s *deletionSweep) expire(m *Machine) {
	if s.step(m, func(g *group) { s.visit(m, g) }) {
		m.Reply(s.token, Dropped{s.dropped})
	} else {
		m.Set(&s.timer, s, 0)
	}
}

func (s *deletionSweep) visit(m *Machine, g *group) {
	g.eachPartition(func(topic string, p int32) {
		if !g.meant(topic, p, func(id [16]byte) bool { return s.exists(topic, id) }) {
			m.dropOffset(g, topic, p)
			s.dropped++
		}
	})
}
