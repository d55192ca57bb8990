package partition

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sync/errgroup"

	"segue/storage"
)

// Manager owns the partitions that this broker leads. It is safe for concurrent use. It has one goroutine, which Close
// ends: it saves checkpoints of the partitions that have fallen behind theirs and forgets idle producers.
type Manager struct {
	store   Store
	options ManagerOptions

	mu     sync.RWMutex // guards what follows, and the fields of slots
	slots  map[place]*slot
	closed bool

	due    dueList
	hooks  hooks // of all partitions
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
}

// ManagerOptions are how a Manager works. Zero numbers stand for the defaults.
type ManagerOptions struct {
	// Codecs are those of all partitions. They must not be nil.
	Codecs *Codecs
	// Parallel is how many partitions are opened and saved at a time; by default as many as there are
	// processors, and four at least, since each of them waits for the disk.
	Parallel int
	// CheckpointBytes and CheckpointAge are how much, and for how long, a partition may fall behind its checkpoint;
	// by default 64 MiB and a minute. They bound what a start after a crash has to replay.
	CheckpointBytes int64
	CheckpointAge   time.Duration
	// ExpireEvery is how often idle producers are looked for (producer.id.expiration.check.interval.ms); by default
	// every ten minutes.
	ExpireEvery time.Duration
	// Log gets what goes wrong in the background. Its zero value discards it.
	Log zerolog.Logger
}

// checkpointPatience is how long the background waits for one checkpoint, which is to say for a sync, before it turns
// to other partitions. It comes back.
const checkpointPatience = time.Minute

// closers is how many partitions are closed or deleted at a time. They wait for syncs, and so many share one.
const closers = 256

// place is where a partition is found.
type place struct {
	topicID   [16]byte
	partition int32
}

func placeOf(id storage.Identity) place { return place{id.TopicID, id.Partition} }

// slot holds a partition, the error that kept it from opening, or neither while it opens.
type slot struct {
	id        storage.Identity
	opened    chan struct{} // closed when one of the two is there
	told      *Config       // the configuration, if it was changed while the partition was opening
	partition *Partition
	err       error
}

// Opening is a partition to be opened.
type Opening struct {
	Identity storage.Identity
	Epoch    int32 // the leader epoch of this broker's leadership
	Config   Config
}

// NewManager returns a Manager of no partitions.
func NewManager(store Store, o ManagerOptions) *Manager {
	if o.Parallel <= 0 {
		o.Parallel = max(4, runtime.GOMAXPROCS(0))
	}
	if o.CheckpointBytes <= 0 {
		o.CheckpointBytes = 64 << 20
	}
	if o.CheckpointAge <= 0 {
		o.CheckpointAge = time.Minute
	}
	if o.ExpireEvery <= 0 {
		o.ExpireEvery = 10 * time.Minute
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{
		store: store, options: o, slots: make(map[place]*slot),
		due: dueList{bell: make(chan struct{}, 1)}, cancel: cancel, done: make(chan struct{}),
	}
	m.hooks = hooks{due: m.due.add, dueBytes: o.CheckpointBytes}
	go m.run(ctx)
	return m
}

// Open opens partitions, new and old ones, side by side; those that are open already, or about to be, it leaves alone.
// After each one it calls progress, unless that is nil, with how many are done, one call at a time. A partition that
// cannot be opened keeps no other from it: Get returns its error, and another Open tries again. All these errors come
// back joined.
func (m *Manager) Open(ctx context.Context, openings []Opening, progress func(done int)) error {
	var (
		mu   sync.Mutex // guards done and errs
		done int
		errs []error
	)
	finish := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
		done++
		if progress != nil {
			progress(done)
		}
	}
	slots := make([]*slot, len(openings))
	configs := make(map[Config]*Config) // those of a topic are alike: its partitions share one
	for i, o := range openings {
		var err error
		if slots[i], err = m.reserve(o.Identity); slots[i] == nil {
			finish(err)
		}
		if configs[o.Config] == nil {
			c := o.Config
			configs[c] = &c
		}
	}
	sideBySide(m.options.Parallel, len(openings), func(i int) {
		if slots[i] != nil {
			finish(m.fill(ctx, slots[i], openings[i].Epoch, configs[openings[i].Config]))
		}
	})
	return errors.Join(errs...)
}

// sideBySide calls f with each number below n, and returns when all calls have. It has so many goroutines at the most, and
// not one for each call: their stacks would be grown again each time.
func sideBySide(parallel, n int, f func(i int)) {
	var (
		next    atomic.Int64
		workers sync.WaitGroup
	)
	for range min(parallel, n) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	workers.Wait()
}

// reserve makes a slot for a partition, or returns nil if there is nothing to open.
func (m *Manager) reserve(id storage.Identity) (*slot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, translate("open "+id.String(), errClosed)
	}
	if s := m.slots[placeOf(id)]; s != nil && s.err == nil {
		return nil, nil
	}
	s := &slot{id: id, opened: make(chan struct{})}
	m.slots[placeOf(id)] = s
	return s, nil
}

// fill opens a partition into its slot.
func (m *Manager) fill(ctx context.Context, s *slot, epoch int32, c *Config) error {
	m.mu.RLock()
	closed := m.closed
	m.mu.RUnlock()
	var (
		p   *Partition
		err = translate("open "+s.id.String(), errClosed)
	)
	if !closed {
		p, err = open(ctx, m.store, s.id, epoch, c, m.options.Codecs, m.hooks)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.partition, s.err = p, err
	if p != nil && s.told != nil {
		p.configure(s.told)
	}
	s.told = nil
	close(s.opened)
	return err
}

// Get returns an open partition. One that is not here, or is still opening, is NOT_LEADER_OR_FOLLOWER: the caller has
// found it in the catalog, so it will be here soon, or was a moment ago. One that could not be opened is
// KAFKA_STORAGE_ERROR.
func (m *Manager) Get(topicID [16]byte, partition int32) (*Partition, error) {
	m.mu.RLock()
	s := m.slots[place{topicID, partition}]
	var (
		p   *Partition
		err error
	)
	if s != nil {
		p, err = s.partition, s.err
	}
	m.mu.RUnlock()
	switch {
	case p != nil:
		return p, nil
	case err != nil:
		return nil, refuse(kerr.KafkaStorageError, "%s could not be opened (%v)", s.id, err)
	case s != nil:
		return nil, refuse(kerr.NotLeaderForPartition, "%s is still being opened", s.id)
	}
	return nil, refuse(kerr.NotLeaderForPartition, "partition %d of topic id %x is not open here", partition, topicID)
}

// Configure changes the configuration of all partitions of some topics.
func (m *Manager) Configure(topics map[[16]byte]Config) {
	shared := make(map[[16]byte]*Config, len(topics)) // the partitions of a topic share one
	for id, c := range topics {
		shared[id] = &c
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, s := range m.slots {
		c := shared[at.topicID]
		switch {
		case c == nil:
		case s.partition != nil:
			s.partition.configure(c)
		default:
			s.told = c
		}
	}
}

// Each calls f for every partition that is open, and with a nil Partition and the error for every one that could not
// be opened, in no order. It holds no lock over the calls.
func (m *Manager) Each(f func(storage.Identity, *Partition, error)) {
	for _, s := range m.collect(func(s *slot) bool { return s.partition != nil || s.err != nil }) {
		f(s.id, s.partition, s.err)
	}
}

// collect returns the slots that want wants. It holds the lock over the calls.
func (m *Manager) collect(want func(*slot) bool) []*slot {
	m.mu.RLock()
	defer m.mu.RUnlock()
	slots := make([]*slot, 0, len(m.slots))
	for _, s := range m.slots {
		if want(s) {
			slots = append(slots, s)
		}
	}
	return slots
}

// Release closes one partition, after a checkpoint, and forgets it; the log stays. It waits for one that is opening. A
// partition that is not here is no error.
func (m *Manager) Release(ctx context.Context, topicID [16]byte, partition int32) error {
	at := place{topicID, partition}
	return m.settled(ctx, m.collect(func(s *slot) bool { return placeOf(s.id) == at }), func(s *slot) error {
		return m.release(ctx, s)
	})
}

func (m *Manager) release(ctx context.Context, s *slot) error {
	defer m.forget(s)
	if s.partition == nil {
		return nil
	}
	return s.partition.Close(ctx)
}

func (m *Manager) forget(s *slot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.slots[placeOf(s.id)] == s {
		delete(m.slots, placeOf(s.id))
	}
}

// Delete closes all partitions of a topic and deletes their logs. Where none is open it deletes what the store holds of
// the topic: what was left of it when the broker stopped in the middle. That includes a log whose topic id did not come
// to be durable and that bears the topic's name: nothing in it was ever acknowledged, and it must not come to light
// again in the next topic of that name. When Delete fails it may be called again.
func (m *Manager) Delete(ctx context.Context, topic string, topicID [16]byte) error {
	slots := m.collect(func(s *slot) bool { return s.id.TopicID == topicID })
	if len(slots) > 0 {
		return m.settled(ctx, slots, func(s *slot) error { return m.delete(ctx, s) })
	}
	ids, err := m.store.List(ctx)
	if err != nil {
		return translate("look for the logs of a deleted topic", err)
	}
	for _, id := range ids {
		if id.TopicID == topicID || id.TopicID == [16]byte{} && id.Topic == topic {
			id.TopicID = topicID
			err = errors.Join(err, translate("delete "+id.String(), m.store.Delete(ctx, id)))
		}
	}
	return err
}

func (m *Manager) delete(ctx context.Context, s *slot) error {
	if s.partition != nil {
		_ = s.partition.close(ctx, false) // a log that goes away may say what it will
	}
	if err := m.store.Delete(ctx, s.id); err != nil {
		return translate("delete "+s.id.String(), err) // the slot stays, for the next try
	}
	m.forget(s)
	return nil
}

// settled calls f for slots, side by side, once they are open or have failed to.
func (m *Manager) settled(ctx context.Context, slots []*slot, f func(*slot) error) error {
	errs := make([]error, len(slots))
	sideBySide(closers, len(slots), func(i int) {
		s := slots[i]
		select {
		case <-s.opened: // and not the context's end, where both are so
			errs[i] = f(s)
			return
		default:
		}
		select {
		case <-s.opened:
			errs[i] = f(s)
		case <-ctx.Done():
			errs[i] = translate("wait for "+s.id.String()+" to open", ctx.Err())
		}
	})
	return errors.Join(errs...)
}

// Close ends the background and closes all partitions, side by side, each after a checkpoint. When the context ends
// the checkpoints are left out, and the next start replays a little more.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	<-m.done
	err := m.settled(ctx, m.collect(func(*slot) bool { return true }), func(s *slot) error { return m.release(ctx, s) })
	if ctx.Err() != nil {
		m.options.Log.Warn().Msg("checkpoints were left out to stop in time; the next start replays more")
	}
	return err
}

// run is the Manager's goroutine.
func (m *Manager) run(ctx context.Context) {
	defer close(m.done)
	aged := time.NewTicker(m.options.CheckpointAge / 4)
	defer aged.Stop()
	expiry := time.NewTicker(m.options.ExpireEvery)
	defer expiry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.due.bell:
			m.checkpoint(ctx, m.due.take())
		case <-aged.C:
			m.checkpoint(ctx, m.aged())
		case <-expiry.C:
			m.Each(func(_ storage.Identity, p *Partition, err error) {
				if err == nil {
					p.expireProducers()
				}
			})
		}
	}
}

// aged returns the partitions whose checkpoint has been behind for too long.
func (m *Manager) aged() (aged []*Partition) {
	before := time.Now().Add(-m.options.CheckpointAge).UnixMilli()
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, s := range m.slots {
		if p := s.partition; p != nil && p.failed.Load() == nil && p.behind.Load() > 0 && p.since.Load() <= before {
			aged = append(aged, p)
		}
	}
	return aged
}

// checkpoint saves the checkpoints of partitions, side by side. What fails is tried again when it is found to be behind
// the next time; one line tells of all of them, since on a full disk it is all of them.
func (m *Manager) checkpoint(ctx context.Context, partitions []*Partition) {
	var (
		group  errgroup.Group
		failed atomic.Int64
	)
	group.SetLimit(m.options.Parallel)
	for _, p := range partitions {
		group.Go(func() error {
			patient, cancel := context.WithTimeout(ctx, checkpointPatience)
			defer cancel()
			err := p.Checkpoint(patient)
			if err == nil || p.Ended() != nil || ctx.Err() != nil {
				return nil
			}
			failed.Add(1)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		m.options.Log.Warn().Err(err).Int64("partitions", failed.Load()).
			Msg("checkpoints not saved: a start after a crash would replay more of these logs")
	}
}

// dueList collects the partitions whose checkpoints are due. Its lock is taken under append locks.
type dueList struct {
	mu         sync.Mutex
	partitions []*Partition
	bell       chan struct{} // holds one value when there are any
}

func (l *dueList) add(p *Partition) {
	l.mu.Lock()
	l.partitions = append(l.partitions, p)
	l.mu.Unlock()
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

func (l *dueList) take() []*Partition {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.partitions
	l.partitions = nil
	return taken
}

// ManagerStats is what a Manager counts.
type ManagerStats struct {
	Open    int // partitions
	Opening int
	Offline int // partitions that could not be opened or have failed since; the latter are in Open too
	Stats       // of all open partitions, summed: a partition that is closed takes its counts with it
}

// Stats returns the Manager's counts.
func (m *Manager) Stats() ManagerStats {
	var stats ManagerStats
	for _, s := range m.collect(func(*slot) bool { return true }) {
		select {
		case <-s.opened:
		default:
			stats.Opening++
			continue
		}
		if s.err != nil {
			stats.Offline++
			continue
		}
		stats.Open++
		if s.partition.Failure() != nil {
			stats.Offline++
		}
		stats.add(s.partition.Stats())
	}
	return stats
}
