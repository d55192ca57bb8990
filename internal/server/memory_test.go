package server

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func TestBudgetServesInOrder(t *testing.T) {
	b := newBudget(100)
	expect := func(step string, used int64, waiting int, claims map[*claim]bool) {
		t.Helper()
		if u, w := b.state(); u != used || w != waiting || b.contended() != (waiting > 0) {
			t.Fatalf("%s: %d used, %d wait (contended: %v); want %d and %d", step, u, w, b.contended(), used, waiting)
		}
		for c, want := range claims {
			if c.isGranted() != want {
				t.Fatalf("%s: claim of %d granted: %v", step, c.bytes, !want)
			}
		}
	}
	first, second := b.claim(60, nil), b.claim(30, nil)
	large, small, last := b.claim(80, nil), b.claim(5, nil), b.claim(1000, nil)
	expect("nobody overtakes", 90, 3, map[*claim]bool{first: true, second: true, large: false, small: false, last: false})
	first.release()
	expect("too little for the first in line", 30, 3, map[*claim]bool{large: false, small: false})
	second.release()
	expect("the first two in line", 85, 1, map[*claim]bool{large: true, small: true, last: false})
	large.release()
	expect("the last claims everything", 5, 1, map[*claim]bool{last: false})
	small.release()
	expect("and gets it", 100, 0, map[*claim]bool{last: true})
	giving, up := b.claim(50, nil), b.claim(1, nil)
	giving.release()
	expect("a withdrawn claim gives nothing back", 100, 1, map[*claim]bool{giving: false, up: false})
	last.release()
	expect("and is out of the way", 1, 0, map[*claim]bool{up: true})
	up.release()
	expect("all back", 0, 0, nil)
}

func TestWithdrawnClaimLetsOthersPass(t *testing.T) {
	b := newBudget(100)
	held, large, small := b.claim(50, nil), b.claim(60, nil), b.claim(40, nil)
	large.release()
	select {
	case <-small.granted:
	default:
		t.Error("the claim behind a withdrawn one waits although there is room")
	}
	small.release()
	held.release()
}

func TestBufferSizes(t *testing.T) {
	var pool buffers
	for _, test := range []struct{ n, want int }{
		{0, 4096}, {1, 4096}, {4096, 4096}, {4097, 8192}, {1 << 16, 1 << 16}, {1<<16 + 1, 1 << 17},
		{16 << 20, 16 << 20}, {16<<20 + 1, 16<<20 + 1}, {20_000_000, 20_000_000},
	} {
		if got := bufferSize(test.n); got != test.want {
			t.Errorf("bufferSize(%d) = %d, want %d", test.n, got, test.want)
		}
		for range 2 {
			b := pool.get(test.n)
			if len(b.b) != test.want {
				t.Errorf("get(%d) has %d bytes, want %d", test.n, len(b.b), test.want)
			}
			pool.put(b)
		}
	}
}

// With all memory taken large requests wait, in order, while small ones pass.
func TestSmallRequestsPassUnderOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MemoryBudget: 128 << 10})
		holder, waiter, other := r.dial(), r.dial(), r.dial()
		large := produce(1, 100_000)
		holder.send(large[:60_000])
		synctest.Wait()
		waiter.send(produce(2, 20_000))
		synctest.Wait()
		if st := r.Stats().Memory; st.Used != 128<<10 || st.Waiting != 1 || st.Budget != 128<<10 {
			t.Fatalf("memory: %+v", st)
		}
		other.send(heartbeat(3))
		other.send(produce(4, 1000))
		other.expect(3, 4)
		waiter.expectSilence()
		holder.send(large[60_000:])
		holder.expect(1)
		waiter.expect(2)
		r.stage.expect(t, "handle 3", "begin 4", "begin 1", "begin 2")
		r.logs.quiet(t)
	})
}

// Who holds memory may take its time as long as nobody else wants it.
func TestDawdlersAreClosedWhenOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MemoryBudget: 256 << 10})
		dawdler := r.dial()
		open := r.stage.block(1)
		dawdler.send(frames("F"))
		dawdler.send(produce(2, 200_000)[:10_000])
		pass(time.Hour)
		open()
		dawdler.expect(1)
		pass(time.Hour)
		synctest.Wait()
		dawdler.expectSilence()

		waiter := r.dial()
		began := time.Now()
		waiter.send(produce(3, 100_000))
		dawdler.expectClosed()
		waiter.expect(3)
		if d := time.Since(began); d > lookEvery {
			t.Errorf("the dawdler was closed after %v", d)
		}
		if n := r.Stats().Connections.SlowSenders; n != 1 {
			t.Errorf("%d slow senders counted", n)
		}
		if logged := r.logs.at(zerolog.WarnLevel); len(logged) != 1 || !strings.Contains(logged[0], errDawdled.Error()) {
			t.Errorf("logged: %s", logged)
		}
	})
}

func TestMinimumPace(t *testing.T) {
	for _, test := range []struct {
		pace int // bytes a second
		slow bool
	}{
		{minPace * 6 / 5, false},
		{minPace * 4 / 5, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			const size = 20 * minPace
			r := newRig(t, Config{MemoryBudget: size})
			sender, waiter := r.dial(), r.dial()
			b := produce(1, size-100)
			sender.send(b[:5000])
			synctest.Wait()
			waiter.send(produce(2, 100_000))
			for rest := b[5000:]; len(rest) > 0; {
				n := min(len(rest), test.pace)
				pass(time.Second)
				sender.send(rest[:n])
				rest = rest[n:]
			}
			if test.slow {
				sender.expectClosed()
			} else {
				sender.expect(1)
			}
			waiter.expect(2)
			if n := r.Stats().Connections.SlowSenders; (n == 1) != test.slow {
				t.Errorf("at %d bytes a second: %d slow senders counted", test.pace, n)
			}
		})
	}
}

// A connection that waits for memory can be stopped, and its claim goes with it.
func TestStopWhileWaitingForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MemoryBudget: 64 << 10})
		holder, waiter := r.dial(), r.dial()
		holder.send(produce(1, 50_000)[:30_000])
		synctest.Wait()
		waiter.send(produce(2, 50_000)[:30_000])
		synctest.Wait()
		if st := r.Stats().Memory; st.Waiting != 1 {
			t.Fatalf("memory: %+v", st)
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		holder.expectClosed()
		waiter.expectClosed()
		r.stage.expect(t)
	})
}
