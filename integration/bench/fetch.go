//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// measureFetch has what was written read again, in regions of 1 MiB and of 16 KiB.
func measureFetch(ctx context.Context, s stage, t *table) error {
	const connections, each = 4, loadBytes / 4 // bytes of each partition
	if err := touchMemory(); err != nil {
		return err
	}
	for _, region := range []int{1 << 20, 16 << 10} {
		// As many records to a batch and batches to a region as make answers full.
		size := min(batchBytes, region)
		batch, records, err := batchOf(size, 1000)
		if err != nil {
			return err
		}
		perRegion := region / batch.Size()
		regions := each / region
		if region < batchBytes {
			regions /= 4
		}
		b, err := s.start(ctx, unsynced)
		if err != nil {
			return err
		}
		fill := produceTo(topicName, batch.Bytes(), connections, connections, inFlight, regions*perRegion)
		fill.addr = b.Addr
		err = b.withTopic(connections)
		if err == nil {
			_, err = fill.run(ctx)
		}
		l := load{addr: b.Addr, window: inFlight, requests: 2 * regions, judge: judgeFetch}
		for p := range int32(connections) {
			var frames stream
			for r := range regions {
				frames = append(frames, fetchFrame(topicName, p, int64(r*perRegion*records), int32(region)))
			}
			l.streams = append(l.streams, frames)
		}
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
			c.outcome, err = s.bareFetch(ctx, l, file, perRegion*batch.Size())
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
