package partition_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
)

func topic(name byte, partitions int32) (openings []partition.Opening) {
	for i := range partitions {
		id := storage.Identity{Topic: string(name), TopicID: [16]byte{name}, Partition: i}
		openings = append(openings, partition.Opening{Identity: id, Epoch: 1, Config: testConfig()})
	}
	return openings
}

func newManager(t *testing.T, store partition.Store, o partition.ManagerOptions) *partition.Manager {
	t.Helper()
	o.Codecs = codecs()
	m := partition.NewManager(store, o)
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

func appendTo(t *testing.T, m *partition.Manager, id storage.Identity, spec logtest.Spec) partition.Ack {
	t.Helper()
	p, err := m.Get(id.TopicID, id.Partition)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := p.Append(context.Background(), -1, spec.Batch(t), partition.Client)
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

// gauge is a Store that says how many logs are being opened at a time, and holds them up until it is told to go on.
type gauge struct {
	partition.Store
	mu          sync.Mutex
	now, most   int
	mayContinue chan struct{}
}

func (g *gauge) Open(ctx context.Context, id storage.Identity, c storage.Config, e storage.Events, k storage.Keeper) (partition.Log, error) {
	g.mu.Lock()
	g.now++
	g.most = max(g.most, g.now)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.now--
		g.mu.Unlock()
	}()
	<-g.mayContinue
	return g.Store.Open(ctx, id, c, e, k)
}

func TestManagerOpensSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gauge{Store: logtest.NewMemory(), mayContinue: make(chan struct{})}
		m := newManager(t, store, partition.ManagerOptions{Parallel: 5})
		openings := topic('a', 30)
		var progress []int
		done := make(chan error)
		go func() {
			done <- m.Open(context.Background(), openings, func(n int) { progress = append(progress, n) })
		}()
		synctest.Wait()
		if s := m.Stats(); s.Opening != 30 || s.Open != 0 {
			t.Errorf("while opening: %+v", s)
		}
		if _, err := m.Get([16]byte{'a'}, 3); code(err) != "NOT_LEADER_FOR_PARTITION" {
			t.Errorf("Get while opening: %v", err)
		}
		close(store.mayContinue)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if store.most != 5 {
			t.Errorf("%d were opened at a time, want 5", store.most)
		}
		want := make([]int, 30)
		for i := range want {
			want[i] = i + 1
		}
		if !slices.Equal(progress, want) {
			t.Errorf("progress was %v", progress)
		}
		for i := range int32(30) {
			p, err := m.Get([16]byte{'a'}, i)
			if err != nil || p.Identity() != openings[i].Identity || p.LeaderEpoch() != 1 {
				t.Errorf("Get(%d): %v, %v", i, p, err)
			}
		}
		for _, at := range []struct {
			topic     byte
			partition int32
		}{{'a', 30}, {'a', -1}, {'b', 0}} {
			if _, err := m.Get([16]byte{at.topic}, at.partition); code(err) != "NOT_LEADER_FOR_PARTITION" {
				t.Errorf("Get(%v): %v", at, err)
			}
		}
		if s := m.Stats(); s.Open != 30 || s.Opening != 0 || s.Offline != 0 {
			t.Errorf("afterwards: %+v", s)
		}
		// What is open is left alone.
		if err := m.Open(context.Background(), topic('a', 31), nil); err != nil {
			t.Errorf("open again, with one more: %v", err)
		}
	})
}

func TestManagerOpenFails(t *testing.T) {
	store := logtest.NewMemory()
	m := newManager(t, store, partition.ManagerOptions{})
	openings := topic('a', 4)
	broken := store.Log(openings[2].Identity)
	broken.RefuseOpen(&storage.CorruptError{File: "f", Err: errors.New("bad")})
	err := m.Open(context.Background(), openings, nil)
	if code(err) != "CORRUPT_MESSAGE" {
		t.Errorf("Open returned %v", err)
	}
	_, err = m.Get([16]byte{'a'}, 2)
	if code(err) != "KAFKA_STORAGE_ERROR" {
		t.Errorf("Get of the broken one: %v", err)
	}
	for _, i := range []int32{0, 1, 3} {
		if _, err := m.Get([16]byte{'a'}, i); err != nil {
			t.Errorf("Get of a sound one: %v", err)
		}
	}
	var open, offline int
	m.Each(func(id storage.Identity, p *partition.Partition, err error) {
		switch {
		case p != nil && err == nil:
			open++
		case p == nil && err != nil && id == openings[2].Identity:
			offline++
		}
	})
	if s := m.Stats(); open != 3 || offline != 1 || s.Open != 3 || s.Offline != 1 {
		t.Errorf("Each: %d open, %d offline; Stats: %+v", open, offline, s)
	}
	broken.RefuseOpen(nil)
	if err := m.Open(context.Background(), openings, nil); err != nil {
		t.Errorf("Open again: %v", err)
	}
	if _, err := m.Get([16]byte{'a'}, 2); err != nil {
		t.Errorf("Get of the mended one: %v", err)
	}
	// One that fails while it is open is offline too, and a Release and an Open mend it.
	appendTo(t, m, openings[2].Identity, logtest.Spec{Time: 1})
	broken.Fail(logtest.ErrDisk)
	if s := m.Stats(); s.Open != 4 || s.Offline != 1 || s.Batches != 1 {
		t.Errorf("Stats with a failed one: %+v", s)
	}
	if err := m.Release(context.Background(), [16]byte{'a'}, 2); err != nil {
		t.Errorf("Release: %v", err)
	}
	if err := m.Open(context.Background(), openings[2:3], nil); err != nil {
		t.Errorf("Open once more: %v", err)
	}
	if ack := appendTo(t, m, openings[2].Identity, logtest.Spec{Time: 1}); ack.Base != 1 {
		t.Errorf("the mended one goes on at %d, want 1", ack.Base)
	}
}

func TestManagerDelete(t *testing.T) {
	ctx := context.Background()
	store := logtest.NewMemory()
	m := newManager(t, store, partition.ManagerOptions{})
	a, b := topic('a', 3), topic('b', 2)
	if err := m.Open(ctx, slices.Concat(a, b), nil); err != nil {
		t.Fatal(err)
	}
	for _, o := range slices.Concat(a, b) {
		appendTo(t, m, o.Identity, logtest.Spec{Time: 1})
	}
	p, err := m.Get([16]byte{'a'}, 1)
	if err != nil {
		t.Fatal(err)
	}
	w := partition.NewWaiter()
	p.Watch(w, 1, false)
	if err := m.Delete(ctx, "a", [16]byte{'a'}); err != nil {
		t.Fatal(err)
	}
	<-w.C()
	if _, err := m.Get([16]byte{'a'}, 1); code(err) != "NOT_LEADER_FOR_PARTITION" {
		t.Errorf("Get of a deleted one: %v", err)
	}
	if _, err := p.Append(ctx, -1, logtest.Spec{}.Batch(t), partition.Client); code(err) != "NOT_LEADER_FOR_PARTITION" {
		t.Errorf("Append to a deleted one: %v", err)
	}
	if ids, err := store.List(ctx); err != nil || len(ids) != 2 {
		t.Errorf("%v are left, %v", ids, err)
	}
	// The same topic again, with another id, begins anew.
	again := topic('a', 1)
	again[0].Identity.TopicID = [16]byte{'A'}
	if err := m.Open(ctx, again, nil); err != nil {
		t.Fatal(err)
	}
	if ack := appendTo(t, m, again[0].Identity, logtest.Spec{Time: 1}); ack.Base != 0 {
		t.Errorf("the new topic begins at %d", ack.Base)
	}
	// What another run left is deleted without being opened.
	left := newManager(t, store, partition.ManagerOptions{})
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := left.Delete(ctx, "b", [16]byte{'b'}); err != nil {
		t.Fatal(err)
	}
	if ids, err := store.List(ctx); err != nil || len(ids) != 1 || ids[0].TopicID != [16]byte{'A'} {
		t.Errorf("%v are left, %v", ids, err)
	}
	if err := left.Delete(ctx, "x", [16]byte{'x'}); err != nil {
		t.Errorf("Delete of what is not there: %v", err)
	}
}

func TestManagerConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gauge{Store: logtest.NewMemory(), mayContinue: make(chan struct{})}
		m := newManager(t, store, partition.ManagerOptions{})
		done := make(chan error)
		go func() { done <- m.Open(context.Background(), topic('a', 2), nil) }()
		synctest.Wait()
		small := testConfig()
		small.MaxMessageBytes = 10
		m.Configure(map[[16]byte]partition.Config{{'a'}: small}) // while it opens
		close(store.mayContinue)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for i := range int32(2) {
			p, err := m.Get([16]byte{'a'}, i)
			if err != nil {
				t.Fatal(err)
			}
			try := func() string {
				_, err := p.Append(context.Background(), -1, logtest.Spec{}.Batch(t), partition.Client)
				return code(err)
			}
			if got := try(); got != "MESSAGE_TOO_LARGE" {
				t.Errorf("configured while opening: %s", got)
			}
			m.Configure(map[[16]byte]partition.Config{{'a'}: testConfig()})
			if got := try(); got != "ok" {
				t.Errorf("configured when open: %s", got)
			}
			m.Configure(map[[16]byte]partition.Config{{'a'}: small})
		}
	})
}

func TestManagerCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := logtest.NewMemory()
		var logged bytes.Buffer
		m := newManager(t, store, partition.ManagerOptions{CheckpointBytes: 1000, Log: zerolog.New(&logged)})
		openings := topic('a', 3)
		if err := m.Open(context.Background(), openings, nil); err != nil {
			t.Fatal(err)
		}
		saves := func(i int) int {
			synctest.Wait()
			return store.Log(openings[i].Identity).Saves()
		}
		// By size.
		appendTo(t, m, openings[0].Identity, logtest.Spec{Time: 1, ValueBytes: 500})
		if n := saves(0); n != 0 {
			t.Errorf("%d checkpoints after 500 bytes", n)
		}
		appendTo(t, m, openings[0].Identity, logtest.Spec{Time: 1, ValueBytes: 500})
		if n := saves(0); n != 1 {
			t.Errorf("%d checkpoints after 1000 bytes, want 1", n)
		}
		// By age.
		appendTo(t, m, openings[1].Identity, logtest.Spec{Time: 1})
		time.Sleep(30 * time.Second)
		if n := saves(1); n != 0 {
			t.Errorf("%d checkpoints after 30 seconds", n)
		}
		time.Sleep(46 * time.Second)
		if n := saves(1); n != 1 {
			t.Errorf("%d checkpoints after 76 seconds, want 1", n)
		}
		// And none without a need.
		time.Sleep(time.Hour)
		if a, b, c := saves(0), saves(1), saves(2); a != 1 || b != 1 || c != 0 {
			t.Errorf("after an idle hour there were %d, %d and %d checkpoints, want 1, 1 and 0", a, b, c)
		}
		// One that does not work is told about, and tried again.
		disk := store.Log(openings[2].Identity)
		appendTo(t, m, openings[2].Identity, logtest.Spec{Time: 1})
		disk.RefuseWrites(logtest.ErrDisk)
		time.Sleep(2 * time.Minute)
		if n := saves(2); n != 0 || !bytes.Contains(logged.Bytes(), []byte("checkpoint of a-2")) {
			t.Errorf("%d checkpoints on a broken disk; logged %s", n, &logged)
		}
		disk.RefuseWrites(nil)
		time.Sleep(time.Minute)
		if n := saves(2); n != 1 {
			t.Errorf("%d checkpoints on the mended disk, want 1", n)
		}
	})
}

func TestManagerForgetsProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, logtest.NewMemory(), partition.ManagerOptions{})
		openings := topic('a', 1)
		if err := m.Open(context.Background(), openings, nil); err != nil {
			t.Fatal(err)
		}
		id := openings[0].Identity
		appendTo(t, m, id, logtest.Spec{Producer: 1, Time: 1}) // a timestamp of long ago makes no difference
		time.Sleep(12 * time.Hour)
		appendTo(t, m, id, logtest.Spec{Producer: 2, Time: time.Now().Add(30 * time.Minute).UnixMilli()})
		time.Sleep(11*time.Hour + 30*time.Minute)
		if n := m.Stats().Producers; n != 2 {
			t.Errorf("%d producers are known within a day, want 2", n)
		}
		time.Sleep(time.Hour)
		if n := m.Stats().Producers; n != 1 {
			t.Errorf("%d producers are known after a day, want 1", n)
		}
		time.Sleep(12 * time.Hour)
		if n := m.Stats().Producers; n != 0 {
			t.Errorf("%d producers are known after two days, want none", n)
		}
	})
}

func TestManagerClose(t *testing.T) {
	ctx := context.Background()
	store := logtest.NewMemory()
	m := newManager(t, store, partition.ManagerOptions{})
	openings := topic('a', 20)
	if err := m.Open(ctx, openings, nil); err != nil {
		t.Fatal(err)
	}
	for i, o := range openings {
		appendTo(t, m, o.Identity, logtest.Spec{Time: 1, Producer: int64(i) + 1})
	}
	p, err := m.Get([16]byte{'a'}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for _, o := range openings {
		if n := store.Log(o.Identity).Saves(); n != 1 {
			t.Errorf("%s was closed with %d checkpoints, want 1", o.Identity, n)
		}
	}
	if _, err := p.Read(ctx, partition.ReadRequest{CurrentEpoch: -1, LastFetchedEpoch: -1}); code(err) != "NOT_LEADER_FOR_PARTITION" {
		t.Errorf("Read after Close: %v", err)
	}
	if err := m.Open(ctx, openings, nil); code(err) != "NOT_LEADER_FOR_PARTITION" {
		t.Errorf("Open after Close: %v", err)
	}
	if err := m.Close(ctx); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

// A stop whose time is over leaves checkpoints out and closes everything nevertheless.
func TestManagerCloseInNoTime(t *testing.T) {
	store := logtest.NewMemory()
	m := newManager(t, store, partition.ManagerOptions{})
	openings := topic('a', 20)
	if err := m.Open(context.Background(), openings, nil); err != nil {
		t.Fatal(err)
	}
	var partitions []*partition.Partition
	for _, o := range openings {
		appendTo(t, m, o.Identity, logtest.Spec{Time: 1, Producer: 1})
		p, err := m.Get(o.Identity.TopicID, o.Identity.Partition)
		if err != nil {
			t.Fatal(err)
		}
		partitions = append(partitions, p)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.Close(over); err != nil {
		t.Errorf("Close: %v", err)
	}
	for i, p := range partitions {
		if _, err := p.Read(context.Background(), partition.ReadRequest{CurrentEpoch: -1, LastFetchedEpoch: -1}); code(err) != "NOT_LEADER_FOR_PARTITION" {
			t.Errorf("%s was not closed: %v", openings[i].Identity, err)
		}
	}
}

// Many goroutines look up, append, read, configure and delete at once.
func TestManagerConcurrently(t *testing.T) {
	ctx := context.Background()
	m := newManager(t, logtest.NewMemory(), partition.ManagerOptions{})
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			name := byte('a' + i%3)
			for round := range 10 {
				// Two goroutines have the same topic: whoever comes second finds it open, or gone.
				if err := m.Open(ctx, topic(name, 3), nil); err != nil {
					t.Errorf("Open: %v", err)
				}
				for at := range int32(3) {
					p, err := m.Get([16]byte{name}, at)
					if err != nil {
						continue
					}
					ack, err := p.Append(ctx, -1, logtest.Spec{Time: 1}.Batch(t), partition.Client)
					if err != nil {
						if code(err) != "NOT_LEADER_FOR_PARTITION" {
							t.Errorf("Append: %v", err)
						}
						continue
					}
					if err := ack.Wait(ctx); err != nil && code(err) != "NOT_LEADER_FOR_PARTITION" {
						t.Errorf("Wait: %v", err)
					}
				}
				m.Configure(map[[16]byte]partition.Config{{name}: testConfig()})
				m.Stats()
				if i < 3 && round%3 == 2 {
					if err := m.Delete(ctx, string(name), [16]byte{name}); err != nil {
						t.Errorf("Delete: %v", err)
					}
				}
			}
		})
	}
	group.Wait()
}

func TestOpenRefusesOlderEpoch(t *testing.T) {
	store := logtest.NewMemory()
	ctx := context.Background()
	p, err := partition.Open(ctx, store, theID, 5, testConfig(), codecs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Append(ctx, -1, logtest.Spec{Time: 1}.Batch(t), partition.Client); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := partition.Open(ctx, store, theID, 4, testConfig(), codecs()); code(err) != "NOT_LEADER_FOR_PARTITION" || !errors.Is(err, storage.ErrStaleEpoch) {
		t.Errorf("Open at an older epoch: %v", err)
	}
	// It has let go of the log.
	if p, err = partition.Open(ctx, store, theID, 5, testConfig(), codecs()); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// A checkpoint that is of no use is as good as none.
func TestOpenWithBadCheckpoint(t *testing.T) {
	ctx := context.Background()
	for name, spoil := range map[string]func(*logtest.MemoryLog){
		"none":           func(*logtest.MemoryLog) {},
		"garbage":        func(l *logtest.MemoryLog) { l.SetCheckpoint("partition", 2, []byte("garbage")) },
		"beyond the end": func(l *logtest.MemoryLog) { l.SetCheckpoint("partition", 99, []byte{1, 0, 0}) },
	} {
		t.Run(name, func(t *testing.T) {
			store := logtest.NewMemory()
			log := store.Log(theID)
			p, err := partition.Open(ctx, store, theID, 1, testConfig(), codecs())
			if err != nil {
				t.Fatal(err)
			}
			for i := range int32(3) {
				if _, err := p.Append(ctx, -1, logtest.Spec{Time: 1, Producer: 1, Sequence: i}.Batch(t), partition.Client); err != nil {
					t.Fatal(err)
				}
			}
			log.Crash(0)
			spoil(log)
			if p, err = partition.Open(ctx, store, theID, 2, testConfig(), codecs()); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(p.Producers()); got != "[{0 0 2 1 -1 -1}]" {
				t.Errorf("producers are %s", got)
			}
			if e := p.EpochEnd(1); e != (partition.EpochEnd{Epoch: 1, End: 3}) {
				t.Errorf("epoch 1 ends at %+v", e)
			}
			// The checkpoint from beyond the end must not come true when the log has grown.
			for i := range int32(120) {
				if _, err := p.Append(ctx, -1, logtest.Spec{Time: 1, Producer: 1, Sequence: 3 + i}.Batch(t), partition.Client); err != nil {
					t.Fatal(err)
				}
			}
			log.Crash(0)
			if p, err = partition.Open(ctx, store, theID, 3, testConfig(), codecs()); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(p.Producers()); got != "[{0 0 122 1 -1 -1}]" {
				t.Errorf("producers are %s after the log has grown", got)
			}
			if e := p.EpochEnd(1); e != (partition.EpochEnd{Epoch: 1, End: 3}) {
				t.Errorf("epoch 1 ends at %+v after the log has grown", e)
			}
			if err := p.Close(ctx); err != nil {
				t.Fatal(err)
			}
		})
	}
}
