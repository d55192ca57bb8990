//go:build integration && unix

package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// kcat is a command-line tool on librdkafka, and its own driver.
func kcat() *client {
	return &client{
		name: "kcat", needs: []string{"kcat"}, always: true, adapt: kcatFor, headless: true, swallows: 1, idempotent: true,
		lacks: []string{"create", "describe", "alter", "grow", "delete"}, // it is told of partitions, but of no configs
	}
}

// kcatFor is kcat's command for a verb, and what reads its output.
func kcatFor(addr, verb string, args map[string]string) (*exec.Cmd, func([]byte) ([]byte, error), error) {
	run := func(more ...string) *exec.Cmd { // -E: it goes on when the broker is away
		return exec.Command("kcat", append([]string{"-F", "/dev/null", "-b", addr, "-q", "-E"}, more...)...)
	}
	topic := args["topic"]
	switch verb {
	case "version":
		return exec.Command("kcat", "-V"), kcatVersion, nil
	case "produce":
		cmd := run("-P", "-t", topic, "-K:", "-z", args["codec"], "-X", "linger.ms=50")
		if most, ok := args["max"]; ok {
			cmd.Args = append(cmd.Args, "-X", "message.max.bytes="+most)
		}
		input, err := kcatInput(args)
		cmd.Stdin = input
		return cmd, nothing, err
	case "consume":
		return run("-C", "-t", topic, "-o", "beginning", "-c", args["count"], "-u", "-J"), kcatRecord, nil
	case "group":
		return run("-u", "-J", "-X", "auto.offset.reset=earliest", "-X", "auto.commit.interval.ms=200", "-G", args["group"], topic),
			kcatRecord, nil
	case "seek":
		return run("-C", "-t", topic, "-o", "s@"+args["timestamp"], "-e", "-u", "-J"), firstOfEach(), nil
	case "steady":
		// It tells on its standard error what was acknowledged. It does not wait for that before it sends more.
		cmd := run("-P", "-t", topic, "-X", "enable.idempotence=true")
		cmd = exec.Command("sh", append([]string{"-c", `exec "$@" -v -v -v 2>&1`, "sh"}, cmd.Args...)...)
		cmd.Stdin = newPaced()
		return cmd, kcatAcknowledged(), nil
	}
	return nil, nil, fmt.Errorf("%w: %s", errLacks, verb)
}

// kcatVersion reads "Version 1.7.1 (JSON, …, librdkafka 2.0.2 builtin.features=…)".
func kcatVersion(line []byte) ([]byte, error) {
	found := regexp.MustCompile(`^Version (\S+) .*(librdkafka \S+)`).FindSubmatch(line)
	if found == nil {
		return nil, nil
	}
	return json.Marshal(map[string]string{"client": "kcat", "version": fmt.Sprintf("%s, %s", found[1], found[2])})
}

// kcatInput is what kcat is to produce: key:value, a line each.
func kcatInput(args map[string]string) (io.Reader, error) {
	count, err := strconv.Atoi(args["count"])
	if err != nil {
		return nil, err
	}
	size, err := strconv.Atoi(args["size"])
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for i := range count {
		fmt.Fprintf(&b, "k%d:%s\n", i, padded(i, size))
	}
	return &b, nil
}

func nothing([]byte) ([]byte, error) { return nil, nil }

// kcatRecord makes a driver's line of a record of kcat's.
func kcatRecord(text []byte) ([]byte, error) {
	var r struct {
		Partition    int32
		Offset, TS   int64
		Key, Payload string
		Headers      []string // a name, its value, and so on
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	l := line{Partition: r.Partition, Offset: r.Offset, Timestamp: r.TS, Key: r.Key, Value: r.Payload, Headers: map[string]string{}}
	for i := 0; i+1 < len(r.Headers); i += 2 {
		l.Headers[r.Headers[i]] = r.Headers[i+1]
	}
	return json.Marshal(l)
}

// firstOfEach is kcatRecord for the first record of each partition.
func firstOfEach() func([]byte) ([]byte, error) {
	seen := map[int32]bool{}
	return func(text []byte) ([]byte, error) {
		made, err := kcatRecord(text)
		if err != nil {
			return nil, err
		}
		var l line
		if err := json.Unmarshal(made, &l); err != nil || seen[l.Partition] {
			return nil, err
		}
		seen[l.Partition] = true
		return made, nil
	}
}

// kcatAcknowledged makes lines of kcat's "% Message delivered to partition 0 (offset 5)". They come in the order in which
// the values were given.
func kcatAcknowledged() func([]byte) ([]byte, error) {
	delivered := regexp.MustCompile(`^% Message delivered to partition (\d+) \(offset (\d+)\)`)
	next := 0
	return func(text []byte) ([]byte, error) {
		if strings.Contains(string(text), "Delivery failed") {
			return nil, fmt.Errorf("value s%d is lost", next)
		}
		found := delivered.FindSubmatch(text)
		if found == nil {
			return nil, nil // something else that it tells
		}
		next++
		return fmt.Appendf(nil, `{"partition":%s,"offset":%s,"value":"s%d"}`, found[1], found[2], next-1), nil
	}
}

// paced is an input that goes on until it is closed: the lines s0, s1, and so on, at most 200 a second.
type paced struct {
	every  *time.Ticker
	closed chan struct{}
	next   int
}

func newPaced() *paced {
	return &paced{every: time.NewTicker(time.Second / 200), closed: make(chan struct{})}
}

func (p *paced) Read(b []byte) (int, error) {
	select {
	case <-p.every.C:
		n := copy(b, fmt.Appendf(nil, "s%d\n", p.next))
		p.next++
		return n, nil
	case <-p.closed:
		return 0, io.EOF
	}
}

func (p *paced) Close() error {
	close(p.closed)
	return nil
}
