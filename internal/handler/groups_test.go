package handler

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

// newGroupStage makes a stage with the topic of groups, whose shards are loaded, and a topic a of two partitions.
func newGroupStage(t *testing.T, settings ...string) *stage {
	t.Helper()
	s := newStage(t, append([]string{"offsets.topic.num.partitions", "3"}, settings...)...)
	s.view.coordinator = nodeID
	s.client.Remote = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000}
	s.create(catalog.GroupOffsetsTopic, 3)
	s.create("a", 2)
	for s.runtime.Stats().Serving < 3 {
		runtime.Gosched()
	}
	return s
}

// consumes is a ConsumerProtocolSubscription of version 0 to some topics.
func consumes(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

func joinRequest(groupID, memberID string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = groupID, memberID, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 60_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: consumes("a")}}
	return req
}

func syncRequest(j *kmsg.JoinGroupResponse, groupID string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = groupID, j.MemberID, j.Generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	for _, m := range j.Members {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
			MemberID: m.MemberID, MemberAssignment: []byte("for " + m.MemberID),
		})
	}
	return req
}

func heartbeatRequest(groupID, memberID string, generation int32) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = groupID, memberID, generation
	return req
}

func leaveRequest(groupID, memberID string) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = groupID, memberID
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: memberID}}
	return req
}

// join has a member join, which comes back with the id that it is given where it must.
func (s *stage) join(groupID, memberID string, version int16) *kmsg.JoinGroupResponse {
	s.Helper()
	resp := s.ask(joinRequest(groupID, memberID), version).(*kmsg.JoinGroupResponse)
	if resp.ErrorCode == kerr.MemberIDRequired.Code {
		resp = s.ask(joinRequest(groupID, resp.MemberID), version).(*kmsg.JoinGroupResponse)
	}
	return resp
}

// member has a lone member join and sync.
func (s *stage) member(groupID string) *kmsg.JoinGroupResponse {
	s.Helper()
	joined := s.join(groupID, "", 9)
	expectCode(s.T, "join", joined.ErrorCode, nil)
	expectCode(s.T, "sync", s.ask(syncRequest(joined, groupID), 5).(*kmsg.SyncGroupResponse).ErrorCode, nil)
	return joined
}

// async has a request answered meanwhile. The context is the connection's.
func (s *stage) async(ctx context.Context, m kmsg.Request, version int16) <-chan kmsg.Response {
	s.Helper()
	r := s.request(m, version)
	done := make(chan kmsg.Response, 1)
	go func() {
		answer, err := s.rows[r.Key].Handle(ctx, r)
		if err != nil {
			s.Error(err)
		}
		done <- s.decode(r, answer)
	}()
	return done
}

// await waits until a group is in a state.
func (s *stage) await(groupID, state string) {
	s.Helper()
	for {
		g := s.describeGroup(groupID, 6)
		if g.State == state {
			return
		}
		runtime.Gosched()
	}
}

func (s *stage) describeGroup(groupID string, version int16) kmsg.DescribeGroupsResponseGroup {
	s.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups, req.IncludeAuthorizedOperations = []string{groupID}, true
	return s.ask(req, version).(*kmsg.DescribeGroupsResponse).Groups[0]
}

// A group lives from its first member to its end in every version of the APIs that it takes.
func TestGroupEveryVersion(t *testing.T) {
	s := newGroupStage(t)
	at := func(m kmsg.Request, version int16) kmsg.Response {
		t.Helper()
		return s.ask(m, min(version, s.rows[m.Key()].Max))
	}
	for version := int16(0); version <= 10; version++ {
		id := fmt.Sprintf("group of v%d", version)
		joined := s.join(id, "", min(version, 9))
		what := fmt.Sprintf("v%d", version)
		expectCode(t, what+" join", joined.ErrorCode, nil)
		if joined.Generation != 1 || joined.LeaderID != joined.MemberID || len(joined.Members) != 1 || *joined.Protocol != "range" ||
			version >= 7 && *joined.ProtocolType != "consumer" {
			t.Fatalf("%s: joined %+v", what, joined)
		}
		synced := at(syncRequest(joined, id), version).(*kmsg.SyncGroupResponse)
		expectCode(t, what+" sync", synced.ErrorCode, nil)
		if string(synced.MemberAssignment) != "for "+joined.MemberID {
			t.Errorf("%s: assigned %q", what, synced.MemberAssignment)
		}
		beat := at(heartbeatRequest(id, joined.MemberID, 1), version).(*kmsg.HeartbeatResponse)
		expectCode(t, what+" heartbeat", beat.ErrorCode, nil)
		s.describeStable(id, joined.MemberID, min(version, 6))
		s.listed(id, "Stable", min(version, 5))
		left := at(leaveRequest(id, joined.MemberID), version).(*kmsg.LeaveGroupResponse)
		expectCode(t, what+" leave", left.ErrorCode, nil)
		if version >= 3 && (len(left.Members) != 1 || left.Members[0].MemberID != joined.MemberID || left.Members[0].ErrorCode != 0) {
			t.Errorf("%s: left %+v", what, left)
		}
		s.listed(id, "Empty", min(version, 5))
		remove := kmsg.NewPtrDeleteGroupsRequest()
		remove.Groups = []string{id, "none", id}
		removed := at(remove, version).(*kmsg.DeleteGroupsResponse).Groups
		if len(removed) != 2 || removed[0].Group != id || removed[1].Group != "none" {
			t.Fatalf("%s: removed %+v", what, removed)
		}
		expectCode(t, what+" delete", removed[0].ErrorCode, nil)
		expectCode(t, what+" delete", removed[1].ErrorCode, kerr.GroupIDNotFound)
		s.listed(id, "", min(version, 5))
	}
}

func (s *stage) describeStable(id, memberID string, version int16) {
	s.Helper()
	g := s.describeGroup(id, version)
	expectCode(s.T, "describe", g.ErrorCode, nil)
	if g.Group != id || g.State != "Stable" || g.ProtocolType != "consumer" || g.Protocol != "range" || len(g.Members) != 1 {
		s.Fatalf("v%d: %+v", version, g)
	}
	if version >= 3 && g.AuthorizedOperations != groupOperations {
		s.Errorf("v%d: operations %b", version, g.AuthorizedOperations)
	}
	m := g.Members[0]
	if m.MemberID != memberID || m.ClientID != "test" || m.ClientHost != "/127.0.0.1" || string(m.MemberAssignment) != "for "+memberID ||
		!slices.Equal(m.ProtocolMetadata, consumes("a")) {
		s.Errorf("v%d: %+v", version, m)
	}
	dead := s.describeGroup("none", version)
	if dead.State != "Dead" || (dead.ErrorCode == kerr.GroupIDNotFound.Code) != (version >= 6) {
		s.Errorf("v%d: a group that there is not: %+v", version, dead)
	}
}

// listed expects a group in a state, or not at all where the state is empty, under filters too.
func (s *stage) listed(id, state string, version int16) {
	s.Helper()
	for _, filters := range [][2][]string{{nil, nil}, {{"stable", "EMPTY"}, {"Classic"}}, {{"Dead"}, nil}, {nil, {"consumer"}}} {
		req := kmsg.NewPtrListGroupsRequest()
		req.StatesFilter, req.TypesFilter = filters[0], filters[1]
		resp := s.ask(req, version).(*kmsg.ListGroupsResponse)
		expectCode(s.T, "list", resp.ErrorCode, nil)
		i := slices.IndexFunc(resp.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return g.Group == id })
		none := version >= 4 && slices.Equal(filters[0], []string{"Dead"}) || version >= 5 && slices.Equal(filters[1], []string{"consumer"})
		if (i >= 0) != (state != "" && !none) {
			s.Errorf("v%d: filters %v: %+v", version, filters, resp.Groups)
			continue
		}
		if i < 0 {
			continue
		}
		g := resp.Groups[i]
		if g.ProtocolType != "consumer" || version >= 4 && g.GroupState != state || version >= 5 && g.GroupType != "classic" {
			s.Errorf("v%d: %+v", version, g)
		}
	}
}

// A JoinGroup waits for the others, and a SyncGroup for the leader.
func TestTwoMembers(t *testing.T) {
	s := newGroupStage(t)
	first := s.member("g")
	required := s.ask(joinRequest("g", ""), 9).(*kmsg.JoinGroupResponse)
	expectCode(t, "second without an id", required.ErrorCode, kerr.MemberIDRequired)
	waiting := s.async(t.Context(), joinRequest("g", required.MemberID), 9)
	s.await("g", "PreparingRebalance")
	beat := s.ask(heartbeatRequest("g", first.MemberID, 1), 4).(*kmsg.HeartbeatResponse)
	expectCode(t, "heartbeat in a rebalance", beat.ErrorCode, kerr.RebalanceInProgress)
	first = s.join("g", first.MemberID, 9)
	second := (<-waiting).(*kmsg.JoinGroupResponse)
	if first.Generation != 2 || second.Generation != 2 || first.LeaderID != first.MemberID || second.LeaderID != first.MemberID ||
		len(first.Members) != 2 || len(second.Members) != 0 {
		t.Fatalf("%+v\n%+v", first, second)
	}
	follower := s.async(t.Context(), syncRequest(second, "g"), 5)
	leader := s.ask(syncRequest(first, "g"), 5).(*kmsg.SyncGroupResponse)
	followed := (<-follower).(*kmsg.SyncGroupResponse)
	if string(leader.MemberAssignment) != "for "+first.MemberID || string(followed.MemberAssignment) != "for "+second.MemberID {
		t.Errorf("%+v\n%+v", leader, followed)
	}
}

// A client that goes away ends its waits.
func TestWaitsEndWithTheConnection(t *testing.T) {
	s := newGroupStage(t)
	first := s.member("g")
	required := s.ask(joinRequest("g", ""), 9).(*kmsg.JoinGroupResponse)
	ctx, gone := context.WithCancel(t.Context())
	waiting := s.async(ctx, joinRequest("g", required.MemberID), 9)
	s.await("g", "PreparingRebalance")
	gone()
	expectCode(t, "join", (<-waiting).(*kmsg.JoinGroupResponse).ErrorCode, kerr.RequestTimedOut)

	// The group waits for it to come back.
	again := s.async(t.Context(), joinRequest("g", required.MemberID), 9)
	s.join("g", first.MemberID, 9)
	second := (<-again).(*kmsg.JoinGroupResponse)
	expectCode(t, "join again", second.ErrorCode, nil)
	ctx, gone = context.WithCancel(t.Context())
	follower := s.async(ctx, syncRequest(second, "g"), 5)
	gone()
	expectCode(t, "sync", (<-follower).(*kmsg.SyncGroupResponse).ErrorCode, kerr.RequestTimedOut)
}

// What a client has sent before it went takes effect, but for a JoinGroup.
func TestCommandsOfClientsThatAreGone(t *testing.T) {
	s := newGroupStage(t)
	ctx, gone := context.WithCancel(t.Context())
	gone()
	resp := (<-s.async(ctx, joinRequest("none", ""), 3)).(*kmsg.JoinGroupResponse)
	expectCode(t, "join", resp.ErrorCode, kerr.RequestTimedOut)
	if g := s.describeGroup("none", 5); g.State != "Dead" {
		t.Errorf("a client that is gone has joined: %+v", g)
	}

	joined := s.join("g", "", 9)
	synced := (<-s.async(ctx, syncRequest(joined, "g"), 5)).(*kmsg.SyncGroupResponse)
	expectCode(t, "sync", synced.ErrorCode, nil)
	if g := s.describeGroup("g", 5); g.State != "Stable" {
		t.Errorf("the assignment of a leader that is gone: %+v", g)
	}
	commit := commitRequest("g", commitTopic("a", [16]byte{}, 0))
	commit.MemberID, commit.Generation = joined.MemberID, joined.Generation
	expectCode(t, "commit", (<-s.async(ctx, commit, 9)).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, nil)
	if got := s.fetchOffset("g", "a", 0); got != 100 {
		t.Errorf("offset %d after the commit of a client that is gone", got)
	}
	left := (<-s.async(ctx, leaveRequest("g", joined.MemberID), 5)).(*kmsg.LeaveGroupResponse)
	expectCode(t, "leave", left.ErrorCode, nil)
	if g := s.describeGroup("g", 5); g.State != "Empty" {
		t.Errorf("a member that has left: %+v", g)
	}
}

func TestJavaHost(t *testing.T) {
	for _, test := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(10, 0, 200, 3), Port: 1}, "/10.0.200.3"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:10.0.200.3"), Port: 1}, "/10.0.200.3"},
		{&net.TCPAddr{IP: net.IPv6loopback}, "/0:0:0:0:0:0:0:1"},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::ff00:42:8329")}, "/2001:db8:0:0:0:ff00:42:8329"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "/fe80:0:0:0:0:0:0:1%eth0"},
		{&net.UnixAddr{Name: "x"}, ""},
		{nil, ""},
	} {
		if got := javaHost(test.addr); got != test.want {
			t.Errorf("%v: %q, want %q", test.addr, got, test.want)
		}
	}
}

// A client that says no id, or a long one, is a member like any.
func TestClientIDs(t *testing.T) {
	s := newGroupStage(t)
	long := string(slices.Repeat([]byte{'x'}, 300))
	for i, id := range []*string{nil, &long} {
		name := fmt.Sprint("g", i)
		r := s.request(joinRequest(name, ""), 3)
		r.ClientID = id
		answer, err := s.rows[r.Key].Handle(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		resp := s.decode(r, answer).(*kmsg.JoinGroupResponse)
		expectCode(t, "join", resp.ErrorCode, nil)
		want := ""
		if id != nil {
			want = *id
		}
		if m := s.describeGroup(name, 6).Members; len(m) != 1 || m[0].ClientID != want {
			t.Errorf("%+v", m)
		}
	}
}
