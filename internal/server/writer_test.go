package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"segue/protocol"
	"segue/storage/record"
)

// parts is a Response of given parts that counts its releases.
type parts struct {
	parts    []protocol.Part
	err      error
	released *int
}

func (p parts) Parts(protocol.Header) ([]protocol.Part, int, error) {
	size := 0
	for _, part := range p.parts {
		size += part.Len()
	}
	return p.parts, size, p.err
}

func (p parts) Release() {
	*p.released++
	for _, part := range p.parts {
		part.Chunk.Release()
	}
}

// An error or a panic of a handler, wherever it happens, closes that connection, is logged once at its level, and
// touches nobody else.
func TestHandlerFailures(t *testing.T) {
	fail := func(err error) func(context.Context, *Request) (Response, error) {
		return func(context.Context, *Request) (Response, error) { return nil, err }
	}
	disconnect := fmt.Errorf("acks=0 produce failed: %w", ErrDisconnect)
	var released int
	for _, test := range []struct {
		name   string
		frame  []byte
		begin  func(*Request) Pending
		answer func(context.Context, *Request) (Response, error)
		level  zerolog.Level
		want   string

		released int
	}{
		{"error", metadata(2), nil, fail(errTest), zerolog.ErrorLevel, "Metadata v4: for the test", 0},
		{"error of a pending", produce(2, 5), nil, fail(errTest), zerolog.ErrorLevel, "Produce v7: for the test", 0},
		{"disconnect", produce(2, 5), nil, fail(disconnect), zerolog.InfoLevel, "acks=0 produce failed", 0},
		{"panic", metadata(2), nil, func(context.Context, *Request) (Response, error) { panic(errTest) },
			zerolog.ErrorLevel, "TestHandlerFailures", 0},
		{"panic of a begin", produce(2, 5), func(*Request) Pending { panic(errTest) }, nil,
			zerolog.ErrorLevel, "TestHandlerFailures", 0},
		{"panic of a begin with a large body", produce(2, 50000), func(*Request) Pending { panic(errTest) },
			nil, zerolog.ErrorLevel, "TestHandlerFailures", 0},
		{"panic of a pending", produce(2, 5), nil, func(context.Context, *Request) (Response, error) { panic(errTest) },
			zerolog.ErrorLevel, "TestHandlerFailures", 0},
		{"panic of an encoder", metadata(2), nil, func(context.Context, *Request) (Response, error) { return Message(nil), nil },
			zerolog.ErrorLevel, "nil pointer", 0},
		{"error of an encoder", fetch(2), nil, func(context.Context, *Request) (Response, error) {
			return parts{err: errTest, released: &released}, nil
		}, zerolog.ErrorLevel, "Fetch v11: encoding the answer: for the test", 1},
		{"error next to an answer", fetch(2), nil, func(context.Context, *Request) (Response, error) {
			return parts{released: &released}, errTest
		}, zerolog.ErrorLevel, "Fetch v11: for the test", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				released = 0
				r := newRig(t, Config{}, func(apis []API) {
					if test.begin != nil {
						plain := apis[0].Begin
						apis[0].Begin = beginning(func(q *Request) Pending {
							if q.CorrelationID == 2 {
								return test.begin(q)
							}
							return plain(t.Context(), []*Request{q})[0]
						})
					}
				})
				r.stage.answer = func(ctx context.Context, q *Request) (Response, error) {
					if q.CorrelationID == 2 && test.answer != nil {
						return test.answer(ctx, q)
					}
					return reply(q), nil
				}
				other := r.dial()
				p := r.dial()
				p.send(frames("P"))
				p.send(test.frame)
				p.expect(1)
				p.expectClosed()
				if logged := r.logs.at(test.level); len(logged) != 1 || !strings.Contains(logged[0], test.want) {
					t.Errorf("logged %s, want %q", logged, test.want)
				}
				var failures uint64
				for _, a := range r.Stats().APIs {
					failures += a.Errors
				}
				if failures != 1 {
					t.Errorf("%d errors counted", failures)
				}
				other.send(metadata(1))
				other.expect(1)
				if released != test.released {
					t.Errorf("released %d times", released)
				}
			})
		})
	}
}

// A panic is told even where the end of the connection was told before.
func TestPanicAfterTheClientHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		gone := make(chan struct{})
		r.stage.answer = func(ctx context.Context, _ *Request) (Response, error) {
			<-ctx.Done()
			<-gone
			panic(errTest)
		}
		p := r.dial()
		p.send(fetch(1))
		synctest.Wait()
		p.hangUp()
		synctest.Wait()
		close(gone)
		synctest.Wait()
		if logged := r.logs.at(zerolog.ErrorLevel); len(logged) != 1 || !strings.Contains(logged[0], "for the test") {
			t.Errorf("logged: %s", logged)
		}
		if n := r.Stats().Connections.Panics; n != 1 {
			t.Errorf("%d panics counted", n)
		}
	})
}

func TestRequestsWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, func(apis []API) {
			plain := apis[0].Begin
			apis[0].Begin = beginning(func(q *Request) Pending {
				pending := plain(t.Context(), []*Request{q})[0]
				if q.CorrelationID == 1 {
					return nil
				}
				return pending
			})
		})
		r.stage.answer = func(_ context.Context, q *Request) (Response, error) {
			if q.CorrelationID == 2 {
				return nil, nil
			}
			return reply(q), nil
		}
		p := r.dial()
		p.send(frames("PPPM"))
		p.expect(3, 4)
		r.stage.expect(t, "begin 1", "begin 2", "begin 3", "handle 4")
	})
}

// A client that does not read, or hardly, loses its connection in bounded time, and the answer is released.
func TestSlowReaders(t *testing.T) {
	const size = 10 * paceStep
	for _, test := range []struct {
		name  string
		every time.Duration // between reads
		bytes int           // of one
		slow  bool
	}{
		{"never reads", 1000 * time.Hour, 1, true},
		{"a byte a second", time.Second, 1, true},
		{"just too slow", time.Second, paceStep/60 - 100, true},
		{"just fast enough", time.Second, paceStep/60 + 100, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{})
				var released int
				began := time.Now()
				var took time.Duration
				r.stage.answer = func(context.Context, *Request) (Response, error) {
					return parts{[]protocol.Part{{Bytes: make([]byte, size)}}, nil, &released}, nil
				}
				p := r.connect()
				p.running.Go(func() {
					got, b := 0, make([]byte, test.bytes)
					for {
						timer := time.NewTimer(test.every)
						select {
						case <-timer.C:
						case <-t.Context().Done():
							return
						}
						n, err := p.Read(b)
						got += n
						if err != nil || got == size {
							took = time.Since(began)
							return
						}
					}
				})
				p.send(fetch(1))
				if test.slow {
					pass(20 * time.Minute)
				} else {
					pass(11 * time.Minute)
				}
				synctest.Wait()
				st := r.Stats()
				if slow := st.Connections.SlowReaders == 1 && st.Connections.Open == 0; slow != test.slow {
					t.Errorf("taken for slow: %v (%+v), after %v", slow, st.Connections, took)
				}
				if released != 1 {
					t.Errorf("released %d times", released)
				}
				if logged := r.logs.at(zerolog.WarnLevel); len(logged) == 1 != test.slow {
					t.Errorf("logged: %s", logged)
				}
			})
		})
	}
}

// A file that turns out shorter than it was closes the connection: nothing is made up to fill the frame.
func TestCutFile(t *testing.T) {
	for _, length := range []int{100, copyBelow, copyBelow + 1, 3 * copySize} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Config{})
			released := 0
			file := strings.NewReader(strings.Repeat("x", length-1))
			chunk := record.NewChunk(file, 0, length, nil, func() { released++ })
			r.stage.answer = func(context.Context, *Request) (Response, error) {
				prefix := binary.BigEndian.AppendUint32(nil, uint32(length))
				return parts{[]protocol.Part{{Bytes: prefix}, {Chunk: chunk}}, nil, new(int)}, nil
			}
			p := r.dial()
			p.send(fetch(1))
			p.expectClosed()
			if released != 1 {
				t.Errorf("%d bytes: released %d times", length, released)
			}
			if logged := r.logs.at(zerolog.ErrorLevel); len(logged) != 1 || !strings.Contains(logged[0], errCut.Error()) {
				t.Errorf("%d bytes: logged %s", length, logged)
			}
		})
	}
}

func TestUnthrottle(t *testing.T) {
	plain := parts{}
	for _, test := range []struct {
		in   Response
		out  Response
		mute time.Duration
	}{
		{nil, nil, 0},
		{plain, plain, 0},
		{Throttle(plain, time.Second), plain, time.Second},
		{Throttle(nil, time.Second), nil, time.Second},
		{Throttle(Throttle(nil, 2*time.Second), time.Second), nil, 2 * time.Second},
	} {
		out, mute := unthrottle(test.in)
		if fmt.Sprint(out) != fmt.Sprint(test.out) || mute != test.mute {
			t.Errorf("unthrottle(%v) = %v, %v", test.in, out, mute)
		}
	}
}
