//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"segue/storage/record"
)

// fullDisks are the file systems that are filled, each in its own manner.
var fullDisks = []struct {
	name string
	make func(t testing.TB) *realDisk
}{
	{"tmpfs", func(t testing.TB) *realDisk { return newTmpfs(t, "size=48m") }},
	{"ext4", func(t testing.TB) *realDisk { return newLoopDisk(t, "ext4", 64, "", "-m", "0") }},
	{"xfs", func(t testing.TB) *realDisk { return newLoopDisk(t, "xfs", 320, "") }},
	{"btrfs", func(t testing.TB) *realDisk { return newLoopDisk(t, "btrfs", 160, "") }},
}

// hog is a file of another program, which takes all the room there is.
type hog struct {
	t    testing.TB
	file *os.File
}

func newHog(t testing.TB, d *realDisk) *hog {
	t.Helper()
	f, err := os.Create(filepath.Join(d.dir, "hog"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &hog{t, f}
}

// eat takes what room there is, to the last byte.
func (h *hog) eat() {
	h.t.Helper()
	block := make([]byte, 1<<20)
	for pass := 0; pass < 3; {
		ate := false
		for size := len(block); size > 0; size /= 2 {
			for {
				n, err := h.file.Write(block[:size])
				ate = ate || n > 0
				if errors.Is(err, unix.ENOSPC) {
					break
				}
				if err != nil {
					h.t.Fatal(err)
				}
			}
		}
		h.file.Sync() // what is left over of estimates comes free
		if !ate {
			pass++
		}
	}
}

// leave gives so many bytes back.
func (h *hog) leave(n int64) {
	h.t.Helper()
	size, err := h.file.Seek(0, io.SeekEnd)
	if err == nil {
		err = errors.Join(h.file.Truncate(max(0, size-n)), h.file.Sync())
	}
	if err == nil {
		_, err = h.file.Seek(0, io.SeekEnd)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// fullDisk is a broker on a disk that fills up, and what was acknowledged by it.
type fullDisk struct {
	*broker
	t     testing.TB
	w     *wire
	acked map[string]int // records of one-partition topics
}

const largeRecord = 100_000

func newFullDisk(t testing.TB, d *realDisk, settings ...string) *fullDisk {
	t.Helper()
	f := &fullDisk{broker: newBroker(t, append(settings, onlyByRequest)...).on(d), t: t, acked: map[string]int{}}
	f.tolerated = func(e entry) bool { return strings.Contains(e.raw, "no space left") }
	f.launch()
	f.w = f.dial(t)
	return f
}

// write appends one large record, and says whether it was taken. The one way to be refused is KAFKA_STORAGE_ERROR, which
// clients try again on.
func (f *fullDisk) write(topic string) bool {
	f.t.Helper()
	p := record.NewBuilder(0)
	p.Add(time.Now().UnixMilli(), nil, []byte(strings.Repeat("x", largeRecord)))
	got := ask[*kmsg.ProduceResponse](f.w, produceRequest(topic, 0, -1, build1(f.t, p))).Topics[0].Partitions[0]
	if got.ErrorCode != 0 {
		expectCode(f.t, "produce on a full disk", got.ErrorCode, kerr.KafkaStorageError)
		return false
	}
	if got.BaseOffset != int64(f.acked[topic]) {
		f.t.Fatalf("%s: appended at %d, want %d", topic, got.BaseOffset, f.acked[topic])
	}
	f.acked[topic]++
	return true
}

// fill appends until it is refused.
func (f *fullDisk) fill(topic string) {
	f.t.Helper()
	for range 10_000 {
		if !f.write(topic) {
			return
		}
	}
	f.t.Fatal("a GB fits on a small disk")
}

// check reads all topics: what was acknowledged is there.
func (f *fullDisk) check(when string) {
	f.t.Helper()
	for topic, n := range f.acked {
		if _, end := f.offsets(f.t, topic, 0); end != int64(n) {
			f.t.Errorf("%s: %s ends at %d, want %d", when, topic, end, n)
		}
		records := f.consumePartition(f.t, topic, 0)
		for i, r := range records {
			if r.Offset != records[0].Offset+int64(i) || len(r.Value) != largeRecord {
				f.t.Errorf("%s: %s has %d bytes at %d", when, topic, len(r.Value), r.Offset)
			}
		}
	}
}

// TestFullDisk fills a disk to its last byte, by topics and by another program. Produces are refused, by an error that
// clients try again on; all else goes on: reading, deleting, new topics, producer ids, stops, kills and starts. When there
// is room again writing resumes, without a start.
func TestFullDisk(t *testing.T) {
	for _, fs := range fullDisks {
		t.Run(fs.name, func(t *testing.T) {
			d := fs.make(t)
			f := newFullDisk(t, d)
			f.createTopic(t, "first", 1, "segment.bytes", "1048576")
			f.createTopic(t, "second", 1, "segment.bytes", "1048576")
			for range 60 {
				f.write("first")
			}
			other := newHog(t, d)
			f.fill("second")
			other.eat()
			f.fill("second")
			f.check("full")
			f.onAFullDisk(t, other)

			client := f.client(t, kgo.DefaultProduceTopic("first"), kgo.ProducerBatchCompression(kgo.NoCompression()))
			waiting := make(chan error, 1)
			client.Produce(context.Background(), &kgo.Record{Value: make([]byte, largeRecord)}, func(_ *kgo.Record, err error) { waiting <- err })
			f.refusedQuietly(t)

			// Deleting makes room, and the record that waited goes in.
			if _, err := f.admin(t).DeleteTopic(within(t, patience), "second"); err != nil {
				t.Fatalf("delete a topic on a full disk: %v", err)
			}
			delete(f.acked, "second")
			select {
			case err := <-waiting:
				if err != nil {
					t.Fatalf("the record that waited for room: %v", err)
				}
				f.acked["first"]++
			case <-time.After(2 * patience):
				t.Fatal("a record that waits for room does not go in when there is some")
			}
			for range 10 {
				if !f.write("first") {
					t.Error("there is room, and a batch is refused")
				}
			}
			f.check("after a deletion")
			f.restart()
			f.w = f.dial(t)
			f.check("after a restart")

			// The same by another program's leaving.
			other.eat()
			f.fill("first")
			other.leave(1 << 40)
			eventually(t, patience, "writing resumes", func() bool { return f.write("first") })
			eventually(t, patience, "the disk counts as full no more", func() bool { return f.metric(`segue_storage_full{dir="`+f.dir+`"}`) == 0 })
			f.check("at the end")
		})
	}
}

// onAFullDisk does all that a full disk must not keep from being done, while another program takes what room comes free.
func (f *fullDisk) onAFullDisk(t *testing.T, other *hog) {
	t.Helper()
	adm := f.admin(t)
	ids := map[int64]bool{}
	for n := range 3 {
		name := fmt.Sprint("made", n)
		f.createTopic(t, name, 1)
		f.acked[name] = 0
		f.fill(name)
		other.eat()
		ids[f.w.producerIDOf()] = true
		other.eat()
		switch n {
		case 0:
			f.kill()
		case 1:
			f.stop()
		case 2:
			f.kill()
		}
		other.eat() // what a stop left, too
		f.launch()
		f.w = f.dial(t)
		other.eat()
		f.check(fmt.Sprint("start on a full disk ", n))
		f.fill("first")
		if _, err := adm.DeleteTopic(within(t, patience), name); err != nil {
			t.Fatalf("delete a topic on a full disk: %v", err)
		}
		delete(f.acked, name)
		other.eat()
	}
	if len(ids) != 3 {
		t.Errorf("producer ids %v, want three", ids)
	}
}

// refusedQuietly has many produces refused, and expects the log to say why once, and metrics and the page for health to
// say it all the time.
func (f *fullDisk) refusedQuietly(t *testing.T) {
	t.Helper()
	for range 300 {
		f.write("second")
	}
	full := f.run.log.find(func(e entry) bool { return strings.Contains(e.text("message"), "disk is full") })
	if len(full) != 1 || full[0].text("level") != "error" || full[0].text("dir") != f.dir {
		t.Errorf("the log says %d times that the disk is full, want once: %v", len(full), full)
	}
	all := f.run.log.find(func(e entry) bool { return e.text("level") == "warn" || e.text("level") == "error" })
	if len(all) > 20 {
		t.Errorf("the log has %d complaints, of which the last are: %v", len(all), all[len(all)-5:])
	}
	for name, least := range map[string]float64{"segue_storage_full": 1, "segue_storage_append_errors_total": 300} {
		if v := f.metric(name + `{dir="` + f.dir + `"}`); v < least {
			t.Errorf("%s is %v, want %v", name, v, least)
		}
	}
	for path, want := range map[string]string{"/live": "alive", "/ready": "disk is full"} {
		if status, body := f.get(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %q", path, status, body, want)
		}
	}
}

// TestRetentionOnAFullDisk: what is kept only until there is too much of it makes room by itself.
func TestRetentionOnAFullDisk(t *testing.T) {
	for _, fs := range fullDisks {
		t.Run(fs.name, func(t *testing.T) {
			d := fs.make(t)
			f := newFullDisk(t, d, "log.retention.check.interval.ms=500")
			f.createTopic(t, "short", 1, "segment.bytes", "1048576", "retention.ms", "3000")
			other := newHog(t, d)
			other.eat()
			other.leave(16 << 20)
			f.fill("short")
			eventually(t, patience, "retention has made room", func() bool { return f.write("short") })
			f.crash()
			f.w = f.dial(t)
			if _, end := f.offsets(t, "short", 0); end < int64(f.acked["short"]) {
				t.Errorf("the log ends at %d, and %d was acknowledged", end, f.acked["short"]-1)
			}
			if !f.write("short") {
				t.Error("there is room, and a batch is refused")
			}
		})
	}
}
