//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// franz is franz-go with its own settings, in this process. It writes random capital letters, as Java's tool does.
type franz struct{ letters []byte }

func newFranz() franz {
	f := franz{make([]byte, 8<<20)} // more than any codec looks back
	r := rand.New(rand.NewPCG(1, 1))
	for i := range f.letters {
		f.letters[i] = byte('A' + r.IntN(26))
	}
	return f
}

func (f franz) String() string { return "franz-go" }

func (f franz) produce(ctx context.Context, addr, topic string, tr traffic) (time.Duration, error) {
	codecs := map[string]kgo.CompressionCodec{
		uncompressed: kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codecs[tr.codec]))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%d records are not written within %v", tr.records(), patience))
	defer cancel()
	var (
		once  sync.Once
		first error
	)
	failed := func(_ *kgo.Record, err error) {
		if err != nil {
			once.Do(func() { first = err })
		}
	}
	began := time.Now()
	for i, at := 0, 0; i < tr.records() && ctx.Err() == nil; i++ {
		if at+tr.size > len(f.letters) {
			at = 0
		}
		cl.Produce(ctx, &kgo.Record{Value: f.letters[at : at+tr.size]}, failed)
		at += tr.size
	}
	if err := cl.Flush(ctx); err != nil {
		return 0, context.Cause(ctx)
	}
	return time.Since(began), first
}

func (f franz) consume(ctx context.Context, addr, topic string, tr traffic) (time.Duration, error) {
	began := time.Now()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%d records are not read within %v", tr.records(), patience))
	defer cancel()
	for n := 0; n < tr.records(); {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, fmt.Errorf("%d records are read: %w", n, err)
		}
		n += fetches.NumRecords()
	}
	return time.Since(began), nil
}
