//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"segue/integration/proc"
)

// broker is a process of the broker under measurement.
type broker struct{ *proc.Broker }

// patience is how long anything may take that is not what is measured.
const patience = 2 * time.Minute

// start starts a broker on the stage's folder and waits until it is ready.
func (s stage) start(ctx context.Context, overrides ...string) (*broker, error) {
	b, err := proc.Start(ctx, s.binary, s.dir, overrides...)
	if err != nil {
		return nil, err
	}
	return &broker{b}, nil
}

func (b *broker) addr() string                    { return b.Addr }
func (b *broker) process() process                { return process(b.Pid()) }
func (b *broker) again(ctx context.Context) error { return b.Start(ctx) }

// cpu returns the CPU seconds that the broker has used.
func (b *broker) cpu() float64 { return b.process().cpu() }

// memory returns what the broker has resident of its own, in MiB: without the pages of files that it has mapped.
func (b *broker) memory() float64 { return b.process().status("RssAnon:") }

// resident returns all that the broker has resident, in MiB, its program and mapped files included.
func (b *broker) resident() float64 { return b.process().resident() }

// process is a running program, by its id.
type process int

// cpu returns the CPU seconds that the process has used, with those of its children that have ended.
func (p process) cpu() float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
	if err != nil {
		return 0
	}
	// The second field is the command in parentheses; user and system time are the 14th and the 15th, the children's
	// follow, all in hundredths.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	sum := 0.0
	for _, field := range fields[11:15] {
		hundredths, _ := strconv.ParseFloat(field, 64)
		sum += hundredths
	}
	return sum / 100
}

// resident returns all that the process has resident, in MiB.
func (p process) resident() float64 { return p.status("VmRSS:") }

// status returns a figure in KiB of the process, in MiB.
func (p process) status(name string) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	return 0
}
