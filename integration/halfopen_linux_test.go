//go:build integration

package integration

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// vanish has a connection take nothing that comes in any more, not even to acknowledge it, as if its machine had gone:
// its packets are dropped by a filter of its socket. It must not be closed before the test ends, for that would be told.
func vanish(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
			Len: uint16(len(nothing)), Filter: &nothing[0],
		})
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// TestHalfOpenConnections: clients whose machines are gone without a word hold nothing for longer than one that says
// nothing may, whatever they were at.
func TestHalfOpenConnections(t *testing.T) {
	b := start(t, "connections.max.idle.ms=1000", "log.flush.interval.messages=1000000")
	b.createTopic(t, "t", 1)
	filler := b.dial(t)
	for range 16 {
		filler.produce("t", 0, batchOf(t, string(make([]byte, 900_000))))
	}
	filler.conn.Close()
	metadata := frame(requestHead(3, 0))
	send := func(w *wire, b []byte) {
		if _, err := w.conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string]func(w *wire){
		"between requests":          func(w *wire) { w.send(metadataRequest(12, false)); w.receive(); vanish(t, w.conn) },
		"in the middle of a header": func(w *wire) { send(w, metadata[:7]); vanish(t, w.conn) },
		"in the middle of a body":   func(w *wire) { send(w, append(head(0, 9, 5<<20), make([]byte, 70_000)...)); vanish(t, w.conn) },
		"while it waits for records": func(w *wire) {
			w.send(fetchRequest(12, 500*time.Millisecond, 1<<30, wanted{topic: "t", offset: 16}))
			vanish(t, w.conn)
		},
	}
	limit := patience
	if longTests() { // until then a client may be slow
		limit += time.Minute
		cases["before an answer larger than the sockets' buffers"] = func(w *wire) {
			vanish(t, w.conn)
			w.send(fetchRequest(12, 0, 1, wanted{topic: "t"}))
		}
	}
	for _, be := range cases {
		be(b.dial(t))
	}
	eventually(t, limit, "the connections are closed, and hold no memory", func() bool {
		return b.metric("segue_connections") == 0 && b.metric("segue_request_memory_used_bytes") == 0 &&
			b.metric("segue_answer_memory_used_bytes") == 0
	})
}
