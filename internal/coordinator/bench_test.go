package coordinator_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"segue/internal/coordinator"
	"segue/partition"
	"segue/storage"
	"segue/storage/record"
)

// offsets is a machine as cheap as one can be that writes down, with each command, about what a committed offset takes.
type offsets struct{ committed map[int32]int64 }

func newOffsets(int32) coordinator.Machine[int32] { return &offsets{map[int32]int64{}} }

func (o *offsets) Handle(now time.Time, t coordinator.Token, group int32) coordinator.Effects {
	o.committed[group]++
	record := coordinator.Record{Key: make([]byte, 40), Value: make([]byte, 30)}
	binary.BigEndian.PutUint32(record.Key, uint32(group))
	return coordinator.Effects{
		Records: []coordinator.Record{record}, Replies: []coordinator.Reply{{To: t}}, Deadline: now.Add(time.Minute),
	}
}
func (o *offsets) Expire(time.Time) coordinator.Effects { return coordinator.Effects{} }
func (o *offsets) Loaded(time.Time) coordinator.Effects { return coordinator.Effects{} }
func (o *offsets) Apply(r coordinator.Record) error {
	o.committed[int32(binary.BigEndian.Uint32(r.Key))]++
	return nil
}

// benchPartitions opens the partitions of a coordinator's topic in a temporary directory of the operating system.
func benchPartitions(b *testing.B, n int32) []*partition.Partition {
	dir, err := storage.OpenDir(filepath.Join(b.TempDir(), "data"), storage.Options{})
	if err != nil {
		b.Fatal(err)
	}
	m := partition.NewManager(partition.Local(dir), partition.ManagerOptions{Codecs: partition.NewCodecs(1 << 20)})
	b.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			b.Error(err)
		}
		if err := dir.Close(); err != nil {
			b.Error(err)
		}
	})
	config := testConfig()
	config.Log.SegmentBytes, config.Log.IndexBytes, config.Log.IndexInterval = 100<<20, 10<<20, 4096
	var openings []partition.Opening
	for i := range n {
		openings = append(openings, partition.Opening{Identity: identity(i), Config: config})
	}
	if err := m.Open(context.Background(), openings, nil); err != nil {
		b.Fatal(err)
	}
	partitions := make([]*partition.Partition, n)
	for i := range partitions {
		if partitions[i], err = m.Get(identity(0).TopicID, int32(i)); err != nil {
			b.Fatal(err)
		}
	}
	return partitions
}

// BenchmarkDo has callers commit offsets, each with one command under way, over 50 shards at default durability. An
// operation is one command; the latencies are of single commands.
func BenchmarkDo(b *testing.B) {
	const shards = 50
	for _, callers := range []int{1, 50, 100, 1000, 5000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			r := coordinator.New(coordinator.Options[int32]{Machine: newOffsets})
			for i, p := range benchPartitions(b, shards) {
				r.Load(int32(i), p)
			}
			defer r.Close(context.Background())
			var started sync.WaitGroup
			for i := range int32(shards) { // so that the first batch, for which a folder is made, is not measured
				started.Go(func() { mustDo(b, r, i, i) })
			}
			started.Wait()
			latencies := make([][]time.Duration, callers)
			var left atomic.Int64
			left.Store(int64(b.N))
			before := r.Stats()
			b.ReportAllocs()
			b.ResetTimer()
			var group sync.WaitGroup
			for i := range callers {
				group.Go(func() {
					for left.Add(-1) >= 0 {
						start := time.Now()
						if _, err := r.Do(context.Background(), int32(i%shards), int32(i)); err != nil {
							b.Error(err)
							return
						}
						latencies[i] = append(latencies[i], time.Since(start))
					}
				})
			}
			group.Wait()
			b.StopTimer()
			after := r.Stats()
			all := slices.Concat(latencies...)
			slices.Sort(all)
			b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "commands/s")
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(after.Commands-before.Commands)/float64(after.Batches-before.Batches), "commands/batch")
		})
	}
}

// BenchmarkLoad loads a shard with a million records, in batches of 100.
func BenchmarkLoad(b *testing.B) {
	p := benchPartitions(b, 1)[0]
	key, value := make([]byte, 40), make([]byte, 30)
	for range 10_000 {
		builder := record.NewBuilder(0)
		for range 100 {
			builder.Add(time.Now().UnixMilli(), key, value)
		}
		batch, err := builder.Build()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Append(context.Background(), -1, batch, partition.Coordinator); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(p.Size())
	b.ReportAllocs()
	for b.Loop() {
		r := coordinator.New(coordinator.Options[int32]{Machine: newOffsets})
		r.Load(0, p)
		for r.Stats().Loads == 0 {
			runtime.Gosched()
		}
		if err := r.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1e6/b.Elapsed().Seconds(), "records/s")
}
