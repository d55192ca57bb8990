package kafka

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/proc"
)

// How long a node may take.
const (
	startPatience = 2 * time.Minute
	stopPatience  = time.Minute
)

// Node is a running Kafka: broker and controller in one, as KRaft allows. Its methods are for one goroutine at a time.
type Node struct {
	// Addr is where clients connect.
	Addr string
	// Pid is its process.
	Pid int
	// Data is its log directory.
	Data string

	log   string           // the file
	start func() *exec.Cmd // the process, once more
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // of its process, once ended is closed
}

// Start runs a node with its data and its log in a folder, with these settings (name=value) beside those that it needs,
// and waits until it serves. A folder that a node was stopped in is taken up again, under another address. The node is
// killed when ctx ends.
func (k *Kafka) Start(ctx context.Context, dir string, settings ...string) (*Node, error) {
	n, err := k.launch(ctx, dir, settings)
	if err != nil {
		return nil, fmt.Errorf("start Apache Kafka %s in %s: %w", k.version, dir, err)
	}
	if err := n.await(ctx); err != nil {
		n.Kill()
		said, _ := os.ReadFile(n.log)
		return nil, fmt.Errorf("start Apache Kafka %s in %s: %w\n%s", k.version, dir, err, said)
	}
	return n, nil
}

func (k *Kafka) launch(ctx context.Context, dir string, settings []string) (*Node, error) {
	var addrs [2]string // clients', and the controller's
	for i := range addrs {
		var err error
		if addrs[i], err = proc.FreeAddr(); err != nil {
			return nil, err
		}
	}
	n := &Node{Addr: addrs[0], Data: filepath.Join(dir, "data"), log: filepath.Join(dir, "kafka.log")}
	properties := filepath.Join(dir, "server.properties")
	text := strings.Join(append(needed(n, addrs[1]), settings...), "\n") + "\n" // of two values of a name, the last counts
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(properties, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if err := k.format(ctx, n, properties); err != nil {
		return nil, err
	}
	n.start = func() *exec.Cmd {
		// The Java machine is set as Kafka's start script sets it.
		return k.java(ctx, []string{"-server", "-Xmx1G", "-Xms1G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
			"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"}, "kafka.Kafka", properties)
	}
	return n, n.execute()
}

// execute runs the process.
func (n *Node) execute() error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	n.cmd, n.ended = n.start(), make(chan struct{})
	n.cmd.Stdout, n.cmd.Stderr, n.cmd.Dir = log, log, filepath.Dir(n.log)
	if err := n.cmd.Start(); err != nil {
		return err
	}
	n.Pid = n.cmd.Process.Pid
	go func() {
		n.err = n.cmd.Wait()
		close(n.ended)
	}()
	return nil
}

// Restart runs a node that was stopped or killed again, under the same address, and waits until it serves.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.execute(); err != nil {
		return fmt.Errorf("start Apache Kafka again: %w", err)
	}
	if err := n.await(ctx); err != nil {
		n.Kill()
		return fmt.Errorf("start Apache Kafka again: %w; see %s", err, n.log)
	}
	return nil
}

// needed are the settings of a node that stands alone on this machine.
func needed(n *Node, controller string) []string {
	return []string{
		"process.roles=broker,controller",
		"node.id=1",
		"listeners=PLAINTEXT://" + n.Addr + ",CONTROLLER://" + controller,
		"advertised.listeners=PLAINTEXT://" + n.Addr,
		"controller.listener.names=CONTROLLER",
		"controller.quorum.voters=1@" + controller,
		"log.dirs=" + n.Data,
		"offsets.topic.replication.factor=1",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
	}
}

// format makes a new data directory one of KRaft's; one that is one is left alone.
func (k *Kafka) format(ctx context.Context, n *Node, properties string) error {
	if _, err := os.Stat(filepath.Join(n.Data, "meta.properties")); err == nil {
		return nil
	}
	var id [16]byte
	rand.Read(id[:])
	id[0] &= 0x7f // so that its text does not begin with a dash
	cmd := k.Command(ctx, "kafka.tools.StorageTool", "format", "-c", properties, "-t", base64.RawURLEncoding.EncodeToString(id[:]))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("format %s: %w\n%s", n.Data, err, out)
	}
	return nil
}

// await waits until the node names itself as a broker.
func (n *Node) await(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
		if err == nil && len(metadata.Brokers) > 0 {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-n.ended:
			return fmt.Errorf("it ended: %w", n.err)
		case <-ctx.Done():
			return fmt.Errorf("it does not serve: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// Stop has the node end by itself, and waits. What it logs then tells whether it was well.
func (n *Node) Stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop Apache Kafka: %w", err)
	}
	select {
	case <-n.ended:
		return nil // by a signal, which Java tells as an error
	case <-time.After(stopPatience):
		n.Kill()
		return fmt.Errorf("stop Apache Kafka: it has not ended within %v; see %s", stopPatience, n.log)
	}
}

// Kill ends the node as a crash does, and waits. It may be called whatever the node's state.
func (n *Node) Kill() {
	n.cmd.Process.Kill()
	<-n.ended
}
