package group_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
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

// Offsets of a transaction are told when its marker is committed, and count when they are written. Without a guard, or with one
// that the end of a transaction has taken back, none is.
func TestCoordinatorInTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRuntime()
		defer func() { _ = r.Close(context.Background()) }()
		p := openShard(t, logtest.NewMemory(), 0)
		r.Load(0, p)
		synctest.Wait()
		c := group.NewCoordinator(r, func() int32 { return 1 })
		guard := func() partition.Guard {
			g, _, err := p.GuardProducer(7, 0)
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		txnCommit := func(offset int64, g partition.Guard) error {
			req := kmsg.NewPtrTxnOffsetCommitRequest()
			req.Version, req.Group, req.ProducerID = 5, "g", 7
			long := strings.Repeat("x", 101)
			req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{
				{Partition: 0, Offset: offset}, {Partition: 1, Offset: offset, Metadata: &long},
			}}}
			m, err := c.Do(t.Context(), "g", group.Input{Request: group.TxnCommit{Request: req, Guard: g}})
			if err == nil {
				ps := m.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions
				if ps[0].ErrorCode != 0 || ps[1].ErrorCode != kerr.OffsetMetadataTooLarge.Code {
					t.Errorf("%+v", ps)
				}
			}
			return err
		}
		mark := func(commit bool) {
			if err := r.DoMarker(t.Context(), 0, partition.Marker{ProducerID: 7, Commit: commit, Version: 1}); err != nil {
				t.Error(err)
			}
		}
		told := func(want int64) {
			t.Helper()
			m, err := c.Do(t.Context(), "g", group.Input{Request: group.Fetch{Group: "g", Topics: []group.FetchTopic{{Topic: "t", Partitions: []int32{0}}}}})
			if err != nil {
				t.Fatal(err)
			}
			if got := m.(*kmsg.OffsetFetchResponseGroup).Topics[0].Partitions[0].Offset; got != want {
				t.Errorf("told %d, want %d", got, want)
			}
		}
		if err := txnCommit(5, 0); !errors.Is(err, kerr.InvalidTxnState) {
			t.Errorf("without a guard: %v", err)
		}
		late := guard()
		if err := txnCommit(6, late); err != nil {
			t.Error(err)
		}
		told(-1)
		mark(true)
		told(6)
		if err := txnCommit(7, late); !errors.Is(err, kerr.InvalidTxnState) {
			t.Errorf("behind the end: %v", err)
		}
		if err := txnCommit(8, guard()); err != nil {
			t.Error(err)
		}
		if err := txnCommit(9, 0); err != nil { // it is open now
			t.Error(err)
		}
		mark(false)
		told(6)
		if got, want := c.Stats(), (group.Stats{Committed: 3, Refused: 7}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
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
