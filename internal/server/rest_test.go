package server

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

const soon = 20 * time.Millisecond

// newRestRig is newSocketRig whose connections rest soon.
func newRestRig(t *testing.T, config Config) *rig {
	t.Helper()
	r := makeRig(t, config)
	r.restAfter = soon
	if err := r.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.serve()
	return r
}

// until waits for a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for give := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(give) {
			t.Fatalf("%s: not so after 20 s", what)
		}
	}
}

// rest waits until a connection has begun to rest so many times.
func (r *rig) rest(t *testing.T, times uint64) {
	t.Helper()
	until(t, "the connection rests", func() bool { return r.rested.Load() >= times })
}

// A connection that rests has no writer, is taken up with the next request, whatever kind that is, and can rest again.
func TestRest(t *testing.T) {
	r := newRestRig(t, Config{})
	t.Cleanup(r.finish)
	p := r.dial()
	for i := range int32(5) {
		rested := r.rested.Load()
		p.send(metadata(3*i + 1))
		p.expect(3*i + 1)
		r.rest(t, rested+1)
		p.send(produce(3*i+2, 100_000))
		p.expect(3*i + 2)
		r.rest(t, rested+2)
		b := metadata(3*i + 3)
		p.send(b[:3])
		pass(2 * soon) // with part of a request there is no rest
		p.send(b[3:])
		p.expect(3*i + 3)
		if n := r.rested.Load(); n != rested+2 {
			t.Fatalf("rested %d times, want 2", n-rested)
		}
		r.rest(t, rested+3)
	}
	r.logs.quiet(t)
}

// A connection with a request on the way does not rest.
func TestNoRest(t *testing.T) {
	r := newRestRig(t, Config{})
	t.Cleanup(r.finish)
	open := r.stage.block(1)
	t.Cleanup(open)
	p := r.dial()
	p.send(fetch(1))
	until(t, "the connection is accepted", func() bool { return r.openConns() == 1 })
	c := r.onlyConn(t)
	until(t, "the request is there", func() bool { return c.unanswered.Load() > 0 })
	rested := r.rested.Load()
	pass(5 * soon)
	if n := r.rested.Load(); n != rested {
		t.Errorf("rested %d times", n-rested)
	}
	open()
	p.expect(1)
}

// A connection that rests ends like any other.
func TestEndOfRest(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*rig, *peer, *testing.T)
	}{
		{"the client goes", func(_ *rig, p *peer, _ *testing.T) { p.hangUp() }},
		{"idle for too long", func(r *rig, p *peer, t *testing.T) {
			p.expectClosed()
			if n := r.Stats().Connections.IdleClosed; n != 1 {
				t.Errorf("%d idle connections counted", n)
			}
		}},
		{"the server stops", func(r *rig, p *peer, t *testing.T) {
			if err := r.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			p.expectClosed()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := Config{IdleTimeout: time.Hour}
			if test.name == "idle for too long" {
				config.IdleTimeout = 10 * soon
			}
			r := newRestRig(t, config)
			p := r.dial()
			p.send(metadata(1))
			p.expect(1)
			r.rest(t, 1)
			test.end(r, p, t)
			until(t, "the connection has gone", func() bool { return r.Stats().Connections.Open == 0 })
			if logged := r.logs.at(zerolog.WarnLevel); logged != nil {
				t.Errorf("logged: %s", strings.Join(logged, ""))
			}
			if test.name == "the server stops" {
				if err := <-r.served; err != nil {
					t.Error(err)
				}
				return
			}
			r.finish()
		})
	}
}
