//go:build integration

package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The memory that the broker has in these tests, and how many connections it then lets in.
const (
	hardLimit           = 128 << 20
	fewConnections      = 400
	latencySamples      = 60
	latencyFactor       = 10
	latencyOfNoInterest = 150 * time.Millisecond // the machine may be busy with other things
)

// longTests says whether the tests that take minutes are to take them.
func longTests() bool { return os.Getenv("SEGUE_LONG") == "1" }

// startConfined starts a broker that has hardLimit of memory. Records are acknowledged when they are written, so that
// what is measured is the broker and not the disk.
func startConfined(t *testing.T, overrides ...string) (*broker, *cgroup) {
	t.Helper()
	if raceEnabled() {
		t.Skip("the race detector takes many times the memory")
	}
	b := newBroker(t, append([]string{"log.flush.interval.messages=1000000"}, overrides...)...)
	g := b.confine(hardLimit)
	b.launch()
	return b, g
}

// survived expects that the broker has stayed within its memory, and that no handler has failed.
func (b *broker) survived(g *cgroup, clients ...*goodClient) {
	b.t.Helper()
	if b.run == nil {
		b.t.Fatal("the broker does not run")
	}
	select {
	case <-b.run.ended:
		b.t.Fatalf("the broker has ended: %v; the limit has killed %d", b.run.err, g.kills())
	default:
	}
	peak := peakMemory(b.run.cmd.Process.Pid)
	b.t.Logf("the most memory it had: %.1f MiB of %d", float64(peak)/(1<<20), hardLimit>>20)
	if n := g.kills(); n > 0 || peak > hardLimit {
		b.t.Errorf("%d bytes of memory at the most, %d processes killed", peak, n)
	}
	if n := b.metric("segue_handler_panics_total"); n != 0 {
		b.t.Errorf("%v panics", n)
	}
}

// goodClient is an admitted client that produces a record and reads it back.
type goodClient struct {
	w    *wire
	next int64
}

func (b *broker) goodClient(t *testing.T) *goodClient {
	t.Helper()
	b.createTopic(t, "good", 1)
	return &goodClient{w: b.dial(t)}
}

// median is how long it takes to produce and to read back, in the middle of many attempts.
func (c *goodClient) median() time.Duration {
	c.w.t.Helper()
	var took []time.Duration
	for range latencySamples {
		took = append(took, elapsed(func() {
			c.next = c.w.produce("good", 0, batchOf(c.w.t, strings.Repeat("x", 10_000)))
			resp := ask[*kmsg.FetchResponse](c.w, fetchRequest(12, time.Second, 1, wanted{topic: "good", offset: c.next}))
			if n := countValues(c.w.t, resp); n != 1 {
				c.w.t.Fatalf("%d records at offset %d", n, c.next)
			}
		}))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// undisturbed expects that the client is hardly slower than it was before.
func (c *goodClient) undisturbed(what string, before time.Duration) {
	c.w.t.Helper()
	during := c.median()
	c.w.t.Logf("%s: the median of a produce and a fetch went from %v to %v, %.1f times", what, before, during, float64(during)/float64(before))
	if during > latencyFactor*before && during > latencyOfNoInterest {
		c.w.t.Errorf("%s: the median of a produce and a fetch is %v, without it %v", what, during, before)
	}
}

// attackers are connections that do no good, until stop.
type attackers struct {
	addr    string
	stopped chan struct{}
	running sync.WaitGroup
	lost    atomic.Int64 // connections that the broker has closed, or not taken
	why     atomic.Value // of the last of them
}

// attack has n connections run f again and again, each with a connection of its own.
func (b *broker) attack(t *testing.T, n int, f func(a *attackers, c net.Conn) error) *attackers {
	t.Helper()
	a := &attackers{addr: b.addr, stopped: make(chan struct{})}
	for i := range n {
		a.running.Go(func() {
			for !a.isOver() {
				c, err := dialFrom(i, a.addr)
				if err == nil {
					err = f(a, c)
					c.Close()
				}
				if err != nil && !a.isOver() {
					a.lost.Add(1)
					a.why.Store(err.Error())
					a.pause(200 * time.Millisecond)
				}
			}
		})
	}
	t.Cleanup(a.stop)
	return a
}

func (a *attackers) isOver() bool {
	select {
	case <-a.stopped:
		return true
	default:
		return false
	}
}

// pause waits, and tells whether to go on.
func (a *attackers) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.stopped:
		return false
	}
}

func (a *attackers) stop() {
	if !a.isOver() {
		close(a.stopped)
	}
	a.running.Wait()
}

// untilClosed waits for the broker to close the connection, or for the end of the attack.
func (a *attackers) untilClosed(c net.Conn) error {
	for !a.isOver() {
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("closed")
		}
	}
	return nil
}

// send writes and gives up when the attack is over.
func (a *attackers) send(c net.Conn, b []byte) error {
	for len(b) > 0 {
		if a.isOver() {
			return nil
		}
		c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.Write(b)
		if b = b[n:]; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// dialFrom connects from one of many addresses of this machine, since one has too few ports.
func dialFrom(i int, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%200))}}
	return d.Dial("tcp", addr)
}

// byteByByte sends a byte ten times a second.
func byteByByte(a *attackers, c net.Conn, b []byte) error {
	c.SetWriteDeadline(time.Time{})
	for i := range b {
		if _, err := c.Write(b[i : i+1]); err != nil {
			return err
		}
		if !a.pause(100 * time.Millisecond) {
			return nil
		}
	}
	return nil
}

// head is a request up to its body, with any size.
func head(key, version int16, size int32) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(size)), requestHead(key, version)...)
}

// TestHostileClients: whatever a few hundred connections are up to, the broker stays within its memory, and those who
// behave hardly notice.
func TestHostileClients(t *testing.T) {
	b, g := startConfined(t)
	good := b.goodClient(t)
	for i := range 10 { // so that metadata has something to tell
		b.createTopic(t, fmt.Sprintf("topic-%d", i), 100)
	}
	good.median() // what is new is slow
	before := good.median()

	metadata := frame(append(requestHead(3, 1), 0xff, 0xff, 0xff, 0xff))
	manyMetadata := slices.Repeat(metadata, 100_000)
	largeBody := append(head(0, 9, 10<<20), make([]byte, 5000)...)
	names := binary.BigEndian.AppendUint32(nil, 5000)
	for i := range 5000 {
		names = binary.BigEndian.AppendUint16(names, 6)
		names = fmt.Appendf(names, "nn%04d", i)
	}
	manyNames := slices.Repeat(frame(append(append(requestHead(3, 4), names...), 0)), 20)
	configs := binary.BigEndian.AppendUint32(nil, 20)
	for range 20 {
		configs = append(configs, 4, 0, 1, '1', 0xff, 0xff, 0xff, 0xff)
	}
	describeAll := slices.Repeat(frame(append(append(requestHead(32, 3), configs...), 1, 1)), 20)
	const most = fewConnections - 50
	for _, attack := range []struct {
		name  string
		conns int
		f     func(a *attackers, c net.Conn) error
	}{
		{"connections that say nothing", most, func(a *attackers, c net.Conn) error { return a.untilClosed(c) }},
		{"headers byte by byte", most, func(a *attackers, c net.Conn) error { return byteByByte(a, c, metadata) }},
		{"bodies byte by byte", most, func(a *attackers, c net.Conn) error {
			if err := a.send(c, largeBody); err != nil {
				return err
			}
			return byteByByte(a, c, make([]byte, 1000))
		}},
		{"requests without end, and no answer is read", most, func(a *attackers, c net.Conn) error {
			c.(*net.TCPConn).SetReadBuffer(4 << 10)
			return a.send(c, manyMetadata)
		}},
		{"2 GiB announced", 50, func(a *attackers, c net.Conn) error {
			if err := a.send(c, head(0, 9, 0x7fffffff)); err != nil {
				return err
			}
			return a.untilClosed(c)
		}},
		{"metadata of many topics, and no answer is read", most, func(a *attackers, c net.Conn) error {
			c.(*net.TCPConn).SetReadBuffer(4 << 10)
			return a.send(c, manyNames)
		}},
		{"all configs twenty times, and no answer is read", most, func(a *attackers, c net.Conn) error {
			c.(*net.TCPConn).SetReadBuffer(4 << 10)
			return a.send(c, describeAll)
		}},
		{"connections that come and go", 50, func(a *attackers, c net.Conn) error { return nil }},
	} {
		ok := t.Run(attack.name, func(t *testing.T) {
			good.w.t = t
			a := b.attack(t, attack.conns, attack.f)
			if !a.pause(2 * time.Second) {
				t.Fatal("the attack is over")
			}
			good.undisturbed(attack.name, before)
			a.stop()
			t.Logf("%d connections were lost, the last one for: %v", a.lost.Load(), a.why.Load())
			b.survived(g)
		})
		good.w.t = t
		if !ok && b.run == nil {
			return
		}
	}
	if !holdsWithin(patience, func() bool {
		return b.metric("segue_request_memory_used_bytes") == 0 && b.metric("segue_answer_memory_used_bytes") == 0
	}) {
		t.Errorf("memory is still held when all have gone: %v connections\n%s", b.metric("segue_connections"), b.goroutines())
	}
}

// TestCrowd: of far more connections than there is memory for some are let in, and the others are turned away; the
// same goes for topics. Those who are in hardly notice.
func TestCrowd(t *testing.T) {
	connections, topics := 2000, 2500
	if longTests() {
		connections, topics = 20_000, 10_000
		var files syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
			t.Fatal(err)
		}
		if room := int(files.Cur) - 500; connections > room {
			t.Logf("the test may have %d files open: no more than %d connections at a time", files.Cur, room)
			connections = room
		}
	}
	b, g := startConfined(t, "log.retention.check.interval.ms=1000")
	good := b.goodClient(t)
	good.median()
	before := good.median()
	limit := b.metric("segue_limit_connections")

	a := b.attack(t, connections, func(a *attackers, c net.Conn) error {
		if err := a.send(c, frame(requestHead(18, 0))); err != nil {
			return err
		}
		err := a.untilClosed(c)
		a.pause(time.Second)
		return err
	})
	eventually(t, 2*time.Minute, "there are as many connections as are let in", func() bool {
		return b.metric("segue_connections") >= limit-5
	})
	eventually(t, 2*time.Minute, "the others are turned away", func() bool {
		return b.metric("segue_connections_rejected_total") >= float64(connections)-limit
	})
	good.undisturbed(fmt.Sprint(connections, " connections"), before)
	if n := b.metric("segue_connections"); n > limit {
		t.Errorf("%v connections, the limit is %v", n, limit)
	}
	lines := b.run.log.find(message("connection rejected"))
	t.Logf("%v were turned away, with %d lines in the log", b.metric("segue_connections_rejected_total"), len(lines))
	if len(lines) == 0 || len(lines) > 600 || !strings.Contains(lines[0].raw, "max.connections") {
		t.Errorf("%d lines about it", len(lines))
	}
	b.survived(g)
	a.stop()

	b.createTopics(t, good, topics, before)
	b.survived(g)
	good.undisturbed("afterwards", before)
	b.restart()
	b.survived(g)
}

// createTopics has topics made by first use, many in a request and one in a request, while the good client goes on.
func (b *broker) createTopics(t *testing.T, good *goodClient, topics int, before time.Duration) {
	t.Helper()
	limit := int(b.metric("segue_limit_partitions"))
	done := make(chan struct{})
	made, refused := 0, 0
	go func() {
		defer close(done)
		w := b.dial(t)
		for i := 0; i < topics; {
			n := 1
			if i < topics/2 {
				n = 250
			}
			var names []string
			for range n {
				names = append(names, fmt.Sprintf("crowd-%05d", i))
				i++
			}
			for _, topic := range ask[*kmsg.MetadataResponse](w, metadataRequest(9, true, names...)).Topics {
				switch kerr.ErrorForCode(topic.ErrorCode) {
				case nil:
					made++
				case kerr.PolicyViolation:
					refused++
				default:
					t.Errorf("topic %s: %v", *topic.Topic, kerr.ErrorForCode(topic.ErrorCode))
				}
			}
		}
	}()
	good.undisturbed("topics are made", before)
	<-done
	t.Logf("%d topics were made and %d refused; the limit is %d", made, refused, limit)
	if made != limit-1 || made+refused != topics {
		t.Errorf("%d topics were made and %d refused, with a limit of %d partitions", made, refused, limit)
	}
	if n := b.metric("segue_topics_refused_total"); int(n) != refused {
		t.Errorf("%v refusals counted, want %d", n, refused)
	}
}
