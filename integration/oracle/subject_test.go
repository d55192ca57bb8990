package oracle

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"segue/integration/kafka"
	"segue/internal/broker"
	"segue/internal/config"
)

// subject is a broker that is asked.
type subject struct {
	addr  string
	port  int32
	made  int  // names that were given, see client.fresh
	draws bool // producer ids, and the first one is drawn
	// again stops the broker and starts it on what it has on the disk, perhaps under another address, which it returns.
	again func(testing.TB) string
}

// at notes where the broker is.
func (s *subject) at(t testing.TB, addr string) {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.port = addr, int32(port)
}

// restart restarts the broker, and waits until it leads a topic again.
func (c *client) restart(t topic) {
	c.t.Helper()
	for _, each := range c.conns {
		each.close()
	}
	c.subject.at(c.t, c.subject.again(c.t))
	c.names.port = c.subject.port
	c.names.later = append(c.names.later, c.lead(t, 1))
}

// startSegue starts a Segue, which ends with the test.
func startSegue(t testing.TB, settings []string) *subject {
	list, err := config.ReadOverrides(append([]string{
		"listeners=PLAINTEXT://127.0.0.1:0", "advertised.listeners=PLAINTEXT://127.0.0.1:0", "http.listener=", "log.dirs=" + t.TempDir(),
	}, settings...))
	if err != nil {
		t.Fatal(err)
	}
	b := runSegue(t, list)
	stop := func(t testing.TB) {
		if err := b.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { stop(t) })
	s := &subject{again: func(t testing.TB) string {
		stop(t)
		b = runSegue(t, list)
		return b.Addr("PLAINTEXT").String()
	}}
	s.at(t, b.Addr("PLAINTEXT").String())
	return s
}

func runSegue(t testing.TB, list []config.Setting) *broker.Broker {
	layers, _, err := config.New(list)
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(t.Context(), broker.Config{
		Settings: layers, Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel), Version: "test", Started: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	return b
}

// startKafka starts a Kafka, which ends with the test.
func startKafka(t testing.TB, k *kafka.Kafka, settings []string) *subject {
	node, err := k.Start(context.WithoutCancel(t.Context()), t.TempDir(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Kill) // nothing of it is needed any more
	s := &subject{again: func(t testing.TB) string {
		if err := node.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := node.Restart(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		return node.Addr
	}}
	s.at(t, node.Addr)
	return s
}
