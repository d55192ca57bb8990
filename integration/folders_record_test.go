//go:build integration && unix

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/integration/kafka"
)

var recordFolders = flag.Bool("record-folders", false, "have an Apache Kafka write the folders in partition/testdata/kafka anew")

// goldenFolders is where the folders that Kafka wrote are kept, with what it answered about them.
const (
	goldenFolders = "../partition/testdata/kafka"
	goldenAnswers = goldenFolders + "/answers.json"
)

// told is what a broker tells about the one partition of a topic.
type told struct {
	Configs     []string // of the topic, name=value
	Start, End  int64
	Uncommitted []toldRecord // all records
	Committed   []int64      // the offsets of those that a reader of committed data gets
}

// toldRecord is a record as a consumer gets it.
type toldRecord struct {
	Offset, Timestamp int64
	Appended          bool    `json:",omitempty"` // the timestamp is the broker's
	Key, Value        *string // nil for null
	Headers           string  `json:",omitempty"`
}

// askAll reads the partition of a topic to its end, which must be a record of no transaction.
func askAll(t testing.TB, addr, topic string) told {
	t.Helper()
	ctx := within(t, patience)
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	starts, err := kadm.NewClient(cl).ListStartOffsets(ctx, topic)
	if err = errors.Join(err, starts.Error()); err != nil {
		t.Fatal(err)
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		t.Fatal(err)
	}
	s, _ := starts.Lookup(topic, 0)
	e, _ := ends.Lookup(topic, 0)
	all := told{Start: s.Offset, End: e.Offset}
	for _, r := range readAll(ctx, t, addr, topic, e.Offset, kgo.ReadUncommitted()) {
		all.Uncommitted = append(all.Uncommitted, toldOf(r))
	}
	for _, r := range readAll(ctx, t, addr, topic, e.Offset, kgo.ReadCommitted()) {
		all.Committed = append(all.Committed, r.Offset)
	}
	return all
}

func toldOf(r *kgo.Record) toldRecord {
	text := func(b []byte) *string {
		if b == nil {
			return nil
		}
		s := string(b)
		return &s
	}
	told := toldRecord{Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Appended: r.Attrs.TimestampType() == 1, Key: text(r.Key), Value: text(r.Value)}
	for _, h := range r.Headers {
		told.Headers += fmt.Sprintf("%s=%s;", h.Key, h.Value)
	}
	return told
}

func readAll(ctx context.Context, t testing.TB, addr, topic string, end int64, level kgo.IsolationLevel) (records []*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchIsolationLevel(level),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for len(records) == 0 || records[len(records)-1].Offset < end-1 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s: %v after %d records", topic, err, len(records))
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// folderTopic is a topic to be written.
type folderTopic struct {
	name    string
	configs []string
	write   func(w *folderWriter)
	settled func(t told) bool // nil: at once
}

// folderTopics are the kinds of folders that there are. Segments are as old as the timestamps of their records say, so
// where one ends is for the writer to say.
func folderTopics() []folderTopic {
	compacted := []string{"cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", "max.compaction.lag.ms=100", "delete.retention.ms=86400000"}
	return []folderTopic{
		{"codecs", []string{"segment.ms=1000"}, (*folderWriter).codecs, nil},
		{"appended", []string{"message.timestamp.type=LogAppendTime"}, (*folderWriter).plain, nil},
		{"compacted", append([]string{"segment.ms=1000"}, compacted...), (*folderWriter).rewritten, func(t told) bool {
			return len(t.Uncommitted) < 40
		}},
		{"trimmed", []string{"segment.ms=1000", "retention.ms=-1", "file.delete.delay.ms=600000"}, (*folderWriter).trimmed, nil},
		{"transactions", []string{"segment.ms=1000"}, (*folderWriter).transactions, nil},
		{"settled", append([]string{"segment.ms=1000"}, compacted...), (*folderWriter).transactions, func(t told) bool {
			return len(t.Uncommitted) < 30
		}},
	}
}

// folderWriter writes to one topic.
type folderWriter struct {
	t     testing.TB
	addr  string
	topic string
	clock time.Time
}

// goldenTime is when the first record is written.
var goldenTime = time.UnixMilli(1700000000000)

// roll has the next record begin a segment.
func (w *folderWriter) roll() { w.clock = w.clock.Add(time.Minute) }

func (w *folderWriter) record(key, value string) *kgo.Record {
	w.clock = w.clock.Add(time.Millisecond)
	r := &kgo.Record{Topic: w.topic, Key: []byte(key), Value: []byte(value), Timestamp: w.clock, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(key)}}}
	if value == "" {
		r.Value = nil
	}
	return r
}

func (w *folderWriter) client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.addr), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return cl
}

// write has a client send so many records, of keys that come round, in batches of some.
func (w *folderWriter) write(cl *kgo.Client, records, keys int, tag string) {
	const batch = 5
	for i := 0; i < records; i += batch {
		var rs []*kgo.Record
		for j := i; j < min(i+batch, records); j++ {
			rs = append(rs, w.record(fmt.Sprintf("k%d", j%keys), fmt.Sprintf("%s %d %s", tag, j, strings.Repeat("abc", j%7))))
		}
		produce(w.t, cl, rs...)
	}
}

// end writes the last record, which compaction leaves alone.
func (w *folderWriter) end() {
	cl := w.client()
	defer cl.Close()
	w.roll()
	produce(w.t, cl, w.record("end", "end"))
}

func (w *folderWriter) plain() {
	cl := w.client()
	defer cl.Close()
	w.write(cl, 20, 7, "plain")
	w.end()
}

func (w *folderWriter) codecs() {
	for i, codec := range []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	} {
		opts := []kgo.Opt{kgo.ProducerBatchCompression(codec)}
		if i%2 == 1 {
			opts = append(opts, kgo.DisableIdempotentWrite())
		}
		cl := w.client(opts...)
		w.write(cl, 25, 9, fmt.Sprintf("codec %d", i))
		cl.Close()
		w.roll()
	}
	w.end()
}

// rewritten writes each key often, by several producers, and deletes some.
func (w *folderWriter) rewritten() {
	for i := range 6 {
		opts := []kgo.Opt{kgo.ProducerBatchCompression([]kgo.CompressionCodec{kgo.NoCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}[i%3])}
		cl := w.client(opts...)
		w.write(cl, 15+10*i, 6+i, fmt.Sprintf("round %d", i))
		produce(w.t, cl, w.record("k3", ""), w.record(fmt.Sprintf("only %d", i), "x"))
		cl.Close()
		w.roll()
	}
	w.end()
}

func (w *folderWriter) trimmed() {
	cl := w.client()
	defer cl.Close()
	for i := range 4 {
		w.write(cl, 20, 5, fmt.Sprintf("segment %d", i))
		w.roll()
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset(w.topic, 0, 47, -1)
	if _, err := kadm.NewClient(cl).DeleteRecords(within(w.t, patience), offsets); err != nil {
		w.t.Fatal(err)
	}
	w.end()
}

// transactions writes committed and aborted ones that lie among each other, and across segments.
func (w *folderWriter) transactions() {
	a, b := w.client(kgo.TransactionalID(w.topic+"-a")), w.client(kgo.TransactionalID(w.topic+"-b"))
	defer a.Close()
	defer b.Close()
	plain := w.client()
	defer plain.Close()
	w.write(plain, 10, 5, "before")
	for i := range 4 {
		for _, cl := range []*kgo.Client{a, b} {
			if err := cl.BeginTransaction(); err != nil {
				w.t.Fatal(err)
			}
		}
		w.write(a, 5, 5, fmt.Sprintf("a %d", i))
		w.write(b, 5, 5, fmt.Sprintf("b %d", i))
		w.write(plain, 2, 2, fmt.Sprintf("among %d", i))
		w.roll()
		w.write(a, 5, 4, fmt.Sprintf("a again %d", i))
		for j, cl := range []*kgo.Client{b, a} {
			if err := cl.EndTransaction(within(w.t, patience), kgo.TransactionEndTry((i+j)%2 == 0)); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.end()
}

// TestRecordFolders has Kafka write all topics, over several runs of it so that leader epochs rise, and keeps their folders.
func TestRecordFolders(t *testing.T) {
	if !*recordFolders {
		t.Skip("run with -record-folders to write the folders anew")
	}
	k := someKafka(t)
	dir := t.TempDir()
	settings := []string{"log.cleaner.backoff.ms=100", "log.retention.check.interval.ms=500", "log.initial.task.delay.ms=100", "log.retention.ms=-1"}
	answers := map[string]told{}
	n := startKafka(t, k, dir, settings...)
	for i, topic := range folderTopics() {
		if i > 0 && i%2 == 0 {
			n = restartKafka(t, k, n, dir, settings...)
		}
		b := &broker{t: t, addr: n.Addr}
		b.createTopic(t, topic.name, 1, pairs(topic.configs)...)
		topic.write(&folderWriter{t: t, addr: n.Addr, topic: topic.name, clock: goldenTime})
	}
	n = restartKafka(t, k, n, dir, settings...)
	for _, topic := range folderTopics() {
		if topic.settled != nil {
			eventually(t, time.Minute, topic.name+" is compacted", func() bool { return topic.settled(askAll(t, n.Addr, topic.name)) })
		}
		answer := askAll(t, n.Addr, topic.name)
		answer.Configs = topic.configs
		answers[topic.name] = answer
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(goldenFolders); err != nil {
		t.Fatal(err)
	}
	for _, topic := range folderTopics() {
		if err := os.CopyFS(filepath.Join(goldenFolders, topic.name+"-0"), os.DirFS(filepath.Join(n.Data, topic.name+"-0"))); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.MarshalIndent(answers, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(goldenAnswers, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func pairs(configs []string) (list []string) {
	for _, c := range configs {
		name, value, _ := strings.Cut(c, "=")
		list = append(list, name, value)
	}
	return list
}

// someKafka returns a Kafka, or skips where there is none.
func someKafka(t *testing.T) *kafka.Kafka {
	t.Helper()
	k, err := kafka.Fetch(within(t, 5*time.Minute))
	if errors.Is(err, kafka.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func startKafka(t *testing.T, k *kafka.Kafka, dir string, settings ...string) *kafka.Node {
	t.Helper()
	n, err := k.Start(t.Context(), dir, settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n
}

func restartKafka(t *testing.T, k *kafka.Kafka, n *kafka.Node, dir string, settings ...string) *kafka.Node {
	t.Helper()
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	return startKafka(t, k, dir, settings...)
}
