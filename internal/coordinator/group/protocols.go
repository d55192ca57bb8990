package group

import (
	"bytes"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// protocol is one way of assigning partitions that a member offers: an assignor's name and what it wants to know.
type protocol struct {
	name     string
	metadata []byte
}

// protocolVotes is how many members offer a protocol.
type protocolVotes struct {
	name    string
	members int
}

// copyProtocols returns what a member offers, in one piece of memory of its own. Of two with one name the first counts.
func copyProtocols(from []kmsg.JoinGroupRequestProtocol) []protocol {
	size := 0
	for _, p := range from {
		size += len(p.Metadata)
	}
	all := make([]byte, 0, size)
	ps := make([]protocol, 0, len(from))
	for _, p := range from {
		if slices.ContainsFunc(ps, func(q protocol) bool { return q.name == p.Name }) {
			continue
		}
		start := len(all)
		all = append(all, p.Metadata...)
		ps = append(ps, protocol{p.Name, all[start:len(all):len(all)]})
	}
	return ps
}

// offersSame says whether a member offers exactly this, in this order.
func (mb *member) offersSame(ps []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(mb.protocols, ps, func(p protocol, q kmsg.JoinGroupRequestProtocol) bool {
		return p.name == q.Name && bytes.Equal(p.metadata, q.Metadata)
	})
}

// metadata returns what a member says under a protocol; nil if it does not offer it.
func (mb *member) metadata(name string) []byte {
	for _, p := range mb.protocols {
		if p.name == name {
			return p.metadata
		}
	}
	return nil
}

// vote adds or takes away the votes of one member.
func (g *group) vote(ps []protocol, n int) {
	for _, p := range ps {
		i := slices.IndexFunc(g.offered, func(v protocolVotes) bool { return v.name == p.name })
		if i < 0 {
			g.offered = append(g.offered, protocolVotes{name: p.name})
			i = len(g.offered) - 1
		}
		g.metadata += n * len(p.metadata)
		if g.offered[i].members += n; g.offered[i].members == 0 {
			g.offered = slices.Delete(g.offered, i, i+1)
		}
	}
}

// offeredByAll says whether every member offers a protocol.
func (g *group) offeredByAll(name string) bool {
	for _, v := range g.offered {
		if v.name == name {
			return v.members == len(g.members)
		}
	}
	return len(g.members) == 0
}

// supports says whether a member with these protocols fits the group: its type is the group's, and all have one
// protocol in common. Anything goes in an empty group.
func (g *group) supports(protocolType string, ps []kmsg.JoinGroupRequestProtocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(ps) > 0
	}
	return protocolType == g.protocolType &&
		slices.ContainsFunc(ps, func(p kmsg.JoinGroupRequestProtocol) bool { return g.offeredByAll(p.Name) })
}

// choose returns the protocol that most members like best among those that all offer; among equals, the one that the
// leader likes best (Kafka leaves that open).
func (g *group) choose() string {
	votes := map[string]int{}
	for _, mb := range g.members {
		votes[g.favourite(mb)]++
	}
	chosen := ""
	for _, p := range g.member(g.leader).protocols {
		if g.offeredByAll(p.name) && (chosen == "" || votes[p.name] > votes[chosen]) {
			chosen = p.name
		}
	}
	return chosen
}

// favourite is the protocol that a member likes best among those that all offer.
func (g *group) favourite(mb *member) string {
	for _, p := range mb.protocols {
		if g.offeredByAll(p.name) {
			return p.name
		}
	}
	return ""
}
