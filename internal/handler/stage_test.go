package handler

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/internal/coordinator"
	"segue/internal/coordinator/group"
	"segue/internal/coordinator/txn"
	"segue/internal/handler/fetch"
	"segue/internal/placement"
	"segue/internal/server"
	"segue/partition"
	"segue/protocol"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
)

const (
	nodeID      = 7
	leaderEpoch = 3
	clusterID   = "cluster-of-the-tests"
)

// stage is all handlers over a catalog and logs in memory.
type stage struct {
	*testing.T
	rows    map[int16]server.API
	catalog *memoryCatalog
	layers  *config.Layers
	view    *view
	manager *partition.Manager
	client  *server.Client
	syncs   atomic.Pointer[func() error] // what a sync of a segment does first
	looks   atomic.Pointer[error]        // what asking for the size of a disk comes to
	refused atomic.Int64                 // topics that were too many
	runtime *coordinator.Runtime[group.Input]
	txns    *stageTransactions
	groups  *stageGroups
	// beforeMarkers is called before the coordinator has markers written.
	beforeMarkers atomic.Pointer[func()]
}

// stageTransactions is the coordinator of transactions, and can be watched.
type stageTransactions struct {
	*txn.Coordinator
	asks atomic.Pointer[func(request any)] // is told what is asked
}

func (x *stageTransactions) Do(ctx context.Context, id string, in txn.Input) (any, error) {
	if f := x.asks.Load(); f != nil {
		(*f)(in.Request)
	}
	return x.Coordinator.Do(ctx, id, in)
}

// stageGroups is the coordinator of groups, and can be made to fail.
type stageGroups struct {
	*group.Coordinator
	fail atomic.Pointer[error]
}

func (g *stageGroups) Do(ctx context.Context, id string, in group.Input) (any, error) {
	if err := g.fail.Load(); err != nil {
		return nil, *err
	}
	return g.Coordinator.Do(ctx, id, in)
}

func (g *stageGroups) Each(ctx context.Context, in group.Input) ([]any, error) {
	if err := g.fail.Load(); err != nil {
		return nil, *err
	}
	return g.Coordinator.Each(ctx, in)
}

// newStage makes a stage with these broker configs, name and value in turn.
func newStage(t *testing.T, settings ...string) *stage {
	t.Helper()
	s := &stage{T: t, rows: map[int16]server.API{}, client: &server.Client{ID: 1, Listener: "INTERNAL"}}
	static := []config.Setting{{Name: "node.id", Value: "7"}, {Name: "num.partitions", Value: "2"}}
	for i := 0; i < len(settings); i += 2 {
		static = append(static, config.Setting{Name: settings[i], Value: settings[i+1]})
	}
	layers, _, err := config.New(static)
	if err != nil {
		t.Fatal(err)
	}
	s.layers, s.view = layers, &view{}

	fs := vfs.Inject(vfs.NewCrashable(), func(o vfs.Op) error {
		if f := s.syncs.Load(); f != nil && o.Kind == vfs.OpSyncFile && strings.HasSuffix(o.Name, ".log") {
			return (*f)()
		}
		if err := s.looks.Load(); err != nil && o.Kind == vfs.OpTotal {
			return *err
		}
		return nil
	})
	dir, err := storage.OpenDir("/data", storage.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	s.manager = partition.NewManager(partition.Local(dir), partition.ManagerOptions{Codecs: partition.NewCodecs(1 << 20)})
	t.Cleanup(func() {
		s.manager.Close(context.Background())
		dir.Close()
	})
	s.catalog = newMemoryCatalog(t, s.follow)
	s.runtime = coordinator.New(coordinator.Options[group.Input]{Machine: s.machine})
	t.Cleanup(func() {
		if err := s.runtime.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s.groups = &stageGroups{Coordinator: group.NewCoordinator(s.runtime, func() int32 {
		topic, ok := s.catalog.Image().Topic(catalog.GroupOffsetsTopic)
		if !ok {
			return 0
		}
		return topic.Partitions
	})}

	ids := txn.NewProducerIDs(s.catalog.AllocateProducerIDs)
	s.txns = &stageTransactions{Coordinator: txn.NewCoordinator(txn.Config{
		Machine: func() txn.Options {
			return txn.Options{
				Version:    func() int16 { return s.catalog.Image().FeatureLevel(catalog.TransactionVersion) },
				MaxTimeout: 15 * time.Minute, Expiration: time.Hour, ExpireEvery: time.Hour,
				MaxRecordBytes: func() int { return 1 << 20 }, Patience: time.Second, Waiting: 100,
			}
		},
		Shards: func() int32 {
			if topic, ok := s.catalog.Image().Topic(catalog.TransactionStateTopic); ok {
				return topic.Partitions
			}
			return 0
		},
		IDs: ids, Markers: s,
	})}
	t.Cleanup(func() {
		if err := s.txns.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})

	fetcher := fetch.New(fetch.Config{
		Topics: func() fetch.Topics { return s.catalog.Image() }, View: s.view, Sessions: 10,
		Lookup:   func(id [16]byte, p int32) (fetch.Partition, error) { return s.manager.Get(id, p) },
		MaxBytes: func() int { return 1 << 20 },
	})
	for _, row := range APIs(Deps{
		Log: zerolog.Nop(), Broker: context.Background(), NodeID: nodeID, Config: func() *config.Layers { return s.layers },
		Catalog: s.catalog, Placement: s.view, Partition: s.manager.Get, Fetch: fetcher, Groups: s.groups, Dirs: []*storage.Dir{dir},
		Transactions: s.txns, ProducerIDs: ids, Markers: s,
		MaxPartitions: layers.Broker().MaxPartitions, Refused: &s.refused,
	}) {
		s.rows[row.Key] = row
	}
	return s
}

// follow does what a commit leads to.
func (s *stage) follow(prev, next *catalog.Image) error {
	node := strconv.Itoa(nodeID)
	if prev.BrokerConfigs(node) != nil || prev.BrokerConfigs("") != nil || len(next.Brokers()) > 0 {
		s.layers = s.layers.WithDynamic(next.BrokerConfigs(node), next.BrokerConfigs(""))
	}
	for _, t := range next.Topics() {
		from := int32(0)
		if old, ok := prev.TopicByID(t.ID); ok {
			from = old.Partitions
			s.manager.Configure(map[[16]byte]partition.Config{t.ID: s.partitionConfig(t)})
		}
		if from == t.Partitions {
			continue
		}
		if err := s.open(t, from); err != nil {
			return err
		}
	}
	return nil
}

// partitionConfig is what the partitions of a topic are told.
func (s *stage) partitionConfig(t *catalog.Topic) partition.Config {
	settings := s.layers.Topic(t.Configs)
	c := partition.Config{
		Log: storage.Config{SegmentBytes: settings.SegmentBytes, SegmentAge: settings.SegmentAge, IndexBytes: settings.IndexBytes,
			IndexInterval: settings.IndexInterval, FlushMessages: 1, Delete: settings.Delete, Compact: settings.Compact,
			RetentionBytes: -1, RetentionAge: -1},
		MaxMessageBytes:    settings.MaxMessageBytes,
		TimestampBeforeMax: partition.NoLimit, TimestampAfterMax: settings.TimestampAfterMax,
		ProducerExpiry: time.Hour,
	}
	if settings.LogAppendTime {
		c.TimestampType = record.LogAppendTime
	}
	return c
}

// open opens the partitions of a topic that are new.
func (s *stage) open(t *catalog.Topic, from int32) error {
	c := s.partitionConfig(t)
	var openings []partition.Opening
	for p := from; p < t.Partitions; p++ {
		id := storage.Identity{Topic: t.Name, TopicID: t.ID, Partition: p}
		openings = append(openings, partition.Opening{Identity: id, Epoch: leaderEpoch, Config: c})
	}
	if err := s.manager.Open(context.Background(), openings, nil); err != nil || !t.Internal {
		return err
	}
	for i := from; i < t.Partitions; i++ {
		p, err := s.manager.Get(t.ID, i)
		switch {
		case err != nil:
			return err
		case t.Name == catalog.GroupOffsetsTopic:
			s.runtime.Load(i, p)
		default:
			s.txns.Load(i, p)
		}
	}
	return nil
}

// WriteMarkers implements txn.MarkerWriter.
func (s *stage) WriteMarkers(ctx context.Context, m partition.Marker, to []txn.Partition) []error {
	if f := s.beforeMarkers.Load(); f != nil {
		(*f)()
	}
	errs := make([]error, len(to))
	for i, at := range to {
		topic, ok := s.catalog.Image().Topic(at.Topic)
		if !ok || !topic.Has(at.Partition) {
			errs[i] = kerr.UnknownTopicOrPartition
			continue
		}
		if at.Topic == catalog.GroupOffsetsTopic {
			errs[i] = s.runtime.DoMarker(ctx, at.Partition, m)
			continue
		}
		p, err := s.manager.Get(topic.ID, at.Partition)
		if err == nil {
			var ack partition.Ack
			if ack, err = p.AppendMarker(ctx, -1, m); err == nil {
				err = ack.Wait(ctx)
			}
		}
		errs[i] = err
	}
	return errs
}

// machine makes the machine of a shard.
func (s *stage) machine(int32) coordinator.Machine[group.Input] {
	ids := 0
	return group.New(group.Options{
		MinSession: 6 * time.Second, MaxSession: 30 * time.Minute, MaxSize: 1000,
		OffsetsRetention: 7 * 24 * time.Hour, OffsetsCheckInterval: 10 * time.Minute,
		MaxOffsetMetadata: 4096, MaxRecordBytes: func() int { return 1 << 20 },
		MemberID: func(prefix string) string {
			ids++
			return fmt.Sprintf("%s-%d", prefix, ids)
		},
	})
}

// create makes a topic without asking the handlers, with configs as name and value in turn.
func (s *stage) create(name string, partitions int32, configs ...string) *catalog.Topic {
	s.Helper()
	c := catalog.CreateTopic{Name: name, ID: catalog.NewTopicID(), Partitions: partitions, ReplicationFactor: 1,
		Configs: map[string]string{}, Internal: catalog.IsInternal(name)}
	for i := 0; i < len(configs); i += 2 {
		c.Configs[configs[i]] = configs[i+1]
	}
	image, err := s.catalog.Commit(context.Background(), catalog.Any, c)
	if err != nil {
		s.Fatal(err)
	}
	topic, _ := image.Topic(name)
	return topic
}

// partition returns an open partition.
func (s *stage) partition(topic *catalog.Topic, number int32) *partition.Partition {
	s.Helper()
	p, err := s.manager.Get(topic.ID, number)
	if err != nil {
		s.Fatal(err)
	}
	return p
}

// request encodes and decodes a message in a version, as the wire would, and wraps it for a handler.
func (s *stage) request(m kmsg.Request, version int16) *server.Request {
	s.Helper()
	m.SetVersion(version)
	client := "test"
	h := protocol.Header{Key: m.Key(), Version: version, CorrelationID: 5, ClientID: &client}
	body := m.AppendTo(nil)
	r := &server.Request{Header: h, Client: s.client, Received: time.Now()}
	if s.rows[m.Key()].Begin != nil {
		r.Body = body
		return r
	}
	decoded, err := protocol.Decode(h, body)
	if err != nil {
		s.Fatalf("%s v%d: %v", kmsg.NameForKey(m.Key()), version, err)
	}
	r.Message = decoded
	return r
}

// ask has a request answered and decodes the answer. Nil stands for none.
func (s *stage) ask(m kmsg.Request, version int16) kmsg.Response {
	s.Helper()
	resp, err := s.try(s.request(m, version))
	if err != nil {
		s.Fatalf("%s v%d: %v", kmsg.NameForKey(m.Key()), version, err)
	}
	return resp
}

// try has a request answered, perhaps with the end of the connection.
func (s *stage) try(r *server.Request) (kmsg.Response, error) {
	s.Helper()
	row := s.rows[r.Key]
	if row.Begin != nil {
		return s.finish(r, s.begin(r))
	}
	answer, err := row.Handle(s.Context(), r)
	return s.decode(r, answer), err
}

// begin has a request take effect.
func (s *stage) begin(r *server.Request) server.Pending {
	return s.rows[r.Key].Begin(s.Context(), []*server.Request{r})[0]
}

// finish waits for what was begun.
func (s *stage) finish(r *server.Request, pending server.Pending) (kmsg.Response, error) {
	s.Helper()
	if pending == nil {
		return nil, nil
	}
	answer, err := pending.Answer(s.Context())
	return s.decode(r, answer), err
}

func (s *stage) decode(r *server.Request, answer server.Response) kmsg.Response {
	s.Helper()
	if answer == nil {
		return nil
	}
	defer answer.Release()
	parts, size, err := answer.Parts(r.Header)
	if err != nil {
		s.Fatal(err)
	}
	var frame []byte
	for _, p := range parts {
		frame = append(frame, p.Bytes...)
		if frame, err = p.Chunk.AppendTo(frame); err != nil {
			s.Fatal(err)
		}
	}
	if len(frame) != size || int(binary.BigEndian.Uint32(frame)) != size-4 {
		s.Fatalf("a frame of %d bytes was announced with %d, and says %d", len(frame), size, binary.BigEndian.Uint32(frame))
	}
	if id := binary.BigEndian.Uint32(frame[4:]); int32(id) != r.CorrelationID {
		s.Errorf("correlation id %d, want %d", id, r.CorrelationID)
	}
	resp := kmsg.ResponseForKey(r.Key)
	resp.SetVersion(r.Version)
	if r.Unsupported {
		resp.SetVersion(0)
	}
	body := frame[8:]
	if resp.IsFlexible() && r.Key != int16(kmsg.ApiVersions) {
		if body[0] != 0 {
			s.Errorf("the header has %d tagged fields", body[0])
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		s.Fatalf("%s v%d: the answer cannot be read: %v", kmsg.NameForKey(r.Key), r.Version, err)
	}
	return resp
}

// expectCode compares an error code, nil standing for none.
func expectCode(t *testing.T, what string, got int16, want *kerr.Error) {
	t.Helper()
	code := int16(0)
	if want != nil {
		code = want.Code
	}
	if got != code {
		t.Errorf("%s: code %d (%v), want %d (%v)", what, got, kerr.ErrorForCode(got), code, want)
	}
}

// view is a placement of one broker with two listeners.
type view struct {
	coordinator int32 // 0: there is none
}

func (*view) ClusterID() string { return clusterID }
func (*view) Controller() int32 { return nodeID }

func (*view) Brokers(listener string) []placement.Broker {
	rack := "r1"
	return []placement.Broker{{NodeID: nodeID, Host: strings.ToLower(listener), Port: 9000, Rack: &rack}}
}

func (v *view) Leader([16]byte, int32) placement.Leader {
	return placement.Leader{NodeID: nodeID, Epoch: leaderEpoch, Replicas: []int32{nodeID}, ISR: []int32{nodeID}}
}

func (v *view) Coordinator(int8, string) (int32, error) {
	if v.coordinator == 0 {
		return -1, kerr.CoordinatorNotAvailable
	}
	return v.coordinator, nil
}

// memoryCatalog is a catalog.Store that forgets.
type memoryCatalog struct {
	image atomic.Pointer[catalog.Image]
	// follow is called with each image, before it is the newest.
	follow func(prev, next *catalog.Image) error

	mu       sync.Mutex // held over a commit; guards what follows
	before   func()     // called before a commit, once
	fail     error      // of commits
	nextID   int64
	idBlocks []int
}

func newMemoryCatalog(t *testing.T, follow func(prev, next *catalog.Image) error) *memoryCatalog {
	c := &memoryCatalog{follow: follow, nextID: 4000}
	image, err := new(catalog.Image).Apply(catalog.Start{ClusterID: clusterID})
	if err != nil {
		t.Fatal(err)
	}
	c.image.Store(image)
	return c
}

func (c *memoryCatalog) Image() *catalog.Image { return c.image.Load() }

func (c *memoryCatalog) Commit(_ context.Context, at int64, changes ...catalog.Change) (*catalog.Image, error) {
	c.mu.Lock()
	before := c.before
	c.before = nil
	c.mu.Unlock()
	if before != nil {
		before()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return nil, c.fail
	}
	image := c.image.Load()
	if at != catalog.Any && at != image.Version() {
		return nil, &catalog.ConflictError{At: at, Current: image.Version()}
	}
	next, err := image.Apply(changes...)
	if err != nil {
		return nil, err
	}
	if err := c.follow(image, next); err != nil {
		return nil, err
	}
	c.image.Store(next)
	return next, nil
}

func (c *memoryCatalog) AllocateProducerIDs(_ context.Context, n int) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return 0, c.fail
	}
	c.idBlocks = append(c.idBlocks, n)
	first := c.nextID
	c.nextID += int64(n)
	return first, nil
}

func (*memoryCatalog) Watch(func(prev, next *catalog.Image)) func() { return func() {} }
func (*memoryCatalog) Close() error                                 { return nil }

var errDisk = errors.New("the disk is on fire")

// topicNames lists the topics of an image.
func topicNames(image *catalog.Image) (names []string) {
	for _, t := range image.Topics() {
		names = append(names, t.Name)
	}
	return names
}

// stringOf is the string behind a pointer, or a mark for none.
func stringOf(s *string) string {
	if s == nil {
		return "<nil>"
	}
	return *s
}

// sortedKeys lists the keys of a map in order.
func sortedKeys[V any](m map[int16]V) []int16 { return slices.Sorted(maps.Keys(m)) }
