//go:build integration && unix

package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// jobPartitions is how many partitions the topics of the main job have.
const jobPartitions = 4

// jobTimeout bounds the main job.
const jobTimeout = 10 * time.Minute

// jobSize is how many bytes of files the main job takes.
func jobSize(t testing.TB) int64 {
	t.Helper()
	text := os.Getenv("SEGUE_MAIN_JOB_MIB")
	if text == "" {
		text = "64"
	}
	mib, err := strconv.ParseInt(text, 10, 32)
	if err != nil || mib < 1 {
		t.Fatalf("SEGUE_MAIN_JOB_MIB=%s: it is a number of MiB", text)
	}
	return mib << 20
}

// job is the main job: real files go through the broker, and come back.
type job struct {
	b     *broker
	goal  int64        // bytes that are to be moved
	moved atomic.Int64 // bytes handed to a producer, or taken from a consumer
	files map[string]*manifest
}

// TestMainJob produces real files, half of them with franz-go and half with kcat, each a run of records under the file's
// path, and reads them back with both. The broker is killed and started again all along. Both producers are idempotent,
// so each byte must be there, once, in its place.
func TestMainJob(t *testing.T) {
	size := jobSize(t)
	names, total := realFiles(t, size)
	j := &job{b: start(t), goal: total, files: map[string]*manifest{}}
	ctx := within(t, jobTimeout)
	producers := map[string]func(context.Context, []string, *manifest) error{"franz": j.produceWithFranz}
	if _, err := exec.LookPath("kcat"); err == nil {
		producers["kcat"] = j.produceWithKcat
	} else {
		t.Log("kcat is not installed (Debian has it as kcat): franz-go does all")
	}
	t.Logf("%d files, %d MiB", len(names), total>>20)

	begun := time.Now()
	group, gctx := errgroup.WithContext(ctx)
	share := 0
	for topic, produce := range producers {
		var own []string
		for i := share; i < len(names); i += len(producers) {
			own = append(own, names[i])
		}
		share++
		j.b.createTopic(t, topic, jobPartitions)
		m := newManifest()
		j.files[topic] = m
		group.Go(func() error { return produce(gctx, own, m) })
	}
	j.killAt(t, gctx, 1, 2, 3)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	wrote := time.Since(begun)

	consumers := map[string]func(context.Context, string, *manifest) (*assembly, error){"franz-go": j.consumeWithFranz}
	if len(producers) == 2 {
		consumers["kcat"] = j.consumeWithKcat
	}
	total = 0
	for _, m := range j.files {
		total += m.bytes
	}
	j.goal = total * int64(len(consumers))
	j.moved.Store(0)
	begun = time.Now()
	group, gctx = errgroup.WithContext(ctx)
	type reading struct {
		who string
		of  *manifest
		got *assembly
	}
	readings := make(chan *reading, len(consumers)*len(j.files))
	for who, consume := range consumers {
		for topic, m := range j.files {
			group.Go(func() error {
				got, err := consume(gctx, topic, m)
				readings <- &reading{who + " of " + topic, m, got}
				return err
			})
		}
	}
	j.killAt(t, gctx, 2)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	read := time.Since(begun)
	close(readings)
	for r := range readings {
		r.got.compare(t, r.who, r.of)
	}
	starts, onDisk := j.b.starts, j.b.dataSize("franz")+j.b.dataSize("kcat")
	j.b.stop()
	rate := func(bytes int64, d time.Duration) float64 { return float64(bytes) / d.Seconds() / (1 << 20) }
	t.Logf("written in %v (%.0f MiB/s), %d MiB on the disk; read by %d clients in %v (%.0f MiB/s)",
		wrote, rate(total, wrote), onDisk>>20, len(consumers), read, rate(total*int64(len(consumers)), read))
	t.Logf("the broker: %d starts, %v of CPU, %d MiB of memory at most", starts, j.b.cpu.Round(time.Millisecond), j.b.peak>>20)
}

// killAt kills the broker and starts it again when so many quarters of the files have been moved, each time.
func (j *job) killAt(t *testing.T, ctx context.Context, quarters ...int64) {
	t.Helper()
	for _, q := range quarters {
		eventually(t, jobTimeout, fmt.Sprint(q, " quarters are done"), func() bool {
			return j.moved.Load() >= j.goal*q/4 || ctx.Err() != nil
		})
		if ctx.Err() != nil {
			return // something has failed; the group tells
		}
		took := j.b.crash()
		t.Logf("killed at %d MiB, ready again after %v", j.moved.Load()>>20, took)
	}
}

func (j *job) produceWithFranz(ctx context.Context, names []string, m *manifest) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cl := j.b.client(j.b.t, kgo.DefaultProduceTopic("franz"), kgo.MaxBufferedBytes(8<<20), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	defer cl.Close()
	for i, name := range names {
		err := m.cut(i, name, func(chunk []byte) error {
			r := &kgo.Record{Key: []byte(name), Value: append([]byte{}, chunk...)}
			cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					cancel(err)
				}
			})
			j.moved.Add(int64(len(chunk)))
			return context.Cause(ctx)
		})
		if err != nil {
			return fmt.Errorf("franz-go: %w", err)
		}
	}
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("franz-go: %w", err)
	}
	return context.Cause(ctx)
}

// kcatPatience makes kcat go on while the broker is away, and look for it often.
var kcatPatience = []string{"-E", "-X", "reconnect.backoff.ms=20", "-X", "reconnect.backoff.max.ms=200", "-X", "retry.backoff.ms=50"}

func (j *job) produceWithKcat(ctx context.Context, names []string, m *manifest) error {
	// What stands between records, and between key and value, must not be in them.
	endOfKey, endOfRecord := fmt.Sprintf("<key-%016x>", rand.Uint64()), fmt.Sprintf("<record-%016x>", rand.Uint64())
	k := j.b.kcat(ctx, append([]string{
		"-P", "-t", "kcat", "-K", endOfKey, "-D", endOfRecord,
		"-X", "enable.idempotence=true", "-X", "linger.ms=5", "-X", "queue.buffering.max.kbytes=8192",
	}, kcatPatience...)...)
	stdin, err := k.cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := k.cmd.Start(); err != nil {
		return err
	}
	in := bufio.NewWriterSize(stdin, 256<<10)
	write := func() error {
		for i, name := range names {
			err := m.cut(i, name, func(chunk []byte) error {
				in.WriteString(name)
				in.WriteString(endOfKey)
				in.Write(chunk)
				_, err := in.WriteString(endOfRecord) // tells of errors before it, too
				j.moved.Add(int64(len(chunk)))
				return err
			})
			if err != nil {
				return err
			}
		}
		return in.Flush()
	}
	err = errors.Join(write(), stdin.Close())
	return k.failure(errors.Join(err, k.cmd.Wait()))
}

func (j *job) consumeWithFranz(ctx context.Context, topic string, m *manifest) (*assembly, error) {
	cl := j.b.client(j.b.t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	a := newAssembly()
	for a.records < m.records {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return a, err
		}
		var failed error
		fetches.EachRecord(func(r *kgo.Record) {
			if err := a.add(r.Partition, r.Offset, r.Key, r.Value); err != nil && failed == nil {
				failed = err
			}
			j.moved.Add(int64(len(r.Value)))
		})
		if failed != nil {
			return a, fmt.Errorf("franz-go: %w", failed)
		}
	}
	return a, nil
}

func (j *job) consumeWithKcat(ctx context.Context, topic string, m *manifest) (*assembly, error) {
	a := newAssembly()
	k := j.b.kcat(ctx, append([]string{
		"-C", "-q", "-t", topic, "-o", "beginning", "-c", fmt.Sprint(m.records), "-f", kcatFormat,
	}, kcatPatience...)...)
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		return a, err
	}
	if err := k.cmd.Start(); err != nil {
		return a, err
	}
	err = a.addFrom(out, func(bytes int) { j.moved.Add(int64(bytes)) })
	if err != nil {
		_, _ = io.Copy(io.Discard, out) // so that kcat ends
	}
	return a, k.failure(errors.Join(err, k.cmd.Wait()))
}
