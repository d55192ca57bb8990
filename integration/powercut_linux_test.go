//go:build integration

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/history"
)

// cuts is how often a test takes the power away; many more times if tests may go on for any time.
func cuts() int { return orLong(3, 50) }

// brokenDisk matches what a broker says of a disk that fails.
func brokenDisk(e entry) bool {
	return strings.Contains(e.raw, "input/output error") || strings.Contains(e.raw, "read-only file system") ||
		strings.Contains(e.raw, "structure needs cleaning")
}

// powerCut takes the power away while the broker runs, and gives it back. The broker is halted first, in the middle of
// whatever it does, as the machine is by a real cut: it says nothing any more. What it has asked of the kernel goes on; and
// ext4 may let an fdatasync that is under way succeed although the shutdown has dropped its pages.
func (b *broker) powerCut(d *realDisk) {
	b.t.Helper()
	b.halt()
	d.cutPower()
	b.kill()
	d.powerUp(b)
}

// halt stops the process. No thread of it runs when halt returns; some may be in the kernel and stop when they leave it.
func (b *broker) halt() {
	b.t.Helper()
	b.signal(syscall.SIGSTOP)
	tasks := fmt.Sprintf("/proc/%d/task/*/stat", b.run.cmd.Process.Pid)
	eventually(b.t, patience, "the broker is halted", func() bool {
		files, err := filepath.Glob(tasks)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, file := range files {
			stat, err := os.ReadFile(file)
			if err != nil {
				return false // a thread that has just ended
			}
			_, rest, _ := strings.Cut(string(stat), ") ")
			if !strings.HasPrefix(rest, "T") && !strings.HasPrefix(rest, "D") {
				return false
			}
		}
		return len(files) > 0
	})
}

// TestPowerCut takes the power away again and again while producers write, consumers read, and topics come and go, on
// each file system that can be made here. Nothing may be lost of what was acknowledged or shown to a consumer.
func TestPowerCut(t *testing.T) {
	for _, fs := range []struct {
		name, fsType, options string
		stays                 bool
	}{
		{"ext4", "ext4", "", false},
		{"ext4 without order of data", "ext4", "data=writeback", false},
		{"ext4 with data in the journal", "ext4", "data=journal", false},
		{"ext4 without delayed allocation", "ext4", "nodelalloc", false},
		{"ext4 on a disk that goes and comes back while the machine stays up", "ext4", "", true},
		{"xfs", "xfs", "", false},
		{"btrfs", "btrfs", "", false},
	} {
		t.Run(fs.name, func(t *testing.T) {
			d := newLoopDisk(t, fs.fsType, int64(512*cuts()/3), fs.options)
			d.stays = fs.stays
			d.cutPower() // or it cannot be cut, and the test is skipped
			d.unmount()
			d.mount()
			b := newBroker(t, onlyByRequest).on(d)
			b.launch()
			c := newCrowd(b, seeded(t))
			topic := c.writeAll(t, "t", 4, "segment.bytes", "1048576", "segment.index.bytes", "600")
			many, err := c.create(within(t, patience), "many", manyPartitions, 0)
			if err != nil {
				t.Fatal(err)
			}
			c.write(&c.writers, many, writings()[0], false)
			c.follow(&c.readers, topic, false)
			c.survey(&c.readers, topic)
			topics := &topicChurn{}
			for n := range cuts() {
				c.awaitAcks(t, rand.Int64N(2000))
				topics.work(t, b, n)
				c.awaitAcks(t, rand.Int64N(500))
				cut := c.rec.Fault(history.Kill)
				b.powerCut(d)
				b.launch()
				cut.End(history.OK, history.Nowhere)
				topics.check(t, b)
			}
			c.awaitAcks(t, 100)
			c.finish(t, topic, many)
			c.check(t)
			topics.check(t, b)
		})
	}
}

// topicChurn makes and deletes topics, and knows which there are.
type topicChurn struct {
	live map[string][16]byte // ids
	gone []string
}

// work makes two topics, writes to one, and deletes one of before.
func (c *topicChurn) work(t testing.TB, b *broker, n int) {
	t.Helper()
	w := b.dial(t)
	defer w.conn.Close()
	if c.live == nil {
		c.live = map[string][16]byte{}
	}
	for _, kind := range []string{"empty", "full"} {
		name := fmt.Sprintf("%s%d", kind, n)
		b.createTopic(t, name, 2)
		c.live[name] = w.topicID(name)
		if kind == "full" {
			w.produce(name, 1, batchOf(t, "one", "two"))
		}
	}
	if n == 0 {
		return
	}
	name := fmt.Sprintf("full%d", n-1)
	if _, err := b.admin(t).DeleteTopic(within(t, patience), name); err != nil {
		t.Fatal(err)
	}
	delete(c.live, name)
	c.gone = append(c.gone, name)
}

// check expects the topics that were made and none that was deleted.
func (c *topicChurn) check(t testing.TB, b *broker) {
	t.Helper()
	w := b.dial(t)
	defer w.conn.Close()
	for name, id := range c.live {
		if got := w.topicID(name); got != id {
			t.Errorf("start %d: topic %s has id %x, want %x", b.starts, name, got, id)
		}
		if end := w.listOffset(7, name, 1, -1).Offset; strings.HasPrefix(name, "full") && end != 2 {
			t.Errorf("start %d: %s ends at %d, want 2", b.starts, name, end)
		}
	}
	for _, name := range c.gone {
		got := ask[*kmsg.MetadataResponse](w, metadataRequest(12, false, name)).Topics[0]
		expectCode(t, fmt.Sprintf("start %d: deleted topic %s", b.starts, name), got.ErrorCode, kerr.UnknownTopicOrPartition)
	}
	eventually(t, patience, "the folders of deleted topics are gone", func() bool {
		for _, folder := range b.topicFolders(t) {
			for _, name := range c.gone {
				if strings.HasPrefix(folder, name+"-") {
					return false
				}
			}
		}
		return true
	})
}

// TestPowerCutIsSeen proves the test above: a broker that does not sync loses what it has acknowledged.
func TestPowerCutIsSeen(t *testing.T) {
	d := newLoopDisk(t, "ext4", 128, "")
	b := newBroker(t).on(d)
	b.binary = buildEdited(t, edit{"storage/flush.go", `err = f.Sync()`, `if s.path[len(d.path)+1] == '@' {
			err = f.Sync() // the catalog's
		}`})
	b.launch()
	b.createTopic(t, "t", 1)
	w := b.dial(t)
	fill(t, w, "t", 50, time.Now())
	b.powerCut(d)
	b.launch()
	if _, end := b.offsets(t, "t", 0); end == 50 {
		t.Error("everything is there that was never synced: the power was not cut")
	}
}

// TestPowerCutOfUnsyncedTail: where syncs run behind the acknowledgements a power cut may take the end of a log, and no
// more than that: what is left is what was written, up to some record. Clients learn of it by the leader epoch.
func TestPowerCutOfUnsyncedTail(t *testing.T) {
	d := newLoopDisk(t, "ext4", 512, "")
	b := newBroker(t, onlyByRequest).on(d)
	b.launch()
	const partitions = 3
	b.createTopic(t, "t", partitions, "flush.messages", "1000", "flush.ms", "100", "segment.bytes", "1048576")
	acked := [partitions]map[int64]string{}
	for p := range acked {
		acked[p] = map[int64]string{}
	}
	lost := 0
	for n := range cuts() {
		writeUntilCut(t, b, d, n, acked[:])
		b.launch()
		w := b.dial(t)
		for p := range acked {
			_, end := b.offsets(t, "t", int32(p))
			for i, r := range b.consumePartition(t, "t", int32(p)) {
				if want, ok := acked[p][r.Offset]; r.Offset != int64(i) || ok && want != string(r.Value) {
					t.Fatalf("start %d: partition %d: at %d there is %.20q, want %.20q", b.starts, p, r.Offset, r.Value, want)
				}
				acked[p][r.Offset] = string(r.Value)
			}
			for offset := range acked[p] {
				if offset >= end {
					delete(acked[p], offset)
					lost++
				}
			}
			last := b.batches(t, "t", int32(p))
			if len(last) == 0 {
				continue
			}
			// Who has seen more asks where the epoch that it saw has ended.
			epoch := last[len(last)-1].LeaderEpoch()
			if got := w.epochEnd("t", int32(p), epoch); got != end {
				t.Errorf("start %d: partition %d: epoch %d ends at %d, want %d", b.starts, p, epoch, got, end)
			}
			w.produce("t", int32(p), batchOf(t, "after the cut"))
			acked[p][end] = "after the cut"
			if now := b.batches(t, "t", int32(p)); now[len(now)-1].LeaderEpoch() <= epoch {
				t.Errorf("start %d: partition %d: the epoch goes on at %d", b.starts, p, epoch)
			}
		}
	}
	t.Logf("%d acknowledged records were lost to %d cuts", lost, cuts())
	if lost == 0 {
		t.Error("no cut has taken anything that was not synced: the power was not cut")
	}
}

// epochEnd asks where a leader epoch has ended.
func (w *wire) epochEnd(topic string, partition, epoch int32) int64 {
	w.t.Helper()
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch = partition, epoch, -1
	topics := kmsg.NewOffsetForLeaderEpochRequestTopic()
	topics.Topic, topics.Partitions = topic, append(topics.Partitions, p)
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.Topics = 4, append(req.Topics, topics)
	got := ask[*kmsg.OffsetForLeaderEpochResponse](w, req).Topics[0].Partitions[0]
	expectCode(w.t, "offset for leader epoch", got.ErrorCode, nil)
	return got.EndOffset
}

// writeUntilCut writes to all partitions, cuts the power in the middle of it, and notes what was acknowledged.
func writeUntilCut(t testing.TB, b *broker, d *realDisk, round int, acked []map[int64]string) {
	t.Helper()
	cl := b.client(t, kgo.DisableIdempotentWrite(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(100),
		kgo.RecordRetries(0))
	ctx, stop := context.WithCancel(context.Background())
	var (
		running sync.WaitGroup
		mu      sync.Mutex // guards acked and acks
		acks    int
	)
	running.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			value := fmt.Sprintf("%d/%d/%s", round, n, strings.Repeat("x", rand.IntN(2000)))
			cl.Produce(ctx, &kgo.Record{Topic: "t", Partition: int32(n % len(acked)), Value: []byte(value)}, func(r *kgo.Record, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					acks++
					acked[r.Partition][r.Offset] = string(r.Value)
				}
			})
		}
	})
	want := rand.IntN(5000) + 500
	eventually(t, patience, "records are acknowledged", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return acks >= want
	})
	b.powerCut(d)
	stop()
	cl.Close()
	running.Wait()
}
