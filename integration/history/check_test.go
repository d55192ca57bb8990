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
	paul // transactional producers, with one id each
	rita
	heir  // of paul's id
	chain // one that transforms
)

// book writes a small history down. Times are milliseconds.
type book struct{ h History }

func newBook() *book {
	return &book{History{
		Partitions: []Partition{{Topic: "t"}, {Topic: "t", Index: 1}},
		Clients: []Process{
			{Name: "exact"}, {Name: "careful", Delivery: AtLeastOnce}, {Name: "careless", Delivery: AtMostOnce}, {Name: "other"},
			{Name: "ann"}, {Name: "bob"}, {Name: "drainer"},
			{Name: "paul", TransactionalID: "p"}, {Name: "rita", TransactionalID: "r"}, {Name: "heir", TransactionalID: "p"}, {Name: "chain", TransactionalID: "c"},
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

// checkTest is a history that a check must find something in, and one that is almost the same and legal.
type checkTest struct {
	name    string
	bad     func(*book)
	good    func(*book)
	want    Name
	also    []Name // what follows from it
	offsets []int64
	values  []Value
	ops     int
}

// TestChecks: each check finds what it is for, exactly, and nothing in what is legal.
func TestChecks(t *testing.T) {
	found := map[Name]bool{}
	for _, test := range slices.Concat(writeTests(), readTests(), txnTests()) {
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
	if len(found) != 45 {
		t.Errorf("%d of 45 checks are tested", len(found))
	}
}
