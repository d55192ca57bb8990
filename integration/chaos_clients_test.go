//go:build integration && unix

package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/history"
	"segue/storage/record"
)

// long says whether tests that can go on for any time are to do so.
func long() bool { return os.Getenv("SEGUE_LONG") == "1" }

// orLong is how often, or for how long, a test does something, and how much if it can go on for any time.
func orLong[T int | int64 | time.Duration](short, night T) T {
	if long() {
		return night
	}
	return short
}

// seeded returns where a test's random numbers come from. It is another place each time, unless SEGUE_SEED names it.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("SEGUE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEGUE_SEED=%s: it is a number", text)
		}
	}
	t.Logf("SEGUE_SEED=%d makes the same choices again", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// crowd is clients that write to topics and read them, whatever happens to the broker, and keep a history of it.
type crowd struct {
	b   *broker
	rec *history.Recorder

	rngLock sync.Mutex
	rng     *rand.Rand // every client takes its own from it

	noise   noise
	acks    atomic.Int64
	values  atomic.Uint64
	codec   *record.Decompressor
	writers group // all producers of topics that stay
	readers group // all consumers of topics that stay

	mu         sync.Mutex
	complaints []string // what clients of a sound broker would not see
}

// group is goroutines that end together.
type group struct {
	stop chan struct{}
	wait sync.WaitGroup
}

func newGroup() group { return group{stop: make(chan struct{})} }

// end makes the goroutines end, and waits for them.
func (g *group) end() {
	close(g.stop)
	g.wait.Wait()
}

// isEnding says whether they are to end.
func (g *group) isEnding() bool {
	select {
	case <-g.stop:
		return true
	default:
		return false
	}
}

// context returns one that ends with the group.
func (g *group) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-g.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func newCrowd(b *broker, rng *rand.Rand) *crowd {
	return &crowd{
		b: b, rec: history.NewRecorder(), rng: rng, codec: record.NewDecompressor(16 << 20), noise: newNoise(floodBytes),
		writers: newGroup(), readers: newGroup(),
	}
}

// random returns random numbers for one client.
func (c *crowd) random() *rand.Rand {
	c.rngLock.Lock()
	defer c.rngLock.Unlock()
	return rand.New(rand.NewPCG(c.rng.Uint64(), c.rng.Uint64()))
}

// complain notes what a sound broker gives no reason for.
func (c *crowd) complain(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.complaints = append(c.complaints, fmt.Sprintf(format, args...))
}

// awaitAcks waits until so many more records are acknowledged.
func (c *crowd) awaitAcks(t testing.TB, n int64) {
	t.Helper()
	want := c.acks.Load() + n
	eventually(t, 2*patience, fmt.Sprint(n, " more records are acknowledged"), func() bool { return c.acks.Load() >= want })
}

// check holds the history against all that is legal, and reports what is not.
func (c *crowd) check(t testing.TB) *history.Report {
	t.Helper()
	begun := time.Now()
	report := history.Check(c.rec.History())
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range c.complaints[:min(10, len(c.complaints))] {
		t.Error(text)
	}
	t.Logf("%v; checked in %v", report, time.Since(begun).Round(time.Millisecond))
	return report
}

// crowdTopic is a topic that the crowd uses.
type crowdTopic struct {
	name       string
	partitions int32
	generation int
	id         [16]byte
}

// create makes a topic while the broker may come and go.
func (c *crowd) create(ctx context.Context, name string, partitions int32, generation int, configs ...string) (crowdTopic, error) {
	adm := c.b.admin(c.b.t)
	defer adm.Close()
	settings := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		settings[configs[i]] = &configs[i+1]
	}
	for {
		r, err := adm.CreateTopic(ctx, partitions, 1, settings, name)
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) { // an answer may have been lost
			if r.ID == [16]byte{} {
				if topics, err := adm.ListTopics(ctx, name); err == nil && topics[name].Err == nil {
					r.ID = topics[name].ID
				}
			}
			if r.ID != [16]byte{} {
				return crowdTopic{name, partitions, generation, r.ID}, nil
			}
		}
		if ctx.Err() != nil {
			return crowdTopic{}, fmt.Errorf("create %s: %w", name, err)
		}
	}
}

// delete removes a topic while the broker may come and go.
func (c *crowd) delete(ctx context.Context, topic crowdTopic) error {
	adm := c.b.admin(c.b.t)
	defer adm.Close()
	for {
		_, err := adm.DeleteTopic(ctx, topic.name)
		if err == nil || errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("delete %s: %w", topic.name, err)
		}
	}
}

// partition returns the number of a partition in the history.
func (c *crowd) partition(t crowdTopic, index int32) int32 {
	return c.rec.Partition(history.Partition{Topic: t.name, Generation: t.generation, Index: index})
}

// noise is bytes out of which the contents of records are cut.
type noise []byte

// noiseStarts is how many different cuts there are of each size.
const noiseStarts = 4 << 10

func newNoise(longest int) noise {
	n := make(noise, noiseStarts+longest)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		n[i] = byte(rng.IntN(64)) // codecs find something to do
	}
	return n
}

// payload is the content of a record: its value, and bytes that follow from it.
func (n noise) payload(v history.Value, size int) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+size), uint64(v))
	start := int(v % noiseStarts)
	return append(b, n[start:start+size]...)
}

// valueOf is the inverse of payload.
func (n noise) valueOf(b []byte) history.Value {
	if len(b) < 8 {
		return history.Garbled
	}
	v := history.Value(binary.BigEndian.Uint64(b))
	start, size := int(v%noiseStarts), len(b)-8
	if size > len(n)-noiseStarts || !bytes.Equal(b[8:], n[start:start+size]) {
		return history.Garbled
	}
	return v
}

// writing is how a producer writes.
type writing struct {
	name     string
	delivery history.Delivery
	opts     []kgo.Opt
	burst    int  // records every 10 ms, at most; half as many on average
	flushing bool // it flushes by hand, now and then
	size     int  // bytes of a record, at most
}

// writings are producers of all sorts.
func writings() []writing {
	plain := kgo.DisableIdempotentWrite()
	codec := func(c ...kgo.CompressionCodec) kgo.Opt { return kgo.ProducerBatchCompression(c...) }
	return []writing{
		{name: "idempotent", opts: []kgo.Opt{codec(kgo.NoCompression()), kgo.ProducerLinger(0)}, burst: 6, size: 1500},
		{name: "all", delivery: history.AtLeastOnce, opts: []kgo.Opt{plain, codec(kgo.SnappyCompression())}, burst: 6, size: 400},
		{name: "leader", delivery: history.AtLeastOnce, opts: []kgo.Opt{plain, kgo.RequiredAcks(kgo.LeaderAck()), codec(kgo.ZstdCompression())}, burst: 6, size: 700},
		{name: "none", delivery: history.AtMostOnce, opts: []kgo.Opt{plain, kgo.RequiredAcks(kgo.NoAck()), codec(kgo.NoCompression())}, burst: 4, size: 300},
		{name: "idempotent-lz4", opts: []kgo.Opt{codec(kgo.Lz4Compression()), kgo.ProducerLinger(30 * time.Millisecond)}, burst: 6, size: 300},
		{name: "idempotent-gzip", opts: []kgo.Opt{codec(kgo.GzipCompression()), kgo.ManualFlushing(), kgo.ProducerBatchMaxBytes(20_000)},
			burst: 6, size: 300, flushing: true},
	}
}

// write has a producer write to a topic until the group ends. Then it sees to it that everything is answered, or, if it is
// to abandon the topic, lets go of what is not.
func (c *crowd) write(g *group, topic crowdTopic, w writing, abandon bool) {
	cl := c.b.client(c.b.t, append([]kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(200),
	}, w.opts...)...)
	book, rng := c.rec.Client(w.name+" to "+topic.name, w.delivery), c.random()
	ctx, cancel := context.Background(), func() {}
	if abandon {
		ctx, cancel = g.context()
	}
	produce := func() {
		p, at := rng.Int32N(topic.partitions), time.Now().Add(time.Duration(rng.IntN(100)-50)*time.Millisecond)
		v := history.Value(c.values.Add(1))
		op := book.Begin(history.Op{Kind: history.Send, Partition: c.partition(topic, p), Value: v, Time: at.UnixMilli(), Offset: history.Nowhere})
		r := &kgo.Record{Topic: topic.name, Partition: p, Value: c.noise.payload(v, rng.IntN(w.size)), Timestamp: at}
		cl.Produce(ctx, r, func(r *kgo.Record, err error) { // waits while 200 are on their way
			switch {
			case err == nil && w.delivery != history.AtMostOnce:
				op.End(history.OK, r.Offset)
				c.acks.Add(1)
			case err != nil && w.delivery != history.AtMostOnce && !abandon:
				c.complain("%s to %s: a record failed: %v", w.name, topic.name, err)
			}
		})
	}
	g.wait.Go(func() {
		defer cl.Close()
		defer cancel()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for !g.isEnding() {
			<-tick.C
			for n := rng.IntN(w.burst + 1); n > 0; n-- {
				produce()
			}
			if w.flushing && (rng.IntN(5) == 0 || cl.BufferedProduceRecords() > 100) {
				ctx, cancel := g.context()
				_ = cl.Flush(ctx) // it ends early only if all is to end
				cancel()
			}
		}
		if abandon {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		if err := cl.Flush(ctx); err != nil {
			c.complain("%s to %s: %d records are not answered: %v", w.name, topic.name, cl.BufferedProduceRecords(), err)
		}
	})
}

// refused sends, now and then, batches that the broker must refuse.
func (c *crowd) refused(g *group, topic crowdTopic) {
	a, book, rng := c.asker(), c.rec.Client("refused by "+topic.name, history.AtLeastOnce), c.random()
	g.wait.Go(func() {
		defer a.cl.Close()
		ctx, cancel := g.context()
		defer cancel()
		for pass(g.stop, time.Duration(rng.IntN(100))*time.Millisecond) {
			p, v := rng.Int32N(topic.partitions), history.Value(c.values.Add(1))
			op := book.Begin(history.Op{Kind: history.Send, Partition: c.partition(topic, p), Value: v, Time: history.Nowhere, Offset: history.Nowhere})
			batch := record.NewBuilder(0)
			batch.Add(time.Now().UnixMilli(), nil, c.noise.payload(v, 100))
			built, err := batch.Build()
			if err != nil {
				c.complain("build a batch: %v", err)
				return
			}
			built.Bytes()[len(built.Bytes())-1] ^= 0xff // its checksum is wrong now
			req := produceRequest(topic.name, p, -1, built)
			req.Topics[0].TopicID = topic.id
			resp, err := a.cl.SeedBrokers()[0].Request(ctx, req)
			if err != nil {
				continue
			}
			if code := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code == 0 {
				c.complain("a batch with a wrong checksum was taken, value %#x", uint64(v))
			}
			op.End(history.Failed, history.Nowhere)
		}
	})
}

// pass lets some time go by, whatever happens meanwhile, and says whether it has: the moment of a fault is to be any.
func pass(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}
