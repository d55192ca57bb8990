//go:build integration && unix

package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"segue/integration/history"
	"segue/integration/proc"
)

// foreigner is a member of a team by a client of another make: a process of its own, which writes a line of JSON with
// partition and offset for each record: the verb group of the drivers in integration/clients, or kcat.
type foreigner struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.Closer
	errors bytes.Buffer // to be read once it has ended
	count  atomic.Int64
	ended  chan struct{}
	err    error // once ended is closed
}

// maker is a client that a team can have members of.
type maker struct {
	name    string
	command func(t testing.TB, b *broker, group, topic string) *exec.Cmd
}

// makers are the clients beside franz-go that consume in groups.
func makers() []maker {
	module := func(name string) maker {
		return maker{name, func(t testing.TB, b *broker, group, topic string) *exec.Cmd {
			return exec.Command(buildClient(t, name), b.addr, "group", "topic="+topic, "group="+group, "session=3000")
		}}
	}
	kcat := func(t testing.TB, b *broker, group, topic string) *exec.Cmd {
		needKcat(t)
		args := []string{"-E", "-q", "-u", "-f", `{"partition":%p,"offset":%o}\n`}
		for _, setting := range []string{
			"session.timeout.ms=3000", "heartbeat.interval.ms=200", "auto.offset.reset=earliest", "auto.commit.interval.ms=100",
			"topic.metadata.refresh.interval.ms=1000", "reconnect.backoff.max.ms=200", "fetch.wait.max.ms=100",
		} {
			args = append(args, "-X", setting)
		}
		return b.kcat(context.Background(), append(args, "-G", group, topic)...).cmd
	}
	return []maker{{"kcat", kcat}, module("sarama"), module("kafkago")}
}

// buildClient builds the driver of a client in Go. Without its modules, the test is skipped.
func buildClient(t testing.TB, name string) string {
	t.Helper()
	binary := filepath.Join(filepath.Dir(brokerBinary), name)
	if _, err := os.Stat(binary); err == nil {
		return binary // another test has built it
	}
	err := proc.BuildModule(within(t, buildTimeout), filepath.Join("clients", name), "go.mod", binary)
	if errors.Is(err, proc.ErrModules) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// enlist starts a member of another make.
func (tm *team) enlist(t testing.TB, from maker) *foreigner {
	t.Helper()
	f := &foreigner{name: from.name, cmd: from.command(t, tm.b, tm.group, tm.topics[0]), ended: make(chan struct{})}
	f.cmd.SysProcAttr, f.cmd.Stderr = proc.Tied(), &f.errors
	stdin, err := f.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.stdin = stdin
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(f.ended)
		for in := bufio.NewScanner(out); in.Scan(); {
			p := history.Partition{Topic: tm.topics[0]}
			var written struct {
				Partition int32
				Offset    int64
			}
			if err := json.Unmarshal(in.Bytes(), &written); err != nil {
				f.err = fmt.Errorf("it wrote %q: %w", in.Text(), err)
				break
			}
			p.Index = written.Partition
			tm.book.Processed(f.name, p, written.Offset)
			f.count.Add(1)
		}
		f.err = errors.Join(f.err, f.cmd.Wait())
	}()
	switch f.name {
	case "kafkago": // it commits what it has fetched in one generation in the next one, when others have gone on
		tm.tolerated = []history.Name{history.CommitLost}
	case "kcat": // it writes a record once it is to be committed
		tm.book.MayLose(1)
	}
	t.Cleanup(f.kill)
	return f
}

// kill ends it as a crash does: the group does not hear of it.
func (f *foreigner) kill() {
	f.cmd.Process.Kill()
	<-f.ended
}

// leave has it leave the group and end.
func (f *foreigner) leave(t testing.TB) {
	t.Helper()
	f.stdin.Close()
	if f.name == "kcat" {
		f.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-f.ended:
	case <-time.After(patience):
		f.kill()
		t.Errorf("%s does not end", f.name)
	}
	if f.err != nil {
		t.Errorf("%s: %v\n%s", f.name, f.err, f.errors.String())
	}
}

// awaitForeign waits until each of them has processed so many more records.
func awaitForeign(t testing.TB, n int64, members ...*foreigner) {
	t.Helper()
	for _, f := range members {
		want := f.count.Load() + n
		if !holdsWithin(2*patience, func() bool { return f.count.Load() >= want }) {
			f.kill()
			t.Fatalf("no %d more records come to %s, which has had %d: %v\n%s", n, f.name, f.count.Load(), f.err, f.errors.String())
		}
	}
}

// newForeignTeam is a team whose members do not say what they commit.
func newForeignTeam(t testing.TB, b *broker, name string, partitions int32) *team {
	t.Helper()
	tm := newTeam(t, b, name, partitions, kgo.Balancers(kgo.RangeBalancer()))
	for p := range partitions {
		tm.book.Commits(history.Partition{Topic: name, Index: p}, math.MaxInt64)
	}
	tm.write()
	return tm
}

// TestGroupClients: two members of each make share a topic, the broker is killed, one of them is killed, another one comes,
// and every record is processed and committed.
func TestGroupClients(t *testing.T) {
	for _, from := range makers() {
		t.Run(from.name, func(t *testing.T) {
			b := start(t, soon)
			tm := newForeignTeam(t, b, "of-"+from.name, 4)
			defer tm.abandon()
			ann, bob := tm.enlist(t, from), tm.enlist(t, from)
			awaitForeign(t, 20, ann, bob)
			b.crash()
			awaitForeign(t, 20, ann, bob)
			ann.kill()
			awaitForeign(t, 20, bob)
			cid := tm.enlist(t, from)
			awaitForeign(t, 20, bob, cid)
			bob.leave(t)
			awaitForeign(t, 20, cid)
			tm.finish(t)
			cid.leave(t)
		})
	}
}

// TestGroupOfAllClients: members of several makes are one group, whoever leads it, through a restart of the broker. None is
// by kafka-go: its metadata says version 1 and lacks what that version adds, so a leader by librdkafka gives it nothing.
func TestGroupOfAllClients(t *testing.T) {
	b := start(t, soon)
	tm := newForeignTeam(t, b, "all", 8)
	defer tm.abandon()
	// sarama commits with the leader epoch that it has found committed. After a restart, which begins a new one, franz-go
	// takes all that is of the new epoch for cut off, and goes back to where it begins.
	tm.tolerated = append(tm.tolerated, history.CommitLost)
	franz := tm.join(t, "franz")
	var members []*foreigner
	for _, from := range makers()[:2] {
		members = append(members, tm.enlist(t, from))
	}
	work := func() {
		t.Helper()
		awaitWork(t, 20, franz)
		awaitForeign(t, 20, members...)
	}
	work()
	b.restart()
	work()
	for _, f := range members { // the oldest member leads, and then the next one
		franz.leave()
		franz = tm.join(t, "franz")
		f.leave(t)
		members = members[1:]
		work()
	}
	tm.finish(t)
}
