package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/config"
)

// FuzzBroker sends anything to a whole broker, beginning with what real clients have sent to every API there is: it
// answers or closes the connection, does not panic, keeps no connection and no memory, and goes on serving others.
func FuzzBroker(f *testing.F) {
	for _, frame := range goldenFrames(f) {
		f.Add(frame)
	}
	b := fuzzedBroker(f)
	addr := b.Addr("PLAINTEXT").String()
	witness := connect(f, addr)
	defer witness.Close()
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 1<<20 {
			return
		}
		c := connect(t, addr)
		defer c.Close()
		// Twice, since some requests find something the second time; and one that is answered, behind them.
		for range 2 {
			c.Write(binary.BigEndian.AppendUint32(nil, uint32(len(frame)))) // the broker may have closed, which is fine
			c.Write(frame)
		}
		c.Write(apiVersions)
		readAnswers(t, c)
		c.Close()

		if _, err := witness.Write(metadataOfAll); err != nil {
			t.Fatal(err)
		}
		readAnswer(t, witness)
		for deadline := time.Now().Add(time.Minute); ; {
			st := b.server.Stats()
			if st.Connections.Panics > 0 {
				t.Fatal("a handler has panicked")
			}
			if st.Connections.Open == 1 && st.Memory.Used+st.Answers.Used+int64(st.Memory.Waiting+st.Answers.Waiting) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("something is left of it: %+v %+v %+v", st.Connections, st.Memory, st.Answers)
			}
			<-time.After(time.Millisecond)
		}
	})
}

var (
	apiVersions   = []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff}
	metadataOfAll = []byte{0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// goldenFrames returns the requests that real clients have sent (protocol/testdata/requests).
func goldenFrames(f *testing.F) (frames [][]byte) {
	files, err := filepath.Glob("../../protocol/testdata/requests/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden requests: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			frame, err := hex.DecodeString(words[len(words)-1])
			if err != nil {
				f.Fatal(err)
			}
			frames = append(frames, frame)
		}
	}
	return frames
}

// fuzzedBroker starts a broker with some topics, which may have few partitions, and no sync.
func fuzzedBroker(f *testing.F) *Broker {
	list, err := config.ReadOverrides([]string{
		"listeners=PLAINTEXT://127.0.0.1:0", "http.listener=", "log.dirs=" + f.TempDir(), "max.partitions=100",
		"log.flush.interval.messages=1000000", "log.retention.bytes=1000000", "log.segment.bytes=1048576",
	})
	if err != nil {
		f.Fatal(err)
	}
	layers, _, err := config.New(list)
	if err != nil {
		f.Fatal(err)
	}
	b, err := New(f.Context(), Config{Settings: layers, Log: zerolog.Nop()})
	if err != nil {
		f.Fatal(err)
	}
	b.Start()
	f.Cleanup(func() {
		if err := b.Shutdown(context.Background()); err != nil {
			f.Error(err)
		}
	})
	return b
}

func connect(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readAnswers reads what comes until the connection is closed, or nothing comes for a while: some wait for news.
func readAnswers(t *testing.T, c net.Conn) {
	t.Helper()
	in := bufio.NewReader(c)
	for range 3 {
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return
		}
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n := binary.BigEndian.Uint32(size[:])
		if _, err := io.CopyN(io.Discard, in, int64(n)); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !isReset(err) {
			t.Fatalf("an answer of %d bytes: %v", n, err)
		}
	}
}

// isReset tells whether the other side has closed with something unread.
func isReset(err error) bool { return strings.Contains(err.Error(), "reset") }

// readAnswer reads the answer to a Metadata request of version 1.
func readAnswer(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		t.Fatalf("who had nothing to do with it gets no answer: %v", err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	m := kmsg.NewPtrMetadataResponse()
	m.Version = 1
	if err := m.ReadFrom(body[4:]); err != nil || len(m.Brokers) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
}
