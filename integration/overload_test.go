//go:build integration && unix

package integration

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/integration/history"
	"segue/storage/record"
)

const (
	floodConnections = 128
	floodInFlight    = 1        // requests of each
	floodRecords     = 16       // of a batch
	floodBytes       = 65_000   // of a record, so that a batch is as large as the default allows
	floodPartitions  = 8        //
	slowReaders      = 8        // consumers that take what they are sent far more slowly than it comes
	diskRate         = 48 << 20 // bytes a second of the slow disk

	// requestBudget is a quarter of what the producers send at a time. The broker may have so much of it in memory, once
	// more what the collector has not come to yet, and what a process takes.
	requestBudget  = floodConnections * floodInFlight << 20 / 4
	overloadMemory = 2*requestBudget + 32<<20
)

// slowDisk makes a broker whose disk takes no more than diskRate, and blocks who writes when 64 MiB wait to be written.
func slowDisk(t *testing.T) (binary string) {
	t.Helper()
	return buildEdited(t,
		edit{"storage/vfs/os_file.go", "\t\"sync/atomic\"\n", "\t\"sync\"\n\t\"sync/atomic\"\n\t\"time\"\n"},
		edit{"storage/vfs/os_file.go", "\tn, err := f.file.WriteAt(p, off)\n", "\tn, err := f.file.WriteAt(p, off)\n\tdisk.write(n)\n"},
		edit{"storage/vfs/os_file.go", "\treturn sysFull(pathError(\"sync\", f.Name(), sysDataSync(f.file)))\n",
			"\tdisk.sync()\n\treturn sysFull(pathError(\"sync\", f.Name(), sysDataSync(f.file)))\n"},
		edit{"storage/vfs/os_file.go", "// osFile is a File of the operating system.\n", `
type slow struct {
	head  sync.Mutex
	dirty atomic.Int64
}

var disk slow

func (d *slow) write(n int) {
	for d.dirty.Add(int64(n)) > 64<<20 {
		n = 0
		time.Sleep(time.Millisecond)
	}
}

func (d *slow) sync() {
	d.head.Lock()
	defer d.head.Unlock()
	time.Sleep(time.Duration(d.dirty.Swap(0)) * time.Second / (48 << 20))
}

// osFile is a File of the operating system.
`})
}

// TestOverload: producers that are faster than the disk are slowed down, and nothing else happens: the broker's memory
// is bounded, whoever asks for little is answered within the time that any request has, consumers that are slow harm
// nobody, and all that was acknowledged is there.
func TestOverload(t *testing.T) {
	for _, test := range []struct {
		name string
		slow bool
		time time.Duration
	}{
		{"a slow disk", true, orLong(5*time.Second, 150*time.Second)},
		{"this disk", false, orLong(time.Second, 15*time.Second)},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBroker(t, onlyByRequest, fmt.Sprint("queued.max.request.bytes=", requestBudget), "socket.request.max.bytes=16777216")
			if test.slow {
				b.binary = slowDisk(t)
			}
			b.launch()
			c := newCrowd(b, seeded(t))
			topic, err := c.create(within(t, patience), "t", floodPartitions, 0)
			if err != nil {
				t.Fatal(err)
			}
			probes := c.probe(topic)
			c.awaitProbes(t, probes, 200)
			idle := probes.take()
			start := peakMemory(b.run.cmd.Process.Pid)

			overload := c.rec.Fault(history.Overload)
			f := c.flood(topic)
			for range slowReaders {
				c.lag(topic)
			}
			begun := time.Now()
			pass(nil, test.time)
			loaded := probes.take()
			c.writers.end()
			took, sent := time.Since(begun), f.acked.Load()
			overload.End(history.OK, history.Nowhere)
			peak := peakMemory(b.run.cmd.Process.Pid)
			if _, err := c.drain(within(t, 4*patience), topic); err != nil {
				t.Error(err)
			}
			c.readers.end()
			c.check(t)
			t.Logf("%d MiB acknowledged in %v (%.0f MiB/s), %d errors that ask for another attempt; each request waited %v on average",
				sent>>20, took.Round(100*time.Millisecond), float64(sent)/took.Seconds()/(1<<20), f.retriable.Load(), f.wait())
			t.Logf("memory: %d MiB before, %d MiB at most", start>>20, peak>>20)
			for _, kind := range slices.Sorted(maps.Keys(idle)) {
				t.Logf("%s: idle %v, loaded %v", kind, summary(idle[kind]), summary(loaded[kind]))
				// How long the answers took is told and not judged: a prober waits for one answer before it asks again, so
				// that a long wait is a single figure among many, and on a busy machine sound brokers have such waits too.
				if len(loaded[kind]) == 0 {
					t.Errorf("%s: never answered", kind)
				}
			}
			if peak > overloadMemory && !raceEnabled() {
				t.Errorf("the broker had %d MiB of memory, want no more than %d", peak>>20, overloadMemory>>20)
			}
			if rate := float64(sent) / took.Seconds(); rate == 0 || test.slow && rate > 1.5*diskRate {
				t.Errorf("%.0f bytes a second were acknowledged, and the disk takes %d", rate, diskRate)
			}
		})
	}
}

// flooding is producers that write as fast as they can.
type flooding struct {
	acked     atomic.Int64 // bytes
	retriable atomic.Int64 // answers
	requests  atomic.Int64 // answered
	waited    atomic.Int64 // nanoseconds, of all requests together
}

// wait is how long a request took on average.
func (f *flooding) wait() time.Duration {
	return time.Duration(f.waited.Load() / max(1, f.requests.Load())).Round(time.Millisecond)
}

// flood has producers write to a topic on many connections.
func (c *crowd) flood(topic crowdTopic) *flooding {
	f := &flooding{}
	for i := range floodConnections {
		a := c.asker()
		var users sync.WaitGroup
		for range floodInFlight {
			book, p := c.rec.Client("floods", history.AtLeastOnce), int32(i%floodPartitions)
			number := c.partition(topic, p)
			users.Add(1)
			c.writers.wait.Go(func() {
				defer users.Done()
				for !c.writers.isEnding() {
					if !c.floodOnce(f, a, book, topic, p, number) {
						return
					}
				}
			})
		}
		c.writers.wait.Go(func() { users.Wait(); a.cl.Close() })
	}
	return f
}

// floodOnce sends a batch to a partition, which has that number in the history, and waits for the answer. It says whether to go on.
func (c *crowd) floodOnce(f *flooding, a *asker, book *history.Client, topic crowdTopic, p, number int32) bool {
	builder := record.NewBuilder(0)
	var ops []history.Pending
	for range floodRecords {
		v, at := history.Value(c.values.Add(1)), time.Now().UnixMilli()
		builder.Add(at, nil, c.noise.payload(v, floodBytes))
		ops = append(ops, book.Begin(history.Op{Kind: history.Send, Partition: number, Value: v, Time: at, Offset: history.Nowhere}))
	}
	batch, err := builder.Build()
	if err != nil {
		c.complain("build a batch: %v", err)
		return false
	}
	req := produceRequest(topic.name, p, 1, batch)
	req.Topics[0].TopicID = topic.id
	begun := time.Now()
	resp, err := a.request(context.Background(), req)
	if err != nil {
		c.complain("a producer was not answered: %v", err)
		return false
	}
	f.waited.Add(int64(time.Since(begun)))
	f.requests.Add(1)
	got := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	switch err := kerr.ErrorForCode(got.ErrorCode); {
	case err == nil:
		for i, op := range ops {
			op.End(history.OK, got.BaseOffset+int64(i))
		}
		f.acked.Add(int64(batch.Size()))
	case kerr.IsRetriable(err):
		f.retriable.Add(1)
	default:
		c.complain("a producer was answered: %v", err)
		return false
	}
	return true
}

// lag has a consumer read a topic that grows faster than it reads: it asks for much and takes it in small pieces.
func (c *crowd) lag(topic crowdTopic) {
	a, rng := c.asker(), c.random()
	a.book = c.rec.Client("lags", 0)
	slow, p := c.b.dial(c.b.t), rng.Int32N(topic.partitions)
	c.readers.wait.Go(func() {
		defer a.cl.Close()
		ctx, cancel := c.readers.context()
		defer cancel()
		slow.send(fetchRequest(17, 0, 1, wanted{topic.name, topic.id, p, 0}))
		piece := make([]byte, 4<<10)
		at := int64(0)
		for pass(c.readers.stop, 100*time.Millisecond) {
			slow.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, _ = slow.conn.Read(piece) // of an answer of many MiB
			if op, err := a.fetch(ctx, topic, p, at, 1<<20, 0); err == nil && len(op.Records) > 0 {
				at = op.Records[len(op.Records)-1].Offset + 1
			}
		}
	})
}

// probing is small requests, and how long their answers took.
type probing struct {
	mu   sync.Mutex
	took map[string][]time.Duration
}

// take returns what has been measured since it was called last.
func (p *probing) take() map[string][]time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := p.took
	p.took = map[string][]time.Duration{}
	return took
}

// probe sends small requests all along, each kind on a connection of its own.
func (c *crowd) probe(topic crowdTopic) *probing {
	p := &probing{took: map[string][]time.Duration{}}
	for name, ask := range map[string]func(context.Context, *asker) error{
		"ApiVersions": func(ctx context.Context, a *asker) error {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion = "probe", "1"
			_, err := a.request(ctx, req)
			return err
		},
		"Metadata": func(ctx context.Context, a *asker) error {
			_, err := a.request(ctx, metadataRequest(12, false, topic.name))
			return err
		},
		"ListOffsets": func(ctx context.Context, a *asker) error {
			_, err := a.latest(ctx, topic, 0)
			return err
		},
		unrelated: echo(c.b.t),
	} {
		a := c.asker()
		a.book = c.rec.Client("probes "+name, 0)
		c.readers.wait.Go(func() {
			defer a.cl.Close()
			ctx, cancel := c.readers.context()
			defer cancel()
			for pass(c.readers.stop, 10*time.Millisecond) {
				begun := time.Now()
				if err := ask(ctx, a); err != nil {
					if ctx.Err() == nil {
						c.complain("%s: %v", name, err)
					}
					return
				}
				took := time.Since(begun)
				p.mu.Lock()
				p.took[name] = append(p.took[name], took)
				p.mu.Unlock()
			}
		})
	}
	return p
}

// unrelated is the kind of request that the broker has nothing to do with: it tells what the machine itself, and this
// process, take for an answer while they are so busy.
const unrelated = "no broker"

// echo returns a request over a connection of this process with itself.
func echo(t testing.TB) func(context.Context, *asker) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		l.Close()
		<-done
	})
	message := make([]byte, 64)
	return func(context.Context, *asker) error {
		_, err := conn.Write(message)
		if err == nil {
			_, err = io.ReadFull(conn, message)
		}
		return err
	}
}

// awaitProbes waits until there are so many answers of each kind.
func (c *crowd) awaitProbes(t testing.TB, p *probing, n int) {
	t.Helper()
	eventually(t, patience, fmt.Sprint(n, " small requests of each kind are answered"), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, took := range p.took {
			if len(took) < n {
				return false
			}
		}
		return len(p.took) == 4
	})
}

// quantile returns the time that so many in a hundred do not exceed.
func quantile(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[(len(sorted)-1)*percent/100]
}

func summary(times []time.Duration) string {
	return fmt.Sprintf("%d answers, p50 %v, p99 %v, longest %v", len(times), quantile(times, 50).Round(time.Microsecond),
		quantile(times, 99).Round(time.Microsecond), quantile(times, 100).Round(time.Microsecond))
}
