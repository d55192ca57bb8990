//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

const (
	transactors     = 16 // producers, each with a transactional id and a partition
	transactionTime = 10 * time.Second
	isolationLoad   = 4 // transactors that go on while others read
	isolationParts  = 4
	isolationRuns   = 5 // of each reader; the fastest counts
)

// transactor is a producer that writes small transactions, one record each.
type transactor struct {
	cl        *kgo.Client
	partition int32
	value     []byte
}

func newTransactor(addr, id string, partition int32) (*transactor, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID(id), kgo.DefaultProduceTopic(topicName),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	return &transactor{cl, partition, make([]byte, 100)}, err
}

// transact writes records in one transaction and ends it.
func (tr *transactor) transact(ctx context.Context, records int, commit kgo.TransactionEndTry) error {
	if err := tr.cl.BeginTransaction(); err != nil {
		return err
	}
	var failed atomic.Pointer[error]
	for range records {
		tr.cl.Produce(ctx, &kgo.Record{Partition: tr.partition, Value: tr.value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	if err := tr.cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return tr.cl.EndTransaction(ctx, commit)
}

// transactionBroker starts a broker that has a topic, and one transactional id, so that its coordinator is there.
func (s stage) transactionBroker(ctx context.Context, partitions int32, overrides ...string) (*broker, error) {
	b, err := s.start(ctx, overrides...)
	if err != nil {
		return nil, err
	}
	err = b.withTopic(partitions)
	var first *transactor
	if err == nil {
		first, err = newTransactor(b.Addr, "first", 0)
	}
	if err == nil {
		err = first.transact(ctx, 1, kgo.TryAbort)
		first.cl.Close()
	}
	if err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

// measureTransactions has producers write small transactions at default durability.
func measureTransactions(ctx context.Context, s stage, t *table) (err error) {
	b, err := s.transactionBroker(ctx, transactors)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	got, err := b.repeat(ctx, transactors, transactionTime, b.transacting(ctx))
	if err != nil {
		return err
	}
	got.tell(t, fmt.Sprintf("transactions of one record by %d producers", transactors), 1000)
	return nil
}

// transacting is what transactors repeat.
func (b *broker) transacting(ctx context.Context) func(worker int) (func() error, func(), error) {
	return func(i int) (func() error, func(), error) {
		tr, err := newTransactor(b.Addr, fmt.Sprint("producer-", i), int32(i))
		if err != nil {
			return nil, nil, err
		}
		return func() error { return tr.transact(ctx, 1, kgo.TryCommit) }, tr.cl.Close, nil
	}
}

// measureIsolation has a topic read of which a tenth is aborted, by who wants all and by who wants what is committed, while
// others write transactions.
func measureIsolation(ctx context.Context, s stage, t *table) (err error) {
	b, err := s.transactionBroker(ctx, isolationParts, unsynced)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	all, committed, err := b.fillTransactions(ctx)
	if err != nil {
		return err
	}
	readers := []*isolationReader{
		{level: kgo.ReadUncommitted(), records: all}, {level: kgo.ReadCommitted(), records: committed},
	}
	ctx, stop := context.WithCancel(ctx)
	var others errgroup.Group
	others.Go(func() error { return b.disturb(ctx) })
	for range isolationRuns {
		for _, r := range readers {
			if err = r.run(ctx, b); err != nil {
				break
			}
		}
	}
	stop()
	if err := errors.Join(err, others.Wait()); err != nil {
		return err
	}
	for i, what := range []string{"reading all, while others write transactions", "the same, only what is committed"} {
		t.tell(what, float64(all)*isolationValue/(1<<20)/readers[i].best.Seconds(), "MiB/s of the log")
	}
	t.atMost("  its time, of the time for all", readers[1].best.Seconds()/readers[0].best.Seconds(), 1.1, "")
	return nil
}

// Of what is read, the value of a record, the records of a transaction, and the transactions of a partition.
const (
	isolationValue        = 1 << 10
	isolationRecords      = 200
	isolationTransactions = 300
)

// fillTransactions writes what is to be read, every tenth transaction to be aborted, and returns how many records there are, and
// how many are committed.
func (b *broker) fillTransactions(ctx context.Context) (all, committed int, err error) {
	var group errgroup.Group
	for p := range int32(isolationParts) {
		group.Go(func() error {
			tr, err := newTransactor(b.Addr, fmt.Sprint("filler-", p), p)
			if err != nil {
				return err
			}
			defer tr.cl.Close()
			tr.value = make([]byte, isolationValue)
			for i := range isolationTransactions {
				if err := tr.transact(ctx, isolationRecords, kgo.TransactionEndTry(i%10 != 0)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	all = isolationParts * isolationTransactions * isolationRecords
	return all, all / 10 * 9, group.Wait()
}

// disturb writes small transactions into the same topic until it is to end, at no great rate, so that most of the processor is
// left for what is measured.
func (b *broker) disturb(ctx context.Context) error {
	var group errgroup.Group
	for i := range isolationLoad {
		group.Go(func() error {
			tr, err := newTransactor(b.Addr, fmt.Sprint("other-", i), int32(i%isolationParts))
			if err != nil {
				return err
			}
			defer tr.cl.Close()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(20 * time.Millisecond):
				}
				if err := tr.transact(context.WithoutCancel(ctx), 1, kgo.TryCommit); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// isolationReader reads the topic from its beginning.
type isolationReader struct {
	level   kgo.IsolationLevel
	records int
	best    time.Duration // of its runs
}

// run reads until all the records have come that there were at first.
func (r *isolationReader) run(ctx context.Context, b *broker) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%d records are not read within %v", r.records, patience))
	defer cancel()
	began := time.Now()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.ConsumeTopics(topicName), kgo.FetchIsolationLevel(r.level))
	if err != nil {
		return err
	}
	defer cl.Close()
	for n := 0; n < r.records; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if len(rec.Value) == isolationValue {
				n++
			}
		})
	}
	if took := time.Since(began); r.best == 0 || took < r.best {
		r.best = took
	}
	return nil
}
