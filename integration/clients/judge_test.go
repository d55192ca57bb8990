//go:build integration && unix

package clients

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// codecs are those of Kafka, by their numbers in the attributes of batches.
var codecs = []struct {
	name  string
	codec kgo.CompressionCodec
}{
	{"none", kgo.NoCompression()},
	{"gzip", kgo.GzipCompression()},
	{"snappy", kgo.SnappyCompression()},
	{"lz4", kgo.Lz4Compression()},
	{"zstd", kgo.ZstdCompression()},
}

// topic makes a topic for the scenario, with configs as name=value, and returns its name.
func (s *session) topic(partitions int32, configs ...string) string {
	s.t.Helper()
	name := "for-" + s.scenario
	values := map[string]*string{}
	for _, c := range configs {
		config, value, _ := strings.Cut(c, "=")
		values[config] = &value
	}
	if _, err := s.adm.CreateTopic(within(s.t), partitions, 1, values, name); err != nil {
		s.t.Fatalf("the judge creates %s: %v", name, err)
	}
	s.awaitTopic(name, partitions)
	return name
}

// awaitTopic waits until metadata tells of a topic's partitions, each with a leader; none means that the topic is gone.
func (s *session) awaitTopic(name string, partitions int32) {
	s.t.Helper()
	eventually(s.t, patience, fmt.Sprintf("%s has %d partitions", name, partitions), func() error {
		req := kmsg.NewPtrMetadataRequest()
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
		resp, err := req.RequestWith(within(s.t), s.cl)
		if err != nil {
			return err
		}
		if partitions == 0 {
			if resp.Topics[0].ErrorCode != kerr.UnknownTopicOrPartition.Code {
				return errors.New("it is still there")
			}
			return nil
		}
		for _, p := range resp.Topics[0].Partitions {
			if p.ErrorCode != 0 {
				return kerr.ErrorForCode(p.ErrorCode)
			}
		}
		if n := len(resp.Topics[0].Partitions); n != int(partitions) {
			return fmt.Errorf("it has %d: %w", n, kerr.ErrorForCode(resp.Topics[0].ErrorCode))
		}
		return nil
	})
}

// batches reads a partition off the wire, batch by batch, up to its high watermark. Batches are checked for what a codec
// has no say in.
func (s *session) batches(topic string, partition int32) []kmsg.RecordBatch {
	s.t.Helper()
	var list []kmsg.RecordBatch
	for next := int64(0); ; {
		req := kmsg.NewPtrFetchRequest()
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 100, 1, 64<<20
		rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = partition, next, 64<<20
		rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp, err := req.RequestWith(within(s.t), s.cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
		}
		if err != nil {
			s.t.Fatalf("the judge fetches %s-%d from %d: %v", topic, partition, next, err)
		}
		p := &resp.Topics[0].Partitions[0]
		if next >= p.HighWatermark {
			return list
		}
		for raw := p.RecordBatches; len(raw) >= 12; {
			size := 12 + int(binary.BigEndian.Uint32(raw[8:]))
			if size > len(raw) {
				break // cut off by the limit of the request
			}
			var b kmsg.RecordBatch
			if err := b.ReadFrom(raw[:size]); err != nil || b.Magic != 2 {
				s.t.Fatalf("%s-%d at %d: a batch of magic %d: %v", topic, partition, next, raw[16], err)
			}
			if crc := crc32.Checksum(raw[21:size], crc32.MakeTable(crc32.Castagnoli)); int32(crc) != b.CRC {
				s.t.Fatalf("%s-%d: the batch at %d has a checksum that is wrong", topic, partition, b.FirstOffset)
			}
			raw = raw[size:]
			if b.FirstOffset+int64(b.LastOffsetDelta) < next {
				continue // it lies before what was asked for
			}
			list, next = append(list, b), b.FirstOffset+int64(b.LastOffsetDelta)+1
		}
	}
}

// read returns all records of a topic, by partition.
func (s *session) read(topic string) map[int32][]*kgo.Record {
	s.t.Helper()
	return s.readAs(topic, kgo.ReadUncommitted())
}

// readCommitted returns all committed records of a topic, once no transaction is open that began before.
func (s *session) readCommitted(topic string) map[int32][]*kgo.Record {
	s.t.Helper()
	return s.readAs(topic, kgo.ReadCommitted())
}

func (s *session) readAs(topic string, level kgo.IsolationLevel) map[int32][]*kgo.Record {
	s.t.Helper()
	ends, err := s.adm.ListEndOffsets(within(s.t), topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		s.t.Fatalf("the judge asks for the ends of %s: %v", topic, err)
	}
	missing := map[int32]int64{}
	for p, end := range ends[topic] {
		if end.Offset > 0 {
			missing[p] = end.Offset
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.b.addr()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(), kgo.RetryBackoffFn(soon)) // a marker is the last of what was aborted
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	records := map[int32][]*kgo.Record{}
	for ctx := within(s.t); len(missing) > 0; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatalf("the judge reads %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				records[r.Partition] = append(records[r.Partition], r)
			}
			if r.Offset+1 >= missing[r.Partition] {
				delete(missing, r.Partition)
			}
		})
	}
	return records
}

// write appends records, to the partitions that they name, each partition's in a batch.
func (s *session) write(codec int, topic string, records ...*kgo.Record) {
	s.t.Helper()
	cl, err := kgo.NewClient(append(s.cl.Opts(), kgo.ProducerBatchCompression(codecs[codec].codec), kgo.ProducerLinger(soon(0)))...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	for _, r := range records {
		r.Topic = topic
	}
	if err := cl.ProduceSync(within(s.t), records...).FirstErr(); err != nil {
		s.t.Fatalf("the judge writes to %s: %v", topic, err)
	}
}

// padded is the value of record i as drivers write it.
func padded(i, size int) string {
	v := "v" + strconv.Itoa(i)
	return v + strings.Repeat(".", max(0, size-len(v)))
}

// headers are those of a record, as drivers write them.
func headers(r *kgo.Record) map[string]string {
	m := map[string]string{}
	for _, h := range r.Headers {
		m[h.Key] = string(h.Value)
	}
	return m
}

// short is a value for a person to look at.
func short(v string) string {
	if len(v) > 40 {
		return fmt.Sprintf("%.20q… of %d bytes", v, len(v))
	}
	return strconv.Quote(v)
}
