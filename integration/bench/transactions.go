//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

const (
	transactors     = 16 // producers with transactional ids
	transactTime    = 10 * time.Second
	isolatedRecords = 400_000 // that are read at each isolation level
	isolatedSize    = 100     // bytes of each
	isolatedPasses  = 5       // over all of them at each level
)

// measureTransactions has producers write small transactions at default durability, and looks at what committed data costs those
// who read, while such producers go on.
func measureTransactions(ctx context.Context, s stage, t *table) (err error) {
	b, err := s.groupBroker(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	cpu, begun := b.cpu(), time.Now()
	waits, err := transactFor(ctx, b.Addr, transactTime)
	if err != nil {
		return err
	}
	n := float64(len(waits))
	t.atLeast(fmt.Sprintf("transactions of one record from %d producers", transactors), n/time.Since(begun).Seconds(), 1000, "a second")
	t.tellWaits(waits)
	t.tell("  the same: the broker's CPU", (b.cpu()-cpu)/n*1e6, "µs each")
	return measureIsolation(ctx, b, t)
}

// tellWaits adds the middle and the end of some waits.
func (t *table) tellWaits(waits []time.Duration) {
	slices.Sort(waits)
	t.tell("  the same: median", waits[len(waits)/2].Seconds()*1e3, "ms")
	t.tell("  the same: 99th percentile", waits[len(waits)*99/100].Seconds()*1e3, "ms")
}

// transactFor has producers write transactions of one record, one after the other, for a time, and returns how long each took.
func transactFor(ctx context.Context, addr string, d time.Duration) ([]time.Duration, error) {
	var took [transactors][]time.Duration
	begun := time.Now()
	var all errgroup.Group
	for i := range transactors {
		all.Go(func() error {
			cl, err := transactor(addr, fmt.Sprintf("tx-%d", i))
			if err != nil {
				return err
			}
			defer cl.Close()
			for last := time.Now(); last.Sub(begun) < d && ctx.Err() == nil; {
				if err := transact(ctx, cl, kgo.TryCommit, &kgo.Record{Topic: topicName, Partition: int32(i % topicParts), Value: []byte("v")}); err != nil {
					return err
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(last))
				last = now
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(took[:]...), ctx.Err()
}

func transactor(addr, id string) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
}

// transact writes records in one transaction.
func transact(ctx context.Context, cl *kgo.Client, end kgo.TransactionEndTry, records ...*kgo.Record) error {
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	return cl.EndTransaction(ctx, end)
}

// measureIsolation has a topic full of transactions, one in ten aborted, read from the start at either isolation level, in turns.
func measureIsolation(ctx context.Context, b *broker, t *table) error {
	const topic = "isolated"
	w, err := dial(b.Addr)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.createTopic(topic, 1, nil); err != nil {
		return err
	}
	if err := fillIsolated(ctx, b.Addr, topic); err != nil {
		return err
	}
	load, end := context.WithCancel(ctx)
	defer end()
	var busy errgroup.Group
	busy.Go(func() error {
		_, err := transactFor(load, b.Addr, patience)
		if load.Err() != nil {
			return nil // it was told to end
		}
		return err
	})
	var committed, uncommitted []time.Duration
	for range isolatedPasses {
		for _, pass := range []struct {
			level kgo.IsolationLevel
			took  *[]time.Duration
		}{{kgo.ReadUncommitted(), &uncommitted}, {kgo.ReadCommitted(), &committed}} {
			took, err := readIsolated(ctx, b.Addr, topic, pass.level)
			if err != nil {
				return err
			}
			*pass.took = append(*pass.took, took)
		}
	}
	end()
	if err := busy.Wait(); err != nil {
		return err
	}
	slices.Sort(committed)
	slices.Sort(uncommitted)
	middle := isolatedPasses / 2
	t.atMost("reading committed data under load, against all data", committed[middle].Seconds()/uncommitted[middle].Seconds(), 1.10, "times as long")
	return nil
}

// fillIsolated writes transactions of a hundred records.
func fillIsolated(ctx context.Context, addr, topic string) error {
	const each = 100
	cl, err := transactor(addr, "filler")
	if err != nil {
		return err
	}
	defer cl.Close()
	value := make([]byte, isolatedSize)
	for n := range isolatedRecords / each {
		records := make([]*kgo.Record, each)
		for i := range records {
			records[i] = &kgo.Record{Topic: topic, Value: value}
		}
		if err := transact(ctx, cl, kgo.TransactionEndTry(n%10 > 0), records...); err != nil {
			return err
		}
	}
	return nil
}

// readIsolated reads a topic from its start until all its records have come that the level shows.
func readIsolated(ctx context.Context, addr, topic string, level kgo.IsolationLevel) (time.Duration, error) {
	want := isolatedRecords
	if level == kgo.ReadCommitted() {
		want -= isolatedRecords / 10
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%d records are not read within %v", want, patience))
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(level),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	begun := time.Now()
	for n := 0; n < want; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, fmt.Errorf("%d records are read: %w", n, err)
		}
		n += fetches.NumRecords()
	}
	return time.Since(begun), nil
}
