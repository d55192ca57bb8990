//go:build integration && unix

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// brokerBinary is the broker that all tests run. TestMain sets it before the first of them, and nothing else does.
var brokerBinary string

// raceEnabled tells whether that broker has the race detector in it.
func raceEnabled() bool { return os.Getenv("SEGUE_RACE") == "1" }

const buildTimeout = 5 * time.Minute

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "segue-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	brokerBinary = filepath.Join(dir, "broker")
	if err := build(brokerBinary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes the broker's binary, with flags beside those that it needs.
func build(to string, flags ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	args := append([]string{"build", "-o", to}, flags...)
	environ := append(os.Environ(), "CGO_ENABLED=0")
	if raceEnabled() {
		args = append(args, "-race")
		environ = append(os.Environ(), "CGO_ENABLED=1")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "segue/cmd/broker")...)
	cmd.Env = environ
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the broker: %w\n%s", err, out)
	}
	return nil
}

// eventually asks ok again and again until it says yes, and fails the test if it has not within d.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	if !holdsWithin(d, ok) {
		t.Fatalf("after %v still not: %s", d, what)
	}
}

// holdsWithin asks ok again and again until it says yes, for no longer than d.
func holdsWithin(d time.Duration, ok func() bool) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok() {
			return true
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return ok()
		}
	}
}

// within returns a context that ends with the test, and after d at the latest.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// elapsed returns how long f takes.
func elapsed(f func()) time.Duration {
	begun := time.Now()
	f()
	return time.Since(begun)
}

// patience is how long anything may take that should be done in an instant. It is long because the machine may be busy.
const patience = 30 * time.Second
