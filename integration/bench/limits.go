//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"segue/integration/proc"
)

// bare is the bare program at work, see its package.
type bare struct {
	addr string
	cmd  *exec.Cmd
}

// bareBinary builds the bare program, once for a run.
func (s stage) bareBinary(ctx context.Context) (string, error) {
	path := filepath.Join(filepath.Dir(s.dir), "bare")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, proc.BuildOwn(ctx, "segue/integration/bench/bare", path)
}

// startBare starts the bare program as a server.
func (s stage) startBare(ctx context.Context, args ...string) (*bare, error) {
	binary, err := s.bareBinary(ctx)
	if err != nil {
		return nil, err
	}
	b := &bare{cmd: exec.Command(binary, args...)}
	b.cmd.Stderr, b.cmd.SysProcAttr = os.Stderr, proc.Tied()
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.end()
		return nil, fmt.Errorf("the bare program: %w", err)
	}
	b.addr = strings.TrimSpace(line)
	return b, nil
}

func (b *bare) end() {
	b.cmd.Process.Kill()
	_ = b.cmd.Wait() // it was killed
}

// bareSync returns the median microseconds of a write of that size to an extending file with its fdatasync, best of three.
func (s stage) bareSync(ctx context.Context, size int) (float64, error) {
	return s.bareRounds(ctx, "sync", size, 1)
}

// bareRounds returns the median microseconds of a round of the bare program's "write" or "sync", best of three.
func (s stage) bareRounds(ctx context.Context, what string, size, files int) (float64, error) {
	binary, err := s.bareBinary(ctx)
	if err != nil {
		return 0, err
	}
	return best(func(a, b float64) bool { return a < b }, func() (float64, error) {
		out, err := exec.CommandContext(ctx, binary, what, s.dir, strconv.Itoa(size), "1000", strconv.Itoa(files)).Output()
		if err != nil {
			return 0, fmt.Errorf("the bare program: %w", err)
		}
		var took []float64
		for line := range bytes.Lines(out) {
			us, err := strconv.ParseFloat(strings.TrimSpace(string(line)), 64)
			if err != nil {
				return 0, err
			}
			took = append(took, us)
		}
		slices.Sort(took)
		return took[len(took)/2], nil
	})
}

// touchMemory takes some GiB from the system and gives them back: on a virtual machine, memory that nobody has used yet
// costs a multiple, and the first figures would be of that.
func touchMemory() error {
	const want = 6 << 30
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return err
	}
	mem, err := unix.Mmap(-1, 0, int(min(want, info.Freeram*uint64(info.Unit)/2)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	for i := 0; i < len(mem); i += os.Getpagesize() {
		mem[i] = 1
	}
	return unix.Munmap(mem)
}

// best runs a measurement three times and keeps the outcome that better prefers.
func best[T any](better func(a, b T) bool, measure func() (T, error)) (kept T, err error) {
	for i := range 3 {
		got, err := measure()
		if err != nil {
			return kept, err
		}
		if i == 0 || better(got, kept) {
			kept = got
		}
	}
	return kept, nil
}
