package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Describe asks for one group's state and members. The reply is a *kmsg.DescribeGroupsResponseGroup.
type Describe struct {
	Group   string
	Version int16 // of the DescribeGroups request: from 6 on an unknown group is an error
}

// List asks for the groups. The reply is a []kmsg.ListGroupsResponseGroup in order of their ids.
type List struct {
	States []string // none for all; letters may be of either case, with blanks around them
	Types  []string // none for all; letters may be of either case
}

// Count asks how much there is. The reply is a Counts.
type Count struct{}

// Counts is how much a shard, or all of them, hold.
type Counts struct {
	Groups  [Dead]int // by their State
	Members int
	Offsets int
}

// Add adds what another shard holds.
func (c *Counts) Add(o Counts) {
	for state, n := range o.Groups {
		c.Groups[state] += n
	}
	c.Members += o.Members
	c.Offsets += o.Offsets
}

// count handles Count.
func (m *Machine) count() (c Counts) {
	for _, g := range m.groups {
		c.Groups[g.state]++
		c.Members += len(g.members)
		for _, ps := range g.offsets {
			c.Offsets += len(ps)
		}
	}
	return c
}

// describe handles Describe. What the members said and were given belongs together only while the group is stable, so
// before that only the assignments of the last generation are told, as Kafka does.
func (m *Machine) describe(req Describe) *kmsg.DescribeGroupsResponseGroup {
	resp := kmsg.NewDescribeGroupsResponseGroup()
	resp.Group = req.Group
	g := m.groups[req.Group]
	if g == nil {
		resp.State = Dead.String()
		if req.Version >= 6 {
			resp.ErrorCode = kerr.GroupIDNotFound.Code
			resp.ErrorMessage = pointer(fmt.Sprintf("Group %s not found.", req.Group))
		}
		return &resp
	}
	resp.State = g.state.String()
	resp.ProtocolType = g.protocolType
	if g.state == Stable {
		resp.Protocol = g.protocol
	}
	resp.Members = make([]kmsg.DescribeGroupsResponseGroupMember, 0, len(g.members))
	for _, mb := range g.members {
		d := kmsg.DescribeGroupsResponseGroupMember{
			MemberID: mb.id, InstanceID: mb.instanceID(),
			ClientID: mb.clientID, ClientHost: mb.host,
			MemberAssignment: mb.assignment,
		}
		if g.state == Stable {
			d.ProtocolMetadata = mb.metadata(g.protocol)
		}
		resp.Members = append(resp.Members, d)
	}
	return &resp
}

// list handles List.
func (m *Machine) list(req List) []kmsg.ListGroupsResponseGroup {
	matches := func(filter []string, s string) bool {
		return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool {
			return strings.EqualFold(f, s)
		})
	}
	states := make([]string, len(req.States))
	for i, s := range req.States {
		states[i] = strings.TrimSpace(s)
	}
	var all []kmsg.ListGroupsResponseGroup
	for _, id := range m.groupIDs() {
		g := m.groups[id]
		if matches(states, g.state.String()) && matches(req.Types, g.kind.String()) {
			all = append(all, kmsg.ListGroupsResponseGroup{
				Group: id, ProtocolType: g.protocolType,
				GroupState: g.state.String(), GroupType: g.kind.String(),
			})
		}
	}
	return all
}
