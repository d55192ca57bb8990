//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"segue/integration/kafka"
)

// java is Java's client as Kafka's own measuring tools use it, kafka-producer-perf-test and kafka-consumer-perf-test.
type java struct{ kafka *kafka.Kafka }

func (j java) String() string { return "Java" }

// produced is what the tool says in the end: how many records, and how many of them a second.
var produced = regexp.MustCompile(`(\d+) records sent, ([0-9.]+) records/sec`)

func (j java) produce(ctx context.Context, addr, topic string, tr traffic) (time.Duration, error) {
	said, err := output(j.kafka.Command(ctx, "org.apache.kafka.tools.ProducerPerformance",
		"--bootstrap-server", addr, "--topic", topic, "--throughput", "-1",
		"--num-records", strconv.Itoa(tr.records()), "--record-size", strconv.Itoa(tr.size),
		"--reporting-interval", "600000", "--command-property", "compression.type="+tr.codec))
	if err != nil {
		return 0, err
	}
	match := produced.FindStringSubmatch(said)
	if match == nil || match[1] != strconv.Itoa(tr.records()) {
		return 0, fmt.Errorf("%d records are not written; the tool says %s", tr.records(), said)
	}
	rate, err := strconv.ParseFloat(match[2], 64)
	if err != nil {
		return 0, fmt.Errorf("%w; the tool says %s", err, said)
	}
	return time.Duration(float64(tr.records()) / rate * float64(time.Second)), nil
}

func (j java) consume(ctx context.Context, addr, topic string, tr traffic) (time.Duration, error) {
	said, err := output(j.kafka.Command(ctx, "org.apache.kafka.tools.ConsumerPerformance",
		"--bootstrap-server", addr, "--topic", topic, "--num-records", strconv.Itoa(tr.records()),
		"--group", topic, "--hide-header"))
	if err != nil {
		return 0, err
	}
	// Start, end, MB, MB a second, records, records a second, milliseconds in the rebalance, milliseconds after it, and two
	// more rates.
	fields := strings.Split(strings.TrimSpace(said), ", ")
	if len(fields) != 10 || fields[4] != strconv.Itoa(tr.records()) {
		return 0, fmt.Errorf("%d records are not read; the tool says %s", tr.records(), said)
	}
	ms, err := strconv.Atoi(fields[7])
	if err != nil {
		return 0, fmt.Errorf("%w; the tool says %s", err, said)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// output runs a tool and returns what it says, in a language that has a point in its numbers.
func output(cmd *exec.Cmd) (string, error) {
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return string(out), nil
}
