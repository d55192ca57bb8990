package history

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// put is a send in a transaction that was acknowledged.
func (b *book) put(client, txn int32, v Value, offset int64, from, to int) *Op {
	b.acked(client, v, offset, from, to)
	op := &b.h.Ops[len(b.h.Ops)-1]
	op.Txn = txn
	return op
}

// end is a commit or an abort.
func (b *book) end(k Kind, client, txn int32, o Outcome, from, to int) {
	b.add(Op{Kind: k, Outcome: o, Client: client, Partition: Nowhere, Offset: Nowhere, Txn: txn}, from, to)
}

// init is an InitProducerId.
func (b *book) init(client int32, o Outcome, from, to int) {
	b.add(Op{Kind: Init, Outcome: o, Client: client, Partition: Nowhere, Offset: Nowhere}, from, to)
}

// gave is a poll of what is committed that brings single records.
func (b *book) gave(client int32, from, to int, records ...Record) *Op {
	op := Op{Kind: Poll, Outcome: OK, Client: client, Offset: Nowhere, HighWatermark: 100, LastStable: 100, Committed: true, Records: records}
	return b.add(op, from, to)
}

// is is a record as five and put have sent it.
func is(offset int64, v Value) Record {
	return Record{Offset: offset, Value: v, Time: 1000 + int64(v), Epoch: 1}
}

// pair is transaction 1 of paul: records 1 and 2 at 0 and 1, from 1 to 20 ms; its end, then, takes offset 2.
func (b *book) pair(end Kind, o Outcome) {
	b.put(paul, 1, 1, 0, 1, 5)
	b.put(paul, 1, 2, 1, 2, 6)
	b.end(end, paul, 1, o, 10, 20)
}

// drainedCommitted is a drain of what is committed.
func (b *book) drainedCommitted(from, to int, end int64, records ...Record) {
	b.seek(drainer, 0, from)
	b.gave(drainer, from, to, records...)
	b.add(Op{Kind: Drain, Outcome: OK, Client: drainer, Offset: end, Committed: true}, from, to)
}

// txnTests are of the checks of transactions.
func txnTests() []checkTest {
	return slices.Concat(visibilityTests(), orderTests(), stableTests(), transformTests())
}

// visibilityTests: who reads what of a transaction.
func visibilityTests() []checkTest {
	return []checkTest{
		{
			name: "an aborted record is read as committed", want: AbortedRead, offsets: []int64{0}, values: []Value{1}, ops: 3,
			bad:  func(b *book) { b.pair(Abort, OK); b.gave(ann, 30, 31, is(0, 1)) },
			good: func(b *book) { b.pair(Abort, OK); b.polled(ann, 30, 31, 0, 1, 2) },
		}, {
			name: "a record that nobody has committed is read as committed", want: AbortedRead, offsets: []int64{1}, values: []Value{2}, ops: 3,
			bad:  func(b *book) { b.pair(Abort, Unknown); b.gave(ann, 30, 31, is(1, 2)) },
			good: func(b *book) { b.pair(Commit, Unknown); b.gave(ann, 30, 31, is(0, 1), is(1, 2)) },
		}, {
			name: "a record whose commit has failed is read as committed", want: AbortedRead, offsets: []int64{0}, values: []Value{1}, ops: 3,
			bad: func(b *book) { b.pair(Commit, Failed); b.gave(ann, 30, 31, is(0, 1)) },
			good: func(b *book) { // and committed again, by somebody else
				b.pair(Commit, Failed)
				b.end(Commit, heir, 1, OK, 21, 22)
				b.gave(ann, 30, 31, is(0, 1))
			},
		}, {
			name: "read before the commit began", want: UncommittedRead, offsets: []int64{0}, values: []Value{1}, ops: 3,
			also: []Name{LastStableAboveOpen},
			bad:  func(b *book) { b.pair(Commit, OK); b.gave(ann, 7, 9, is(0, 1)) },
			good: func(b *book) { b.pair(Commit, OK); b.gave(ann, 7, 11, is(0, 1)) },
		}, {
			name: "a transaction reads its own record", want: PrecommittedRead, offsets: []int64{0}, values: []Value{1}, ops: 2,
			bad: func(b *book) { b.pair(Commit, OK); b.gave(paul, 7, 11, is(0, 1)).Txn = 1 },
			good: func(b *book) { // not as committed
				b.pair(Commit, OK)
				b.polled(paul, 7, 9, 0, 1, 2).Txn = 1
				b.seek(paul, 0, 21)
				b.gave(paul, 21, 22, is(0, 1))
			},
		}, {
			name: "a committed record is passed over", want: PollSkip, offsets: []int64{1}, values: []Value{2}, ops: 2,
			bad: func(b *book) {
				b.pair(Commit, OK)
				b.acked(exact, 3, 3, 30, 31)
				b.gave(ann, 35, 36, is(0, 1), is(3, 3))
			},
			good: func(b *book) {
				b.pair(Abort, OK)
				b.acked(exact, 3, 3, 30, 31)
				b.seek(ann, 0, 32)
				b.gave(ann, 35, 36, is(3, 3))
				b.polled(bob, 35, 36, 0, 1, 2).HighWatermark = 4
			},
		}, {
			name: "a record of a half-read transaction is passed over", want: PollSkip, offsets: []int64{1}, values: []Value{2}, ops: 2,
			bad: func(b *book) {
				b.pair(Commit, Unknown)
				b.acked(exact, 3, 3, 30, 31)
				b.gave(ann, 35, 36, is(0, 1), is(3, 3))
			},
			good: func(b *book) { // it may have been aborted
				b.pair(Commit, Unknown)
				b.acked(exact, 3, 3, 30, 31)
				b.seek(ann, 0, 32)
				b.gave(ann, 35, 36, is(3, 3))
			},
		}, {
			name: "half of a transaction is there", want: TornTransaction, offsets: []int64{1}, values: []Value{2}, ops: 3,
			bad:  func(b *book) { b.pair(Commit, Unknown); b.drainedCommitted(30, 31, 3, is(0, 1)) },
			good: func(b *book) { b.pair(Commit, Unknown); b.drainedCommitted(30, 31, 3, is(0, 1), is(1, 2)) },
		}, {
			name: "half of a transaction is there, in another partition", want: TornTransaction, offsets: []int64{0}, values: []Value{3}, ops: 3,
			bad: func(b *book) {
				b.pair(Commit, Unknown)
				b.put(paul, 1, 3, 0, 3, 7).Partition = 1
				b.gave(ann, 25, 26, is(0, 1), is(1, 2))
				b.add(Op{Kind: Drain, Outcome: OK, Client: drainer, Partition: 1, Offset: 2, Committed: true}, 30, 31)
			},
			good: func(b *book) {
				b.pair(Commit, Unknown)
				b.put(paul, 1, 3, 0, 3, 7).Partition = 1
				b.add(Op{Kind: Drain, Outcome: OK, Client: drainer, Partition: 1, Offset: 2, Committed: true}, 30, 31)
			},
		}, {
			name: "none of a committed transaction is there", want: LostWrite, offsets: []int64{0}, values: []Value{1}, ops: 2,
			bad:  func(b *book) { b.pair(Commit, OK); b.drainedCommitted(30, 31, 3) },
			good: func(b *book) { b.pair(Abort, OK); b.drainedCommitted(30, 31, 3) },
		}, {
			name: "a committed transaction is cut off", want: Unseen, offsets: []int64{0}, values: []Value{1}, ops: 2,
			bad:  func(b *book) { b.pair(Commit, OK); b.drainedCommitted(30, 31, 0) },
			good: func(b *book) { b.drainedCommitted(0, 1, 0); b.pair(Commit, OK) },
		}, {
			name: "an aborted record is not there at all", want: LostWrite, offsets: []int64{1}, values: []Value{2}, ops: 2,
			bad: func(b *book) {
				b.pair(Abort, OK)
				b.drained(30, 31, 0, 1)
				b.h.Ops[len(b.h.Ops)-1].Offset = 3
				b.h.Ops[len(b.h.Ops)-2].HighWatermark = 3
			},
			good: func(b *book) { b.pair(Abort, OK); b.drained(30, 31, 0, 1, 2) },
		},
	}
}

// orderTests: what is in which order, and who may still do anything.
func orderTests() []checkTest {
	exchange := func(b *book, also bool) {
		b.put(paul, 1, 1, 0, 1, 5)
		b.put(rita, 2, 2, 1, 1, 5)
		b.gave(paul, 6, 40, is(1, 2)).Txn = 1
		op := b.gave(rita, 6, 40, is(0, 1))
		op.Txn = 2
		if !also {
			op.Txn = 0
		}
		b.end(Commit, paul, 1, OK, 20, 21)
		b.end(Commit, rita, 2, OK, 20, 21)
	}
	ring := func(b *book, n int32) {
		for i := range n {
			b.put(exact+i, 10+i, Value(10+i), int64(10+i), 1, 5)
			b.end(Commit, exact+i, 10+i, OK, 20, 21)
		}
		for i := range n - 1 {
			b.gave(exact+i+1, 6, 40, is(int64(10+i), Value(10+i))).Txn = 11 + i
		}
	}
	return []checkTest{
		{
			name: "a transaction misses a record", want: IntPollSkip, offsets: []int64{2}, values: []Value{3}, ops: 2,
			bad: func(b *book) {
				b.five()
				b.gave(paul, 60, 61, is(0, 1), is(1, 2)).Txn = 1
				b.gave(paul, 62, 63, is(3, 4)).Txn = 1
			},
			good: func(b *book) { // it was assigned anew
				b.five()
				b.gave(paul, 60, 61, is(0, 1), is(1, 2)).Txn = 1
				b.seek(paul, Nowhere, 61)
				b.gave(paul, 62, 63, is(3, 4)).Txn = 1
			},
		}, {
			name: "a transaction is led back", want: IntNonmonotonicPoll, offsets: []int64{1}, values: []Value{2}, ops: 1,
			bad: func(b *book) {
				b.five()
				b.gave(paul, 60, 61, is(0, 1), is(1, 2)).Txn = 1
				b.gave(paul, 62, 63, is(1, 2)).Txn = 1
			},
			good: func(b *book) { // after an abort it goes back by itself
				b.five()
				b.gave(paul, 60, 61, is(0, 1), is(1, 2)).Txn = 1
				b.end(Abort, paul, 1, OK, 61, 62)
				b.seek(paul, 0, 62)
				b.gave(paul, 62, 63, is(0, 1), is(1, 2)).Txn = 2
			},
		}, {
			name: "a transaction's later record is at a lower offset", want: IntNonmonotonicSend, offsets: []int64{0}, values: []Value{2}, ops: 2,
			also: []Name{Reordered},
			bad:  func(b *book) { b.put(paul, 1, 1, 1, 1, 3); b.put(paul, 1, 2, 0, 1, 2) },
			good: func(b *book) { // another producer's record lies between, and writes are in a circle
				b.put(paul, 1, 1, 0, 1, 3)
				b.put(rita, 2, 2, 1, 1, 3)
				b.put(paul, 1, 3, 2, 4, 5)
				b.put(rita, 2, 4, 3, 6, 7)
				b.end(Commit, paul, 1, OK, 8, 9)
				b.end(Commit, rita, 2, OK, 8, 9)
			},
		}, {
			name: "two transactions read from each other", want: EarlyRead, ops: 2,
			bad:  func(b *book) { exchange(b, true) },
			good: func(b *book) { exchange(b, false) },
		}, {
			name: "three transactions read from each other", want: CircularFlow, ops: 3,
			bad:  func(b *book) { ring(b, 3); b.gave(exact, 6, 40, is(12, 12)).Txn = 10 },
			good: func(b *book) { ring(b, 3); b.polled(exact, 6, 40, 12, 12).Txn = 10 },
		}, {
			name: "committed and aborted", want: TwoOutcomes, ops: 2,
			bad:  func(b *book) { b.pair(Commit, OK); b.end(Abort, heir, 1, OK, 30, 31) },
			good: func(b *book) { b.pair(Commit, OK); b.end(Abort, heir, 1, Failed, 30, 31) },
		}, {
			name: "a fenced producer writes", want: Fenced, values: []Value{3}, ops: 2,
			bad: func(b *book) {
				b.init(paul, OK, 0, 1)
				b.pair(Commit, OK)
				b.init(heir, OK, 21, 22)
				b.put(paul, 2, 3, 3, 23, 24)
			},
			good: func(b *book) {
				b.init(paul, OK, 0, 1)
				b.pair(Commit, OK)
				b.init(heir, OK, 21, 23)
				b.put(paul, 2, 3, 3, 22, 24)
			},
		}, {
			name: "a fenced producer commits", want: Fenced, values: []Value{0}, ops: 2,
			bad: func(b *book) { b.init(paul, OK, 0, 1); b.init(heir, OK, 7, 8); b.pair(Commit, OK) },
			good: func(b *book) { // it takes its id back
				b.init(paul, OK, 0, 1)
				b.init(heir, OK, 3, 4)
				b.init(paul, Unknown, 5, 0)
				b.pair(Commit, OK)
			},
		}, {
			name: "a fenced producer's records are read", want: Fenced, values: []Value{0}, ops: 2,
			bad: func(b *book) {
				b.init(paul, OK, 0, 1)
				b.init(heir, OK, 7, 8)
				b.pair(Commit, Unknown)
				b.gave(ann, 30, 31, is(0, 1))
			},
			good: func(b *book) {
				b.init(paul, OK, 0, 1)
				b.init(heir, OK, 7, 12)
				b.pair(Commit, Unknown)
				b.gave(ann, 30, 31, is(0, 1))
			},
		},
	}
}

// stableTests: the last stable offset.
func stableTests() []checkTest {
	stable := func(b *book, last int64, from, to int) { b.list(Latest, last, from, to).Committed = true }
	return []checkTest{
		{
			name: "the last stable offset goes back", want: LastStableBack, offsets: []int64{2}, values: []Value{0}, ops: 2,
			bad:  func(b *book) { stable(b, 3, 1, 2); stable(b, 2, 3, 4) },
			good: func(b *book) { stable(b, 3, 1, 3); stable(b, 2, 2, 4) },
		}, {
			name: "the last stable offset is below what was read", want: LastStableBelowRead, offsets: []int64{3}, values: []Value{0}, ops: 2,
			bad: func(b *book) { b.five(); b.gave(ann, 60, 61, is(3, 4)).LastStable = 4; stable(b, 3, 62, 63) },
			good: func(b *book) { // it was not read as committed
				b.five()
				b.polled(ann, 60, 61, 3, 4, 5)
				stable(b, 3, 62, 63)
			},
		}, {
			name: "the last stable offset is above the high watermark", want: LastStableAboveEnd, offsets: []int64{6}, values: []Value{0}, ops: 1,
			bad:  func(b *book) { b.five(); b.polled(ann, 60, 61, 0, 1, 2, 3, 4, 5).LastStable = 6 },
			good: func(b *book) { b.five(); b.polled(ann, 60, 61, 0, 1, 2, 3, 4, 5).LastStable = 5 },
		}, {
			name: "the last stable offset is above an open transaction", want: LastStableAboveOpen, offsets: []int64{1}, values: []Value{0}, ops: 2,
			bad:  func(b *book) { b.pair(Commit, OK); stable(b, 1, 6, 9) },
			good: func(b *book) { b.pair(Commit, OK); stable(b, 0, 6, 9); stable(b, 3, 9, 12) },
		}, {
			name: "an answer's last stable offset is above an open transaction", want: LastStableAboveOpen, offsets: []int64{2}, values: []Value{0}, ops: 2,
			bad: func(b *book) { b.pair(Commit, OK); b.polled(ann, 7, 9, 0, 1, 2).LastStable = 2 },
			good: func(b *book) { // it was aborted by a timeout, say
				b.pair(Commit, Failed)
				b.polled(ann, 7, 9, 0, 1, 2).LastStable = 2
			},
		}, {
			name: "committed records above the last stable offset", want: ReadAboveLastStable, offsets: []int64{4}, values: []Value{5}, ops: 1,
			bad: func(b *book) { b.five(); b.gave(ann, 60, 61, is(3, 4), is(4, 5)).LastStable = 4 },
			good: func(b *book) { // who reads all may be given them
				b.five()
				b.polled(ann, 60, 61, 3, 4, 5).LastStable = 4
			},
		},
	}
}

// transformTests: what is made of a topic's records into another one, which is partition 1 here.
func transformTests() []checkTest {
	begin := func(b *book) {
		b.h.Partitions[1] = Partition{Topic: "made"}
		b.h.Transforms = []Transform{{"t", "made"}}
		b.five()
		b.gave(ann, 60, 61, is(0, 1), is(1, 2))
		for i, v := range []Value{1, 2} {
			op := b.put(chain, 5, 100+v, int64(i), 62, 63)
			op.Partition, op.Source = 1, v
		}
		b.end(Commit, chain, 5, OK, 70, 71)
	}
	finish := func(b *book, records ...Record) {
		b.seek(drainer, 0, 100)
		for i := range b.h.Ops { // its place is another one in the other partition
			if op := &b.h.Ops[i]; op.Kind == Seek {
				op.Partition = 1
			}
		}
		b.gave(drainer, 100, 110, records...).Partition = 1
		b.add(Op{Kind: Drain, Outcome: OK, Client: drainer, Partition: 1, Offset: 10, Committed: true}, 100, 110)
	}
	more := func(b *book, end Kind) {
		op := b.put(chain, 6, 111, 3, 72, 73)
		op.Partition, op.Source = 1, 1
		b.end(end, chain, 6, OK, 80, 81)
	}
	return []checkTest{
		{
			name: "a record is made into two", want: TransformedTwice, values: []Value{1, 101, 111}, ops: 4,
			bad:  func(b *book) { begin(b); more(b, Commit); finish(b, is(0, 101), is(1, 102), is(3, 111)) },
			good: func(b *book) { begin(b); more(b, Abort); finish(b, is(0, 101), is(1, 102)) },
		}, {
			name: "nothing is made of a record", want: NotTransformed, values: []Value{3}, ops: 2,
			bad: func(b *book) {
				begin(b)
				b.gave(bob, 90, 91, is(2, 3))
				finish(b, is(0, 101), is(1, 102))
			},
			good: func(b *book) { // it was read too late
				begin(b)
				b.gave(bob, 90, 101, is(2, 3))
				finish(b, is(0, 101), is(1, 102))
			},
		},
	}
}

// TestCircles: a search for circles finds each set once, whatever leads to it.
func TestCircles(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		n := 1 + rng.Int32N(8)
		g, reach := &flow{from: map[int32]map[int32]*Op{}}, map[[2]int32]bool{}
		for range rng.IntN(15) {
			a, b := rng.Int32N(n), rng.Int32N(n)
			if a == b {
				continue
			}
			if g.from[a] == nil {
				g.from[a] = map[int32]*Op{}
			}
			g.from[a][b] = &Op{}
			reach[[2]int32{a, b}] = true
		}
		for k := range n { // who reaches whom, by way of all others
			for a := range n {
				for b := range n {
					if reach[[2]int32{a, k}] && reach[[2]int32{k, b}] {
						reach[[2]int32{a, b}] = true
					}
				}
			}
		}
		want := map[int32][]int32{} // by the first
		for a := range n {
			var set []int32
			for b := range n {
				if a == b || reach[[2]int32{a, b}] && reach[[2]int32{b, a}] {
					set = append(set, b)
				}
			}
			if len(set) > 1 {
				want[set[0]] = set
			}
		}
		circles := g.circles()
		if len(circles) != len(want) {
			t.Fatalf("%v: found %v, want %v", g.from, circles, want)
		}
		for _, set := range circles {
			if !slices.Equal(set, want[set[0]]) {
				t.Fatalf("%v: found %v, want %v", g.from, circles, want)
			}
		}
	}
}
