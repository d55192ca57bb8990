package handler

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

func cutRequest(topic string, partition int32, before int64) *kmsg.DeleteRecordsRequest {
	req := kmsg.NewPtrDeleteRecordsRequest()
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic = topic
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, before
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func TestDeleteRecordsEveryVersion(t *testing.T) {
	now := time.Now().UnixMilli()
	for version := int16(0); version <= 2; version++ {
		s := newStage(t)
		a := s.create("a", 2)
		s.create("compacted", 1, "cleanup.policy", "compact")
		both := s.create("both", 1, "cleanup.policy", "compact,delete")
		s.create(catalog.GroupOffsetsTopic, 1)
		s.produceAt(a, 1, now, now, now, now)
		for _, step := range []struct {
			topic     string
			partition int32
			before    int64
			low       int64
			want      *kerr.Error
		}{
			{"a", 1, 2, 2, nil},
			{"a", 1, 1, 2, nil}, // it has begun behind that
			{"a", 1, 5, -1, kerr.OffsetOutOfRange},
			{"a", 1, -2, -1, kerr.OffsetOutOfRange},
			{"a", 1, -1, 4, nil}, // to the high watermark
			{"a", 0, -1, 0, nil},
			{"a", 2, 0, -1, kerr.UnknownTopicOrPartition},
			{"a", -1, 0, -1, kerr.UnknownTopicOrPartition},
			{"none", 0, 0, -1, kerr.UnknownTopicOrPartition},
			{"compacted", 0, 0, -1, kerr.PolicyViolation},
			{"both", 0, 0, 0, nil},
			{catalog.GroupOffsetsTopic, 0, 0, -1, kerr.InvalidTopicException},
		} {
			resp := s.ask(cutRequest(step.topic, step.partition, step.before), version).(*kmsg.DeleteRecordsResponse)
			if len(resp.Topics) != 1 || resp.Topics[0].Topic != step.topic || len(resp.Topics[0].Partitions) != 1 {
				t.Fatalf("v%d: %+v: %+v", version, step, resp)
			}
			p := resp.Topics[0].Partitions[0]
			expectCode(t, step.topic, p.ErrorCode, step.want)
			if p.Partition != step.partition || p.LowWatermark != step.low {
				t.Errorf("v%d: %+v: %+v", version, step, p)
			}
		}
		if start := s.partition(a, 1).Offsets().LogStart; start != 4 {
			t.Errorf("v%d: the log begins at %d", version, start)
		}
		s.partition(both, 0)
	}
}
