package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"segue/partition"
	"segue/storage/record"
)

// Options are how a Runtime works. Zero numbers stand for the defaults.
type Options[In any] struct {
	// Machine returns a new machine for a shard, as it is before the first record. It must not be nil.
	Machine func(shard int32) Machine[In]
	// Send gets what machines send to others. The shard's goroutine calls it, so it must not block. It may be nil if no
	// machine sends anything.
	Send func(shard int32, message any)
	// Log gets what goes wrong in the background. Its zero value discards it.
	Log zerolog.Logger

	// Inbox is how many commands may wait for a shard before Do waits itself; 256 by default.
	Inbox int
	// Held is how many replies a shard may hold back before it takes no more commands; 4,096 by default.
	Held int
	// BatchBytes is the size that a batch does not grow beyond, but for one that holds a single command; 512 KiB by
	// default.
	BatchBytes int
	// ReadBytes is how much of the log a load reads at a time; 256 KiB by default.
	ReadBytes int
	// DecompressLimit is how many bytes one batch of the log may unpack to; 256 MiB by default.
	DecompressLimit int
	// RetryMin and RetryMax bound the pause before a shard that goes on failing is loaded again, which doubles each
	// time; 100 milliseconds and 5 seconds by default. The first time there is none.
	RetryMin, RetryMax time.Duration
}

func (o *Options[In]) setDefaults() {
	or := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	or(&o.Inbox, 256)
	or(&o.Held, 4096)
	or(&o.BatchBytes, 512<<10)
	or(&o.ReadBytes, 256<<10)
	or(&o.DecompressLimit, 256<<20)
	if o.RetryMin <= 0 {
		o.RetryMin = 100 * time.Millisecond
	}
	if o.RetryMax < o.RetryMin {
		o.RetryMax = max(5*time.Second, o.RetryMin)
	}
}

// Runtime runs one machine for each partition of a coordinator's topic that this broker leads. It is safe for
// concurrent use. It has a goroutine for each shard, and another while the shard is being loaded; Unload and Close end
// them.
type Runtime[In any] struct {
	options      Options[In]
	decompressor *record.Decompressor
	requests     sync.Pool // of *request[In], between two commands
	counters     counters

	mu     sync.RWMutex // guards what follows
	shards map[int32]*shard[In]
	closed bool
}

// New returns a Runtime without shards.
func New[In any](o Options[In]) *Runtime[In] {
	o.setDefaults()
	r := &Runtime[In]{
		options: o, decompressor: record.NewDecompressor(o.DecompressLimit), shards: make(map[int32]*shard[In]),
	}
	r.requests.New = func() any { return &request[In]{answer: make(chan answer, 1)} }
	return r
}

// request is a command on its way, and the place for its answer.
type request[In any] struct {
	in     In
	marker *partition.Marker // instead of a command, if set
	answer chan answer       // has room for the one answer
}

// take returns the command and lets go of it: its reply may be long in coming.
func (q *request[In]) take() (in In, m *partition.Marker) {
	in, q.in = q.in, in
	m, q.marker = q.marker, nil
	return in, m
}

type answer struct {
	message any
	err     error
}

// Load has a shard loaded from its partition's log, in the background: it answers ErrLoading until that is done. A shard
// that is here already stays as it is: it has to be unloaded before it can be loaded from another log.
func (r *Runtime[In]) Load(index int32, log Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.shards[index] != nil {
		return
	}
	s := newShard(r, index, log)
	r.shards[index] = s
	go s.run()
}

// Unload ends a shard at once: whoever waits for it is told ErrNotCoordinator. It returns when the shard's goroutine has
// ended, so that nothing more is appended to the log. A shard that is not here is no error.
func (r *Runtime[In]) Unload(index int32) {
	r.mu.RLock()
	s := r.shards[index]
	r.mu.RUnlock()
	if s != nil {
		s.end()
		<-s.done
		r.forget(s)
	}
}

func (r *Runtime[In]) forget(s *shard[In]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shards[s.index] == s {
		delete(r.shards, s.index)
	}
}

// Do gives a shard a command and returns the message of its reply. The errors are ErrLoading, ErrNotCoordinator,
// ErrUnavailable, ErrTooLarge and ErrPanicked, wrapped with their cause, what the partition says of a command that is Guarded, or
// the context's. The end of the context ends the
// waiting and nothing else: the command stands, and its reply is dropped.
func (r *Runtime[In]) Do(ctx context.Context, index int32, in In) (any, error) {
	return r.do(ctx, index, func(q *request[In]) { q.in = in })
}

// do gives a shard a request, as it is filled in, and returns what was replied.
func (r *Runtime[In]) do(ctx context.Context, index int32, fill func(*request[In])) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.mu.RLock()
	s, closed := r.shards[index], r.closed
	r.mu.RUnlock()
	if s == nil || closed {
		return nil, ErrNotCoordinator
	}
	q := r.requests.Get().(*request[In])
	fill(q)
	select {
	case s.inbox <- q:
	case <-s.stop:
		return nil, ErrNotCoordinator
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-q.answer:
		return r.finish(q, a)
	case <-s.stop:
	case <-ctx.Done():
	}
	// An answer that came first is one nevertheless. Without one the request is left to the shard.
	select {
	case a := <-q.answer:
		return r.finish(q, a)
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, ErrNotCoordinator
}

// finish takes a request back that was answered, to which therefore nobody else holds on.
func (r *Runtime[In]) finish(q *request[In], a answer) (any, error) {
	q.take()
	r.requests.Put(q)
	return a.message, a.err
}

// Each gives a command to every shard that is here, all at once, and returns the messages of their replies in the order
// of the shards. Those of shards that did not reply are missing, and the error wraps what each of them said: ErrLoading
// among others. That a shard leaves meanwhile (ErrNotCoordinator) is no error, as it is none before the shard has come.
func (r *Runtime[In]) Each(ctx context.Context, in In) (replies []any, err error) {
	shards := r.Shards()
	all := make([]any, len(shards))
	errs := make([]error, len(shards))
	var asked sync.WaitGroup
	for i, shard := range shards {
		asked.Go(func() {
			if all[i], errs[i] = r.Do(ctx, shard, in); errs[i] != nil {
				errs[i] = fmt.Errorf("shard %d: %w", shard, errs[i])
			}
		})
	}
	asked.Wait()
	replies = all[:0]
	for i, m := range all {
		switch {
		case errs[i] == nil:
			replies = append(replies, m)
		case errors.Is(errs[i], ErrNotCoordinator):
			errs[i] = nil
		}
	}
	return replies, errors.Join(errs...)
}

// Shards returns the shards that are here, those that are being loaded included, in ascending order.
func (r *Runtime[In]) Shards() []int32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.shards))
}

// Close takes no more commands, lets every shard do what it has taken and answer it, and ends them all. What a machine
// keeps waiting is told ErrNotCoordinator then, and so is everything when the context ends first, which is returned. No
// goroutine is left when it returns.
func (r *Runtime[In]) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	shards := slices.Collect(maps.Values(r.shards))
	r.mu.Unlock()
	for _, s := range shards {
		s.beginDrain()
	}
	cut := 0
	for _, s := range shards {
		select {
		case <-s.done:
			continue
		default:
		}
		select {
		case <-s.done:
		case <-ctx.Done():
			s.end()
			cut++
		}
	}
	for _, s := range shards {
		<-s.done
		r.forget(s)
	}
	if cut > 0 {
		return fmt.Errorf("%d of %d coordinator shards were ended before they had answered: %w", cut, len(shards), ctx.Err())
	}
	return nil
}
