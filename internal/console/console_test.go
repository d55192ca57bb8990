package console

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"segue/internal/server"
	"segue/partition"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
)

// serve starts a console on a free port and stops it when the test ends.
func serve(t *testing.T, c Config) (url string) {
	t.Helper()
	c.Addr, c.Log = "127.0.0.1:0", zerolog.Nop()
	console, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if console.Addr() != nil {
		t.Error("an address before Listen")
	}
	if err := console.Listen(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- console.Serve() }()
	t.Cleanup(func() {
		if err := console.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + console.Addr().String()
}

// get returns the status and the text of a page.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestPages(t *testing.T) {
	var why error
	url := serve(t, Config{Ready: func() error { return why }})
	for _, test := range []struct {
		path   string
		why    error
		status int
		text   string
	}{
		{"/live", nil, 200, "alive\n"},
		{"/live", errors.New("starting"), 200, "alive\n"},
		{"/ready", nil, 200, "ready\n"},
		{"/ready", errors.New("3 of 5 partitions are open"), 503, "3 of 5 partitions are open\n"},
		{"/", nil, 404, "404 page not found\n"},
		{"/live/x", nil, 404, "404 page not found\n"},
	} {
		why = test.why
		if status, text := get(t, url+test.path); status != test.status || text != test.text {
			t.Errorf("%s (%v): %d %q, want %d %q", test.path, test.why, status, text, test.status, test.text)
		}
	}
	resp, err := http.Post(url+"/live", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", resp.StatusCode)
	}
}

func TestMetricsPage(t *testing.T) {
	url := serve(t, Config{Sources: Sources{Server: func() server.Stats { return server.Stats{Connections: server.ConnectionStats{Open: 3}} }}})
	status, text := get(t, url+"/metrics")
	if status != 200 {
		t.Fatalf("status %d: %s", status, text)
	}
	for _, want := range []string{"\nsegue_connections 3\n", "\ngo_goroutines ", "\nprocess_start_time_seconds "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not there", want)
		}
	}
}

// testPartitions opens a Manager with a topic of two partitions, and a third partition that cannot be opened.
func testPartitions(t *testing.T) *partition.Manager {
	t.Helper()
	fs := vfs.Inject(vfs.NewCrashable(), func(o vfs.Op) error {
		if strings.Contains(o.Name, "broken-0") {
			return errors.New("the disk is on fire")
		}
		return nil
	})
	dir, err := storage.OpenDir("/data", storage.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	m := partition.NewManager(partition.Local(dir), partition.ManagerOptions{Codecs: partition.NewCodecs(1 << 20)})
	t.Cleanup(func() {
		m.Close(context.Background())
		dir.Close()
	})
	config := partition.Config{
		Log:             storage.Config{SegmentBytes: 1 << 20, SegmentAge: time.Hour, IndexBytes: 1 << 12, IndexInterval: 1 << 12, FlushMessages: 1, Delete: true},
		MaxMessageBytes: 1 << 20, TimestampBeforeMax: partition.NoLimit, TimestampAfterMax: partition.NoLimit, ProducerExpiry: time.Hour,
	}
	var openings []partition.Opening
	for _, id := range []storage.Identity{
		{Topic: "a", TopicID: [16]byte{1}, Partition: 0}, {Topic: "a", TopicID: [16]byte{1}, Partition: 1}, {Topic: "broken", TopicID: [16]byte{2}},
	} {
		openings = append(openings, partition.Opening{Identity: id, Config: config})
	}
	if err := m.Open(t.Context(), openings, nil); err == nil {
		t.Fatal("the broken partition was opened")
	}
	for number, records := range []int{2, 3} {
		p, err := m.Get([16]byte{1}, int32(number))
		if err != nil {
			t.Fatal(err)
		}
		b := record.NewBuilder(0)
		for range records {
			b.Add(1, nil, nil)
		}
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		ack, err := p.Append(t.Context(), -1, batch, partition.Client)
		if err == nil {
			err = ack.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestPartitionMetrics(t *testing.T) {
	m := testPartitions(t)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector(Sources{Manager: m.Stats, Each: m.Each}))
	want := `
# HELP segue_partition_high_watermark Offset behind the last committed record of the partition.
# TYPE segue_partition_high_watermark gauge
segue_partition_high_watermark{partition="0",topic="a"} 2
segue_partition_high_watermark{partition="1",topic="a"} 3
# HELP segue_partition_log_start_offset Offset of the first record of the partition.
# TYPE segue_partition_log_start_offset gauge
segue_partition_log_start_offset{partition="0",topic="a"} 0
segue_partition_log_start_offset{partition="1",topic="a"} 0
# HELP segue_partitions_offline Partitions that could not be opened or have failed since.
# TYPE segue_partitions_offline gauge
segue_partitions_offline 1
# HELP segue_partitions_open Partitions that are open.
# TYPE segue_partitions_open gauge
segue_partitions_open 2
# HELP segue_topic_batches_total Record batches written to the topic.
# TYPE segue_topic_batches_total counter
segue_topic_batches_total{topic="a"} 2
# HELP segue_topic_records_total Records written to the topic.
# TYPE segue_topic_records_total counter
segue_topic_records_total{topic="a"} 5
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "segue_partition_high_watermark", "segue_partition_log_start_offset",
		"segue_partitions_open", "segue_partitions_offline", "segue_topic_batches_total", "segue_topic_records_total"); err != nil {
		t.Error(err)
	}
}

// A topic that is being deleted and a new one of its name have the same series: a scrape must not fail for it.
func TestTopicOfTheSameName(t *testing.T) {
	m := testPartitions(t)
	twice := func(f func(storage.Identity, *partition.Partition, error)) {
		m.Each(f)
		m.Each(f)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector(Sources{Each: twice}))
	if n, err := testutil.GatherAndCount(registry, "segue_partition_high_watermark"); err != nil || n != 2 {
		t.Errorf("%d series, want 2; error %v", n, err)
	}
}

func TestHistogram(t *testing.T) {
	var h server.Histogram
	h.Counts[0], h.Counts[1], h.Counts[server.Buckets] = 4, 2, 1 // up to 50 µs, up to 100 µs, above all
	h.Sum = 3 * time.Second
	stats := func() server.Stats { return server.Stats{APIs: []server.APIStats{{Name: "Fetch", Handle: h}}} }
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector(Sources{Server: stats}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "segue_request_handle_seconds" {
			continue
		}
		got := f.GetMetric()[0].GetHistogram()
		buckets := got.GetBucket()
		if got.GetSampleCount() != 7 || got.GetSampleSum() != 3 || len(buckets) != server.Buckets {
			t.Errorf("%d durations of %v in %d buckets", got.GetSampleCount(), got.GetSampleSum(), len(buckets))
		}
		if b := buckets[1]; b.GetUpperBound() != 0.0001 || b.GetCumulativeCount() != 6 {
			t.Errorf("%d up to %v, want 6 up to 0.0001", b.GetCumulativeCount(), b.GetUpperBound())
		}
		return
	}
	t.Error("the histogram is not there")
}

// Every metric passes Prometheus's own rules, and those for names.
func TestMetricsAreSound(t *testing.T) {
	m := testPartitions(t)
	all := newCollector(Sources{
		Server:  func() server.Stats { return server.Stats{APIs: []server.APIStats{{Name: "Fetch"}, {Name: "Produce"}}} },
		Dirs:    func() []storage.Stats { return []storage.Stats{{Path: "/a"}, dirStats("/b")} },
		Manager: m.Stats, Each: m.Each,
		Sessions: func() SessionStats { return SessionStats{Sessions: 1, Partitions: 2, Evictions: 3} },
		Groups:   testGroups,
	})
	problems, err := testutil.CollectAndLint(all)
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(all)
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "segue_") {
			t.Errorf("%s has no prefix", f.GetName())
		}
	}
	if len(families) < 40 {
		t.Errorf("%d metrics, and there should be more", len(families))
	}
}

func dirStats(path string) storage.Stats {
	return storage.Stats{Path: path, Bytes: 5, Flushes: storage.Histogram{
		Bounds: []time.Duration{time.Millisecond, time.Second}, Counts: []int64{1, 2, 3}, Sum: time.Minute,
	}}
}

func TestLifecycle(t *testing.T) {
	first, err := New(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Serve(); err == nil {
		t.Error("Serve before Listen has no error")
	}
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	second, err := New(Config{Addr: first.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Listen(); err == nil || !strings.Contains(err.Error(), first.Addr().String()) {
		t.Errorf("an address that is taken: error %v", err)
	}
	if err := second.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown before Listen: %v", err)
	}
	if err := first.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown before Serve: %v", err)
	}
	if err := first.Serve(); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
	third, err := New(Config{Addr: first.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Listen(); err != nil {
		t.Errorf("the address is not free again: %v", err)
	}
	if err := third.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A request that does not end is cut off when the context does.
func TestShutdownIsBounded(t *testing.T) {
	begun, hold := make(chan struct{}), make(chan struct{})
	console, err := New(Config{Addr: "127.0.0.1:0", Log: zerolog.Nop(), Ready: func() error {
		close(begun)
		<-hold
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := console.Listen(); err != nil {
		t.Fatal(err)
	}
	done, answered := make(chan error, 1), make(chan error, 1)
	go func() { done <- console.Serve() }()
	go func() {
		resp, err := http.Get("http://" + console.Addr().String() + "/ready")
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := console.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("the request was answered")
	}
	close(hold)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Of those who connect only so many are let in at a time, and a stop does not wait for the others.
func TestConnectionsAreLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimited(inner, 2)
	accepted := make(chan net.Conn, 10)
	ended := make(chan error)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	for range 4 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, second := <-accepted, <-accepted
	if len(l.places) != 2 || len(accepted) != 0 {
		t.Errorf("%d places taken, %d more accepted", len(l.places), len(accepted))
	}
	first.Close()
	first.Close() // twice gives no more back than once
	third := <-accepted
	if len(accepted) != 0 {
		t.Error("a fourth was accepted")
	}
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ends with %v", err)
	}
	second.Close()
	third.Close()
}
