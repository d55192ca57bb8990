package handler

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/server"
	"segue/storage/record"
)

// build makes the bytes of a batch of so many records, with changes.
func build(t *testing.T, records int, change func(*record.Builder)) []byte {
	t.Helper()
	b := record.NewBuilder(0)
	if change != nil {
		change(b)
	}
	for i := range records {
		b.Add(1000+int64(i), []byte("k"), []byte("v"))
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch.Bytes()
}

// to is what a request has for one partition.
type to struct {
	topic     string
	id        [16]byte
	partition int32
	records   []byte
}

func produceRequest(acks int16, all ...to) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 10_000
	for _, p := range all {
		t := kmsg.NewProduceRequestTopic()
		t.Topic, t.TopicID = p.topic, p.id
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = p.partition, p.records
		t.Partitions = append(t.Partitions, part)
		req.Topics = append(req.Topics, t)
	}
	return req
}

func (s *stage) produce(req *kmsg.ProduceRequest, version int16) *kmsg.ProduceResponse {
	s.Helper()
	return s.ask(req, version).(*kmsg.ProduceResponse)
}

func TestProduceEveryVersion(t *testing.T) {
	for version := int16(3); version <= 13; version++ {
		for _, acks := range []int16{-1, 1} {
			s := newStage(t)
			a, b := s.create("a", 2), s.create("b", 1)
			req := produceRequest(acks,
				to{"a", a.ID, 1, build(t, 2, nil)}, to{"b", b.ID, 0, build(t, 1, nil)}, to{"a", a.ID, 1, build(t, 3, nil)})
			resp := s.produce(req, version)
			if len(resp.Topics) != 3 {
				t.Fatalf("v%d: %+v", version, resp.Topics)
			}
			for i, base := range []int64{0, 0, 2} {
				topic := resp.Topics[i]
				if version < produceIDVersion && topic.Topic != req.Topics[i].Topic || version >= produceIDVersion && topic.TopicID != req.Topics[i].TopicID {
					t.Errorf("v%d: answer %d is for %q, id %x", version, i, topic.Topic, topic.TopicID)
				}
				got := topic.Partitions[0]
				expectCode(t, fmt.Sprintf("v%d, answer %d", version, i), got.ErrorCode, nil)
				if got.Partition != req.Topics[i].Partitions[0].Partition || got.BaseOffset != base || got.LogAppendTime != -1 {
					t.Errorf("v%d: answer %d: %+v, want offset %d", version, i, got, base)
				}
				if version >= 5 && got.LogStartOffset != 0 || version >= 8 && got.ErrorMessage != nil {
					t.Errorf("v%d: answer %d: %+v", version, i, got)
				}
			}
			if end := s.partition(a, 1).Offsets().HighWatermark; end != 5 {
				t.Errorf("v%d: acknowledged, and committed up to %d of 5", version, end)
			}
		}
	}
}

// Versions 0 to 2 are shown for librdkafka's sake and served by nobody.
func TestProduceThatCannotBeRead(t *testing.T) {
	s := newStage(t)
	for version := int16(0); version <= 3; version++ {
		r := s.request(produceRequest(1), 3)
		r.Version = version
		if version == 3 {
			r.Body = r.Body[:len(r.Body)-1]
		}
		if _, err := s.try(r); !errors.Is(err, server.ErrDisconnect) {
			t.Errorf("v%d: error %v, want the end of the connection", version, err)
		}
	}
}

func TestProduceRefusals(t *testing.T) {
	good := build(t, 2, nil)
	legacy := bytes.Clone(good)
	legacy[16] = 1
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	producer := func(b *record.Builder) { b.ProducerID, b.ProducerEpoch, b.BaseSequence = 9, 0, 0 }
	gap := build(t, 1, func(b *record.Builder) { b.ProducerID, b.ProducerEpoch, b.BaseSequence = 9, 0, 7 })
	transactional := build(t, 1, func(b *record.Builder) { producer(b); b.Transactional = true })
	control := build(t, 1, func(b *record.Builder) { producer(b); b.Control = true })
	zstd := build(t, 1, func(b *record.Builder) {
		b.Compression, b.Compressor = record.Compression{Codec: record.Zstd}, new(record.Compressor)
	})
	large := build(t, 1, nil)
	future := build(t, 0, func(b *record.Builder) { b.Add(time.Now().Add(48*time.Hour).UnixMilli(), nil, nil) })
	noKey := build(t, 0, func(b *record.Builder) { b.Add(1000, []byte("k"), nil); b.Add(1000, nil, []byte("v")) })
	tests := []struct {
		name     string
		version  int16
		acks     int16
		to       to
		want     *kerr.Error
		logStart int64 // of the answer: Kafka tells it for some errors
		records  []int32
	}{
		{name: "unknown topic", version: 12, acks: -1, to: to{topic: "x", records: good}, want: kerr.UnknownTopicOrPartition, logStart: -1},
		{name: "unknown topic id", version: 13, acks: -1, to: to{id: [16]byte{1}, records: good}, want: kerr.UnknownTopicID, logStart: -1},
		{name: "unknown partition", version: 12, acks: 1, to: to{topic: "a", partition: 2, records: good}, want: kerr.UnknownTopicOrPartition, logStart: -1},
		{name: "negative partition", version: 12, acks: 1, to: to{topic: "a", partition: -1, records: good}, want: kerr.UnknownTopicOrPartition, logStart: -1},
		{name: "bad acks", version: 12, acks: 5, to: to{topic: "a", records: good}, want: kerr.InvalidRequiredAcks, logStart: -1},
		{name: "bad acks and an unknown topic", version: 12, acks: 5, to: to{topic: "x", records: good}, want: kerr.UnknownTopicOrPartition, logStart: -1},
		{name: "a coordinator's topic", version: 12, acks: 1, to: to{topic: "__consumer_offsets", records: good}, want: kerr.InvalidTopicException, logStart: -1},
		{name: "null records", version: 12, acks: 1, to: to{topic: "a"}, want: kerr.InvalidRecord, logStart: -1},
		{name: "no records", version: 12, acks: 1, to: to{topic: "a", records: []byte{}}, want: kerr.InvalidRecord, logStart: -1},
		{name: "half a batch", version: 12, acks: 1, to: to{topic: "a", records: good[:40]}, want: kerr.InvalidRecord, logStart: -1},
		{name: "two batches", version: 12, acks: 1, to: to{topic: "a", records: slices.Concat(good, good)}, want: kerr.InvalidRecord, logStart: -1},
		{name: "the start of another batch", version: 12, acks: 1, to: to{topic: "a", records: slices.Concat(good, good[:30])}, want: nil},
		{name: "an old message format", version: 12, acks: 1, to: to{topic: "a", records: legacy}, want: kerr.InvalidRecord, logStart: -1},
		{name: "damage", version: 12, acks: 1, to: to{topic: "a", records: damaged}, want: kerr.CorruptMessage, logStart: -1},
		{name: "zstd in a version before it", version: 6, acks: 1, to: to{topic: "a", records: zstd}, want: kerr.UnsupportedCompressionType, logStart: -1},
		{name: "zstd", version: 7, acks: 1, to: to{topic: "a", records: zstd}, want: nil},
		{name: "a transaction without an id", version: 12, acks: -1, to: to{topic: "a", records: transactional}, want: kerr.TransactionalIDAuthorizationFailed, logStart: -1},
		{name: "a control batch", version: 12, acks: -1, to: to{topic: "a", records: control}, want: kerr.InvalidRecord},
		{name: "a gap in the sequence", version: 12, acks: -1, to: to{topic: "seen", records: gap}, want: kerr.OutOfOrderSequenceNumber},
		{name: "too large", version: 12, acks: 1, to: to{topic: "small", records: large}, want: kerr.MessageTooLarge, logStart: -1},
		{name: "from the future", version: 12, acks: 1, to: to{topic: "a", records: future}, want: kerr.InvalidTimestamp, records: []int32{0}},
		{name: "no key in a compacted topic", version: 12, acks: 1, to: to{topic: "compacted", records: noKey}, want: kerr.InvalidRecord, records: []int32{1}},
		{name: "not led here", version: 12, acks: 1, to: to{topic: "closed", records: good}, want: kerr.NotLeaderForPartition, logStart: -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			s.create("a", 2)
			s.create("__consumer_offsets", 1)
			s.create("small", 1, "max.message.bytes", "60")
			s.create("compacted", 1, "cleanup.policy", "compact")
			if err := s.manager.Release(t.Context(), s.create("closed", 1).ID, 0); err != nil {
				t.Fatal(err)
			}
			seen := s.create("seen", 1)
			s.produce(produceRequest(1, to{"seen", seen.ID, 0, build(t, 1, producer)}), 12)

			other := s.create("other", 1) // which is not to suffer
			resp := s.produce(produceRequest(test.acks, test.to, to{"other", other.ID, 0, good}), test.version)
			got := resp.Topics[0].Partitions[0]
			expectCode(t, test.name, got.ErrorCode, test.want)
			beside := resp.Topics[1].Partitions[0]
			switch test.want {
			case kerr.TransactionalIDAuthorizationFailed: // the whole request
				expectCode(t, "the partition beside it", beside.ErrorCode, test.want)
			default:
				want := kerr.InvalidRequiredAcks
				if test.acks != 5 {
					want = nil
				}
				expectCode(t, "the partition beside it", beside.ErrorCode, want)
			}
			if test.want == nil {
				return
			}
			if got.BaseOffset != -1 || got.LogAppendTime != -1 || test.version >= 5 && got.LogStartOffset != test.logStart {
				t.Errorf("%+v, want log start %d", got, test.logStart)
			}
			var records []int32
			for _, r := range got.ErrorRecords {
				records = append(records, r.RelativeOffset)
				if stringOf(r.ErrorMessage) == "" {
					t.Errorf("record %d: no message", r.RelativeOffset)
				}
			}
			if !slices.Equal(records, test.records) {
				t.Errorf("records at fault: %v, want %v", records, test.records)
			}
			if test.want == kerr.NotLeaderForPartition && (got.CurrentLeader.LeaderID != nodeID || len(resp.Brokers) != 1) {
				t.Errorf("the leader is not named: %+v, %+v", got.CurrentLeader, resp.Brokers)
			}
		})
	}
}

func TestProduceOfTransactions(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	batch := build(t, 1, func(b *record.Builder) {
		b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = 9, 0, 0, true
	})
	req := produceRequest(-1, to{"a", topic.ID, 0, batch}, to{"a", topic.ID, 0, build(t, 1, nil)})
	id := "tx"
	req.TransactionID = &id
	resp := s.produce(req, 11)
	// As for as long as the coordinator cannot be asked.
	expectCode(t, "the transactional batch", resp.Topics[0].Partitions[0].ErrorCode, kerr.NotEnoughReplicas)
	expectCode(t, "the other one", resp.Topics[1].Partitions[0].ErrorCode, nil)
}

// The tool that deletes groups' offsets says who it is by its client id.
func TestProduceByTheAdminClient(t *testing.T) {
	s := newStage(t)
	topic := s.create("__consumer_offsets", 1)
	r := s.request(produceRequest(1, to{"__consumer_offsets", topic.ID, 0, build(t, 1, nil)}), 12)
	admin := adminClientID
	r.ClientID = &admin
	resp, err := s.try(r)
	if err != nil {
		t.Fatal(err)
	}
	expectCode(t, "internal topic", resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode, nil)
}

func TestProduceLogAppendTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		topic := s.create("a", 1, "message.timestamp.type", "LogAppendTime")
		resp := s.produce(produceRequest(1, to{"a", topic.ID, 0, build(t, 1, nil)}), 12)
		if got := resp.Topics[0].Partitions[0]; got.LogAppendTime != time.Now().UnixMilli() {
			t.Errorf("log append time %d, want %d", got.LogAppendTime, time.Now().UnixMilli())
		}
	})
}

func TestProduceARetry(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	batch := func() []byte {
		return build(t, 2, func(b *record.Builder) { b.ProducerID, b.ProducerEpoch, b.BaseSequence = 9, 0, 0 })
	}
	for range 2 {
		resp := s.produce(produceRequest(-1, to{"a", topic.ID, 0, batch()}), 12)
		got := resp.Topics[0].Partitions[0]
		expectCode(t, "a", got.ErrorCode, nil)
		if got.BaseOffset != 0 {
			t.Errorf("offset %d, want that of the original", got.BaseOffset)
		}
	}
	if end := s.partition(topic, 0).Offsets().LogEnd; end != 2 {
		t.Errorf("the log ends at %d, want 2", end)
	}
}

func TestProduceWithoutAcks(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	good := to{"a", topic.ID, 0, build(t, 1, nil)}
	r := s.request(produceRequest(0, good), 12)
	if pending := s.begin(r); pending != nil {
		t.Error("an answer is announced")
	}
	if end := s.partition(topic, 0).Offsets().LogEnd; end != 1 {
		t.Errorf("the log ends at %d, want 1", end)
	}
	for _, bad := range []to{{topic: "x", records: good.records}, {topic: "a", partition: 9}, {topic: "a"}} {
		resp, err := s.try(s.request(produceRequest(0, good, bad), 12))
		if resp != nil || !errors.Is(err, server.ErrDisconnect) {
			t.Errorf("answer %v, error %v, want the end of the connection", resp, err)
		}
	}
}

// TestProduceTogether has requests take effect together, and answers each as if it had come alone.
func TestProduceTogether(t *testing.T) {
	s := newStage(t)
	a, b := s.create("a", 2), s.create("b", 1)
	batch := func(records int) []byte { return build(t, records, nil) }
	requests := []*server.Request{
		s.request(produceRequest(-1, to{"a", a.ID, 0, batch(1)}, to{"b", b.ID, 0, batch(2)}), 12),
		s.request(produceRequest(-1, to{"a", a.ID, 1, batch(3)}, to{"a", a.ID, 0, batch(2)}, to{"a", a.ID, 0, batch(1)}), 12),
		s.request(produceRequest(-1, to{"a", a.ID, 0, batch(1)}), 12),
		s.request(produceRequest(0, to{"b", b.ID, 0, batch(1)}), 12),
		s.request(produceRequest(0, to{"x", b.ID, 0, batch(1)}), 12),
		s.request(produceRequest(-1, to{"b", b.ID, 0, batch(1)}, to{"b", b.ID, 7, batch(1)}), 12),
	}
	requests[2].Body = requests[2].Body[:5]
	want := []string{"a-0 at 0 b-0 at 0", "a-1 at 0 a-0 at 1 a-0 at 3", "disconnect", "", "disconnect", "b-0 at 3 b-7: UNKNOWN_TOPIC_OR_PARTITION"}
	for i, pending := range s.rows[requests[0].Key].Begin(t.Context(), requests) {
		resp, err := s.finish(requests[i], pending)
		var got []string
		switch {
		case errors.Is(err, server.ErrDisconnect):
			got = []string{"disconnect"}
		case err != nil:
			t.Fatal(err)
		case resp != nil:
			for _, topic := range resp.(*kmsg.ProduceResponse).Topics {
				for _, p := range topic.Partitions {
					if err := kerr.TypedErrorForCode(p.ErrorCode); err != nil {
						got = append(got, fmt.Sprintf("%s-%d: %s", topic.Topic, p.Partition, err.Message))
					} else {
						got = append(got, fmt.Sprintf("%s-%d at %d", topic.Topic, p.Partition, p.BaseOffset))
					}
				}
			}
		}
		if got := strings.Join(got, " "); got != want[i] {
			t.Errorf("request %d: %s, want %s", i, got, want[i])
		}
	}
	if end := s.partition(a, 0).Offsets().LogEnd; end != 4 {
		t.Errorf("a-0 ends at %d, want 4", end)
	}
}

// Acks are waited for until they come, and no longer than the client wants.
func TestProduceWaits(t *testing.T) {
	tests := []struct {
		name    string
		timeout int32
		commit  time.Duration // when the sync is done; 0 for never
		elapsed time.Duration
		want    *kerr.Error
	}{
		{"the commit comes", 5000, 2 * time.Second, 2 * time.Second, nil},
		{"the commit does not come", 5000, 0, 5 * time.Second, kerr.RequestTimedOut},
		{"no timeout is the broker's", 0, 0, 30 * time.Second, kerr.RequestTimedOut},
		{"nor is a negative one", -1, 20 * time.Second, 20 * time.Second, nil},
	}
	for _, test := range tests {
		for _, acks := range []int16{-1, 1} {
			t.Run(fmt.Sprintf("%s, acks %d", test.name, acks), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newStage(t)
					topic := s.create("a", 2)
					release := s.holdSyncs()
					defer release()
					req := produceRequest(acks, to{"a", topic.ID, 0, build(t, 1, nil)}, to{"x", topic.ID, 0, build(t, 1, nil)}, to{"a", topic.ID, 1, build(t, 1, nil)})
					req.TimeoutMillis = test.timeout
					begun := time.Now()
					r := s.request(req, 12)
					pending := s.begin(r)
					for number := range int32(2) { // all is appended before anything is waited for
						if end := s.partition(topic, number).Offsets().LogEnd; end != 1 {
							t.Errorf("the log of partition %d ends at %d, want 1", number, end)
						}
					}
					if test.commit > 0 {
						go func() {
							time.Sleep(test.commit)
							release()
						}()
					}
					answer, err := s.finish(r, pending)
					if err != nil {
						t.Fatal(err)
					}
					if d := time.Since(begun); d != test.elapsed {
						t.Errorf("answered after %v, want %v", d, test.elapsed)
					}
					resp := answer.(*kmsg.ProduceResponse)
					for _, i := range []int{0, 2} {
						got := resp.Topics[i].Partitions[0]
						expectCode(t, "a", got.ErrorCode, test.want)
						if got.BaseOffset != 0 {
							t.Errorf("offset %d, want the one that the batch has", got.BaseOffset)
						}
					}
					expectCode(t, "x", resp.Topics[1].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
				})
			})
		}
	}
}

// A sync that fails is an answer, and not a wait.
func TestProduceWhenTheDiskFails(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	fail := func() error { return errDisk }
	s.syncs.Store(&fail)
	for range 2 { // the second one is refused at once
		resp := s.produce(produceRequest(-1, to{"a", topic.ID, 0, build(t, 1, nil)}), 12)
		got := resp.Topics[0].Partitions[0]
		expectCode(t, "a", got.ErrorCode, kerr.KafkaStorageError)
		if got.ErrorMessage != nil {
			t.Errorf("the client is told of the broker's insides: %q", *got.ErrorMessage)
		}
	}
}

// The batch is the log's by the time that Begin returns: the body's buffer is used again.
func TestProduceKeepsNothingOfTheBody(t *testing.T) {
	s := newStage(t)
	topic := s.create("a", 1)
	r := s.request(produceRequest(-1, to{"a", topic.ID, 0, build(t, 1, nil)}), 13)
	pending := s.begin(r)
	clear(r.Body)
	resp, err := s.finish(r, pending)
	if err != nil {
		t.Fatal(err)
	}
	got := resp.(*kmsg.ProduceResponse).Topics[0]
	expectCode(t, "a", got.Partitions[0].ErrorCode, nil)
	if got.TopicID != topic.ID {
		t.Errorf("the answer is for %x", got.TopicID)
	}
}

// FuzzProduce has any request that can be read answered for each partition that it names.
func FuzzProduce(f *testing.F) {
	batch := record.NewBuilder(0)
	batch.Add(1, nil, []byte("v"))
	built, err := batch.Build()
	if err != nil {
		f.Fatal(err)
	}
	for version := int16(3); version <= 13; version++ {
		for _, acks := range []int16{0, 1, 7} {
			req := produceRequest(acks, to{"a", [16]byte{1}, 0, built.Bytes()}, to{"a", [16]byte{2}, 1, nil})
			req.Version = version
			f.Add(version, req.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 0 || version > 20 {
			return
		}
		s := newStage(t)
		if _, err := s.catalog.Commit(t.Context(), catalog.Any, catalog.CreateTopic{Name: "a", ID: [16]byte{1}, Partitions: 2, ReplicationFactor: 1}); err != nil {
			t.Fatal(err)
		}
		r := s.request(produceRequest(1), 3)
		r.Version, r.Body = version, body
		resp, err := s.try(r)
		if err != nil && !errors.Is(err, server.ErrDisconnect) {
			t.Fatal(err)
		}
		if resp == nil {
			return
		}
		for _, topic := range resp.(*kmsg.ProduceResponse).Topics {
			for _, p := range topic.Partitions {
				if (p.ErrorCode == 0) != (p.BaseOffset >= 0) && p.ErrorCode != kerr.RequestTimedOut.Code {
					t.Errorf("%+v", p)
				}
			}
		}
	})
}
