package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// Why a connection ends. Anything else is an error of the network or of a handler.
var (
	errGone      = errors.New("client closed the connection")
	errGoneEarly = errors.New("client closed the connection within a request")
	errIdle      = errors.New("nothing happened for connections.max.idle.ms")
	errStopping  = errors.New("broker is stopping")
	errDead      = errors.New("connection is closed") // the cause is the context's
	errFault     = errors.New("client sent what cannot be answered")
	errDawdled   = errors.New("client sends a request too slowly while others wait for its memory")
	errHeld      = errors.New("client has kept the broker from finishing its request while others wait for the memory")
	errResting   = errors.New("connection rests") // and goes on when something comes
	errStalled   = errors.New("client does not read its answers")
)

// panicked is a panic of a handler, caught.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// guarded runs f and makes a panic in it an error.
func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicked{v, debug.Stack()}
		}
	}()
	return f()
}

// call is a request on its way from the reader to the writer.
type call struct {
	row     *row
	request Request
	pending Pending   // of a row with Begin
	begun   time.Time // when Begin was called; zero for the others
	need    int64     // memory that handling takes
	weight  int64     // memory that it takes in the queue and that is not claimed
	decoded *claim    // for the decoded request; nil if it is small
	work    *claim    // for the handling; nil if it takes little, or has not begun
	heavy   bool      // it holds one of the server's heavy
}

// conn is a connection. Its two goroutines are serve, the reader, and unless it rests writeAnswers, the writer.
type conn struct {
	server       *Server
	socket       net.Conn
	raw          syscall.RawConn // of a TCP socket without TLS; nil otherwise
	ip           netip.Addr
	authenticate bool
	client       *Client

	// ctx ends when the client is known to be gone, or with the connection; its cause says why.
	ctx    context.Context
	cancel context.CancelCauseFunc
	dead   chan struct{} // closed once the socket is
	kill   sync.Once
	tell   sync.Once // guards the one line about the end

	calls    chan *call    // nil while there is no writer; only the reader sends, and never blocks: see hasRoom
	progress chan struct{} // told by the writer after each call; holds one

	unanswered atomic.Int32 // calls that were sent on calls and are not finished
	ordered    atomic.Int32 // those of them that are not pipelined
	queued     atomic.Int64 // their weight
	mutedUntil atomic.Int64 // on the server's clock
	lastActive atomic.Int64 // on the server's clock: last request received or answered

	// The reader's own.
	in       inbox
	wide     *claim  // for the inbox's large buffer; nil while it has none
	together []*call // room for calls that are begun together, and for their requests
	requests []*Request

	out      outbox         // the writer's own
	deadline time.Duration  // for reading, on the server's clock; what the socket was told last
	writer   sync.WaitGroup // for the writer
	resting  bool
	stopping <-chan struct{} // the server's; nil when the reader no longer cares
}

func newConn(s *Server, l *listener, socket net.Conn, ip netip.Addr) *conn {
	c := &conn{
		server:       s,
		socket:       socket,
		ip:           ip,
		authenticate: l.config.Authenticate,
		client: &Client{
			ID:       s.lastID.Add(1),
			Listener: l.config.Name,
			Remote:   socket.RemoteAddr(),
			Local:    socket.LocalAddr(),
		},
		dead:     make(chan struct{}),
		progress: make(chan struct{}, 1),
		in:       newInbox(socket, readBuffer),
		stopping: s.stopping,
	}
	if tcp, ok := socket.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	c.ctx, c.cancel = context.WithCancelCause(s.ctx)
	c.touch()
	return c
}

// serve reads until there is a reason not to, and leaves nothing behind; or it returns true, and the connection rests
// until serve is called again.
func (c *conn) serve() (rests bool) {
	reason := c.rouse()
	if reason == nil {
		reason = guarded(c.readRequests)
	}
	if reason == errResting {
		c.rest()
		return true
	}
	if errors.Is(reason, errDead) {
		reason = context.Cause(c.ctx)
	}
	c.report(reason)
	if !lost(reason) {
		// The client still listens: what it asked before is answered.
		c.stopping = nil
		c.awaitAnswers()
		c.linger()
	}
	c.abort(reason)
	c.in.begin = c.in.end
	c.narrow()
	c.endWriter()
	return false
}

// lost tells whether a connection that ends for this reason has nobody left to send answers to.
func lost(reason error) bool {
	switch {
	case errors.Is(reason, errFault), errors.Is(reason, errDawdled), errors.Is(reason, errStopping),
		errors.As(reason, new(*panicked)):
		return false
	}
	return true
}

// abort ends the connection now: waits end, blocked reads and writes fail. Only the first reason counts. Anyone
// may call it.
func (c *conn) abort(reason error) {
	c.kill.Do(func() {
		c.cancel(reason)
		c.socket.Close()
		close(c.dead)
	})
}

// linger says goodbye so that answers on their way are not taken back: a socket that is closed with unread
// bytes in it resets the connection, and the far end then drops what it had not read yet.
func (c *conn) linger() {
	half, ok := c.socket.(interface{ CloseWrite() error })
	if !ok || c.ctx.Err() != nil || half.CloseWrite() != nil {
		return
	}
	for end := time.Now().Add(lingerTime); time.Now().Before(end); {
		c.socket.SetReadDeadline(end) // each time: a stop may have set it too
		if _, err := c.in.Discard(readBuffer); err != nil && !isTimeout(err) {
			return
		}
	}
}

// pause is how the reader waits for anything but bytes: until wake is ready, d has passed (or lookEvery, which is
// the most), or the connection or the server ends, which is an error. Meanwhile it looks after the client: one
// that has gone ends the context, while the reader goes on to take what was received before.
func (c *conn) pause(wake <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(min(d, lookEvery))
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
		if c.raw != nil && c.ctx.Err() == nil && peerGone(c.raw) {
			c.cancel(errGone)
		}
	case <-c.stopping:
		return errStopping
	case <-c.dead:
		return errDead
	}
	return nil
}

// await pauses until ready says so; wake is told when it is worth asking again.
func (c *conn) await(wake <-chan struct{}, ready func() bool) error {
	for !ready() {
		if err := c.pause(wake, lookEvery); err != nil {
			return err
		}
	}
	return nil
}

// awaitAnswers waits until all that was asked is answered.
func (c *conn) awaitAnswers() error {
	return c.await(c.progress, func() bool { return c.unanswered.Load() == 0 })
}

// awaitClaim is how the reader waits for memory.
func (c *conn) awaitClaim(k *claim) error {
	for !k.isGranted() {
		if err := c.pause(k.granted, lookEvery); err != nil {
			return err
		}
		k.evict()
	}
	return nil
}

// touch notes that something happened.
func (c *conn) touch() { c.lastActive.Store(int64(c.server.now())) }

// event begins a log line that says which connection it is about.
func (c *conn) event(level zerolog.Level) *zerolog.Event {
	e := c.server.log.WithLevel(level)
	if e == nil { // the level is off
		return nil
	}
	e = e.Uint64("conn", c.client.ID).Stringer("remote", c.client.Remote).Str("listener", c.client.Listener)
	if id := c.client.id.Load(); id != nil {
		e = e.Str("client_id", *id)
	}
	if s := c.client.Software(); s.Name != "" {
		e = e.Str("software", s.Name+" "+s.Version)
	}
	return e
}

// report counts and logs why the connection ends. Of several reasons it is the first that is told; a panic always is.
func (c *conn) report(reason error) {
	var p *panicked
	if errors.As(reason, &p) {
		c.server.counts.panics.Add(1)
		c.event(zerolog.ErrorLevel).Err(reason).Bytes("stack", p.stack).Msg("closing connection: a handler failed")
		return
	}
	c.tell.Do(func() {
		level, counts := zerolog.DebugLevel, &c.server.counts
		switch {
		case errors.Is(reason, errFault):
			counts.faults.Add(1)
			level = zerolog.WarnLevel
		case errors.Is(reason, errDawdled):
			counts.slowSenders.Add(1)
			level = zerolog.WarnLevel
		case errors.Is(reason, errHeld):
			counts.held.Add(1)
			level = zerolog.WarnLevel
		case errors.Is(reason, errStalled):
			counts.slowReaders.Add(1)
			level = zerolog.WarnLevel
		case errors.Is(reason, errIdle):
			counts.idle.Add(1)
		case errors.Is(reason, ErrDisconnect):
			level = zerolog.InfoLevel
		case errors.As(reason, new(*handlerError)), errors.Is(reason, errCut):
			level = zerolog.ErrorLevel
		}
		c.event(level).Err(reason).Msg("closing connection")
	})
}

// handlerError is the error of a handler, which closes the connection.
type handlerError struct {
	row     *row
	version int16
	err     error
}

func (e *handlerError) Error() string { return fmt.Sprintf("%s v%d: %v", e.row.name, e.version, e.err) }
func (e *handlerError) Unwrap() error { return e.err }

// isTimeout tells whether err is a deadline that passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// isEOF tells whether the other side has closed its end.
func isEOF(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
