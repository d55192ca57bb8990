package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Server takes connections on its listeners and serves the table's APIs on them. Make one with New, then call Listen,
// Serve and, from elsewhere, Shutdown, each once. Addrs and Stats may be called at any time.
type Server struct {
	config    Config
	table     table
	log       zerolog.Logger
	epoch     time.Time     // zero of the server's clock
	budget    *budget       // for requests: their bodies, and decoded until they are answered
	work      *budget       // for answers, from the handling on. Who holds some of budget may wait for it, and never the reverse
	prompt    *budget       // for bodies that have arrived, until they are begun
	heavy     chan struct{} // holds one for each query that costs much and is being handled
	reads     turns         // of those who read files for answers
	buffers   buffers
	admission admission
	counts    connectionCounters
	lastID    atomic.Uint64
	restAfter time.Duration // a connection without a request for so long rests
	rested    atomic.Uint64 // how often one has begun to
	rejects   occasionally  // log lines about connections that were turned away
	failures  occasionally  // log lines about failures to accept

	// ctx is the parent of all connections' contexts; halt ends it.
	ctx  context.Context
	halt context.CancelCauseFunc
	// stopping is closed when no more requests are to be taken.
	stopping chan struct{}
	// done is closed when Serve returns: all connections have ended.
	done chan struct{}

	listening sync.WaitGroup // accept loops
	serving   sync.WaitGroup // connections

	mu        sync.Mutex // guards the fields below
	listeners []*listener
	conns     map[*conn]struct{}
	served    bool // Serve was called
	stopped   bool // stopping is closed
}

// New checks the configuration and the table; the error names what is wrong with them.
func New(config Config, apis []API, log zerolog.Logger) (*Server, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	rows, err := newTable(apis, config.MaxRequestBytes)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s := &Server{
		config:    config,
		table:     rows,
		log:       log,
		epoch:     time.Now(),
		budget:    newBudget(config.MemoryBudget),
		prompt:    newBudget(max(config.MemoryBudget/4, promptBody)),
		work:      newBudget(config.AnswerBudget),
		heavy:     make(chan struct{}, max(1, min(runtime.GOMAXPROCS(0), runtime.NumCPU())/2)),
		reads:     make(turns, maxReads),
		admission: admission{max: config.MaxConnections, maxPerIP: config.MaxConnectionsPerIP},
		restAfter: restAfter,
		rejects:   occasionally{interval: time.Second},
		failures:  occasionally{interval: time.Second},
		stopping:  make(chan struct{}),
		done:      make(chan struct{}),
		conns:     make(map[*conn]struct{}),
	}
	s.ctx, s.halt = context.WithCancelCause(context.Background())
	return s, nil
}

// now is the server's clock: monotonic, from its making.
func (s *Server) now() time.Duration { return time.Since(s.epoch) }

// Serve takes and serves connections until Shutdown is called, and then returns nil; or until ctx ends, which closes
// everything at once and gives the cause as the error. Either way nothing that Serve has started is left when it
// returns. Listen comes first.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	if s.served {
		s.mu.Unlock()
		return errors.New("server: Serve was called twice")
	}
	s.served = true
	listeners := s.listeners
	if !s.stopped {
		for _, l := range listeners {
			s.listening.Go(func() { s.accept(l) })
		}
	}
	s.mu.Unlock()
	defer close(s.done)

	var err error
	select {
	case <-s.stopping:
	case <-ctx.Done():
		err = context.Cause(ctx)
		s.stop()
		s.closeAll(err)
	}
	s.listening.Wait()
	s.serving.Wait()
	s.halt(errStopping)
	return err
}

// Shutdown stops gracefully: no more connections or requests are taken, what was asked is answered and connections are
// closed as they have nothing left to answer. When ctx ends, the rest is closed whatever it is at. The error says that
// handlers have not returned even so; Serve then has not either.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	s.mu.Lock()
	served := s.served
	s.mu.Unlock()
	if !served {
		return nil
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	if n := s.closeAll(context.Cause(ctx)); n > 0 {
		s.log.Info().Int("connections", n).Msg("closed connections with unanswered requests to stop in time")
	}
	grace := time.NewTimer(haltGrace)
	defer grace.Stop()
	select {
	case <-s.done:
		return nil
	case <-grace.C:
		return fmt.Errorf("server: handlers of %d connections still run %v after their contexts ended",
			s.openConns(), haltGrace)
	}
}

// stop ends the taking of connections and requests. Connections that read are woken.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	close(s.stopping)
	for _, l := range s.listeners {
		l.Close() // an error would mean that it is closed
	}
	for c := range s.conns {
		c.socket.SetReadDeadline(time.Unix(1, 0))
	}
}

// closeAll ends all connections and returns how many of them had requests unanswered.
func (s *Server) closeAll(cause error) int {
	cause = fmt.Errorf("%w: %w", errStopping, cause)
	s.halt(cause)
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	busy := 0
	for _, c := range conns {
		if c.unanswered.Load() > 0 {
			busy++
		}
		c.abort(cause)
	}
	return busy
}

func (s *Server) openConns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// take serves a new connection, or closes it if it is one too many.
func (s *Server) take(l *listener, socket net.Conn) {
	ip := addressOf(socket.RemoteAddr())
	if err := s.admission.admit(ip); err != nil {
		s.counts.rejected.Add(1)
		if skipped, ok := s.rejects.now(); ok {
			s.log.Warn().Err(err).Str("listener", l.config.Name).Stringer("remote", socket.RemoteAddr()).
				Int("others_unlogged", skipped).Msg("connection rejected")
		}
		socket.Close()
		return
	}
	s.counts.accepted.Add(1)
	s.tune(socket)
	c := newConn(s, l, socket, ip)
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		c.abort(errStopping)
		s.admission.leave(ip)
		return
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	c.event(zerolog.DebugLevel).Msg("connection opened")
	s.live(c)
}

// live takes a connection through its life. Since a goroutine keeps the stack that it has once needed, one that rests goes
// on in another.
func (s *Server) live(c *conn) {
	s.serving.Go(func() {
		if c.serve() {
			s.live(c)
		} else {
			s.forget(c)
		}
	})
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.admission.leave(c.ip)
}
