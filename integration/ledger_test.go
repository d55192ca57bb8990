//go:build integration && unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ledger has producers write to a topic, remembers what was acknowledged to them, and compares that with what the topic
// holds in the end.
type ledger struct {
	topic      string
	partitions int32

	acks    atomic.Int64
	stopped chan struct{}
	running sync.WaitGroup
	writers []*writer

	mu     sync.Mutex // guards what follows
	acked  map[string]place
	failed []error
}

// place is where a record was said to be.
type place struct {
	partition int32
	offset    int64
}

// delivery is what a producer asks for.
type delivery struct {
	name       string
	idempotent bool // no record twice
	opts       []kgo.Opt
}

// deliveries are those that promise to lose nothing.
func deliveries() []delivery {
	return []delivery{
		{"idempotent", true, nil},
		{"all", false, []kgo.Opt{kgo.DisableIdempotentWrite()}},
		{"leader", false, []kgo.Opt{kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck())}},
	}
}

// writer is one producer.
type writer struct {
	delivery
	client *kgo.Client
}

func newLedger(topic string, partitions int32) *ledger {
	return &ledger{topic: topic, partitions: partitions, stopped: make(chan struct{}), acked: map[string]place{}}
}

// run starts a producer, which writes to all partitions in turn until finish is called. Its name is its own.
func (l *ledger) run(t testing.TB, b *broker, name string, d delivery) {
	t.Helper()
	d.name = name
	w := &writer{delivery: d, client: b.client(t, append([]kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(200),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	}, d.opts...)...)}
	l.writers = append(l.writers, w)
	l.running.Go(func() {
		for n := 0; !l.isStopped(); n++ {
			p := int32(n) % l.partitions
			value := fmt.Sprintf("%s/%d/%d/%s", name, p, n, strings.Repeat("x", rand.IntN(2000)))
			// It blocks while 200 records are on their way.
			w.client.Produce(context.Background(), &kgo.Record{Topic: l.topic, Partition: p, Value: []byte(value)}, l.note)
		}
	})
}

func (l *ledger) isStopped() bool {
	select {
	case <-l.stopped:
		return true
	default:
		return false
	}
}

// note takes what became of a record.
func (l *ledger) note(r *kgo.Record, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = append(l.failed, fmt.Errorf("%.40s: %w", r.Value, err))
		return
	}
	l.acked[string(r.Value)] = place{r.Partition, r.Offset}
	l.acks.Add(1)
}

// awaitAcks waits until so many more records are acknowledged.
func (l *ledger) awaitAcks(t testing.TB, n int64) {
	t.Helper()
	want := l.acks.Load() + n
	eventually(t, 2*patience, fmt.Sprint(n, " more records are acknowledged"), func() bool { return l.acks.Load() >= want })
}

// highest returns, for each partition, the offset after the last that was acknowledged.
func (l *ledger) highest() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ends := make([]int64, l.partitions)
	for _, p := range l.acked {
		ends[p.partition] = max(ends[p.partition], p.offset+1)
	}
	return ends
}

// finish stops the producers when all that they have begun is acknowledged.
func (l *ledger) finish(t testing.TB) {
	t.Helper()
	close(l.stopped)
	l.running.Wait()
	for _, w := range l.writers {
		if err := w.client.Flush(within(t, 2*patience)); err != nil {
			t.Errorf("producer %s: %v", w.name, err)
		}
		w.client.Close()
	}
	if l.failed != nil { // the producers try again for ever, so none of their records should fail
		t.Errorf("%d records failed, the first ones: %v", len(l.failed), errors.Join(l.failed[:min(5, len(l.failed))]...))
	}
}

// check reads the topic and compares: no acknowledged record is missing or elsewhere, none is there twice that an
// idempotent producer wrote, each producer's records are in the order in which it wrote them, and offsets are dense.
func (l *ledger) check(t testing.TB, b *broker) {
	t.Helper()
	idempotent := map[string]bool{}
	for _, w := range l.writers {
		idempotent[w.name] = w.idempotent
	}
	seen := map[string][]int64{} // offsets by value
	total := 0
	for p := range l.partitions {
		last := map[string]int{} // number of the last record, by producer
		for i, r := range b.consumePartition(t, l.topic, p) {
			total++
			if r.Offset != int64(i) {
				t.Fatalf("partition %d: record %d is at %d", p, i, r.Offset)
			}
			name, n, err := parseValue(string(r.Value), p)
			if err != nil {
				t.Fatalf("partition %d at %d: %v", p, r.Offset, err)
			}
			before := seen[string(r.Value)]
			seen[string(r.Value)] = append(before, r.Offset)
			switch previous, any := last[name]; {
			case len(before) > 0 && idempotent[name]:
				t.Errorf("partition %d: record %d of %s is at %d and at %d", p, n, name, before[0], r.Offset)
			case len(before) == 0 && any && n < previous:
				t.Errorf("partition %d at %d: record %d of %s after its record %d", p, r.Offset, n, name, previous)
			}
			last[name] = max(last[name], n)
		}
		epoch := int32(0)
		for _, batch := range b.batches(t, l.topic, p) {
			if e := batch.LeaderEpoch(); e < epoch || e > int32(b.starts) {
				t.Errorf("partition %d: the batch at %d has epoch %d after %d, start is %d", p, batch.BaseOffset(), e, epoch, b.starts)
			}
			epoch = batch.LeaderEpoch()
		}
	}
	lost, moved := 0, 0
	for value, at := range l.acked {
		offsets := seen[value]
		switch {
		case len(offsets) == 0:
			lost++
		case !slices.Contains(offsets, at.offset):
			moved++
		}
	}
	if lost > 0 || moved > 0 {
		t.Errorf("of %d acknowledged records %d are lost and %d are elsewhere", len(l.acked), lost, moved)
	}
	t.Logf("%d records acknowledged, %d in the topic, %d starts", len(l.acked), total, b.starts)
}

// parseValue takes the value of a record apart: who wrote it, and as which of its records.
func parseValue(value string, partition int32) (name string, n int, err error) {
	parts := strings.SplitN(value, "/", 4)
	if len(parts) != 4 || parts[1] != fmt.Sprint(partition) || strings.Trim(parts[3], "x") != "" {
		return "", 0, fmt.Errorf("not a record of ours: %.40q", value)
	}
	n, err = strconv.Atoi(parts[2])
	return parts[0], n, err
}

// tail reads a topic as it grows, through everything that happens to the broker.
type tail struct {
	stop    context.CancelFunc
	done    chan struct{}
	records [][]*kgo.Record // by partition
	err     error
}

// follow begins to read all partitions from their start.
func follow(t testing.TB, b *broker, topic string, partitions int32) *tail {
	t.Helper()
	starts := map[int32]kgo.Offset{}
	for p := range partitions {
		starts[p] = kgo.NewOffset().AtStart()
	}
	cl := b.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}), kgo.FetchMaxWait(200*time.Millisecond))
	ctx, stop := context.WithCancel(context.Background())
	f := &tail{stop: stop, done: make(chan struct{}), records: make([][]*kgo.Record, partitions)}
	t.Cleanup(stop)
	go func() {
		defer close(f.done)
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			fetches.EachError(func(_ string, p int32, err error) {
				var dataLoss *kgo.ErrDataLoss
				if errors.As(err, &dataLoss) { // what the client has seen is not there any more
					f.err = fmt.Errorf("partition %d: %w", p, err)
				}
			})
			fetches.EachRecord(func(r *kgo.Record) { f.records[r.Partition] = append(f.records[r.Partition], r) })
		}
	}()
	return f
}

// check stops the reader. What it has been given must be what the topic holds, from the start and without a gap: nobody
// may be shown what is then lost.
func (f *tail) check(t testing.TB, b *broker, topic string) {
	t.Helper()
	f.stop()
	<-f.done
	if f.err != nil {
		t.Errorf("a consumer was told: %v", f.err)
	}
	for p, followed := range f.records {
		records := b.consumePartition(t, topic, int32(p))
		if len(followed) > len(records) || len(followed) == 0 {
			t.Fatalf("partition %d: a consumer was given %d records of %d", p, len(followed), len(records))
		}
		for i, r := range followed {
			if r.Offset != int64(i) || string(r.Value) != string(records[i].Value) {
				t.Fatalf("partition %d: record %d that a consumer was given was %.40q at %d, and is now %.40q",
					p, i, r.Value, r.Offset, records[i].Value)
			}
		}
	}
}
