package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestOffsetForLeaderEpoch(t *testing.T) {
	tests := []struct {
		name           string
		topic          string
		partition      int32
		current, epoch int32
		since          int16 // the first version in which it is so
		want           *kerr.Error
		wantEpoch      int32
		wantEnd        int64
	}{
		{"the epoch under way", "a", 0, -1, leaderEpoch, 0, nil, leaderEpoch, 2},
		{"an epoch to come", "a", 0, -1, leaderEpoch + 1, 0, nil, -1, -1},
		{"an epoch before all", "a", 0, -1, 0, 0, nil, 0, 0},
		{"no epoch", "a", 0, -1, -1, 0, nil, -1, -1},
		{"the client is right", "a", 0, leaderEpoch, leaderEpoch, 0, nil, leaderEpoch, 2},
		{"the client is behind", "a", 0, leaderEpoch - 1, leaderEpoch, 2, kerr.FencedLeaderEpoch, -1, -1},
		{"the client is ahead", "a", 0, leaderEpoch + 1, leaderEpoch, 2, kerr.UnknownLeaderEpoch, -1, -1},
		{"unknown topic", "x", 0, -1, leaderEpoch, 0, kerr.UnknownTopicOrPartition, -1, -1},
		{"unknown partition", "a", 1, -1, leaderEpoch, 0, kerr.UnknownTopicOrPartition, -1, -1},
		{"negative partition", "a", -1, -1, leaderEpoch, 0, kerr.UnknownTopicOrPartition, -1, -1},
		{"not open", "closed", 0, -1, leaderEpoch, 0, kerr.NotLeaderForPartition, -1, -1},
	}
	s := newStage(t)
	s.produceAt(s.create("a", 1), 0, 100, 200)
	if err := s.manager.Release(t.Context(), s.create("closed", 1).ID, 0); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		for version := test.since; version <= 4; version++ {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
			topic.Topic = test.topic
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = test.partition, test.current, test.epoch
			topic.Partitions = append(topic.Partitions, p)
			req.Topics = append(req.Topics, topic)
			got := s.ask(req, version).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
			expectCode(t, test.name, got.ErrorCode, test.want)
			if version < 1 {
				got.LeaderEpoch = test.wantEpoch // it is not there
			}
			if got.Partition != test.partition || got.LeaderEpoch != test.wantEpoch || got.EndOffset != test.wantEnd {
				t.Errorf("%s (v%d): epoch %d ends at %d, want %d at %d", test.name, version, got.LeaderEpoch, got.EndOffset, test.wantEpoch, test.wantEnd)
			}
		}
	}
}
