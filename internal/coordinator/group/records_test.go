package group

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// TestRecordBytes pins the bytes of each kind of record: they are Kafka's, and data directories hold them.
func TestRecordBytes(t *testing.T) {
	g := &group{id: "g", protocolType: "consumer", generation: 2, protocol: "range", leader: "m", since: 5}
	g.insert(&member{
		group: g, id: "m", instance: "i", static: true, clientID: "c", host: "/h", sessionMillis: 1, rebalanceMillis: 2,
		protocolType: "consumer", protocols: []protocol{{"range", []byte{7}}}, assignment: []byte{8},
	})
	offset := &committed{offset: 3, leaderEpoch: 4, metadata: "x", at: 5, expires: noTime, topicID: [16]byte{15: 9}}
	expiring := &committed{offset: 3, leaderEpoch: -1, metadata: "x", at: 5, expires: 6}
	for _, c := range []struct {
		name, key, value string
		rec              coordinator.Record
	}{
		{"group", "0002 0001 67",
			"0003 0008 636f6e73756d6572 00000002 0005 72616e6765 0001 6d 0000000000000005 00000001" +
				"0001 6d 0001 69 0001 63 0002 2f68 00000002 00000001 00000001 07 00000001 08", groupRecord(g)},
		{"empty group", "0002 0001 67", "0003 0000 00000000 ffff ffff ffffffffffffffff 00000000", groupRecord(&group{id: "g", since: noTime})},
		{"group tombstone", "0002 0001 67", "", groupTombstone("g")},
		{"offset", "0001 0001 67 0001 74 0000000a", "0004 0000000000000003 00000004 0278 0000000000000005" +
			"01 00 10 00000000000000000000000000000009", offsetRecord("g", "t", 10, offset)},
		{"offset that expires", "0001 0001 67 0001 74 0000000a", "0001 0000000000000003 0001 78 0000000000000005 0000000000000006",
			offsetRecord("g", "t", 10, expiring)},
		{"offset tombstone", "0001 0001 67 0001 74 0000000a", "", offsetTombstone("g", "t", 10)},
	} {
		if got := hex.EncodeToString(c.rec.Key); got != strings.ReplaceAll(c.key, " ", "") {
			t.Errorf("%s: key %s", c.name, got)
		}
		if got := hex.EncodeToString(c.rec.Value); got != strings.ReplaceAll(c.value, " ", "") {
			t.Errorf("%s: value %s", c.name, got)
		}
		if (c.rec.Value == nil) != (c.value == "") {
			t.Errorf("%s: a tombstone's value is nil, and no other's", c.name)
		}
	}
}

// TestApplyVersions reads all versions of each value that Kafka ever wrote, as kmsg writes them.
func TestApplyVersions(t *testing.T) {
	for version := range int16(5) {
		v := kmsg.NewGroupMetadataValue()
		v.Version, v.ProtocolType, v.Generation, v.CurrentStateTimestamp = version, "consumer", 3, 17
		v.Protocol, v.Leader = pointer("range"), pointer("m2")
		for _, id := range []string{"m2", "m1"} {
			mb := kmsg.NewGroupMetadataValueMember()
			mb.MemberID, mb.ClientID, mb.ClientHost, mb.SessionTimeoutMillis = id, "c", "/h", 10_000
			mb.RebalanceTimeoutMillis, mb.InstanceID = 20_000, pointer("i"+id)
			mb.Subscription, mb.Assignment = metadataOf("t"), []byte("a"+id)
			mb.UnknownTags.Set(3, []byte("later"))
			v.Members = append(v.Members, mb)
		}
		v.UnknownTags.Set(9, []byte("later"))
		m := New(testOptions())
		key := kmsg.GroupMetadataKey{Version: 2, Group: "g"}
		if err := m.Apply(coordinator.Record{Key: key.AppendTo(nil), Value: v.AppendTo(nil)}); err != nil {
			t.Fatal(err)
		}
		g := m.groups["g"]
		mb := g.member("m1")
		rebalance, static, since := int32(20_000), version >= 3, int64(17)
		if version < 1 {
			rebalance = 10_000
		}
		if version < 2 {
			since = noTime
		}
		if g.state != Stable || g.generation != 3 || g.leader != "m2" || g.protocol != "range" || g.since != since ||
			mb.rebalanceMillis != rebalance || mb.static != static || string(mb.assignment) != "am1" || !g.subscribesTo("t") {
			t.Errorf("version %d: %s", version, saidOf(g))
		}

		o := kmsg.NewOffsetCommitValue()
		o.Version, o.Offset, o.LeaderEpoch, o.Metadata, o.CommitTimestamp, o.ExpireTimestamp = version, 5, 6, "x", 7, 8
		o.TopicID[3] = 4
		o.UnknownTags.Set(5, []byte("later"))
		offsetKey := kmsg.OffsetCommitKey{Version: min(version, 1), Group: "g", Topic: "t", Partition: 1}
		if err := m.Apply(coordinator.Record{Key: offsetKey.AppendTo(nil), Value: o.AppendTo(nil)}); err != nil {
			t.Fatal(err)
		}
		want := committed{offset: 5, at: 7, expires: noTime, metadata: "x", leaderEpoch: -1}
		if version == 1 {
			want.expires = 8
		}
		if version >= 3 {
			want.leaderEpoch = 6
		}
		if version >= 4 {
			want.topicID[3] = 4
		}
		if got := *g.offset("t", 1); got != want {
			t.Errorf("version %d: %+v", version, got)
		}
	}
}

// TestApplyRefuses tells damage from what is merely unknown.
func TestApplyRefuses(t *testing.T) {
	long := bytes.Repeat([]byte{0xff}, 40)
	for _, c := range []struct {
		name       string
		key, value []byte
		unknown    bool
	}{
		{"no key", nil, nil, false},
		{"half a key", []byte{0}, nil, false},
		{"a consumer group of KIP-848", []byte{0, 3, 0, 1, 'g'}, []byte{0, 0, 0, 0, 0, 1}, true},
		{"the newest version of a group", []byte{0, 2, 0, 1, 'g'}, []byte{0, 5}, false},
		{"a group cut off", []byte{0, 2, 0, 1, 'g'}, []byte{0, 3, 0}, false},
		{"a group of four billion members", []byte{0, 2, 0, 1, 'g'}, append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, long...), false},
		{"a group's key cut off", []byte{0, 2, 0, 9, 'g'}, nil, false},
		{"an offset's key cut off", []byte{0, 1, 0, 1, 'g', 0, 1}, nil, false},
		{"an offset cut off", []byte{0, 1, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 0}, []byte{0, 3, 0}, false},
		{"an offset with endless tags", []byte{0, 1, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 0},
			append([]byte{0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 0xff, 0xff, 0xff, 0xff, 0x07), false},
	} {
		m := New(testOptions())
		err := m.Apply(coordinator.Record{Key: c.key, Value: c.value})
		var unknown *coordinator.UnknownRecordError
		if err == nil || errors.As(err, &unknown) != c.unknown {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(m.groups) > 0 {
			t.Errorf("%s leaves something behind", c.name)
		}
	}
}

// TestApplyGroup reads what only a broken writer, or a newer Kafka, can have written.
func TestApplyGroup(t *testing.T) {
	record := func(change func(v *kmsg.GroupMetadataValue)) coordinator.Record {
		v := kmsg.NewGroupMetadataValue()
		v.Version, v.ProtocolType, v.Generation, v.Protocol, v.Leader = 3, "consumer", 1, pointer("range"), pointer("m")
		mb := kmsg.NewGroupMetadataValueMember()
		mb.MemberID, mb.SessionTimeoutMillis = "m", 10_000
		v.Members = []kmsg.GroupMetadataValueMember{mb}
		change(&v)
		key := kmsg.GroupMetadataKey{Version: 2, Group: "g"}
		return coordinator.Record{Key: key.AppendTo(nil), Value: v.AppendTo(nil)}
	}
	for _, c := range []struct {
		name   string
		change func(v *kmsg.GroupMetadataValue)
		ok     bool
	}{
		{"a sound one", func(*kmsg.GroupMetadataValue) {}, true},
		{"a leader that is no member", func(v *kmsg.GroupMetadataValue) { v.Leader = pointer("x") }, true},
		{"no leader", func(v *kmsg.GroupMetadataValue) { v.Leader = nil }, true},
		{"no protocol", func(v *kmsg.GroupMetadataValue) { v.Protocol = nil }, false},
		{"no protocol type", func(v *kmsg.GroupMetadataValue) { v.ProtocolType = "" }, false},
		{"a member twice", func(v *kmsg.GroupMetadataValue) { v.Members = append(v.Members, v.Members[0]) }, false},
	} {
		w := newWorld(t, testOptions())
		err := w.m.Apply(record(c.change))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if g := w.m.groups["g"]; c.ok && (g.state != Stable || g.leader != "m") {
			t.Errorf("%s: %s", c.name, saidOf(g))
		}
	}
}

// TestTombstoneOfGroupKeepsOffsets: offsets have tombstones of their own.
func TestTombstoneOfGroupKeepsOffsets(t *testing.T) {
	m := New(testOptions())
	for _, rec := range []coordinator.Record{
		groupRecord(&group{id: "g", protocolType: "consumer", generation: 4, since: 5}),
		offsetRecord("g", "t", 0, &committed{offset: 1, expires: noTime}),
		groupTombstone("g"),
		groupTombstone("other"),
		offsetTombstone("other", "t", 0),
	} {
		if err := m.Apply(rec); err != nil {
			t.Fatal(err)
		}
	}
	g := m.groups["g"]
	if len(m.groups) != 1 || g == nil || g.protocolType != "" || g.offset("t", 0) == nil {
		t.Fatalf("what is left: %+v", m.groups)
	}
	if err := m.Apply(offsetTombstone("g", "t", 0)); err != nil || len(m.groups) != 0 {
		t.Fatalf("%v, and %d groups", err, len(m.groups))
	}
}
