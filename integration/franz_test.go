//go:build integration && unix

package integration

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// client returns a franz-go client, which is closed at the test's end. It looks for a broker that has gone more often
// than it would by default, and does not take one that ends while it connects for one that speaks TLS.
func (b *broker) client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(b.options(opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// options are those of every client, and some more.
func (b *broker) options(opts ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(b.addr),
		kgo.AllowAutoTopicCreation(),
		kgo.AlwaysRetryEOF(),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}, opts...)
}

// admin returns a franz-go admin client.
func (b *broker) admin(t testing.TB) *kadm.Client {
	t.Helper()
	return kadm.NewClient(b.client(t))
}

// createTopic creates a topic with configs, given as name and value in turn.
func (b *broker) createTopic(t testing.TB, topic string, partitions int32, configs ...string) {
	t.Helper()
	settings := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		settings[configs[i]] = &configs[i+1]
	}
	adm := b.admin(t)
	defer adm.Close()
	if _, err := adm.CreateTopic(within(t, patience), partitions, 1, settings, topic); err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
}

// produce sends records and waits until all are acknowledged.
func produce(t testing.TB, cl *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := cl.ProduceSync(within(t, 2*patience), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consume returns the first n records of a topic, as they come.
func (b *broker) consume(t testing.TB, topic string, n int) []*kgo.Record {
	t.Helper()
	cl := b.client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	return poll(t, cl, n)
}

// poll takes n records from a consumer, or more if they come together.
func poll(t testing.TB, cl *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(records), n, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// consumePartition returns all records of a partition, from its start to where it ends now.
func (b *broker) consumePartition(t testing.TB, topic string, partition int32) []*kgo.Record {
	t.Helper()
	first, end := b.offsets(t, topic, partition)
	if first == end {
		return nil
	}
	cl := b.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(first)}}))
	defer cl.Close()
	var records []*kgo.Record
	for len(records) == 0 || records[len(records)-1].Offset < end-1 {
		records = append(records, poll(t, cl, 1)...)
	}
	return records
}

// offsets returns the first offset of a partition and the one after its last.
func (b *broker) offsets(t testing.TB, topic string, partition int32) (first, end int64) {
	t.Helper()
	adm := b.admin(t)
	defer adm.Close()
	ctx := within(t, patience)
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	s, ok1 := starts.Lookup(topic, partition)
	e, ok2 := ends.Lookup(topic, partition)
	if !ok1 || !ok2 {
		t.Fatalf("no offsets of %s-%d", topic, partition)
	}
	return s.Offset, e.Offset
}
