package handler

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/partition"
	"segue/storage/record"
)

// produceAt appends a batch with a record for each time and waits until it is committed.
func (s *stage) produceAt(topic *catalog.Topic, number int32, times ...int64) {
	s.Helper()
	b := record.NewBuilder(0)
	for _, at := range times {
		b.Add(at, nil, []byte("v"))
	}
	batch, err := b.Build()
	if err != nil {
		s.Fatal(err)
	}
	ack, err := s.partition(topic, number).Append(s.Context(), -1, batch, partition.Client)
	if err == nil {
		err = ack.Wait(s.Context())
	}
	if err != nil {
		s.Fatal(err)
	}
}

func listRequest(topic string, number int32, timestamp int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = consumerReplicaID
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.MaxNumOffsets = number, timestamp, 1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func (s *stage) list(req *kmsg.ListOffsetsRequest, version int16) kmsg.ListOffsetsResponseTopicPartition {
	s.Helper()
	resp := s.ask(req, version).(*kmsg.ListOffsetsResponse)
	if len(resp.Topics) == 0 || resp.Topics[0].Topic != req.Topics[0].Topic || len(resp.Topics[0].Partitions) == 0 {
		s.Fatalf("%+v", resp.Topics)
	}
	return resp.Topics[0].Partitions[0]
}

func TestListOffsets(t *testing.T) {
	tests := []struct {
		timestamp int64
		since     int16 // the first version that has it
		want      string
	}{
		{latestTimestamp, 1, "5 at -1 in epoch 3"},
		{earliestTimestamp, 1, "1 at -1 in epoch 3"},
		{maxTimestamp, 7, "3 at 400 in epoch 3"},
		{earliestLocalTimestamp, 8, "1 at -1 in epoch 3"},
		{latestTieredTimestamp, 9, "-1 at -1 in epoch -1"},
		{earliestPendingUploadTimestamp, 11, "-1 at -1 in epoch -1"},
		{-7, 99, ""},
		{0, 1, "1 at 200 in epoch 3"},
		{200, 1, "1 at 200 in epoch 3"},
		{201, 1, "3 at 400 in epoch 3"},
		{300, 1, "3 at 400 in epoch 3"},
		{401, 1, "-1 at -1 in epoch -1"},
	}
	s := newStage(t)
	topic := s.create("a", 2)
	s.produceAt(topic, 1, 100, 200, 150)
	s.produceAt(topic, 1, 400, 300)
	if _, err := s.partition(topic, 1).DeleteBefore(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		for version := int16(1); version <= 11; version++ {
			for isolation := range int8(2) {
				req := listRequest("a", 1, test.timestamp)
				req.IsolationLevel = isolation
				got := s.list(req, version)
				name := fmt.Sprintf("time %d, v%d, isolation level %d", test.timestamp, version, isolation)
				if version < test.since {
					expectCode(t, name, got.ErrorCode, kerr.UnsupportedVersion)
					continue
				}
				expectCode(t, name, got.ErrorCode, nil)
				if version < 4 {
					got.LeaderEpoch = -1
					if test.want[0] != '-' {
						got.LeaderEpoch = leaderEpoch // it is not there to be compared
					}
				}
				if found := fmt.Sprintf("%d at %d in epoch %d", got.Offset, got.Timestamp, got.LeaderEpoch); found != test.want {
					t.Errorf("%s: %s, want %s", name, found, test.want)
				}
			}
		}
	}
}

func TestListOffsetsOfAnEmptyPartition(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	for timestamp, want := range map[int64]int64{latestTimestamp: 0, earliestTimestamp: 0, maxTimestamp: -1, 7: -1} {
		got := s.list(listRequest("a", 0, timestamp), 11)
		expectCode(t, fmt.Sprint(timestamp), got.ErrorCode, nil)
		if got.Offset != want || got.Timestamp != -1 {
			t.Errorf("time %d: offset %d at %d, want %d", timestamp, got.Offset, got.Timestamp, want)
		}
	}
}

// Version 0 lists offsets below which all is older, the highest first.
func TestListOffsetsOldStyle(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	s.produceAt(topic, 0, 100, 200)
	s.produceAt(topic, 0, 300)
	s.create("empty", 1)
	tests := []struct {
		topic     string
		timestamp int64
		most      int32
		want      []int64
	}{
		{"a", latestTimestamp, 1, []int64{3}},
		{"a", latestTimestamp, 10, []int64{3, 0}},
		{"a", earliestTimestamp, 10, []int64{0}},
		{"a", 250, 10, []int64{2, 0}},
		{"a", 50, 10, []int64{0}},
		{"a", 999, 10, []int64{3, 0}},
		{"a", latestTimestamp, 0, []int64{}},
		{"a", latestTimestamp, -1, []int64{}},
		{"empty", latestTimestamp, 10, []int64{0}},
		{"empty", 7, 10, []int64{0}},
	}
	for _, test := range tests {
		req := listRequest(test.topic, 0, test.timestamp)
		req.Topics[0].Partitions[0].MaxNumOffsets = test.most
		got := s.list(req, 0)
		expectCode(t, test.topic, got.ErrorCode, nil)
		if !slices.Equal(got.OldStyleOffsets, test.want) {
			t.Errorf("%s, time %d, at most %d: %v, want %v", test.topic, test.timestamp, test.most, got.OldStyleOffsets, test.want)
		}
	}
	got := s.list(listRequest("a", 9, latestTimestamp), 0)
	expectCode(t, "unknown partition", got.ErrorCode, kerr.UnknownTopicOrPartition)
	expectCode(t, "a time that it does not have", s.list(listRequest("a", 0, maxTimestamp), 0).ErrorCode, kerr.UnsupportedVersion)
}

func TestListOffsetsRefusals(t *testing.T) {
	epoch := func(e int32) *kmsg.ListOffsetsRequest {
		req := listRequest("a", 0, latestTimestamp)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = e
		return req
	}
	twice := listRequest("a", 0, latestTimestamp)
	twice.Topics = append(twice.Topics, twice.Topics[0])
	tests := []struct {
		name string
		req  *kmsg.ListOffsetsRequest
		want *kerr.Error
	}{
		{"unknown topic", listRequest("x", 0, latestTimestamp), kerr.UnknownTopicOrPartition},
		{"unknown partition", listRequest("a", 1, latestTimestamp), kerr.UnknownTopicOrPartition},
		{"negative partition", listRequest("a", -1, latestTimestamp), kerr.UnknownTopicOrPartition},
		{"an old epoch", epoch(leaderEpoch - 1), kerr.FencedLeaderEpoch},
		{"a new epoch", epoch(leaderEpoch + 1), kerr.UnknownLeaderEpoch},
		{"the epoch", epoch(leaderEpoch), nil},
		{"a partition twice", twice, kerr.InvalidRequest},
	}
	s := newStage(t)
	s.create("a", 1)
	for _, test := range tests {
		got := s.list(test.req, 11)
		expectCode(t, test.name, got.ErrorCode, test.want)
		if test.want != nil && (got.Offset != -1 || got.Timestamp != -1 || got.LeaderEpoch != -1) {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}

func TestListOffsetsOfAPartitionThatIsNotOpen(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	if err := s.manager.Release(t.Context(), topic.ID, 0); err != nil {
		t.Fatal(err)
	}
	expectCode(t, "a", s.list(listRequest("a", 0, latestTimestamp), 5).ErrorCode, kerr.NotLeaderForPartition)
}

// A consumer sees what is committed; the tool that says it is no consumer sees the end of the log.
func TestListOffsetsOfWhatIsNotCommitted(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	s.produceAt(topic, 0, 100)
	release := s.holdSyncs()
	defer release()
	b := record.NewBuilder(0)
	b.Add(200, nil, nil)
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.partition(topic, 0).Append(t.Context(), -1, batch, partition.Client); err != nil {
		t.Fatal(err)
	}
	for replica, want := range map[int32]int64{consumerReplicaID: 1, -2: 2} {
		req := listRequest("a", 0, latestTimestamp)
		req.ReplicaID = replica
		if got := s.list(req, 5); got.Offset != want {
			t.Errorf("replica id %d: the end is %d, want %d", replica, got.Offset, want)
		}
	}
	if got := s.list(listRequest("a", 0, 150), 5); got.Offset != -1 {
		t.Errorf("a record that is not committed is found at %d", got.Offset)
	}
}

// holdSyncs keeps segments from being synced until the returned function is called, for the first time.
func (s *stage) holdSyncs() (release func()) {
	held := make(chan struct{})
	hold := func() error {
		<-held
		return nil
	}
	s.syncs.Store(&hold)
	return sync.OnceFunc(func() {
		s.syncs.Store(nil)
		close(held)
	})
}
