package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Name is the name of a check, and of what it finds.
type Name string

// The checks, by what they find.
const (
	InconsistentOffsets Name = "inconsistent-offsets" // one offset, two values
	OffsetReuse         Name = "offset-reuse"         // the same, and the broker was started anew in between
	Duplicate           Name = "duplicate"            // one value, two offsets, and no reason to send it again
	LostWrite           Name = "lost-write"           // acknowledged, and passed over by a drain
	Unseen              Name = "unseen"               // acknowledged, and above all that a drain came to
	LostRead            Name = "lost-read"            // a consumer was given it, and a later drain was not
	Invented            Name = "invented"             // a record that nobody sent, or not to there, or not yet
	AbortedRead         Name = "aborted-read"         // a record whose send has failed
	Altered             Name = "altered"              // a record whose timestamp is not the one it was sent with
	PollSkip            Name = "poll-skip"            // a consumer was not given what lies between
	OffsetGap           Name = "offset-gap"           // there is no record at an offset
	NonmonotonicPoll    Name = "nonmonotonic-poll"    // a consumer was led back
	NonmonotonicSend    Name = "nonmonotonic-send"    // a producer's later record was acknowledged at a lower offset
	Reordered           Name = "reordered"            // a producer's records are not in the order of its sends
	EndBelowAck         Name = "end-below-ack"        // a high watermark below what was acknowledged before
	EndBelowRead        Name = "end-below-read"       // a high watermark below what was read before
	HighWatermarkBack   Name = "high-watermark-back"  // a high watermark below an earlier one
	ReadAboveWatermark  Name = "read-above-watermark" // records at or above the high watermark of the same answer
	LogStartBack        Name = "log-start-back"       // a log start below an earlier one
	LogStartAboveEnd    Name = "log-start-above-end"  // a log start above the high watermark of the same answer
	SpuriousZero        Name = "spurious-zero"        // ListOffsets says 0 or nothing where it was more before
	EarliestUnreadable  Name = "earliest-unreadable"  // the record at what ListOffsets called the first offset is not given
	WronglyOutOfRange   Name = "out-of-range"         // an offset was refused that is between log start and high watermark
	EmptyBelowEnd       Name = "empty-below-end"      // no record was given where there are some
	WrongForTime        Name = "offset-for-time"      // ListOffsets by time leads past a record, or to one that is too old
	EpochBack           Name = "epoch-back"           // the leader epoch goes back
	EpochChanged        Name = "epoch-changed"        // the leader epoch of a record has changed
	NothingWorked       Name = "nothing-worked"       // a kind of operation was tried and never succeeded

	UncommittedRead     Name = "uncommitted-read"       // it was committed only after it was read by who wants what is committed
	PrecommittedRead    Name = "precommitted-read"      // a transaction was given its own record
	TornTransaction     Name = "torn-transaction"       // one record of a transaction was read, and another is not there
	IntPollSkip         Name = "int-poll-skip"          // poll-skip within one transaction
	IntNonmonotonicPoll Name = "int-nonmonotonic-poll"  // nonmonotonic-poll within one transaction
	IntNonmonotonicSend Name = "int-nonmonotonic-send"  // nonmonotonic-send within one transaction
	CircularFlow        Name = "circular-flow"          // transactions each read what another one wrote, in a circle (G1c)
	EarlyRead           Name = "early-read"             // two transactions each read what the other one wrote
	TwoOutcomes         Name = "two-outcomes"           // one transaction was both committed and aborted
	Fenced              Name = "fenced"                 // a producer went on after its successor had begun
	LastStableBack      Name = "last-stable-back"       // a last stable offset below an earlier one
	LastStableBelowRead Name = "last-stable-below-read" // a last stable offset below what was read as committed before
	LastStableAboveEnd  Name = "last-stable-above-end"  // a last stable offset above the high watermark of the same answer
	LastStableAboveOpen Name = "last-stable-above-open" // a last stable offset above the first record of an open transaction
	ReadAboveLastStable Name = "read-above-last-stable" // committed records at or above the last stable offset of the same answer
	TransformedTwice    Name = "transformed-twice"      // a record was made into two
	NotTransformed      Name = "not-transformed"        // a record was made into none

	TwoOwners      Name = "two-owners"      // a partition was two members' of a group at once
	CommitLost     Name = "commit-lost"     // an offset that a group had committed is lost, or goes back
	CommitInvented Name = "commit-invented" // a group has an offset that nobody committed
	Unprocessed    Name = "unprocessed"     // no member of a group was given a record
)

// Finding is something that cannot be.
type Finding struct {
	Check     Name
	Partition Partition // zero if it is of no partition
	Offsets   []int64
	Values    []Value
	Ops       []Op   // that contradict each other, or what is known
	Text      string // what is wrong, as a sentence
}

// String returns all of it in some lines.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v: %s", f.Check, f.Partition, f.Text)
	for _, op := range f.Ops {
		fmt.Fprintf(&b, "\n\t%v", op)
	}
	return b.String()
}

// kept is how many findings of one check are kept; the others are counted.
const kept = 10

// Report is what Check found.
type Report struct {
	// Findings are the first ones of each check.
	Findings []Finding
	// Found counts all of each check.
	Found map[Name]int
	// Counts are the operations by kind and outcome.
	Counts [kinds][outcomes]int
	// Known is how many records are known to have been in the logs.
	Known int
	// Lag is the longest time from the acknowledgement of a record, where it is known, to its first poll.
	Lag time.Duration
}

// add counts a finding, and keeps it if there are not many of its check. The operations are copied only then.
func (r *Report) add(f Finding, ops ...*Op) {
	r.Found[f.Check]++
	if r.Found[f.Check] > kept {
		return
	}
	for _, op := range ops {
		f.Ops = append(f.Ops, *op)
	}
	r.Findings = append(r.Findings, f)
}

// Without returns the report without what one check found.
func (r *Report) Without(n Name) *Report {
	other := *r
	other.Findings = slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Check == n })
	other.Found = maps.Clone(r.Found)
	delete(other.Found, n)
	return &other
}

// Err returns an error that tells of the findings; nil if there are none.
func (r *Report) Err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	var b strings.Builder
	names := make([]Name, 0, len(r.Found))
	for name := range r.Found {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%d × %s; ", r.Found[name], name)
	}
	b.WriteString("the first of each:")
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n%v", f)
	}
	return fmt.Errorf("no sound broker has this history: %s", b.String())
}

// String sums up the operations.
func (r *Report) String() string {
	var b strings.Builder
	for k, byOutcome := range r.Counts {
		total := 0
		for _, n := range byOutcome {
			total += n
		}
		if total == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s %d", kindNames[k], total)
		if total != byOutcome[OK] {
			fmt.Fprintf(&b, " (%d ok, %d failed, %d out of range, %d unknown)",
				byOutcome[OK], byOutcome[Failed], byOutcome[OutOfRange], byOutcome[Unknown])
		}
		b.WriteString(", ")
	}
	fmt.Fprintf(&b, "%d records known, read %v after their acknowledgement at the latest", r.Known, r.Lag.Round(time.Millisecond))
	return b.String()
}
