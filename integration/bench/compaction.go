//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

const (
	compactedBytes = 1 << 30
	compactedKeys  = 1_000_000
	recordBytes    = 100
	batchRecords   = 600
)

// measureCompaction has a log compacted whose keys come back about ten times each, and compares that with a bare program
// that reads and writes the same.
func measureCompaction(ctx context.Context, s stage, t *table) error {
	if err := s.fillKeys(ctx); err != nil {
		return err
	}
	folder := filepath.Join(s.dir, "data", "keys-0")
	before, err := dataBytes(folder)
	if err != nil {
		return err
	}
	b, err := s.start(ctx, "log.cleaner.backoff.ms=100")
	if err != nil {
		return err
	}
	begun := time.Now()
	for {
		runs, err := b.metric("segue_log_cleaner_runs_total")
		if err == nil && runs > 0 {
			break
		}
		if time.Since(begun) > patience || ctx.Err() != nil {
			return errors.Join(err, b.Stop(), errors.New("nothing was compacted"))
		}
		time.Sleep(10 * time.Millisecond)
	}
	took, err := b.metric("segue_log_cleaner_seconds_total")
	written, err2 := b.metric("segue_log_cleaner_written_bytes_total")
	cpu, memory := b.cpu(), b.memory()
	if err := errors.Join(err, err2, b.Stop()); err != nil {
		return err
	}
	bare, err := readAndWrite(folder, s.dir, int64(before), int64(written))
	if err != nil {
		return err
	}
	gib := float64(before) / (1 << 30)
	t.tell(fmt.Sprintf("compaction of %d-byte records with a million keys: read", recordBytes), gib, "GiB")
	t.tell("  the same: written", written/(1<<20), "MiB")
	t.tell("  the same: time", took, "s")
	t.tell("  the same: of the time that a bare program takes to read and write it", took/bare, "times")
	t.tell("  the same: the broker's CPU, from its start", cpu, "s")
	t.tell("  the same: memory afterwards", memory, "MiB")
	return nil
}

// fillKeys writes the log with a broker that compacts nothing.
func (s stage) fillKeys(ctx context.Context) (err error) {
	b, err := s.start(ctx, "log.cleaner.enable=false", "log.flush.interval.messages=1000000")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	w, err := dial(b.Addr)
	if err != nil {
		return err
	}
	defer w.close()
	configs := map[string]string{"cleanup.policy": "compact", "segment.bytes": "67108864", "min.cleanable.dirty.ratio": "0.01"}
	if err := w.createTopic("keys", 1, configs); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 1))
	var key [8]byte
	value := make([]byte, recordBytes-len(key))
	for sent := 0; sent < compactedBytes && ctx.Err() == nil; {
		batch := record.NewBuilder(0)
		for range batchRecords {
			binary.BigEndian.PutUint64(key[:], r.Uint64N(compactedKeys))
			batch.Add(time.Now().UnixMilli(), key[:], value)
		}
		built, err := batch.Build()
		if err != nil {
			return err
		}
		if err := w.produce("keys", built.Bytes()); err != nil {
			return err
		}
		sent += built.Size()
	}
	return ctx.Err()
}

// produce writes a batch to partition 0 of a topic.
func (w *wire) produce(topic string, batch []byte) error {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := ask[*kmsg.ProduceResponse](w, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// metric returns the sum of a metric's series.
func (b *broker) metric(name string) (sum float64, err error) {
	resp, err := http.Get("http://" + b.HTTP + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
			if err != nil {
				return 0, err
			}
			sum += v
		}
	}
	return sum, nil
}

// dataBytes is the size of a folder's segments.
func dataBytes(folder string) (n int64, err error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.log"))
	for _, name := range names {
		info, failed := os.Stat(name)
		if failed != nil {
			return 0, failed
		}
		n += info.Size()
	}
	return n, err
}

// readAndWrite reads so many bytes of data files, over again where there are fewer, writes so many to a file, syncs it,
// and returns how many seconds that took.
func readAndWrite(from, dir string, read, write int64) (seconds float64, err error) {
	names, err := filepath.Glob(filepath.Join(from, "*.log"))
	if err != nil || len(names) == 0 {
		return 0, errors.Join(err, errors.New("there is nothing to read"))
	}
	out, err := os.Create(filepath.Join(dir, "bare"))
	if err != nil {
		return 0, err
	}
	defer out.Close()
	buf := make([]byte, 1<<20)
	begun := time.Now()
	for i := 0; read > 0; i++ {
		in, err := os.Open(names[i%len(names)])
		if err != nil {
			return 0, err
		}
		for {
			n, err := in.Read(buf)
			if n == 0 || err != nil {
				break
			}
			read -= int64(n)
			if n = int(min(int64(n), write)); n > 0 {
				if _, err := out.Write(buf[:n]); err != nil {
					return 0, errors.Join(err, in.Close())
				}
				write -= int64(n)
			}
		}
		if err := in.Close(); err != nil {
			return 0, err
		}
	}
	if err := out.Sync(); err != nil {
		return 0, err
	}
	return time.Since(begun).Seconds(), nil
}
