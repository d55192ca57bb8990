//go:build integration && unix

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"segue/integration/kafka"
)

// TestFoldersOfKafka has the broker take over folders that a Kafka wrote, as docs/moving.md says. With the topic id left in one
// it does not start, and says what to do. All is read as it was from Kafka, and written on after another start.
func TestFoldersOfKafka(t *testing.T) {
	var answers map[string]told
	text, err := os.ReadFile(goldenAnswers)
	if err == nil {
		err = json.Unmarshal(text, &answers)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := start(t)
	for topic, answer := range answers {
		b.createTopic(t, topic, 1, append(pairs(answer.Configs), "retention.ms", "-1")...)
	}
	b.stop()
	for topic := range answers {
		moveFolder(t, fromKafka, filepath.Join(goldenFolders, topic+"-0"), b.folder(topic, 0))
	}
	id, err := os.ReadFile(filepath.Join(goldenFolders, "codecs-0", "partition.metadata"))
	if err == nil {
		err = os.WriteFile(filepath.Join(b.folder("codecs", 0), "partition.metadata"), id, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	refused := b.execute()
	<-refused.ended
	if refused.err == nil || len(refused.log.find(func(e entry) bool { return strings.Contains(e.raw, "remove the partition.metadata") })) == 0 {
		t.Errorf("with Kafka's topic id in a folder the broker ends with %v and says:\n%s", refused.err, refused.log)
	}
	if err := os.Remove(filepath.Join(b.folder("codecs", 0), "partition.metadata")); err != nil {
		t.Fatal(err)
	}
	b.launch()
	for topic, answer := range answers {
		got := askAll(t, b.addr, topic)
		if got.Start > answer.Start || got.Start < answer.Start && topic != "trimmed" {
			t.Errorf("%s starts at %d, in Kafka at %d", topic, got.Start, answer.Start)
		}
		// Where a log starts within a segment is not in the folder.
		got.Uncommitted = slices.DeleteFunc(got.Uncommitted, func(r toldRecord) bool { return r.Offset < answer.Start })
		got.Committed = slices.DeleteFunc(got.Committed, func(at int64) bool { return at < answer.Start })
		got.Start = answer.Start
		sameTold(t, topic, got, answer)
	}
	b.kill()
	b.launch()
	for topic, answer := range answers {
		(&folderWriter{t: t, addr: b.addr, topic: topic, clock: time.Now()}).plain()
		if end := askAll(t, b.addr, topic).End; end != answer.End+21 {
			t.Errorf("%s ends at %d with 21 records behind %d", topic, end, answer.End)
		}
	}
}

// TestFoldersInKafka writes topics of several kinds with Segue, over clean restarts and kills, and compacts one. Kafka's
// own dump finds nothing wrong in the data files; put into the folders of a Kafka, all is read there as it was here, and
// written on; and brought back, all is read here again.
func TestFoldersInKafka(t *testing.T) {
	k := someKafka(t)
	b := start(t, "log.cleaner.backoff.ms=100")
	compacted := []string{"cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", "max.compaction.lag.ms=100"}
	topics := []folderTopic{
		{"codecs", []string{"segment.ms=1000"}, (*folderWriter).codecs, nil},
		{"small", []string{"segment.bytes=1048576"}, (*folderWriter).segments, nil},
		{"appended", []string{"message.timestamp.type=LogAppendTime"}, (*folderWriter).plain, nil},
		{"compacted", append([]string{"segment.ms=1000"}, compacted...), (*folderWriter).rewritten, func(t told) bool {
			return len(t.Uncommitted) < 60
		}},
	}
	for i, topic := range topics {
		b.createTopic(t, topic.name, 1, append(pairs(topic.configs), "retention.ms", "-1")...)
		topic.write(&folderWriter{t: t, addr: b.addr, topic: topic.name, clock: goldenTime})
		if i%2 == 0 {
			b.kill()
			b.launch()
		} else {
			b.restart()
		}
		w := &folderWriter{t: t, addr: b.addr, topic: topic.name, clock: goldenTime.Add(time.Hour)}
		w.plain()
	}
	want := map[string]told{}
	for _, topic := range topics {
		if topic.settled != nil {
			eventually(t, time.Minute, topic.name+" is compacted", func() bool { return topic.settled(askAll(t, b.addr, topic.name)) })
		}
		want[topic.name] = askAll(t, b.addr, topic.name)
	}
	b.stop()
	for _, topic := range topics {
		dumpWithKafka(t, k, b.segments(t, topic.name, 0))
	}

	dir := t.TempDir()
	settings := []string{"log.retention.ms=-1"}
	n := startKafka(t, k, dir, settings...)
	for _, topic := range topics {
		(&broker{t: t, addr: n.Addr}).createTopic(t, topic.name, 1, pairs(topic.configs)...)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		moveFolder(t, toKafka, b.folder(topic.name, 0), filepath.Join(n.Data, topic.name+"-0"))
	}
	n = startKafka(t, k, dir, settings...)
	for _, topic := range topics {
		sameTold(t, topic.name+" in Kafka", askAll(t, n.Addr, topic.name), want[topic.name])
		w := &folderWriter{t: t, addr: n.Addr, topic: topic.name, clock: time.Now()}
		w.plain()
		want[topic.name] = askAll(t, n.Addr, topic.name)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		moveFolder(t, fromKafka, filepath.Join(n.Data, topic.name+"-0"), b.folder(topic.name, 0))
	}
	b.launch()
	for _, topic := range topics {
		back := askAll(t, b.addr, topic.name)
		if topic.settled == nil { // else it may be compacted once more
			sameTold(t, topic.name+" back here", back, want[topic.name])
		}
		w := &folderWriter{t: t, addr: b.addr, topic: topic.name, clock: time.Now()}
		w.plain()
		if after := askAll(t, b.addr, topic.name); after.End <= back.End {
			t.Errorf("%s: the log ends at %d, and ended at %d before more was written", topic.name, after.End, back.End)
		}
	}
}

// segments writes several segments of the least size.
func (w *folderWriter) segments() {
	cl := w.client()
	defer cl.Close()
	for i := range 30 {
		produce(w.t, cl, w.record("large", fmt.Sprintf("%d %s", i, strings.Repeat("x", 100<<10))))
	}
	w.end()
}

// The commands of docs/moving.md, from the folder $1 to the folder $2.
const (
	fromKafka = `rm -rf "$2" && cp -r "$1" "$2" && rm "$2/partition.metadata"`
	toKafka   = `find "$2" -type f ! -name partition.metadata -delete && cp "$1"/*.log "$2/"`
)

func moveFolder(t *testing.T, commands, from, to string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", commands, "sh", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", commands, err, out)
	}
}

func sameTold(t *testing.T, what string, got, want told) {
	t.Helper()
	if got.Start != want.Start || got.End != want.End {
		t.Errorf("%s: offsets %d to %d, want %d to %d", what, got.Start, got.End, want.Start, want.End)
	}
	if !reflect.DeepEqual(got.Committed, want.Committed) {
		t.Errorf("%s: a reader of committed data gets %d, want %d", what, got.Committed, want.Committed)
	}
	for i := range min(len(got.Uncommitted), len(want.Uncommitted)) {
		if g, w := got.Uncommitted[i], want.Uncommitted[i]; !reflect.DeepEqual(g, w) {
			t.Fatalf("%s: record %d is %+v, want %+v", what, i, g, w)
		}
	}
	if len(got.Uncommitted) != len(want.Uncommitted) {
		t.Errorf("%s: %d records, want %d", what, len(got.Uncommitted), len(want.Uncommitted))
	}
}

// dumpWithKafka has kafka-dump-log read data files to their last records, and fails for anything that it finds wrong.
func dumpWithKafka(t *testing.T, k *kafka.Kafka, files []string) {
	t.Helper()
	cmd := k.Command(within(t, 2*patience), "org.apache.kafka.tools.DumpLogSegments",
		"--deep-iteration", "--print-data-log", "--files", strings.Join(files, ","))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kafka-dump-log: %v\n%.2000s", err, out)
	}
	for _, sign := range []string{"isvalid: false", "Found", "trailing", "Mismatch", "Exception", "rror:"} {
		if i := bytes.Index(out, []byte(sign)); i >= 0 {
			t.Errorf("kafka-dump-log on %s tells %q:\n%.500s", files[0], sign, out[max(0, i-200):])
		}
	}
	if n := bytes.Count(out, []byte("isvalid: true")); n < len(files) {
		t.Errorf("kafka-dump-log found %d sound batches in %d files", n, len(files))
	}
}
