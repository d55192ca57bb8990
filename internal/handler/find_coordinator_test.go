package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

func TestFindCoordinator(t *testing.T) {
	share := "g:with:colons:" + catalog.FormatID(catalog.NewTopicID()) + ":3"
	tests := []struct {
		name     string
		from, to int16 // versions
		kind     int8
		key      string
		want     *kerr.Error // once there is a coordinator
	}{
		{"a group", 0, 6, groupCoordinator, "g", nil},
		{"a group with an empty id", 0, 6, groupCoordinator, "", nil},
		{"a transaction", 1, 6, transactionCoordinator, "t", nil},
		{"version 0 knows groups only", 0, 0, transactionCoordinator, "t", nil},
		{"a share group before there were any", 1, 5, shareCoordinator, share, kerr.InvalidRequest},
		{"a share group", 6, 6, shareCoordinator, share, nil},
		{"a share group without a topic", 6, 6, shareCoordinator, "g", kerr.InvalidRequest},
		{"a share group without a group", 6, 6, shareCoordinator, share[len("g:with:colons"):], kerr.InvalidRequest},
		{"a share group with a bad topic id", 6, 6, shareCoordinator, "g:topic:3", kerr.InvalidRequest},
		{"a share group with a bad partition", 6, 6, shareCoordinator, share + "x", kerr.InvalidRequest},
		{"a kind that is none", 1, 6, 3, "g", kerr.InvalidRequest},
		{"a negative kind", 1, 6, -1, "g", kerr.InvalidRequest},
	}
	for _, test := range tests {
		for _, node := range []int32{0, nodeID, 99} { // none, this one, one that is not there
			s := newStage(t)
			s.view.coordinator = node
			want := test.want
			if want == nil && node != nodeID {
				want = kerr.CoordinatorNotAvailable
			}
			for version := test.from; version <= test.to; version++ {
				req := kmsg.NewPtrFindCoordinatorRequest()
				req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = test.kind, test.key, []string{test.key, test.key}
				resp := s.ask(req, version).(*kmsg.FindCoordinatorResponse)
				found := resp.Coordinators
				if version < 4 {
					found = []kmsg.FindCoordinatorResponseCoordinator{{NodeID: resp.NodeID, Host: resp.Host, Port: resp.Port, ErrorCode: resp.ErrorCode, Key: test.key}}
				} else if len(found) != 2 {
					t.Fatalf("%s (v%d): %d coordinators for 2 keys", test.name, version, len(found))
				}
				for _, c := range found {
					expectCode(t, test.name, c.ErrorCode, want)
					if c.Key != test.key {
						t.Errorf("%s (v%d): key %q", test.name, version, c.Key)
					}
					here := c.NodeID == nodeID && c.Host == "internal" && c.Port == 9000
					nowhere := c.NodeID == -1 && c.Host == "" && c.Port == -1
					if want == nil && !here || want != nil && !nowhere {
						t.Errorf("%s (v%d): %+v", test.name, version, c)
					}
				}
			}
		}
	}
}
