package placement

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestSingle(t *testing.T) {
	rack := "r"
	s := NewSingle("c", 3, Broker{NodeID: 7, Rack: &rack})
	if s.ClusterID() != "c" || s.Controller() != 7 {
		t.Errorf("%s %d", s.ClusterID(), s.Controller())
	}
	l := s.Leader([16]byte{1}, 5)
	if l.NodeID != 7 || l.Epoch != 3 || !slices.Equal(l.Replicas, []int32{7}) || !slices.Equal(l.ISR, []int32{7}) || len(l.Offline) != 0 {
		t.Errorf("%+v", l)
	}
	for kind := int8(0); kind < 2; kind++ { // groups and transactional ids
		if id, err := s.Coordinator(kind, "k"); id != 7 || err != nil {
			t.Errorf("coordinator of kind %d: %d, %v", kind, id, err)
		}
	}
	if _, err := s.Coordinator(2, "k"); !errors.Is(err, kerr.CoordinatorNotAvailable) {
		t.Errorf("coordinator of a share group: %v", err)
	}
}

func TestAdvertise(t *testing.T) {
	rack := "r"
	s := NewSingle("c", 1, Broker{NodeID: 7, Rack: &rack})
	if b := s.Brokers("PLAINTEXT"); len(b) != 0 {
		t.Errorf("told before anything is advertised: %+v", b)
	}
	s.Advertise(map[string]Address{"PLAINTEXT": {"inside", 9092}, "EXTERNAL": {"2001:db8::1", 19092}})
	for listener, want := range map[string]Address{"PLAINTEXT": {"inside", 9092}, "EXTERNAL": {"2001:db8::1", 19092}} {
		b := s.Brokers(listener)
		if len(b) != 1 || b[0].NodeID != 7 || b[0].Host != want.Host || b[0].Port != want.Port || b[0].Rack == nil || *b[0].Rack != "r" {
			t.Errorf("%s: %+v", listener, b)
		}
	}
	if b := s.Brokers("OTHER"); len(b) != 0 {
		t.Errorf("a listener that is not advertised shows %+v", b)
	}
	s.Advertise(map[string]Address{"EXTERNAL": {"elsewhere", 1}})
	if b := s.Brokers("EXTERNAL"); len(b) != 1 || b[0].Host != "elsewhere" || len(s.Brokers("PLAINTEXT")) != 0 {
		t.Errorf("after another call: %+v", b)
	}
}

// TestAdvertiseWhileAsked: whoever asks sees the addresses from before or from after, never some of each.
func TestAdvertiseWhileAsked(t *testing.T) {
	s := NewSingle("c", 1, Broker{NodeID: 1})
	var group sync.WaitGroup
	group.Go(func() {
		for n := range int32(500) {
			s.Advertise(map[string]Address{"A": {"h", n + 1}})
		}
	})
	last := int32(0)
	for range 500 {
		if b := s.Brokers("A"); len(b) == 1 {
			if b[0].Port < last || b[0].Host != "h" {
				t.Fatalf("%+v after port %d", b, last)
			}
			last = b[0].Port
		}
	}
	group.Wait()
}
