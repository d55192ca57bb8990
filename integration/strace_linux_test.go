//go:build integration

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"segue/integration/history"
)

// tracedCalls are the system calls that a transcript has. All by which data and names reach a disk, or an answer a
// client, are among them.
const tracedCalls = "openat,close,read,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendfile,splice,copy_file_range," +
	"fdatasync,fsync,syncfs,sync,sync_file_range,ftruncate,truncate,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat," +
	"mkdir,mkdirat"

// unexpectedCalls are those among them that the replay does not understand. The broker makes none of them.
var unexpectedCalls = []string{
	"writev", "pwritev2", "sendto", "sendmsg", "splice", "copy_file_range", "sync", "sync_file_range", "truncate",
	"link", "linkat",
}

// longestString is how much of a string a transcript holds. Requests and batches of these tests are shorter.
const longestString = 4 << 20

// traced is a broker whose system calls are written down, run by run.
type traced struct {
	*broker
	strace      string
	transcripts []string // of the runs
}

// newTraced returns a broker that is not started yet. It skips the test where processes cannot be traced.
func newTraced(t testing.TB, overrides ...string) *traced {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed: ", err)
	}
	if out, err := exec.Command(strace, "-f", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("processes may not be traced here: %v: %s", err, out)
	}
	if raceEnabled() {
		t.Skip("the race detector's broker is too slow to be traced")
	}
	return &traced{broker: newBroker(t, overrides...), strace: strace}
}

// trace starts a run. The tracer is a process beside it, so signals and the exit code are the broker's own.
func (b *traced) trace() {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "transcript")
	b.transcripts = append(b.transcripts, file)
	b.under = []string{b.strace, "-D", "-f", "-ttt", "-yy", "-xx", "-s", fmt.Sprint(longestString), "-e", "trace=" + tracedCalls, "-o", file}
	b.launch()
}

// judge replays all runs. In the first one the log of a topic is synced behind its answers; the others do not write to it.
func (b *traced) judge(behind string) *promises {
	b.t.Helper()
	p := newPromises(b.dir)
	p.behind = behind
	for i, file := range b.transcripts {
		f, err := os.Open(file)
		if err != nil {
			b.t.Fatal(err)
		}
		defer f.Close()
		events, err := parseTranscript(f)
		if err != nil {
			b.t.Fatalf("transcript of start %d: %v", i+1, err)
		}
		for _, e := range events {
			for _, name := range unexpectedCalls {
				if e.call.name == name {
					b.t.Fatalf("start %d: the broker calls %s, which this test does not understand yet", i+1, name)
				}
			}
		}
		if err := p.replay(events, b.addr); err != nil {
			b.t.Fatalf("transcript of start %d: %v", i+1, err)
		}
		p.behind = ""
	}
	return p
}

// bulkSyncHere says whether the broker syncs many files at once on the file system of a path.
func bulkSyncHere(t testing.TB, path string) bool {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Type == unix.EXT4_SUPER_MAGIC || st.Type == unix.BTRFS_SUPER_MAGIC
}

// manyPartitions is enough that the syncs of their logs are made in bulk.
const manyPartitions = 64

// produceToAll appends a batch to each partition of a topic by one request.
func produceToAll(t testing.TB, w *wire, topic string, partitions int32) {
	t.Helper()
	req := produceRequest(topic, 0, -1, batchOf(t, "0"))
	for p := int32(1); p < partitions; p++ {
		q := kmsg.NewProduceRequestTopicPartition()
		q.Partition, q.Records = p, batchOf(t, fmt.Sprint(p)).Bytes()
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, q)
	}
	for _, p := range ask[*kmsg.ProduceResponse](w, req).Topics[0].Partitions {
		expectCode(t, fmt.Sprintf("produce to %s-%d", topic, p.Partition), p.ErrorCode, nil)
	}
}

// small makes a topic roll every few batches.
var small = []string{"segment.index.bytes", "100"}

// work has the broker do everything that is to be durable before it is answered. It ends with producers under way.
func (b *traced) work(t testing.TB) (*crowd, crowdTopic) {
	t.Helper()
	w := b.dial(t)
	b.createTopic(t, "first", 2)
	w.produce("first", 0, batchOf(t, "the first batch of a log"))
	w.produce("first", 0, batchOf(t, "the second"))
	b.createTopic(t, "rolls", 1, small...)
	fill(t, w, "rolls", 20, time.Now())
	b.createTopic(t, "many", manyPartitions)
	for range 5 {
		produceToAll(t, w, "many", manyPartitions)
	}
	w.producerIDOf()

	// A connection with many requests in flight, whose batches share syncs.
	for n := range 50 {
		w.send(produceRequest("first", int32(n%2), -1, batchOf(t, fmt.Sprint("in flight ", n))))
	}
	for range 50 {
		expectCode(t, "one of many in flight", answer[*kmsg.ProduceResponse](w).Topics[0].Partitions[0].ErrorCode, nil)
	}

	// Segments that retention drops, and a topic that goes and comes back.
	b.createTopic(t, "short", 1, append([]string{"retention.ms", "1000"}, small...)...)
	fill(t, w, "short", 10, time.Now().Add(-time.Hour))
	adm := b.admin(t)
	for range 2 {
		b.createTopic(t, "passing", 3)
		produceToAll(t, w, "passing", 3)
		if _, err := adm.DeleteTopic(within(t, patience), "passing"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, patience, "retention has dropped segments", func() bool { return b.metric(`segue_storage_segments_dropped_total{dir="`+b.dir+`"}`) > 2 })

	b.createTopic(t, "behind", 1, "flush.messages", "1000", "flush.ms", "3600000")
	w.produce("behind", 0, batchOf(t, "a", "b", "c"))
	c := newCrowd(b.broker, seeded(t))
	topic := c.writeAll(t, "t", 4, small...)
	c.awaitAcks(t, 500)
	return c, topic
}

// onceMore reads what is there, and goes on.
func (b *traced) onceMore(t testing.TB) {
	t.Helper()
	w := b.dial(t)
	for _, topic := range []string{"first", "rolls", "short"} {
		if topic != "short" { // which retention may take away from whoever counts on what is there
			b.consumePartition(t, topic, 0)
		}
		w.produce(topic, 0, batchOf(t, "after the start"))
	}
	w.producerIDOf()
	b.consumePartition(t, "first", 0)
	produceToAll(t, w, "many", manyPartitions)
}

// scenario runs the broker three times, the first of which ends by a kill, and judges it all.
func (b *traced) scenario(t testing.TB) *promises {
	t.Helper()
	b.trace()
	c, topic := b.work(t)
	b.consume(t, "t", 500) // while it is being written
	kill := c.rec.Fault(history.Kill)
	b.kill()
	b.trace()
	kill.End(history.OK, history.Nowhere)
	w := b.dial(t)
	if p := w.listOffset(7, "behind", 0, -1); p.Offset != 3 {
		t.Errorf("%d records survive a kill, want 3", p.Offset)
	}
	b.consume(t, "t", 500)
	c.awaitAcks(t, 200)
	c.writers.end()
	if _, err := c.drain(within(t, patience), topic); err != nil {
		t.Fatal(err)
	}
	c.check(t)
	b.onceMore(t)
	b.stop()
	b.trace()
	b.onceMore(t)
	b.stop()
	return b.judge("behind")
}

// TestEveryAnswerFollowsItsSync runs the broker under strace, and holds every answer against what a power cut would have
// left of the disk when the broker began to send it: what was written and then covered by a sync that had returned. A
// kill says nothing about that, because the kernel keeps what was written.
func TestEveryAnswerFollowsItsSync(t *testing.T) {
	b := newTraced(t, onlyByRequest, checkOften)
	p := b.scenario(t)
	t.Logf("answers checked: %v; on the disk: %+v", p.checked, p.count)
	for kind, texts := range p.violations {
		t.Errorf("%s: %d times, at first: %s", kind, len(texts), strings.Join(texts[:min(5, len(texts))], "\n\t"))
	}
	for kind, atLeast := range map[string]int{
		"produce": 300, "fetch": 20, "list offsets": 10, "create": 6, "delete": 2, "producer id": 3,
	} {
		if p.checked[kind] < atLeast {
			t.Errorf("%d answers of kind %q were checked, want %d: the test does not see what it is to see", p.checked[kind], kind, atLeast)
		}
	}
	if c := p.count; c.writes < 300 || c.syncs < 50 || c.dirSyncs < 10 || c.creates < 50 || c.renames < 10 || c.unlinks < 5 {
		t.Errorf("too little was done: %+v", c)
	}
	if bulkSyncHere(t, b.dir) && p.count.bulkSyncs == 0 {
		t.Error("nothing was synced in bulk")
	}
}

// TestMissingSyncIsSeen proves the test above: of brokers that are built without one sync, or that answer before it, it
// says so.
func TestMissingSyncIsSeen(t *testing.T) {
	tests := []struct {
		name string
		edit edit
		want string // kind of violation
	}{
		{"no sync of data", noDataSync, "data"},
		{"no sync of folders", edit{"storage/vfs/os.go", `return pathError("syncdir", name, sysSyncDir(name))`, `return nil`}, "name"},
		{"no bulk sync", edit{"storage/vfs/bulksync_linux.go", `err := control(s.dir, unix.Syncfs)`, `err := error(nil)`}, "data"},
		{"no sync of the folder that holds a new log's", edit{"storage/log.go", `l.newDirs = append(l.newDirs, l.dir.path)`, `_ = l.dir.path`}, "name"},
		{"no sync of what replaces a file", edit{"storage/segment.go", `err = sync(f)`, `err = nil`}, "rename"},
		{"no sync of what recovery keeps", edit{"storage/recover.go", `err := f.Sync()`, `err := error(nil)`}, "data"},
		{"segments go before the log start is durable", edit{"storage/cleaner.go", `if err := l.writeStart(start); err != nil {`,
			`time.AfterFunc(300*time.Millisecond, func() { _ = l.writeStart(start) })
		if err := error(nil); err != nil {`}, "unlink"},
		{"no sync of the catalog", edit{"internal/broker/broker.go", `FlushMessages: 1, FlushInterval: time.Second, RetentionBytes: -1`,
			`FlushMessages: 1 << 40, FlushInterval: time.Hour, RetentionBytes: -1`}, "start"},
		{"a commit of the catalog is answered before its sync", edit{"internal/catalog/local/owner.go",
			`answer.err, answer.next = err, o.end`, `answer.err, answer.next = err, 0`}, "producer id"},
		{"a produce is answered before its sync", edit{"storage/flush.go", `if c.FlushMessages > 1 && l.failure == nil {`,
			`if l.failure == nil {`}, "data"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newTraced(t, onlyByRequest, checkOften)
			if test.name == "no bulk sync" && !bulkSyncHere(t, t.TempDir()) {
				t.Skip("the file system here is none on which the broker syncs in bulk")
			}
			b.binary = buildEdited(t, test.edit)
			p := b.scenario(t)
			if len(p.violations[test.want]) == 0 {
				t.Errorf("it is not seen; what is: %v", p.violations)
			}
		})
	}
}
