//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

const (
	pollers     = 1000
	idlers      = 5000
	idleTopics  = 100 // partitions that the pollers wait for
	idleSettle  = time.Minute
	pollMeasure = 20 * time.Second
)

// measureIdle looks at what a broker takes that has nothing to do: for itself, for consumers that wait, for connections.
func measureIdle(ctx context.Context, s stage, t *table) error {
	for _, measure := range []func(*broker, context.Context, *table) error{(*broker).measurePolls, (*broker).measureConnections} {
		b, err := s.start(ctx)
		if err != nil {
			return err
		}
		if err := errors.Join(measure(b, ctx, t), b.Stop()); err != nil {
			return err
		}
	}
	return nil
}

// measureConnections looks at the memory with nothing to do, and with many connections that do nothing.
func (b *broker) measureConnections(ctx context.Context, t *table) error {
	t.atMost("memory, idle", b.resident(), 20, "MiB")
	ends := make([]*wire, 0, idlers)
	defer func() {
		for _, w := range ends {
			w.close()
		}
	}()
	for range idlers {
		w, err := dial(b.Addr)
		if err != nil {
			return err
		}
		ends = append(ends, w)
		versions := kmsg.NewPtrApiVersionsRequest()
		versions.Version, versions.ClientSoftwareName, versions.ClientSoftwareVersion = 3, "bench", "1"
		if _, err := ask[*kmsg.ApiVersionsResponse](w, versions); err != nil {
			return err
		}
		w.in, w.buf = nil, nil
	}
	if err := sleep(ctx, idleSettle); err != nil {
		return err
	}
	t.atMost(fmt.Sprintf("memory, %d idle connections", idlers), b.resident(), 60, "MiB")
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// measurePolls has many consumers wait in their sessions for what never comes, and looks at the CPU that this takes.
func (b *broker) measurePolls(ctx context.Context, t *table) (err error) {
	if err := b.withTopic(idleTopics); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	defer func() {
		stop()
		err = errors.Join(err, group.Wait())
	}()
	var wait atomic.Int32
	joined := make(chan struct{}, pollers)
	for i := range int32(pollers) {
		w, err := dial(b.Addr)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, w.close)
		group.Go(func() error {
			if err := w.poll(i%idleTopics, &wait, joined); ctx.Err() == nil {
				return err
			}
			return nil
		})
	}
	for range pollers {
		select {
		case <-joined:
		case <-time.After(patience):
			return errors.New("not every consumer gets its first answer")
		}
	}
	for _, m := range []struct {
		wait time.Duration
		most float64
	}{{500 * time.Millisecond, 4}, {5 * time.Second, 0.5}} {
		wait.Store(int32(m.wait.Milliseconds()))
		if err := sleep(ctx, 2*time.Second); err != nil { // until all wait that long
			return err
		}
		before := b.cpu()
		if err := sleep(ctx, pollMeasure); err != nil {
			return err
		}
		took := b.cpu() - before
		t.atMost(fmt.Sprintf("%d consumers in a long poll of %v", pollers, m.wait), 100*took/pollMeasure.Seconds(), m.most, "% of a core")
	}
	return nil
}

// poll has a fetch session for one partition, and polls in it, for as many milliseconds as wait says, until the connection is
// closed.
func (w *wire) poll(partition int32, wait *atomic.Int32, joined chan<- struct{}) error {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.SessionEpoch, req.MinBytes, req.MaxBytes = 12, 0, 1, 50<<20
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topicName
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.PartitionMaxBytes = partition, 1<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	for {
		req.MaxWaitMillis = wait.Load()
		resp, err := ask[*kmsg.FetchResponse](w, req)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return err
		}
		if req.SessionEpoch == 0 {
			joined <- struct{}{}
		}
		req.SessionID, req.Topics = resp.SessionID, nil
		req.SessionEpoch++
	}
}
