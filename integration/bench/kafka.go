//go:build linux

package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/kafka"
)

const (
	comparedBytes = 1 << 30 // of each load
	readTimes     = 4       // how often a load reads it all, so that little CPU adds up to a figure
	comparedParts = 4       // partitions, and connections
	warmUps       = 2       // runs that do not count: Java compiles what it finds to be used much
)

// subject is a server that is measured beside another one: Segue's, or Apache Kafka's. Its methods are for one goroutine
// at a time.
type subject interface {
	addr() string
	process() process
	again(ctx context.Context) error // starts it after its end
	Stop() error
	Kill()
}

// apache is an Apache Kafka of one node, as its own scripts start it: with a heap of 1 GiB.
type apache struct{ *kafka.Node }

func (a apache) addr() string                    { return a.Addr }
func (a apache) process() process                { return process(a.Pid) }
func (a apache) again(ctx context.Context) error { return a.Restart(ctx) }

// subjects are the servers to compare, each started when its turn comes: Segue, and Kafka if there is one. By default
// Kafka leaves it to the system when to write to the disk, and so does Segue here: with flush.messages raised both promise
// the same.
func (s stage) subjects() []func(ctx context.Context) (subject, error) {
	all := []func(ctx context.Context) (subject, error){
		func(ctx context.Context) (subject, error) { return s.start(ctx, unsynced) },
	}
	if s.kafka != nil {
		all = append(all, func(ctx context.Context) (subject, error) {
			// What is deleted is not to fill the disk, and a consumer is not to wait for others; neither is measured.
			n, err := s.kafka.Start(ctx, filepath.Join(s.dir, "kafka"),
				"log.segment.delete.delay.ms=1000", "group.initial.rebalance.delay.ms=0")
			return apache{n}, err
		})
	}
	return all
}

// compared is what a server came to.
type compared struct {
	produce, large, small costed
	memory                float64       // MiB, the most after any of the loads
	start                 time.Duration // after a clean stop, with nothing there
}

// perCPU is MiB for each CPU second.
func (c costed) perCPU() float64 { return 1024 / c.cpuPerGiB() }

func cheaper(a, b costed) bool { return a.cpuPerGiB() < b.cpuPerGiB() }

// measureKafka puts the same requests on Segue and on Kafka.
func measureKafka(ctx context.Context, s stage, t *table) error {
	if s.kafka == nil {
		return nil
	}
	var came []compared
	for _, start := range s.subjects() {
		sub, err := start(ctx)
		if err != nil {
			return err
		}
		c, err := compare(ctx, sub)
		sub.Kill()
		if err != nil {
			return err
		}
		came = append(came, c)
	}
	segue, apache := came[0], came[1]
	with := func(what string) string { return what + ", beside Kafka " + s.kafka.Version() }
	rates := func(a, b costed) {
		t.beside("  rate", []float64{a.rate()}, []float64{b.rate()}, "MiB/s")
	}
	t.atLeastTimes(with("produce"), segue.produce.perCPU(), apache.produce.perCPU(), 2, "MiB/CPU s")
	rates(segue.produce, apache.produce)
	t.atLeastTimes(with("fetch of 1024 KiB"), segue.large.perCPU(), apache.large.perCPU(), 1, "MiB/CPU s")
	rates(segue.large, apache.large)
	t.atLeastTimes(with("fetch of 16 KiB"), segue.small.perCPU(), apache.small.perCPU(), 2, "MiB/CPU s")
	rates(segue.small, apache.small)
	t.atMostTimes(with("memory under these loads"), segue.memory, apache.memory, 0.1, "MiB")
	t.atMostTimes(with("start"), millis(segue.start), millis(apache.start), 0.02, "ms")
	return nil
}

// compare puts the loads on a server that has just been started.
func compare(ctx context.Context, s subject) (c compared, err error) {
	batch, _, err := batchOf(batchBytes, 1<<10)
	if err != nil {
		return c, err
	}
	produce := produceTo(topicName, batch.Bytes(), comparedParts, comparedParts, inFlight, comparedBytes/batchBytes/comparedParts)
	if c.produce, err = c.cost(ctx, s, topicName, produce, nil); err != nil {
		return c, err
	}
	for _, f := range []struct {
		topic string
		size  int
		kept  *costed
	}{{"large", 1 << 20, &c.large}, {"small", 16 << 10, &c.small}} {
		r, err := regionsOf(f.size, comparedBytes/comparedParts)
		if err != nil {
			return c, err
		}
		fill := r.fill(f.topic, comparedParts)
		if *f.kept, err = c.cost(ctx, s, f.topic, r.read(f.topic, comparedParts, readTimes), &fill); err != nil {
			return c, err
		}
	}
	c.start, err = best(shorter, func() (time.Duration, error) {
		if err := s.Stop(); err != nil {
			return 0, err
		}
		return timeStart(ctx, s)
	})
	return c, err
}

// cost makes a topic, has a load fill it if there is one, measures another, and deletes the topic: its pages are for
// whoever comes next, who would otherwise get such as nobody has used yet.
func (c *compared) cost(ctx context.Context, s subject, topic string, l load, fill *load) (kept costed, err error) {
	if err := errors.Join(touchMemory(), makeTopic(s.addr(), topic, comparedParts, nil)); err != nil {
		return kept, err
	}
	defer func() { err = errors.Join(err, dropTopic(s.addr(), topic)) }()
	if fill != nil {
		fill.addr = s.addr()
		if _, err := fill.run(ctx); err != nil {
			return kept, err
		}
	}
	l.addr = s.addr()
	once := func() (got costed, err error) {
		before := s.process().cpu()
		got.outcome, err = l.run(ctx)
		got.cpu, got.memory = s.process().cpu()-before, s.process().resident()
		c.memory = max(c.memory, got.memory)
		return got, err
	}
	for range warmUps {
		if _, err := once(); err != nil {
			return kept, err
		}
	}
	return best(cheaper, once)
}

// makeTopic makes a topic and waits until its partitions answer, which in Kafka is a moment later.
func makeTopic(addr, topic string, partitions int32, configs map[string]string) error {
	w, err := dial(addr)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.createTopic(topic, partitions, configs); err != nil {
		return err
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 7, -1
	asked := kmsg.NewListOffsetsRequestTopic()
	asked.Topic = topic
	for i := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = i, -1 // the end
		asked.Partitions = append(asked.Partitions, p)
	}
	req.Topics = append(req.Topics, asked)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		resp, err := ask[*kmsg.ListOffsetsResponse](w, req)
		if err != nil {
			return err
		}
		for _, p := range resp.Topics[0].Partitions {
			err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
