package broker

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// kafkaFolders are folders that an Apache Kafka wrote, with what it answered about them; integration's
// TestRecordFolders makes them again.
const kafkaFolders = "../../partition/testdata/kafka"

// kafkaAnswer is what Kafka answered about a topic.
type kafkaAnswer struct {
	Configs     []string
	Start, End  int64
	Uncommitted []struct {
		Offset, Timestamp int64
		Key, Value        *string
	}
	Committed []int64
}

func kafkaAnswers(t *testing.T) (answers map[string]kafkaAnswer) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(kafkaFolders, "answers.json"))
	if err == nil {
		err = json.Unmarshal(text, &answers)
	}
	if err != nil || len(answers) == 0 {
		t.Fatalf("no answers of Kafka's: %v", err)
	}
	return answers
}

// bring puts Kafka's folder of a topic in the place of ours, without its topic id.
func bring(t *testing.T, dir, topic string) (folder string) {
	t.Helper()
	folder = filepath.Join(dir, topic+"-0")
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(kafkaFolders, topic+"-0"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, "partition.metadata")); err != nil {
		t.Fatal(err)
	}
	return folder
}

// kafkasFiles reads all files of a folder that Kafka wrote and that are not data: they are nobody's to change here.
func kafkasFiles(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(text)
	}
	return files
}

// readLevel reads a partition to its end, whose last record no transaction holds.
func readLevel(t *testing.T, b *Broker, topic string, end int64, level kgo.IsolationLevel) (records []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cl := client(t, b, kgo.FetchIsolationLevel(level), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	for len(records) == 0 || records[len(records)-1].Offset < end-1 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s: %v after %d records", topic, err, len(records))
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// TestFoldersOfKafka puts folders that Kafka wrote in the place of a stopped broker's. All is read as Kafka read it, by
// readers of committed data too; the leader epoch and producer ids go on behind what is in them; what is written comes
// behind it; and no file of Kafka's has changed, but for the one that is written on.
func TestFoldersOfKafka(t *testing.T) {
	answers, dir := kafkaAnswers(t), t.TempDir()
	b := start(t, dir)
	adm := kadm.NewClient(client(t, b))
	for topic, answer := range answers {
		configs := map[string]*string{}
		for _, c := range append(answer.Configs, "retention.ms=-1") {
			name, value, _ := strings.Cut(c, "=")
			configs[name] = &value
		}
		if _, err := adm.CreateTopic(t.Context(), 1, 1, configs, topic); err != nil {
			t.Fatal(err)
		}
	}
	stop(t, b)
	before := map[string]map[string]string{}
	for topic := range answers {
		folder := bring(t, dir, topic)
		if topic == "codecs" {
			setEpochs(t, folder, 57)
		}
		before[topic] = kafkasFiles(t, folder)
	}
	for run := range 3 {
		b = start(t, dir)
		checkProducerID(t, b)
		for topic, answer := range answers {
			if run == 0 {
				checkAsKafka(t, b, topic, answer)
			}
			checkEpoch(t, b, topic)
			more := &kgo.Record{Topic: topic, Key: []byte("more"), Value: []byte("more")}
			if err := client(t, b).ProduceSync(t.Context(), more).FirstErr(); err != nil {
				t.Fatal(err)
			}
			last := readLevel(t, b, topic, answer.End+int64(run)+1, kgo.ReadCommitted())
			if r := last[len(last)-1]; string(r.Value) != "more" || r.Offset != answer.End+int64(run) {
				t.Errorf("%s, start %d: the last record is %q at %d, Kafka's end is %d", topic, run, r.Value, r.Offset, answer.End)
			}
		}
		stop(t, b)
	}
	for topic := range answers {
		after := kafkasFiles(t, filepath.Join(dir, topic+"-0"))
		for name, text := range before[topic] {
			if now, ok := after[name]; !ok || now != text && !strings.HasPrefix(now, text) {
				if !slices.Contains(answers[topic].Configs, "cleanup.policy=compact") || !strings.HasSuffix(name, ".log") {
					t.Errorf("%s/%s has changed: %d bytes are %d now (there: %t)", topic, name, len(text), len(now), ok)
				}
			}
		}
	}
}

func checkAsKafka(t *testing.T, b *Broker, topic string, want kafkaAnswer) {
	t.Helper()
	got := readLevel(t, b, topic, want.End, kgo.ReadUncommitted())
	at := 0
	for _, w := range want.Uncommitted {
		for at < len(got) && got[at].Offset < w.Offset && got[at].Offset < want.Start {
			at++ // Kafka keeps where a log starts outside of the folder
		}
		if at == len(got) {
			t.Fatalf("%s: no record at %d", topic, w.Offset)
		}
		g := got[at]
		at++
		if g.Offset != w.Offset || g.Timestamp.UnixMilli() != w.Timestamp || !same(g.Key, w.Key) || !same(g.Value, w.Value) {
			t.Fatalf("%s: record %q=%q at %d, Kafka has %+v", topic, g.Key, g.Value, g.Offset, w)
		}
	}
	if at != len(got) {
		t.Errorf("%s: %d records, Kafka has %d", topic, len(got), len(want.Uncommitted))
	}
	var committed []int64
	for _, r := range readLevel(t, b, topic, want.End, kgo.ReadCommitted()) {
		if r.Offset >= want.Start {
			committed = append(committed, r.Offset)
		}
	}
	if !slices.Equal(committed, want.Committed) {
		t.Errorf("%s: a reader of committed data gets %d, from Kafka %d", topic, committed, want.Committed)
	}
}

func same(b []byte, s *string) bool {
	return (b == nil) == (s == nil) && (s == nil || string(b) == *s)
}

// setEpochs has all batches of a folder be of a leader epoch, as if Kafka had changed leaders as often.
func setEpochs(t *testing.T, folder string, epoch int32) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for rest := data; len(rest) > 0; {
			var b record.Batch
			if b, rest, err = record.Parse(rest); err != nil {
				t.Fatal(err)
			}
			b.SetLeaderEpoch(epoch)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkProducerID: a new producer gets an id that none of Kafka's producers had.
func checkProducerID(t *testing.T, b *Broker) {
	t.Helper()
	const kafkas = 2006 // the largest in the folders
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(t.Context(), client(t, b))
	if err != nil || resp.ErrorCode != 0 || resp.ProducerID <= kafkas {
		t.Errorf("a new producer: id %d, error %d, %v; the logs hold ids up to %d", resp.ProducerID, resp.ErrorCode, err, kafkas)
	}
}

// checkEpoch: the leader epoch is above that of all records, as clients see it.
func checkEpoch(t *testing.T, b *Broker, topic string) {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, asked)
	cl := client(t, b)
	resp, err := req.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	leads := resp.Topics[0].Partitions[0].LeaderEpoch
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	for _, r := range readLevel(t, b, topic, end.Offset, kgo.ReadUncommitted()) {
		if r.LeaderEpoch >= leads {
			t.Errorf("%s: the record at %d is of leader epoch %d, and %d leads now", topic, r.Offset, r.LeaderEpoch, leads)
		}
	}
}
