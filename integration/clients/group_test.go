//go:build integration && unix

package clients

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// feed writes records to all partitions of a topic until the returned function is called, which waits for the last one.
func (s *session) feed(topic string, partitions int32) (stop func()) {
	cl, err := kgo.NewClient(s.cl.Opts()...)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cl.Close()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := int32(0); ; i++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				flush, cancel := context.WithTimeout(context.Background(), patience) // the test's own is over by then if the client lacks groups
				defer cancel()
				if err := cl.Flush(flush); err != nil {
					s.t.Errorf("the judge writes to %s: %v", topic, err)
				}
				return
			}
			cl.Produce(context.Background(), &kgo.Record{Topic: topic, Partition: i % partitions, Value: fmt.Append(nil, "v", i)}, nil)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	s.t.Cleanup(stop)
	return stop
}

// group: two members share a topic, and when one leaves, the other takes over. All records are processed and committed, and
// once, if the client commits before it gives up partitions.
func (s *session) group() {
	const partitions, group = 4, "team"
	topic := s.topic(partitions)
	stop := s.feed(topic, partitions)
	ann := s.start("group", "topic="+topic, "group="+group)
	ann.await("it has records of all partitions", func() bool { return len(parts(ann.records())) == partitions })
	bob := s.start("group", "topic="+topic, "group="+group)
	each(20, bob, ann)
	s.shared(ann, bob)
	ann.end()
	late := bob.count()
	bob.await("it has records of all partitions", func() bool { return len(parts(bob.records()[late:])) == partitions })
	stop()
	s.finish(topic, group, bob, ann)
	if n := repeats(ann, bob); n > s.c.again {
		s.t.Errorf("%d records are processed again, want %d at most", n, s.c.again)
	}
}

// parts are the partitions that records are of.
func parts(lines []line) map[int32]bool {
	m := map[int32]bool{}
	for _, l := range lines {
		m[l.Partition] = true
	}
	return m
}

// shared waits until two members have partitions apart from each other, so that none is both's.
func (s *session) shared(ann, bob *run) {
	s.t.Helper()
	bob.await("the two have partitions apart", func() bool {
		a, b := ann.records(), bob.records()
		of := parts(a[max(0, len(a)-8):])
		for p := range parts(b[max(0, len(b)-8):]) {
			if of[p] {
				return false
			}
		}
		return true
	})
}

// finish waits until all records are processed, by the last member or by one that has left before, ends the last member,
// and expects that everything is committed and that the group has no members any more.
func (s *session) finish(topic, group string, last *run, gone ...*run) {
	s.t.Helper()
	ends := s.ends(topic)
	members := append(gone, last)
	last.await("all records are processed", func() bool { return s.missing(ends, members) <= len(gone)*s.c.swallows })
	last.end()
	committed, err := s.adm.FetchOffsets(within(s.t), group)
	if err != nil {
		s.t.Fatalf("the judge asks what %s has committed: %v", group, err)
	}
	for p, end := range ends {
		if c, ok := committed.Lookup(topic, p); end > 0 && (!ok || c.At != end) {
			s.t.Errorf("of partition %d, %d is committed, want %d", p, c.At, end)
		}
	}
	eventually(s.t, 4*time.Second, "the group has no members, before a session would run out", func() error {
		described, err := s.adm.DescribeGroups(within(s.t), group)
		if err != nil {
			return err
		}
		if d := described[group]; d.Err != nil || len(d.Members) > 0 {
			return fmt.Errorf("it is %s and has %d: %w", d.State, len(d.Members), d.Err)
		}
		return nil
	})
}

// ends are the offsets at which partitions end.
func (s *session) ends(topic string) map[int32]int64 {
	s.t.Helper()
	listed, err := s.adm.ListEndOffsets(within(s.t), topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		s.t.Fatalf("the judge asks for the ends of %s: %v", topic, err)
	}
	ends := map[int32]int64{}
	for p, l := range listed[topic] {
		ends[p] = l.Offset
	}
	return ends
}

// missing counts the records that none of the members has processed.
func (s *session) missing(ends map[int32]int64, members []*run) (n int) {
	type place struct {
		partition int32
		offset    int64
	}
	seen := map[place]bool{}
	for _, m := range members {
		for _, l := range m.records() {
			seen[place{l.Partition, l.Offset}] = true
		}
	}
	for p, end := range ends {
		for o := range end {
			if !seen[place{p, o}] {
				n++
			}
		}
	}
	return n
}

// reconnect: a producer and a member of a group go on through a restart of the broker and through a kill, and nothing that
// was acknowledged is lost or comes in another order; nothing is there twice that an idempotent producer wrote. Members may
// process again what they could not commit.
func (s *session) reconnect() {
	const group = "steadfast"
	topic := s.topic(1)
	member := s.start("group", "topic="+topic, "group="+group)
	producer := s.start("steady", "topic="+topic)
	each(20, producer, member)
	for _, kill := range []bool{false, true} {
		if err := s.b.restart(within(s.t), kill); err != nil {
			s.t.Fatal(err)
		}
		each(20, producer, member)
	}
	producer.end()
	there := s.read(topic)[0]
	var log []string
	for _, r := range there {
		log = append(log, string(r.Value))
	}
	acknowledged := producer.records()
	for i, l := range acknowledged {
		if want := fmt.Sprint("s", i); l.Value != want {
			s.t.Fatalf("acknowledgement %d is of %q, want %q", i, l.Value, want)
		}
		if l.Offset >= 0 && (l.Offset >= int64(len(log)) || log[l.Offset] != l.Value) {
			s.t.Fatalf("%q was acknowledged at %d, where it is not", l.Value, l.Offset)
		}
	}
	if err := kept(log, len(acknowledged), s.c.idempotent); err != nil {
		s.t.Fatal(err)
	}
	s.finish(topic, group, member)
}

// kept says what is wrong with a log of the values s0, s1, and so on, each written after the one before it was acknowledged.
// What an idempotent producer tries again is there once; what another one does may be there again, before the next value.
func kept(log []string, acknowledged int, idempotent bool) error {
	next := 0
	for i, v := range log {
		switch {
		case v == fmt.Sprint("s", next):
			next++
		case v != fmt.Sprint("s", next-1):
			return fmt.Errorf("at %d there is %q, want s%d", i, v, next)
		case idempotent:
			return fmt.Errorf("at %d there is %q again, of an idempotent producer", i, v)
		}
	}
	if next < acknowledged {
		return fmt.Errorf("s%d was acknowledged, and is lost", next)
	}
	return nil
}

// repeats counts the records that members have processed more than once, in all.
func repeats(members ...*run) (n int) {
	type place struct {
		partition int32
		offset    int64
	}
	seen := map[place]bool{}
	for _, m := range members {
		for _, l := range m.records() {
			at := place{l.Partition, l.Offset}
			if seen[at] {
				n++
			}
			seen[at] = true
		}
	}
	return n
}
