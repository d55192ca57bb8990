package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Membership is what the members of one consumer group did and were told. Each thing is held against all that was noted
// before it: note what a member begins to do before it does it, and what it was told afterwards. What cannot be is kept
// for Report. It is safe for concurrent use.
//
// The rules: a partition has one owner at a time, and in a generation one at all; an owner begins where the group has
// committed, and skips nothing; an offset that was committed and answered, or that was seen, is never lost and never goes
// back; in the end each record has been processed, by whoever it was. It counts on members that commit what they have
// processed before they give a partition up, and on logs with no gaps, which begin at offset 0.
type Membership struct {
	mu     sync.Mutex
	report *Report
	shares map[Partition]*share
	lost   int
	inHand int64
}

// share is what is known of one partition.
type share struct {
	owners       map[string]*ownership
	inGeneration map[int32]string // who owned it
	known        int64            // the highest offset that was committed and answered, or seen; 0 for none
	tried        int64            // the highest that anybody wanted to commit
	end          int64            // of the log, as far as it is known
	processed    []bool           // by offset
}

// ownership is a member's of a partition.
type ownership struct {
	generation int32
	floor      int64 // what was known to be committed when it began
	next       int64 // what it processes next; Nowhere before the first record
	rivals     []string
}

// NewMembership returns the book of a group that has committed nothing.
func NewMembership() *Membership {
	return &Membership{report: &Report{Found: map[Name]int{}}, shares: map[Partition]*share{}}
}

// share returns what is known of a partition.
func (m *Membership) share(p Partition) *share {
	s := m.shares[p]
	if s == nil {
		s = &share{owners: map[string]*ownership{}, inGeneration: map[int32]string{}}
		m.shares[p] = s
	}
	return s
}

func (m *Membership) find(n Name, p Partition, format string, args ...any) {
	m.report.add(Finding{Check: n, Partition: p, Text: fmt.Sprintf(format, args...)})
}

// Assigned notes that a member was given a partition in a generation that all members of the group have agreed on. A member
// that had it before may have been expelled, and not know yet: what it says of its end tells.
func (m *Membership) Assigned(member string, generation int32, p Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.share(p)
	if other, taken := s.inGeneration[generation]; taken && other != member {
		m.find(TwoOwners, p, "in generation %d it is %s's and %s's", generation, other, member)
	}
	s.inGeneration[generation] = member
	for name, o := range s.owners {
		if name != member {
			o.rivals = append(o.rivals, fmt.Sprintf("%s in generation %d", member, generation))
		}
	}
	s.owners[member] = &ownership{generation: generation, floor: s.known, next: Nowhere}
}

// Revoked notes that a member gives a partition up, because the group wants it to or because it leaves: nobody else can
// have had it until now.
func (m *Membership) Revoked(member string, p Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.share(p)
	m.judge(p, member, s.owners[member])
	delete(s.owners, member)
}

func (m *Membership) judge(p Partition, member string, o *ownership) {
	if o != nil && len(o.rivals) > 0 {
		m.find(TwoOwners, p, "it is %s's since generation %d, and was given to %s meanwhile",
			member, o.generation, strings.Join(o.rivals, ", "))
	}
}

// Lost notes that a member has learnt that it is no longer a member, and maybe has not been for a while.
func (m *Membership) Lost(member string, p Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.share(p).owners, member)
	m.lost++
}

// Processed notes that a member has processed a record. Of one whose assignments are not noted, only that is known.
func (m *Membership) Processed(member string, p Partition, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.share(p)
	if more := int(offset) + 1 - len(s.processed); more > 0 {
		s.processed = append(s.processed, make([]bool, more)...)
	}
	s.processed[offset] = true
	o := s.owners[member]
	if o == nil {
		return
	}
	switch {
	case o.next != Nowhere && offset != o.next:
		m.find(PollSkip, p, "%s is given %d where %d comes next", member, offset, o.next)
	case o.next == Nowhere && offset < o.floor:
		m.find(CommitLost, p, "%s begins at %d in generation %d, and %d was committed before", member, offset, o.generation, o.floor)
	case o.next == Nowhere && offset > s.tried:
		m.find(CommitInvented, p, "%s begins at %d in generation %d, and nobody committed more than %d", member, offset, o.generation, s.tried)
	}
	o.next = offset + 1
}

// Commits notes that somebody begins to commit an offset.
func (m *Membership) Commits(p Partition, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.share(p)
	s.tried = max(s.tried, offset)
}

// Committed notes that the commit of an offset was answered: it is done.
func (m *Membership) Committed(p Partition, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.share(p)
	s.known = max(s.known, offset)
}

// Inquiry is a request for what the group has committed.
type Inquiry struct {
	m     *Membership
	floor map[Partition]int64 // what was known when it began
}

// Inquire notes that somebody begins to ask for all that the group has committed.
func (m *Membership) Inquire() Inquiry {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := Inquiry{m: m, floor: map[Partition]int64{}}
	for p, s := range m.shares {
		i.floor[p] = s.known
	}
	return i
}

// End notes the answer, which has every committed offset.
func (i Inquiry) End(offsets map[Partition]int64) {
	m := i.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, floor := range i.floor {
		switch at, found := offsets[p]; {
		case !found && floor > 0:
			m.find(CommitLost, p, "no offset is committed, and %d was before", floor)
		case at < floor:
			m.find(CommitLost, p, "%d is committed, and %d was before", at, floor)
		}
	}
	for p, at := range offsets {
		s := m.share(p)
		if at > s.tried {
			m.find(CommitInvented, p, "%d is committed, and nobody wanted more than %d", at, s.tried)
		}
		s.known = max(s.known, at)
	}
}

// Produced notes that the log has a record.
func (m *Membership) Produced(p Partition, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.share(p)
	s.end = max(s.end, offset+1)
}

// MayLose notes that a member has ended that commits what it was given before it has processed it: so many records more may
// never be processed.
func (m *Membership) MayLose(records int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inHand += records
}

// Behind counts the records that nobody has processed yet, but for those that may be lost, and those that are not known to be
// committed.
func (m *Membership) Behind() (unprocessed, uncommitted int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.shares {
		unprocessed += int64(len(s.missing()))
		uncommitted += max(0, s.end-s.known)
	}
	return max(0, unprocessed-m.inHand), uncommitted
}

// missing returns the offsets that nobody has processed.
func (s *share) missing() (offsets []int64) {
	for offset := range s.end {
		if offset >= int64(len(s.processed)) || !s.processed[offset] {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}

// Expelled counts the partitions that members have lost: all that was Lost, not what was Revoked.
func (m *Membership) Expelled() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

// Found counts what was found so far.
func (m *Membership) Found() map[Name]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.report.Found)
}

// Report returns all that was found, once everything has been produced that is to be processed. It is called once.
func (m *Membership) Report() *Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	total := int64(0)
	for _, s := range m.shares {
		total += int64(len(s.missing()))
	}
	for p, s := range m.shares {
		m.report.Known += len(s.processed)
		for name, o := range s.owners {
			m.judge(p, name, o)
		}
		if missing := s.missing(); len(missing) > 0 && total > m.inHand {
			m.find(Unprocessed, p, "of %d records nobody has processed %d, from offset %d to %d",
				s.end, len(missing), missing[0], slices.Max(missing))
		}
	}
	return m.report
}
