package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stage is a set of fake APIs that note what is called, in order, and wait where they are told to.
type stage struct {
	mu     sync.Mutex
	events []string
	heard  chan string                                             // the events again, to wait for
	gates  map[int32]chan struct{}                                 // by correlation id
	answer func(ctx context.Context, r *Request) (Response, error) // instead of the usual answer
	bodies map[int32][]byte                                        // of Produce, by correlation id
}

func newStage() *stage {
	return &stage{heard: make(chan string, 1000), gates: make(map[int32]chan struct{}), bodies: make(map[int32][]byte)}
}

// block has the handling of a request, or the outcome of its Begin, wait until the returned function is called.
func (g *stage) block(corr int32) (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gate := make(chan struct{})
	g.gates[corr] = gate
	return sync.OnceFunc(func() { close(gate) })
}

func (g *stage) note(event string, corr int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, fmt.Sprintf("%s %d", event, corr))
	g.heard <- g.events[len(g.events)-1]
}

func (g *stage) seen() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.events)
}

func (g *stage) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := g.seen(); !slices.Equal(got, want) {
		t.Fatalf("events\n got %q\nwant %q", got, want)
	}
}

func (g *stage) outcome(ctx context.Context, r *Request) (Response, error) {
	g.mu.Lock()
	gate, answer := g.gates[r.CorrelationID], g.answer
	g.mu.Unlock()
	if r.Body != nil {
		g.note("body of", r.CorrelationID) // nobody may see it by now
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			g.note("gone", r.CorrelationID)
			return nil, fmt.Errorf("waiting: %w", ctx.Err())
		}
	}
	if answer != nil {
		return answer(ctx, r)
	}
	return reply(r), nil
}

func (g *stage) handle(ctx context.Context, r *Request) (Response, error) {
	g.note("handle", r.CorrelationID)
	return g.outcome(ctx, r)
}

func (g *stage) begin(r *Request) Pending {
	g.note("begin", r.CorrelationID)
	g.mu.Lock()
	g.bodies[r.CorrelationID] = bytes.Clone(r.Body)
	g.mu.Unlock()
	return pendingFunc(func(ctx context.Context) (Response, error) { return g.outcome(ctx, r) })
}

// pendingFunc is a Pending that is never known to be ready.
type pendingFunc func(ctx context.Context) (Response, error)

func (pendingFunc) Ready() bool                                    { return false }
func (f pendingFunc) Answer(ctx context.Context) (Response, error) { return f(ctx) }

// beginning makes a Begin of what is done with each request.
func beginning(each func(r *Request) Pending) func(context.Context, []*Request) []Pending {
	return func(_ context.Context, rs []*Request) (pendings []Pending) {
		for _, r := range rs {
			pendings = append(pendings, each(r))
		}
		return pendings
	}
}

// reply is an empty answer to r.
func reply(r *Request) Response {
	m := kmsg.ResponseForKey(r.Key)
	m.SetVersion(r.Version)
	return Message(m)
}

func (g *stage) apis() []API {
	return []API{
		{Key: 0, Min: 3, Max: 8, Begin: beginning(g.begin)},
		{Key: 1, Min: 4, Max: 11, Pipelined: true, Handle: g.handle},
		{Key: 3, Min: 0, Max: 8, Handle: g.handle},
		{Key: 12, Min: 0, Max: 3, MaxFrame: 1000, Handle: g.handle},
		{Key: 17, Min: 0, Max: 1, Open: true, Barrier: true, Handle: g.handle},
		{Key: 18, Min: 0, Max: 3, Open: true, Handle: g.handle},
	}
}

// Frames of requests, by the letters that tests spell sequences with.

func frame(key, version int16, corr int32, body []byte) []byte {
	const client = "tester"
	b := binary.BigEndian.AppendUint32(nil, uint32(2+2+4+2+len(client)+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(corr))
	b = binary.BigEndian.AppendUint16(b, uint16(len(client)))
	b = append(b, client...)
	return append(b, body...)
}

func produce(corr int32, size int) []byte {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i>>10 + i + int(corr))
	}
	return frame(0, 7, corr, body)
}

func encoded(m kmsg.Request, version int16, corr int32) []byte {
	m.SetVersion(version)
	return frame(m.Key(), version, corr, m.AppendTo(nil))
}

func metadata(corr int32) []byte { return encoded(kmsg.NewPtrMetadataRequest(), 4, corr) }
func fetch(corr int32) []byte    { return encoded(kmsg.NewPtrFetchRequest(), 11, corr) }
func handshake(corr int32) []byte {
	return encoded(kmsg.NewPtrSASLHandshakeRequest(), 1, corr)
}

func heartbeat(corr int32) []byte {
	return encoded(kmsg.NewPtrHeartbeatRequest(), 3, corr)
}

// spell returns requests, numbered from 1: P a Produce, L a large one, F a Fetch, M a Metadata, S a SaslHandshake.
func spell(letters string) (all [][]byte) {
	for i, letter := range letters {
		corr := int32(i + 1)
		switch letter {
		case 'P':
			all = append(all, produce(corr, 100))
		case 'L':
			all = append(all, produce(corr, 60_000))
		case 'F':
			all = append(all, fetch(corr))
		case 'M':
			all = append(all, metadata(corr))
		case 'S':
			all = append(all, handshake(corr))
		}
	}
	return all
}

// frames is spell in one piece.
func frames(letters string) []byte { return bytes.Join(spell(letters), nil) }

// lines is a log that tests can look into.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// at returns the lines of a level.
func (l *lines) at(level zerolog.Level) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, `"level":"`+level.String()+`"`) {
			found = append(found, line)
		}
	}
	return found
}

// quiet fails the test if anything was logged that should worry somebody.
func (l *lines) quiet(t *testing.T) {
	t.Helper()
	for _, level := range []zerolog.Level{zerolog.WarnLevel, zerolog.ErrorLevel} {
		if got := l.at(level); got != nil {
			t.Errorf("logged: %s", got)
		}
	}
}

// pipes is a listener whose connections are pipes in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

// rig is a server on pipes, or on loopback, that a test talks to.
type rig struct {
	*Server
	t      *testing.T
	stage  *stage
	logs   *lines
	pipes  *pipes // nil on loopback
	served chan error
}

// newRig starts a server on pipes and stops it when the test ends. The config's listener is named TEST.
func newRig(t *testing.T, config Config, change ...func([]API)) *rig {
	t.Helper()
	r := makeRig(t, config, change...)
	r.pipes = newPipes()
	if err := r.adopt([]*listener{{r.pipes, r.config.Listeners[0]}}); err != nil {
		t.Fatal(err)
	}
	r.serve()
	t.Cleanup(r.finish)
	return r
}

// newSocketRig starts a server on a loopback port and stops it when the test ends.
func newSocketRig(t *testing.T, config Config, change ...func([]API)) *rig {
	t.Helper()
	r := makeRig(t, config, change...)
	if err := r.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.serve()
	t.Cleanup(r.finish)
	return r
}

func makeRig(t *testing.T, config Config, change ...func([]API)) *rig {
	t.Helper()
	r := &rig{t: t, stage: newStage(), logs: new(lines), served: make(chan error, 1)}
	if config.Listeners == nil {
		config.Listeners = []Listener{{Name: "TEST", Addr: "127.0.0.1:0"}}
	}
	apis := r.stage.apis()
	for _, f := range change {
		f(apis)
	}
	var err error
	if r.Server, err = New(config, apis, zerolog.New(r.logs)); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) serve() { go func() { r.served <- r.Serve(context.Background()) }() }

// finish stops the server and checks that it has nothing left.
func (r *rig) finish() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Shutdown(ctx); err != nil {
		r.t.Errorf("Shutdown: %v", err)
	}
	if err := <-r.served; err != nil {
		r.t.Errorf("Serve: %v", err)
	}
	if st := r.Stats(); st.Connections.Open != 0 || st.Memory.Used != 0 || st.Memory.Waiting != 0 {
		r.t.Errorf("left after the stop: %+v %+v", st.Connections, st.Memory)
	}
}

// peer is the client's side of a connection.
type peer struct {
	net.Conn
	t       *testing.T
	out     chan []byte
	answers chan answer // closed when the server closes the connection
	end     error       // of reading; to be looked at when answers is closed
	running sync.WaitGroup
	over    sync.Once
}

type answer struct {
	corr int32
	body []byte
}

// dial connects a peer that reads all answers as they come.
func (r *rig) dial() *peer {
	r.t.Helper()
	p := r.connect()
	p.read()
	return p
}

// connect connects a peer that does not read.
func (r *rig) connect() *peer {
	r.t.Helper()
	p := &peer{t: r.t, out: make(chan []byte, 1000)}
	if r.pipes != nil {
		near, far := net.Pipe()
		r.pipes.conns <- far
		p.Conn = near
	} else {
		c, err := net.Dial("tcp", r.Addrs()["TEST"].String())
		if err != nil {
			r.t.Fatal(err)
		}
		p.Conn = c
	}
	r.t.Cleanup(p.hangUp)
	p.running.Go(func() {
		for b := range p.out {
			p.Write(b) // fails where the server has closed, which the answers tell
		}
	})
	return p
}

func (p *peer) read() {
	p.answers = make(chan answer, 1000)
	p.running.Go(func() {
		defer close(p.answers)
		for {
			var prefix [4]byte
			if _, err := io.ReadFull(p, prefix[:]); err != nil {
				p.end = err
				return
			}
			b := make([]byte, binary.BigEndian.Uint32(prefix[:]))
			if _, err := io.ReadFull(p, b); err != nil {
				return
			}
			p.answers <- answer{int32(binary.BigEndian.Uint32(b)), b[4:]}
		}
	})
}

func (p *peer) send(b []byte) { p.out <- b }

// hangUp closes the connection and waits for the peer's goroutines. The end of the test does it too.
func (p *peer) hangUp() {
	p.over.Do(func() {
		close(p.out)
		p.Close()
		p.running.Wait()
	})
}

// expect reads answers and fails unless they are to these requests, in order.
func (p *peer) expect(corrs ...int32) {
	p.t.Helper()
	for _, want := range corrs {
		select {
		case a, ok := <-p.answers:
			if !ok {
				p.t.Fatalf("connection closed, an answer to %d was expected", want)
			}
			if a.corr != want {
				p.t.Fatalf("answer to %d, to %d was expected", a.corr, want)
			}
		case <-time.After(time.Hour): // of synctest's time; on loopback the test's own timeout is first
			p.t.Fatalf("no answer to %d", want)
		}
	}
}

// expectClosed fails unless the server closes the connection without another answer.
func (p *peer) expectClosed() {
	p.t.Helper()
	select {
	case a, ok := <-p.answers:
		if ok {
			p.t.Fatalf("answer to %d, the end of the connection was expected", a.corr)
		}
	case <-time.After(time.Hour):
		p.t.Fatal("connection not closed")
	}
}

// expectSilence fails if there is an answer or an end now; under synctest only, after synctest.Wait.
func (p *peer) expectSilence() {
	p.t.Helper()
	select {
	case a, ok := <-p.answers:
		p.t.Fatalf("answer to %d (open: %v), none was expected", a.corr, ok)
	default:
	}
}

var errTest = errors.New("for the test")

// pass lets time go by, synctest's; or on loopback a little, where nothing is to happen meanwhile.
func pass(d time.Duration) { <-time.After(d) }
