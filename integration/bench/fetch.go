//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"segue/storage/record"
)

// measureFetch has what was written read again, in regions of 1 MiB and of 16 KiB.
func measureFetch(ctx context.Context, s stage, t *table) error {
	const connections, each = 4, loadBytes / 4 // bytes of each partition
	if err := touchMemory(); err != nil {
		return err
	}
	for _, region := range []int{1 << 20, 16 << 10} {
		r, err := regionsOf(region, each)
		if err != nil {
			return err
		}
		b, err := s.start(ctx, unsynced)
		if err != nil {
			return err
		}
		fill := r.fill(topicName, connections)
		fill.addr = b.Addr
		err = b.withTopic(connections)
		if err == nil {
			_, err = fill.run(ctx)
		}
		l := r.read(topicName, connections, 2)
		l.addr = b.Addr
		var got costed
		if err == nil {
			got, err = best(faster, func() (c costed, err error) {
				before := b.cpu()
				c.outcome, err = l.run(ctx)
				c.cpu, c.memory = b.cpu()-before, b.resident()
				return c, err
			})
		}
		if err = errors.Join(err, b.Stop()); err != nil {
			return err
		}
		file := filepath.Join(s.dir, "data", topicName+"-0", "00000000000000000000.log")
		limit, err := best(faster, func() (c costed, err error) {
			c.outcome, err = s.bareFetch(ctx, l, file, r.bytes())
			return c, err
		})
		if err := errors.Join(err, os.RemoveAll(filepath.Join(s.dir, "data"))); err != nil {
			return err
		}
		kib := strconv.Itoa(region>>10) + " KiB"
		t.tell("fetch of "+kib+", bare sendfile", limit.rate(), "MiB/s")
		t.tell("fetch of "+kib, got.rate(), "MiB/s")
		if region == 1<<20 {
			t.atLeast("  of bare sendfile", got.rate()/limit.rate(), 0.5, "")
			t.atMost("  broker CPU", got.cpuPerGiB(), 0.3, "s/GiB")
		} else {
			t.tell("  of bare sendfile", got.rate()/limit.rate(), "")
			t.tell("  broker CPU", got.microsPerRequest(), "µs/request")
		}
	}
	return nil
}

// regions is what partitions are filled with, to be read again one region at a time.
type regions struct {
	batch   record.Batch
	records int // of a batch
	batches int // of a region
	count   int // in each partition
}

// regionsOf cuts so many bytes of each partition, or a quarter where they are small, into regions of about that size. As
// many records go to a batch and batches to a region as make answers full.
func regionsOf(size, each int) (r regions, err error) {
	r.batch, r.records, err = batchOf(min(batchBytes, size), 1000)
	if err != nil {
		return r, err
	}
	r.batches, r.count = size/r.batch.Size(), each/size
	if size < batchBytes {
		r.count /= 4
	}
	return r, nil
}

// bytes is the size of a region.
func (r regions) bytes() int { return r.batches * r.batch.Size() }

// fill is the load that writes the regions, with a connection for each partition.
func (r regions) fill(topic string, partitions int) load {
	return produceTo(topic, r.batch.Bytes(), partitions, partitions, inFlight, r.count*r.batches)
}

// read is the load that reads them, so many times, with a connection for each partition. An answer has no room for part of
// a batch more: Kafka would fill it.
func (r regions) read(topic string, partitions, times int) load {
	l := load{window: inFlight, requests: times * r.count, judge: judgeFetch}
	for p := range int32(partitions) {
		var frames stream
		for i := range r.count {
			frames = append(frames, fetchFrame(topic, p, int64(i*r.batches*r.records), int32(r.bytes())))
		}
		l.streams = append(l.streams, frames)
	}
	return l
}

// bareFetch has the bare program send regions of a file.
func (s stage) bareFetch(ctx context.Context, l load, file string, region int) (outcome, error) {
	b, err := s.startBare(ctx, "fetch", file, strconv.Itoa(region))
	if err != nil {
		return outcome{}, err
	}
	defer b.end()
	l.addr, l.judge = b.addr, func(answer []byte) (int, error) { return len(answer), nil }
	return l.run(ctx)
}
