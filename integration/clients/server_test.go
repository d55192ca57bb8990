//go:build integration && unix

package clients

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/integration/kafka"
	"segue/integration/proc"
)

// server is what the clients talk to.
type server interface {
	addr() string
	// restart stops the server, or kills it, and starts it again.
	restart(ctx context.Context, kill bool) error
}

// servers returns what starts one, for a test, and ends it when the test does.
func servers(t *testing.T, binaries string) func(t *testing.T) server {
	if os.Getenv("SEGUE_CLIENTS_BROKER") == "kafka" {
		return func(t *testing.T) server { return startKafka(t) }
	}
	binary := filepath.Join(binaries, "broker")
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	if err := proc.Build(ctx, binary); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T) server { return startSegue(t, binary) }
}

type segue struct{ *proc.Broker }

func startSegue(t *testing.T, binary string) server {
	b, err := proc.Start(t.Context(), binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := b.Stop()
		log, err2 := os.Open(b.Log)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		for in := bufio.NewScanner(log); in.Scan(); {
			// What it logs is JSON; a stack trace is not.
			if strings.Contains(in.Text(), `"level":"error"`) || !strings.HasPrefix(in.Text(), "{") {
				t.Errorf("the broker's log has: %s", in.Text())
			}
		}
	})
	return segue{b}
}

func (b segue) addr() string { return b.Addr }

func (b segue) restart(ctx context.Context, kill bool) error {
	if kill {
		b.Kill()
	} else if err := b.Stop(); err != nil {
		return err
	}
	return b.Start(ctx)
}

type apache struct{ *kafka.Node }

func startKafka(t *testing.T) server {
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	k, err := kafka.Fetch(ctx)
	if errors.Is(err, kafka.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	n, err := k.Start(context.Background(), t.TempDir(), "group.initial.rebalance.delay.ms=0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return apache{n}
}

func (n apache) addr() string { return n.Addr }

func (n apache) restart(ctx context.Context, kill bool) error {
	if kill {
		n.Kill()
	} else if err := n.Stop(); err != nil {
		return err
	}
	return n.Restart(ctx)
}

// within returns a context that ends with the test, and after patience at the latest.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
