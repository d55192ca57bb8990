package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"

	"segue/storage/record"
	"segue/storage/vfs"
)

// quiet is a log's owner that does nothing.
type quietEvents struct{}

func (quietEvents) Committed(record.Offset) {}
func (quietEvents) Failed(error)            {}

// BenchmarkAppend appends batches of about 1 KiB, with syncs behind the appends.
func BenchmarkAppend(b *testing.B) {
	for _, flush := range []int64{1, 1 << 60} {
		b.Run(fmt.Sprintf("flush.messages=%d", flush), func(b *testing.B) {
			x := newBench(b, nil, func(x *bench) {
				x.cfg.FlushMessages, x.cfg.SegmentBytes, x.cfg.IndexBytes, x.cfg.IndexInterval = flush, 1<<30, 10<<20, 4096
			})
			batch := numbered(b, 0, 10, 1000, 80, record.None)
			b.SetBytes(int64(batch.Size()))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := x.log.Append(context.Background(), 1, batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead finds batches all over a log of some segments.
func BenchmarkRead(b *testing.B) {
	for _, maxBytes := range []int{1, 1 << 20} {
		b.Run(fmt.Sprintf("max_bytes=%d", maxBytes), func(b *testing.B) {
			x := newBench(b, nil, func(x *bench) {
				x.cfg.FlushMessages, x.cfg.SegmentBytes, x.cfg.IndexBytes, x.cfg.IndexInterval = 1<<60, 4<<20, 10<<20, 4096
			})
			batch := numbered(b, 0, 10, 1000, 80, record.None)
			for range 20_000 {
				if _, _, err := x.log.Append(context.Background(), 1, batch); err != nil {
					b.Fatal(err)
				}
			}
			x.sync()
			_, committed, _ := x.log.Bounds()
			b.ReportAllocs()
			at := record.Offset(0)
			for b.Loop() {
				at = (at + 10_007) % (committed - 10)
				c, err := x.log.Read(context.Background(), at, committed, maxBytes, true)
				if err != nil || c.Length == 0 {
					b.Fatal(c.Length, err)
				}
				c.Release()
			}
		})
	}
}

// BenchmarkManyLogs opens and closes a directory of 10,000 logs one after the other, of each of which nothing is written
// meanwhile, and reports what an idle log takes.
func BenchmarkManyLogs(b *testing.B) {
	const logs = 10_000
	path := filepath.Join(b.TempDir(), "data")
	open := func() (*Dir, []*Log) {
		d, err := OpenDir(path, Options{FS: vfs.OS()})
		if err != nil {
			b.Fatal(err)
		}
		all := make([]*Log, logs)
		for i := range all {
			id := Identity{Topic: "many", TopicID: [16]byte{9}, Partition: int32(i)}
			if all[i], err = d.Open(context.Background(), id, testConfig(), quietEvents{}, nil); err != nil {
				b.Fatal(err)
			}
		}
		return d, all
	}
	d, all := open()
	for range 3 {
		for _, l := range all {
			if _, _, err := l.Append(context.Background(), 1, numbered(b, 0, 10, 1000, 80, record.None)); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	var opening, closing int64
	var size uint64
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := b.Elapsed()
		d, all = open()
		opened := b.Elapsed()
		runtime.GC()
		runtime.ReadMemStats(&after)
		size += (after.HeapAlloc - before.HeapAlloc) / logs
		start2 := b.Elapsed()
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
		opening += int64(opened - start)
		closing += int64(b.Elapsed() - start2)
		runtime.KeepAlive(all)
	}
	b.ReportMetric(float64(opening)/float64(b.N)/logs, "open-ns/log")
	b.ReportMetric(float64(closing)/float64(b.N)/logs, "close-ns/log")
	b.ReportMetric(float64(size)/float64(b.N), "bytes/log")
}

// BenchmarkCompact compacts a log of 64 MiB in which each key was written some times over; the bytes are those of the log
// before.
func BenchmarkCompact(b *testing.B) {
	for _, codec := range []record.Codec{record.None, record.LZ4} {
		for _, size := range []int{100, 1000} {
			b.Run(fmt.Sprintf("%s/value=%d", codec, size), func(b *testing.B) {
				const total = 64 << 20
				r := rand.New(rand.NewPCG(1, 1))
				value := make([]byte, size)
				for b.Loop() {
					b.StopTimer()
					x := &bench{t: b, fs: vfs.OS(), path: filepath.Join(b.TempDir(), "data"), cfg: compactConfig(), opts: compactOptions()}
					x.cfg.FlushMessages, x.cfg.SegmentBytes, x.cfg.IndexBytes, x.cfg.IndexInterval = 1<<60, 16<<20, 10<<20, 4096
					x.open()
					records := 0
					for written := 0; written < total; {
						bb := record.NewBuilder(0)
						bb.Compression.Codec, bb.Compressor = codec, new(record.Compressor)
						for bb.Size() < 16<<10 {
							for i := range value {
								value[i] = byte('a' + r.IntN(16))
							}
							bb.Add(1000, fmt.Appendf(nil, "key %d", r.IntN(total/size/4)), value)
							records++
						}
						written += bb.Size()
						batch, err := bb.Build()
						if err != nil {
							b.Fatal(err)
						}
						if _, _, err := x.log.Append(context.Background(), 1, batch); err != nil {
							b.Fatal(err)
						}
					}
					x.seal()
					before := x.log.Size()
					b.SetBytes(before)
					b.StartTimer()
					x.compact()
					b.StopTimer()
					b.ReportMetric(float64(x.log.Size())/float64(before), "left")
					b.ReportMetric(float64(records), "records")
					x.close()
					b.StartTimer()
				}
			})
		}
	}
}
