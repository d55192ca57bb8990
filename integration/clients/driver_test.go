//go:build integration && unix

package clients

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"segue/integration/proc"
)

// patience is how long anything may take that should be done soon.
const patience = time.Minute

// line is what a driver writes of a record.
type line struct {
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp int64             `json:"timestamp"`
	Key       string            `json:"key"`
	Value     string            `json:"value"`
	Headers   map[string]string `json:"headers"`
}

// run is a driver at work.
type run struct {
	s      *session
	verb   string
	cmd    *exec.Cmd
	stdin  io.Closer
	errors bytes.Buffer  // to be read once ended is closed
	ended  chan struct{} // closed when it has ended and all that it wrote is here
	err    error         // once ended is closed

	mu    sync.Mutex
	lines [][]byte
	grown chan struct{} // closed when a line comes, and then replaced
}

// start starts a verb, with arguments name=value. Its standard input stays open if it is to go on until that ends.
func (s *session) start(verb string, args ...string) *run {
	s.t.Helper()
	r := &run{s: s, verb: verb, ended: make(chan struct{}), grown: make(chan struct{})}
	read := func(line []byte) ([]byte, error) { return line, nil }
	if s.c.adapt != nil {
		values := map[string]string{}
		for _, a := range args {
			name, value, _ := strings.Cut(a, "=")
			values[name] = value
		}
		cmd, adapted, err := s.c.adapt(s.b.addr(), verb, values)
		if errors.Is(err, errLacks) {
			s.lacks(err.Error())
		}
		if err != nil {
			s.t.Fatal(err)
		}
		r.cmd, read = cmd, adapted
	} else {
		argv := slices.Concat(s.c.command, []string{s.b.addr(), verb}, args)
		r.cmd = exec.Command(argv[0], argv[1:]...)
		r.cmd.Dir = s.c.folder
	}
	if slices.Contains([]string{"group", "steady", "transact", "transform", "count"}, verb) && r.cmd.Stdin == nil {
		stdin, err := r.cmd.StdinPipe()
		if err != nil {
			s.t.Fatal(err)
		}
		r.stdin = stdin
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	r.cmd.Stderr, r.cmd.SysProcAttr = &r.errors, tiedGroup()
	if err := r.cmd.Start(); err != nil {
		s.t.Fatalf("%s: %v", verb, err)
	}
	go r.read(out, read)
	s.t.Cleanup(r.kill)
	return r
}

// tiedGroup makes a process one that can be killed with its children, and that dies with the test.
func tiedGroup() *syscall.SysProcAttr {
	attr := proc.Tied()
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Setpgid = true
	return attr
}

// read takes what the driver writes until it ends.
func (r *run) read(out io.Reader, adapt func([]byte) ([]byte, error)) {
	defer close(r.ended)
	in := bufio.NewReader(out)
	for {
		text, err := in.ReadBytes('\n')
		if text = bytes.TrimSpace(text); len(text) > 0 {
			adapted, err := adapt(text)
			if err == nil && adapted != nil && !json.Valid(adapted) {
				err = errors.New("it is no JSON")
			}
			if err != nil {
				r.err = errors.Join(r.err, fmt.Errorf("it wrote %.200q: %w", text, err))
			} else if adapted != nil {
				r.mu.Lock()
				r.lines = append(r.lines, adapted)
				close(r.grown)
				r.grown = make(chan struct{})
				r.mu.Unlock()
			}
		}
		if err != nil {
			break
		}
	}
	r.err = errors.Join(r.err, r.cmd.Wait())
}

// kill ends the driver, whatever its state.
func (r *run) kill() {
	select {
	case <-r.ended:
		return
	default:
	}
	syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	<-r.ended
}

// do runs a verb to its end and returns what it wrote.
func (s *session) do(verb string, args ...string) *run {
	s.t.Helper()
	r := s.start(verb, args...)
	r.wait()
	return r
}

// end tells the driver to come to its end, and expects it to do so well.
func (r *run) end() {
	r.s.t.Helper()
	if r.stdin != nil {
		r.stdin.Close()
		if r.s.c.adapt != nil { // a tool that reads nothing
			r.cmd.Process.Signal(syscall.SIGTERM)
		}
	} else if input, ok := r.cmd.Stdin.(io.Closer); ok {
		input.Close()
	}
	r.wait()
}

// wait waits for the driver's end, which must be a good one.
func (r *run) wait() {
	r.s.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.kill()
		r.fail("it has not ended within %v", patience)
	}
	if r.err == nil {
		return
	}
	if exit, ok := errors.AsType[*exec.ExitError](r.err); ok && exit.ExitCode() == exitLacks {
		r.s.lacks(strings.TrimSpace(r.errors.String()))
	}
	r.fail("%v", r.err)
}

// fail ends the scenario with what the driver has to say. It must have ended.
func (r *run) fail(format string, args ...any) {
	r.s.t.Helper()
	said := r.errors.String()
	if most := 8000; len(said) > most {
		said = said[:most/2] + "\n…\n" + said[len(said)-most/2:]
	}
	r.s.t.Fatalf("%s of %s: %s\nit wrote to its standard error:\n%s", r.verb, r.s.c.name, fmt.Sprintf(format, args...), said)
}

// records are the records that the driver has written so far.
func (r *run) records() []line {
	r.s.t.Helper()
	r.mu.Lock()
	written := slices.Clone(r.lines)
	r.mu.Unlock()
	var lines []line
	for _, text := range written {
		l := line{Offset: -1}
		if err := json.Unmarshal(text, &l); err != nil {
			r.s.t.Fatalf("%s of %s wrote %.200s: %v", r.verb, r.s.c.name, text, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// count is how many lines the driver has written.
func (r *run) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.lines)
}

// await waits until what the driver has written is enough.
func (r *run) await(what string, enough func() bool) {
	r.s.t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		grown := r.grown
		r.mu.Unlock()
		if enough() {
			return
		}
		select {
		case <-grown:
		case <-r.ended:
			if enough() {
				return
			}
			if exit, ok := errors.AsType[*exec.ExitError](r.err); ok && exit.ExitCode() == exitLacks {
				r.s.lacks(strings.TrimSpace(r.errors.String()))
			}
			r.fail("it has ended before %s: %v; it wrote %d lines", what, r.err, r.count())
		case <-late:
			r.kill()
			r.fail("after %v still not: %s; it wrote %d lines", patience, what, r.count())
		}
	}
}

// awaitMore waits until the driver has written so many lines more than it has.
func (r *run) awaitMore(n int) {
	r.s.t.Helper()
	want := r.count() + n
	r.await(fmt.Sprintf("there are %d lines more", n), func() bool { return r.count() >= want })
}

// each waits until each of the drivers has written so many lines more.
func each(n int, runs ...*run) {
	for _, r := range runs {
		r.s.t.Helper()
		r.awaitMore(n)
	}
}

// eventually asks ok again and again until it says yes, for no longer than d.
func eventually(t testing.TB, d time.Duration, what string, ok func() error) {
	t.Helper()
	late := time.After(d)
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-late:
			t.Fatalf("after %v still not: %s: %v", d, what, err)
		}
	}
}
