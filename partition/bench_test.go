package partition_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
	"segue/storage/record"
)

// nothing is a Log that takes everything and keeps none of it, so that what is measured is the partition.
type nothing struct {
	partition.Log
	events storage.Events
	end    atomic.Int64
}

func (n *nothing) Append(_ context.Context, epoch int32, batches ...record.Batch) (base, next record.Offset, err error) {
	base = record.Offset(n.end.Load())
	for next = base; len(batches) > 0; batches = batches[1:] {
		batches[0].SetBaseOffset(next)
		batches[0].SetLeaderEpoch(epoch)
		next = batches[0].NextOffset()
	}
	n.end.Store(int64(next))
	n.events.Committed(next)
	return base, next, nil
}

func (n *nothing) Bounds() (start, committed, end record.Offset) {
	end = record.Offset(n.end.Load())
	return 0, end, end
}

func (n *nothing) Load(context.Context, string) (record.Offset, []byte, error) {
	return 0, nil, storage.ErrNotFound
}

type nothingStore struct{ partition.Store }

func (nothingStore) Open(_ context.Context, _ storage.Identity, _ storage.Config, e storage.Events, _ storage.Keeper) (partition.Log, error) {
	return &nothing{events: e}, nil
}

func BenchmarkAppend(b *testing.B) {
	for _, bb := range []struct {
		name string
		spec logtest.Spec
	}{
		{"one record of 100 bytes", logtest.Spec{ValueBytes: 100}},
		{"idempotent", logtest.Spec{ValueBytes: 100, Producer: 1}},
		{"100 records of 1 KiB", logtest.Spec{Records: 100, ValueBytes: 1 << 10}},
		{"100 records of 1 KiB, zstd", logtest.Spec{Records: 100, ValueBytes: 1 << 10, Codec: record.Zstd}},
		{"100 records of 1 KiB, idempotent", logtest.Spec{Records: 100, ValueBytes: 1 << 10, Producer: 1}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ctx := context.Background()
			c := testConfig()
			c.Log.SegmentBytes = 1 << 30
			p, err := partition.Open(ctx, nothingStore{}, theID, 0, c, codecs())
			if err != nil {
				b.Fatal(err)
			}
			spec := bb.spec
			var ready []record.Batch
			b.SetBytes(int64(spec.Batch(b).Size()))
			b.ReportAllocs()
			for b.Loop() {
				if len(ready) == 0 {
					b.StopTimer()
					for range 500 {
						ready = append(ready, spec.Batch(b))
						spec.Sequence = record.SequenceAfter(spec.Sequence, int32(max(spec.Records, 1)))
					}
					b.StartTimer()
				}
				if _, err := p.Append(ctx, -1, ready[0], partition.Client); err != nil {
					b.Fatal(err)
				}
				ready = ready[1:]
			}
		})
	}
}

// BenchmarkTransaction has transactions of one record, beside others that stay open.
func BenchmarkTransaction(b *testing.B) {
	for _, open := range []int{0, 1000} {
		b.Run(fmt.Sprintf("%d others open", open), func(b *testing.B) {
			ctx := context.Background()
			p, err := partition.Open(ctx, nothingStore{}, theID, 0, testConfig(), codecs())
			if err != nil {
				b.Fatal(err)
			}
			begin := func(id int64, epoch int16) {
				one := []partition.Addition{{Batch: logtest.Spec{Producer: id + 1, ProducerEpoch: epoch, Transactional: true}.Batch(b)}}
				if one[0].Guard, _, err = p.Guard(one[0].Batch.Header, true); err != nil {
					b.Fatal(err)
				}
				if p.AppendAll(ctx, -1, one, partition.Client); one[0].Err != nil {
					b.Fatal(one[0].Err)
				}
			}
			for id := range open {
				begin(int64(id)+1<<40, 0)
			}
			b.ReportAllocs()
			for id := int64(0); b.Loop(); id++ {
				begin(id%100, int16(id/100%30_000))
				m := partition.Marker{ProducerID: id % 100, ProducerEpoch: int16(id / 100 % 30_000), Commit: true}
				if _, err := p.AppendMarker(ctx, -1, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkIdle says what an idle partition costs in memory.
func BenchmarkIdle(b *testing.B) {
	const partitions = 10_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := partition.NewManager(nothingStore{}, partition.ManagerOptions{Codecs: codecs()})
		openings := make([]partition.Opening, partitions)
		for i := range openings {
			openings[i] = partition.Opening{Identity: storage.Identity{Topic: "t", Partition: int32(i)}, Config: testConfig()}
		}
		if err := m.Open(context.Background(), openings, nil); err != nil {
			b.Fatal(err)
		}
		openings = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/partitions, "B/partition")
		runtime.KeepAlive(m)
	}
}

func BenchmarkGet(b *testing.B) {
	m := partition.NewManager(nothingStore{}, partition.ManagerOptions{Codecs: codecs()})
	if err := m.Open(context.Background(), topic('a', 1000), nil); err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for i := int32(0); pb.Next(); i++ {
			if _, err := m.Get([16]byte{'a'}, i%1000); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkWaiters(b *testing.B) {
	for _, watchers := range []int{0, 1, 100} {
		b.Run(fmt.Sprint(watchers), func(b *testing.B) {
			ctx := context.Background()
			p, err := partition.Open(ctx, nothingStore{}, theID, 0, testConfig(), codecs())
			if err != nil {
				b.Fatal(err)
			}
			waiters := make([]*partition.Waiter, watchers)
			for i := range waiters {
				waiters[i] = partition.NewWaiter()
			}
			batch := logtest.Spec{}.Batch(b)
			b.ReportAllocs()
			for b.Loop() {
				end := p.Offsets().HighWatermark
				for _, w := range waiters {
					p.Watch(w, end, false)
				}
				batch.SetBaseOffset(0)
				if _, err := p.Append(ctx, -1, batch, partition.Client); err != nil {
					b.Fatal(err)
				}
				for _, w := range waiters {
					<-w.C()
				}
			}
		})
	}
}

func BenchmarkReplay(b *testing.B) {
	for _, bytes := range []int{100, 10 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("batches of %d bytes", bytes), func(b *testing.B) {
			ctx := context.Background()
			store := logtest.NewMemory()
			c := testConfig()
			c.MaxMessageBytes, c.Log.SegmentBytes = 2<<20, 1<<30
			p, err := partition.Open(ctx, store, theID, 0, c, codecs())
			if err != nil {
				b.Fatal(err)
			}
			for i := range int32(64 << 20 / (bytes + 70)) {
				spec := logtest.Spec{ValueBytes: bytes, Producer: int64(i%10) + 1, Sequence: i / 10, Time: 1}
				if _, err := p.Append(ctx, -1, spec.Batch(b), partition.Client); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(p.Size())
			for b.Loop() {
				store.Log(theID).Crash(0)
				if _, err := partition.Open(ctx, store, theID, 0, c, codecs()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
