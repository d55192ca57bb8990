package fetch

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/placement"
	"segue/internal/server"
	"segue/partition"
	"segue/protocol"
	"segue/storage"
	"segue/storage/record"
)

// leaderEpoch is that of all partitions of a stage.
const leaderEpoch = 5

// stage is a Handler over partitions in memory.
type stage struct {
	*testing.T
	*Handler
	topics     *topics
	partitions map[partitionKey]*partition.Partition
	logs       map[partitionKey]*memoryLog
	broken     map[partitionKey]error // what Lookup says
	pinned     atomic.Int64           // chunks that are out
	client     *server.Client
	stopping   chan struct{} // of the server
}

type topics struct {
	byName map[string]*catalog.Topic
	byID   map[[16]byte]*catalog.Topic
}

func (t *topics) Topic(name string) (*catalog.Topic, bool) {
	topic, ok := t.byName[name]
	return topic, ok
}
func (t *topics) TopicByID(id [16]byte) (*catalog.Topic, bool) {
	topic, ok := t.byID[id]
	return topic, ok
}

// view is a placement of one broker.
type view struct{}

func (view) Leader([16]byte, int32) placement.Leader {
	return placement.Leader{NodeID: 7, Epoch: leaderEpoch}
}
func (view) Brokers(string) []placement.Broker {
	return []placement.Broker{{NodeID: 7, Host: "here", Port: 9092}}
}

func newStage(t *testing.T) *stage {
	s := &stage{
		T: t, topics: &topics{map[string]*catalog.Topic{}, map[[16]byte]*catalog.Topic{}},
		partitions: map[partitionKey]*partition.Partition{}, logs: map[partitionKey]*memoryLog{},
		broken: map[partitionKey]error{}, client: &server.Client{ID: 1}, stopping: make(chan struct{}),
	}
	s.Handler = New(Config{
		Log:      zerolog.Nop(),
		Topics:   func() Topics { return s.topics },
		Lookup:   s.lookup,
		View:     view{},
		Sessions: 4,
		MaxBytes: func() int { return 1 << 20 },
	})
	t.Cleanup(func() {
		if n := s.pinned.Load(); n != 0 {
			t.Errorf("%d chunks were not released", n)
		}
	})
	return s
}

func (s *stage) lookup(id [16]byte, number int32) (Partition, error) {
	key := partitionKey{topicID: id, partition: number}
	if err := s.broken[key]; err != nil {
		return nil, err
	}
	return s.partitions[key], nil
}

// topicID is the id of the stage's topic of a name.
func topicID(name string) (id [16]byte) {
	copy(id[:], name)
	return id
}

// create makes a topic.
func (s *stage) create(name string, partitions int32) {
	s.createAs(name, topicID(name), partitions)
}

func (s *stage) createAs(name string, id [16]byte, partitions int32) {
	s.Helper()
	topic := &catalog.Topic{Name: name, ID: id, Partitions: partitions}
	s.topics.byName[name], s.topics.byID[id] = topic, topic
	for number := range partitions {
		key := partitionKey{topicID: id, partition: number}
		log := &memoryLog{pinned: &s.pinned, auto: true}
		p, err := partition.Open(s.Context(), log, storage.Identity{Topic: name, TopicID: id, Partition: number}, leaderEpoch,
			partition.Config{Log: storage.Config{SegmentBytes: 1 << 30, Delete: true}, MaxMessageBytes: 1 << 20,
				TimestampBeforeMax: partition.NoLimit, TimestampAfterMax: partition.NoLimit, ProducerExpiry: time.Hour},
			partition.NewCodecs(1<<20))
		if err != nil {
			s.Fatal(err)
		}
		s.partitions[key], s.logs[key] = p, log
	}
}

func (s *stage) drop(name string) {
	delete(s.topics.byID, s.topics.byName[name].ID)
	delete(s.topics.byName, name)
}

// produce appends a batch of one record with a value of that size.
func (s *stage) produce(topic string, number int32, size int) {
	s.Helper()
	b := record.NewBuilder(0)
	b.Add(1000, nil, make([]byte, size))
	batch, err := b.Build()
	if err != nil {
		s.Fatal(err)
	}
	p := s.partitions[partitionKey{topicID: topicID(topic), partition: number}]
	if _, err := p.Append(s.Context(), -1, batch, partition.Client); err != nil {
		s.Fatal(err)
	}
}

// log returns the log under a partition.
func (s *stage) log(topic string, number int32) *memoryLog {
	return s.logs[partitionKey{topicID: topicID(topic), partition: number}]
}

// ask names one partition in a request.
type ask struct {
	topic     string
	partition int32
	offset    int64
	maxBytes  int32
	epoch     int32 // current leader epoch; 0 stands for -1
	fetched   int32 // last fetched epoch; 0 stands for -1
}

// request builds a request of a version that wants these partitions.
func request(version int16, asks ...ask) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	req.MaxBytes = 1 << 20
	for _, a := range asks {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = a.topic, topicID(a.topic)
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = a.partition, a.offset, a.maxBytes
		if p.PartitionMaxBytes == 0 {
			p.PartitionMaxBytes = 1 << 20
		}
		if a.epoch != 0 {
			p.CurrentLeaderEpoch = a.epoch
		}
		if a.fetched != 0 {
			p.LastFetchedEpoch = a.fetched
		}
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// fetch sends a request through the codec of its version, handles it, and reads the answer as a client would.
func (s *stage) fetch(ctx context.Context, req *kmsg.FetchRequest) *kmsg.FetchResponse {
	s.Helper()
	h := protocol.Header{Key: 1, Version: req.Version, CorrelationID: 9}
	decoded, err := protocol.Decode(h, req.AppendTo(nil))
	if err != nil {
		s.Fatalf("request: %v", err)
	}
	answer, err := s.Handle(ctx, &server.Request{Header: h, Message: decoded, Client: s.client, Received: time.Now(), Stopping: s.stopping})
	if err != nil {
		s.Fatalf("handle: %v", err)
	}
	defer answer.Release()
	parts, total, err := answer.Parts(h)
	if err != nil {
		s.Fatalf("encode: %v", err)
	}
	var frame []byte
	for _, p := range parts {
		frame = append(frame, p.Bytes...)
		if frame, err = p.Chunk.AppendTo(frame); err != nil {
			s.Fatal(err)
		}
	}
	if size := binary.BigEndian.Uint32(frame); int(size) != len(frame)-4 || total != len(frame) {
		s.Fatalf("a frame of %d bytes says %d, and was announced with %d", len(frame), size+4, total)
	}
	body := frame[8:]
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = req.Version
	if resp.IsFlexible() {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		s.Fatalf("response: %v", err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.RecordBatches == nil {
				s.Errorf("partition %d of %s has null records, on which librdkafka fails", p.Partition, t.Topic)
			}
		}
	}
	return resp
}

// part finds a partition in an answer.
func part(resp *kmsg.FetchResponse, topic string, number int32) *kmsg.FetchResponseTopicPartition {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic != topic && (resp.Version < topicIDVersion || t.TopicID != topicID(topic)) {
			continue
		}
		for j := range t.Partitions {
			if t.Partitions[j].Partition == number {
				return &t.Partitions[j]
			}
		}
	}
	return nil
}

// expect compares an answer's code for a partition.
func (s *stage) expect(resp *kmsg.FetchResponse, topic string, number int32, want *kerr.Error) *kmsg.FetchResponseTopicPartition {
	s.Helper()
	p := part(resp, topic, number)
	if p == nil {
		s.Fatalf("partition %d of %s is not in the answer", number, topic)
	}
	code := int16(0)
	if want != nil {
		code = want.Code
	}
	if p.ErrorCode != code {
		s.Errorf("partition %d of %s has code %d (%v), want %d", number, topic, p.ErrorCode, kerr.ErrorForCode(p.ErrorCode), code)
	}
	return p
}

// count is how many batches records hold.
func count(t *testing.T, records []byte) (n int) {
	t.Helper()
	for len(records) > 0 {
		_, rest, err := record.Parse(records)
		if err != nil {
			t.Fatalf("after %d batches: %v", n, err)
		}
		records = rest
		n++
	}
	return n
}

// memoryLog is a partition.Log in memory, and the partition.Store that has it.
type memoryLog struct {
	partition.Log // for the methods that fetches do not get to

	events storage.Events
	pinned *atomic.Int64

	mu               sync.Mutex // guards what follows
	auto             bool       // commit at once
	batches          []record.Batch
	start, committed record.Offset
	failure          error // of reads
	reads            int
}

func (l *memoryLog) Open(_ context.Context, _ storage.Identity, _ storage.Config, e storage.Events, _ storage.Keeper) (partition.Log, error) {
	l.events = e
	return l, nil
}
func (l *memoryLog) Delete(context.Context, storage.Identity) error   { return nil }
func (l *memoryLog) List(context.Context) ([]storage.Identity, error) { return nil, nil }
func (l *memoryLog) Load(context.Context, string) (record.Offset, []byte, error) {
	return 0, nil, storage.ErrNotFound
}
func (l *memoryLog) Save(context.Context, string, record.Offset, []byte) error { return nil }
func (l *memoryLog) Close() error                                              { return nil }

func (l *memoryLog) end() record.Offset {
	if n := len(l.batches); n > 0 {
		return l.batches[n-1].NextOffset()
	}
	return 0
}

func (l *memoryLog) Bounds() (start, committed, end record.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start, l.committed, l.end()
}

func (l *memoryLog) Append(_ context.Context, epoch int32, batches ...record.Batch) (base, next record.Offset, err error) {
	l.mu.Lock()
	base = l.end()
	for _, b := range batches {
		b.SetBaseOffset(l.end())
		b.SetLeaderEpoch(epoch)
		l.batches = append(l.batches, record.Batch{Header: bytes.Clone(b.Bytes())})
	}
	next = l.end()
	auto := l.auto
	l.mu.Unlock()
	if auto {
		l.commit()
	}
	return base, next, nil
}

// commit makes all that is written readable.
func (l *memoryLog) commit() {
	l.mu.Lock()
	l.committed = l.end()
	committed := l.committed
	l.mu.Unlock()
	l.events.Committed(committed)
}

func (l *memoryLog) DeleteBefore(_ context.Context, start record.Offset) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start = start
	return nil
}

func (l *memoryLog) Read(ctx context.Context, from, to record.Offset, maxBytes int, atLeastOne bool) (record.Chunk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.failure != nil {
		return record.Chunk{}, l.failure
	}
	var run []byte
	for _, b := range l.batches {
		switch {
		case b.NextOffset() <= from:
		case b.NextOffset() > to, len(run)+b.Size() > maxBytes && !(atLeastOne && len(run) == 0):
			return l.chunk(run), nil
		default:
			run = append(run, b.Bytes()...)
		}
	}
	return l.chunk(run), nil
}

func (l *memoryLog) chunk(run []byte) record.Chunk {
	if len(run) == 0 {
		return record.Chunk{}
	}
	l.pinned.Add(1)
	return record.NewChunk(bytes.NewReader(run), 0, len(run), nil, func() { l.pinned.Add(-1) })
}

func (l *memoryLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = err
}
