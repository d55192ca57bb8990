package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/internal/coordinator"
	"segue/internal/coordinator/group"
	"segue/storage/vfs"
)

// createTopic makes a topic past all handlers.
func createTopic(t *testing.T, b *Broker, name string, partitions int32) *catalog.Topic {
	t.Helper()
	c := catalog.CreateTopic{Name: name, ID: catalog.NewTopicID(), Partitions: partitions, ReplicationFactor: 1}
	if catalog.IsInternal(name) {
		c.Internal, c.Configs = true, map[string]string{"cleanup.policy": "compact"}
	}
	image, err := b.catalog.Commit(t.Context(), catalog.Any, c)
	if err != nil {
		t.Fatal(err)
	}
	topic, _ := image.TopicByID(c.ID)
	return topic
}

func deleteTopic(t *testing.T, b *Broker, topic *catalog.Topic) {
	t.Helper()
	if _, err := b.catalog.Commit(t.Context(), catalog.Any, catalog.DeleteTopic{ID: topic.ID}); err != nil {
		t.Fatal(err)
	}
}

// commitOffset commits an offset for partition 0 of a topic.
func commitOffset(b *Broker, groupID string, topic *catalog.Topic, offset int64) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, groupID, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	req.Topics = []kmsg.OffsetCommitRequestTopic{{
		Topic: topic.Name, TopicID: topic.ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p},
	}}
	m, err := b.groups.coordinator.Do(context.Background(), groupID, group.Input{Request: req})
	if err == nil && m.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode != 0 {
		err = fmt.Errorf("the commit is answered %+v", m)
	}
	return err
}

// mustCommit commits an offset once the shard is loaded.
func mustCommit(t *testing.T, b *Broker, groupID string, topic *catalog.Topic, offset int64) {
	t.Helper()
	eventually(t, "the commit", func() error { return commitOffset(b, groupID, topic, offset) })
}

// committedOffset returns what a group has committed for partition 0 of a topic, whatever its id; -1 for nothing.
func committedOffset(b *Broker, groupID, topic string) (int64, error) {
	in := group.Input{Request: group.Fetch{Group: groupID, Topics: []group.FetchTopic{{Topic: topic, Partitions: []int32{0}}}}}
	m, err := b.groups.coordinator.Do(context.Background(), groupID, in)
	if err != nil {
		return 0, err
	}
	return m.(*kmsg.OffsetFetchResponseGroup).Topics[0].Partitions[0].Offset, nil
}

func wantCommitted(t *testing.T, b *Broker, groupID, topic string, want int64) {
	t.Helper()
	eventually(t, "the committed offset", func() error {
		got, err := committedOffset(b, groupID, topic)
		if err == nil && got != want {
			err = fmt.Errorf("group %s has committed %d of %s, want %d", groupID, got, topic, want)
		}
		return err
	})
}

// eventually waits until f has no error.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func TestCommittedOffsetsOutliveABroker(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir)
	if err := commitOffset(b, "g", &catalog.Topic{Name: "t"}, 1); !errors.Is(err, coordinator.ErrNotCoordinator) {
		t.Errorf("without __consumer_offsets: %v", err)
	}
	createTopic(t, b, catalog.GroupOffsetsTopic, 5)
	topic := createTopic(t, b, "t", 1)
	for i := range 20 {
		mustCommit(t, b, fmt.Sprint("g", i), topic, int64(i))
	}
	stop(t, b)
	b = start(t, dir)
	for i := range 20 {
		wantCommitted(t, b, fmt.Sprint("g", i), "t", int64(i))
	}
	if n := len(b.groups.runtime.Shards()); n != 5 {
		t.Errorf("%d shards", n)
	}
}

// Offsets go with their topic: when it is deleted, and at the next start if there was no time left. Those of a topic that
// has taken its name stay.
func TestOffsetsOfADeletedTopicGo(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir)
	createTopic(t, b, catalog.GroupOffsetsTopic, 3)
	topic, other := createTopic(t, b, "t", 1), createTopic(t, b, "other", 1)
	mustCommit(t, b, "g", topic, 7)
	mustCommit(t, b, "h", topic, 7)
	mustCommit(t, b, "g", other, 8)
	deleteTopic(t, b, topic)
	again := createTopic(t, b, "t", 1)
	mustCommit(t, b, "h", again, 9)
	wantCommitted(t, b, "g", "t", -1)
	wantCommitted(t, b, "g", "other", 8)

	mustCommit(t, b, "g", again, 10)
	b.groups.stop() // nobody looks for offsets of deleted topics any more
	b.groups.stopped.Wait()
	deleteTopic(t, b, other)
	stop(t, b)
	b = start(t, dir)
	wantCommitted(t, b, "g", "other", -1)
	wantCommitted(t, b, "g", "t", 10)
	wantCommitted(t, b, "h", "t", 9)
}

// __consumer_offsets can be deleted, and all groups with it.
func TestDeletedOffsetsTopic(t *testing.T) {
	b := start(t, t.TempDir())
	offsets, topic := createTopic(t, b, catalog.GroupOffsetsTopic, 3), createTopic(t, b, "t", 1)
	mustCommit(t, b, "g", topic, 7)
	deleteTopic(t, b, offsets)
	if err := commitOffset(b, "g", topic, 8); !errors.Is(err, coordinator.ErrNotCoordinator) {
		t.Errorf("without __consumer_offsets: %v", err)
	}
	if n := len(b.groups.runtime.Shards()); n != 0 {
		t.Errorf("%d shards are left", n)
	}
	createTopic(t, b, catalog.GroupOffsetsTopic, 2)
	wantCommitted(t, b, "g", "t", -1)
	mustCommit(t, b, "g", topic, 9)
}

// A member that waits for others does not hold up the stop of a broker.
func TestStopWithAWaitingMember(t *testing.T) {
	b := start(t, t.TempDir(), "group.initial.rebalance.delay.ms=600000")
	createTopic(t, b, catalog.GroupOffsetsTopic, 1)
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.ProtocolType = 0, "g", "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 1_800_000, 1_800_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{}}}
	answered := make(chan error, 1)
	go func() {
		for {
			_, err := b.groups.coordinator.Do(context.Background(), "g", group.Input{Request: req})
			if !errors.Is(err, coordinator.ErrLoading) {
				answered <- err
				return
			}
		}
	}()
	eventually(t, "the member", func() error {
		if st := b.groups.stats(10); st.Members != 1 || st.Groups[group.PreparingRebalance] != 1 {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	begun := time.Now()
	stop(t, b)
	if took := time.Since(begun); took > stopPatience/2 {
		t.Errorf("the stop took %v", took)
	}
	if err := <-answered; !errors.Is(err, coordinator.ErrNotCoordinator) {
		t.Errorf("the member is told %v", err)
	}
}

// faultyBroker starts a broker on a disk in memory on which operations fail that fail says.
func faultyBroker(t *testing.T, disk *vfs.Crashable, fail func(vfs.Op) error) *Broker {
	t.Helper()
	list, err := config.ReadOverrides([]string{"listeners=PLAINTEXT://127.0.0.1:0", "http.listener=", "log.dirs=" + dataDir})
	if err != nil {
		t.Fatal(err)
	}
	settings, _, err := config.New(list)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(t.Context(), Config{
		Settings: settings, Log: zerolog.New(zerolog.NewTestWriter(t)), Started: time.Now(), FS: vfs.Inject(disk, fail),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(func() { stop(t, b) })
	return b
}

// A sync fails under a commit: who commits is told so, the partition is opened again, and groups go on with all that
// was committed before.
func TestCoordinatorHeals(t *testing.T) {
	disk := vfs.NewCrashable()
	var broken atomic.Bool
	b := faultyBroker(t, disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpSyncFile && strings.HasSuffix(op.Name, ".log") && strings.Contains(op.Name, "__consumer_offsets") && broken.Load() {
			return errors.Join(syscall.EIO, disk.Drop(op.Name))
		}
		return nil
	})
	createTopic(t, b, catalog.GroupOffsetsTopic, 1)
	topic := createTopic(t, b, "t", 1)
	mustCommit(t, b, "g", topic, 7)
	broken.Store(true)
	if err := commitOffset(b, "h", topic, 8); !errors.Is(err, coordinator.ErrUnavailable) {
		t.Errorf("a commit whose sync fails: %v", err)
	}
	eventually(t, "the shard knows that its log has failed", func() error {
		if _, err := committedOffset(b, "g", "t"); !errors.Is(err, coordinator.ErrUnavailable) {
			return fmt.Errorf("a fetch while the log has failed: %w", err)
		}
		return nil
	})
	broken.Store(false)
	wantCommitted(t, b, "g", "t", 7)
	mustCommit(t, b, "h", topic, 9)
	wantCommitted(t, b, "h", "t", 9)
}

// A partition that cannot be opened has a shard that says so, until it can.
func TestCoordinatorOfAnOfflinePartition(t *testing.T) {
	disk := vfs.NewCrashable()
	b := faultyBroker(t, disk, func(vfs.Op) error { return nil })
	createTopic(t, b, catalog.GroupOffsetsTopic, 1)
	topic := createTopic(t, b, "t", 1)
	mustCommit(t, b, "g", topic, 7)
	stop(t, b)
	var broken atomic.Bool
	broken.Store(true)
	b = faultyBroker(t, disk, func(op vfs.Op) error {
		if broken.Load() && strings.Contains(op.Name, "__consumer_offsets-0/") {
			return syscall.EIO
		}
		return nil
	})
	eventually(t, "the shard says that it is not available", func() error {
		if _, err := committedOffset(b, "g", "t"); !errors.Is(err, coordinator.ErrUnavailable) {
			return fmt.Errorf("it is answered %w", err)
		}
		return nil
	})
	broken.Store(false)
	wantCommitted(t, b, "g", "t", 7)
}

// The metrics have the lag of each committed offset as long as there are few, then of each group, and say what they leave out.
func TestLags(t *testing.T) {
	b := start(t, t.TempDir())
	createTopic(t, b, catalog.GroupOffsetsTopic, 2)
	topic, other := createTopic(t, b, "t", 1), createTopic(t, b, "other", 1)
	produce(t, client(t, b), "t", "a", "b", "c", "d", "e")
	mustCommit(t, b, "g", topic, 2)
	mustCommit(t, b, "g", other, 0)
	mustCommit(t, b, "h", topic, 4)
	lags := func(most int) string {
		st := b.groups.stats(most)
		for i := range st.Lags {
			st.Lags[i].Committed = 0
		}
		text := map[string]bool{}
		for _, l := range st.Lags {
			text[fmt.Sprintf("%s/%s/%d:%d", l.Group, l.Topic, l.Partition, l.Lag)] = true
		}
		return fmt.Sprint(text, " ", st.LeftOut)
	}
	for most, want := range map[int]string{
		3: "map[g/other/0:0:true g/t/0:3:true h/t/0:1:true] 0",
		2: "map[g//-1:3:true h//-1:1:true] 0",
		0: "map[] 3",
	} {
		if got := lags(most); got != want {
			t.Errorf("with %d series: %s, want %s", most, got, want)
		}
	}
	if st := b.groups.stats(1); len(st.Lags) != 1 || st.LeftOut != 1 && st.LeftOut != 2 {
		t.Errorf("with one series: %+v", st)
	}
}
