package fetch

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage/record"
)

// moment is when the tests' sessions begin.
var moment = time.Unix(1_700_000_000, 0)

func named(topic string, partition int32) partitionKey {
	return partitionKey{topic: topic, partition: partition}
}

func want(topic string, partition int32, offset int64) target {
	return target{key: named(topic, partition), offset: record.Offset(offset), maxBytes: 1 << 20, currentEpoch: -1, lastFetchedEpoch: -1}
}

// nothing is a partition without records and without news after the first time.
func nothing(int) standing { return standing{highWatermark: 10, logStart: 0} }

// where lists what an exchange reads, as topic-partition@offset.
func where(targets []target) (names []string) {
	for _, t := range targets {
		names = append(names, fmt.Sprintf("%s-%d@%d", t.key.topic, t.key.partition, t.offset))
	}
	return names
}

// open makes a session of targets and returns its id.
func open(t *testing.T, c *cache, now time.Time, targets ...target) int32 {
	t.Helper()
	x, err := c.begin(now, 0, initialEpoch, false, targets, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, told, err := x.finish(now, nothing)
	if err != nil || told != nil {
		t.Fatalf("a full fetch: told %v, error %v", told, err)
	}
	return id
}

func expectReads(t *testing.T, x *exchange, want ...string) {
	t.Helper()
	if got := where(x.targets); !slices.Equal(got, want) {
		t.Errorf("reads %v, want %v", got, want)
	}
}

func TestSessionRemembersAndForgets(t *testing.T) {
	c := newCache(10, 100)
	id := open(t, c, moment, want("a", 0, 1), want("a", 1, 2), want("b", 0, 3))
	if id <= 0 {
		t.Fatalf("session id %d, want a positive one", id)
	}

	x, err := c.begin(moment, id, 1, false, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	expectReads(t, x, "a-0@1", "a-1@2", "b-0@3")
	got, told, err := x.finish(moment, nothing)
	if err != nil || got != id || slices.Contains(told, true) {
		t.Errorf("nothing new: session %d (want %d), told %v, error %v", got, id, told, err)
	}

	x, err = c.begin(moment, id, 2, false, []target{want("a", 1, 20), want("c", 7, 9)}, []partitionKey{named("b", 0), named("never", 1)})
	if err != nil {
		t.Fatal(err)
	}
	expectReads(t, x, "a-0@1", "a-1@20", "c-7@9")
	_, told, err = x.finish(moment, nothing)
	if err != nil || !slices.Equal(told, []bool{false, false, true}) {
		t.Errorf("told %v, want only the new partition; error %v", told, err)
	}
	if sessions, partitions, _ := c.stats(); sessions != 1 || partitions != 3 {
		t.Errorf("%d sessions of %d partitions, want 1 of 3", sessions, partitions)
	}
}

func TestSessionTellsNewsOnly(t *testing.T) {
	steps := []struct {
		name  string
		found standing
		told  bool
	}{
		{"as before", standing{highWatermark: 10}, false},
		{"records", standing{highWatermark: 10, hasRecords: true}, true},
		{"high watermark", standing{highWatermark: 11}, true},
		{"the same again", standing{highWatermark: 11}, false},
		{"log start", standing{highWatermark: 11, logStart: 5}, true},
		{"the same again", standing{highWatermark: 11, logStart: 5}, false},
		{"an error", standing{failed: true, highWatermark: -1, logStart: -1}, true},
		{"the error again", standing{failed: true, highWatermark: -1, logStart: -1}, true},
		{"recovered", standing{highWatermark: 11, logStart: 5}, true},
		{"as before", standing{highWatermark: 11, logStart: 5}, false},
		{"diverging", standing{diverges: true, highWatermark: 11, logStart: 5}, true},
		{"diverging still", standing{diverges: true, highWatermark: 11, logStart: 5}, true},
		{"diverging no more", standing{highWatermark: 11, logStart: 5}, false},
	}
	c := newCache(1, 10)
	id := open(t, c, moment, want("a", 0, 0))
	for i, s := range steps {
		x, err := c.begin(moment, id, int32(i+1), false, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, told, err := x.finish(moment, func(int) standing { return s.found })
		if err != nil || told[0] != s.told {
			t.Errorf("step %d (%s): told %v, want %v; error %v", i, s.name, told[0], s.told, err)
		}
	}
}

// A partition that had records is read after all others the next time, or the ones behind it would starve.
func TestSessionOrderIsFair(t *testing.T) {
	c := newCache(1, 10)
	id := open(t, c, moment, want("a", 0, 0), want("a", 1, 0), want("a", 2, 0))
	var firsts []string
	for epoch := int32(1); epoch <= 6; epoch++ {
		x, err := c.begin(moment, id, epoch, false, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		firsts = append(firsts, where(x.targets)[0])
		if _, _, err := x.finish(moment, func(i int) standing { return standing{hasRecords: i == 0} }); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"a-0@0", "a-1@0", "a-2@0", "a-0@0", "a-1@0", "a-2@0"}; !slices.Equal(firsts, want) {
		t.Errorf("read first: %v, want %v", firsts, want)
	}
}

func TestSessionRefuses(t *testing.T) {
	tests := []struct {
		name  string
		id    func(real int32) int32
		epoch int32
		byID  bool
		want  error
	}{
		{"unknown session", func(real int32) int32 { return real ^ 1 }, 1, false, kerr.FetchSessionIDNotFound},
		{"no session", func(int32) int32 { return 0 }, 1, false, kerr.FetchSessionIDNotFound},
		{"an epoch too early", func(real int32) int32 { return real }, 2, false, kerr.InvalidFetchSessionEpoch},
		{"an impossible epoch", func(real int32) int32 { return real }, -2, false, kerr.InvalidFetchSessionEpoch},
		{"ids in a session of names", func(real int32) int32 { return real }, 1, true, kerr.FetchSessionTopicIDError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCache(2, 10)
			id := open(t, c, moment, want("a", 0, 0))
			if _, err := c.begin(moment, test.id(id), test.epoch, test.byID, nil, nil); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if _, err := c.begin(moment, id, 1, false, nil, nil); err != nil {
				t.Errorf("the session has suffered: %v", err)
			}
		})
	}
}

// Two requests with the same epoch (a client that has reconnected, say) must not both be answered from the session.
func TestSessionAnswersAnEpochOnce(t *testing.T) {
	c := newCache(1, 10)
	id := open(t, c, moment, want("a", 0, 0))
	slow, err := c.begin(moment, id, 1, false, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.begin(moment, id, 1, false, nil, nil); !errors.Is(err, kerr.InvalidFetchSessionEpoch) {
		t.Errorf("the epoch again: error %v, want %v", err, kerr.InvalidFetchSessionEpoch)
	}
	next, err := c.begin(moment, id, 2, false, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := slow.finish(moment, nothing)
	if !errors.Is(err, kerr.InvalidFetchSessionEpoch) || got != id {
		t.Errorf("overtaken: session %d, error %v, want %d and %v", got, err, id, kerr.InvalidFetchSessionEpoch)
	}
	if _, _, err := next.finish(moment, nothing); err != nil {
		t.Error(err)
	}
}

func TestFullFetchEndsTheSession(t *testing.T) {
	for _, test := range []struct {
		name  string
		epoch int32
		again bool // another session is made
	}{
		{"a new one is asked for", initialEpoch, true},
		{"none is asked for", finalEpoch, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCache(2, 10)
			old := open(t, c, moment, want("a", 0, 0))
			x, err := c.begin(moment, old, test.epoch, false, []target{want("b", 0, 0)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			expectReads(t, x, "b-0@0")
			id, told, err := x.finish(moment, nothing)
			if err != nil || told != nil || (id != 0) != test.again || id == old {
				t.Errorf("session %d after %d, told %v, error %v", id, old, told, err)
			}
			if _, err := c.begin(moment, old, 1, false, nil, nil); !errors.Is(err, kerr.FetchSessionIDNotFound) {
				t.Errorf("the old session: error %v, want %v", err, kerr.FetchSessionIDNotFound)
			}
		})
	}
}

func TestSessionWithNothingLeftIsDropped(t *testing.T) {
	c := newCache(2, 10)
	id := open(t, c, moment, want("a", 0, 0))
	x, err := c.begin(moment, id, 1, false, nil, []partitionKey{named("a", 0)})
	if err != nil {
		t.Fatal(err)
	}
	expectReads(t, x)
	if got, _, err := x.finish(moment, nothing); err != nil || got != 0 {
		t.Errorf("session %d, error %v, want none", got, err)
	}
	if sessions, partitions, _ := c.stats(); sessions != 0 || partitions != 0 {
		t.Errorf("%d sessions of %d partitions are left", sessions, partitions)
	}
}

func TestFetchNamesAPartitionTwice(t *testing.T) {
	for _, epoch := range []int32{initialEpoch, finalEpoch} {
		x, err := newCache(2, 10).begin(moment, 0, epoch, false, []target{want("a", 0, 1), want("b", 0, 2), want("a", 0, 3)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		expectReads(t, x, "a-0@3", "b-0@2")
	}
}

// Kafka reads what a request puts into a session and takes out again in the same breath, this once.
func TestSessionPutAndForgotten(t *testing.T) {
	c := newCache(2, 10)
	id := open(t, c, moment, want("a", 0, 0))
	x, err := c.begin(moment, id, 1, false, []target{want("b", 0, 5)}, []partitionKey{named("a", 0), named("b", 0)})
	if err != nil {
		t.Fatal(err)
	}
	expectReads(t, x, "b-0@5")
	if got, _, err := x.finish(moment, nothing); err != nil || got != 0 {
		t.Errorf("session %d, error %v, want none", got, err)
	}
}

func TestNextEpoch(t *testing.T) {
	for epoch, next := range map[int32]int32{0: 1, 1: 2, math.MaxInt32: 1, finalEpoch: finalEpoch} {
		if got := nextEpoch(epoch); got != next {
			t.Errorf("after %d comes %d, want %d", epoch, got, next)
		}
	}
}

func TestEviction(t *testing.T) {
	const before, after = minSessionAge - time.Second, minSessionAge + time.Second
	targets := func(n int32) (all []target) {
		for p := range n {
			all = append(all, want("t", p, 0))
		}
		return all
	}
	// A cache of two slots holds a session of two partitions and one of four.
	tests := []struct {
		name    string
		used    time.Duration // when both are used again, 0 for not
		now     time.Duration
		size    int32 // of the session that wants in
		evicted string
		made    bool
	}{
		{"both are young", 0, before, 10, "", false},
		{"both are stale: the one used longest ago goes", 0, after, 1, "two", true},
		{"old and in use: a larger one drives out the smallest", after, after + 1, 3, "two", true},
		{"old and in use: one as large does not", after, after + 1, 2, "", false},
		{"old and in use: a smaller one does not", after, after + 1, 1, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCache(2, 100)
			two := open(t, c, moment, targets(2)...)
			four := open(t, c, moment.Add(1), targets(4)...)
			epoch := int32(1)
			if test.used > 0 {
				for _, id := range []int32{two, four} {
					if _, err := c.begin(moment.Add(test.used), id, epoch, false, nil, nil); err != nil {
						t.Fatal(err)
					}
				}
				epoch++
			}
			if made := open(t, c, moment.Add(test.now), targets(test.size)...) != 0; made != test.made {
				t.Errorf("a session was made: %v, want %v", made, test.made)
			}
			for name, id := range map[string]int32{"two": two, "four": four} {
				_, err := c.begin(moment.Add(test.now), id, epoch, false, nil, nil)
				if gone := errors.Is(err, kerr.FetchSessionIDNotFound); gone != (name == test.evicted) {
					t.Errorf("the session of %s partitions is gone: %v (%v), want %q to be", name, gone, err, test.evicted)
				}
			}
			if _, _, evictions := c.stats(); evictions != int64(len(test.evicted))/3 {
				t.Errorf("%d evictions", evictions)
			}
		})
	}
}

func TestPartitionsAreBounded(t *testing.T) {
	c := newCache(10, 4)
	id := open(t, c, moment, want("a", 0, 0), want("a", 1, 0), want("a", 2, 0))
	if open(t, c, moment, want("b", 0, 0), want("b", 1, 0)) != 0 {
		t.Error("a session beyond the bound was made")
	}
	if open(t, c, moment, want("b", 0, 0)) == 0 {
		t.Error("a session within the bound was not made")
	}
	_, err := c.begin(moment, id, 1, false, []target{want("c", 0, 0)}, nil)
	if !errors.Is(err, kerr.FetchSessionIDNotFound) {
		t.Errorf("a session that grows beyond the bound: error %v, want %v", err, kerr.FetchSessionIDNotFound)
	}
	if sessions, partitions, _ := c.stats(); sessions != 1 || partitions != 1 {
		t.Errorf("%d sessions of %d partitions are left, want 1 of 1", sessions, partitions)
	}
}

func TestNoSlots(t *testing.T) {
	if id := open(t, newCache(0, 10), moment, want("a", 0, 0)); id != 0 {
		t.Errorf("session %d, want none", id)
	}
}

// TestCacheAgainstItself runs random requests and checks after each that the cache's own books agree.
func TestCacheAgainstItself(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c := newCache(8, 60)
	epochs := map[int32]int32{}
	now := moment
	for range 20_000 {
		now = now.Add(time.Duration(r.IntN(20)) * time.Second)
		var targets []target
		for range r.IntN(5) {
			targets = append(targets, want("t", r.Int32N(12), r.Int64N(5)))
		}
		id, epoch := int32(0), int32(initialEpoch)
		for id, epoch = range epochs { // any one
			break
		}
		switch r.IntN(10) {
		case 0, 1:
			id, epoch = 0, initialEpoch
		case 2:
			epoch = finalEpoch
		case 3:
			epoch += r.Int32N(2)
		}
		x, err := c.begin(now, id, epoch, false, targets, []partitionKey{named("t", r.Int32N(12))})
		if err != nil {
			delete(epochs, id)
			checkCache(t, c)
			continue
		}
		got, _, err := x.finish(now, func(int) standing { return standing{hasRecords: r.IntN(3) == 0} })
		if got != id || err != nil {
			delete(epochs, id)
		}
		if got != 0 && err == nil {
			epochs[got] = nextEpoch(max(epoch, 0))
		}
		checkCache(t, c)
	}
}

// checkCache compares everything that the cache and its sessions know twice.
func checkCache(t *testing.T, c *cache) {
	t.Helper()
	partitions := 0
	for id, s := range c.sessions {
		partitions += s.counted
		ring := 0
		for m := s.order.next; m != &s.order; m = m.next {
			ring++
			if s.parts[m.key] != m || m.next.prev != m {
				t.Fatal("the order of a session is broken")
			}
		}
		if s.id != id || ring != len(s.parts) || s.counted != ring {
			t.Fatalf("session %d as %d: %d partitions in order, %d by name, %d counted", s.id, id, ring, len(s.parts), s.counted)
		}
		if s.heapAt >= 0 && c.bySize[s.heapAt] != s {
			t.Fatal("the heap is broken")
		}
	}
	if len(c.sessions) > c.slots || c.used.Len() != len(c.sessions) || partitions != c.partitions || partitions > c.maxPartitions {
		t.Fatalf("%d sessions in %d slots (%d by use), %d partitions of %d (%d counted)",
			len(c.sessions), c.slots, c.used.Len(), partitions, c.maxPartitions, c.partitions)
	}
	for i := range c.bySize {
		if i > 0 && c.bySize.Less(i, (i-1)/2) {
			t.Fatal("the heap is out of order")
		}
	}
}
