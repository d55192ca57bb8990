package partition_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
	"segue/storage/record"
)

// stuckLog is a Log whose appends hang.
type stuckLog struct {
	partition.Log
	entered, release chan struct{}
}

func (l *stuckLog) Append(ctx context.Context, epoch int32, batches ...record.Batch) (base, next record.Offset, err error) {
	l.entered <- struct{}{}
	<-l.release
	return l.Log.Append(ctx, epoch, batches...)
}

type stuckStore struct {
	partition.Store
	entered, release chan struct{}
}

func (s stuckStore) Open(ctx context.Context, id storage.Identity, c storage.Config, e storage.Events, k storage.Keeper) (partition.Log, error) {
	log, err := s.Store.Open(ctx, id, c, e, k)
	return &stuckLog{log, s.entered, s.release}, err
}

// Nobody who reads, asks or waits has to wait for a write that hangs.
func TestReadersDoNotWaitForAppends(t *testing.T) {
	ctx := context.Background()
	store := stuckStore{logtest.NewMemory(), make(chan struct{}), make(chan struct{})}
	m := newManager(t, store, partition.ManagerOptions{})
	if err := m.Open(ctx, topic('a', 1), nil); err != nil {
		t.Fatal(err)
	}
	p, err := m.Get([16]byte{'a'}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	appendOne := func() {
		ack, err := p.Append(ctx, -1, logtest.Spec{Time: 7, Producer: 1}.Batch(t), partition.Client)
		if err != nil || ack.Wait(ctx) != nil {
			t.Errorf("Append: %v", err)
		}
	}
	group.Go(appendOne)
	<-store.entered
	store.release <- struct{}{}
	group.Wait()

	group.Go(appendOne) // the same batch: a duplicate needs no write
	group.Wait()
	group.Go(func() {
		if _, err := p.Append(ctx, -1, logtest.Spec{Time: 8}.Batch(t), partition.Client); err != nil {
			t.Errorf("Append: %v", err)
		}
	})
	<-store.entered

	asked := make(chan struct{})
	go func() {
		defer close(asked)
		r, err := p.Read(ctx, partition.ReadRequest{MaxBytes: 1 << 20, CurrentEpoch: 1, LastFetchedEpoch: -1})
		if err != nil || r.HighWatermark != 1 || r.Chunk.Length == 0 {
			t.Errorf("Read: %+v, %v", r, err)
		}
		r.Chunk.Release()
		w := partition.NewWaiter()
		p.Watch(w, 1, false)
		p.Unwatch(w)
		if e := p.EpochEnd(1); e.End != 1 {
			t.Errorf("EpochEnd: %+v", e)
		}
		if f, err := p.OffsetForTime(ctx, 0, false); err != nil || f.Offset != 0 {
			t.Errorf("OffsetForTime: %+v, %v", f, err)
		}
		if f, err := p.MaxTimestamp(ctx, false); err != nil || f.Offset != 0 {
			t.Errorf("MaxTimestamp: %+v, %v", f, err)
		}
		if s := m.Stats(); s.Batches != 1 || s.Duplicates != 1 || s.Producers != 1 {
			t.Errorf("Stats: %+v", s)
		}
		p.Offsets()
		p.Size()
		m.Configure(map[[16]byte]partition.Config{{'a'}: testConfig()})
	}()
	select {
	case <-asked:
	case <-time.After(30 * time.Second):
		t.Fatal("somebody waits for a write that hangs")
	}
	store.release <- struct{}{}
	group.Wait()
}

// A checkpoint that is saved while others append is as good as any: with it and without it a start knows the same.
func TestCheckpointWhileAppending(t *testing.T) {
	ctx := context.Background()
	store := logtest.NewMemory()
	log := store.Log(theID)
	p, err := partition.Open(ctx, store, theID, 0, testConfig(), codecs())
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for id := range int64(4) {
		group.Go(func() {
			for i := range int32(200) {
				spec := logtest.Spec{Time: int64(i), Producer: id + 1, ProducerEpoch: int16(i / 50), Sequence: i % 50}
				if _, err := p.Append(ctx, -1, spec.Batch(t), partition.Client); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
			}
		})
	}
	appended := make(chan struct{})
	go func() {
		group.Wait()
		close(appended)
	}()
	for running := true; running || log.Saves() == 0; {
		if err := p.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case <-appended:
			running = false
		default:
		}
	}
	known := func() string {
		states := p.Producers()
		slices.SortFunc(states, func(a, b partition.ProducerState) int { return int(a.ProducerID - b.ProducerID) })
		return fmt.Sprint(states)
	}
	live := known()
	for epoch := range int32(2) {
		log.Crash(0)
		if epoch == 1 {
			log.SetCheckpoint("partition", 0, nil)
		}
		if p, err = partition.Open(ctx, store, theID, epoch+1, testConfig(), codecs()); err != nil {
			t.Fatal(err)
		}
		if got := known(); got != live {
			t.Errorf("start %d knows %s, it was %s", epoch, got, live)
		}
		for id := range int64(4) {
			for i := int32(45); i < 50; i++ {
				spec := logtest.Spec{Time: 1, Producer: id + 1, ProducerEpoch: 3, Sequence: i}
				ack, err := p.Append(ctx, -1, spec.Batch(t), partition.Client)
				if err != nil || !ack.Duplicate {
					t.Errorf("start %d does not know batch %d of producer %d: %+v, %v", epoch, i, id, ack, err)
				}
			}
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// Closing waits for what is not committed yet, and lets nothing new in.
func TestCloseWaitsForCommit(t *testing.T) {
	ctx := context.Background()
	store := logtest.NewMemory()
	log := store.Log(theID)
	p, err := partition.Open(ctx, store, theID, 0, testConfig(), codecs())
	if err != nil {
		t.Fatal(err)
	}
	log.Hold()
	ack, err := p.Append(ctx, -1, logtest.Spec{Time: 1, Producer: 1}.Batch(t), partition.Client)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- p.Close(ctx) }()
	for {
		// Until Close has begun this is a duplicate, which changes nothing.
		_, err := p.Append(ctx, -1, logtest.Spec{Time: 1, Producer: 1}.Batch(t), partition.Client)
		if code(err) == "NOT_LEADER_FOR_PARTITION" {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-closed:
		t.Fatalf("Close returned %v before the commit", err)
	default:
	}
	log.CommitAll()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := ack.Wait(ctx); err != nil {
		t.Errorf("Wait: %v", err)
	}
	if log.Saves() != 1 {
		t.Errorf("%d checkpoints, want 1", log.Saves())
	}
}

func TestEnded(t *testing.T) {
	p, log := openMemory(t, testConfig())
	if err := p.Ended(); err != nil {
		t.Errorf("open: %v", err)
	}
	log.Hold()
	if _, err := p.Append(context.Background(), -1, logtest.Spec{Time: time.Now().UnixMilli()}.Batch(t), partition.Client); err != nil {
		t.Fatal(err)
	}
	log.Fail(logtest.ErrDisk)
	if err := p.Ended(); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("failed: %v", err)
	}
	if err := p.Await(context.Background(), 0); err != nil {
		t.Errorf("what is committed: %v", err)
	}
	if err := p.Await(context.Background(), 1); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("what will never be: %v", err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := p.Ended(); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("closed: %v", err)
	}
}
