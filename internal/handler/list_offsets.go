package handler

import (
	"context"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/server"
	"segue/partition"
	"segue/storage/record"
)

// The timestamps that mean something else (ListOffsetsRequest).
const (
	latestTimestamp                = -1
	earliestTimestamp              = -2
	maxTimestamp                   = -3 // KIP-734
	earliestLocalTimestamp         = -4 // KIP-405
	latestTieredTimestamp          = -5 // KIP-1005
	earliestPendingUploadTimestamp = -6 // KIP-1023
)

// consumerReplicaID is the replica id of a consumer; others may see what is not committed.
const consumerReplicaID = -1

// offsetSource is what ListOffsets asks of a partition; *partition.Partition is one.
type offsetSource interface {
	CheckEpoch(current int32) error
	Offsets() partition.Offsets
	EpochOf(offset record.Offset) int32
	OffsetForTime(ctx context.Context, unixMilli int64, readCommitted bool) (partition.FoundOffset, error)
	MaxTimestamp(ctx context.Context, readCommitted bool) (partition.FoundOffset, error)
}

// listOffsets answers ListOffsets, version 0 included, which Kafka has dropped.
type listOffsets struct {
	log    zerolog.Logger
	image  func() *catalog.Image
	lookup func(topicID [16]byte, partition int32) (offsetSource, error)
}

func (h *listOffsets) handle(ctx context.Context, c *server.Client, req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	image := h.image()
	times := countOf(req)
	for _, t := range req.Topics {
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			result := kmsg.NewListOffsetsResponseTopicPartition()
			result.Partition, result.Timestamp, result.Offset, result.LeaderEpoch = p.Partition, -1, -1, -1
			result.OldStyleOffsets = []int64{}
			var err error = kerr.InvalidRequest
			if times[topicPartition{t.Topic, p.Partition}] == 1 {
				err = h.list(ctx, image, req, t.Topic, p, &result)
			}
			result.ErrorCode = codeOf(err)
			if code := errorOf(err); code == kerr.UnknownServerError || code == kerr.KafkaStorageError {
				h.log.Error().Err(err).Str("topic", t.Topic).Int32("partition", p.Partition).
					Uint64("conn", c.ID).Msg("offsets could not be listed")
			}
			topic.Partitions = append(topic.Partitions, result)
		}
		if len(topic.Partitions) > 0 { // Kafka does not name a topic of which nothing was asked
			resp.Topics = append(resp.Topics, topic)
		}
	}
	return resp
}

// topicPartition names a partition in a request.
type topicPartition struct {
	topic     string
	partition int32
}

// countOf says how often a request names each partition.
func countOf(req *kmsg.ListOffsetsRequest) map[topicPartition]int {
	times := map[topicPartition]int{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			times[topicPartition{t.Topic, p.Partition}]++
		}
	}
	return times
}

// list finds one offset and puts it into the result.
func (h *listOffsets) list(ctx context.Context, image *catalog.Image, req *kmsg.ListOffsetsRequest, topic string,
	p kmsg.ListOffsetsRequestTopicPartition, result *kmsg.ListOffsetsResponseTopicPartition) error {
	if !timestampKnown(req.Version, p.Timestamp) {
		return kerr.UnsupportedVersion
	}
	t, ok := image.Topic(topic)
	if !ok || !t.Has(p.Partition) {
		return kerr.UnknownTopicOrPartition
	}
	source, err := h.lookup(t.ID, p.Partition)
	if err != nil {
		return err
	}
	if err := source.CheckEpoch(p.CurrentLeaderEpoch); err != nil {
		return err
	}
	found, err := find(ctx, source, req, p.Timestamp)
	if err != nil {
		return err
	}
	if req.Version == 0 {
		result.OldStyleOffsets = oldStyle(found.Offset, source.Offsets(), p.Timestamp, p.MaxNumOffsets)
		return nil
	}
	result.Timestamp, result.Offset, result.LeaderEpoch = found.Timestamp, int64(found.Offset), found.LeaderEpoch
	return nil
}

// timestampKnown tells whether a version has that timestamp (ReplicaManager.timestampMinSupportedVersion).
func timestampKnown(version int16, timestamp int64) bool {
	switch timestamp {
	case maxTimestamp:
		return version >= 7
	case earliestLocalTimestamp:
		return version >= 8
	case latestTieredTimestamp:
		return version >= 9
	case earliestPendingUploadTimestamp:
		return version >= 11
	}
	return timestamp >= earliestTimestamp
}

// find does what Kafka's Partition.fetchOffsetForTimestamp does for a log without tiers.
func find(ctx context.Context, source offsetSource, req *kmsg.ListOffsetsRequest, timestamp int64) (partition.FoundOffset, error) {
	readCommitted := req.IsolationLevel == 1 && req.ReplicaID == consumerReplicaID
	marks := source.Offsets()
	switch timestamp {
	case latestTimestamp:
		latest := marks.HighWatermark
		if readCommitted {
			latest = marks.LastStable
		} else if req.ReplicaID != consumerReplicaID {
			latest = marks.LogEnd
		}
		return partition.FoundOffset{Offset: latest, Timestamp: -1, LeaderEpoch: marks.LeaderEpoch}, nil
	case earliestTimestamp, earliestLocalTimestamp:
		return partition.FoundOffset{Offset: marks.LogStart, Timestamp: -1, LeaderEpoch: source.EpochOf(marks.LogStart)}, nil
	case latestTieredTimestamp, earliestPendingUploadTimestamp:
		return partition.FoundOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}, nil
	case maxTimestamp:
		return source.MaxTimestamp(ctx, readCommitted)
	}
	return source.OffsetForTime(ctx, timestamp, readCommitted)
}

// oldStyle is the answer of version 0: offsets below which all records are older than the timestamp, the highest first,
// no more than were asked for. Kafka told the bounds of segments; a log knows better where its records divide.
func oldStyle(found record.Offset, marks partition.Offsets, timestamp int64, most int32) []int64 {
	offsets := []int64{int64(found)}
	if found < 0 {
		offsets[0] = int64(marks.HighWatermark) // all are older
	}
	if timestamp != earliestTimestamp && offsets[0] > int64(marks.LogStart) {
		offsets = append(offsets, int64(marks.LogStart))
	}
	return offsets[:max(0, min(int(most), len(offsets)))]
}
