package fetch

import (
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage/record"
)

// Epochs of a session that mean something else than "the next request of it" (Kafka's FetchMetadata).
const (
	// initialEpoch asks for a new session, and names all partitions that are wanted.
	initialEpoch = 0
	// finalEpoch asks for no session, and names all partitions that are wanted.
	finalEpoch = -1
	// noSession is the id of no session.
	noSession = 0
)

// partitionKey names a partition as a request does: by topic id from version 13 on, by topic name before. The other
// one is zero, so that a key is equal to itself whatever the name of a topic has become.
type partitionKey struct {
	topic     string
	topicID   [16]byte
	partition int32
}

// target is a partition that a client asks for, with what it says of it.
type target struct {
	key partitionKey
	// topic is the name which the topic id of key was last seen to have; empty if it has not been seen at all.
	topic            string
	offset           record.Offset
	maxBytes         int32
	currentEpoch     int32 // -1: do not check
	lastFetchedEpoch int32 // -1: do not look for a divergence
}

// standing is what an answer says of a partition even if it has no records: an incremental answer leaves out a
// partition for which it would repeat the last one.
type standing struct {
	hasRecords    bool
	failed        bool
	diverges      bool
	highWatermark int64
	logStart      int64
}

// session is what the broker remembers of one client's fetches (KIP-227), so that a request names only the partitions
// that are new or asked differently, and an answer only those that have news.
type session struct {
	id           int32
	usesTopicIDs bool
	created      time.Time

	mu    sync.Mutex // guards what follows; never held across a read, a wait or a lock of the cache
	epoch int32      // that the next request must have
	parts map[partitionKey]*member
	order member // ring in which the partitions are read; order.next is the first

	place // the cache's, guarded by its lock
}

// member is a partition in a session.
type member struct {
	target
	highWatermark int64 // as last told to the client; -1 forces it to be told
	logStart      int64
	prev, next    *member
}

func newSession(usesTopicIDs bool, now time.Time) *session {
	s := &session{usesTopicIDs: usesTopicIDs, created: now, parts: map[partitionKey]*member{}}
	s.order.prev, s.order.next = &s.order, &s.order
	return s
}

func (s *session) pushBack(m *member) {
	m.prev, m.next = s.order.prev, &s.order
	m.prev.next, m.next.prev = m, m
}

func (m *member) unlink() {
	m.prev.next, m.next.prev = m.next, m.prev
}

// put adds a partition at the end, or replaces what is asked of one that is there and leaves it in its place.
func (s *session) put(t target) *member {
	m := s.parts[t.key]
	if m == nil {
		m = &member{target: t, highWatermark: -1, logStart: -1}
		s.parts[t.key] = m
		s.pushBack(m)
		return m
	}
	if t.topic == "" {
		t.topic = m.topic
	}
	m.target = t
	return m
}

func (s *session) forget(k partitionKey) {
	if m := s.parts[k]; m != nil {
		delete(s.parts, k)
		m.unlink()
	}
}

// advance takes the next request of the session: its epoch must be the expected one, then its partitions are put and
// forgotten. It returns all partitions of the session in the order in which they are to be read.
//
// No targets and no error: nothing is left in the session, which should be dropped.
func (s *session) advance(epoch int32, usesTopicIDs bool, wanted []target, forgotten []partitionKey) ([]target, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.epoch != epoch:
		return nil, kerr.InvalidFetchSessionEpoch
	case s.usesTopicIDs != usesTopicIDs:
		return nil, kerr.FetchSessionTopicIDError
	}
	for _, t := range wanted {
		s.put(t)
	}
	for _, k := range forgotten {
		s.forget(k)
	}
	if len(s.parts) == 0 {
		return nil, nil
	}
	s.epoch = nextEpoch(s.epoch)
	targets := make([]target, 0, len(s.parts))
	for m := s.order.next; m != &s.order; m = m.next {
		targets = append(targets, m.target)
	}
	return targets, nil
}

// settle takes what the request with the given epoch found, target by target, and says which targets the answer must
// name. A partition with records goes to the end of the order, so that the ones behind it are read before it the next
// time. It fails if another request of the session came in between.
func (s *session) settle(epoch int32, targets []target, found func(i int) standing) (told []bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != nextEpoch(epoch) {
		return nil, kerr.InvalidFetchSessionEpoch
	}
	told = make([]bool, len(targets))
	for i := range targets {
		m := s.parts[targets[i].key]
		if m == nil {
			continue
		}
		m.topic = targets[i].topic
		f := found(i)
		told[i] = m.tell(f)
		if f.hasRecords {
			m.unlink()
			s.pushBack(m)
		}
	}
	return told, nil
}

// tell reports whether the client must be told of f, and remembers that it was.
func (m *member) tell(f standing) bool {
	news := f.hasRecords || f.failed || f.diverges || f.highWatermark != m.highWatermark || f.logStart != m.logStart
	m.highWatermark, m.logStart = f.highWatermark, f.logStart
	if f.failed {
		m.highWatermark = -1 // so that the partition is told of again when it has recovered
	}
	return news
}

// size is the number of partitions in the session.
func (s *session) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.parts)
}

// nextEpoch follows epoch; it wraps to 1 because 0 would ask for a new session.
func nextEpoch(epoch int32) int32 {
	switch {
	case epoch < 0:
		return finalEpoch
	case epoch == math.MaxInt32:
		return 1
	}
	return epoch + 1
}
