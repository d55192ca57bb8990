package group_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
	"segue/internal/coordinator/group"
	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
	"segue/storage/record"
)

func testRuntime() *coordinator.Runtime[group.Input] {
	return coordinator.New(coordinator.Options[group.Input]{
		Machine: func(int32) coordinator.Machine[group.Input] {
			return group.New(group.Options{
				MinSession: time.Second, MaxSession: time.Minute, MaxSize: 10, OffsetsRetention: time.Hour,
				OffsetsCheckInterval: time.Minute, MaxOffsetMetadata: 100, MaxRecordBytes: func() int { return 1 << 20 },
				MemberID: func(prefix string) string { return prefix },
			})
		},
	})
}

func openShard(t *testing.T, store partition.Store, shard int32) *partition.Partition {
	t.Helper()
	c := partition.Config{
		Log: logtest.Config(), MaxMessageBytes: 1 << 20,
		TimestampBeforeMax: partition.NoLimit, TimestampAfterMax: partition.NoLimit, ProducerExpiry: time.Hour,
	}
	id := storage.Identity{Topic: "__consumer_offsets", TopicID: [16]byte{7}, Partition: shard}
	p, err := partition.Open(context.Background(), store, id, 0, c, partition.NewCodecs(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func commit(groupID string, offset int64) group.Input {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version = 8
	req.Group, req.Generation = groupID, -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "t"
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	return group.Input{Request: req}
}

// A group is found in the shard that Kafka has it in, and in no other.
func TestCoordinatorFindsTheShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shards = 5
		r := testRuntime()
		defer func() { _ = r.Close(context.Background()) }()
		topic := int32(0)
		c := group.NewCoordinator(r, func() int32 { return topic })
		if _, err := c.Do(t.Context(), "g", commit("g", 1)); !errors.Is(err, coordinator.ErrNotCoordinator) {
			t.Errorf("without the topic: %v", err)
		}
		topic = shards
		store := logtest.NewMemory()
		for i := range int32(shards) {
			r.Load(i, openShard(t, store, i))
		}
		synctest.Wait()
		var want []string
		for i := range 40 {
			id := fmt.Sprint("group-", i)
			want = append(want, id)
			m, err := c.Do(t.Context(), id, commit(id, int64(i)))
			if err != nil {
				t.Fatal(err)
			}
			if code := m.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
				t.Fatalf("commit of %s: error code %d", id, code)
			}
		}
		if got, want := c.Stats(), (group.Stats{Committed: 40}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		replies, err := c.Each(t.Context(), group.Input{Request: group.List{}})
		if err != nil || len(replies) != shards {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		var got []string
		for shard, m := range replies {
			for _, g := range m.([]kmsg.ListGroupsResponseGroup) {
				if at := coordinator.ShardOf(g.Group, shards); at != int32(shard) {
					t.Errorf("%s is in shard %d and belongs into %d", g.Group, shard, at)
				}
				got = append(got, g.Group)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("groups are %q, want %q", got, want)
		}
	})
}

// Each tells that a shard is still loading, and gives the replies of the others.
func TestEachWhileAShardLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRuntime()
		defer func() { _ = r.Close(context.Background()) }()
		store := logtest.NewMemory()
		r.Load(0, openShard(t, store, 0))
		r.Load(1, stuck{openShard(t, store, 1)})
		synctest.Wait()
		c := group.NewCoordinator(r, func() int32 { return 2 })
		replies, err := c.Each(t.Context(), group.Input{Request: group.List{}})
		if len(replies) != 1 || !errors.Is(err, coordinator.ErrLoading) {
			t.Errorf("%d replies, %v", len(replies), err)
		}
		r.Unload(1)
		if replies, err = c.Each(t.Context(), group.Input{Request: group.List{}}); len(replies) != 1 || err != nil {
			t.Errorf("once the shard has gone: %d replies, %v", len(replies), err)
		}
	})
}

// stuck is a log whose end is not committed.
type stuck struct{ *partition.Partition }

func (stuck) Await(ctx context.Context, _ record.Offset) error {
	<-ctx.Done()
	return ctx.Err()
}
