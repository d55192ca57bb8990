//go:build linux

// Command bench measures the broker from outside, in one run and beside the limits that it is to keep: what it does a
// second, what it takes of the processor and of memory, and what a bare program takes for the same.
//
// It is for a person to read. On a small machine the client eats much of what there is, so requests are encoded once and
// answers are looked at no further than for their errors; the broker's own CPU seconds and memory come from /proc, and
// hold on a noisy machine too.
//
//	go run ./integration/bench [-run regexp] [-dir folder] [-broker binary] [-kafka folder]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"

	"segue/integration/kafka"
	"segue/integration/proc"
)

// benchmark is one thing that is measured. It gets a folder of its own on the disk in question.
type benchmark struct {
	name string
	run  func(ctx context.Context, s stage, t *table) error
}

// stage is what a benchmark works with.
type stage struct {
	binary string       // the broker
	kafka  *kafka.Kafka // nil if there is none to compare with
	dir    string       // an empty folder
}

func benchmarks() []benchmark {
	return []benchmark{
		{"produce", measureProduce},
		{"fetch", measureFetch},
		{"small", measureSmall},
		{"wide", measureWide},
		{"idle", measureIdle},
		{"start", measureStart},
		{"recovery", measureRecovery},
		{"commits", measureCommits},
		{"members", measureMembers},
		{"groups", measureGroups},
		{"transactions", measureTransactions},
		{"isolation", measureIsolation},
		{"compaction", measureCompaction},
		{"clients", measureClients},
		{"kafka", measureKafka},
	}
}

func main() {
	pattern := flag.String("run", "", "measure only what matches this `regexp`")
	dir := flag.String("dir", "", "the `folder` to work in, on the disk that is to be measured; a temporary one if empty")
	binary := flag.String("broker", "", "the broker's `binary`; built from the source if empty")
	home := flag.String("kafka", "", "compare with the Apache Kafka that is unpacked in this `folder`, or with one that Maven brings: "+fetched)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, *pattern, *dir, *binary, *home); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// measure runs the benchmarks and prints the table.
func measure(ctx context.Context, pattern, dir, binary, home string) (err error) {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	k, err := findKafka(ctx, home)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(dir, "segue-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if binary == "" {
		binary = filepath.Join(work, "broker")
		if err := proc.Build(ctx, binary); err != nil {
			return err
		}
	}
	t := &table{}
	defer func() { t.print(os.Stdout) }()
	for _, b := range benchmarks() {
		if !wanted.MatchString(b.name) {
			continue
		}
		s := stage{binary: binary, kafka: k, dir: filepath.Join(work, b.name)}
		if err := os.Mkdir(s.dir, 0o755); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s ...\n", b.name)
		if err := b.run(ctx, s, t); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		if err := os.RemoveAll(s.dir); err != nil {
			return err
		}
	}
	return nil
}

// fetched is what -kafka is for a Kafka that Maven brings.
const fetched = "fetch"

// findKafka returns the Kafka to compare with, or nil if there is to be none.
func findKafka(ctx context.Context, home string) (*kafka.Kafka, error) {
	switch home {
	case "":
		return nil, nil
	case fetched:
		return kafka.Fetch(ctx)
	}
	return kafka.At(home)
}
