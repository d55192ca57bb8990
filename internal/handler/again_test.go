package handler

import (
	"errors"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
	"segue/protocol"
)

// A request that names one group again and again holds no more than it has claimed by the time at which its answer is
// accounted for.
func TestGroupsNamedAgain(t *testing.T) {
	s := newGroupStage(t)
	s.create("wide", 500)
	partitions := make([]int32, 500)
	for i := range partitions {
		partitions[i] = int32(i)
	}
	s.ask(commitRequest("g", commitTopic("wide", [16]byte{}, partitions...)), 9)
	for range 20 { // they wait for nobody to sync: what is described is who has joined
		s.async(t.Context(), joinRequest("h", ""), 3)
	}
	for len(s.describeGroup("h", 6).Members) < 20 {
		runtime.Gosched()
	}
	fetch, describe := kmsg.NewPtrOffsetFetchRequest(), kmsg.NewPtrDescribeGroupsRequest()
	for range 1000 {
		fetch.Groups = append(fetch.Groups, kmsg.OffsetFetchRequestGroup{Group: "g", MemberEpoch: -1})
		describe.Groups = append(describe.Groups, "h")
	}
	fetch.Groups[500].Topics = []kmsg.OffsetFetchRequestGroupTopic{fetchTopic("wide", [16]byte{}, 7)}
	for i, g := range s.ask(fetch, 9).(*kmsg.OffsetFetchResponse).Groups {
		want := 500
		if i == 500 {
			want = 1
		}
		if g.Group != "g" || len(g.Topics) != 1 || len(g.Topics[0].Partitions) != want {
			t.Fatalf("%d: %+v", i, g)
		}
	}
	for i, g := range s.ask(describe, 6).(*kmsg.DescribeGroupsResponse).Groups {
		if g.Group != "h" || len(g.Members) != 20 {
			t.Fatalf("%d: %+v", i, g)
		}
	}
	s.checkHandled(fetch, 9)
	s.checkHandled(describe, 6)
}

// checkHandled compares what a handler allocates, before the size of its answer is known, with what was claimed.
func (s *stage) checkHandled(m kmsg.Request, version int16) {
	s.Helper()
	r := s.request(m, version)
	row := s.rows[m.Key()]
	measured, err := protocol.Measure(r.Header, m.AppendTo(nil))
	if err != nil {
		s.Fatal(err)
	}
	cost := server.HandlingFactor * measured.Size
	if row.Cost != nil {
		cost = row.Cost(r, measured.Size)
	}
	took := allocated(func() {
		if _, err := row.Handle(s.Context(), r); err != nil {
			s.Error(err)
		}
	})
	if took > cost+cost/2 {
		s.Errorf("%T: %d bytes were allocated, %d claimed", m, took, cost)
	}
}

// A topic of groups that cannot be made is tried once in a request, however many groups that asks about.
func TestOffsetsTopicTriedOnce(t *testing.T) {
	s := newStage(t)
	s.view.coordinator = nodeID
	s.catalog.fail = errors.New("no space left on device")
	tries := 0
	var count func()
	count = func() {
		tries++
		s.catalog.before = count
	}
	s.catalog.before = count
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKeys = make([]string, 100)
	for _, c := range s.ask(req, 6).(*kmsg.FindCoordinatorResponse).Coordinators {
		expectCode(t, "find", c.ErrorCode, kerr.CoordinatorNotAvailable)
	}
	if tries != 1 {
		t.Errorf("%d tries", tries)
	}
}
