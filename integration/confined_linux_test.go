//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// confine has the broker run in a control group of its own with a limit of memory, which it cannot exceed and live. The
// test is skipped where none can be made: it takes Linux, and root.
func (b *broker) confine(bytes int64) *cgroup {
	b.t.Helper()
	g, err := newCgroup(bytes)
	if err != nil {
		b.t.Skipf("no control group with a memory limit can be made: %v", err)
	}
	b.t.Cleanup(g.remove) // after the broker's own cleanup: that of newBroker would come later
	b.under = []string{"/bin/sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, g.dir}
	b.t.Cleanup(b.cleanup)
	return g
}

// cgroup is a control group with a limit of memory.
type cgroup struct {
	dir    string
	events string // file and word that count how often the limit has killed somebody
	word   string
}

func newCgroup(bytes int64) (*cgroup, error) {
	limit := []byte(strconv.FormatInt(bytes, 10))
	var failed error
	for _, kind := range []struct{ parent, file, events, word string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control", "oom_kill "}, // version 1
		{"/sys/fs/cgroup", "memory.max", "memory.events", "oom_kill "},                        // version 2
	} {
		if _, err := os.Stat(filepath.Join(kind.parent, "cgroup.procs")); err != nil {
			failed = err
			continue
		}
		g := &cgroup{dir: filepath.Join(kind.parent, fmt.Sprintf("segue-test-%d", os.Getpid())), events: kind.events, word: kind.word}
		if err := os.Mkdir(g.dir, 0o755); err != nil {
			failed = err
			continue
		}
		if failed = os.WriteFile(filepath.Join(g.dir, kind.file), limit, 0o644); failed == nil {
			return g, nil
		}
		g.remove()
	}
	return nil, failed
}

// kills returns how often the limit has killed a process of the group.
func (g *cgroup) kills() int {
	text, err := os.ReadFile(filepath.Join(g.dir, g.events))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, g.word); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(rest))
			return n
		}
	}
	return 0
}

func (g *cgroup) remove() { os.Remove(g.dir) }
