package broker

import (
	"bytes"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// The timestamps of ListOffsets that mean something else.
const (
	latest   = -1
	earliest = -2
	largest  = -3 // the record with the largest timestamp
)

// read asks for the records of one partition. What it returns is good with OFFSET_OUT_OF_RANGE too.
func read(w *wire, t topic, partition int32, offset int64) (*kmsg.FetchResponseTopicPartition, error) {
	return fetchRecords(w, t, partition, offset, 0)
}

// fetchRecords is read with an isolation level: 0 for all records, 1 for those that are committed.
func fetchRecords(w *wire, t topic, partition int32, offset int64, isolation int8) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.IsolationLevel = isolation
	req.MaxBytes, req.SessionEpoch, req.SessionID = 1<<20, -1, 0
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = t.name, t.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := ask[*kmsg.FetchResponse](w, req, 16)
	switch {
	case err != nil:
		return nil, err
	case resp.ErrorCode != 0:
		return nil, kerr.ErrorForCode(resp.ErrorCode)
	case len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1:
		return nil, fmt.Errorf("an answer for other partitions: %+v", resp)
	}
	answer := &resp.Topics[0].Partitions[0]
	return answer, kerr.ErrorForCode(answer.ErrorCode)
}

// split takes the records of an answer apart.
func split(records []byte) (batches []record.Batch, err error) {
	records = bytes.Clone(records)
	for len(records) > 0 {
		var b record.Batch
		if b, records, err = record.Parse(records); err != nil {
			return nil, err
		}
		if err := b.Verify(); err != nil {
			return nil, err
		}
		batches = append(batches, b)
	}
	return batches, nil
}

// listOffsets asks for an offset of each partition of some topics.
func listOffsets(w *wire, timestamp int64, topics map[[16]byte]topic) (map[place]*kmsg.ListOffsetsResponseTopicPartition, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	ids := map[string][16]byte{}
	for id, t := range topics {
		ids[t.name] = id
		asked := kmsg.NewListOffsetsRequestTopic()
		asked.Topic = t.name
		for n := range t.partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = n, timestamp
			asked.Partitions = append(asked.Partitions, p)
		}
		req.Topics = append(req.Topics, asked)
	}
	resp, err := ask[*kmsg.ListOffsetsResponse](w, req, 7)
	if err != nil {
		return nil, err
	}
	found := map[place]*kmsg.ListOffsetsResponseTopicPartition{}
	for _, t := range resp.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			found[place{ids[t.Topic], p.Partition}] = p
			if p.ErrorCode != 0 {
				return found, fmt.Errorf("list offset %d of %s-%d: %w", timestamp, t.Topic, p.Partition, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	}
	return found, nil
}

// endsOfEpoch asks where a leader epoch ends in each partition of some topics.
func endsOfEpoch(w *wire, epoch int32, topics map[[16]byte]topic) (map[place]kmsg.OffsetForLeaderEpochResponseTopicPartition, error) {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	ids := map[string][16]byte{}
	for id, t := range topics {
		ids[t.name] = id
		asked := kmsg.NewOffsetForLeaderEpochRequestTopic()
		asked.Topic = t.name
		for n := range t.partitions {
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch = n, epoch, -1
			asked.Partitions = append(asked.Partitions, p)
		}
		req.Topics = append(req.Topics, asked)
	}
	resp, err := ask[*kmsg.OffsetForLeaderEpochResponse](w, req, 4)
	if err != nil {
		return nil, err
	}
	found := map[place]kmsg.OffsetForLeaderEpochResponseTopicPartition{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			found[place{ids[t.Topic], p.Partition}] = p
		}
	}
	return found, nil
}

// newProducerID asks for a producer id.
func newProducerID(w *wire) (int64, error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := ask[*kmsg.InitProducerIDResponse](w, req, 4)
	if err != nil {
		return -1, err
	}
	return resp.ProducerID, kerr.ErrorForCode(resp.ErrorCode)
}

// delivery is a batch on its way to a partition.
type delivery struct {
	topic     topic
	partition int32
	batch     *sentBatch
}

func (d delivery) place() place { return place{d.topic.id, d.partition} }

// produceRequest makes one request of deliveries to different partitions.
func produceRequest(acks int16, deliveries []delivery) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, int32(patience.Milliseconds()/2)
	for _, d := range deliveries {
		t := kmsg.NewProduceRequestTopic()
		t.Topic, t.TopicID = d.topic.name, d.topic.id
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = d.partition, bytes.Clone(d.batch.Bytes())
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// produceVersion is one that names topics by id: a topic of the same name that came in between is not meant.
const produceVersion = 13
