package record_test

import (
	"fmt"
	"testing"

	"segue/storage/record"
)

// benchBatch returns a batch of n records with values of the given size and short keys.
func benchBatch(b *testing.B, n, size, headers int, c record.Codec) record.Batch {
	hs := make([]record.RecordHeader, headers)
	for i := range hs {
		hs[i] = record.RecordHeader{Key: "trace-id", Value: []byte("0123456789abcdef")}
	}
	r := rng(4)
	builder := record.NewBuilder(0)
	for i := range n {
		value := make([]byte, size)
		for j := range value {
			value[j] = "abcdefgh"[r.IntN(8)]
		}
		builder.Add(1700000000000+int64(i), fmt.Appendf(nil, "key-%06d", i), value, hs...)
	}
	return build(b, builder, c)
}

var shapes = []struct{ n, size, headers int }{{1, 100, 0}, {100, 100, 0}, {1000, 1000, 0}, {1000, 100, 3}}

// BenchmarkCheck is what the produce path does to every uncompressed batch.
func BenchmarkCheck(b *testing.B) {
	for _, s := range shapes {
		b.Run(fmt.Sprintf("records=%d/size=%d/headers=%d", s.n, s.size, s.headers), func(b *testing.B) {
			batch := benchBatch(b, s.n, s.size, s.headers, record.None)
			b.SetBytes(int64(batch.Size()))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := batch.Check(nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(s.n), "ns/record")
		})
	}
}

func BenchmarkRecords(b *testing.B) {
	d := record.NewDecompressor(16 << 20)
	for _, c := range codecs {
		for _, s := range shapes[1:3] {
			b.Run(fmt.Sprintf("%v/records=%d/size=%d", c, s.n, s.size), func(b *testing.B) {
				batch := benchBatch(b, s.n, s.size, s.headers, c)
				b.SetBytes(int64(benchBatch(b, s.n, s.size, s.headers, record.None).Size()))
				b.ReportAllocs()
				for b.Loop() {
					for _, err := range batch.Records(d) {
						if err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, s := range shapes {
		b.Run(fmt.Sprintf("records=%d/size=%d", s.n, s.size), func(b *testing.B) {
			batch := benchBatch(b, s.n, s.size, s.headers, record.None)
			b.SetBytes(int64(batch.Size()))
			for b.Loop() {
				if err := batch.Verify(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	whole := benchBatch(b, 100, 100, 0, record.None).Bytes()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := record.Parse(whole); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecompress(b *testing.B) {
	c, d := new(record.Compressor), record.NewDecompressor(16<<20)
	for _, from := range []record.Codec{record.None, record.LZ4} {
		for _, to := range codecs {
			if from == to {
				continue
			}
			b.Run(fmt.Sprintf("%v/%v", from, to), func(b *testing.B) {
				batch := benchBatch(b, 1000, 100, 0, from)
				b.SetBytes(int64(benchBatch(b, 1000, 100, 0, record.None).Size()))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := batch.Recompress(record.Compression{Codec: to}, c, d); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	value := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		builder := record.NewBuilder(0)
		for i := range 100 {
			builder.Add(int64(i), value[:8], value)
		}
		if _, err := builder.Build(); err != nil {
			b.Fatal(err)
		}
	}
}
