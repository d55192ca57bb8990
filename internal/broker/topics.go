package broker

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/partition"
	"segue/storage"
	"segue/storage/record"
)

// topics keeps the open partitions, and the coordinator's shards with them, in step with the catalog: each image is
// followed before the commit that made it returns, so a topic that a client was told of is there, and one that was
// deleted is not.
type topics struct {
	partitions *partition.Manager
	groups     *groups
	// coordinators are those whose state is in a topic, by its name.
	coordinators map[string]shards
	store        catalog.Store
	settings     *currentSettings
	log          zerolog.Logger

	// gone are deleted topics whose folders have lost their names, for the purger.
	gone    chan [16]byte
	stop    context.CancelFunc
	stopped sync.WaitGroup
	unwatch func()

	mu sync.Mutex // is held by who opens and deletes partitions: follow, and mend
}

// goneQueue is how many deleted topics may wait for the purger. What does not fit is purged at the next start.
const goneQueue = 1 << 12

// parallelDeletes is how many topics are deleted side by side: each waits for the disk.
const parallelDeletes = 16

// followTopics opens the partitions of the catalog's newest image and follows it from then on, until close.
func followTopics(store catalog.Store, partitions *partition.Manager, g *groups, x *transactions, settings *currentSettings, log zerolog.Logger) *topics {
	ctx, stop := context.WithCancel(context.Background())
	t := &topics{
		partitions: partitions, groups: g, store: store, settings: settings, log: log,
		coordinators: map[string]shards{catalog.GroupOffsetsTopic: g, catalog.TransactionStateTopic: x},
		gone:         make(chan [16]byte, goneQueue), stop: stop,
	}
	t.stopped.Go(func() { t.purge(ctx) })
	t.unwatch = store.Watch(t.follow)
	t.stopped.Go(func() { t.mend(ctx) })
	return t
}

func (t *topics) close() {
	t.unwatch()
	t.stop()
	t.stopped.Wait()
}

// follow is called with each image in turn. It deletes before it opens, so that a topic may come back under its name
// in one step.
func (t *topics) follow(prev, next *catalog.Image) {
	ctx := context.Background() // what the catalog holds has to come true, whoever asked for it
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.settings.Load()
	altered := t.settings.follow(prev, next)
	settings := t.settings.Load()
	known := make(map[[16]byte]bool)
	for _, topic := range prev.Deleting() {
		known[topic.ID] = true
	}
	var deletes errgroup.Group
	deletes.SetLimit(parallelDeletes)
	deleted := false
	for _, topic := range next.Deleting() {
		if !known[topic.ID] {
			deleted = true
			if c := t.coordinators[topic.Name]; c != nil {
				c.unloadAll()
			}
			deletes.Go(func() error {
				t.delete(ctx, topic)
				return nil
			})
		}
	}
	_ = deletes.Wait() // nobody returns an error
	var openings []partition.Opening
	configs := make(map[[16]byte]partition.Config) // of topics that there were before
	for _, topic := range next.Topics() {
		was, _ := prev.TopicByID(topic.ID)
		if was == topic && !altered {
			continue
		}
		c := partitionConfig(settings, topic.Configs)
		from := int32(0)
		if was != nil {
			from = was.Partitions
			if c != partitionConfig(before, was.Configs) {
				configs[topic.ID] = c
			}
		}
		for p := from; p < topic.Partitions; p++ {
			openings = append(openings, opening(topic, p, next.StartCount(), c))
		}
	}
	if len(configs) > 0 {
		t.partitions.Configure(configs)
	}
	if len(openings) > 0 {
		t.open(ctx, openings)
	}
	if deleted {
		t.groups.topicsDeleted(t.groups.runtime.Shards()...)
	}
}

func opening(topic *catalog.Topic, number, epoch int32, c partition.Config) partition.Opening {
	return partition.Opening{
		Identity: storage.Identity{Topic: topic.Name, TopicID: topic.ID, Partition: number}, Epoch: epoch, Config: c,
	}
}

// open opens partitions, and tells how far it is once that takes longer than a second. A partition that cannot be
// opened is offline; the others are not kept waiting for it.
func (t *topics) open(ctx context.Context, openings []partition.Opening) {
	start := time.Now()
	told := start
	err := t.partitions.Open(ctx, openings, func(done int) {
		if now := time.Now(); now.Sub(told) >= time.Second {
			told = now
			t.log.Info().Int("done", done).Int("of", len(openings)).Dur("took", now.Sub(start)).Msg("recovering partitions")
		}
	})
	if err != nil {
		t.log.Error().Err(err).Msg("partitions are offline")
	}
	for _, o := range openings {
		if c := t.coordinators[o.Identity.Topic]; c != nil {
			c.load(o.Identity.TopicID, o.Identity.Partition)
		}
	}
}

// delete takes the folders of a deleted topic away and hands the topic on to the purger.
func (t *topics) delete(ctx context.Context, topic *catalog.Topic) {
	if err := t.partitions.Delete(ctx, topic.Name, topic.ID); err != nil {
		t.log.Error().Err(err).Str("topic", topic.Name).Msg("deleted topic still has folders; the next start tries again")
		return
	}
	select {
	case t.gone <- topic.ID:
	default:
	}
}

// purge lets the catalog forget deleted topics once their folders are gone.
func (t *topics) purge(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-t.gone:
			if _, err := t.store.Commit(ctx, catalog.Any, catalog.PurgeTopic{ID: id}); err != nil && ctx.Err() == nil {
				t.log.Warn().Err(err).Msg("the catalog keeps a deleted topic until the next start")
			}
		}
	}
}

// partitionConfig resolves a topic's configs to what its partitions are told.
func partitionConfig(settings *config.Layers, overrides map[string]string) partition.Config {
	s := settings.Topic(overrides)
	c := partition.Config{
		Log: storage.Config{
			SegmentBytes: s.SegmentBytes, SegmentAge: s.SegmentAge, SegmentJitter: s.SegmentJitter,
			IndexBytes: s.IndexBytes, IndexInterval: s.IndexInterval,
			FlushMessages: s.FlushMessages, FlushInterval: s.FlushInterval,
			Delete: s.Delete, Compact: s.Compact, TombstoneAge: s.DeleteRetention, MinDirtyRatio: s.MinCleanableRatio,
			MinCompactionLag: s.MinCompactionLag, MaxCompactionLag: s.CompactionLag,
			RetentionBytes: s.RetentionBytes, RetentionAge: s.Retention,
		},
		MaxMessageBytes:    s.MaxMessageBytes,
		TimestampBeforeMax: s.TimestampBeforeMax,
		TimestampAfterMax:  s.TimestampAfterMax,
		ProducerExpiry:     settings.Broker().ProducerExpiry,
	}
	if s.LogAppendTime {
		c.TimestampType = record.LogAppendTime
	}
	c.Recompress, c.Compression = recompression(s)
	return c
}

// recompression says whether batches are stored in a codec of the topic's choice, and in which.
func recompression(s config.TopicSettings) (bool, record.Compression) {
	switch s.Compression {
	case config.CompressionUncompressed:
		return true, record.Compression{Codec: record.None}
	case config.CompressionGzip:
		return true, record.Compression{Codec: record.Gzip, Level: s.GzipLevel}
	case config.CompressionSnappy:
		return true, record.Compression{Codec: record.Snappy}
	case config.CompressionLZ4:
		return true, record.Compression{Codec: record.LZ4, Level: s.LZ4Level}
	case config.CompressionZstd:
		return true, record.Compression{Codec: record.Zstd, Level: s.ZstdLevel}
	}
	return false, record.Compression{}
}
