package group

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// fill makes groups of so many members, each group with ten offsets, stable, by commands as clients send them.
func fill(m *Machine, groups, members int) {
	token := coordinator.Token(0)
	do := func(client string, req any) coordinator.Effects {
		token++
		return m.Handle(start, token, Input{Client: Client{ID: client, Host: "/10.1.2.3"}, Request: req})
	}
	for n := range groups {
		id := fmt.Sprintf("orders-service-%05d", n)
		for range members {
			r := joinOf(id, "")
			r.Version = 3
			r.Protocols = []kmsg.JoinGroupRequestProtocol{
				{Name: "range", Metadata: metadataOf(fmt.Sprintf("orders-%d", n))},
				{Name: "cooperative-sticky", Metadata: metadataOf(fmt.Sprintf("orders-%d", n))},
			}
			do(fmt.Sprintf("orders-client-%d", n), r)
		}
		m.Expire(start)
		g := m.groups[id]
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Group, sync.MemberID, sync.Generation = id, g.leader, g.generation
		for _, mb := range g.members {
			sync.GroupAssignment = append(sync.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: mb.id, MemberAssignment: make([]byte, 70)})
		}
		do("", sync)
		for _, mb := range g.members {
			sync.MemberID = mb.id
			do("", sync)
		}
		do("", commitOf(id, g, 10))
	}
}

func commitOf(id string, g *group, partitions int) *kmsg.OffsetCommitRequest {
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Version, commit.Group, commit.MemberID, commit.Generation = 9, id, g.leader, g.generation
	topic := kmsg.OffsetCommitRequestTopic{Topic: "orders-" + id, TopicID: [16]byte{1}}
	for p := range int32(partitions) {
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset = p, 1
		topic.Partitions = append(topic.Partitions, rp)
	}
	commit.Topics = []kmsg.OffsetCommitRequestTopic{topic}
	return commit
}

func bigOptions() Options {
	o := testOptions()
	ids := 0
	o.MemberID = func(prefix string) string {
		ids++
		return fmt.Sprintf("%s-%08x-89ab-cdef-0123-456789abcdef", prefix, ids)
	}
	return o
}

// TestMemoryOfIdleGroups holds the price of an idle group, with a member and ten offsets, to what it was measured at.
func TestMemoryOfIdleGroups(t *testing.T) {
	const groups = 5000
	measure := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	m := New(bigOptions())
	m.Loaded(start)
	before := measure()
	fill(m, groups, 1)
	each := (measure() - before) / groups
	t.Logf("%d bytes for each group", each)
	if each > 3500 {
		t.Errorf("an idle group takes %d bytes", each)
	}
	runtime.KeepAlive(m)
}

// BenchmarkHeartbeat is the commonest request, with 10,000 groups.
func BenchmarkHeartbeat(b *testing.B) {
	m := New(bigOptions())
	m.Loaded(start)
	fill(m, 10_000, 1)
	var requests []*kmsg.HeartbeatRequest
	for _, g := range m.groups {
		r := kmsg.NewPtrHeartbeatRequest()
		r.Version, r.Group, r.MemberID, r.Generation = 4, g.id, g.leader, g.generation
		requests = append(requests, r)
	}
	now := start
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(time.Microsecond)
		m.Handle(now, coordinator.Token(i), Input{Request: requests[i%len(requests)]})
	}
}

// BenchmarkCommit is one of ten partitions.
func BenchmarkCommit(b *testing.B) {
	m := New(bigOptions())
	m.Loaded(start)
	fill(m, 1000, 1)
	var requests []*kmsg.OffsetCommitRequest
	for _, g := range m.groups {
		requests = append(requests, commitOf(g.id, g, 10))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Handle(start, coordinator.Token(i), Input{Request: requests[i%len(requests)]})
	}
}

// BenchmarkRebalance is a whole one of 500 members: the leader joins again, all others follow, and are assigned.
func BenchmarkRebalance(b *testing.B) {
	m := New(bigOptions())
	m.Loaded(start)
	fill(m, 1, 500)
	var g *group
	for _, g = range m.groups {
	}
	b.ReportAllocs()
	for b.Loop() {
		ids := []string{g.leader}
		for _, mb := range g.members {
			if mb.id != g.leader {
				ids = append(ids, mb.id)
			}
		}
		for _, id := range ids {
			m.Handle(start, 1, Input{Request: joinOf(g.id, id)})
		}
		for _, id := range ids {
			sync := kmsg.NewPtrSyncGroupRequest()
			sync.Group, sync.MemberID, sync.Generation = g.id, id, g.generation
			m.Handle(start, 1, Input{Request: sync})
		}
		if g.state != Stable {
			b.Fatal(saidOf(g))
		}
	}
}

// BenchmarkReplay is a log of 10,000 groups with a member and ten offsets each.
func BenchmarkReplay(b *testing.B) {
	m := New(bigOptions())
	m.Loaded(start)
	fill(m, 10_000, 1)
	var log []coordinator.Record
	for _, g := range m.groups {
		log = append(log, groupRecord(g))
		for topic, ps := range g.offsets {
			for p, c := range ps {
				log = append(log, offsetRecord(g.id, topic, p, c))
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		again := New(bigOptions())
		for _, rec := range log {
			must(again.Apply(rec))
		}
		again.Loaded(start)
	}
	b.ReportMetric(float64(len(log)), "records/op")
}
