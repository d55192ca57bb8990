// Package proc builds the broker and runs it as a process of its own, for those who look at it from outside: stop it, kill
// it, start it again on the same address and the same data.
package proc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long the broker may take.
const (
	startPatience = 2 * time.Minute
	stopPatience  = time.Minute
)

// Build makes the broker's binary.
func Build(ctx context.Context, to string) error { return BuildOwn(ctx, "segue/cmd/broker", to) }

// BuildOwn makes a program of this module.
func BuildOwn(ctx context.Context, pkg, to string) error {
	return run(ctx, "", "build", "-o", to, pkg)
}

// ErrModules is what BuildModule fails with where the modules that it needs cannot be had.
var ErrModules = errors.New("modules cannot be had")

// BuildModule makes the program in a folder that is a Go module of its own, as the file modfile in it says.
func BuildModule(ctx context.Context, folder, modfile, to string) error {
	if err := run(ctx, folder, "mod", "download", "-modfile="+modfile); err != nil {
		return fmt.Errorf("%w: %w", ErrModules, err)
	}
	return run(ctx, folder, "build", "-modfile="+modfile, "-o", to, ".")
}

// run runs the go command in a folder.
func run(ctx context.Context, folder string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// FreeAddr returns an address on which nobody listens. Its port is none of those that systems give to outgoing
// connections by default: between the end of a broker and its next start, such a port might be taken by a client's
// connection, even by one to itself.
func FreeAddr() (string, error) {
	const lowest, highest = 16_000, 32_000
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(highest-lowest)))
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

// Broker is a broker on a folder, through all its starts and ends. It is for one goroutine at a time.
type Broker struct {
	// Addr is where clients connect, the same at each start.
	Addr string
	// HTTP is the address of health and metrics, the same at each start.
	HTTP string
	// Log is the file that all its runs log to, in JSON.
	Log string

	binary    string
	dir       string
	overrides []string
	cmd       *exec.Cmd
	ended     chan struct{} // closed when cmd has ended
	err       error         // of cmd, once ended is closed
}

// Start runs a broker with its data and its log in a folder, with these settings (name=value) beside those that it needs,
// and waits until it is ready.
func Start(ctx context.Context, binary, dir string, overrides ...string) (*Broker, error) {
	if strings.Contains(dir, ",") {
		return nil, fmt.Errorf("start the broker: log.dirs would take %s for several folders; name it without a comma", dir)
	}
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	metrics, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	b := &Broker{
		Addr: addr, HTTP: metrics, Log: filepath.Join(dir, "broker.log"),
		binary: binary, dir: filepath.Join(dir, "data"), overrides: overrides,
	}
	return b, b.Start(ctx)
}

// Start runs a broker that was stopped or killed on its data again, and waits until it is ready.
func (b *Broker) Start(ctx context.Context) error {
	args := []string{"--log-format", "json"}
	for _, o := range append([]string{
		"log.dirs=" + b.dir, "listeners=PLAINTEXT://" + b.Addr, "http.listener=" + b.HTTP,
	}, b.overrides...) {
		args = append(args, "--override", o)
	}
	log, err := os.OpenFile(b.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	b.cmd, b.ended = exec.Command(b.binary, args...), make(chan struct{})
	b.cmd.Stdout, b.cmd.Stderr, b.cmd.SysProcAttr = log, log, Tied()
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	go func() {
		b.err = b.cmd.Wait()
		close(b.ended)
	}()
	if err := b.await(ctx); err != nil {
		b.Kill()
		said, _ := os.ReadFile(b.Log)
		return fmt.Errorf("start the broker: %w\n%s", err, said)
	}
	return nil
}

// await waits until the broker says that it is ready.
func (b *Broker) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for began := time.Now(); ; {
		if b.ready(ctx) {
			return nil
		}
		select {
		case <-time.After(max(time.Millisecond, time.Since(began)/20)): // it is not to be kept busy by being asked
		case <-b.ended:
			return fmt.Errorf("it ended: %w", b.err)
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w", ctx.Err())
		}
	}
}

func (b *Broker) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.HTTP+"/ready", nil)
	if err != nil {
		return false
	}
	req.Close = true // no connection is to be left for the broker's stop
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Pid is the broker's process.
func (b *Broker) Pid() int { return b.cmd.Process.Pid }

// Ended is closed when the run that there is has come to its end.
func (b *Broker) Ended() <-chan struct{} { return b.ended }

// Stop has the broker end in an orderly way, and waits. The error says how it ended otherwise.
func (b *Broker) Stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the broker: %w", errors.Join(err, b.err))
	}
	select {
	case <-b.ended:
	case <-time.After(stopPatience):
		b.Kill()
		return fmt.Errorf("the broker does not stop within %v; see %s", stopPatience, b.Log)
	}
	if b.err != nil {
		return fmt.Errorf("the broker's end: %w; see %s", b.err, b.Log)
	}
	return nil
}

// Kill ends the broker as a crash of its process does, and waits. It may be called whatever its state.
func (b *Broker) Kill() {
	b.cmd.Process.Kill()
	<-b.ended
}
