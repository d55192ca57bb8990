package coordinator

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"segue/storage/record"
)

// shard is one partition of the coordinator's topic. Its goroutine loads a machine, serves with it until it is told to
// end or the log fails, and then begins anew.
type shard[In any] struct {
	runtime *Runtime[In]
	index   int32
	log     Log
	logger  zerolog.Logger
	inbox   chan *request[In]

	drain, stop chan struct{} // to finish, to end at once
	draining    sync.Once
	stopping    sync.Once
	done        chan struct{} // closed when the goroutine has ended

	state atomic.Int32 // a shardState

	// What follows is the goroutine's own.

	tokens   Token // the last one given
	failures int   // in a row, without a batch committed in between
	// refusal is what requests are told while there is no machine.
	refusal error
}

// shardState is what a shard is at.
type shardState int32

const (
	loading shardState = iota
	serving
	pausing // before it is loaded again
	ended
	shardStates
)

func newShard[In any](r *Runtime[In], index int32, log Log) *shard[In] {
	return &shard[In]{
		runtime: r, index: index, log: log, logger: r.options.Log.With().Int32("shard", index).Logger(),
		inbox: make(chan *request[In], r.options.Inbox), refusal: ErrLoading,
		drain: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// beginDrain has the shard end when it has nothing left to answer.
func (s *shard[In]) beginDrain() { s.draining.Do(func() { close(s.drain) }) }

// end has the shard end at once. Nobody waits for it any longer.
func (s *shard[In]) end() { s.stopping.Do(func() { close(s.stop) }) }

// run is the shard's goroutine.
func (s *shard[In]) run() {
	defer close(s.done)
	defer s.end()
	defer s.enter(ended)
	for {
		machine, end, ok := s.load()
		if !ok {
			return
		}
		s.enter(serving)
		err := s.serve(machine, end)
		if err == nil {
			return
		}
		s.runtime.counters.failures.Add(1)
		s.failed(err, "coordinator shard has failed; it is loaded again")
	}
}

// failed notes that there is no machine now, and why.
func (s *shard[In]) failed(cause error, message string) {
	s.failures++
	s.refusal = ErrLoading
	level := zerolog.ErrorLevel
	if err := s.log.Ended(); err != nil {
		if s.refusal = whileEnded(err); s.refusal == ErrNotCoordinator {
			level = zerolog.DebugLevel // the partition was closed first, which is no fault
		}
	}
	s.logger.WithLevel(level).Err(cause).Int("failures", s.failures).Msg(message)
}

func (s *shard[In]) enter(state shardState) { s.state.Store(int32(state)) }

// load returns a machine that has applied the whole log, and where that ends. It tries until it can, and answers
// requests meanwhile. It returns false when the shard is to end.
func (s *shard[In]) load() (m Machine[In], end record.Offset, ok bool) {
	for {
		if s.failures > 1 {
			s.enter(pausing)
			pause := time.NewTimer(s.pause())
			_, ok := refuse(s, pause.C)
			pause.Stop()
			if !ok {
				return nil, 0, false
			}
		}
		s.enter(loading)
		l, ok := s.replayAside()
		switch {
		case !ok:
			return nil, 0, false
		case l.err == nil:
			return l.machine, l.end, true
		}
		s.runtime.counters.loadFailures.Add(1)
		s.failed(l.err, "coordinator shard cannot be loaded; it is tried again")
	}
}

// pause is how long to wait before the shard is loaded again: longer with each failure but the first.
func (s *shard[In]) pause() time.Duration {
	o := &s.runtime.options
	pause := o.RetryMin
	for range s.failures - 2 {
		if pause *= 2; pause >= o.RetryMax {
			return o.RetryMax
		}
	}
	return pause
}

// replayAside replays the log on a goroutine of its own, which has ended when it returns, so that requests are answered
// while the disk is slow. It returns false when the shard is to end.
func (s *shard[In]) replayAside() (l loaded[In], ok bool) {
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan loaded[In], 1)
	go func() { result <- s.replay(ctx) }()
	if l, ok = refuse(s, result); !ok {
		cancel()
		<-result
	}
	cancel()
	return l, ok
}

// refuse answers every request with the refusal until something comes from a channel. It returns false when the shard
// is to end first.
func refuse[In, T any](s *shard[In], until <-chan T) (t T, ok bool) {
	for {
		select {
		case t = <-until:
			return t, true
		case q := <-s.inbox:
			q.answer <- answer{err: s.refusal}
		case <-s.drain:
			return t, false
		case <-s.stop:
			return t, false
		}
	}
}
