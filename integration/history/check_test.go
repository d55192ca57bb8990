package history

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// The clients of the small histories below.
const (
	exact    = int32(iota) // a producer each
	careful                // acknowledged, not idempotent
	careless               // not acknowledged
	other                  // idempotent too
	ann                    // consumers
	bob
	drainer
)

// book writes a small history down. Times are milliseconds.
type book struct{ h History }

func newBook() *book {
	return &book{History{
		Partitions: []Partition{{Topic: "t"}, {Topic: "t", Index: 1}},
		Clients: []Process{
			{"exact", ExactlyOnce}, {"careful", AtLeastOnce}, {"careless", AtMostOnce}, {"other", ExactlyOnce},
			{"ann", 0}, {"bob", 0}, {"drainer", 0},
		},
	}}
}

func (b *book) add(op Op, from, to int) *Op {
	op.Invoke, op.Complete = time.Duration(from)*time.Millisecond, time.Duration(to)*time.Millisecond
	if op.Outcome == Unknown {
		op.Complete = Never
	}
	b.h.Ops = append(b.h.Ops, op)
	return &b.h.Ops[len(b.h.Ops)-1]
}

// acked is a send that was acknowledged at an offset.
func (b *book) acked(client int32, v Value, offset int64, from, to int) {
	b.add(Op{Kind: Send, Outcome: OK, Client: client, Value: v, Offset: offset, Time: 1000 + int64(v)}, from, to)
}

// sent is a send with another outcome.
func (b *book) sent(client int32, v Value, o Outcome, from, to int) {
	b.add(Op{Kind: Send, Outcome: o, Client: client, Value: v, Offset: Nowhere, Time: 1000 + int64(v)}, from, to)
}

// polled is a poll of the values from an offset on, with a high watermark behind the last.
func (b *book) polled(client int32, from, to int, offset int64, values ...Value) *Op {
	op := Op{Kind: Poll, Outcome: OK, Client: client, Offset: Nowhere, HighWatermark: offset + int64(len(values)), LogStart: 0}
	for i, v := range values {
		op.Records = append(op.Records, Record{Offset: offset + int64(i), Value: v, Time: 1000 + int64(v), Epoch: 1})
	}
	return b.add(op, from, to)
}

func (b *book) seek(client int32, offset int64, at int) {
	b.add(Op{Kind: Seek, Outcome: OK, Client: client, Offset: offset}, at, at)
}

func (b *book) list(k Kind, offset int64, from, to int) *Op {
	return b.add(Op{Kind: k, Outcome: OK, Client: bob, Offset: offset, Epoch: 1}, from, to)
}

func (b *book) fault(k Kind, from, to int) {
	b.add(Op{Kind: k, Outcome: OK, Client: Nowhere, Partition: Nowhere, Offset: Nowhere}, from, to)
}

// drained is a drain that sees these values from an offset on.
func (b *book) drained(from, to int, offset int64, values ...Value) {
	b.seek(drainer, offset, from)
	if len(values) > 0 {
		b.polled(drainer, from, to, offset, values...).LogStart = offset
	}
	b.add(Op{Kind: Drain, Outcome: OK, Client: drainer, Offset: offset + int64(len(values))}, from, to)
}

// five has five records of exact in the log, acknowledged at 10 to 50 ms.
func (b *book) five() {
	for i := range 5 {
		b.acked(exact, Value(1+i), int64(i), 10*i+1, 10*i+10)
	}
}

// TestChecks has, for each check, a history that it must find something in, and one that is almost the same and legal.
func TestChecks(t *testing.T) {
	tests := []struct {
		name    string
		bad     func(*book)
		good    func(*book)
		want    Name
		also    []Name // what follows from it
		offsets []int64
		values  []Value
		ops     int
	}{
		{
			name: "two acknowledgements of one offset", want: InconsistentOffsets, offsets: []int64{5}, values: []Value{1, 2}, ops: 2,
			bad:  func(b *book) { b.acked(exact, 1, 5, 1, 2); b.acked(other, 2, 5, 1, 2) },
			good: func(b *book) { b.acked(exact, 1, 5, 1, 2); b.acked(other, 2, 6, 1, 2) },
		}, {
			name: "two consumers see different records", want: InconsistentOffsets, offsets: []int64{1}, values: []Value{2, 3}, ops: 2,
			bad:  func(b *book) { b.five(); b.polled(ann, 60, 61, 0, 1, 2); b.polled(bob, 60, 61, 1, 3) },
			good: func(b *book) { b.five(); b.polled(ann, 60, 61, 0, 1, 2, 3, 4, 5); b.polled(bob, 60, 61, 1, 2, 3, 4, 5) },
			also: []Name{EndBelowAck}, // the high watermarks of so short polls
		}, {
			name: "no offset in the acknowledgement", want: InconsistentOffsets, offsets: []int64{-1}, values: []Value{1}, ops: 1,
			bad:  func(b *book) { b.acked(exact, 1, -1, 1, 2) },
			good: func(b *book) { b.acked(exact, 1, 0, 1, 2) },
		}, {
			name: "an offset is given again after a kill", want: OffsetReuse, offsets: []int64{4}, values: []Value{5, 6}, ops: 2,
			bad:  func(b *book) { b.five(); b.fault(Kill, 60, 70); b.acked(other, 6, 4, 80, 90) },
			good: func(b *book) { b.five(); b.fault(Kill, 60, 70); b.acked(other, 6, 5, 80, 90) },
		}, {
			name: "an idempotent producer's record is there twice", want: Duplicate, offsets: []int64{4, 5}, values: []Value{5}, ops: 3,
			bad:  func(b *book) { b.five(); b.fault(Kill, 45, 46); b.polled(ann, 60, 70, 0, 1, 2, 3, 4, 5, 5) },
			good: func(b *book) { b.five(); b.fault(Kill, 45, 46); b.polled(ann, 60, 70, 0, 1, 2, 3, 4, 5) },
		}, {
			name: "a record is there twice, and nothing had happened", want: Duplicate, offsets: []int64{0, 1}, values: []Value{1}, ops: 3,
			bad: func(b *book) {
				b.acked(careful, 1, 1, 10, 20)
				b.fault(Kill, 21, 22)
				b.polled(ann, 30, 31, 0, 1, 1)
			},
			good: func(b *book) {
				b.acked(careful, 1, 1, 10, 20)
				b.fault(Kill, 19, 22)
				b.polled(ann, 30, 31, 0, 1, 1)
			},
		}, {
			name: "an acknowledged record is passed over", want: LostWrite, offsets: []int64{2}, values: []Value{3}, ops: 2,
			also: []Name{PollSkip},
			bad: func(b *book) {
				b.five()
				b.drained(60, 70, 0, 1, 2)
				b.h.Ops[len(b.h.Ops)-1].Offset = 5
				b.polled(drainer, 60, 70, 3, 4, 5)
				b.h.Ops[len(b.h.Ops)-3].HighWatermark = 5
			},
			good: func(b *book) { b.five(); b.drained(60, 70, 0, 1, 2, 3, 4, 5) },
		}, {
			name: "an acknowledged record below the log start", want: LostWrite, offsets: []int64{2}, values: []Value{3}, ops: 2,
			also: []Name{EarliestUnreadable},
			bad: func(b *book) {
				b.five()
				b.list(Earliest, 2, 51, 52)
				b.seek(drainer, 2, 55)
				b.polled(drainer, 60, 70, 3, 4, 5).LogStart = 2
				b.add(Op{Kind: Drain, Outcome: OK, Client: drainer, Offset: 5}, 60, 70)
			},
			good: func(b *book) { b.five(); b.list(Earliest, 3, 51, 52); b.drained(60, 70, 3, 4, 5) },
		}, {
			name: "the end is cut off", want: Unseen, offsets: []int64{4}, values: []Value{5}, ops: 2, also: []Name{EndBelowAck},
			bad: func(b *book) { b.five(); b.fault(Kill, 52, 53); b.drained(60, 70, 0, 1, 2, 3, 4) },
			good: func(b *book) {
				b.five()
				b.sent(exact, 6, Unknown, 51, 0)
				b.fault(Kill, 52, 53)
				b.drained(60, 70, 0, 1, 2, 3, 4, 5)
			},
		}, {
			name: "shown and then lost", want: LostRead, offsets: []int64{1}, values: []Value{2}, ops: 2, also: []Name{EndBelowRead},
			bad: func(b *book) {
				b.sent(exact, 1, Unknown, 1, 0)
				b.sent(exact, 2, Unknown, 1, 0)
				b.polled(ann, 5, 6, 0, 1, 2)
				b.drained(60, 70, 0, 1)
			},
			good: func(b *book) {
				b.sent(exact, 1, Unknown, 1, 0)
				b.sent(exact, 2, Unknown, 1, 0)
				b.polled(ann, 5, 6, 0, 1)
				b.drained(60, 70, 0, 1)
			},
		}, {
			name: "a record that nobody sent", want: Invented, offsets: []int64{5}, values: []Value{77}, ops: 1,
			bad: func(b *book) { b.five(); b.polled(ann, 60, 70, 0, 1, 2, 3, 4, 5, 77) },
			good: func(b *book) {
				b.five()
				b.sent(other, 77, Unknown, 60, 0)
				b.polled(ann, 60, 70, 0, 1, 2, 3, 4, 5, 77)
			},
		}, {
			name: "a record of another partition", want: Invented, offsets: []int64{5}, values: []Value{6}, ops: 2,
			bad: func(b *book) {
				b.five()
				b.add(Op{Kind: Send, Outcome: OK, Client: other, Partition: 1, Value: 6, Offset: 0}, 1, 2)
				b.polled(ann, 60, 70, 0, 1, 2, 3, 4, 5, 6)
			},
			good: func(b *book) {
				b.five()
				b.add(Op{Kind: Send, Outcome: OK, Client: other, Partition: 1, Value: 6, Offset: 0}, 1, 2)
				b.polled(ann, 60, 70, 0, 1, 2, 3, 4, 5)
			},
		}, {
			name: "read before it was sent", want: Invented, offsets: []int64{0}, values: []Value{1}, ops: 2,
			bad:  func(b *book) { b.acked(exact, 1, 0, 10, 20); b.polled(ann, 1, 9, 0, 1) },
			good: func(b *book) { b.acked(exact, 1, 0, 10, 20); b.polled(ann, 1, 11, 0, 1) },
		}, {
			name: "read although its send has failed", want: AbortedRead, offsets: []int64{0}, values: []Value{1}, ops: 2,
			bad:  func(b *book) { b.sent(exact, 1, Failed, 10, 20); b.polled(ann, 30, 31, 0, 1) },
			good: func(b *book) { b.sent(exact, 1, Unknown, 10, 0); b.polled(ann, 30, 31, 0, 1) },
		}, {
			name: "another timestamp", want: Altered, offsets: []int64{0}, values: []Value{1}, ops: 2,
			bad:  func(b *book) { b.acked(exact, 1, 0, 1, 2); b.polled(ann, 3, 4, 0, 1).Records[0].Time++ },
			good: func(b *book) { b.acked(exact, 1, 0, 1, 2); b.polled(ann, 3, 4, 0, 1) },
		}, {
			name: "a consumer misses a record", want: PollSkip, offsets: []int64{2}, values: []Value{3}, ops: 2,
			bad: func(b *book) {
				b.five()
				b.polled(ann, 60, 61, 0, 1, 2).HighWatermark = 5
				b.polled(ann, 62, 63, 3, 4, 5)
			},
			good: func(b *book) {
				b.five()
				b.polled(ann, 60, 61, 0, 1, 2).HighWatermark = 5
				b.seek(ann, 3, 62)
				b.polled(ann, 62, 63, 3, 4, 5)
				b.polled(bob, 62, 63, 3, 4, 5)
			},
		}, {
			name: "a consumer misses a record, and nothing was deleted", want: PollSkip, offsets: []int64{2}, values: []Value{3}, ops: 2,
			bad: func(b *book) {
				b.five()
				b.polled(ann, 60, 61, 0, 1, 2).HighWatermark = 5
				b.polled(ann, 62, 63, 3, 4, 5).LogStart = 2
			},
			good: func(b *book) {
				b.five()
				b.polled(ann, 60, 61, 0, 1, 2).HighWatermark = 5
				b.polled(ann, 62, 63, 3, 4, 5).LogStart = 3
			},
		}, {
			name: "nobody has a record for an offset", want: OffsetGap, offsets: []int64{1}, values: []Value{2}, ops: 1,
			bad: func(b *book) {
				b.acked(exact, 1, 0, 1, 2)
				b.acked(exact, 2, 2, 1, 3)
				op := b.polled(ann, 5, 6, 0, 1, 2)
				op.Records[1].Offset, op.HighWatermark = 2, 3
			},
			good: func(b *book) { b.acked(exact, 1, 0, 1, 2); b.acked(exact, 2, 1, 1, 3); b.polled(ann, 5, 6, 0, 1, 2) },
		}, {
			name: "a consumer is led back", want: NonmonotonicPoll, offsets: []int64{4}, values: []Value{5}, ops: 1,
			bad: func(b *book) { b.five(); b.polled(ann, 60, 61, 0, 1, 2, 3, 4, 5); b.polled(ann, 62, 63, 4, 5) },
			good: func(b *book) {
				b.five()
				b.polled(ann, 60, 61, 0, 1, 2, 3, 4, 5)
				b.seek(ann, Nowhere, 61)
				b.polled(ann, 62, 63, 4, 5)
			},
		}, {
			name: "a later record at a lower offset", want: NonmonotonicSend, offsets: []int64{0}, values: []Value{2}, ops: 2,
			also: []Name{Reordered},
			bad:  func(b *book) { b.acked(exact, 1, 1, 1, 3); b.acked(exact, 2, 0, 1, 2) },
			good: func(b *book) { b.acked(exact, 1, 1, 1, 3); b.acked(other, 2, 0, 1, 2) },
		}, {
			name: "not in the order of the sends", want: Reordered, offsets: []int64{0, 1}, values: []Value{2, 1}, ops: 3,
			bad: func(b *book) {
				b.sent(exact, 1, Unknown, 1, 0)
				b.sent(exact, 2, Unknown, 2, 0)
				b.polled(ann, 5, 6, 0, 2, 1)
			},
			good: func(b *book) {
				b.sent(exact, 1, Unknown, 1, 0)
				b.sent(other, 2, Unknown, 2, 0)
				b.polled(ann, 5, 6, 0, 2, 1)
			},
		}, {
			name: "not in order, without acknowledgements", want: Reordered, offsets: []int64{0, 1}, values: []Value{2, 1}, ops: 3,
			bad: func(b *book) {
				b.sent(careless, 1, Unknown, 1, 0)
				b.sent(careless, 2, Unknown, 20, 0)
				b.fault(Pause, 21, 22)
				b.polled(ann, 50, 60, 0, 2, 1)
			},
			good: func(b *book) {
				b.sent(careless, 1, Unknown, 1, 0)
				b.fault(Pause, 10, 12)
				b.sent(careless, 2, Unknown, 20, 0)
				b.polled(ann, 50, 60, 0, 2, 1)
			},
		}, {
			name: "the end is below an acknowledgement", want: EndBelowAck, offsets: []int64{4}, values: []Value{0}, ops: 2,
			bad:  func(b *book) { b.five(); b.list(Latest, 4, 51, 55) },
			good: func(b *book) { b.five(); b.list(Latest, 4, 49, 55) },
		}, {
			name: "the end is below what was read", want: EndBelowRead, offsets: []int64{0}, values: []Value{0}, ops: 2,
			bad: func(b *book) {
				b.sent(exact, 1, Unknown, 1, 0)
				b.polled(ann, 2, 3, 0, 1)
				b.polled(bob, 4, 5, 0).LogStart = 0
			},
			good: func(b *book) {
				b.sent(exact, 1, Unknown, 1, 0)
				b.polled(ann, 2, 3, 0, 1)
				b.polled(bob, 3, 5, 0).LogStart = 0
			},
		}, {
			name: "the high watermark goes back", want: HighWatermarkBack, offsets: []int64{6}, values: []Value{0}, ops: 2,
			bad:  func(b *book) { b.list(Latest, 7, 1, 2); b.fault(Kill, 3, 4); b.list(Latest, 6, 5, 6) },
			good: func(b *book) { b.list(Latest, 7, 1, 2); b.list(Latest, 6, 1, 6) },
		}, {
			name: "a record above the high watermark", want: ReadAboveWatermark, offsets: []int64{4}, values: []Value{5}, ops: 1,
			bad:  func(b *book) { b.five(); b.polled(ann, 45, 55, 0, 1, 2, 3, 4, 5).HighWatermark = 4 },
			good: func(b *book) { b.five(); b.polled(ann, 45, 55, 0, 1, 2, 3, 4).HighWatermark = 4 },
		}, {
			name: "the log start goes back", want: LogStartBack, offsets: []int64{2}, values: []Value{0}, ops: 2,
			bad:  func(b *book) { b.list(Earliest, 3, 1, 2); b.list(Earliest, 2, 3, 4) },
			good: func(b *book) { b.list(Earliest, 3, 1, 2); b.list(Earliest, 3, 3, 4) },
		}, {
			name: "the log starts behind its end", want: LogStartAboveEnd, offsets: []int64{6}, values: []Value{0}, ops: 1,
			bad:  func(b *book) { b.polled(ann, 1, 2, 5).LogStart = 6 },
			good: func(b *book) { b.polled(ann, 1, 2, 5).LogStart = 5 },
		}, {
			name: "an end of zero", want: SpuriousZero, offsets: []int64{0}, values: []Value{0}, ops: 2,
			bad:  func(b *book) { b.five(); b.list(Latest, 0, 51, 52) },
			good: func(b *book) { b.list(Latest, 0, 0, 1); b.five() },
		}, {
			name: "a start of zero", want: SpuriousZero, offsets: []int64{0}, values: []Value{0}, ops: 2,
			bad:  func(b *book) { b.list(Earliest, 3, 1, 2); b.list(Earliest, 0, 3, 4) },
			good: func(b *book) { b.list(Earliest, 0, 1, 2); b.list(Earliest, 3, 3, 4) },
		}, {
			name: "the first offset has no record", want: EarliestUnreadable, offsets: []int64{1}, values: []Value{2}, ops: 2,
			bad: func(b *book) {
				b.five()
				b.list(Earliest, 1, 51, 52)
				b.seek(ann, 1, 53)
				b.polled(ann, 55, 60, 2, 3, 4, 5).LogStart = 1
			},
			good: func(b *book) {
				b.five()
				b.list(Earliest, 1, 51, 52)
				b.seek(ann, 1, 53)
				b.polled(ann, 55, 60, 2, 3, 4, 5).LogStart = 2 // moved on meanwhile
			},
		}, {
			name: "the end is out of range", want: WronglyOutOfRange, offsets: []int64{5}, values: []Value{0}, ops: 1,
			bad: func(b *book) {
				b.five()
				op := b.polled(ann, 55, 60, 5)
				op.Offset, op.Outcome, op.HighWatermark, op.LogStart = 5, OutOfRange, Nowhere, Nowhere
			},
			good: func(b *book) {
				b.five()
				op := b.polled(ann, 55, 60, 5)
				op.Offset, op.Outcome, op.HighWatermark, op.LogStart = 6, OutOfRange, Nowhere, Nowhere
			},
		}, {
			name: "nothing where there is something", want: EmptyBelowEnd, offsets: []int64{4}, values: []Value{0}, ops: 1,
			bad:  func(b *book) { b.five(); b.polled(ann, 55, 60, 5).Offset = 4 },
			good: func(b *book) { b.five(); b.polled(ann, 55, 60, 5).Offset = 5 },
		}, {
			name: "by time, past a record", want: WrongForTime, offsets: []int64{2}, values: []Value{0}, ops: 1,
			bad: func(b *book) {
				b.five()
				b.polled(ann, 55, 60, 0, 1, 2, 3, 4, 5)
				b.list(ForTime, 3, 61, 62).Time = 1003
			},
			good: func(b *book) {
				b.five()
				b.polled(ann, 55, 60, 0, 1, 2, 3, 4, 5)
				b.list(ForTime, 3, 61, 62).Time = 1004
			},
		}, {
			name: "by time, to one that is too old", want: WrongForTime, offsets: []int64{1}, values: []Value{2}, ops: 2,
			bad: func(b *book) {
				b.five()
				b.polled(ann, 55, 60, 0, 1, 2, 3, 4, 5)
				b.list(ForTime, 1, 61, 62).Time = 1003
			},
			good: func(b *book) {
				b.five()
				b.polled(ann, 55, 60, 0, 1, 2, 3, 4, 5)
				b.list(ForTime, 1, 61, 62).Time = 1002
			},
		}, {
			name: "by time, none", want: WrongForTime, offsets: []int64{4}, values: []Value{0}, ops: 1,
			bad: func(b *book) {
				b.five()
				b.polled(ann, 55, 60, 0, 1, 2, 3, 4, 5)
				b.list(ForTime, Nowhere, 61, 62).Time = 1005
			},
			good: func(b *book) {
				b.five()
				b.polled(ann, 55, 60, 0, 1, 2, 3, 4, 5)
				b.list(ForTime, Nowhere, 61, 62).Time = 1006
			},
		}, {
			name: "by time, below the log start", want: WrongForTime, offsets: []int64{2}, values: []Value{0}, ops: 2,
			bad:  func(b *book) { b.five(); b.list(Earliest, 3, 55, 56); b.list(ForTime, 2, 61, 62).Time = 1003 },
			good: func(b *book) { b.five(); b.list(Earliest, 3, 55, 62); b.list(ForTime, 2, 61, 63).Time = 1003 },
		}, {
			name: "a leader epoch goes back along the log", want: EpochBack, offsets: []int64{3}, values: []Value{4}, ops: 2,
			bad: func(b *book) {
				b.five()
				op := b.polled(ann, 55, 60, 0, 1, 2, 3, 4, 5)
				op.Records[0].Epoch, op.Records[1].Epoch, op.Records[2].Epoch, op.Records[4].Epoch = 2, 2, 2, 2
			},
			good: func(b *book) {
				b.five()
				op := b.polled(ann, 55, 60, 0, 1, 2, 3, 4, 5)
				op.Records[3].Epoch, op.Records[4].Epoch = 2, 3
			},
		}, {
			name: "a leader epoch goes back in time", want: EpochBack, offsets: []int64{5}, values: []Value{0}, ops: 2,
			bad:  func(b *book) { b.list(Latest, 5, 1, 2).Epoch = 3; b.list(Latest, 5, 3, 4).Epoch = 2 },
			good: func(b *book) { b.list(Latest, 5, 1, 3).Epoch = 3; b.list(Latest, 5, 2, 4).Epoch = 2 },
		}, {
			name: "a record's leader epoch changes", want: EpochChanged, offsets: []int64{0}, values: []Value{1}, ops: 2,
			bad: func(b *book) {
				b.acked(exact, 1, 0, 1, 2)
				b.polled(ann, 3, 4, 0, 1)
				b.polled(bob, 5, 6, 0, 1).Records[0].Epoch = 2
			},
			good: func(b *book) { b.acked(exact, 1, 0, 1, 2); b.polled(ann, 3, 4, 0, 1); b.polled(bob, 5, 6, 0, 1) },
		}, {
			name: "nothing ever worked", want: NothingWorked,
			bad: func(b *book) {
				for i := range triesToWork {
					b.sent(exact, Value(i), Failed, i, i+1)
				}
			},
			good: func(b *book) {
				for i := range triesToWork {
					b.sent(careless, Value(i), Unknown, i, i+1)
				}
			},
		},
	}
	found := map[Name]bool{}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBook()
			test.good(b)
			if err := Check(&b.h).Err(); err != nil {
				t.Errorf("the legal history: %v", err)
			}
			b = newBook()
			test.bad(b)
			report := Check(&b.h)
			for name := range report.Found {
				if name != test.want && !slices.Contains(test.also, name) {
					t.Errorf("found beside it: %s", name)
				}
			}
			i := slices.IndexFunc(report.Findings, func(f Finding) bool { return f.Check == test.want })
			if i < 0 {
				t.Fatalf("not found; the report has %v", report.Err())
			}
			f := report.Findings[i]
			if !slices.Equal(f.Offsets, test.offsets) || !slices.Equal(f.Values, test.values) || len(f.Ops) != test.ops || f.Text == "" {
				t.Errorf("offsets %v, values %v, %d operations; want %v, %v, %d: %v",
					f.Offsets, f.Values, len(f.Ops), test.offsets, test.values, test.ops, f)
			}
			if err := report.Err(); !strings.Contains(err.Error(), string(test.want)) {
				t.Errorf("the error does not name the check: %v", err)
			}
			found[test.want] = true
		})
	}
	if len(found) != 28 {
		t.Errorf("%d of 28 checks are tested", len(found))
	}
}
