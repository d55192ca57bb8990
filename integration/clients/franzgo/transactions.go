package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func (d driver) transact(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var cl *kgo.Client
	defer func() {
		if cl != nil {
			cl.Close()
		}
	}()
	for i, until := 0, untilInputEnds(ctx); until.Err() == nil; i++ {
		if cl == nil {
			var err error
			if cl, err = d.client(kgo.TransactionalID(d.args["id"])); err != nil {
				return err
			}
		}
		commit := kgo.TransactionEndTry(i%3 != 2)
		if err := d.transaction(ctx, cl, i, commit); err != nil {
			fmt.Fprintln(os.Stderr, "transaction", i, err)
			cl.Close() // the next one with this id has what is open aborted
			cl = nil
			continue
		}
		value := fmt.Sprint("a", i)
		if commit {
			value = fmt.Sprint("c", i)
		}
		if err := d.out.Encode(line{Value: value}); err != nil {
			return err
		}
		<-tick.C
	}
	return nil
}

// transaction writes what is in one transaction, and ends it.
func (d driver) transaction(ctx context.Context, cl *kgo.Client, i int, commit kgo.TransactionEndTry) error {
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	var records []*kgo.Record
	for j := range 3 {
		records = append(records, &kgo.Record{Topic: d.args["topic"], Key: fmt.Append(nil, j), Value: fmt.Appendf(nil, "t%d.%d", i, j)})
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	return cl.EndTransaction(ctx, commit)
}

func (d driver) transform(ctx context.Context) error {
	until := untilInputEnds(ctx)
	for until.Err() == nil {
		s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(d.broker), kgo.TransactionalID(d.args["id"]), kgo.ConsumeTopics(d.args["topic"]),
			kgo.ConsumerGroup(d.args["group"]), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		if err != nil {
			return err
		}
		err = d.transforming(until, s)
		s.Close()
		if err != nil {
			fmt.Fprintln(os.Stderr, "transform:", err)
		}
	}
	return nil
}

// transforming has one transaction after the other until something is wrong, or all is to end.
func (d driver) transforming(until context.Context, s *kgo.GroupTransactSession) error {
	ctx := context.WithoutCancel(until)
	for {
		fetches := s.PollRecords(until, 100)
		if until.Err() != nil {
			return nil
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := s.Begin(); err != nil {
			return err
		}
		var records []*kgo.Record
		for r := range fetches.RecordsAll() {
			records = append(records, &kgo.Record{Topic: d.args["to"], Key: r.Key, Value: append([]byte("="), r.Value...)})
		}
		sent := s.ProduceSync(ctx, records...).FirstErr()
		if _, err := s.End(ctx, kgo.TransactionEndTry(sent == nil)); err != nil { // what is aborted is polled again
			return err
		}
	}
}
