//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	manyTopics     = 10
	manyPartitions = 1000 // of each
	hotSegments    = 10
	hotBytes       = 1000 << 20 // of each, just short of where it would roll
)

// measureStart looks at how long a broker takes from its start until it answers, and at what partitions cost it.
func measureStart(ctx context.Context, s stage, t *table) error {
	b, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() { b.Kill() }()
	took, err := best(shorter, func() (time.Duration, error) {
		err := errors.Join(b.Stop(), os.RemoveAll(filepath.Join(s.dir, "data")))
		if err != nil {
			return 0, err
		}
		return timeStart(ctx, b)
	})
	if err != nil {
		return err
	}
	t.atMost("start, nothing there", millis(took), 25, "ms")

	w, err := dial(b.Addr)
	if err != nil {
		return err
	}
	for i := range manyTopics {
		if err := w.createTopic(fmt.Sprint(topicName, i), manyPartitions, nil); err != nil {
			return err
		}
	}
	w.close()
	for _, m := range []struct {
		what                string
		start, disk, memory float64
	}{{"10,000 empty partitions", 200, 10, 60}, {"10,000 partitions with a record", 2000, 400, 200}} {
		if m.start > 200 {
			if err := b.fillEach(ctx); err != nil {
				return err
			}
			t.atMost("10,000 records written, memory", b.resident(), m.memory, "MiB")
			t.atMost("  descriptors", b.descriptors(), 4000, "")
		}
		began := time.Now()
		if err := b.Stop(); err != nil {
			return err
		}
		stop := time.Since(began)
		if err := b.Start(ctx); err != nil {
			return err
		}
		took, err := best(shorter, func() (time.Duration, error) {
			if err := b.Stop(); err != nil {
				return 0, err
			}
			return timeStart(ctx, b)
		})
		if err != nil {
			return err
		}
		disk, err := usage(filepath.Join(s.dir, "data"))
		if err != nil {
			return err
		}
		t.atMost("start, "+m.what, millis(took), m.start, "ms")
		t.tell("  the stop before", millis(stop), "ms")
		t.atMost("  disk", disk, m.disk, "MiB")
		t.atMost("  memory", b.resident(), m.memory, "MiB")
		t.atMost("  descriptors", b.descriptors(), 4000, "")
	}
	return nil
}

// descriptors returns how many files and sockets the process has open.
func (b *broker) descriptors() float64 {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.Pid()))
	if err != nil {
		return 0
	}
	return float64(len(open))
}

func shorter(a, b time.Duration) bool { return a < b }
func millis(d time.Duration) float64  { return float64(d.Microseconds()) / 1e3 }

// fillEach writes a record to each of the many partitions.
func (b *broker) fillEach(ctx context.Context) error {
	batch, _, err := batchOf(200, 100)
	if err != nil {
		return err
	}
	for i := range manyTopics {
		l := produceTo(fmt.Sprint(topicName, i), batch.Bytes(), 1, manyPartitions, inFlight, manyPartitions)
		l.addr = b.Addr
		if _, err := l.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// measureRecovery looks at how long a broker takes to start again that was killed with large hot segments.
func measureRecovery(ctx context.Context, s stage, t *table) error {
	b, err := s.start(ctx, unsynced)
	if err != nil {
		return err
	}
	defer func() { b.Kill() }()
	if err := b.withTopic(hotSegments); err != nil {
		return err
	}
	batch, _, err := batchOf(batchBytes, 1<<10)
	if err != nil {
		return err
	}
	l := produceTo(topicName, batch.Bytes(), hotSegments, hotSegments, inFlight, hotBytes/batch.Size())
	l.addr = b.Addr
	if _, err := l.run(ctx); err != nil {
		return err
	}
	took, err := best(shorter, func() (time.Duration, error) {
		b.Kill()
		return timeStart(ctx, b)
	})
	if err != nil {
		return err
	}
	t.atMost("start after kill -9, ten hot segments of 1 GiB", millis(took), 1000, "ms")
	return nil
}

// timeStart starts a server that was stopped or killed and returns how long it took until it answered its first request:
// its port is taken, and connections wait there, while it still recovers partitions.
func timeStart(ctx context.Context, s subject) (time.Duration, error) {
	began, answered := time.Now(), make(chan time.Duration, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if w, err := dial(s.addr()); err == nil {
				_, err = ask[*kmsg.ApiVersionsResponse](w, kmsg.NewPtrApiVersionsRequest())
				w.close()
				if err == nil {
					answered <- time.Since(began)
					return
				}
			}
			time.Sleep(100 * time.Microsecond)
		}
	}()
	if err := s.again(ctx); err != nil {
		return 0, err
	}
	return <-answered, nil
}

// usage is how much of the disk a folder takes, in MiB.
func usage(folder string) (mib float64, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			mib += float64(info.Sys().(*syscall.Stat_t).Blocks) / 2048
		}
		return err
	})
	return mib, err
}
