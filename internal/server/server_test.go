package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func TestConfigIsChecked(t *testing.T) {
	one := []Listener{{Name: "A", Addr: ":0"}}
	for _, test := range []struct {
		name   string
		config Config
		want   string // in the error; empty: it is fine
	}{
		{"plain", Config{Listeners: one}, ""},
		{"two", Config{Listeners: []Listener{{Name: "A"}, {Name: "B"}}}, ""},
		{"none", Config{}, "no listener"},
		{"unnamed", Config{Listeners: []Listener{{Addr: ":9092"}}}, "needs a name"},
		{"same name", Config{Listeners: []Listener{{Name: "A"}, {Name: "A", Addr: ":9093"}}}, ":9093"},
		{"small requests", Config{Listeners: one, MaxRequestBytes: 100}, "100 bytes"},
		{"negative requests", Config{Listeners: one, MaxRequestBytes: -1}, "-1 bytes"},
		{"small budget", Config{Listeners: one, MemoryBudget: 100}, "100 bytes"},
		{"depth", Config{Listeners: one, QueueDepth: -1}, "queue depth"},
		{"connections", Config{Listeners: one, MaxConnections: -1}, "connections"},
		{"connections by IP", Config{Listeners: one, MaxConnectionsPerIP: -1}, "connections"},
	} {
		_, err := New(test.config, nil, zerolog.Nop())
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	s, err := New(Config{Listeners: one, MemoryBudget: 1 << 20}, nil, zerolog.Nop())
	if err != nil || s.config.MaxRequestBytes != 1<<20 {
		t.Errorf("requests of %d bytes with a budget of 1 MiB (%v)", s.config.MaxRequestBytes, err)
	}
}

func TestTableIsChecked(t *testing.T) {
	h := func(context.Context, *Request) (Response, error) { return nil, nil }
	b := beginning(func(*Request) Pending { return nil })
	for _, test := range []struct {
		name string
		apis []API
		want string
	}{
		{"fine", []API{{Key: 18, Max: 4, Handle: h}, {Key: 0, Min: 3, Max: 13, Begin: b}}, ""},
		{"twice", []API{{Key: 3, Handle: h}, {Key: 3, Handle: h}}, "Metadata (API key 3) stands twice"},
		{"neither", []API{{Key: 3}}, "either"},
		{"both", []API{{Key: 3, Handle: h, Begin: b}}, "either"},
		{"versions", []API{{Key: 3, Min: 4, Max: 3, Handle: h}}, "versions"},
		{"negative version", []API{{Key: 3, Min: -1, Handle: h}}, "versions"},
		{"shown above the lowest", []API{{Key: 3, Min: 1, Max: 3, Advertise: 2, Handle: h}}, "versions"},
		{"key", []API{{Key: -1, Handle: h}}, "out of range"},
		{"large key", []API{{Key: 20000, Handle: h}}, "out of range"},
		{"frame", []API{{Key: 3, MaxFrame: -1, Handle: h}}, "MaxFrame"},
	} {
		rows, err := newTable(test.apis, 5000)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if err == nil && (rows.row(0).MaxFrame != 5000 || rows.row(1) != nil || rows.row(99) != nil || rows.row(-1) != nil) {
			t.Errorf("%s: rows %v", test.name, rows)
		}
	}
}

func TestGracefulStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		open := r.stage.block(1)
		r.stage.answer = func(_ context.Context, q *Request) (Response, error) {
			if q.CorrelationID == 7 {
				return Throttle(reply(q), time.Hour), nil
			}
			return reply(q), nil
		}
		busy, idle, half, large, muted := r.dial(), r.dial(), r.dial(), r.dial(), r.dial()
		busy.send(frames("MFP"))
		half.send(produce(9, 100)[:50])
		large.send(produce(9, 100_000)[:50_000])
		muted.send(metadata(7))
		muted.expect(7)
		synctest.Wait()
		muted.send(metadata(8))
		synctest.Wait()

		stopped := make(chan error, 1)
		go func() { stopped <- r.Shutdown(context.Background()) }()
		for _, p := range []*peer{idle, half, large, muted} {
			p.expectClosed()
		}
		synctest.Wait()
		busy.expectSilence()
		select {
		case err := <-stopped:
			t.Fatalf("stopped with unanswered requests: %v", err)
		default:
		}
		open()
		busy.expect(1, 2) // the Produce behind the Metadata had not been taken
		busy.expectClosed()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		r.logs.quiet(t)
	})
}

// A stop in time ends waits, whatever they are for, and says so if that is not enough.
func TestBoundedStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.stage.block(1)
		p := r.dial()
		p.send(frames("MMM"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := r.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("stopped after %v", d)
		}
		p.expectClosed()
		r.stage.expect(t, "handle 1", "gone 1") // what had not begun is dropped
	})
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		r := newRig(t, Config{})
		r.stage.answer = func(context.Context, *Request) (Response, error) {
			<-stuck
			return nil, nil
		}
		p := r.dial()
		p.send(frames("M"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := r.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "1 connections") {
			t.Errorf("Shutdown with a stuck handler: %v", err)
		}
		if d := time.Since(began); d != 3*time.Second+haltGrace {
			t.Errorf("given up after %v", d)
		}
		close(stuck)
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := makeRig(t, Config{})
		r.pipes = newPipes()
		if err := r.adopt([]*listener{{r.pipes, r.config.Listeners[0]}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { r.served <- r.Serve(ctx) }()
		r.stage.block(1)
		p := r.dial()
		p.send(frames("M"))
		synctest.Wait()
		cancel(errTest)
		if err := <-r.served; !errors.Is(err, errTest) {
			t.Errorf("Serve: %v", err)
		}
		p.expectClosed()
		if err := r.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := r.Serve(t.Context()); err == nil {
			t.Error("Serve twice")
		}
		if err := r.Listen(t.Context()); err == nil {
			t.Error("Listen after Shutdown")
		}
	})
}

func TestShutdownBeforeServe(t *testing.T) {
	r := makeRig(t, Config{})
	if err := r.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.Serve(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestListenersStandTogether(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	s, err := New(Config{Listeners: []Listener{{Name: "FREE", Addr: "127.0.0.1:0"}, {Name: "TAKEN", Addr: addr}}}, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	err = s.Listen(t.Context())
	if err == nil || !strings.Contains(err.Error(), "TAKEN") || !strings.Contains(err.Error(), addr) {
		t.Errorf("Listen: %v", err)
	}
	if n := len(s.Addrs()); n != 0 {
		t.Errorf("%d listeners open after a failed Listen", n)
	}
	taken.Close()
	if err := s.Listen(t.Context()); err != nil {
		t.Fatalf("Listen on ports that are free now: %v", err)
	}
	if got := s.Addrs(); len(got) != 2 || got["TAKEN"].String() != addr {
		t.Errorf("Addrs: %v", got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConnectionLimits(t *testing.T) {
	for _, config := range []Config{{MaxConnections: 2}, {MaxConnectionsPerIP: 2}} {
		t.Run(fmt.Sprint(config.MaxConnections, config.MaxConnectionsPerIP), func(t *testing.T) {
			r := newSocketRig(t, config)
			first, second := r.dial(), r.dial()
			first.send(metadata(1))
			second.send(metadata(2))
			first.expect(1)
			second.expect(2)
			for range 5 {
				r.dial().expectClosed()
			}
			first.send(metadata(3))
			first.expect(3)
			st := r.Stats().Connections
			if st.Open != 2 || st.Accepted != 2 || st.Rejected != 5 {
				t.Errorf("%+v", st)
			}
			if logged := r.logs.at(zerolog.WarnLevel); len(logged) == 0 || !strings.Contains(logged[0], "max.connections") {
				t.Errorf("logged: %s", logged)
			}
			second.hangUp()
			for {
				p := r.dial()
				p.send(metadata(4))
				if _, ok := <-p.answers; ok { // the place of the one that left is free
					break
				}
			}
			r.dial().expectClosed() // but only that one
		})
	}
}

func TestAddressOf(t *testing.T) {
	for _, test := range []struct {
		addr net.Addr
		want netip.Addr
	}{
		{&net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 5}, netip.MustParseAddr("10.1.2.3")},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:10.1.2.3")}, netip.MustParseAddr("10.1.2.3")},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1")}, netip.MustParseAddr("2001:db8::1")},
		{&net.UnixAddr{Name: "x"}, netip.Addr{}},
	} {
		if got := addressOf(test.addr); got != test.want {
			t.Errorf("addressOf(%v) = %v, want %v", test.addr, got, test.want)
		}
	}
}

// exhausted is a listener that fails for want of descriptors until it is closed.
type exhausted struct {
	*pipes
	calls atomic.Int64
}

func (e *exhausted) Accept() (net.Conn, error) {
	select {
	case <-e.closed:
		return nil, net.ErrClosed
	default:
	}
	if n := e.calls.Add(1); n%20 != 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return e.pipes.Accept()
}

func TestAcceptErrorsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := makeRig(t, Config{})
		r.pipes = newPipes()
		l := &exhausted{pipes: r.pipes}
		if err := r.adopt([]*listener{{l, r.config.Listeners[0]}}); err != nil {
			t.Fatal(err)
		}
		r.serve()
		t.Cleanup(r.finish)
		pass(10 * time.Second)
		// 5 ms, doubled up to a second: 8 in the first 1.3 seconds, then one a second.
		if n := l.calls.Load(); n < 15 || n > 18 {
			t.Errorf("%d attempts in ten seconds", n)
		}
		if n := len(r.logs.at(zerolog.ErrorLevel)); n < 8 || n > 11 {
			t.Errorf("%d lines logged in ten seconds", n)
		}
		p := r.dial() // waits for the twentieth attempt
		p.send(metadata(1))
		p.expect(1)
		if st := r.Stats().Connections; st.AcceptErrors < 19 || st.Accepted != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestOccasionally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := occasionally{interval: time.Second}
		var got []string
		for range 2 {
			for range 3 {
				skipped, ok := o.now()
				got = append(got, fmt.Sprint(skipped, ok))
			}
			pass(time.Second)
		}
		if want := "[0 true 0 false 0 false 2 true 0 false 0 false]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		open := r.stage.block(1)
		p := r.dial()
		p.send(frames("MF"))
		pass(100 * time.Millisecond)
		open()
		p.expect(1, 2)
		synctest.Wait()
		by := make(map[string]APIStats)
		for _, a := range r.Stats().APIs {
			by[a.Name] = a
		}
		if len(by) != 6 {
			t.Errorf("%d rows", len(by))
		}
		m, f := by["Metadata"], by["Fetch"]
		if m.Requests != 1 || m.BytesIn != uint64(len(metadata(1))) || m.BytesOut == 0 || m.Errors != 0 {
			t.Errorf("Metadata: %+v", m)
		}
		if m.Queue.Sum != 0 || m.Handle.Sum != 100*time.Millisecond || f.Queue.Sum != 100*time.Millisecond || f.Handle.Sum != 0 {
			t.Errorf("Metadata %v %v, Fetch %v %v", m.Queue.Sum, m.Handle.Sum, f.Queue.Sum, f.Handle.Sum)
		}
		if m.Handle.Count() != 1 || m.Handle.Counts[bucket(100*time.Millisecond)] != 1 || m.Send.Count() != 1 {
			t.Errorf("Metadata: %+v", m)
		}
	})
}

func TestBuckets(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want int
	}{
		{-time.Second, 0}, {0, 0}, {1, 0}, {50 * time.Microsecond, 0}, {50*time.Microsecond + 1, 1}, {100 * time.Microsecond, 1},
		{100*time.Microsecond + 1, 2}, {BucketLimit(Buckets - 1), Buckets - 1}, {BucketLimit(Buckets-1) + 1, Buckets}, {1 << 62, Buckets},
	} {
		if got := bucket(test.d); got != test.want {
			t.Errorf("bucket(%v) = %d, want %d", test.d, got, test.want)
		}
		if test.want < Buckets && test.d > BucketLimit(test.want) {
			t.Errorf("%v is above its bucket's limit %v", test.d, BucketLimit(test.want))
		}
	}
}

func TestClientMayBeAskedAtAnyTime(t *testing.T) {
	var c Client
	if c.Software() != (Software{}) || c.Principal() != "" || c.ClientID() != "" {
		t.Errorf("a new client: %v %q %q", c.Software(), c.Principal(), c.ClientID())
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			id := "id"
			c.SetSoftware(Software{"go", "1"})
			c.SetPrincipal("User:a")
			c.setClientID(&id)
			c.setClientID(nil)
			if c.Software().Name != "go" || c.Principal() != "User:a" || c.ClientID() != "id" {
				t.Errorf("%v %q %q", c.Software(), c.Principal(), c.ClientID())
			}
		})
	}
	wg.Wait()
}
