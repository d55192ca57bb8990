//go:build integration && unix

package integration

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/history"
)

// TestVersionAndHelp: what a person asks first.
func TestVersionAndHelp(t *testing.T) {
	tests := []struct {
		args []string
		want *regexp.Regexp
	}{
		{[]string{"--version"}, regexp.MustCompile(`^segue \S+ go1\.\S+ \w+/\w+\n$`)},
		{[]string{"--help"}, regexp.MustCompile(`(?s)^Segue is a Kafka-compatible broker.*9092.*\./data.*--config.*--override`)},
		{[]string{"-h"}, regexp.MustCompile(`(?s)^Segue is a Kafka-compatible broker`)},
	}
	for _, test := range tests {
		p := execute(t, test.args...)
		if code := p.exitCode(t); code != 0 {
			t.Errorf("%v: exit code %d", test.args, code)
		}
		if out := p.output.String(); !test.want.MatchString(out) {
			t.Errorf("%v: %s\nwant %v", test.args, out, test.want)
		}
		if e := p.log.String(); e != "" {
			t.Errorf("%v writes to its standard error: %s", test.args, e)
		}
	}
}

// TestBadConfiguration: what is wrong is told in words that name it, and nothing is left behind.
func TestBadConfiguration(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("num.partitions=many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	override := func(settings ...string) (args []string) {
		for _, s := range settings {
			args = append(args, "--override", s)
		}
		return args
	}
	tests := []struct {
		name string
		args []string
		code int
		want []string // in what it writes to its standard error
	}{
		{"a flag that is not there", []string{"--nonsense"}, 2, []string{"--nonsense", "--help"}},
		{"an argument too many", []string{"start"}, 2, []string{`"start"`, "--help"}},
		{"a value that is no number", override("num.partitions=many"), 2, []string{"num.partitions", "many"}},
		{"a value out of range", override("num.partitions=0"), 2, []string{"num.partitions", "1"}},
		{"a value in a file", []string{"--config", file}, 2, []string{"num.partitions", "many"}},
		{"a file that is not there", []string{"--config", file + "x"}, 2, []string{file + "x", "no such file"}},
		{"an override without a value", override("num.partitions"), 2, []string{"num.partitions", "name=value"}},
		{"a listener without a port", override("listeners=PLAINTEXT://localhost"), 2, []string{"listeners", "PLAINTEXT://localhost"}},
		{"a protocol that is not there", override("listeners=SSL://127.0.0.1:0"), 1, []string{"SSL", "PLAINTEXT"}},
		{"an unknown level of logs", []string{"--log-level", "loud"}, 2, []string{"loud", "debug"}},
		{"a port that is taken", override("listeners=PLAINTEXT://" + taken.Addr().String()), 1, []string{taken.Addr().String(), "in use"}},
		{"an HTTP port that is taken", override("listeners=PLAINTEXT://127.0.0.1:0", "http.listener="+taken.Addr().String()), 1,
			[]string{taken.Addr().String(), "http.listener", "in use"}},
		{"a file where the data should be", override("log.dirs=" + file), 1, []string{file}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defaults := override("log.dirs="+filepath.Join(t.TempDir(), "data"), "http.listener=127.0.0.1:0")
			p := execute(t, append(defaults, test.args...)...)
			code, said := p.exitCode(t), p.log.String()
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			if strings.Contains(said, "goroutine ") {
				t.Errorf("it panics:\n%s", said)
			}
		})
	}

	// A name that is not known is none of these: it is a warning, which names the one that was meant.
	b := start(t, "log.retention.mss=5")
	warned := b.run.log.find(func(e entry) bool { return e.text("level") == "warn" })
	if len(warned) != 1 || !regexp.MustCompile(`log\.retention\.mss\b.*log\.retention\.ms\b`).MatchString(warned[0].raw) {
		t.Errorf("warnings: %v", warned)
	}
}

// TestSecondBroker: two brokers do not share a directory. The second one says so, and which process has it; the first
// one does not notice. A broker that was killed keeps nobody out.
func TestSecondBroker(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	b.createTopic(t, "t", 1)
	w.produce("t", 0, batchOf(t, "a"))
	second := execute(t, "--log-format", "json", "--override", "listeners=PLAINTEXT://127.0.0.1:0",
		"--override", "http.listener=127.0.0.1:0", "--override", "log.dirs="+b.dir)
	if code := second.exitCode(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	failures := second.log.find(func(e entry) bool { return e.text("level") == "error" })
	if len(failures) != 1 {
		t.Fatalf("%d errors in its log, want 1:\n%s", len(failures), second.log)
	}
	for _, want := range []string{b.dir, fmt.Sprint(b.run.cmd.Process.Pid)} {
		if !strings.Contains(failures[0].text("error"), want) {
			t.Errorf("it does not say %q: %s", want, failures[0].raw)
		}
	}
	if base := w.produce("t", 0, batchOf(t, "b")); base != 1 {
		t.Errorf("the first broker appends at %d, want 1", base)
	}
	b.crash()
	if n := len(b.consumePartition(t, "t", 0)); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

// TestStop: SIGTERM ends the broker cleanly and soon, while clients write, read, wait, and do nothing; they get
// no errors but that it is gone, and what was acknowledged is there afterwards.
func TestStop(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			b := start(t)
			b.createTopic(t, "quiet", 1)
			for range 10 {
				b.dial(t) // and says nothing
				w := b.dial(t)
				w.send(fetchRequest(12, time.Hour, 1, wanted{topic: "quiet"}))
			}
			half := b.dial(t)
			if _, err := half.conn.Write([]byte{0, 0, 1, 0, 0}); err != nil { // the beginning of a request
				t.Fatal(err)
			}
			c := newCrowd(b, seeded(t))
			topic := c.writeAll(t, "t", 4)
			c.awaitAcks(t, 200)
			stop := c.rec.Fault(history.Stop)
			if took := b.stopBy(signal); took > prompt {
				t.Errorf("the stop took %v, want no longer than %v whatever clients wait for", took, prompt)
			}
			b.launch()
			stop.End(history.OK, history.Nowhere)
			c.awaitAcks(t, 200)
			c.finish(t, topic)
			c.check(t)
			b.stop()
		})
	}
}

// TestStopIsRemembered: a start after a clean stop has nothing to recover, and one after a kill says what it did.
func TestStopIsRemembered(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	w := b.dial(t)
	fill(t, w, "t", 100, time.Now())
	recovered := func() []entry {
		return b.run.log.find(func(e entry) bool {
			return strings.Contains(e.text("message"), "recover") || e.text("level") == "warn"
		})
	}
	b.restart()
	if found := recovered(); len(found) != 0 {
		t.Errorf("after a clean stop: %v", found)
	}
	b.crash()
	for _, e := range recovered() {
		if e.text("level") == "warn" || e.text("level") == "error" {
			t.Errorf("after a kill, with nothing torn: %s", e.raw)
		}
	}
	if n := len(b.consumePartition(t, "t", 0)); n != 100 {
		t.Errorf("%d records, want 100", n)
	}
}

// frame puts the size before a request.
func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// requestHead begins a request without a client id.
func requestHead(key, version int16) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 7)
	return binary.BigEndian.AppendUint16(b, 0xffff)
}

// TestGarbage: who sends what is no request loses the connection, and the log has one line that says why. The others
// go on.
func TestGarbage(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	sound := b.dial(t)
	tests := []struct {
		name string
		sent []byte
		want string // in the log line, beside the address of the client
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP"},
		{"HTTP POST", []byte("POST /topics HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP"},
		{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaa"), "TLS"},
		{"text", []byte("hello, is this a broker?\n"), ""},
		{"nothing but ones", bytes.Repeat([]byte{0xff}, 100), ""},
		{"nothing but zeros", make([]byte, 100), ""},
		{"a frame that is too large", append([]byte{0x7f, 0, 0, 0}, requestHead(3, 1)...), "2130706432"},
		{"an unknown API", frame(requestHead(999, 0)), "999"},
		{"a negative API", frame(requestHead(-1, 0)), "-1"},
		{"an unknown version", frame(requestHead(3, 99)), "99"},
		{"a negative version", frame(requestHead(3, -1)), "-1"},
		{"a body cut short", frame(requestHead(3, 1)), ""},
		{"a count that cannot be", frame(append(requestHead(3, 1), 0x7f, 0xff, 0xff, 0xff)), ""},
		{"a produce cut short", frame(append(requestHead(0, 3), 0xff)), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := b.dial(t)
			if _, err := w.conn.Write(test.sent); err != nil {
				t.Fatal(err)
			}
			w.isClosed()
			lines := func() []entry {
				return b.run.log.find(func(e entry) bool { return e.text("remote") == w.conn.LocalAddr().String() })
			}
			eventually(t, prompt, "the log tells", func() bool { return len(lines()) > 0 })
			sound.produce("t", 0, batchOf(t, "still here")) // and another line has time to come
			if l := lines(); len(l) != 1 || l[0].text("error") == "" || !strings.Contains(l[0].raw, test.want) ||
				l[0].text("level") != "warn" && l[0].text("level") != "info" {
				t.Errorf("the log has %d lines, want one with %q: %v", len(l), test.want, l)
			}
		})
	}
	if n := len(b.consumePartition(t, "t", 0)); n != len(tests) {
		t.Errorf("%d records, want %d", n, len(tests))
	}
	if n := b.metric("segue_handler_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
}

// TestHalfRequests: connections that break in the middle of a request, or with answers on their way, leave nothing behind.
func TestHalfRequests(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	w := b.dial(t)
	fill(t, w, "t", 200, time.Now())
	goroutines, err := findMetric(b.metrics(), "go_goroutines")
	if err != nil {
		t.Fatal(err)
	}
	files, err := findMetric(b.metrics(), "process_open_fds")
	if err != nil {
		t.Log(err) // this system does not tell
	}
	whole := w.formatter.AppendRequest(nil, produceRequest("t", 0, -1, batchOf(t, strings.Repeat("x", 100_000))), 1)
	for cut := 1; cut < len(whole); cut = cut*3 + 1 {
		half := b.dial(t)
		if _, err := half.conn.Write(whole[:cut]); err != nil {
			t.Fatal(err)
		}
		half.conn.Close()
	}
	for range 20 {
		reader := b.dial(t)
		for range 5 {
			reader.send(fetchRequest(12, 0, 1, wanted{topic: "t"})) // 2 MB, which nobody reads
		}
		reader.conn.Close()
	}
	w.conn.Close()
	eventually(t, patience, "the connections are gone, with all that they had", func() bool {
		text := b.metrics()
		g, _ := findMetric(text, "go_goroutines")
		f, _ := findMetric(text, "process_open_fds")
		n, err := findMetric(text, "segue_connections")
		return err == nil && n == 0 && g <= goroutines && f <= files
	})
	if n := len(b.consumePartition(t, "t", 0)); n != 200 {
		t.Errorf("%d records, want 200", n)
	}
}

// TestHTTP: the pages for those who watch.
func TestHTTP(t *testing.T) {
	b := start(t)
	for path, want := range map[string]int{"/live": 200, "/ready": 200, "/metrics": 200, "/nothing": 404} {
		if status, body := b.get(path); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
	w := b.dial(t)
	b.createTopic(t, "t", 3)
	w.produce("t", 0, batchOf(t, "a", "b", "c"))
	_, text := b.get("/metrics")
	for name, want := range map[string]float64{
		"segue_partitions_open":                            3,
		"segue_partitions_offline":                         0,
		`segue_requests_total{api="Produce"}`:              1,
		`segue_request_errors_total{api="Produce"}`:        0,
		"segue_handler_panics_total":                       0,
		`segue_requests_total{api="OffsetForLeaderEpoch"}`: 0,
	} {
		if v, err := findMetric(text, name); err != nil || v != want {
			t.Errorf("%s is %v, %v; want %v", name, v, err, want)
		}
	}
	resp, err := http.Post("http://"+b.http+"/live", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /live: %s", resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestApiVersions: what every client asks first, in each version; and one that is too new is answered so that the
// client can ask again.
func TestApiVersions(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	for version := int16(0); version <= 4; version++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "wire", "1.0"
		resp := ask[*kmsg.ApiVersionsResponse](w, req)
		expectCode(t, fmt.Sprint("version ", version), resp.ErrorCode, nil)
		if len(resp.ApiKeys) < 12 || resp.ApiKeys[0].ApiKey != 0 || resp.ApiKeys[0].MinVersion != 0 {
			t.Errorf("version %d: %+v", version, resp.ApiKeys)
		}
	}
	if _, err := w.conn.Write(frame(append(requestHead(18, 120), 0))); err != nil {
		t.Fatal(err)
	}
	w.next++
	w.asked = append(w.asked, kmsg.NewPtrApiVersionsRequest()) // it is answered in version 0
	w.next = 8                                                 // the correlation id in requestHead, and one
	resp := answer[*kmsg.ApiVersionsResponse](w)
	expectCode(t, "version 120", resp.ErrorCode, kerr.UnsupportedVersion)
	if len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion < 4 {
		t.Errorf("version 120: %+v", resp.ApiKeys)
	}
	expectCode(t, "the connection goes on", ask[*kmsg.MetadataResponse](w, metadataRequest(12, true, "t")).Topics[0].ErrorCode, nil)
}

// TestLargestRecord: what the defaults of broker and clients allow goes through, and more is refused in a way that ends
// the attempt.
func TestLargestRecord(t *testing.T) {
	b := start(t)
	cl := b.client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerBatchMaxBytes(4<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	produce(t, cl, kgo.SliceRecord(make([]byte, 1_048_588-100)))
	if err := cl.ProduceSync(within(t, patience), kgo.SliceRecord(make([]byte, 1_048_588))).FirstErr(); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("a record that is too large: %v, want %v", err, kerr.MessageTooLarge)
	}
}
