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
	addr string
	port int32
	made int // names that were given, see client.fresh
}

func newSubject(t testing.TB, addr string) *subject {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return &subject{addr: addr, port: int32(port)}
}

// startSegue starts a Segue, which ends with the test.
func startSegue(t testing.TB, settings []string) *subject {
	list, err := config.ReadOverrides(append([]string{
		"listeners=PLAINTEXT://127.0.0.1:0", "advertised.listeners=PLAINTEXT://127.0.0.1:0", "http.listener=", "log.dirs=" + t.TempDir(),
	}, settings...))
	if err != nil {
		t.Fatal(err)
	}
	layers, _, err := config.New(list)
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(t.Context(), broker.Config{Settings: layers, Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel), Version: "test", Started: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(func() {
		if err := b.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return newSubject(t, b.Addr("PLAINTEXT").String())
}

// startKafka starts a Kafka, which ends with the test.
func startKafka(t testing.TB, k *kafka.Kafka, settings []string) *subject {
	node, err := k.Start(context.WithoutCancel(t.Context()), t.TempDir(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Kill) // nothing of it is needed any more
	return newSubject(t, node.Addr)
}
