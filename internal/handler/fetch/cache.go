package fetch

import (
	"container/heap"
	"container/list"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// minSessionAge is the time for which a session is safe: from its last use against any other, and from its creation
// against one of more partitions (Kafka's MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS).
const minSessionAge = 2 * time.Minute

// cache holds the sessions of all clients. When its slots are taken, a new session takes the place of one that has not
// been used for minSessionAge, else of the smallest among those that are older than that if it has more partitions
// than this one, else it is not made and the client goes on without (Kafka's FetchSessionCacheShard). Kafka knows
// privileged sessions as well, those of followers; there are none here.
type cache struct {
	slots         int
	maxPartitions int

	mu         sync.Mutex // guards what follows and each session's place
	sessions   map[int32]*session
	used       *list.List // of *session, by last use, the longest ago in front
	bySize     sizeHeap   // the sessions that a larger one may evict
	partitions int        // in all sessions
	evictions  int64
}

// place is what the cache knows of a session.
type place struct {
	lastUsed time.Time
	counted  int           // partitions that are in cache.partitions for it
	element  *list.Element // in cache.used; nil if the session is not in the cache
	heapAt   int           // index in cache.bySize, -1 if it is not there
}

// newCache returns a cache for so many sessions, with no more than maxPartitions partitions in all of them.
func newCache(slots, maxPartitions int) *cache {
	return &cache{slots: slots, maxPartitions: maxPartitions, sessions: map[int32]*session{}, used: list.New()}
}

// get returns a session for a request that brings so many partitions.
func (c *cache) get(id int32, more int) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[id]
	if s == nil {
		return nil, kerr.FetchSessionIDNotFound
	}
	if c.partitions+more > c.maxPartitions {
		c.drop(s) // the client names all its partitions again and gets no session
		return nil, kerr.FetchSessionIDNotFound
	}
	return s, nil
}

// touch notes that s, of so many partitions, is in use.
func (c *cache) touch(s *session, size int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.element == nil {
		return // evicted meanwhile
	}
	c.partitions += size - s.counted
	s.counted = size
	s.lastUsed = now
	c.used.MoveToBack(s.element)
	switch {
	case s.heapAt >= 0:
		heap.Fix(&c.bySize, s.heapAt)
	case now.Sub(s.created) > minSessionAge:
		heap.Push(&c.bySize, s)
	}
}

// add gives s an id and a place, and reports whether there was one.
func (c *cache) add(s *session, now time.Time) bool {
	size := s.size()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.partitions+size > c.maxPartitions || (len(c.sessions) >= c.slots && !c.evict(size, now)) {
		return false
	}
	for s.id == noSession || c.sessions[s.id] != nil {
		s.id = rand.Int32()
	}
	c.sessions[s.id] = s
	c.partitions += size
	s.place = place{lastUsed: now, counted: size, element: c.used.PushBack(s), heapAt: -1}
	return true
}

// evict makes room for a session of so many partitions, if it may.
func (c *cache) evict(size int, now time.Time) bool {
	front := c.used.Front()
	if front == nil {
		return false
	}
	victim := front.Value.(*session)
	if now.Sub(victim.lastUsed) <= minSessionAge {
		if len(c.bySize) == 0 || c.bySize[0].counted >= size {
			return false
		}
		victim = c.bySize[0]
	}
	c.drop(victim)
	c.evictions++
	return true
}

// remove drops the session with that id, if there is one.
func (c *cache) remove(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[id]; s != nil {
		c.drop(s)
	}
}

func (c *cache) drop(s *session) {
	delete(c.sessions, s.id)
	c.used.Remove(s.element)
	if s.heapAt >= 0 {
		heap.Remove(&c.bySize, s.heapAt)
	}
	c.partitions -= s.counted
	s.place = place{heapAt: -1}
}

func (c *cache) stats() (sessions, partitions int, evictions int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions), c.partitions, c.evictions
}

// sizeHeap orders sessions by their partitions, then by id, the smallest first.
type sizeHeap []*session

func (h sizeHeap) Len() int { return len(h) }
func (h sizeHeap) Less(i, j int) bool {
	if h[i].counted != h[j].counted {
		return h[i].counted < h[j].counted
	}
	return h[i].id < h[j].id
}
func (h sizeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}
func (h *sizeHeap) Push(x any) {
	s := x.(*session)
	s.heapAt = len(*h)
	*h = append(*h, s)
}
func (h *sizeHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	s.heapAt = -1
	return s
}

// exchange is one request and its answer, seen from the sessions: what to read, and afterwards what to tell.
type exchange struct {
	cache   *cache
	kind    exchangeKind
	session *session // of an incremental request
	epoch   int32    // of the request
	byID    bool
	targets []target // in the order to read them
}

type exchangeKind int8

const (
	// sessionless: all partitions are named, none is remembered.
	sessionless exchangeKind = iota
	// full: all partitions are named, and a session may be made of them.
	full
	// incremental: the request changes what is remembered.
	incremental
)

// begin sorts a request out. Its error is a *kerr.Error for the answer as a whole. byID says that the request names
// topics by id.
func (c *cache) begin(now time.Time, id, epoch int32, byID bool, wanted []target, forgotten []partitionKey) (*exchange, error) {
	x := &exchange{cache: c, kind: sessionless, epoch: epoch, byID: byID}
	if epoch == initialEpoch || epoch == finalEpoch {
		c.remove(id) // a client that names all partitions is done with its session
		x.targets = distinct(wanted)
		if epoch == initialEpoch {
			x.kind = full
		}
		return x, nil
	}
	s, err := c.get(id, len(wanted))
	if err != nil {
		return nil, err
	}
	targets, err := s.advance(epoch, byID, wanted, forgotten)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		c.remove(id)
		x.targets = distinct(wanted) // which it has forgotten at once
		return x, nil
	}
	c.touch(s, len(targets), now)
	x.kind, x.session, x.targets = incremental, s, targets
	return x, nil
}

// finish takes what was found, target by target. It returns the session for the answer and which targets to tell;
// nil for all of them. The error is one for the answer as a whole.
func (x *exchange) finish(now time.Time, found func(i int) standing) (id int32, told []bool, err error) {
	switch x.kind {
	case full:
		return x.open(now, found), nil, nil
	case incremental:
		told, err = x.session.settle(x.epoch, x.targets, found)
		return x.session.id, told, err
	}
	return noSession, nil, nil
}

// open makes the session that a full request asks for.
func (x *exchange) open(now time.Time, found func(i int) standing) int32 {
	s := newSession(x.byID, now)
	s.epoch = nextEpoch(initialEpoch)
	for i, t := range x.targets {
		s.put(t).tell(found(i))
	}
	if !x.cache.add(s, now) {
		return noSession
	}
	return s.id
}

// distinct returns the targets with each partition once, where it was named first and as it was asked for last.
func distinct(targets []target) []target {
	at := make(map[partitionKey]int, len(targets))
	kept := targets[:0]
	for _, t := range targets {
		if i, seen := at[t.key]; seen {
			kept[i] = t
			continue
		}
		at[t.key] = len(kept)
		kept = append(kept, t)
	}
	return kept
}
