package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// broker is a process of the broker under measurement.
type broker struct {
	cmd  *exec.Cmd
	addr string // of its clients
	http string // of its metrics
	log  string // what it has to say
}

// patience is how long anything may take that is not what is measured.
const patience = 2 * time.Minute

// start starts a broker on the stage's folder and waits until it takes connections.
func (s stage) start(ctx context.Context, overrides ...string) (*broker, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	b := &broker{addr: ports[0], http: ports[1], log: filepath.Join(s.dir, "broker.log")}
	args := []string{
		"--override", "log.dirs=" + filepath.Join(s.dir, "data"),
		"--override", "listeners=PLAINTEXT://" + b.addr,
		"--override", "http.listener=" + b.http,
	}
	for _, o := range overrides {
		args = append(args, "--override", o)
	}
	out, err := os.OpenFile(b.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	b.cmd = exec.CommandContext(ctx, s.binary, args...)
	b.cmd.Stdout, b.cmd.Stderr = out, out
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", b.addr)
		if err == nil {
			return b, c.Close()
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, errors.Join(err, b.stop(), fmt.Errorf("the broker does not answer; see %s", b.log))
		}
	}
}

// stop ends the broker in an orderly way.
func (b *broker) stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return b.cmd.Wait()
}

// freePorts returns addresses on the loopback that nobody listens on.
func freePorts(n int) (addrs []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// cpu returns the CPU seconds that the broker has used.
func (b *broker) cpu() float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The second field is the command in parentheses; user and system time are the 14th and the 15th, in hundredths.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// memory returns what the broker has resident of its own, in MiB: without the pages of files that it has mapped.
func (b *broker) memory() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	return 0
}
