package partition_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
	"segue/storage/record"
)

// Nothing is ever missed: consumers that long-poll by a waiter see everything, while the watermark moves in steps that
// have nothing to do with the batches.
func TestWaitersMissNothing(t *testing.T) {
	const batches, consumers = 300, 8
	p, log := openMemory(t, testConfig())
	log.Hold()
	var group sync.WaitGroup
	for range consumers {
		group.Go(func() {
			w := partition.NewWaiter()
			for next := record.Offset(0); next < batches; {
				p.Watch(w, next, false)
				select {
				case <-w.C():
				case <-time.After(30 * time.Second):
					t.Errorf("no ring beyond %d, the marks are %+v", next, p.Offsets())
					return
				}
				p.Unwatch(w)
				if high := p.Offsets().HighWatermark; high <= next {
					t.Errorf("rang for %d at a high watermark of %d", next, high)
					return
				} else {
					next = high
				}
			}
		})
	}
	for i := range batches {
		ack, err := p.Append(context.Background(), -1, logtest.Spec{Time: 1}.Batch(t), partition.Client)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			if err := ack.Wait(context.Background()); err != nil {
				t.Error(err)
			}
			if high := p.Offsets().HighWatermark; high < ack.Next {
				t.Errorf("acknowledged up to %d at a high watermark of %d", ack.Next, high)
			}
		})
		if i%3 == 0 {
			log.Commit(record.Offset(i / 2))
		}
	}
	log.CommitAll()
	group.Wait()
}

// The marks are in order at every moment, and none goes back, while everything happens at once.
func TestOffsetsInOrder(t *testing.T) {
	p, _ := openMemory(t, testConfig())
	ctx := context.Background()
	done := make(chan struct{})
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			var last partition.Offsets
			for {
				o := p.Offsets()
				if o.LogStart > o.LastStable || o.LastStable > o.HighWatermark || o.HighWatermark > o.LogEnd ||
					o.LogStart < last.LogStart || o.HighWatermark < last.HighWatermark || o.LogEnd < last.LogEnd {
					t.Errorf("%+v after %+v", o, last)
					return
				}
				last = o
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 500 {
		if _, err := p.Append(ctx, -1, logtest.Spec{Time: 1, Records: 3}.Batch(t), partition.Client); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if _, err := p.DeleteBefore(ctx, partition.ToHighWatermark); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(done)
	group.Wait()
}

func TestAckWaitEnds(t *testing.T) {
	p, log := openMemory(t, testConfig())
	log.Hold()
	ack, err := p.Append(context.Background(), -1, logtest.Spec{Time: 1}.Batch(t), partition.Client)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ack.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait returned %v, want the context's error", err)
	}
	log.CommitAll()
	if err := ack.Wait(ctx); err != nil {
		t.Errorf("Wait for what is committed returned %v", err)
	}
}

// A crowd of waiters, of whom each commit wakes a few: the others stay.
func TestWaiterCrowd(t *testing.T) {
	const crowd = 1000
	c := testConfig()
	c.Log.SegmentBytes = 1 << 20
	p, log := openMemory(t, c)
	log.Hold()
	if _, err := p.Append(context.Background(), -1, logtest.Spec{Time: 1, Records: crowd}.Batch(t), partition.Client); err != nil {
		t.Fatal(err)
	}
	waiters := make([]*partition.Waiter, crowd)
	for i := range waiters {
		waiters[i] = partition.NewWaiter()
		p.Watch(waiters[i], record.Offset(i), false)
	}
	for to := 0; to <= crowd; to += 100 {
		log.Commit(record.Offset(to))
		for i, w := range waiters {
			select {
			case <-w.C():
				if i < to-100 || i >= to {
					t.Errorf("waiter %d rang at a high watermark of %d", i, to)
				}
			default:
				if i >= to-100 && i < to {
					t.Errorf("waiter %d did not ring at a high watermark of %d", i, to)
				}
			}
		}
	}
}

// boundsLog is a Log that says of itself what a test wants.
type boundsLog struct {
	partition.Log
	start, end record.Offset
}

func (l *boundsLog) Bounds() (start, committed, end record.Offset) { return l.start, l.end, l.end }

type boundsStore struct {
	partition.Store
	log    *boundsLog
	events storage.Events
}

func (s *boundsStore) Open(ctx context.Context, id storage.Identity, c storage.Config, e storage.Events, k storage.Keeper) (partition.Log, error) {
	log, err := s.Store.Open(ctx, id, c, e, k)
	s.log, s.events = &boundsLog{Log: log}, e
	return s.log, err
}

// The log knows of a commit, and may delete what was committed, before it tells. It may not go back, and nothing does if
// it should.
func TestHighWatermarkFollowsEvents(t *testing.T) {
	store := &boundsStore{Store: logtest.NewMemory()}
	p, err := partition.Open(context.Background(), store, theID, 0, testConfig(), codecs())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what              string
		start, end        record.Offset
		committed         record.Offset // as an event; 0 for none
		wantHigh, wantLow record.Offset
	}{
		{"written", 0, 10, 0, 0, 0},
		{"committed", 0, 10, 5, 5, 0},
		{"an event of the past", 0, 10, 3, 5, 0},
		{"deleted what was not announced yet", 8, 10, 0, 8, 8},
		{"announced", 8, 10, 10, 10, 8},
	} {
		store.log.start, store.log.end = step.start, step.end
		if step.committed > 0 {
			store.events.Committed(step.committed)
		}
		want := partition.Offsets{LogStart: step.wantLow, LastStable: step.wantHigh, HighWatermark: step.wantHigh, LogEnd: step.end}
		if got := p.Offsets(); got != want {
			t.Errorf("%s: %+v, want %+v", step.what, got, want)
		}
	}
}
