//go:build integration && unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"segue/integration/proc"
)

// Bounds of what the process may take for its start and its end.
const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
)

// broker is a broker that a test runs, through all its starts and ends. Its methods are for the test's goroutine.
type broker struct {
	t         testing.TB
	dir       string // log.dirs
	addr      string // of the Kafka listener; the same at each start
	http      string // of health and metrics; the same at each start
	overrides []string
	flags     []string // of the command line, beside overrides
	env       []string // of the process; there is nothing else in it
	binary    string   // the broker's; brokerBinary unless the test has built another
	under     []string // a command that runs it, and becomes it; nil for none
	run       *process // nil while it does not run
	starts    int
	tolerated func(entry) bool // errors in the log that the test expects; nil for none

	cpu  time.Duration // of the runs that have ended
	peak int64         // bytes of memory, the most of all runs that have ended
}

// process is one run of the binary.
type process struct {
	cmd    *exec.Cmd
	log    *journal
	output *journal      // what it writes to its standard output
	ended  chan struct{} // closed when it has ended and all that it wrote is here
	err    error         // of exec.Cmd.Wait, once ended is closed
}

// start runs a broker with these settings (name=value) beside those that the tests need, and waits until it is ready.
func start(t testing.TB, overrides ...string) *broker {
	t.Helper()
	b := newBroker(t, overrides...)
	b.launch()
	return b
}

// newBroker returns a broker that is not started yet.
func newBroker(t testing.TB, overrides ...string) *broker {
	t.Helper()
	b := &broker{t: t, dir: filepath.Join(t.TempDir(), "data"), binary: brokerBinary, overrides: overrides}
	b.addr, b.http = freeAddr(t), freeAddr(t)
	t.Cleanup(b.cleanup)
	return b
}

// freeAddr returns an address on which nobody listens.
func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := proc.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// args is the command line of the broker.
func (b *broker) args() []string {
	settings := append([]string{
		"listeners=PLAINTEXT://" + b.addr,
		"http.listener=" + b.http,
		"log.dirs=" + b.dir,
	}, b.overrides...)
	args := append([]string{"--log-format", "json"}, b.flags...)
	for _, s := range settings {
		args = append(args, "--override", s)
	}
	return args
}

// execute runs the binary with any arguments.
func execute(t testing.TB, args ...string) *process {
	t.Helper()
	return executeIn(t, brokerBinary, nil, args...)
}

// executeIn runs a binary in an environment.
func executeIn(t testing.TB, binary string, env []string, args ...string) *process {
	t.Helper()
	return executeCommand(t, env, append([]string{binary}, args...))
}

// execute runs the broker's binary as the test wants it.
func (b *broker) execute() *process {
	b.t.Helper()
	return executeCommand(b.t, b.env, slices.Concat(b.under, []string{b.binary}, b.args()))
}

// executeCommand runs a command in an environment.
func executeCommand(t testing.TB, env, command []string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(command[0], command[1:]...), log: newJournal(), output: newJournal(), ended: make(chan struct{})}
	p.cmd.Stderr, p.cmd.Stdout = p.log, p.output
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = append([]string{"GORACE=atexit_sleep_ms=0"}, env...) // and nothing else that could configure it
	p.cmd.SysProcAttr = proc.Tied()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p
}

// exitCode waits for the end of a process that should end of itself, and returns its exit code.
func (p *process) exitCode(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(startTimeout):
		p.cmd.Process.Kill()
		<-p.ended
		t.Fatalf("%v has not ended within %v; it wrote:\n%s", p.cmd.Args, startTimeout, p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// launch starts the broker on its data and waits until it is ready. It returns how long that took.
func (b *broker) launch() time.Duration {
	b.t.Helper()
	if b.run != nil {
		b.t.Fatal("the broker runs already")
	}
	begun := time.Now()
	b.run = b.execute()
	b.starts++
	ctx, cancel := context.WithTimeout(b.t.Context(), startTimeout)
	defer cancel()
	ended := b.run.ended // which is the next run's before this goroutine comes to it, maybe
	go func() {
		select {
		case <-ended:
			cancel() // there is nothing to wait for any more
		case <-ctx.Done():
		}
	}()
	if _, err := b.run.log.await(ctx, message("started")); err != nil {
		b.t.Fatalf("start %d: not started after %v", b.starts, time.Since(begun))
	}
	if status, body := b.get("/ready"); status != http.StatusOK {
		b.t.Fatalf("start %d: /ready answers %d, %q", b.starts, status, body)
	}
	return time.Since(begun)
}

// kill ends the broker as a crash of the process does.
func (b *broker) kill() {
	b.t.Helper()
	b.signal(syscall.SIGKILL)
	<-b.run.ended
	b.account()
}

// crash kills the broker and starts it again. It returns how long the start took.
func (b *broker) crash() time.Duration {
	b.t.Helper()
	b.kill()
	return b.launch()
}

// interrupt starts the broker and kills it as soon as its log has so many lines.
func (b *broker) interrupt(lines int) {
	b.t.Helper()
	b.run = b.execute()
	b.starts++
	eventually(b.t, startTimeout, fmt.Sprint("the log has ", lines, " lines"), func() bool {
		entries, _ := b.run.log.all()
		return len(entries) >= lines
	})
	b.kill()
}

// stop asks the broker to end, and expects it to do so cleanly. It returns how long that took.
func (b *broker) stop() time.Duration {
	b.t.Helper()
	return b.stopBy(syscall.SIGTERM)
}

// stopBy is stop by another signal.
func (b *broker) stopBy(s syscall.Signal) time.Duration {
	b.t.Helper()
	begun := time.Now()
	b.signal(s)
	select {
	case <-b.run.ended:
	case <-time.After(stopTimeout):
		b.t.Errorf("not ended %v after %v; goroutines:\n%s", stopTimeout, s, b.goroutines())
	}
	if b.run.err != nil {
		b.t.Errorf("after %v: %v, want exit code 0", s, b.run.err)
	}
	b.account()
	return time.Since(begun)
}

// restart stops the broker and starts it again. It returns how long the start took.
func (b *broker) restart() time.Duration {
	b.t.Helper()
	b.stop()
	return b.launch()
}

// signal sends a signal to the process, and fails the test if it has ended of itself before.
func (b *broker) signal(s syscall.Signal) {
	b.t.Helper()
	if b.run == nil {
		b.t.Fatal("the broker does not run")
	}
	b.peak = max(b.peak, peakMemory(b.run.cmd.Process.Pid))
	select {
	case <-b.run.ended:
		b.t.Errorf("the broker has ended of itself: %v", b.run.err)
	default:
		b.run.cmd.Process.Signal(s) // it may end meanwhile; its exit code tells
	}
}

// goroutines makes a process that does not end tell why, and ends it.
func (b *broker) goroutines() string {
	b.run.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-b.run.ended:
	case <-time.After(patience):
		b.run.cmd.Process.Kill()
		<-b.run.ended
	}
	return b.run.log.String()
}

// account takes leave of a run that has ended: its log must have nothing in it that a sound broker does not write.
func (b *broker) account() {
	b.t.Helper()
	p := b.run
	b.run = nil
	b.cpu += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	for _, e := range p.log.find(func(e entry) bool {
		return !e.valid || e.text("level") == "error" && (b.tolerated == nil || !b.tolerated(e))
	}) {
		b.t.Errorf("the broker's log has: %s", e.raw)
	}
	if b.t.Failed() {
		p.log.print(b.t, fmt.Sprintf("the broker's log of start %d", b.starts))
	}
}

// cleanup ends what the test has left running.
func (b *broker) cleanup() {
	if b.run != nil {
		b.stop()
	}
}

// get asks the HTTP listener for a page.
func (b *broker) get(path string) (status int, body string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.http+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Close = true // no connection is to be left for the broker's stop
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// metrics returns /metrics.
func (b *broker) metrics() string {
	b.t.Helper()
	_, text := b.get("/metrics")
	return text
}

// metric returns the value of one metric, labels and all, as /metrics writes it.
func (b *broker) metric(name string) float64 {
	b.t.Helper()
	v, err := findMetric(b.metrics(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func findMetric(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, errors.New("/metrics has no " + name)
}
