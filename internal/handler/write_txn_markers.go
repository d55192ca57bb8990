package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator/txn"
	"segue/internal/server"
	"segue/partition"
)

// writeTxnMarkers answers WriteTxnMarkers: what Kafka's brokers send each other, and its admin tool to abort a transaction that
// hangs in a partition.
type writeTxnMarkers struct {
	*transactionCommands
	markers txn.MarkerWriter
}

func (h writeTxnMarkers) handle(_ context.Context, _ *server.Client, req *kmsg.WriteTxnMarkersRequest) *kmsg.WriteTxnMarkersResponse {
	resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
	ctx, cancel := context.WithTimeout(h.broker, h.patience)
	defer cancel()
	resp.Markers = make([]kmsg.WriteTxnMarkersResponseMarker, 0, len(req.Markers))
	for _, asked := range req.Markers { // one after the other: several may be of one producer
		var to []txn.Partition
		for _, t := range asked.Topics {
			for _, n := range t.Partitions {
				to = append(to, txn.Partition{Topic: t.Topic, Partition: n})
			}
		}
		errs := h.markers.WriteMarkers(ctx, partition.Marker{
			ProducerID: asked.ProducerID, ProducerEpoch: asked.ProducerEpoch, Commit: asked.Committed,
			CoordinatorEpoch: asked.CoordinatorEpoch, Version: int16(asked.TransactionVersion),
		}, to)
		marker := kmsg.NewWriteTxnMarkersResponseMarker()
		marker.ProducerID = asked.ProducerID
		for _, t := range asked.Topics {
			topic := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
			topic.Topic = t.Topic
			for _, n := range t.Partitions {
				p := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
				p.Partition, p.ErrorCode = n, codeOf(errs[0])
				if p.ErrorCode == kerr.UnknownServerError.Code {
					h.log.Error().Err(errs[0]).Str("topic", t.Topic).Int32("partition", n).Msg("a transaction marker could not be written")
				}
				errs = errs[1:]
				topic.Partitions = append(topic.Partitions, p)
			}
			marker.Topics = append(marker.Topics, topic)
		}
		resp.Markers = append(resp.Markers, marker)
	}
	return resp
}
