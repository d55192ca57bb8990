package handler

import (
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/config"
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

// The first question about a group makes the topic of groups; the first join finds it there.
func TestOffsetsTopic(t *testing.T) {
	s := newStage(t, "offsets.topic.num.partitions", "4", "offsets.topic.segment.bytes", "2000000",
		"offsets.topic.compression.codec", "3", "auto.create.topics.enable", "false")
	s.view.coordinator = nodeID
	find := func(keys ...string) *kmsg.FindCoordinatorResponse {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKeys = keys
		return s.ask(req, 6).(*kmsg.FindCoordinatorResponse)
	}
	list := func() *kmsg.ListGroupsResponse {
		return s.ask(kmsg.NewPtrListGroupsRequest(), 5).(*kmsg.ListGroupsResponse)
	}
	if resp := list(); resp.ErrorCode != 0 || len(resp.Groups) != 0 {
		t.Errorf("groups before there can be any: %+v", resp)
	}
	expectCode(t, "a heartbeat before there can be groups",
		s.ask(heartbeatRequest("g", "m", 1), 4).(*kmsg.HeartbeatResponse).ErrorCode, kerr.NotCoordinator)
	var meanwhile []error
	s.catalog.before = func() { // somebody else is faster
		s.catalog.before = nil
		meanwhile = append(meanwhile, s.createOffsetsTopic())
	}
	for _, c := range find("a", "b").Coordinators {
		expectCode(t, "find", c.ErrorCode, nil)
	}
	if len(meanwhile) != 1 || meanwhile[0] != nil {
		t.Fatalf("%v", meanwhile)
	}
	topic, ok := s.catalog.Image().Topic(catalog.GroupOffsetsTopic)
	want := map[string]string{"cleanup.policy": "compact", "compression.type": "lz4", "segment.bytes": "2000000"}
	if !ok || topic.Partitions != 4 || topic.ReplicationFactor != 1 || !topic.Internal || !maps.Equal(topic.Configs, want) {
		t.Errorf("%+v", topic)
	}
	version := s.catalog.Image().Version()
	if find("c"); s.catalog.Image().Version() != version {
		t.Error("made again")
	}
}

// A topic of groups that cannot be made is told as Kafka tells it; clients ask again.
func TestOffsetsTopicCannotBeMade(t *testing.T) {
	for _, settings := range [][]string{
		{"offsets.topic.replication.factor", "3"},
		{"max.partitions", "10", "offsets.topic.num.partitions", "300"},
		nil, // the catalog fails
	} {
		s := newStage(t, settings...)
		s.view.coordinator = nodeID
		if settings == nil {
			s.catalog.fail = errDisk
		}
		req := kmsg.NewPtrFindCoordinatorRequest()
		for version := int16(0); version < 4; version++ {
			resp := s.ask(req, version).(*kmsg.FindCoordinatorResponse)
			if expectCode(t, "find", resp.ErrorCode, kerr.CoordinatorNotAvailable); resp.NodeID != -1 {
				t.Errorf("v%d: %+v", version, resp)
			}
		}
	}
}

func TestCompressionByID(t *testing.T) {
	for id, want := range map[int64]config.Compression{
		-1: "producer", 0: "producer", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd", 5: "producer",
	} {
		if got := compressionByID(id); got != want {
			t.Errorf("%d: %s, want %s", id, got, want)
		}
	}
}

// createOffsetsTopic makes the topic as the handler does.
func (s *stage) createOffsetsTopic() error {
	creator := &topicCreator{broker: s.Context(), store: s.catalog, config: func() *config.Layers { return s.layers }, view: s.view,
		room: &partitionLimit{}}
	return (&coordinatorTopics{image: s.catalog.Image, config: creator.config, creator: creator}).ensure("INTERNAL", groupCoordinator)
}
