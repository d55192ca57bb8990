package broker

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/catalog"
	"segue/partition"
)

// mend opens partitions of the coordinators' topics again that could not be opened or whose log has failed, with a pause that
// grows while that does not help. All that a shard knows is what is in its log, so to open that anew is to know what is true.
// Topics of clients are left as they are: what became of their data is for an operator to look into first.
func (t *topics) mend(ctx context.Context) {
	tick := time.NewTicker(mendEvery)
	defer tick.Stop()
	tries := make(map[string]map[int32]mending) // by topic
	for name := range t.coordinators {
		tries[name] = make(map[int32]mending)
	}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for name := range t.coordinators {
			if topic, ok := t.store.Image().Topic(name); ok {
				t.mendTopic(ctx, topic, tries[name])
			}
		}
	}
}

// mendTopic opens those partitions of a topic again whose time has come.
func (t *topics) mendTopic(ctx context.Context, topic *catalog.Topic, tries map[int32]mending) {
	now := time.Now()
	for shard := range topic.Partitions {
		try, tried := tries[shard]
		switch broken := t.broken(topic.ID, shard); {
		case !broken && tried && now.After(try.next.Add(mendPauseMax)):
			delete(tries, shard) // it has held
		case broken && !now.Before(try.next):
			try.pause = min(max(mendEvery, 2*try.pause), mendPauseMax)
			try.next = now.Add(try.pause)
			tries[shard] = try
			t.mendShard(ctx, topic.ID, shard)
		}
	}
}

// mending is what was tried with a partition.
type mending struct {
	next  time.Time // not before
	pause time.Duration
}

// How often partitions are looked at, and the longest pause between two tries with one.
const (
	mendEvery    = time.Second
	mendPauseMax = time.Minute
)

// broken says whether a partition is of no use, and to open it again may help.
func (t *topics) broken(topicID [16]byte, shard int32) bool {
	p, err := t.partitions.Get(topicID, shard)
	if err == nil {
		err = p.Failure()
	}
	return errors.Is(err, kerr.KafkaStorageError)
}

func (t *topics) mendShard(ctx context.Context, topicID [16]byte, shard int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	image := t.store.Image()
	topic, there := image.TopicByID(topicID)
	if !there || !t.broken(topicID, shard) {
		return // deleted, or opened meanwhile
	}
	t.coordinators[topic.Name].unload(shard)
	if err := t.partitions.Release(ctx, topicID, shard); err != nil {
		t.log.Debug().Err(err).Int32("shard", shard).Msg("close a failed partition")
	}
	c := partitionConfig(t.settings.Load(), topic.Configs)
	t.open(ctx, []partition.Opening{opening(topic, shard, image.StartCount(), c)})
	if !t.broken(topicID, shard) {
		t.log.Info().Int32("shard", shard).Msg("coordinator's partition is open again")
	}
}
