//go:build integration && unix

package clients

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clock is the time of record i: within an hour, a second after the one before.
func clock(i int) time.Time {
	return time.Now().Truncate(time.Hour).Add(time.Duration(i-3600) * time.Second)
}

// consoleProducer: what is typed in becomes records, with keys and headers, in the codec that is asked for.
func (c *tools) consoleProducer() {
	topic := c.topic(1)
	for codec, name := range map[int]string{1: "gzip", 4: "zstd"} {
		var typed strings.Builder
		for i := range 50 {
			fmt.Fprintf(&typed, "n:%d,codec:%s\tk%d\t%s\n", i, name, i, padded(i, 100))
		}
		before := len(c.batches(topic, 0))
		c.feed(typed.String(), producerTool, "--topic", topic, "--compression-codec", name,
			"--reader-property", "parse.key=true", "--reader-property", "parse.headers=true")
		batches := c.batches(topic, 0)[before:]
		records := c.read(topic)[0]
		records = records[len(records)-50:]
		for _, b := range batches {
			if got := int(b.Attributes & 7); got != codec {
				c.t.Errorf("the batch at %d arrives in codec %d, want %s", b.FirstOffset, got, name)
			}
		}
		for i, r := range records {
			h := headers(r)
			if string(r.Key) != fmt.Sprint("k", i) || string(r.Value) != padded(i, 100) || h["n"] != strconv.Itoa(i) || h["codec"] != name {
				c.t.Fatalf("record %d is %q: %s, headers %v", i, r.Key, short(string(r.Value)), h)
			}
		}
	}
}

// consoleConsumer: what others have written, in all codecs, is printed; a group goes on where it has left off.
func (c *tools) consoleConsumer() {
	topic := c.topic(1)
	var want []string
	at := clock(0)
	for codec := range codecs {
		var records []*kgo.Record
		for range 10 {
			i := len(want)
			records = append(records, &kgo.Record{Key: fmt.Append(nil, "k", i), Value: []byte(padded(i, 50)), Timestamp: at,
				Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}}})
			want = append(want, fmt.Sprintf("CreateTime:%d\tPartition:0\tOffset:%d\tn:%d\tk%d\t%s", at.UnixMilli(), i, i, i, padded(i, 50)))
		}
		c.write(codec, topic, records...)
	}
	args := []string{"--topic", topic, "--group", "console", "--from-beginning"}
	for _, p := range []string{"timestamp", "partition", "offset", "headers", "key"} {
		args = append(args, "--formatter-property", "print."+p+"=true")
	}
	for _, most := range []int{30, 20} {
		var got []string
		out := c.run(consumerTool, append(args, "--max-messages", strconv.Itoa(most), "--timeout-ms", "30000")...)
		for _, l := range linesOf(out) {
			if strings.HasPrefix(l, "CreateTime:") {
				got = append(got, l)
			}
		}
		if !slices.Equal(got, want[:most]) {
			c.t.Fatalf("it prints\n%s\nwant\n%s", out, strings.Join(want[:most], "\n"))
		}
		want = want[most:]
		c.prints(out, fmt.Sprintf("^Processed a total of %d messages$", most))
	}
}

// perfTest: the two tools that measure write and read so many records.
func (c *tools) perfTest() {
	topic := c.topic(1)
	c.prints(c.run(producePerf, "--topic", topic, "--num-records", "20000", "--record-size", "100", "--throughput", "-1",
		"--command-property", "compression.type=lz4"), `^20000 records sent, [\d.]+ records/sec .* 99\.9th\.$`)
	for _, b := range c.batches(topic, 0) {
		if b.Attributes&7 != 3 {
			c.t.Fatalf("the batch at %d arrives in codec %d, want lz4", b.FirstOffset, b.Attributes&7)
		}
	}
	out := linesOf(c.run(consumePerf, "--topic", topic, "--num-records", "20000"))
	if fields := strings.Split(out[len(out)-1], ", "); len(fields) != 10 || fields[2] != "1.9073" || fields[4] != "20000" {
		c.t.Errorf("it prints\n%s\nwant 1.9073 MB of 20000 records", strings.Join(out, "\n"))
	}
}

// getOffsets: offsets at times, and the special ones.
func (c *tools) getOffsets() {
	topic := c.topic(2)
	var records []*kgo.Record
	for _, i := range []int{0, 1, 9, 3, 4} { // the third one is the youngest
		records = append(records, &kgo.Record{Partition: 1, Value: []byte("v"), Timestamp: clock(i)})
	}
	c.write(0, topic, records...)
	var begin kadm.Offsets
	begin.Add(kadm.Offset{Topic: topic, Partition: 1, At: 1})
	if deleted, err := c.adm.DeleteRecords(within(c.t), begin); errors.Join(err, deleted.Error()) != nil {
		c.t.Fatal(errors.Join(err, deleted.Error()))
	}
	for at, want := range map[string][]string{
		"earliest":      {"0:0", "1:1"},
		"latest":        {"0:0", "1:5"},
		"max-timestamp": {"1:2"},
		strconv.FormatInt(clock(2).UnixMilli(), 10): {"1:2"},
	} {
		for i := range want {
			want[i] = topic + ":" + want[i]
		}
		if got := linesOf(c.run(getOffsetsTool, "--topic", topic, "--time", at)); !slices.Equal(got, want) {
			c.t.Errorf("%s: it prints %q, want %q", at, got, want)
		}
	}
}

// deleteRecords: the log begins where it is told to.
func (c *tools) deleteRecords() {
	topic := c.topic(1)
	c.write(0, topic, &kgo.Record{Value: []byte("one")}, &kgo.Record{Value: []byte("two")}, &kgo.Record{Value: []byte("three")})
	file := filepath.Join(c.t.TempDir(), "offsets.json")
	text := fmt.Sprintf(`{"version":1,"partitions":[{"topic":%q,"partition":0,"offset":2}]}`, topic)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.prints(c.run(deleteTool, "--offset-json-file", file), `^partition: for-kafka-delete-records-0\tlow_watermark: 2$`)
	if records := c.read(topic)[0]; len(records) != 1 || string(records[0].Value) != "three" {
		c.t.Errorf("%d records are left, want the last", len(records))
	}
}

// directories is what kafka-log-dirs prints.
type directories struct {
	Brokers []struct {
		Broker  int
		LogDirs []struct {
			Partitions []struct {
				Partition       string
				Size, OffsetLag int64
				IsFuture        bool
			}
			Error  *string
			LogDir string
		}
	}
}

// logDirs: where partitions are, and how large.
func (c *tools) logDirs() {
	topic := c.topic(2)
	c.write(0, topic, &kgo.Record{Partition: 1, Value: []byte(padded(0, 10000))})
	dir, sizes := c.folder(topic)
	file, err := os.Stat(filepath.Join(dir, topic+"-1", "00000000000000000000.log"))
	if err != nil {
		c.t.Fatal(err)
	}
	if len(sizes) != 2 || sizes[topic+"-0"] != 0 || sizes[topic+"-1"] != file.Size() {
		c.t.Errorf("it tells sizes %v, want 0 and %d", sizes, file.Size())
	}
}

// folder asks kafka-log-dirs where the partitions of a topic lie, and for their sizes.
func (c *tools) folder(topic string) (dir string, sizes map[string]int64) {
	c.t.Helper()
	lines := linesOf(c.run(logDirsTool, "--describe", "--topic-list", topic))
	var told directories
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &told); err != nil {
		c.t.Fatalf("%s: %v", lines, err)
	}
	if len(told.Brokers) != 1 || told.Brokers[0].Broker != 1 || len(told.Brokers[0].LogDirs) != 1 || told.Brokers[0].LogDirs[0].Error != nil {
		c.t.Fatalf("it prints %s", lines)
	}
	sizes = map[string]int64{}
	for _, p := range told.Brokers[0].LogDirs[0].Partitions {
		if p.OffsetLag != 0 || p.IsFuture {
			c.t.Errorf("it tells %+v", p)
		}
		sizes[p.Partition] = p.Size
	}
	return told.Brokers[0].LogDirs[0].LogDir, sizes
}

// dumpLog: the segments that the broker has written are sound to the tool, in all codecs, down to each record. It reads
// nothing but segments: an index of Segue's is a file that it does not know.
func (c *tools) dumpLog() {
	topic := c.topic(1, "segment.bytes=1048576")
	var want []string
	for round := range 3 * len(codecs) {
		codec := round % len(codecs)
		var records []*kgo.Record
		for range 100 {
			i := len(want)
			records = append(records, &kgo.Record{Key: fmt.Append(nil, "k", i), Value: []byte(padded(i, 5000)), Timestamp: clock(i),
				Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}}})
			want = append(want, fmt.Sprintf("offset: %d CreateTime: %d key: k%d payload: %s", i, clock(i).UnixMilli(), i, padded(i, 5000)))
		}
		c.write(codec, topic, records...)
	}
	dir, _ := c.folder(topic)
	segments, err := filepath.Glob(filepath.Join(dir, topic+"-0", "*.log"))
	if err != nil || len(segments) < 2 {
		c.t.Fatalf("there are segments %v: %v", segments, err)
	}
	out, err := c.attempt("", dumpLogTool, "--deep-iteration", "--print-data-log", "--files", strings.Join(segments, ","))
	if err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	// Whatever it finds wrong, it prints below the rest, and exits with 0. In each segment but a log's first it misses what
	// goes before, in those of Kafka's own too.
	known := regexp.MustCompile(`^(Dumping |Log starting offset: |baseOffset: .* isvalid: true$|\| offset: |Non-consecutive offsets in |  -1 is followed by \d+$)`)
	record := regexp.MustCompile(`^\| (offset: \d+ CreateTime: \d+) .* headerKeys: \[n\] (key: .*)$`)
	var got []string
	seen := map[string]bool{}
	for _, l := range linesOf(out) {
		if !known.MatchString(l) {
			c.t.Errorf("it prints %q", l)
		}
		if _, codec, ok := strings.Cut(l, " compresscodec: "); ok {
			name, _, _ := strings.Cut(codec, " ")
			seen[name] = true
		}
		if m := record.FindStringSubmatch(l); m != nil {
			got = append(got, m[1]+" "+m[2])
		}
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("it prints %d records, which are not the %d that were written:\n%.4000s", len(got), len(want), out)
	}
	for _, codec := range codecs {
		if !seen[codec.name] {
			c.t.Errorf("it has seen no batch in %s", codec.name)
		}
	}
}
