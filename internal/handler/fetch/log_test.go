package fetch

import (
	"bytes"
	"errors"
	"testing"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/server"
)

// TestFailuresDoNotFillTheLog: a client that meets damage asks for it again and again, and the log has a sample of that.
func TestFailuresDoNotFillTheLog(t *testing.T) {
	var out bytes.Buffer
	h := New(Config{Log: zerolog.New(&out)})
	p := &plan{readings: []reading{{target: target{topic: "orders"}, err: kerr.CorruptMessage, cause: errors.New("a flipped bit")}}}
	for range 1000 {
		h.logFailures(p, &server.Client{})
	}
	if n := bytes.Count(out.Bytes(), []byte("a flipped bit")); n < 1 || n > 2*failuresLogged {
		t.Fatalf("%d lines", n)
	}
}
