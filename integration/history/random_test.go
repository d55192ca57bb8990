package history

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

const randomSteps = 1000

// randomHistories is how many histories are made, and how many at most are broken in each way.
func randomHistories() (made uint64, broken int) {
	if os.Getenv("SEGUE_LONG") == "1" {
		return 20_000, 2000
	}
	return 200, 25
}

// TestLegalHistories: whatever a sound log does, nothing is found.
func TestLegalHistories(t *testing.T) {
	made, _ := randomHistories()
	for seed := range made {
		h := legal(seed, randomSteps)
		if err := Check(h).Err(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// mutation breaks a legal history.
type mutation struct {
	name string
	want []Name // one of them must be found
	// do breaks it, and says whether it could.
	do func(h *History, rng *rand.Rand) bool
}

// pick returns one of the operations that match; nil if there is none.
func pick(h *History, rng *rand.Rand, match func(*Op) bool) *Op {
	var found []int
	for i := range h.Ops {
		if match(&h.Ops[i]) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return &h.Ops[found[rng.IntN(len(found))]]
}

// drainerOf is the client that drains in the model's histories.
func drainerOf(h *History) int32 { return int32(len(h.Clients) - 1) }

// startOf is the highest log start of the history.
func startOf(h *History) (start int64) {
	for _, op := range h.Ops {
		if op.Kind == Drain {
			start = max(start, op.Offset)
		}
	}
	for _, op := range h.Ops {
		if op.Client == drainerOf(h) && len(op.Records) > 0 {
			start = min(start, op.Records[0].Offset)
		}
	}
	return start
}

// edit replaces the records of all polls by what f makes of them.
func edit(h *History, f func([]Record) []Record) {
	for i := range h.Ops {
		h.Ops[i].Records = f(slices.Clone(h.Ops[i].Records))
	}
}

func ackedAt(h *History, offset int64) *Op {
	for i := range h.Ops {
		if op := &h.Ops[i]; op.Kind == Send && op.Outcome == OK && op.Offset == offset {
			return op
		}
	}
	return nil
}

// settled matches sends that were acknowledged, and are still there in the end.
func settled(h *History, client func(Delivery) bool) func(*Op) bool {
	start := startOf(h)
	return func(op *Op) bool {
		return op.Kind == Send && op.Outcome == OK && op.Offset >= start && client(h.Clients[op.Client].Delivery)
	}
}

func anyDelivery(Delivery) bool   { return true }
func exactlyOnce(d Delivery) bool { return d == ExactlyOnce }

var mutations = []mutation{
	{"drop an acknowledged record", []Name{LostWrite}, func(h *History, rng *rand.Rand) bool {
		end := h.Ops[len(h.Ops)-1]
		op := pick(h, rng, settled(h, anyDelivery))
		for _, o := range h.Ops {
			if o.Kind == Drain {
				end = o
			}
		}
		if op == nil || op.Offset >= end.Offset-1 {
			return false
		}
		edit(h, func(records []Record) []Record {
			return slices.DeleteFunc(records, func(r Record) bool { return r.Offset == op.Offset })
		})
		return true
	}},
	{"cut the end off", []Name{Unseen}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, settled(h, anyDelivery))
		if op == nil {
			return false
		}
		cut := op.Offset
		for i := range h.Ops {
			o := &h.Ops[i]
			if o.Kind == Drain {
				o.Offset = cut
			}
			if o.Client == drainerOf(h) && o.Kind == Poll {
				o.Records = slices.DeleteFunc(slices.Clone(o.Records), func(r Record) bool { return r.Offset >= cut })
			}
		}
		return true
	}},
	{"swap two records of a producer", []Name{Reordered}, func(h *History, rng *rand.Rand) bool {
		one := pick(h, rng, settled(h, exactlyOnce))
		if one == nil {
			return false
		}
		two := pick(h, rng, func(o *Op) bool {
			return o.Kind == Send && o.Outcome == OK && o.Client == one.Client && o.Offset > one.Offset
		})
		if two == nil {
			return false
		}
		a, b := *one, *two
		one.Outcome, two.Outcome = Unknown, Unknown
		edit(h, func(records []Record) []Record {
			for i, r := range records {
				switch r.Value {
				case a.Value:
					records[i].Value, records[i].Time = b.Value, b.Time
				case b.Value:
					records[i].Value, records[i].Time = a.Value, a.Time
				}
			}
			return records
		})
		return true
	}},
	{"have a record twice", []Name{Duplicate}, func(h *History, rng *rand.Rand) bool {
		one := pick(h, rng, settled(h, exactlyOnce))
		if one == nil {
			return false
		}
		two := pick(h, rng, func(o *Op) bool { return o.Kind == Send && o.Outcome == OK && o.Offset > one.Offset })
		if two == nil {
			return false
		}
		two.Outcome = Unknown
		edit(h, func(records []Record) []Record {
			for i, r := range records {
				if r.Value == two.Value {
					records[i].Value, records[i].Time = one.Value, one.Time
				}
			}
			return records
		})
		return true
	}},
	{"invent a record", []Name{Invented}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, func(o *Op) bool { return len(o.Records) > 0 })
		op.Records = slices.Clone(op.Records)
		op.Records[rng.IntN(len(op.Records))].Value = 1 << 50
		return true
	}},
	{"hand an offset out again after a kill", []Name{OffsetReuse}, func(h *History, rng *rand.Rand) bool {
		kill := pick(h, rng, func(o *Op) bool { return o.Kind == Kill || o.Kind == Stop })
		if kill == nil {
			return false
		}
		before := pick(h, rng, func(o *Op) bool {
			return o.Kind == Send && o.Outcome == OK && o.Complete < kill.Invoke
		})
		if before == nil {
			return false
		}
		after := pick(h, rng, func(o *Op) bool { return o.Kind == Send && o.Outcome == OK && o.Invoke > kill.Complete })
		if after == nil {
			return false
		}
		after.Offset = before.Offset
		// Nobody has seen the first one before the kill who would make it a plain contradiction.
		return true
	}},
	{"roll the end back", []Name{EndBelowAck, EndBelowRead, HighWatermarkBack, SpuriousZero}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, func(o *Op) bool { return o.Kind == Latest && o.Offset > 0 })
		if op == nil {
			return false
		}
		low := Nowhere + int64(0)
		for _, o := range h.Ops {
			if o.Kind == Send && o.Outcome == OK && o.Complete < op.Invoke {
				low = max(low, o.Offset)
			}
		}
		op.Offset = low
		return low != Nowhere
	}},
	{"roll the log start back", []Name{LogStartBack, SpuriousZero}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, func(o *Op) bool { return o.Kind == Earliest && o.Client == drainerOf(h) && o.Offset > 0 })
		if op == nil {
			return false
		}
		known := slices.ContainsFunc(h.Ops, func(o Op) bool {
			return (o.Kind == Poll && o.LogStart == op.Offset || o.Kind == Earliest && o.Offset == op.Offset) && o.Complete < op.Invoke
		})
		op.Offset--
		return known
	}},
	{"skip a record", []Name{PollSkip}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, func(o *Op) bool { return len(o.Records) > 2 })
		at := 1 + rng.IntN(len(op.Records)-2)
		gone := op.Records[at].Offset
		op.Records = slices.Delete(slices.Clone(op.Records), at, at+1)
		// Somebody else knows of it.
		return ackedAt(h, gone) != nil
	}},
	{"poll the same again", []Name{NonmonotonicPoll}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, func(o *Op) bool { return len(o.Records) > 0 })
		op.Records = append(slices.Clone(op.Records), op.Records[len(op.Records)-1])
		return true
	}},
	{"read what has failed", []Name{AbortedRead}, func(h *History, rng *rand.Rand) bool {
		poll := pick(h, rng, func(o *Op) bool { return len(o.Records) > 0 })
		v := poll.Records[rng.IntN(len(poll.Records))].Value
		send := pick(h, rng, func(o *Op) bool { return o.Kind == Send && o.Value == v })
		send.Outcome, send.Complete = Failed, send.Invoke+time.Millisecond
		return true
	}},
	{"read above the high watermark", []Name{ReadAboveWatermark}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, func(o *Op) bool { return len(o.Records) > 0 })
		op.HighWatermark = op.Records[len(op.Records)-1].Offset
		return true
	}},
	{"change a time", []Name{Altered}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, func(o *Op) bool { return len(o.Records) > 0 })
		op.Records = slices.Clone(op.Records)
		op.Records[rng.IntN(len(op.Records))].Time += 5000
		return true
	}},
	{"lead past a record by time", []Name{WrongForTime}, func(h *History, rng *rand.Rand) bool {
		drain := pick(h, rng, func(o *Op) bool { return o.Client == drainerOf(h) && len(o.Records) > 1 && o.LogStart >= 0 })
		if drain == nil || drain.Records[0].Offset < startOf(h) {
			return false
		}
		r := drain.Records[0]
		h.Ops = append(h.Ops, Op{
			Kind: ForTime, Outcome: OK, Client: drain.Client, Invoke: drain.Complete + time.Hour, Complete: drain.Complete + time.Hour,
			Offset: r.Offset + 1, Time: r.Time,
		})
		return true
	}},
	{"refuse an offset that is there", []Name{WronglyOutOfRange}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, func(o *Op) bool { return o.Client == drainerOf(h) && len(o.Records) > 0 })
		if op == nil {
			return false
		}
		bad := *op
		bad.Records, bad.Offset, bad.Outcome = nil, op.Records[0].Offset, OutOfRange
		h.Ops = append(h.Ops, bad)
		return true
	}},
	{"let the leader epoch go back", []Name{EpochBack, EpochChanged}, func(h *History, rng *rand.Rand) bool {
		op := pick(h, rng, func(o *Op) bool { return len(o.Records) > 1 })
		v := op.Records[1+rng.IntN(len(op.Records)-1)].Value
		edit(h, func(records []Record) []Record {
			for i := range records {
				if records[i].Value == v {
					records[i].Epoch = 0
				}
			}
			return records
		})
		return true
	}},
}

// TestBrokenHistories: whatever legal history is broken, in whatever way, it is found.
func TestBrokenHistories(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			checkMutation(t, m, func(seed uint64) *History { return legal(seed, randomSteps) })
		})
	}
}

// checkMutation breaks histories in a way, and expects that it is found.
func checkMutation(t *testing.T, m mutation, legal func(seed uint64) *History) {
	t.Helper()
	done := 0
	made, most := randomHistories()
	for seed := range made {
		h := legal(seed)
		if !m.do(h, rand.New(rand.NewPCG(seed, 2))) {
			continue
		}
		if done++; done > most {
			return
		}
		found := Check(h).Found
		if !slices.ContainsFunc(m.want, func(n Name) bool { return found[n] > 0 }) {
			t.Errorf("seed %d: none of %v is found, but %v", seed, m.want, found)
		}
	}
	if done < most {
		t.Errorf("only %d histories could be broken so", done)
	}
}

// TestRecorder: what many clients note at once is all there, in each one's order; what has not ended is unknown.
func TestRecorder(t *testing.T) {
	r := NewRecorder()
	p := r.Partition(Partition{Topic: "t"})
	if again := r.Partition(Partition{Topic: "t"}); again != p {
		t.Errorf("the partition's number is %d and %d", p, again)
	}
	if next := r.Partition(Partition{Topic: "t", Generation: 1}); next == p {
		t.Error("two generations have one number")
	}
	const clients, each = 8, 3000
	done := make(chan struct{})
	for i := range clients {
		c := r.Client(fmt.Sprint(i), ExactlyOnce)
		go func() {
			for n := range each {
				op := c.Begin(Op{Kind: Send, Partition: p, Value: Value(n)})
				if n%3 > 0 {
					go func() { op.End(Outcome(n%3), int64(n)); done <- struct{}{} }()
				}
			}
			done <- struct{}{}
		}()
	}
	for range clients * (1 + each/3*2) {
		<-done
	}
	h := r.History()
	next := make([]Value, clients)
	for _, op := range h.Ops {
		if op.Value != next[op.Client] || int(op.Outcome) != int(op.Value)%3 || op.Complete < op.Invoke || (op.Outcome == Unknown) != (op.Complete == Never) {
			t.Fatalf("%v, want value %d", op, next[op.Client])
		}
		next[op.Client]++
	}
	if len(h.Ops) != clients*each || len(h.Clients) != clients || len(h.Partitions) != 2 {
		t.Errorf("%d operations, %d clients, %d partitions", len(h.Ops), len(h.Clients), len(h.Partitions))
	}
}

// BenchmarkCheck checks a history of a million sends that two consumers and a drain have read.
func BenchmarkCheck(b *testing.B) {
	h := large(1_000_000)
	b.ReportMetric(float64(len(h.Ops)), "ops")
	for b.Loop() {
		if err := Check(h).Err(); err != nil {
			b.Fatal(err)
		}
	}
}

// large is a legal history of n sends.
func large(n int) *History {
	h := &History{Partitions: []Partition{{}, {Index: 1}, {Index: 2}, {Index: 3}}, Clients: make([]Process, 7)}
	for i := range n {
		at := time.Duration(i) * time.Microsecond
		h.Ops = append(h.Ops, Op{
			Kind: Send, Outcome: OK, Client: int32(i / 4 % 4), Partition: int32(i % 4), Value: Value(i), Offset: int64(i / 4),
			Time: int64(i / 1000), Invoke: at, Complete: at + 5*time.Millisecond,
		})
	}
	end := time.Duration(n)*time.Microsecond + time.Second
	for c := range int32(3) {
		for p := range int32(4) {
			for from := 0; from < n/4; from += 200 {
				op := Op{Kind: Poll, Outcome: OK, Client: 4 + c, Partition: p, Offset: Nowhere, HighWatermark: int64(n / 4), Invoke: end, Complete: end}
				for o := from; o < min(n/4, from+200); o++ {
					op.Records = append(op.Records, Record{Offset: int64(o), Value: Value(4*o + int(p)), Time: int64((4*o + int(p)) / 1000)})
				}
				h.Ops = append(h.Ops, op)
			}
			if c == 2 {
				h.Ops = append(h.Ops, Op{Kind: Drain, Outcome: OK, Client: 6, Partition: p, Offset: int64(n / 4), Invoke: end, Complete: end})
			}
		}
	}
	return h
}
