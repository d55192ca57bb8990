//go:build integration && unix

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// transact writes values into partitions of a topic, round and round, in a transaction of a client.
func transact(t testing.TB, cl *kgo.Client, topic string, partitions int32, how kgo.TransactionEndTry, values ...string) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		produce(t, cl, &kgo.Record{Topic: topic, Partition: int32(i) % partitions, Value: []byte(v)})
	}
	if err := cl.EndTransaction(within(t, 2*patience), how); err != nil {
		t.Fatalf("end a transaction of %v: %v", values, err)
	}
}

// committed returns the values that a reader of committed data finds in a topic, in order of partitions and offsets, up to
// where it ends now.
func (b *broker) committed(t testing.TB, topic string, partitions int32) (values []string) {
	t.Helper()
	for p := range partitions {
		_, end := b.offsets(t, topic, p)
		at := map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().AtStart()}}
		cl := b.client(t, kgo.ConsumePartitions(at), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
		for next := int64(0); next < end; {
			for _, r := range poll(t, cl, 1) {
				next = r.Offset + 1
				if !r.Attrs.IsControl() {
					values = append(values, string(r.Value))
				}
			}
		}
		cl.Close()
	}
	return values
}

// TestTransactions: what is committed is read, what is aborted is not, over several partitions, in each version, and a kill of
// the broker changes nothing about either.
func TestTransactions(t *testing.T) {
	b := start(t)
	for _, version := range []int16{2, 1, 0} {
		b.setTransactionVersion(t, version)
		topic := fmt.Sprintf("in-version-%d", version)
		b.createTopic(t, topic, 3)
		cl := b.client(t, kgo.TransactionalID("tx-"+topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		transact(t, cl, topic, 3, kgo.TryCommit, "a", "b", "c", "d")
		transact(t, cl, topic, 3, kgo.TryAbort, "no", "no", "no")
		transact(t, cl, topic, 3, kgo.TryCommit, "e", "f", "g")
		b.crash()
		transact(t, cl, topic, 3, kgo.TryAbort, "no")
		transact(t, cl, topic, 3, kgo.TryCommit, "h")
		got := b.committed(t, topic, 3)
		if slices.Sort(got); strings.Join(got, "") != "abcdefgh" {
			t.Errorf("version %d: committed are %v", version, got)
		}
	}
}

// TestTransactionalChain: consume, transform, produce, with offsets in the transaction: each input is in the output once, though
// half of the transactions are aborted and the broker is killed.
func TestTransactionalChain(t *testing.T) {
	b := start(t)
	b.createTopic(t, "in", 2)
	b.createTopic(t, "out", 2)
	const n = 200
	in := b.client(t)
	for i := range n {
		produce(t, in, &kgo.Record{Topic: "in", Key: []byte{byte(i)}, Value: fmt.Append(nil, i)})
	}
	s, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(b.addr), kgo.TransactionalID("chain"), kgo.ConsumerGroup("chain"), kgo.ConsumeTopics("in"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MaxConcurrentFetches(1), kgo.FetchMaxBytes(512), kgo.AlwaysRetryEOF(), kgo.MetadataMinAge(50*time.Millisecond),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := within(t, 6*patience)
	for done, round := 0, 0; done < n; round++ {
		fetches := s.PollRecords(ctx, 10)
		if ctx.Err() != nil {
			t.Fatalf("after %d of %d records: %v", done, n, ctx.Err())
		}
		records := fetches.Records()
		if len(records) == 0 {
			continue
		}
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			s.Produce(ctx, &kgo.Record{Topic: "out", Key: r.Key, Value: r.Value}, nil)
		}
		if round == 4 {
			b.crash()
		}
		ended, err := s.End(ctx, kgo.TransactionEndTry(round%2 == 0))
		if err != nil {
			t.Fatal(err)
		}
		if ended {
			done += len(records)
		}
	}
	got := b.committed(t, "out", 2)
	if slices.Sort(got); len(got) != n || len(slices.Compact(got)) != n {
		t.Errorf("%d values came out, %d different ones; %d went in", len(got), len(slices.Compact(got)), n)
	}
}

// TestSeeTransactions: the tools see a transaction that is open, and what an administrator aborts with markers is over.
func TestSeeTransactions(t *testing.T) {
	b := start(t)
	b.createTopic(t, "t", 1)
	cl := b.client(t, kgo.TransactionalID("tx"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, &kgo.Record{Topic: "t", Value: []byte("v")})
	adm := b.admin(t)
	ctx := within(t, patience)
	listed, err := adm.ListTransactions(ctx, nil, []string{"Ongoing"})
	if err != nil || len(listed) != 1 || listed["tx"].State != "Ongoing" {
		t.Fatalf("%v, %v", listed, err)
	}
	described, err := adm.DescribeTransactions(ctx, "tx")
	if err != nil || described["tx"].State != "Ongoing" || !described["tx"].Topics.Lookup("t", 0) {
		t.Fatalf("%+v, %v", described, err)
	}
	producers, err := adm.DescribeProducers(ctx, kadm.TopicsSet{"t": {0: {}}})
	if err != nil {
		t.Fatal(err)
	}
	active := producers["t"].Partitions[0].ActiveProducers.Sorted()
	if len(active) != 1 || active[0].CurrentTxnStartOffset != 0 || active[0].ProducerID != described["tx"].ProducerID {
		t.Fatalf("%+v", active)
	}
	stable, err := adm.ListCommittedOffsets(ctx, "t")
	if o, ok := stable.Lookup("t", 0); err != nil || !ok || o.Offset != 0 {
		t.Errorf("the last stable offset is %+v, %v", o, err)
	}
	if err := cl.EndTransaction(context.WithoutCancel(ctx), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the transaction is complete", func() bool {
		described, err := adm.DescribeTransactions(ctx, "tx")
		return err == nil && described["tx"].State == "CompleteCommit"
	})
}
