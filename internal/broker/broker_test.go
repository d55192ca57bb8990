package broker

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/internal/config"
	"segue/storage"
	"segue/storage/record"
)

// settings returns settings for a broker on free ports of this machine, with its data in dir.
func settings(t *testing.T, dir string, overrides ...string) *config.Layers {
	t.Helper()
	list, err := config.ReadOverrides(append([]string{
		"listeners=PLAINTEXT://127.0.0.1:0", "http.listener=127.0.0.1:0", "log.dirs=" + dir,
	}, overrides...))
	if err != nil {
		t.Fatal(err)
	}
	layers, _, err := config.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

// start starts a broker, which stops with the test at the latest.
func start(t *testing.T, dir string, overrides ...string) *Broker {
	t.Helper()
	log := zerolog.New(zerolog.NewTestWriter(t))
	b, err := New(t.Context(), Config{Settings: settings(t, dir, overrides...), Log: log, Version: "test", Started: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(func() { stop(t, b) })
	return b
}

func stop(t *testing.T, b *Broker) {
	t.Helper()
	if b.life.Err() != nil {
		return // stopped before
	}
	if err := b.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func client(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr("PLAINTEXT").String())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func produce(t *testing.T, c *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// consume returns the first n values of a topic with one partition.
func consume(t *testing.T, b *Broker, topic string, n int) (values []string) {
	t.Helper()
	c := client(t, b, kgo.ConsumeTopics(topic))
	for len(values) < n {
		f := c.PollFetches(t.Context())
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		f.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir)
	produce(t, client(t, b, kgo.AllowAutoTopicCreation()), "orders", "one", "two", "three")
	id, epoch := b.catalog.Image().ClusterID(), b.catalog.Image().StartCount()
	stop(t, b)

	b = start(t, dir)
	if image := b.catalog.Image(); image.ClusterID() != id || image.StartCount() != epoch+1 {
		t.Fatalf("cluster id %q, start %d; before %q, %d", image.ClusterID(), image.StartCount(), id, epoch)
	}
	if got := consume(t, b, "orders", 3); strings.Join(got, " ") != "one two three" {
		t.Fatal(got)
	}
	produce(t, client(t, b), "orders", "four")
	if got := consume(t, b, "orders", 4); got[3] != "four" {
		t.Fatal(got)
	}
}

func TestDeletedTopicComesBackEmpty(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir)
	c := client(t, b, kgo.AllowAutoTopicCreation())
	produce(t, c, "orders", "old")
	before, _ := b.catalog.Image().Topic("orders")
	if _, err := kadm.NewClient(c).DeleteTopics(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "orders-0")); !os.IsNotExist(err) {
		t.Fatalf("the deleted topic's folder is still there: %v", err)
	}
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 1, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	if after, _ := b.catalog.Image().Topic("orders"); after.ID == before.ID {
		t.Fatal("the topic came back with its old id")
	}
	produce(t, client(t, b), "orders", "new")
	if got := consume(t, b, "orders", 1); got[0] != "new" {
		t.Fatal(got)
	}
	stop(t, b)
	b = start(t, dir)
	if n := len(b.catalog.Image().Deleting()); n != 0 {
		t.Fatalf("the catalog still remembers %d deleted topics", n)
	}
	if got := consume(t, b, "orders", 1); got[0] != "new" {
		t.Fatal(got)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "orders-0.*")); len(left) != 0 {
		t.Fatal(left)
	}
}

func TestSeveralLogDirectories(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	b := start(t, one+","+two, "num.partitions=4")
	c := client(t, b, kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	for i := range 8 {
		produce(t, c, "spread", fmt.Sprint(i))
	}
	stop(t, b)
	for _, dir := range []string{one, two} {
		if folders, _ := filepath.Glob(filepath.Join(dir, "spread-*")); len(folders) != 2 {
			t.Errorf("%s holds %v", dir, folders)
		}
	}
	b = start(t, one+","+two, "num.partitions=4")
	if got := consume(t, b, "spread", 8); len(got) != 8 {
		t.Fatal(got)
	}
}

func TestStartIsRefused(t *testing.T) {
	used := t.TempDir()
	b := start(t, used)
	port := b.Addr("PLAINTEXT").(*net.TCPAddr).Port
	tests := []struct {
		name      string
		dir       string
		overrides []string
		says      string
	}{
		{"directory in use", used, nil, "in use"},
		{"port in use", t.TempDir(), []string{fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d", port)}, "cannot listen"},
		{"http port in use", t.TempDir(), []string{"http.listener=" + b.HTTPAddr().String()}, "http.listener"},
		{"protocol", t.TempDir(), []string{"listeners=SSL://127.0.0.1:0"}, "PLAINTEXT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(t.Context(), Config{Settings: settings(t, tt.dir, tt.overrides...), Log: zerolog.Nop()})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("error %v does not say %q", err, tt.says)
			}
			if tt.dir != used {
				start(t, tt.dir) // a start that failed holds on to nothing
			}
		})
	}
}

func TestHealth(t *testing.T) {
	b := start(t, t.TempDir())
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + b.HTTPAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for _, path := range []string{"/live", "/ready"} {
		if code, body := get(path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	produce(t, client(t, b, kgo.AllowAutoTopicCreation()), "orders", "one")
	for _, want := range []string{
		`segue_partition_high_watermark{partition="0",topic="orders"} 1`, "segue_requests_total", "go_goroutines",
	} {
		if _, body := get("/metrics"); !strings.Contains(body, want) {
			t.Errorf("/metrics does not have %s", want)
		}
	}
	b.ready.Store(false)
	if code, _ := get("/ready"); code != http.StatusServiceUnavailable {
		t.Errorf("/ready answers %d while the broker is not", code)
	}
}

func TestAdvertised(t *testing.T) {
	tests := []struct {
		name      string
		overrides []string
		want      string
	}{
		{"nothing set", []string{"listeners=PLAINTEXT://:0"}, "PLAINTEXT localhost:7"},
		{"a host to listen on", []string{"listeners=PLAINTEXT://127.0.0.1:0"}, "PLAINTEXT 127.0.0.1:7"},
		{"a host to tell", []string{"listeners=PLAINTEXT://:0", "advertised.listeners=PLAINTEXT://kafka.example.org:9999"}, "PLAINTEXT kafka.example.org:9999"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := settings(t, t.TempDir(), tt.overrides...).Listeners()
			got := advertised(l, map[string]net.Addr{"PLAINTEXT": &net.TCPAddr{Port: 7}})
			for name, a := range got {
				if s := fmt.Sprintf("%s %s:%d", name, a.Host, a.Port); s != tt.want {
					t.Errorf("got %s, want %s", s, tt.want)
				}
			}
			if len(got) != 1 {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestPartitionConfig(t *testing.T) {
	layers := settings(t, t.TempDir(), "log.retention.ms=5000", "message.max.bytes=4242")
	c := partitionConfig(layers, map[string]string{
		"segment.bytes": "1048576", "cleanup.policy": "compact,delete", "message.timestamp.type": "LogAppendTime",
		"compression.type": "zstd", "compression.zstd.level": "7", "flush.messages": "10", "delete.retention.ms": "3000",
		"min.cleanable.dirty.ratio": "0.25", "min.compaction.lag.ms": "7", "max.compaction.lag.ms": "8",
	})
	switch {
	case c.Log.RetentionAge != 5*time.Second, c.MaxMessageBytes != 4242, c.Log.SegmentBytes != 1<<20,
		!c.Log.Compact, !c.Log.Delete, c.TimestampType != record.LogAppendTime, c.Log.FlushMessages != 10,
		c.Log.TombstoneAge != 3*time.Second, c.Log.MinDirtyRatio != 0.25, c.Log.MinCompactionLag != 7*time.Millisecond,
		c.Log.MaxCompactionLag != 8*time.Millisecond, c.Log.SegmentAge != 8*time.Millisecond,
		!c.Recompress, c.Compression != record.Compression{Codec: record.Zstd, Level: 7}:
		t.Fatalf("%+v", c)
	}
	if c := partitionConfig(layers, nil); c.Recompress || c.Log.FlushMessages != 1 || c.TimestampType != record.CreateTime {
		t.Fatalf("%+v", c)
	}
}

func TestCompactionSettings(t *testing.T) {
	const memory = 1 << 30
	for _, test := range []struct {
		overrides []string
		memory    int64
		want      storage.Options
	}{
		{nil, memory, storage.Options{Compactors: 1, CompactBackoff: 15 * time.Second, CompactMemory: 128 << 20, CompactBytesPerSecond: math.MaxFloat64}},
		{[]string{"log.cleaner.enable=false"}, memory,
			storage.Options{Compactors: -1, CompactBackoff: 15 * time.Second, CompactMemory: 128 << 20, CompactBytesPerSecond: math.MaxFloat64}},
		{[]string{"log.cleaner.threads=0", "log.cleaner.backoff.ms=0"}, memory,
			storage.Options{Compactors: -1, CompactBackoff: minCleanerBackoff, CompactMemory: 128 << 20, CompactBytesPerSecond: math.MaxFloat64}},
		{[]string{"log.dirs=a,b", "log.cleaner.threads=3", "log.cleaner.dedupe.buffer.size=2000", "log.cleaner.io.max.bytes.per.second=500",
			"log.cleaner.backoff.ms=100"}, memory,
			storage.Options{Compactors: 2, CompactBackoff: 100 * time.Millisecond, CompactMemory: 1000, CompactBytesPerSecond: 250}},
		{nil, 5000, storage.Options{Compactors: 1, CompactBackoff: 15 * time.Second, CompactMemory: 5000, CompactBytesPerSecond: math.MaxFloat64}},
	} {
		var got storage.Options
		compaction(&got, settings(t, t.TempDir(), test.overrides...).Broker(), test.memory)
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%v: %+v, want %+v", test.overrides, got, test.want)
		}
	}
}
