//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

const (
	batchBytes = 64 << 10
	loadBytes  = 2 << 30 // of each measurement
	inFlight   = 5
	unsynced   = "log.flush.interval.messages=9223372036854775807"
)

// costed is what a load came to and what it took of the broker.
type costed struct {
	outcome
	cpu    float64 // seconds
	memory float64 // MiB, at its end
}

func (c costed) cpuPerGiB() float64        { return c.cpu / c.gib() }
func (c costed) microsPerRequest() float64 { return c.cpu * 1e6 / float64(c.requests) }

func faster(a, b costed) bool { return a.rate() > b.rate() }
func sooner(a, b costed) bool { return a.median() < b.median() }

// produceTo is a load of produce requests from some connections over the partitions of a topic.
func produceTo(topic string, batch []byte, connections, partitions, window, requests int) load {
	l := load{window: window, requests: requests, judge: judgeProduce(len(batch))}
	for c := range connections {
		var s stream
		for p := c % partitions; p < partitions; p += connections {
			s = append(s, produceFrame(topic, batch, int32(p)))
		}
		l.streams = append(l.streams, s)
	}
	return l
}

// onBroker starts a broker with a topic of so many partitions, puts a load on it and ends it.
func (s stage) onBroker(ctx context.Context, partitions int32, l load, overrides ...string) (c costed, err error) {
	b, err := s.start(ctx, overrides...)
	if err != nil {
		return c, err
	}
	defer func() {
		err = errors.Join(err, b.Stop(), os.RemoveAll(filepath.Join(s.dir, "data")))
	}()
	if err := b.withTopic(partitions); err != nil {
		return c, err
	}
	l.addr = b.Addr
	before := b.cpu()
	c.outcome, err = l.run(ctx)
	c.cpu, c.memory = b.cpu()-before, b.resident()
	return c, err
}

// withTopic makes the topic of the loads.
func (b *broker) withTopic(partitions int32) error {
	w, err := dial(b.Addr)
	if err != nil {
		return err
	}
	defer w.close()
	return w.createTopic(topicName, partitions, nil)
}

// onBare puts a load of produce requests on the bare program.
func (s stage) onBare(ctx context.Context, l load, args ...string) (c costed, err error) {
	folder := filepath.Join(s.dir, "bare")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	b, err := s.startBare(ctx, append([]string{"produce", folder}, args...)...)
	if err != nil {
		return c, err
	}
	defer b.end()
	l.addr, l.judge = b.addr, nil
	c.outcome, err = l.run(ctx)
	c.cpu = process(b.cmd.Process.Pid).cpu()
	return c, err
}

// measureProduce has batches of 64 KiB written, with and without a sync before the answer.
func measureProduce(ctx context.Context, s stage, t *table) error {
	if err := touchMemory(); err != nil {
		return err
	}
	batch, _, err := batchOf(batchBytes, 1<<10)
	if err != nil {
		return err
	}
	four := produceTo(topicName, batch.Bytes(), 4, 4, inFlight, loadBytes/batchBytes/4)
	sixteen := produceTo(topicName, batch.Bytes(), 16, 4, inFlight, loadBytes/batchBytes/16)
	limit, err := best(faster, func() (costed, error) { return s.onBare(ctx, four) })
	if err != nil {
		return err
	}
	raised, err := best(faster, func() (costed, error) { return s.onBroker(ctx, 4, four, unsynced) })
	if err != nil {
		return err
	}
	t.tell("produce, bare sockets to files", limit.rate(), "MiB/s")
	t.tell("  its CPU", limit.cpuPerGiB(), "s/GiB")
	t.tell("produce, flush.messages raised", raised.rate(), "MiB/s")
	t.atLeast("  of the bare rate", raised.rate()/limit.rate(), 0.75, "")
	t.atMost("  broker CPU", raised.cpuPerGiB(), 0.8, "s/GiB")
	t.atMost("  broker memory", raised.memory, 64, "MiB")

	limit, err = best(faster, func() (costed, error) { return s.onBare(ctx, four, "sync") })
	if err != nil {
		return err
	}
	t.tell("produce, bare, with a sync for each group", limit.rate(), "MiB/s")
	t.tell("  its CPU", limit.cpuPerGiB(), "s/GiB")
	for _, d := range []struct {
		what  string
		load  load
		least float64
	}{{"produce, default durability", four, 0.35}, {"produce, default durability, 16 connections", sixteen, 0.45}} {
		synced, err := best(faster, func() (costed, error) { return s.onBroker(ctx, 4, d.load) })
		if err != nil {
			return err
		}
		t.tell(d.what, synced.rate(), "MiB/s")
		t.atLeast("  of the rate without syncs", synced.rate()/raised.rate(), d.least, "")
		t.tell("  broker CPU", synced.cpuPerGiB(), "s/GiB")
	}
	return nil
}

// measureSmall has single records written at default durability, one request at a time on each connection.
func measureSmall(ctx context.Context, s stage, t *table) error {
	batch, _, err := batchOf(1<<10, 900)
	if err != nil {
		return err
	}
	one := func(connections, partitions int) func() (costed, error) {
		return func() (costed, error) {
			l := produceTo(topicName, batch.Bytes(), connections, partitions, 1, 2000)
			return s.onBroker(ctx, int32(partitions), l)
		}
	}
	limit, err := s.bareSync(ctx, batch.Size())
	if err != nil {
		return err
	}
	t.tell("a write and fdatasync, bare", limit, "µs")
	for _, m := range []struct {
		what        string
		connections int
	}{{"1 connection", 1}, {"16 connections, a file each", 16}} {
		l := produceTo(topicName, batch.Bytes(), m.connections, m.connections, 1, 2000)
		served, err := best(sooner, func() (costed, error) { return s.onBare(ctx, l, "sync") })
		if err != nil {
			return err
		}
		t.tell("  as an answer to a request, "+m.what+", median", served.median(), "µs")
		t.tell("  its CPU", served.microsPerRequest(), "µs/request")
	}
	for _, m := range []struct {
		what string
		run  func() (costed, error)
		most float64
	}{
		{"one record a request, 1 connection", one(1, 1), 1.2},
		{"one record a request, 16 connections", one(16, 4), 2.7},
		{"one record a request, 64 connections, 1,000 partitions", one(64, 1000), 10},
	} {
		got, err := best(sooner, m.run)
		if err != nil {
			return err
		}
		t.tell(m.what+", median", got.median(), "µs")
		t.atMost("  in bare syncs", got.median()/limit, m.most, "")
		t.tell("  broker CPU", got.microsPerRequest(), "µs/request")
	}
	return nil
}

// measureWide has requests of 100 partitions written.
func measureWide(ctx context.Context, s stage, t *table) error {
	const wide = 100
	made, _, err := batchOf(1<<10, 900)
	if err != nil {
		return err
	}
	batch := made.Bytes()
	var all []int32
	for p := range int32(wide) {
		all = append(all, p)
	}
	l := load{window: 1, requests: 3000, judge: judgeProduce(wide * len(batch)), streams: []stream{{produceFrame(topicName, batch, all...)}}}
	raised, err := best(sooner, func() (costed, error) { return s.onBroker(ctx, wide, l, unsynced) })
	if err != nil {
		return err
	}
	synced, err := best(sooner, func() (costed, error) { return s.onBroker(ctx, wide, l) })
	if err != nil {
		return err
	}
	limit, err := s.bareSync(ctx, len(batch))
	if err != nil {
		return err
	}
	writes, err := s.bareRounds(ctx, "write", len(batch), wide)
	if err != nil {
		return err
	}
	t.tell("writes to 100 files, bare", writes, "µs")
	t.tell("100 partitions a request, flush.messages raised, median", raised.median(), "µs")
	t.atMost("  broker CPU", raised.microsPerRequest(), 250, "µs/request")
	t.tell("100 partitions a request, default durability, median", synced.median(), "µs")
	t.atMost("  in bare syncs", synced.median()/limit, 8, "")
	t.atMost("  broker CPU", synced.microsPerRequest(), 600, "µs/request")
	return nil
}
