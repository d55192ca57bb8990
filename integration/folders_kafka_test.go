//go:build integration && unix

package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"segue/integration/kafka"
)

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
		takeFolder(t, b.folder(topic.name, 0), filepath.Join(n.Data, topic.name+"-0"), []string{".log"}, []string{"partition.metadata"})
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
		takeFolder(t, filepath.Join(n.Data, topic.name+"-0"), b.folder(topic.name, 0), nil, nil)
		if err := os.Remove(filepath.Join(b.folder(topic.name, 0), "partition.metadata")); err != nil {
			t.Fatal(err)
		}
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

// takeFolder puts the files of one folder that end as is said (all for nil) in the place of all in another but those
// named.
func takeFolder(t *testing.T, from, to string, suffixes, keep []string) {
	t.Helper()
	old, err := os.ReadDir(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range old {
		if len(keep) == 0 || e.Name() != keep[0] {
			if err := os.RemoveAll(filepath.Join(to, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range files {
		if len(suffixes) > 0 && filepath.Ext(e.Name()) != suffixes[0] {
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
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
