package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/catalog"
	"segue/storage/record"
)

func create(name string) catalog.CreateTopic {
	return catalog.CreateTopic{Name: name, ID: catalog.NewTopicID(), Partitions: 1, ReplicationFactor: 1}
}

func commit1(t testing.TB, s *Store, changes ...catalog.Change) *catalog.Image {
	t.Helper()
	i, err := s.Commit(t.Context(), catalog.Any, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// reopened is the image that a broker finds in a copy of the log.
func reopened(t testing.TB, log *memLog) *catalog.Image {
	t.Helper()
	image, _, _, err := replay(t.Context(), log, log.events)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestCommitAndReopen(t *testing.T) {
	log := newMemLog()
	s := open(t, log, Options{})
	if s.Image() == nil || s.Image().Version() != 0 {
		t.Fatalf("%+v", s.Image())
	}
	one := commit1(t, s, catalog.Start{ClusterID: "c"}, create("a"))
	if one.Version() != 1 || s.Image() != one || one.StartCount() != 1 {
		t.Fatalf("version %d", one.Version())
	}
	two, err := s.Commit(t.Context(), 1, create("b"))
	if err != nil || two.Version() != 2 {
		t.Fatal(err)
	}
	if same, err := s.Commit(t.Context(), 2); err != nil || same != two {
		t.Errorf("a commit of nothing: %v %v", same, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, log.after(0), Options{})
	if !again.Image().Equal(two) {
		t.Errorf("got %+v", again.Image().Topics())
	}
	if stats := again.Stats(); stats.Version != 2 || stats.Topics != 2 || stats.Partitions != 2 || stats.Commits != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestConflict(t *testing.T) {
	s := open(t, newMemLog(), Options{})
	commit1(t, s, create("a"))
	for _, at := range []int64{0, 2} {
		for _, changes := range [][]catalog.Change{{create("b")}, nil} {
			_, err := s.Commit(t.Context(), at, changes...)
			conflict, ok := errors.AsType[*catalog.ConflictError](err)
			if !ok || conflict.At != at || conflict.Current != 1 {
				t.Errorf("at %d: %v", at, err)
			}
		}
	}
}

func TestImpossibleChange(t *testing.T) {
	log := newMemLog()
	s := open(t, log, Options{})
	commit1(t, s, create("a"))
	if _, err := s.Commit(t.Context(), catalog.Any, create("b"), create("a")); !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Errorf("%v", err)
	}
	if _, err := s.Commit(t.Context(), catalog.Any, nil...); err != nil {
		t.Errorf("%v", err)
	}
	if _, _, end := log.Bounds(); end != 1 || s.Image().Version() != 1 {
		t.Errorf("end %d, version %d", end, s.Image().Version())
	}
}

// TestAnswersWaitForTheLog: nothing is visible or answered before the log has committed it, and that goes for
// refusals that rest on it too.
func TestAnswersWaitForTheLog(t *testing.T) {
	log := newMemLog()
	log.held, log.appended = true, make(chan record.Offset, 10)
	s := open(t, log, Options{})
	type answer struct {
		who string
		err error
	}
	answers := make(chan answer, 10)
	try := func(who string, at int64, c catalog.Change) {
		go func() {
			_, err := s.Commit(context.Background(), at, c)
			answers <- answer{who, err}
		}()
	}
	try("first", 0, create("a"))
	<-log.appended
	try("second", 1, create("b"))
	<-log.appended
	try("taken", catalog.Any, create("a"))
	try("conflict", 0, create("c"))
	// A commit that is handed over after these two shows that both were judged.
	try("third", catalog.Any, create("d"))
	<-log.appended
	if len(answers) > 0 || s.Image().Version() != 0 {
		t.Fatalf("%d answers and version %d before anything is committed", len(answers), s.Image().Version())
	}
	log.commit(1)
	if a := <-answers; a.who != "first" || a.err != nil || s.Image().Version() != 1 {
		t.Fatalf("%+v", a)
	}
	if len(answers) > 0 {
		t.Fatalf("an answer that rests on what is not committed: %+v", <-answers)
	}
	log.commit(3)
	got := map[string]error{}
	for range 4 {
		a := <-answers
		got[a.who] = a.err
	}
	if _, ok := errors.AsType[*catalog.ConflictError](got["conflict"]); got["second"] != nil || got["third"] != nil || !ok ||
		!errors.Is(got["taken"], kerr.TopicAlreadyExists) {
		t.Errorf("%v", got)
	}
}

func TestOneSyncServesManyCommits(t *testing.T) {
	const many = 50
	log := newMemLog()
	log.held, log.appended = true, make(chan record.Offset, many)
	s := open(t, log, Options{})
	var group sync.WaitGroup
	for n := range many {
		group.Go(func() {
			if _, err := s.Commit(context.Background(), catalog.Any, create(fmt.Sprintf("t%d", n))); err != nil {
				t.Error(err)
			}
		})
	}
	for range many {
		<-log.appended
	}
	log.commit(many)
	group.Wait()
	if len(s.Image().Topics()) != many || s.Stats().Commits != many {
		t.Errorf("%d topics", len(s.Image().Topics()))
	}
}

func TestRefusedAppend(t *testing.T) {
	log := newMemLog()
	s := open(t, log, Options{})
	before := commit1(t, s, create("a"))
	full := errors.New("disk is full")
	log.set(func(l *memLog) { l.refuse = refuseAll(full) })
	if _, err := s.Commit(t.Context(), 1, create("b")); !errors.Is(err, full) {
		t.Fatalf("%v", err)
	}
	if s.Image() != before {
		t.Error("the image has changed")
	}
	log.set(func(l *memLog) { l.refuse = nil })
	if i, err := s.Commit(t.Context(), 1, create("b")); err != nil || i.Version() != 2 {
		t.Errorf("after the disk has room again: %v", err)
	}
	if !reopened(t, log.after(0)).Equal(s.Image()) {
		t.Error("the log holds something else")
	}
}

func TestFailedLog(t *testing.T) {
	log := newMemLog()
	log.held, log.appended = true, make(chan record.Offset, 10)
	s := open(t, log, Options{})
	answers := make(chan error, 2)
	for _, name := range []string{"a", "b"} {
		go func() {
			_, err := s.Commit(context.Background(), catalog.Any, create(name))
			answers <- err
		}()
		<-log.appended
	}
	log.commit(1)
	if err := <-answers; err != nil {
		t.Fatalf("what was committed failed: %v", err)
	}
	broken := errors.New("input/output error")
	log.events.Failed(broken)
	log.events.Failed(errors.New("a later cause"))
	if err := <-answers; !errors.Is(err, broken) {
		t.Fatalf("%v", err)
	}
	for range 3 {
		if _, err := s.Commit(t.Context(), catalog.Any, create("c")); !errors.Is(err, broken) || !strings.Contains(err.Error(), "started again") {
			t.Fatalf("%v", err)
		}
	}
	if _, err := s.AllocateProducerIDs(t.Context(), 1); !errors.Is(err, broken) {
		t.Fatalf("%v", err)
	}
	if s.Image().Version() != 1 || log.uncommitted() != 1 {
		t.Errorf("version %d, %d batches", s.Image().Version(), log.uncommitted())
	}
}

func TestSomebodyElseWrites(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*memLog)
	}{
		{"successful append at another place", func(l *memLog) { l.batches = append(l.batches, clone(l.batches[0], l.end())) }},
		{"refused append at another place", func(l *memLog) {
			l.batches = append(l.batches, clone(l.batches[0], l.end()))
			l.refuse = refuseAll(errors.New("refused"))
		}},
	} {
		log := newMemLog()
		s := open(t, log, Options{})
		commit1(t, s, create("a"))
		log.set(test.spoil)
		_, first := s.Commit(t.Context(), catalog.Any, create("b"))
		log.set(func(l *memLog) { l.refuse = nil })
		if _, err := s.Commit(t.Context(), catalog.Any, create("c")); first == nil || err == nil || err.Error() != first.Error() {
			t.Errorf("%s: %v, then %v", test.name, first, err)
		}
		if s.Image().Version() != 1 {
			t.Errorf("%s: version %d", test.name, s.Image().Version())
		}
	}
}

func clone(b record.Batch, at record.Offset) record.Batch {
	c := record.Batch{Header: slices.Clone(b.Bytes())}
	c.SetBaseOffset(at)
	return c
}

func TestCancelledCommit(t *testing.T) {
	log := newMemLog()
	log.held, log.appended = true, make(chan record.Offset, 10)
	s := open(t, log, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan error, 1)
	go func() {
		_, err := s.Commit(ctx, catalog.Any, create("a"))
		answer <- err
	}()
	<-log.appended
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	go func() {
		_, err := s.Commit(context.Background(), 1, create("b")) // rests on the one that nobody waits for
		answer <- err
	}()
	<-log.appended
	log.commit(2)
	if err := <-answer; err != nil || len(s.Image().Topics()) != 2 {
		t.Errorf("%v, %d topics", err, len(s.Image().Topics()))
	}
}

func TestCommitsAreBounded(t *testing.T) {
	log := newMemLog()
	log.held, log.appended = true, make(chan record.Offset, maxPending+1)
	s := open(t, log, Options{})
	var group sync.WaitGroup
	for n := range maxPending {
		group.Go(func() { s.Commit(context.Background(), catalog.Any, create(fmt.Sprintf("t%d", n))) })
	}
	for range maxPending {
		<-log.appended
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Commit(ctx, catalog.Any, create("one too many")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	log.commit(maxPending)
	group.Wait()
	commit := make(chan error, 1)
	go func() {
		_, err := s.Commit(context.Background(), catalog.Any, create("fits"))
		commit <- err
	}()
	log.commit(<-log.appended)
	if err := <-commit; err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	log := newMemLog()
	log.held, log.appended = true, make(chan record.Offset, 10)
	s := open(t, log, Options{})
	answer := make(chan error, 1)
	go func() {
		_, err := s.Commit(context.Background(), catalog.Any, create("a"))
		answer <- err
	}()
	<-log.appended
	if err := s.Close(); err != nil { // commits what is there
		t.Fatal(err)
	}
	if err := <-answer; err != nil || s.Image().Version() != 1 {
		t.Errorf("%v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Commit(t.Context(), catalog.Any, create("b")); !errors.Is(err, catalog.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := s.AllocateProducerIDs(t.Context(), 1); !errors.Is(err, catalog.ErrClosed) {
		t.Errorf("%v", err)
	}
	var seen *catalog.Image
	s.Watch(func(_, next *catalog.Image) { seen = next })()
	if seen != s.Image() {
		t.Error("a watcher of a closed store sees nothing")
	}
}

func TestCloseOfALogThatCannotCommit(t *testing.T) {
	log := newMemLog()
	log.held, log.appended = true, make(chan record.Offset, 10)
	s := open(t, log, Options{})
	answer := make(chan error, 1)
	go func() {
		_, err := s.Commit(context.Background(), catalog.Any, create("a"))
		answer <- err
	}()
	<-log.appended
	log.set(func(l *memLog) { l.refuse = refuseAll(errors.New("stuck")) })
	s.Close()
	if err := <-answer; !errors.Is(err, catalog.ErrClosed) || s.Image().Version() != 0 {
		t.Errorf("%v", err)
	}
}

func TestWatch(t *testing.T) {
	s := open(t, newMemLog(), Options{})
	commit1(t, s, create("a"))
	var seen [][2]int64
	stop := s.Watch(func(prev, next *catalog.Image) { seen = append(seen, [2]int64{prev.Version(), next.Version()}) })
	if !slices.Equal(seen, [][2]int64{{0, 1}}) {
		t.Fatalf("%v", seen)
	}
	var stopSelf func()
	calls := 0
	stopSelf = s.Watch(func(prev, next *catalog.Image) {
		if calls++; next.Version() == 2 {
			stopSelf()
		}
	})
	for _, name := range []string{"b", "c"} {
		commit1(t, s, create(name))
	}
	if !slices.Equal(seen, [][2]int64{{0, 1}, {1, 2}, {2, 3}}) || calls != 2 {
		t.Fatalf("%v, %d calls", seen, calls)
	}
	stop()
	commit1(t, s, create("d"))
	if len(seen) != 3 {
		t.Errorf("%v after stop", seen)
	}
}

func TestAllocateProducerIDs(t *testing.T) {
	log := newMemLog()
	s := open(t, log, Options{})
	var mu sync.Mutex
	given := map[int64]bool{}
	take := func(s *Store, n int) {
		first, err := s.AllocateProducerIDs(context.Background(), n)
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for id := first; id < first+int64(n); id++ {
			if given[id] || id < 0 {
				t.Errorf("id %d is given twice", id)
			}
			given[id] = true
		}
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for n := range 300 {
				take(s, 1+n%3)
			}
		})
	}
	group.Wait()
	take(s, producerIDBlock+5)
	if commits := s.Stats().Commits; commits > 10 {
		t.Errorf("%d commits for %d ids", commits, len(given))
	}
	for _, n := range []int{0, -1, catalog.MaxReservation + 1} {
		if _, err := s.AllocateProducerIDs(t.Context(), n); err == nil {
			t.Errorf("%d ids at once", n)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.AllocateProducerIDs(ctx, catalog.MaxReservation); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	take(s, 1)
	crashed := open(t, log.after(0), Options{})
	take(crashed, 1)
	take(crashed, producerIDBlock)
}

// TestConcurrentCommits: commits that rest on a version and are tried again until they get through, among others that
// rest on none, while images are read.
func TestConcurrentCommits(t *testing.T) {
	log := newMemLog()
	s := open(t, log, Options{SnapshotAfter: 30})
	var last int64
	defer s.Watch(func(prev, next *catalog.Image) {
		if next.Version() < last || prev.Version() > 0 && next.Version() != prev.Version()+1 {
			t.Errorf("from version %d to %d", prev.Version(), next.Version())
		}
		last = next.Version()
	})()
	var group sync.WaitGroup
	for n := range 6 {
		group.Go(func() {
			for m := range 25 {
				c := create(fmt.Sprintf("t-%d-%d", n, m))
				for {
					at := catalog.Any
					if n%2 == 0 {
						at = s.Image().Version()
					}
					i, err := s.Commit(context.Background(), at, c)
					if conflict, ok := errors.AsType[*catalog.ConflictError](err); ok {
						if s.Image().Version() < conflict.Current {
							t.Errorf("a conflict with version %d, which nobody sees", conflict.Current)
						}
						continue
					}
					if err != nil {
						t.Error(err)
					} else if _, ok := i.Topic(c.Name); !ok || s.Image().Version() < i.Version() {
						t.Errorf("%s is not in the image", c.Name)
					}
					break
				}
			}
		})
	}
	group.Wait()
	if s.Image().Version() != 150 || len(s.Image().Topics()) != 150 || s.Stats().Snapshots == 0 {
		t.Errorf("version %d, %+v", s.Image().Version(), s.Stats())
	}
	if !reopened(t, log.after(0)).Equal(s.Image()) {
		t.Error("the log holds something else")
	}
}

// randomChanges returns changes that are possible after an image.
func randomChanges(r *rand.Rand, i *catalog.Image) []catalog.Change {
	name := func() string { return fmt.Sprintf("t%d", r.IntN(20)) }
	for {
		var changes []catalog.Change
		for range 1 + r.IntN(4) {
			topics := i.Topics()
			var id [16]byte
			if len(topics) > 0 {
				id = topics[r.IntN(len(topics))].ID
			}
			switch r.IntN(10) {
			case 0, 1, 2:
				c := create(name())
				c.Configs = map[string]string{"<a>": "ü\u2028\"" + fmt.Sprint(r.IntN(100)), "empty": ""}
				changes = append(changes, c)
			case 3:
				changes = append(changes, catalog.DeleteTopic{ID: id})
			case 4:
				if d := i.Deleting(); len(d) > 0 {
					id = d[0].ID
				}
				changes = append(changes, catalog.PurgeTopic{ID: id})
			case 5:
				changes = append(changes, catalog.SetTopicConfigs{ID: id, Configs: map[string]string{"n": fmt.Sprint(r.IntN(9))}})
			case 6:
				changes = append(changes, catalog.SetPartitions{ID: id, Partitions: int32(r.IntN(50))})
			case 7:
				changes = append(changes, catalog.SetBrokerConfigs{Broker: []string{"", "1"}[r.IntN(2)], Configs: map[string]string{"m": fmt.Sprint(r.IntN(9))}})
			case 8:
				changes = append(changes, catalog.Start{ClusterID: "c"})
			default:
				changes = append(changes, catalog.ReserveProducerIDs{Count: 1 + int64(r.IntN(9))})
			}
		}
		if _, err := i.Apply(changes...); err == nil {
			return changes
		}
	}
}

// TestReplayIsTheLiveImage: after every commit a replay of the log gives the image, snapshots on the way or not; and
// a Store that is opened on it goes on.
func TestReplayIsTheLiveImage(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		options := Options{SnapshotAfter: 1 + r.IntN(25)}
		log := newMemLog()
		s := open(t, log, options)
		for range 120 {
			image := commit1(t, s, randomChanges(r, s.Image())...)
			if !reopened(t, log.after(0)).Equal(image) {
				t.Fatalf("seed %d: version %d: the log holds something else", seed, image.Version())
			}
			if r.IntN(15) == 0 {
				s.Close()
				log = log.after(0)
				if s = open(t, log, options); !s.Image().Equal(image) {
					t.Fatalf("seed %d: reopened at version %d", seed, s.Image().Version())
				}
			}
		}
		if start, _, _ := log.Bounds(); start == 0 {
			t.Errorf("seed %d: no snapshot in 120 commits with one after %d changes", seed, options.SnapshotAfter)
		}
	}
}

// TestCrashes cuts the log at every place where a crash could, while commits and snapshots are on their way: what was
// answered is there, and every commit is there whole or not at all.
func TestCrashes(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 3))
		log := newMemLog()
		log.held, log.appended = true, make(chan record.Offset, 1000)
		s := open(t, log, Options{SnapshotAfter: 7})
		var mu sync.Mutex
		answered := map[string]bool{}
		var group sync.WaitGroup
		for n := range 40 {
			group.Go(func() {
				pair := []catalog.Change{create(fmt.Sprintf("left-%d", n)), create(fmt.Sprintf("right-%d", n))}
				if _, err := s.Commit(context.Background(), catalog.Any, pair...); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				answered[fmt.Sprint(n)] = true
			})
			end := <-log.appended
			if r.IntN(4) == 0 {
				log.commit(end)
			}
			mu.Lock()
			must := len(answered)
			var names []string
			for name := range answered {
				names = append(names, name)
			}
			mu.Unlock()
			for kept := range log.uncommitted() + 1 {
				image := reopened(t, log.after(kept))
				if len(image.Topics()) < 2*must {
					t.Fatalf("seed %d: %d topics after a crash, %d commits were answered", seed, len(image.Topics()), must)
				}
				for _, name := range names {
					if _, ok := image.Topic("left-" + name); !ok {
						t.Fatalf("seed %d: commit %s was answered and is lost", seed, name)
					}
				}
				for _, topic := range image.Topics() {
					side, name, _ := strings.Cut(topic.Name, "-")
					other := map[string]string{"left": "right-", "right": "left-"}[side] + name
					if _, ok := image.Topic(other); !ok {
						t.Fatalf("seed %d: half of commit %s", seed, name)
					}
				}
			}
		}
		log.set(func(l *memLog) { l.held = false })
		_, _, end := log.Bounds()
		log.commit(end)
		group.Wait()
		s.Close()
	}
}

func TestSnapshotThatCannotBeWritten(t *testing.T) {
	log := newMemLog()
	s := open(t, log, Options{SnapshotAfter: 4})
	for n := range 3 {
		commit1(t, s, create(fmt.Sprint(n)))
	}
	log.set(func(l *memLog) {
		l.refuse = func(b record.Batch) error {
			if bytes.Contains(b.Bytes(), []byte(typeSnapshot)) {
				return errors.New("disk is full")
			}
			return nil
		}
	})
	last := create("3")
	commit1(t, s, last)
	configure := catalog.SetTopicConfigs{ID: last.ID, Configs: map[string]string{"a": "b"}}
	commit1(t, s, configure, configure)
	if stats := s.Stats(); stats.SnapshotFailures != 2 || stats.Snapshots != 0 || !reopened(t, log.after(0)).Equal(s.Image()) {
		t.Errorf("%+v", stats)
	}
	log.set(func(l *memLog) { l.refuse = nil })
	commit1(t, s, configure, configure)
	if s.Stats().Snapshots != 1 || !reopened(t, log.after(0)).Equal(s.Image()) {
		t.Errorf("%+v", s.Stats())
	}
}
