//go:build integration && unix

package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"segue/integration/proc"
)

// client is a library in a version, with what there is to know of it.
type client struct {
	name    string
	folder  string     // beside this file; empty for a tool that is installed on the machine
	needs   []string   // programs on the machine
	install [][]string // commands that bring what it needs, run in the folder one after the other
	compile [][]string // commands that make the driver of that, in the same way
	command []string   // the driver, run in the folder; the bootstrap address, the verb and its arguments follow
	always  bool       // every change is tested with it
	lacks   []string   // scenarios of which the library has no such thing
	// headless says that the driver cannot give each record headers of its own.
	headless bool
	// idempotent says that its producer is one without being asked to: what it tries again is in the log once.
	idempotent bool
	// transacts says that the driver has the verbs of transactions.
	transacts bool
	// replaces says that it alters configs in the one way that takes all others back to their defaults.
	replaces bool
	// again is how many records its members may process again while the broker stays: not all clients commit what they have
	// processed before their partitions go to another.
	again int
	// swallows is how many records a member may commit without writing them when it is told to end.
	swallows int
	// adapt makes of a verb a command of a tool that has no driver, and of each line that it writes what a driver would
	// have written. Nil for clients with a driver.
	adapt func(addr, verb string, args map[string]string) (*exec.Cmd, func(line []byte) ([]byte, error), error)
	// build makes the driver, for clients in Go, in a folder for binaries.
	build func(ctx context.Context, folder, binary string) error
}

// tries says whether the client's driver has what a scenario asks for, whether the library has it or not.
func (c *client) tries(scenario string) bool {
	return c.transacts || scenario != "transaction" && scenario != "transform"
}

// errMissing is what a client fails with that this machine cannot run.
var errMissing = errors.New("missing")

// errLacks is what adapt returns for what the tool has not.
var errLacks = errors.New("there is no such thing")

// exitLacks is how a driver ends for the same reason.
const exitLacks = 3

// all returns the clients, in the order of the table.
func all() []*client {
	return slices.Concat(goClients(), toolClients(), javaClients(), pythonClients(), nodeClients(), rustClients())
}

// goClients are those in Go.
func goClients() []*client {
	return []*client{
		{name: "franz-go", folder: "franzgo", always: true, idempotent: true, transacts: true, build: func(ctx context.Context, _, binary string) error {
			return proc.BuildOwn(ctx, "./franzgo", binary)
		}},
		{name: "sarama", folder: "sarama", always: true, build: module("go.mod")},
		{name: "sarama-1.45", folder: "sarama", always: true, replaces: true, build: module("old.mod")}, // the last one that does not negotiate versions
		{name: "kafka-go", folder: "kafkago", always: true, again: 4, build: module("go.mod")},
	}
}

func module(modfile string) func(ctx context.Context, folder, binary string) error {
	return func(ctx context.Context, folder, binary string) error {
		err := proc.BuildModule(ctx, folder, modfile, binary)
		if errors.Is(err, proc.ErrModules) {
			return fmt.Errorf("%w: %w", errMissing, err)
		}
		return err
	}
}

// wanted are the clients that this run is for.
func wanted() ([]*client, error) {
	choice := os.Getenv("SEGUE_CLIENTS")
	if choice == "all" {
		return all(), nil
	}
	var chosen []*client
	known := []string{kafkaTools} // which TestTools runs
	for _, c := range all() {
		known = append(known, c.name)
		if choice == "" && c.always || slices.Contains(strings.Split(choice, ","), c.name) {
			chosen = append(chosen, c)
		}
	}
	for name := range strings.SplitSeq(choice, ",") {
		if name != "" && !slices.Contains(known, name) {
			return nil, fmt.Errorf("SEGUE_CLIENTS names %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return chosen, nil
}

// ready installs the client. The error is errMissing where the machine has not what it needs: a program, or a registry within
// reach. What install brought must compile.
func (c *client) ready(ctx context.Context, binaries string) error {
	for _, program := range c.needs {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: %s is not installed", errMissing, program)
		}
	}
	if c.build != nil {
		binary := filepath.Join(binaries, c.name)
		c.command = []string{binary}
		return c.build(ctx, c.folder, binary)
	}
	if err := c.runs(ctx, c.install); err != nil {
		return fmt.Errorf("%w: %w", errMissing, err)
	}
	return c.runs(ctx, c.compile)
}

// runs runs commands in the client's folder, up to the first one that fails.
func (c *client) runs(ctx context.Context, commands [][]string) error {
	for _, command := range commands {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Dir, cmd.SysProcAttr = c.folder, proc.Tied()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
		}
	}
	return nil
}
