package history

// writeTests are of the checks of records and their sends.
func writeTests() []checkTest {
	return []checkTest{
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
			name: "not in order, and nothing is deleted", want: Reordered, offsets: []int64{1, 3}, values: []Value{2, 1}, ops: 3,
			bad: func(b *book) {
				b.acked(other, 3, 0, 1, 2)
				b.acked(careful, 1, 3, 1, 20)
				b.acked(careful, 2, 4, 2, 20)
				b.fault(Kill, 5, 6)
				b.acked(other, 4, 2, 7, 8)
				b.polled(ann, 50, 60, 1, 2, 4, 1, 2)
			},
			good: func(b *book) { // the first time that 1 was sent it came to 0
				b.acked(careful, 1, 3, 1, 20)
				b.acked(careful, 2, 4, 2, 20)
				b.fault(Kill, 5, 6)
				b.acked(other, 4, 2, 7, 8)
				b.polled(ann, 50, 60, 1, 2, 4, 1, 2).LogStart = 1
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
		},
	}
}
