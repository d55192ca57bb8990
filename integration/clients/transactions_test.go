//go:build integration && unix

package clients

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// perTransaction is how many records transact writes in each.
const perTransaction = 3

// transaction: of transactions that go on through a kill of the broker, those that were committed are there, whole, for who reads
// what is committed, and of no other is there anything. The client itself reads so what another one has committed and aborted.
func (s *session) transaction() {
	topic := s.topic(2)
	r := s.start("transact", "topic="+topic, "id=only")
	r.awaitMore(10)
	if err := s.b.restart(within(s.t), true); err != nil {
		s.t.Fatal(err)
	}
	r.awaitMore(10)
	r.end()
	counts := map[string]int{} // of the records of a transaction that are there, by its number
	for _, records := range s.readCommitted(topic) {
		for _, r := range records {
			number, _, _ := strings.Cut(strings.TrimPrefix(string(r.Value), "t"), ".")
			counts[number]++
		}
	}
	if err := ended(counts, r.records()); err != nil {
		s.t.Fatal(err)
	}
	s.readsCommitted()
}

// ended says what is wrong with how many records of each transaction are there, after the ends that were told: c and its number
// of one that was committed, a of one that was aborted.
func ended(counts map[string]int, told []line) error {
	for _, l := range told {
		number := l.Value[1:]
		switch n := counts[number]; {
		case l.Value[0] == 'c' && n != perTransaction:
			return fmt.Errorf("transaction %s was committed, and %d of its %d records are there", number, n, perTransaction)
		case l.Value[0] == 'a' && n != 0:
			return fmt.Errorf("transaction %s was aborted, and %d of its records are there", number, n)
		}
	}
	for number, n := range counts {
		if n != perTransaction {
			return fmt.Errorf("of transaction %s there are %d records of %d", number, n, perTransaction)
		}
	}
	return nil
}

// readsCommitted: a consumer of what is committed passes what is aborted.
func (s *session) readsCommitted() {
	s.scenario += "-committed"
	topic := s.topic(1)
	s.scenario = "transaction"
	cl, err := kgo.NewClient(append(s.cl.Opts(), kgo.TransactionalID("judge"))...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	var want []string
	for i := range 20 {
		commit := kgo.TransactionEndTry(i%3 == 0)
		if err := cl.BeginTransaction(); err != nil {
			s.t.Fatal(err)
		}
		for j := range 5 {
			r := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d.%d", i, j)}
			if err := cl.ProduceSync(within(s.t), r).FirstErr(); err != nil {
				s.t.Fatalf("the judge writes to %s: %v", topic, err)
			}
			if commit {
				want = append(want, string(r.Value))
			}
		}
		if err := cl.EndTransaction(within(s.t), commit); err != nil {
			s.t.Fatalf("the judge ends a transaction: %v", err)
		}
	}
	var got []string
	for _, l := range s.do("committed", "topic="+topic, fmt.Sprint("count=", len(want))).records() {
		got = append(got, l.Value)
	}
	if !slices.Equal(got, want) {
		s.t.Fatalf("committed are %v, and it has read %v", want, got)
	}
}

// transform: two members of a group make each record of a topic into one of another, in transactions that have the offsets in
// them, and each once, through a kill of the broker.
func (s *session) transform() {
	const partitions, group = 2, "mill"
	s.scenario = "transform-to"
	to := s.topic(partitions)
	s.scenario = "transform"
	from := s.topic(partitions)
	stop := s.feed(from, partitions)
	members := []*run{}
	for _, id := range []string{"one", "two"} {
		members = append(members, s.start("transform", "topic="+from, "to="+to, "group="+group, "id="+id))
	}
	s.t.Cleanup(func() {
		for _, m := range members {
			if m.kill(); s.t.Failed() {
				s.t.Logf("%s of %s wrote to its standard error:\n%s", m.verb, s.c.name, m.errors.String())
			}
		}
	})
	awaited := 0
	made := func(more int) {
		s.t.Helper()
		awaited += more
		eventually(s.t, patience, fmt.Sprintf("%d records are made", awaited), func() error {
			if n := count(s.readCommitted(to)); n < awaited {
				return fmt.Errorf("there are %d", n)
			}
			return nil
		})
		awaited = count(s.readCommitted(to))
	}
	made(30)
	if err := s.b.restart(within(s.t), true); err != nil {
		s.t.Fatal(err)
	}
	made(30)
	members[0].end()
	stop()
	want := map[string]int{}
	for _, records := range s.readCommitted(from) {
		for _, r := range records {
			want["="+string(r.Value)] = 1
		}
	}
	var got map[string]int
	eventually(s.t, patience, "all is transformed", func() error {
		got = map[string]int{}
		for _, records := range s.readCommitted(to) {
			for _, r := range records {
				got[string(r.Value)]++
			}
		}
		if len(got) < len(want) {
			return fmt.Errorf("%d of %d records are", len(got), len(want))
		}
		return nil
	})
	members[1].end()
	if !maps.Equal(got, want) {
		for value, n := range got {
			if n != want[value] {
				s.t.Fatalf("%q is there %d times, want %d", value, n, want[value])
			}
		}
	}
}

// count is how many records there are.
func count(records map[int32][]*kgo.Record) (n int) {
	for _, of := range records {
		n += len(of)
	}
	return n
}
