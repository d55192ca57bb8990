//go:build integration

package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"segue/storage/record"
)

// TestFullDisk fills a small disk. Produces are refused, by an error that clients try again on; everything else goes on:
// reading, deleting, a kill and a start on the full disk. When there is room again, writing resumes.
func TestFullDisk(t *testing.T) {
	b := newBroker(t, onlyByRequest)
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", b.dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skip("a small disk cannot be mounted, which takes root: ", err)
	}
	t.Cleanup(func() {
		b.cleanup() // before its disk goes
		if err := unix.Unmount(b.dir, 0); err != nil {
			t.Error(err)
		}
	})
	b.tolerated = func(e entry) bool { return strings.Contains(e.raw, "no space left") }
	b.launch()

	w := b.dial(t)
	large := strings.Repeat("x", 100_000)
	written := map[string]int{}
	// fill appends to a topic until it is refused.
	fill := func(topic string) {
		t.Helper()
		for range 1000 {
			p := record.NewBuilder(0)
			p.Add(epochMillis, nil, []byte(large))
			got := ask[*kmsg.ProduceResponse](w, produceRequest(topic, 0, -1, build1(t, p))).Topics[0].Partitions[0]
			if got.ErrorCode != 0 {
				expectCode(t, "produce on a full disk", got.ErrorCode, kerr.KafkaStorageError)
				return
			}
			if got.BaseOffset != int64(written[topic]) {
				t.Fatalf("%s: appended at %d, want %d", topic, got.BaseOffset, written[topic])
			}
			written[topic]++
		}
		t.Fatal("100 MB fit on a disk of 24")
	}
	check := func(when string) {
		t.Helper()
		for topic, n := range written {
			records := b.consumePartition(t, topic, 0)
			if len(records) < n { // one that was refused may have arrived
				t.Errorf("%s: %s has %d records, %d were acknowledged", when, topic, len(records), n)
			}
			for i, r := range records {
				if r.Offset != int64(i) || len(r.Value) != len(large) {
					t.Errorf("%s: %s has %d bytes at %d", when, topic, len(r.Value), r.Offset)
				}
			}
			written[topic] = len(records)
		}
	}

	b.createTopic(t, "first", 1, "segment.bytes", "1048576")
	b.createTopic(t, "second", 1, "segment.bytes", "1048576")
	for range 60 {
		w.produce("first", 0, batchOf(t, large))
		written["first"]++
	}
	fill("second")
	fill("second")
	check("full")
	if status, body := b.get("/live"); status != 200 {
		t.Errorf("/live: %d %s", status, body)
	}
	b.crash()
	w = b.dial(t)
	check("started on the full disk")
	fill("second")

	adm := b.admin(t)
	if _, err := adm.DeleteTopic(within(t, patience), "first"); err != nil {
		t.Fatalf("delete a topic on the full disk: %v", err)
	}
	delete(written, "first")
	before := written["second"]
	eventually(t, patience, "there is room again", func() bool {
		fill("second")
		return written["second"] >= before+40
	})
	check("after a deletion")
	b.restart()
	check("after a restart on the full disk")
	if _, err := adm.DeleteTopic(within(t, patience), "second"); err != nil {
		t.Fatalf("delete a topic on the full disk: %v", err)
	}
	b.createTopic(t, "third", 1)
	w = b.dial(t)
	if base := w.produce("third", 0, batchOf(t, "room")); base != 0 {
		t.Errorf("a new topic's first record is at %d", base)
	}
}
