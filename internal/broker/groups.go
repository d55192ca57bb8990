package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/internal/coordinator"
	"segue/internal/coordinator/group"
	"segue/partition"
	"segue/storage/record"
)

// groups is the coordinator of consumer groups and what keeps its shards in step with the partitions of
// __consumer_offsets and with the topics that there are.
type groups struct {
	runtime     *coordinator.Runtime[group.Input]
	coordinator *group.Coordinator
	catalog     catalog.Store
	settings    func() *config.Layers
	partition   func(topicID [16]byte, partition int32) (*partition.Partition, error)
	log         zerolog.Logger
	rebalances  atomic.Int64

	stop    context.CancelFunc
	stopped sync.WaitGroup

	mu    sync.Mutex
	stale map[int32]bool // shards that may hold offsets of topics that do not exist
	bell  chan struct{}  // has room for one: there are some
}

// newGroups returns the coordinator without any shard.
func newGroups(settings func() *config.Layers, store catalog.Store, partitions *partition.Manager, log zerolog.Logger) *groups {
	ctx, stop := context.WithCancel(context.Background())
	g := &groups{
		catalog: store, settings: settings, partition: partitions.Get, log: log, stop: stop,
		stale: make(map[int32]bool), bell: make(chan struct{}, 1),
	}
	few := log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Minute})
	g.runtime = coordinator.New(coordinator.Options[group.Input]{
		Machine: func(int32) coordinator.Machine[group.Input] { return group.New(g.options(settings(), few)) },
		Log:     log,
	})
	g.coordinator = group.NewCoordinator(g.runtime, partitionsOf(store, catalog.GroupOffsetsTopic))
	g.stopped.Go(func() { g.sweep(ctx) })
	return g
}

// options are those of a machine that is made now.
func (g *groups) options(settings *config.Layers, log zerolog.Logger) group.Options {
	s := settings.Broker().Groups
	return group.Options{
		MinSession: s.MinSession, MaxSession: s.MaxSession, MaxSize: s.MaxSize,
		InitialRebalanceDelay: s.InitialRebalanceDelay,
		OffsetsRetention:      s.OffsetsRetention, OffsetsCheckInterval: s.OffsetsCheckInterval,
		MaxOffsetMetadata: s.MaxOffsetMetadata,
		MaxRecordBytes: func() int {
			return maxRecordBytes(g.settings(), g.catalog.Image(), catalog.GroupOffsetsTopic)
		},
		MemberID: newMemberID,
		Rebalancing: func(r group.Rebalance) {
			g.rebalances.Add(1)
			log.Info().Str("group", r.Group).Int32("generation", r.Generation).Int("members", r.Members).Str("reason", r.Reason).
				Msg("group rebalances")
		},
	}
}

// maxRecordBytes is what a record of a coordinator's topic may have: a group, or a transactional id, is one, and Kafka's own
// limit on it is that of a batch.
func maxRecordBytes(settings *config.Layers, image *catalog.Image, name string) int {
	const overhead = record.HeaderSize + 64
	var overrides map[string]string
	if topic, ok := image.Topic(name); ok {
		overrides = topic.Configs
	}
	return max(0, int(settings.Topic(overrides).MaxMessageBytes)-overhead)
}

// newMemberID returns the id of a new member as Kafka makes it: a prefix, a dash and a random UUID.
func newMemberID(prefix string) string {
	u := catalog.NewTopicID() // which is one
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", prefix, u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// shards are those of a coordinator, each of which lives in a partition of the coordinator's topic.
type shards interface {
	// load has a shard loaded from a partition that was opened, or could not be.
	load(topicID [16]byte, shard int32)
	// unload ends a shard. Nothing more is appended to its partition when it returns.
	unload(shard int32)
	// unloadAll ends all shards: the topic is deleted.
	unloadAll()
}

// load implements shards.
func (g *groups) load(topicID [16]byte, shard int32) {
	g.runtime.Load(shard, shardLog(g.partition(topicID, shard)))
	g.topicsDeleted(shard)
}

// unload implements shards.
func (g *groups) unload(shard int32) { g.runtime.Unload(shard) }

// unloadAll implements shards.
func (g *groups) unloadAll() {
	for _, shard := range g.runtime.Shards() {
		g.runtime.Unload(shard)
	}
}

// topicsDeleted has offsets of topics that do not exist taken out of some shards, soon.
func (g *groups) topicsDeleted(shards ...int32) {
	g.mu.Lock()
	for _, shard := range shards {
		g.stale[shard] = true
	}
	g.mu.Unlock()
	select {
	case g.bell <- struct{}{}:
	default:
	}
}

// How often, at the most, shards are looked through for offsets of deleted topics, how long a look may take, and the
// pause where it did not succeed: while a shard is loading, or its log cannot be written.
const (
	sweepPause    = 100 * time.Millisecond
	sweepPatience = time.Minute
	sweepRetry    = time.Second
)

// sweep takes the offsets of deleted topics out of the shards. It goes by the catalog and not by what was deleted, so it
// makes no difference whether a shard was there at the time, or the broker.
func (g *groups) sweep(ctx context.Context) {
	for {
		select {
		case <-g.bell:
		case <-ctx.Done():
			return
		}
		g.mu.Lock()
		shards := g.stale
		g.stale = make(map[int32]bool)
		g.mu.Unlock()
		var asked sync.WaitGroup
		var again atomic.Bool
		for shard := range shards {
			asked.Go(func() {
				if err := g.sweepShard(ctx, shard); err != nil {
					g.topicsDeleted(shard)
					again.Store(true)
				}
			})
		}
		asked.Wait()
		pause := sweepPause
		if again.Load() {
			pause = sweepRetry
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// sweepShard returns why the shard has to be looked through again.
func (g *groups) sweepShard(ctx context.Context, shard int32) error {
	ctx, cancel := context.WithTimeout(ctx, sweepPatience)
	defer cancel()
	m, err := g.runtime.Do(ctx, shard, group.Input{Request: group.TopicsDeleted{Exists: g.exists}})
	if errors.Is(err, coordinator.ErrNotCoordinator) {
		return nil // it will be loaded again, or never
	}
	if dropped, ok := m.(group.Dropped); ok && dropped.Offsets > 0 {
		g.log.Info().Int32("shard", shard).Int("offsets", dropped.Offsets).Msg("committed offsets of deleted topics are gone")
	}
	return err
}

// exists says whether there is a topic of that name and id; a zero id is any. Commits are checked against the catalog
// before the coordinator sees them, and its image only moves on: so no offset is taken for a deleted topic's whose topic
// is younger than a look.
func (g *groups) exists(name string, id [16]byte) bool {
	topic, ok := g.catalog.Image().Topic(name)
	return ok && (id == [16]byte{} || id == topic.ID)
}

// close ends the coordinator: what was asked is answered, and members who wait for others are told to look for another
// coordinator. Shards that load are given up, and so is what is not done when ctx ends.
func (g *groups) close(ctx context.Context) error {
	g.stop()
	err := g.runtime.Close(ctx)
	g.stopped.Wait()
	return err
}

// partitionsOf returns what says how many partitions a topic has, 0 while it is not there.
func partitionsOf(store catalog.Store, name string) func() int32 {
	return func() int32 {
		if topic, ok := store.Image().Topic(name); ok {
			return topic.Partitions
		}
		return 0
	}
}

// shardLog is the log that a shard lives in: a partition that was opened, or could not be.
func shardLog(p *partition.Partition, err error) coordinator.Log {
	if err != nil {
		return offline{err}
	}
	return p
}

// offline is the log of a partition that could not be opened.
type offline struct{ err error }

var _ coordinator.Log = offline{}

// Append implements coordinator.Log.
func (o offline) Append(context.Context, int32, record.Batch, partition.Origin) (partition.Ack, error) {
	return partition.Ack{}, o.err
}

// Read implements coordinator.Log.
func (o offline) Read(context.Context, partition.ReadRequest) (partition.ReadResult, error) {
	return partition.ReadResult{}, o.err
}

// Offsets implements coordinator.Log.
func (offline) Offsets() partition.Offsets { return partition.Offsets{} }

// Watch implements coordinator.Log.
func (offline) Watch(*partition.Waiter, record.Offset, bool) {}

// Unwatch implements coordinator.Log.
func (offline) Unwatch(*partition.Waiter) {}

// Await implements coordinator.Log.
func (o offline) Await(context.Context, record.Offset) error { return o.err }

// Ended implements coordinator.Log.
func (o offline) Ended() error { return o.err }

// LeaderEpoch implements coordinator.Log.
func (offline) LeaderEpoch() int32 { return -1 }

// CheckProducer implements coordinator.Log.
func (o offline) CheckProducer(int64, int16, partition.Guard) error { return o.err }

// AppendMarker implements coordinator.Log.
func (o offline) AppendMarker(context.Context, int32, partition.Marker) (partition.Ack, error) {
	return partition.Ack{}, o.err
}
