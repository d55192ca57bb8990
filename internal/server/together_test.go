package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// morsels gives what is left of some bytes in small or large pieces, and an error in between.
type morsels struct {
	rand *rand.Rand
	left []byte
}

func (m *morsels) Read(p []byte) (int, error) {
	switch {
	case len(m.left) == 0:
		return 0, io.EOF
	case m.rand.IntN(5) == 0:
		return 0, errTest
	}
	n := copy(p, m.left[:1+m.rand.IntN(len(m.left))])
	m.left = m.left[n:]
	return n, nil
}

// TestInbox reads, passes over and looks ahead, through a small and a large buffer, and finds every byte in its order.
func TestInbox(t *testing.T) {
	const small, large = 40, 300
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		all := make([]byte, 5000)
		for i := range all {
			all[i] = byte(r.Uint32())
		}
		in := newInbox(&morsels{r, all}, small)
		left := all // not taken yet
		for len(left) > 0 {
			n := 1 + r.IntN(len(in.b))
			switch r.IntN(6) {
			case 0, 1:
				b, err := in.Peek(n)
				if !bytes.HasPrefix(left, b) || (err == nil) != (len(b) == n) || err == io.EOF && len(b) != len(left) {
					t.Fatalf("seed %d: Peek(%d) gives %d bytes, %v", seed, n, len(b), err)
				}
			case 2:
				m, err := in.Discard(n)
				if left = left[m:]; (err == nil) != (m == n) {
					t.Fatalf("seed %d: Discard(%d) passes over %d, %v", seed, n, m, err)
				}
			case 3:
				b := make([]byte, n)
				m, err := in.Read(b)
				if !bytes.HasPrefix(left, b[:m]) || (err == nil) != (m > 0) {
					t.Fatalf("seed %d: Read of %d gives %d, %v", seed, n, m, err)
				}
				left = left[m:]
			case 4:
				if in.large == nil {
					in.widen(&buffer{make([]byte, large)})
				}
			case 5:
				if was := in.large; in.Buffered() <= small && (in.narrow() != was || len(in.b) != small) {
					t.Fatalf("seed %d: the small buffer has %d bytes", seed, len(in.b))
				}
			}
		}
	}
}

// TestBegunTogether sends requests at once and looks which of them are begun together.
func TestBegunTogether(t *testing.T) {
	for _, test := range []struct {
		name     string
		config   Config
		sequence string // see spell
		want     string
	}{
		{"small", Config{}, "PPP", "[1 2 3]"},
		{"large", Config{}, "LLLLL", "[1 2 3 4 5]"},
		{"of both sizes", Config{}, "PLPL", "[1] [2 3 4]"}, // the small buffer takes the first one and the head of the second
		{"others between", Config{}, "PPFPPMPP", "[1 2] [4 5] [7 8]"},
		{"more than one reading", Config{}, "LLLLLLLLLLLL", "[1 2 3 4 5 6 7 8] [9 10 11 12]"},
		{"more than are begun together", Config{}, "PPPPPPPPPPPPPPPPPP", "[1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16] [17 18]"},
		{"a queue of one", Config{QueueDepth: 1}, "PPPP", "[1] [2] [3] [4]"},
		{"little memory", Config{MemoryBudget: 1 << 20, MaxRequestBytes: 1 << 20}, "LLL", "[1 2 3]"},
		{"hardly any memory", Config{MemoryBudget: 1<<20 - 1, MaxRequestBytes: 1 << 19}, "LLL", "[1] [2] [3]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var groups []string
				r := newRig(t, test.config, func(apis []API) {
					plain := apis[0].Begin
					apis[0].Begin = func(ctx context.Context, rs []*Request) []Pending {
						var corrs []int32
						for _, r := range rs {
							corrs = append(corrs, r.CorrelationID)
						}
						groups = append(groups, fmt.Sprint(corrs))
						return plain(ctx, rs)
					}
				})
				p := r.dial()
				p.send(frames(test.sequence))
				for i := range test.sequence {
					p.expect(int32(i + 1))
				}
				if got := fmt.Sprint(groups); got != "["+test.want+"]" {
					t.Errorf("begun together: %s, want [%s]", got, test.want)
				}
				synctest.Wait()
				if used, _ := r.budget.state(); used != 0 {
					t.Errorf("%d bytes are in use when all is answered", used)
				}
				r.logs.quiet(t)
			})
		})
	}
}

// A request that is wrong does not keep those before it from taking effect, and being answered, together.
func TestFaultBehindOthers(t *testing.T) {
	cut := produce(3, 10)
	cut[13] = 99 // its client id is longer than the request
	for name, fault := range map[string][]byte{"of an unknown row": frame(999, 0, 3, nil), "of the same row": cut} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{})
				p := r.dial()
				p.send(slices.Concat(produce(1, 10), produce(2, 10), fault, produce(4, 10)))
				p.expect(1, 2)
				p.expectClosed()
				synctest.Wait()
				r.stage.expect(t, "begin 1", "begin 2")
			})
		})
	}
}

// countingConn counts the writes.
type countingConn struct {
	net.Conn
	writes atomic.Int32
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// gated is a Pending that is ready once its gate is open.
type gated struct {
	r    *Request
	gate chan struct{}
}

func (g gated) Ready() bool {
	select {
	case <-g.gate:
		return true
	default:
		return false
	}
}

func (g gated) Answer(ctx context.Context) (Response, error) {
	<-g.gate
	return reply(g.r), nil
}

// TestAnswersLeaveTogether: answers that are ready one behind the other leave with one write, and none waits for one that
// is not.
func TestAnswersLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := map[int32]chan struct{}{}
		for corr := range int32(10) {
			gates[corr] = make(chan struct{})
		}
		r := newRig(t, Config{}, func(apis []API) {
			apis[0].Begin = beginning(func(r *Request) Pending { return gated{r, gates[r.CorrelationID]} })
		})
		near, far := net.Pipe()
		defer near.Close()
		counted := &countingConn{Conn: far}
		r.pipes.conns <- counted
		answers := make(chan int, 100)
		go func() {
			b := make([]byte, 10_000)
			for {
				n, err := near.Read(b)
				if err != nil {
					return
				}
				for n > 0 { // whole frames
					size := 4 + int(b[3])
					answers <- int(b[7])
					n -= size
					b = b[size:]
				}
				b = make([]byte, 10_000)
			}
		}()
		var all []byte
		for corr := range int32(6) {
			all = append(all, produce(corr, 10)...)
		}
		for _, corr := range []int32{1, 2, 4} {
			close(gates[corr])
		}
		if _, err := near.Write(all); err != nil {
			t.Fatal(err)
		}
		expect := func(writes int32, corrs ...int) {
			t.Helper()
			synctest.Wait()
			var got []int
			for len(answers) > 0 {
				got = append(got, <-answers)
			}
			if n := counted.writes.Swap(0); !slices.Equal(got, corrs) || n != writes {
				t.Errorf("answers %v in %d writes, want %v in %d", got, n, corrs, writes)
			}
		}
		expect(0)
		close(gates[0])
		expect(1, 0, 1, 2)
		close(gates[5])
		expect(0)
		close(gates[3])
		expect(1, 3, 4, 5)
	})
}
