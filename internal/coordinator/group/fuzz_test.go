package group

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// FuzzCommands hands the machine commands that are made of arbitrary bytes: most of them wrong in one way or another, on
// groups in any state. World checks after each; nothing may panic, and what waits must not wait for ever.
func FuzzCommands(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		seed := make([]byte, 600)
		for i := range seed {
			seed[i] = byte(rng.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &commands{data: data, ids: []string{"", "stranger"}}
		o := testOptions()
		o.MaxSize = 2 + c.upTo(5)
		o.InitialRebalanceDelay = time.Duration(c.upTo(2)) * 3 * time.Second
		maxRecord := 250 + 1000*c.upTo(3)
		o.MaxRecordBytes = func() int { return maxRecord }
		c.w = newWorld(t, o)
		for n := 0; len(c.data) > 0 && n < 500; n++ {
			c.next()
		}
		c.w.advance(time.Hour, func(coordinator.Effects) {})
		if len(c.w.waiting) > 0 {
			t.Fatalf("%d requests wait for ever", len(c.w.waiting))
		}
	})
}

// commands reads commands off bytes.
type commands struct {
	w    *world
	data []byte
	ids  []string // of members, as far as answers told them
}

// upTo takes a number below n.
func (c *commands) upTo(n int) int {
	if len(c.data) == 0 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return int(b) % n
}

func pick[T any](c *commands, from ...T) T { return from[c.upTo(len(from))] }

func (c *commands) bytes() []byte {
	n := min(c.upTo(20), len(c.data))
	b := c.data[:n]
	c.data = c.data[n:]
	return b
}

func (c *commands) instance() *string {
	return pick(c, nil, nil, nil, pointer("i"), pointer("j"))
}

// next does one.
func (c *commands) next() {
	switch c.upTo(18) {
	case 16, 17:
		c.w.decide(int64(c.upTo(3)), c.upTo(2) == 0)
		return
	case 0:
		c.w.advance(pick(c, 0, time.Second, 7*time.Second, 70*time.Second, 11*time.Minute), func(fx coordinator.Effects) { c.learn(fx) })
		return
	case 1:
		c.learn(c.w.reload(c.upTo(2) == 0))
		return
	}
	_, fx := c.w.do(Input{Client: Client{ID: pick(c, "c", "d"), Host: "/h"}, Request: c.request()})
	c.learn(fx)
}

// learn takes member ids out of answers.
func (c *commands) learn(fx coordinator.Effects) {
	for _, r := range fx.Replies {
		if m, ok := r.Message.(*kmsg.JoinGroupResponse); ok && !slices.Contains(c.ids, m.MemberID) {
			c.ids = append(c.ids, m.MemberID)
		}
	}
}

func (c *commands) request() any {
	group := pick(c, "g", "g", "h", "")
	member := pick(c, c.ids...)
	generation := pick(c, groupOr(c.w.m, group).generation, groupOr(c.w.m, group).generation, -1, int32(c.upTo(4)))
	switch c.upTo(14) {
	case 0, 1, 2, 3:
		r := joinOf(group, member)
		r.Version, r.InstanceID = int16(c.upTo(10)), c.instance()
		r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = pick[int32](c, 6000, 60_000, 5), pick[int32](c, 10_000, 0, -1)
		r.ProtocolType = pick(c, consumerProtocol, consumerProtocol, consumerProtocol, "connect")
		r.Protocols = nil
		for range c.upTo(4) {
			metadata := pick(c, metadataOf("t"), metadataOf("u"), c.bytes())
			r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: pick(c, "range", "range", "sticky", ""), Metadata: metadata})
		}
		return r
	case 4, 5, 6:
		r := kmsg.NewPtrSyncGroupRequest()
		r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = int16(c.upTo(6)), group, member, generation, c.instance()
		r.ProtocolType, r.Protocol = pick(c, nil, pointer(consumerProtocol)), pick(c, nil, pointer("range"))
		for range c.upTo(5) {
			r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: pick(c, c.ids...), MemberAssignment: c.bytes()})
		}
		return r
	case 7:
		r := kmsg.NewPtrHeartbeatRequest()
		r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = 4, group, member, generation, c.instance()
		return r
	case 8:
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Version, r.Group, r.MemberID = int16(c.upTo(6)), group, member
		for range c.upTo(4) {
			r.Members = append(r.Members, kmsg.LeaveGroupRequestMember{MemberID: pick(c, c.ids...), InstanceID: c.instance()})
		}
		return r
	case 9:
		return c.commit(group, member, generation)
	case 10, 11:
		return c.txnCommit(group, member, generation)
	}
	return pick[any](c,
		Fetch{Group: group, RequireStable: c.upTo(2) == 0}, Fetch{Group: group, RequireStable: c.upTo(2) == 0, Topics: []FetchTopic{{Topic: "t", ID: [16]byte{byte(c.upTo(3))}, Partitions: []int32{0, 1}}}},
		Delete{group}, DeleteOffsets{group, []DeleteTopic{{"t", []int32{0, 1}}}}, Describe{Group: group}, List{}, Lags{},
		Count{}, TopicsDeleted{c.exists(byte(c.upTo(3)))}, nil)
}

// exists knows all topics but the one with an id of that first byte.
func (c *commands) exists(deleted byte) func(string, [16]byte) bool {
	return func(_ string, id [16]byte) bool { return id[0] != deleted }
}

func (c *commands) commit(group, member string, generation int32) any {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = int16(2+c.upTo(9)), group, member, generation, c.instance()
	r.RetentionTimeMillis = pick[int64](c, -1, -1, 0, -1<<63, 1<<63-1, 60_000)
	for range c.upTo(3) {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = int32(c.upTo(3))-1, int64(c.upTo(9))-1, int32(c.upTo(3))-1
		p.Metadata = pick(c, nil, pointer(string(c.bytes())))
		r.Topics = append(r.Topics, kmsg.OffsetCommitRequestTopic{
			Topic: pick(c, "t", "u"), TopicID: [16]byte{byte(c.upTo(3))}, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p},
		})
	}
	return r
}

func (c *commands) txnCommit(group, member string, generation int32) any {
	r := kmsg.NewPtrTxnOffsetCommitRequest()
	r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = int16(c.upTo(6)), group, member, generation, c.instance()
	r.ProducerID, r.ProducerEpoch = int64(c.upTo(3)), int16(c.upTo(2))
	in := TxnCommit{Request: r}
	for range c.upTo(4) {
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = int32(c.upTo(3))-1, int64(c.upTo(9))-1, int32(c.upTo(3))-1
		p.Metadata = pick(c, nil, pointer(string(c.bytes())))
		r.Topics = append(r.Topics, kmsg.TxnOffsetCommitRequestTopic{
			Topic: pick(c, "t", "u"), Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p},
		})
		r.Topics[len(r.Topics)-1].TopicID = [16]byte{byte(c.upTo(3))}
	}
	return in
}

// FuzzApply replays arbitrary records. What is understood must say the same when it is written again, and the machine
// must work on with it. In a transaction that is committed it must mean the same, and in one that is aborted nothing, unless it is
// none of those that are written in transactions.
func FuzzApply(f *testing.F) {
	g := &group{id: "g", protocolType: "consumer", generation: 2, protocol: "range", leader: "m", since: 5}
	g.insert(&member{group: g, id: "m", instance: "i", static: true, protocolType: "consumer", sessionMillis: 6000, protocols: []protocol{{"range", metadataOf("t")}}})
	for _, rec := range []coordinator.Record{
		groupRecord(g), groupRecord(&group{id: "g", since: noTime}), groupTombstone("g"),
		offsetRecord("g", "t", 1, &committed{expires: noTime, topicID: [16]byte{1}}), offsetRecord("g", "t", 1, &committed{expires: 5}),
	} {
		f.Add(rec.Key, rec.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		m, decided := New(testOptions()), [...]*Machine{New(testOptions()), New(testOptions())}
		rec, by := coordinator.Record{Key: key, Value: value}, coordinator.Producer{ID: 1}
		err := m.Apply(rec)
		for i, d := range decided {
			if pending := d.ApplyPending(by, rec); (pending == nil) != (err == nil) {
				t.Fatalf("%v, and in a transaction %v", err, pending)
			}
			d.Decide(start, by, i == 0)
			if len(d.open) > 0 {
				t.Fatal("something is pending behind the end of the transaction")
			}
		}
		if err != nil {
			if len(m.groups)+len(decided[0].groups)+len(decided[1].groups) > 0 {
				t.Fatal("a record that is refused leaves something behind")
			}
			return
		}
		for id, g := range m.groups {
			if a, b := saidOf(g)+offsetsOf(g), saidOf(groupOr(decided[0], id))+offsetsOf(groupOr(decided[0], id)); a != b {
				t.Fatalf("group %q is\n%s\nand after a transaction\n%s", id, a, b)
			}
			if g.offsets != nil && len(decided[1].groups) > 0 {
				t.Fatalf("group %q is there after its transaction was aborted", id)
			}
		}
		again := New(testOptions())
		for id, g := range m.groups {
			if err := again.Apply(groupRecord(g)); err != nil {
				t.Fatalf("group %q, written again: %v", id, err)
			}
			if madeByCommits(g) {
				continue
			}
			if a, b := saidOf(g), saidOf(again.groups[id]); a != b {
				t.Fatalf("group %q, written again, is\n%s\nand was\n%s", id, b, a)
			}
		}
		m.Loaded(start)
		m.Handle(start, 1, Input{Request: List{}})
		for now, n := start, 0; n < 100; n++ {
			now = now.Add(20 * time.Minute)
			m.Expire(now)
		}
	})
}

// FuzzConsumerTopics compares what is read of a subscription with what kmsg reads, where it is safe to let it.
func FuzzConsumerTopics(f *testing.F) {
	f.Add(metadataOf("a+b"))
	f.Add([]byte{0, 0, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		topics, ok := consumerTopics(b)
		if !ok {
			return
		}
		b = bytes.Clone(b)
		b[0], b[1] = 0, 0
		var m kmsg.ConsumerMemberMetadata
		if err := m.ReadFrom(b); err != nil || !slices.Equal(m.Topics, topics) {
			t.Fatalf("%q, and kmsg reads %q (%v)", topics, m.Topics, err)
		}
	})
}
