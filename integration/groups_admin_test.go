//go:build integration && unix

package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestGroupCommits: in whatever way a consumer commits, the one that comes after it goes on right there, also after a kill.
func TestGroupCommits(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	const records, taken = 100, 40
	for range records {
		b.dial(t).produce("t", 0, batchOf(t, "x"))
	}
	ways := map[string]struct {
		opts   []kgo.Opt
		commit func(*testing.T, *kgo.Client, []*kgo.Record)
	}{
		"sync": {[]kgo.Opt{kgo.DisableAutoCommit()}, func(t *testing.T, cl *kgo.Client, got []*kgo.Record) {
			if err := cl.CommitRecords(within(t, patience), got...); err != nil {
				t.Error(err)
			}
		}},
		"async": {[]kgo.Opt{kgo.DisableAutoCommit()}, func(t *testing.T, cl *kgo.Client, got []*kgo.Record) {
			last := got[len(got)-1]
			for _, offset := range []int64{1, last.Offset + 1} { // the second one takes the place of the first one
				cl.CommitOffsets(within(t, patience), map[string]map[int32]kgo.EpochOffset{"t": {0: {Epoch: last.LeaderEpoch, Offset: offset}}}, nil)
			}
		}},
		"on a timer": {[]kgo.Opt{kgo.AutoCommitInterval(100 * time.Millisecond)}, func(t *testing.T, cl *kgo.Client, _ []*kgo.Record) {
			cl.PollRecords(within(t, 50*time.Millisecond), 0) // what was polled before is processed now
		}},
		"on a timer, what is marked": {[]kgo.Opt{kgo.AutoCommitMarks(), kgo.AutoCommitInterval(100 * time.Millisecond)},
			func(_ *testing.T, cl *kgo.Client, got []*kgo.Record) { cl.MarkCommitRecords(got...) }},
		"when it leaves": {[]kgo.Opt{kgo.DisableAutoCommit()}, func(t *testing.T, cl *kgo.Client, _ []*kgo.Record) {
			if err := cl.CommitUncommittedOffsets(within(t, patience)); err != nil {
				t.Error(err)
			}
			if err := cl.LeaveGroupContext(within(t, patience)); err != nil {
				t.Error(err)
			}
		}},
	}
	adm := b.admin(t)
	for name, way := range ways {
		opts := func(more ...kgo.Opt) []kgo.Opt {
			return append([]kgo.Opt{kgo.ConsumerGroup(name), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, more...)
		}
		t.Run(name, func(t *testing.T) {
			cl := b.client(t, opts(way.opts...)...)
			var got []*kgo.Record
			for len(got) < taken {
				fetches := cl.PollRecords(within(t, patience), taken-len(got))
				got = append(got, fetches.Records()...)
			}
			way.commit(t, cl, got)
			eventually(t, patience, "it is committed", func() bool {
				offsets, err := adm.FetchOffsets(within(t, patience), name)
				o, _ := offsets.Lookup("t", 0)
				return err == nil && o.At == taken && o.LeaderEpoch == got[taken-1].LeaderEpoch
			})
			cl.Close()
		})
	}
	b.crash()
	for name := range ways {
		next := b.client(t, kgo.ConsumerGroup(name), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit())
		if r := next.PollRecords(within(t, patience), 1).Records(); len(r) != 1 || r[0].Offset != taken {
			t.Errorf("%s: the next consumer begins at %v, want %d", name, r, taken)
		}
		next.Close()
	}
}

// TestGroupAdmin: who administers groups sees them as they are, and changes only what nobody uses.
func TestGroupAdmin(t *testing.T) {
	b := start(t)
	tm := newTeam(t, b, "t", 3)
	defer tm.abandon()
	adm := b.admin(t)
	ann, bob := tm.join(t, "ann"), tm.join(t, "bob", kgo.InstanceID("bob-1"))
	tm.awaitShares(t, 3, ann, bob)
	tm.awaitQuiet(t)
	w := b.dial(t)
	for p := range int32(3) {
		w.produce("t", p, batchOf(t, "a", "b", "c", "d"))
	}
	eventually(t, patience, "the lag is 0", func() bool {
		lags, err := adm.Lag(within(t, patience), "t")
		lag := lags["t"].Lag
		l, ok := lag.Lookup("t", 1)
		return err == nil && lags.Error() == nil && ok && lag.Total() == 0 && l.Commit.At == 4 && l.Member != nil
	})

	listed, err := adm.ListGroups(within(t, patience))
	if g := listed["t"]; err != nil || len(listed) != 1 || g.State != "Stable" || g.ProtocolType != "consumer" {
		t.Errorf("list: %+v, %v", listed, err)
	}
	if listed, err := adm.ListGroups(within(t, patience), "Empty"); err != nil || len(listed) != 0 {
		t.Errorf("empty groups: %+v, %v", listed, err)
	}
	described, err := adm.DescribeGroups(within(t, patience), "t", "nobody's")
	if err != nil {
		t.Fatal(err)
	}
	if g := described["nobody's"]; g.State != "Dead" && !errors.Is(g.Err, kerr.GroupIDNotFound) {
		t.Errorf("a group that there is not: %+v", g)
	}
	g := described["t"]
	assigned := g.AssignedPartitions()
	if g.Err != nil || g.State != "Stable" || g.Protocol != "cooperative-sticky" || len(g.Members) != 2 || len(assigned["t"]) != 3 {
		t.Errorf("described: %+v", g)
	}
	for _, m := range g.Members {
		static := m.InstanceID != nil && *m.InstanceID == "bob-1"
		if m.ClientHost != "/127.0.0.1" || m.ClientID != "ann" && m.ClientID != "bob" || static != (m.ClientID == "bob") {
			t.Errorf("member: %+v", m)
		}
	}

	// What is in use stays.
	offset := kadm.Offset{Topic: "t", Partition: 0, At: 2, LeaderEpoch: -1}
	set := kadm.Offsets{}
	set.Add(offset)
	if err := adm.CommitAllOffsets(within(t, patience), "t", set); !errors.Is(err, kerr.UnknownMemberID) {
		t.Errorf("commit for a group with members: %v, want %v", err, kerr.UnknownMemberID)
	}
	if _, err := adm.DeleteGroup(within(t, patience), "t"); !errors.Is(err, kerr.NonEmptyGroup) {
		t.Errorf("delete a group with members: %v, want %v", err, kerr.NonEmptyGroup)
	}
	topic := kadm.TopicsSet{}
	topic.Add("t", 0)
	deleteOffset := func() error {
		resp, err := adm.DeleteOffsets(within(t, patience), "t", topic)
		return errors.Join(err, resp.Error())
	}
	if err := deleteOffset(); !errors.Is(err, kerr.GroupSubscribedToTopic) {
		t.Errorf("delete an offset in use: %v, want %v", err, kerr.GroupSubscribedToTopic)
	}

	// A static member is made to leave by its name; then the group is empty.
	tm.finish(t)
	left, err := adm.LeaveGroup(within(t, patience), kadm.LeaveGroup("t").InstanceIDs("bob-1"))
	if err != nil || !left.Ok() {
		t.Errorf("bob-1 is made to leave: %+v, %v", left, err)
	}
	if err := adm.CommitAllOffsets(within(t, patience), "t", set); err != nil {
		t.Errorf("commit for an empty group: %v", err)
	}
	b.crash()
	lags, err := adm.Lag(within(t, patience), "t")
	if l := lags["t"]; err != nil || l.State != "Empty" || l.Lag.Total() != 2 {
		t.Errorf("lag: %+v, %v; want 2 in all, of an empty group", l, err)
	}
	if err := deleteOffset(); err != nil {
		t.Errorf("delete an offset: %v", err)
	}
	offsets, err := adm.FetchOffsets(within(t, patience), "t")
	if _, there := offsets.Lookup("t", 0); err != nil || there || len(offsets["t"]) != 2 {
		t.Errorf("offsets: %+v, %v; want those of 1 and 2", offsets, err)
	}
	if _, err := adm.DeleteGroup(within(t, patience), "t"); err != nil {
		t.Errorf("delete an empty group: %v", err)
	}
	if _, err := adm.DeleteGroup(within(t, patience), "t"); !errors.Is(err, kerr.GroupIDNotFound) {
		t.Errorf("delete it again: %v, want %v", err, kerr.GroupIDNotFound)
	}
	b.crash()
	if listed, err := adm.ListGroups(within(t, patience)); err != nil || len(listed) != 0 {
		t.Errorf("list after all is deleted: %+v, %v", listed, err)
	}
}

// TestGroupOddNames: the id of a group and the metadata of an offset are any text, within bounds, and come through a kill
// as they were.
func TestGroupOddNames(t *testing.T) {
	b := start(t, onlyByRequest)
	b.createTopic(t, "t", 1)
	b.awaitGroups(t)
	names := []string{
		" ", "..", "a/b\\c", "group\nof\ttwo\x00lines", "__consumer_offsets", "группа 群組 😀", "\xed\xa0\x80?", "%s%n", "'; drop table",
		strings.Repeat("x", 249), strings.Repeat("long ", 800), strings.ToUpper("t"), "t",
	}
	long := strings.Repeat("m", 4096)
	metadata := func(i int) string { return []string{"", long, "metadata of " + names[i]}[i%3] }
	w := b.dial(t)
	for i, name := range names {
		s := &seat{w: w, group: name}
		if err := s.take(); err != nil {
			t.Fatal(err)
		}
		if err := w.commit(name, s.id, s.generation, "t", 0, int64(i), metadata(i)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := w.commit(name, s.id, s.generation, "t", 0, 1, long+"m"); !errors.Is(err, kerr.OffsetMetadataTooLarge) {
			t.Errorf("%q: metadata that is too long: %v, want %v", name, err, kerr.OffsetMetadataTooLarge)
		}
		if err := w.commit(name, s.id, s.generation, "nothing", 0, 1, ""); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("%q: a topic that there is not: %v, want %v", name, err, kerr.UnknownTopicOrPartition)
		}
	}
	check := func() {
		t.Helper()
		w := b.dial(t)
		for i, name := range names {
			offset, text, err := w.committed(name, "t", 0)
			if err != nil || offset != int64(i) || text != metadata(i) {
				t.Errorf("%q: committed %d, %d bytes, %v; want %d, %d bytes", name, offset, len(text), err, i, len(metadata(i)))
			}
		}
		listed, err := b.admin(t).ListGroups(within(t, patience))
		if err != nil || len(listed) != len(names) {
			t.Errorf("%d groups are listed, %v; want %d", len(listed), err, len(names))
		}
		for name := range listed {
			if !slices.Contains(names, name) {
				t.Errorf("there is no group %q", name)
			}
		}
	}
	check()
	b.crash()
	b.awaitGroups(t)
	check()

	// An empty id is a group for who only commits, and nobody joins it; one that is too long is refused.
	w = b.dial(t)
	if err := w.commit("", "", -1, "t", 0, 5, ""); err != nil {
		t.Errorf("commit for the group without a name: %v", err)
	}
	for _, name := range []string{"", strings.Repeat("y", 4097)} {
		if err := (&seat{w: w, group: name}).take(); !errors.Is(err, kerr.InvalidGroupID) {
			t.Errorf("join a group whose name has %d bytes: %v, want %v", len(name), err, kerr.InvalidGroupID)
		}
	}
	if n := b.metric("segue_handler_panics_total"); n != 0 {
		t.Error(fmt.Sprint(n, " panics"))
	}
}

// TestGroupCommitVersions: what was committed in any version of the request, with a retention or without, is there after a
// kill and replaces what was there before.
func TestGroupCommitVersions(t *testing.T) {
	b := start(t, onlyByRequest)
	b.createTopic(t, "t", 1)
	b.awaitGroups(t)
	w := b.dial(t)
	name := func(version int16, retention int64) string {
		return fmt.Sprint("version ", version, ", retention ", retention)
	}
	each := func(do func(version int16, retention int64)) {
		for version := int16(0); version <= 9; version++ {
			for _, retention := range []int64{-1, time.Hour.Milliseconds()} {
				do(version, retention)
			}
		}
	}
	check := func() {
		t.Helper()
		each(func(version int16, retention int64) {
			if offset, _, err := b.dial(t).committed(name(version, retention), "t", 0); err != nil || offset != 174 {
				t.Errorf("%s: %d, %v; want 174", name(version, retention), offset, err)
			}
		})
	}
	each(func(version int16, retention int64) {
		if err := w.commit(name(version, retention), "", -1, "t", 0, 9, ""); err != nil {
			t.Error(err)
		}
		req := commitRequest(name(version, retention), "", -1, "t", 0, 174, "")
		req.Version, req.RetentionTimeMillis = version, retention
		resp := ask[*kmsg.OffsetCommitResponse](w, req)
		expectCode(t, name(version, retention), resp.Topics[0].Partitions[0].ErrorCode, nil)
	})
	check()
	b.crash()
	b.awaitGroups(t)
	check()
}
