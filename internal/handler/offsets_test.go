package handler

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

// commitTopic commits 100 and the number of the partition for each partition.
func commitTopic(name string, id [16]byte, partitions ...int32) kmsg.OffsetCommitRequestTopic {
	t := kmsg.OffsetCommitRequestTopic{Topic: name, TopicID: id}
	for _, p := range partitions {
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = p, 100+int64(p), 3, kmsg.StringPtr(fmt.Sprint("m", p))
		t.Partitions = append(t.Partitions, rp)
	}
	return t
}

func commitRequest(groupID string, topics ...kmsg.OffsetCommitRequestTopic) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Topics = groupID, topics
	return req
}

func fetchTopic(name string, id [16]byte, partitions ...int32) kmsg.OffsetFetchRequestGroupTopic {
	return kmsg.OffsetFetchRequestGroupTopic{Topic: name, TopicID: id, Partitions: partitions}
}

// fetchRequest asks for offsets, in all versions alike; no topics are all.
func fetchRequest(groupID string, topics ...kmsg.OffsetFetchRequestGroupTopic) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = groupID
	for _, t := range topics {
		req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = groupID, topics
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	return req
}

// fetched is what an OffsetFetch says in whatever version, by topic (the name, or the id) and partition, one line each.
func (s *stage) fetched(req *kmsg.OffsetFetchRequest, version int16) (lines []string) {
	s.Helper()
	resp := s.ask(req, version).(*kmsg.OffsetFetchResponse)
	groups := resp.Groups
	if version < fetchGroupsVersion {
		g := kmsg.OffsetFetchResponseGroup{Group: req.Group, ErrorCode: resp.ErrorCode}
		for _, t := range resp.Topics {
			topic := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{
					Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
				})
			}
			g.Topics = append(g.Topics, topic)
		}
		groups = []kmsg.OffsetFetchResponseGroup{g}
	}
	for _, g := range groups {
		if g.ErrorCode != 0 {
			lines = append(lines, fmt.Sprintf("%s: %v", g.Group, kerr.ErrorForCode(g.ErrorCode)))
		}
		for _, t := range g.Topics {
			name := t.Topic
			if topic, ok := s.catalog.Image().TopicByID(t.TopicID); ok {
				name = topic.Name + " by id"
			}
			for _, p := range t.Partitions {
				line := fmt.Sprintf("%s %s/%d: %d %q", g.Group, name, p.Partition, p.Offset, stringOf(p.Metadata))
				if version >= 5 {
					line += fmt.Sprintf(" epoch %d", p.LeaderEpoch)
				}
				if p.ErrorCode != 0 {
					line += fmt.Sprintf(" %s", kerr.TypedErrorForCode(p.ErrorCode).Message)
				}
				lines = append(lines, line)
			}
		}
	}
	return lines
}

func (s *stage) fetchOffset(groupID, topic string, partition int32) int64 {
	s.Helper()
	resp := s.ask(fetchRequest(groupID, fetchTopic(topic, [16]byte{}, partition)), 9).(*kmsg.OffsetFetchResponse)
	return resp.Groups[0].Topics[0].Partitions[0].Offset
}

// Offsets are committed and fetched in every version; what there is no partition for is refused by itself.
func TestOffsetsEveryVersion(t *testing.T) {
	s := newGroupStage(t)
	a, _ := s.catalog.Image().Topic("a")
	nowhere := catalog.NewTopicID()
	for version := int16(0); version <= 10; version++ {
		id := fmt.Sprintf("g%d", version)
		commit := commitRequest(id, commitTopic("a", a.ID, 1, 7, 0, -1), commitTopic("nope", nowhere, 0))
		resp := s.ask(commit, version).(*kmsg.OffsetCommitResponse)
		unknown := kerr.UnknownTopicOrPartition
		want := []int16{0, unknown.Code, 0, unknown.Code, unknown.Code}
		if version >= 10 {
			want[4] = kerr.UnknownTopicID.Code
		}
		if got := codesIn(resp); !slices.Equal(got, want) {
			t.Errorf("v%d: codes %v, want %v", version, got, want)
		}
		for i, topic := range resp.Topics {
			if sent := commit.Topics[i]; version < 10 && topic.Topic != sent.Topic || version >= 10 && topic.TopicID != sent.TopicID {
				t.Errorf("v%d: %+v", version, topic)
			}
		}
		by, epoch, none, epochNone := "a", "", "", ""
		if version >= 10 {
			by = "a by id"
		}
		if version >= 5 {
			epoch, epochNone = " epoch 3", " epoch -1"
		}
		if version < 6 { // commits of these say no epoch
			epoch = epochNone
		}
		if version < 1 {
			none = " UNKNOWN_TOPIC_OR_PARTITION"
		}
		lines := []string{
			fmt.Sprintf(`%s %s/0: 100 "m0"%s`, id, by, epoch), fmt.Sprintf(`%s %s/5: -1 ""%s%s`, id, by, epochNone, none),
			fmt.Sprintf(`%s nope/0: -1 ""%s%s`, id, epochNone, none),
		}
		if version >= 10 {
			lines[2] = fmt.Sprintf(`%s /0: -1 "" epoch -1 UNKNOWN_TOPIC_ID`, id)
		}
		if got := s.fetched(fetchRequest(id, fetchTopic("a", a.ID, 0, 5), fetchTopic("nope", nowhere, 0)), version); !slices.Equal(got, lines) {
			t.Errorf("v%d:\n%q, want\n%q", version, got, lines)
		}
		if version < fetchGroupVersion {
			continue // cannot ask for all
		}
		all := []string{lines[0], fmt.Sprintf(`%s %s/1: 101 "m1"%s`, id, by, epoch)}
		if got := s.fetched(fetchRequest(id), version); !slices.Equal(got, all) {
			t.Errorf("v%d: all are\n%q, want\n%q", version, got, all)
		}
		if got := s.fetched(fetchRequest("none"), version); len(got) != 0 {
			t.Errorf("v%d: a group that there is not has %q", version, got)
		}
	}
}

// No topics are not all topics.
func TestOffsetFetchNoTopics(t *testing.T) {
	s := newGroupStage(t)
	s.ask(commitRequest("g", commitTopic("a", [16]byte{}, 0)), 9)
	for version := int16(0); version <= 10; version++ {
		req := fetchRequest("g")
		req.Topics, req.Groups[0].Topics = []kmsg.OffsetFetchRequestTopic{}, []kmsg.OffsetFetchRequestGroupTopic{}
		if got := s.fetched(req, version); len(got) != 0 {
			t.Errorf("v%d: %q", version, got)
		}
	}
}

// Many groups are answered in the order in which they were asked for.
func TestOffsetFetchManyGroups(t *testing.T) {
	s := newGroupStage(t)
	req := kmsg.NewPtrOffsetFetchRequest()
	for i := range 100 {
		id := fmt.Sprint("g", i)
		if i%2 == 0 {
			s.ask(commitRequest(id, commitTopic("a", [16]byte{}, 1)), 9)
		}
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = id
		req.Groups = append(req.Groups, g)
	}
	resp := s.ask(req, 9).(*kmsg.OffsetFetchResponse)
	if len(resp.Groups) != 100 {
		t.Fatalf("%d groups", len(resp.Groups))
	}
	for i, g := range resp.Groups {
		if g.Group != fmt.Sprint("g", i) || len(g.Topics) != 1-i%2 {
			t.Errorf("%d: %+v", i, g)
		}
	}
}

// Offsets of a topic that was deleted are none, and not those of one that has its name later, while the group still has
// them.
func TestOffsetsOfDeletedTopics(t *testing.T) {
	s := newGroupStage(t)
	s.create("b", 1)
	a, _ := s.catalog.Image().Topic("a")
	s.ask(commitRequest("g", commitTopic("a", [16]byte{}, 0)), 9)
	s.deleteTopics(deleteRequest(named("a")), 6)
	gone := func(what string) {
		t.Helper()
		if got := s.fetchOffset("g", "a", 0); got != -1 {
			t.Errorf("%s: offset %d", what, got)
		}
		for version := int16(2); version <= 10; version++ {
			if got := s.fetched(fetchRequest("g"), version); len(got) != 0 {
				t.Errorf("%s: v%d: %q", what, version, got)
			}
		}
	}
	gone("a topic that was deleted")
	expectCode(t, "commit", codesIn(s.ask(commitRequest("g", commitTopic("a", [16]byte{}, 0)), 9))[0], kerr.UnknownTopicOrPartition)
	if err := s.manager.Delete(t.Context(), "a", a.ID); err != nil {
		t.Fatal(err)
	}
	again := s.create("a", 2)
	gone("a topic that has just been created")
	if got := s.fetched(fetchRequest("g", fetchTopic("", again.ID, 0)), 10); !slices.Equal(got, []string{`g a by id/0: -1 "" epoch -1`}) {
		t.Errorf("%q", got)
	}
	s.ask(commitRequest("g", commitTopic("a", again.ID, 1)), 10)
	s.ask(commitRequest("g", commitTopic("b", [16]byte{}, 0)), 9)
	want := []string{`g a/1: 101 "m1" epoch 3`, `g b/0: 100 "m0" epoch 3`}
	if got := s.fetched(fetchRequest("g"), 9); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Commits that say when they expire are stored without the topic's id. They are of the topic all the same.
func TestOffsetsThatExpire(t *testing.T) {
	s := newGroupStage(t)
	a, _ := s.catalog.Image().Topic("a")
	brief := commitRequest("g", commitTopic("a", a.ID, 0))
	brief.RetentionTimeMillis = 3_600_000
	s.ask(brief, 3)
	s.ask(commitRequest("g", commitTopic("a", a.ID, 1)), 9)
	for version := int16(8); version <= 10; version++ {
		resp := s.ask(fetchRequest("g"), version).(*kmsg.OffsetFetchResponse)
		topics := resp.Groups[0].Topics
		if len(topics) != 1 || len(topics[0].Partitions) != 2 || topics[0].Partitions[0].Offset+topics[0].Partitions[1].Offset != 201 ||
			version >= 10 && topics[0].TopicID != a.ID {
			t.Errorf("v%d: %+v", version, topics)
		}
	}
	if got := s.fetched(fetchRequest("g", fetchTopic("a", a.ID, 0, 1)), 10); len(got) != 2 || s.fetchOffset("g", "a", 0) != 100 {
		t.Errorf("%q", got)
	}
}

// The group decides about commits that there are partitions for; nobody asks it about others.
func TestCommitOfAMember(t *testing.T) {
	s := newGroupStage(t)
	m := s.member("g")
	for _, test := range []struct {
		what       string
		member     string
		generation int32
		want       *kerr.Error
	}{
		{"a member", m.MemberID, 1, nil},
		{"an old generation", m.MemberID, 0, kerr.IllegalGeneration},
		{"a stranger", "nobody", 1, kerr.UnknownMemberID},
		{"one that assigns itself", "", -1, kerr.UnknownMemberID},
	} {
		req := commitRequest("g", commitTopic("nope", [16]byte{}, 0), commitTopic("a", [16]byte{}, 1, 9, 0))
		req.MemberID, req.Generation = test.member, test.generation
		for version := int16(1); version <= 9; version++ {
			code := int16(0)
			if test.want != nil {
				code = test.want.Code
			}
			unknown := kerr.UnknownTopicOrPartition.Code
			if got := codesIn(s.ask(req, version)); !slices.Equal(got, []int16{unknown, code, unknown, code}) {
				t.Errorf("%s, v%d: %v", test.what, version, got)
			}
		}
	}
	stranger := commitRequest("g", commitTopic("nope", [16]byte{}, 0))
	stranger.MemberID, stranger.Generation = "nobody", 4
	fail := context.DeadlineExceeded
	s.groups.fail.Store(&fail)
	expectCode(t, "nothing to decide", codesIn(s.ask(stranger, 9))[0], kerr.UnknownTopicOrPartition)
	if got := codesIn(s.ask(commitRequest("g"), 9)); len(got) != 0 {
		t.Errorf("a commit of nothing: %v", got)
	}
}

func TestOffsetDelete(t *testing.T) {
	s := newGroupStage(t)
	s.create("b", 1)
	ask := func(groupID string, topics ...kmsg.OffsetDeleteRequestTopic) *kmsg.OffsetDeleteResponse {
		t.Helper()
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group, req.Topics = groupID, topics
		return s.ask(req, 0).(*kmsg.OffsetDeleteResponse)
	}
	topic := func(name string, partitions ...int32) kmsg.OffsetDeleteRequestTopic {
		t := kmsg.OffsetDeleteRequestTopic{Topic: name}
		for _, p := range partitions {
			t.Partitions = append(t.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
		}
		return t
	}
	none := ask("none", topic("a", 0), topic("nope", 0))
	if expectCode(t, "no group", none.ErrorCode, kerr.GroupIDNotFound); len(none.Topics) != 0 {
		t.Errorf("%+v", none)
	}
	m := s.member("g") // which reads a
	commit := commitRequest("g", commitTopic("a", [16]byte{}, 0), commitTopic("b", [16]byte{}, 0))
	commit.MemberID, commit.Generation = m.MemberID, m.Generation
	s.ask(commit, 9)
	got := ask("g", topic("nope", 3), topic("b", 4, 0), topic("a", 0, 1))
	expectCode(t, "delete", got.ErrorCode, nil)
	result := func(p int32, err *kerr.Error) kmsg.OffsetDeleteResponseTopicPartition {
		r := kmsg.OffsetDeleteResponseTopicPartition{Partition: p}
		if err != nil {
			r.ErrorCode = err.Code
		}
		return r
	}
	want := []kmsg.OffsetDeleteResponseTopic{
		{Topic: "nope", Partitions: []kmsg.OffsetDeleteResponseTopicPartition{result(3, kerr.UnknownTopicOrPartition)}},
		{Topic: "b", Partitions: []kmsg.OffsetDeleteResponseTopicPartition{result(4, kerr.UnknownTopicOrPartition), result(0, nil)}},
		{Topic: "a", Partitions: []kmsg.OffsetDeleteResponseTopicPartition{
			result(0, kerr.GroupSubscribedToTopic), result(1, kerr.GroupSubscribedToTopic),
		}},
	}
	if !reflect.DeepEqual(got.Topics, want) {
		t.Errorf("%+v, want\n%+v", got.Topics, want)
	}
	if a, b := s.fetchOffset("g", "a", 0), s.fetchOffset("g", "b", 0); a != 100 || b != -1 {
		t.Errorf("offsets are %d and %d", a, b)
	}
}
