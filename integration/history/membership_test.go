package history

import (
	"slices"
	"testing"
)

// TestMembership: small histories of a group, sound ones and others.
func TestMembership(t *testing.T) {
	p := Partition{Topic: "t"}
	committed := func(m *Membership, offset int64) {
		m.Commits(p, offset)
		m.Committed(p, offset)
	}
	seen := func(m *Membership, offset int64) { m.Inquire().End(map[Partition]int64{p: offset}) }
	process := func(m *Membership, member string, offsets ...int64) {
		for _, o := range offsets {
			m.Processed(member, p, o)
		}
	}
	tests := []struct {
		name string
		do   func(*Membership)
		want []Name
	}{
		{"one hands over to another", func(m *Membership) {
			m.Produced(p, 3)
			m.Assigned("ann", 1, p)
			process(m, "ann", 0, 1)
			committed(m, 2)
			m.Revoked("ann", p)
			m.Assigned("bob", 2, p)
			process(m, "bob", 2, 3)
			committed(m, 4)
			seen(m, 4)
		}, nil},
		{"a commit without an answer, seen or not", func(m *Membership) {
			m.Assigned("ann", 1, p)
			process(m, "ann", 0, 1, 2)
			m.Commits(p, 3)
			seen(m, 0)
			seen(m, 3)
		}, nil},
		{"an inquiry that began before", func(m *Membership) {
			i := m.Inquire()
			committed(m, 3)
			i.End(nil)
		}, nil},
		{"one is expelled, and learns it late", func(m *Membership) {
			m.Assigned("ann", 1, p)
			m.Assigned("bob", 2, p)
			m.Lost("ann", p)
		}, nil},
		{"the same member twice in a generation", func(m *Membership) {
			m.Assigned("ann", 1, p)
			m.Revoked("ann", p)
			m.Assigned("ann", 1, p)
		}, nil},
		{"members that are not noted", func(m *Membership) {
			m.Produced(p, 1)
			process(m, "kcat", 1, 0, 0)
		}, nil},
		{"one that commits early ends", func(m *Membership) { m.Produced(p, 2); m.MayLose(1); process(m, "kcat", 0, 2) }, nil},

		{"one that commits early loses too much", func(m *Membership) { m.Produced(p, 3); m.MayLose(1); process(m, "kcat", 0, 2) }, []Name{Unprocessed}},
		{"two owners in one generation, one after another", func(m *Membership) {
			m.Assigned("ann", 1, p)
			m.Lost("ann", p)
			m.Assigned("bob", 1, p)
		}, []Name{TwoOwners}},
		{"two owners at once, and both know of it", func(m *Membership) {
			m.Assigned("ann", 1, p)
			m.Assigned("bob", 2, p)
			m.Revoked("ann", p)
		}, []Name{TwoOwners}},
		{"two owners to the end", func(m *Membership) {
			m.Assigned("ann", 1, p)
			m.Assigned("bob", 2, p)
		}, []Name{TwoOwners}},
		{"an offset goes back", func(m *Membership) { committed(m, 3); seen(m, 2) }, []Name{CommitLost}},
		{"an offset is lost", func(m *Membership) { committed(m, 3); m.Inquire().End(nil) }, []Name{CommitLost}},
		{"an offset was seen, and is lost", func(m *Membership) { m.Commits(p, 3); seen(m, 3); seen(m, 0) }, []Name{CommitLost}},
		{"an owner begins below what is committed", func(m *Membership) {
			committed(m, 3)
			m.Assigned("ann", 1, p)
			process(m, "ann", 2)
		}, []Name{CommitLost}},
		{"an owner begins above what is committed", func(m *Membership) {
			committed(m, 3)
			m.Assigned("ann", 1, p)
			process(m, "ann", 4)
		}, []Name{CommitInvented}},
		{"an offset that nobody committed", func(m *Membership) { seen(m, 1) }, []Name{CommitInvented}},
		{"an owner skips", func(m *Membership) { m.Assigned("ann", 1, p); process(m, "ann", 0, 2) }, []Name{PollSkip}},
		{"a record is left out", func(m *Membership) { m.Produced(p, 2); process(m, "kcat", 0, 2) }, []Name{Unprocessed}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := NewMembership()
			test.do(m)
			var found []Name
			report := m.Report()
			for name := range report.Found {
				found = append(found, name)
			}
			if !slices.Equal(found, test.want) {
				t.Errorf("found %v, want %v: %v", found, test.want, report.Err())
			}
		})
	}
}

// TestMembershipBehind: who waits for the group to come to the end can tell.
func TestMembershipBehind(t *testing.T) {
	m, p := NewMembership(), Partition{Topic: "t"}
	m.Produced(p, 4)
	m.Processed("kcat", p, 1)
	m.Commits(p, 2)
	m.Committed(p, 2)
	if unprocessed, uncommitted := m.Behind(); unprocessed != 4 || uncommitted != 3 {
		t.Errorf("%d, %d; want 4, 3", unprocessed, uncommitted)
	}
}
