package group

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// State is what a group is doing, by Kafka's names.
type State uint8

// The states of a classic group. A group that is Dead is in the machine no more.
const (
	Empty State = iota
	PreparingRebalance
	CompletingRebalance
	Stable
	Dead
)

func (s State) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}

// Kind is which protocol the members of a group speak.
type Kind uint8

// Classic groups are those of JoinGroup and SyncGroup. Groups that only commit offsets count as classic, too.
const Classic Kind = iota

func (k Kind) String() string { return [...]string{"classic"}[k] }

// noTime stands for a time that is not known, or never.
const noTime = -1

// consumerProtocol is the protocol type of Kafka's consumers. Of theirs alone the coordinator understands metadata.
const consumerProtocol = "consumer"

// group is one group: its members, if it has any, and its committed offsets.
type group struct {
	timer // of the rebalance: in PreparingRebalance to end the joining, after that to end the syncing

	id    string
	kind  Kind
	state State
	since int64 // when it came into the state, in Unix milliseconds; noTime if that is not known

	generation   int32
	protocolType string // empty for none
	protocol     string // that was chosen for the generation; empty for none
	leader       string // a member id; empty for none

	members   []*member                 // by id
	instances map[string]*member        // the static ones, by instance id; nil if there never was one
	pending   map[string]*pendingMember // ids that were handed out and not joined with yet; nil if there is none
	offered   []protocolVotes           // what the members offer
	metadata  int                       // bytes that they say with it
	joining   int                       // members with a waiting JoinGroup
	unsynced  int                       // members that have joined the generation and not synced yet

	// The first rebalance of an empty group waits for more members, and longer when some come.
	initial   bool          // the rebalance that is being prepared is such a one
	more      bool          // one has come since the delay was last set
	remaining time.Duration // by how much it can be put off yet

	subscription                         // of the generation
	offsets      map[string]topicOffsets // by topic; nil if there are none
	undecided    map[string]topicPending // by topic; nil if there are none
}

// find returns where a member is, or would be, among the members.
func (g *group) find(id string) (int, bool) {
	return slices.BinarySearchFunc(g.members, id, func(mb *member, id string) int { return strings.Compare(mb.id, id) })
}

// member returns a member by id; nil if there is none.
func (g *group) member(id string) *member {
	if i, ok := g.find(id); ok {
		return g.members[i]
	}
	return nil
}

// insert adds a member. The first one sets the protocol type, and leads until one is chosen otherwise.
func (g *group) insert(mb *member) {
	i, _ := g.find(mb.id)
	if len(g.members) == 0 {
		g.protocolType = mb.protocolType
	}
	g.members = slices.Insert(g.members, i, mb)
	if mb.static {
		if g.instances == nil {
			g.instances = map[string]*member{}
		}
		g.instances[mb.instance] = mb
	}
	if g.leader == "" {
		g.leader = mb.id
	}
	g.vote(mb.protocols, +1)
}

// remove takes a member out, who must have no waiting request any more. If it led, another one does. Unless the group is
// preparing a rebalance it has to begin one.
func (g *group) remove(mb *member) {
	i, _ := g.find(mb.id)
	g.members = slices.Delete(g.members, i, i+1)
	if mb.static {
		delete(g.instances, mb.instance)
	}
	g.vote(mb.protocols, -1)
	if g.leader == mb.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

// rename gives a static member a new id, and so a new place.
func (g *group) rename(mb *member, id string) {
	i, _ := g.find(mb.id)
	g.members = slices.Delete(g.members, i, i+1)
	if g.leader == mb.id {
		g.leader = id
	}
	mb.id = id
	i, _ = g.find(id)
	g.members = slices.Insert(g.members, i, mb)
}

// validate says whether a request may speak for a member: it must be one, and the present holder of its instance id.
func (g *group) validate(id string, instance *string) *kerr.Error {
	if instance != nil {
		holder := g.instances[*instance]
		switch {
		case holder == nil:
			return kerr.UnknownMemberID
		case holder.id != id:
			return kerr.FencedInstanceID
		}
	}
	if g.member(id) == nil {
		return kerr.UnknownMemberID
	}
	return nil
}

// allJoined says whether nobody is missing from the rebalance that is being prepared.
func (g *group) allJoined() bool { return g.joining == len(g.members) && len(g.pending) == 0 }

// rebalanceTimeout is how long a phase of a rebalance may take: the longest that any member asks for.
func (g *group) rebalanceTimeout() time.Duration {
	longest := int32(0)
	for _, mb := range g.members {
		longest = max(longest, mb.rebalanceMillis)
	}
	return millis32(longest)
}

// electJoined makes a member the leader that has joined, and says whether there is one.
func (g *group) electJoined() bool {
	if leader := g.member(g.leader); leader != nil && leader.join.waits {
		return true
	}
	for _, mb := range g.members {
		if mb.join.waits {
			g.leader = mb.id
			return true
		}
	}
	return false
}

// enter changes the state.
func (m *Machine) enter(g *group, s State) {
	g.state, g.since = s, m.Millis()
}

// newGroup puts an empty group into the machine.
func (m *Machine) newGroup(id string) *group {
	g := &group{id: id, since: noTime}
	m.groups[id] = g
	return g
}

// bury takes a group out of the machine.
func (m *Machine) bury(g *group) {
	m.Timers.Stop(&g.timer)
	for _, mb := range g.members {
		m.Timers.Stop(&mb.timer)
	}
	for _, p := range g.pending {
		m.Timers.Stop(&p.timer)
	}
	delete(m.groups, g.id)
}

// groupIDs returns the ids of all groups, in order.
func (m *Machine) groupIDs() []string {
	ids := make([]string, 0, len(m.groups))
	for id := range m.groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
