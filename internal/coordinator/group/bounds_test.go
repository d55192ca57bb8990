package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

func joinOf(group, member string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.ProtocolType = 9, group, member, consumerProtocol
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 10_000, 60_000
	r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadataOf("t")}}
	return r
}

// TestJoinBounds refuses what is larger than any client needs, before it is kept.
func TestJoinBounds(t *testing.T) {
	long := strings.Repeat("x", maxString+1)
	for _, c := range []struct {
		name   string
		change func(r *kmsg.JoinGroupRequest, c *Client)
		want   *kerr.Error
	}{
		{"group id", func(r *kmsg.JoinGroupRequest, _ *Client) { r.Group = long }, kerr.InvalidGroupID},
		{"member id", func(r *kmsg.JoinGroupRequest, _ *Client) { r.MemberID = long }, kerr.InvalidRequest},
		{"instance id", func(r *kmsg.JoinGroupRequest, _ *Client) { r.InstanceID = &long }, kerr.InvalidRequest},
		{"protocol type", func(r *kmsg.JoinGroupRequest, _ *Client) { r.ProtocolType = long }, kerr.InvalidRequest},
		{"client id", func(_ *kmsg.JoinGroupRequest, c *Client) { c.ID = long }, kerr.InvalidRequest},
		{"protocol name", func(r *kmsg.JoinGroupRequest, _ *Client) { r.Protocols[0].Name = long }, kerr.InconsistentGroupProtocol},
		{"protocols", func(r *kmsg.JoinGroupRequest, _ *Client) {
			for n := range maxProtocols {
				r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: fmt.Sprint(n)})
			}
		}, kerr.InvalidRequest},
		{"metadata", func(r *kmsg.JoinGroupRequest, _ *Client) { r.Protocols[0].Metadata = make([]byte, maxMetadata+1) }, kerr.InvalidRequest},
	} {
		w := newWorld(t, testOptions())
		r, client := joinOf("g", ""), Client{ID: "c", Host: "/h"}
		c.change(r, &client)
		_, fx := w.do(Input{Client: client, Request: r})
		if got := fx.Replies[0].Message.(*kmsg.JoinGroupResponse).ErrorCode; got != c.want.Code {
			t.Errorf("%s: %v, want %v", c.name, errorName(got), c.want)
		}
		if len(w.m.groups) > 0 {
			t.Errorf("%s leaves a group behind", c.name)
		}
	}
}

// TestPendingBound: who only ever asks for ids gets no more of them at some point, and others neither for a while.
func TestPendingBound(t *testing.T) {
	o := testOptions()
	ids := 0
	o.MemberID = func(prefix string) string { ids++; return fmt.Sprintf("%s-%d", prefix, ids) }
	m := New(o)
	m.Loaded(start)
	codes := map[int16]int{}
	for n := range maxPending + 5 {
		fx := m.Handle(start, coordinator.Token(n), Input{Client: Client{ID: "c"}, Request: joinOf("g", "")})
		codes[fx.Replies[0].Message.(*kmsg.JoinGroupResponse).ErrorCode]++
	}
	if codes[kerr.MemberIDRequired.Code] != maxPending || codes[kerr.CoordinatorLoadInProgress.Code] != 5 {
		t.Fatalf("%v", codes)
	}
	for now, left := start.Add(10*time.Second), maxPending; left > 0; {
		fx := m.Expire(now)
		before := left
		left = len(m.groups["g"].pending)
		if before-left != firesAtOnce || fx.Deadline.IsZero() {
			t.Fatalf("of %d ids that are due %d are left after a call; the next one at %v", before, left, fx.Deadline)
		}
	}
}

// TestMetadataBound: the members of a group together may not fill the memory.
func TestMetadataBound(t *testing.T) {
	w := newWorld(t, testOptions())
	for n := range 2 * maxOffered / maxMetadata {
		r := joinOf("g", "")
		r.Version = 3
		r.Protocols[0].Metadata = make([]byte, maxMetadata)
		w.m.Handle(w.now, coordinator.Token(n), Input{Request: r})
	}
	if taken := len(w.m.groups["g"].members); taken < maxOffered/maxMetadata || taken > maxOffered/maxMetadata+1 {
		t.Fatalf("%d members with a MiB each", taken)
	}
}

// TestSweepsInSteps: what concerns many groups is done in batches that a log takes, and a request that asks for it is
// answered when all is done.
func TestSweepsInSteps(t *testing.T) {
	o := testOptions()
	m := New(o)
	const groups = 3*stepGroups + 7
	for n := range groups {
		must(m.Apply(offsetRecord(fmt.Sprintf("g%05d", n), "t", 0, &committed{at: start.UnixMilli(), expires: noTime})))
		must(m.Apply(offsetRecord(fmt.Sprintf("g%05d", n), "u", 0, &committed{at: start.UnixMilli(), expires: noTime})))
	}
	m.Loaded(start)
	count := func(fx coordinator.Effects, now time.Time) (records, steps int, replies []coordinator.Reply) {
		for steps = 1; ; steps++ {
			if len(fx.Records) > stepTombstones+2 {
				t.Fatalf("a step writes %d records", len(fx.Records))
			}
			records += len(fx.Records)
			replies = append(replies, fx.Replies...)
			if fx.Deadline.After(now) {
				return records, steps, replies
			}
			fx = m.Expire(now)
		}
	}
	records, steps, replies := count(m.Handle(start, 1, Input{Request: TopicsDeleted{without("t")}}), start)
	if records != groups || steps != 4 || len(replies) != 1 || replies[0].Message != (Dropped{groups}) {
		t.Fatalf("%d records in %d steps, replies %v", records, steps, replies)
	}
	if _, steps, _ = count(m.Handle(start, 2, Input{Request: TopicsDeleted{without("nothing")}}), start); steps != 4 {
		t.Fatalf("%d groups are looked at in %d steps", groups, steps)
	}
	now := start.Add(o.OffsetsRetention)
	records, steps, _ = count(m.Expire(now), now)
	if records != 2*groups || steps < 6 || len(m.groups) != 0 {
		t.Fatalf("%d records in %d steps, and %d groups are left", records, steps, len(m.groups))
	}
}

// TestUnknownRequest is answered, too.
func TestUnknownRequest(t *testing.T) {
	w := newWorld(t, testOptions())
	_, fx := w.do(Input{Request: "?"})
	if _, ok := fx.Replies[0].Message.(error); !ok {
		t.Fatalf("%v", fx.Replies)
	}
}

// TestRebalanceOfNobody: static members that asked for no time at all and do not come back do not keep the machine busy.
func TestRebalanceOfNobody(t *testing.T) {
	w := newWorld(t, testOptions())
	instance := "i"
	static, dynamic := joinOf("g", ""), joinOf("g", "")
	static.InstanceID, dynamic.Version = &instance, 3
	w.do(Input{Request: static})
	w.do(Input{Request: dynamic, Client: Client{ID: "c"}})
	w.advance(0, func(coordinator.Effects) {})
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = "g", w.m.groups["g"].leader, 1
	w.do(Input{Request: sync})
	static.RebalanceTimeoutMillis = 0
	w.do(Input{Request: static}) // it restarts, and asks for no time from now on
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group, leave.MemberID = "g", "c-2"
	w.do(Input{Request: leave})
	if g := w.m.groups["g"]; g.state != PreparingRebalance || len(g.members) != 1 || g.rebalanceTimeout() != 0 {
		t.Fatalf("%s", saidOf(g))
	}
	w.advance(time.Minute, func(coordinator.Effects) {}) // which fails if it is
	if g := w.m.groups["g"]; g.state != Empty {
		t.Fatalf("%s", saidOf(g))
	}
}

// without knows all topics but one.
func without(deleted string) func(string, [16]byte) bool {
	return func(topic string, _ [16]byte) bool { return topic != deleted }
}
