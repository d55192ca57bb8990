//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// TestNoMoreFiles: a disk that has room, and no place for another file. Logs that have their files are written to until
// they need more; deletes, stops, kills and starts work, and deleting makes place.
func TestNoMoreFiles(t *testing.T) {
	for _, fs := range []struct {
		name string
		make func(t testing.TB) *realDisk
	}{
		{"tmpfs", func(t testing.TB) *realDisk { return newTmpfs(t, "size=64m,nr_inodes=200") }},
		{"ext4", func(t testing.TB) *realDisk { return newLoopDisk(t, "ext4", 64, "", "-m", "0", "-N", "200") }},
	} {
		t.Run(fs.name, func(t *testing.T) {
			d := fs.make(t)
			f := newFullDisk(t, d)
			f.createTopic(t, "first", 1)
			f.createTopic(t, "rolls", 1, small...)
			f.write("first")
			f.write("rolls")
			takeFiles(t, d)
			if !f.write("first") {
				t.Error("a batch is refused that needs no file")
			}
			f.fill("rolls")
			for n := range 3 {
				name := fmt.Sprint("made", n)
				f.createTopic(t, name, 1)
				f.acked[name] = 0
				if f.write(name) {
					t.Error("a log is begun where there is no place for its files")
				}
				f.w.producerIDOf()
				if n == 1 {
					f.stop()
				} else {
					f.kill()
				}
				takeFiles(t, d)
				f.launch()
				f.w = f.dial(t)
				takeFiles(t, d)
				f.check(fmt.Sprint("start without a place for files ", n))
				if !f.write("first") {
					t.Error("a batch is refused that needs no file")
				}
				if _, err := f.admin(t).DeleteTopic(within(t, patience), name); err != nil {
					t.Fatalf("delete a topic: %v", err)
				}
				delete(f.acked, name)
			}
			f.fill("rolls")
			if _, err := f.admin(t).DeleteTopic(within(t, patience), "first"); err != nil {
				t.Fatalf("delete a topic: %v", err)
			}
			delete(f.acked, "first")
			eventually(t, patience, "a deletion makes place", func() bool { return f.write("rolls") })
			f.check("at the end")
			f.crash()
			f.w = f.dial(t)
			f.check("after a kill")
		})
	}
}

// takeFiles makes files until no more can be made.
func takeFiles(t testing.TB, d *realDisk) {
	t.Helper()
	for n := range 10_000 {
		f, err := os.OpenFile(filepath.Join(d.dir, fmt.Sprint("taken", n)), os.O_CREATE, 0o600)
		if err != nil {
			return
		}
		f.Close()
	}
	t.Fatal("there is place for any number of files")
}

// TestDiskFails: a disk that fails for good, or takes no more writes, under a broker at work. Nothing is acknowledged from
// then on, nothing crashes, and the log does not fill up. What was acknowledged before is there when the disk is back.
func TestDiskFails(t *testing.T) {
	for _, failure := range []struct {
		name    string
		options string
		fail    func(t testing.TB, d *realDisk)
		reads   bool // what is there can still be read
	}{
		{"every operation fails", "", func(_ testing.TB, d *realDisk) { d.cutPower() }, false},
		{"the file system turns read-only", "errors=remount-ro", func(t testing.TB, d *realDisk) { d.failOnce() }, true},
	} {
		t.Run(failure.name, func(t *testing.T) {
			d := newLoopDisk(t, "ext4", 128, failure.options)
			b := newBroker(t, onlyByRequest).on(d)
			b.tolerated = brokenDisk
			b.launch()
			b.createTopic(t, "t", 1)
			b.createTopic(t, "many", manyPartitions)
			w := b.dial(t)
			for n := range 20 {
				w.produce("t", 0, batchOf(t, fmt.Sprint(n)))
				produceToAll(t, w, "many", manyPartitions)
			}
			failure.fail(t, d)
			b.afterFailure(t, w, failure.reads)
			b.signal(unix.SIGTERM)
			select {
			case <-b.run.ended: // with whatever code
			case <-time.After(stopTimeout):
				t.Errorf("the broker does not end on a broken disk; goroutines:\n%s", b.goroutines())
			}
			b.account()
			b.tolerated = nil
			d.powerUp(b)
			b.launch()
			if records := b.consumePartition(t, "t", 0); len(records) < 20 {
				t.Errorf("%d records, 20 were acknowledged", len(records))
			}
			for p := range int32(manyPartitions) {
				if _, end := b.offsets(t, "many", p); end < 20 {
					t.Errorf("partition %d ends at %d, 20 records were acknowledged", p, end)
				}
			}
			b.dial(t).produce("t", 0, batchOf(t, "the disk is back"))
		})
	}
}

// afterFailure asks a broker for everything, and expects errors where something would have to be written.
func (b *broker) afterFailure(t testing.TB, w *wire, reads bool) {
	t.Helper()
	for n := range 200 {
		p := ask[*kmsg.ProduceResponse](w, produceRequest("t", 0, -1, batchOf(t, fmt.Sprint("lost ", n)))).Topics[0].Partitions[0]
		expectCode(t, "produce to a broken disk", p.ErrorCode, kerr.KafkaStorageError)
	}
	req := produceRequest("many", 0, -1, batchOf(t, "0"))
	for p := int32(1); p < manyPartitions; p++ {
		q := kmsg.NewProduceRequestTopicPartition()
		q.Partition, q.Records = p, batchOf(t, "lost").Bytes()
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, q)
	}
	for _, p := range ask[*kmsg.ProduceResponse](w, req).Topics[0].Partitions {
		expectCode(t, "produce to a broken disk", p.ErrorCode, kerr.KafkaStorageError)
	}
	if got := ask[*kmsg.MetadataResponse](w, metadataRequest(12, false, "t")).Topics[0]; got.ErrorCode != 0 {
		t.Errorf("metadata: %v", kerr.ErrorForCode(got.ErrorCode))
	}
	if p := w.listOffset(7, "t", 0, -1); p.ErrorCode == 0 && p.Offset != 20 {
		t.Errorf("the log ends at %d, and 20 records were committed", p.Offset)
	}
	if reads {
		if n := len(b.consumePartition(t, "t", 0)); n != 20 {
			t.Errorf("%d records can be read, want 20", n)
		}
	} else { // an answer, or the end of the connection, but no records that are not there
		other := b.dial(t)
		other.send(fetchRequest(12, 0, 1, wanted{topic: "t"}))
		if resp, err := other.tryReceive(); err == nil {
			if p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]; p.HighWatermark > 20 {
				t.Errorf("the high watermark is %d, and 20 records were committed", p.HighWatermark)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), prompt)
	defer cancel()
	if _, err := b.admin(t).CreateTopic(ctx, 1, 1, nil, "new"); err == nil {
		t.Error("a topic is created on a broken disk")
	}
	id := kmsg.NewPtrInitProducerIDRequest()
	id.Version = 4
	if resp := ask[*kmsg.InitProducerIDResponse](b.dial(t), id); resp.ErrorCode == 0 {
		t.Errorf("producer id %d is given, and cannot have been set aside", resp.ProducerID)
	}
	cl := b.client(t, kgo.DefaultProduceTopic("t"), kgo.DisableIdempotentWrite())
	if err := cl.ProduceSync(ctx, kgo.StringRecord("lost")).FirstErr(); err == nil {
		t.Error("a record is acknowledged on a broken disk")
	}
	if status, body := b.get("/ready"); !strings.Contains(body, "failed") {
		t.Errorf("/ready: %d %s, want that logs have failed", status, body)
	}
	failed, refused := b.metric(`segue_storage_failed_logs{dir="`+b.dir+`"}`), b.metric(`segue_storage_append_errors_total{dir="`+b.dir+`"}`)
	if failed+refused < 1 {
		t.Errorf("metrics tell of %v failed logs and %v refused appends", failed, refused)
	}
	complaints := b.run.log.find(func(e entry) bool { return e.text("level") == "warn" || e.text("level") == "error" })
	if len(complaints) > manyPartitions+30 { // one for each log, and some more
		t.Errorf("the log has %d complaints, of which the last are: %v", len(complaints), complaints[len(complaints)-5:])
	}
}

// failOnce makes ext4 find an error in itself.
func (d *realDisk) failOnce() {
	d.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(d.dir, &st); err != nil {
		d.t.Fatal(err)
	}
	name, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err == nil {
		err = os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(name), "trigger_fs_error"), []byte("a test\n"), 0)
	}
	if err != nil {
		d.t.Skip("ext4 cannot be told to fail here: ", err)
	}
}
