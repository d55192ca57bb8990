package history

// readTests are of the checks of consumers and of what only grows.
func readTests() []checkTest {
	return []checkTest{
		{
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
}
