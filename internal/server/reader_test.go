package server

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFramesInPieces(t *testing.T) {
	for _, piece := range []int{1, 3, 7, 64} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Config{})
			p := r.dial()
			for b := range slices.Chunk(frames("MPFM"), piece) {
				p.send(b)
			}
			p.expect(1, 2, 3, 4)
			r.stage.expect(t, "handle 1", "begin 2", "handle 3", "handle 4")
			r.logs.quiet(t)
		})
	}
}

// Bodies around every size at which they are read differently arrive whole, also when the buffers are used again.
func TestBodySizes(t *testing.T) {
	const header = 16
	sizes := []int{0, 1, readBuffer - header - 4 - 1, readBuffer - header - 4, readBuffer - header - 4 + 1, firstStep - header,
		firstStep - header + 1, firstStep * stepFactor, firstStep*stepFactor + 1, 1<<20 + 3, 17 << 20, 5000}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		p := r.dial()
		for round := range 2 {
			for i, size := range sizes {
				if round > 0 && size > 1<<maxBufferBits {
					continue // not pooled
				}
				corr := int32(round*len(sizes) + i)
				b := produce(corr, size)
				for piece := range slices.Chunk(b, 100_000) {
					p.send(piece)
				}
				p.expect(corr)
				if got := r.stage.bodies[corr]; !bytes.Equal(got, b[len(b)-size:]) {
					t.Errorf("body of %d bytes arrived otherwise", size)
				}
			}
		}
		synctest.Wait() // the reader has answered before it gives its buffer back
		if used, _ := r.budget.state(); used != 0 {
			t.Errorf("%d bytes of the budget in use", used)
		}
	})
}

// Bodies that arrive side by side do not share a buffer.
func TestBodiesDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		peers := []*peer{r.dial(), r.dial(), r.dial()}
		for round := range int32(4) {
			var requests [][]byte
			for i := range peers {
				requests = append(requests, produce(10*round+int32(i), 400_000))
			}
			for at := 0; at < len(requests[0]); at += 50_000 {
				for i, p := range peers {
					p.send(requests[i][at:min(at+50_000, len(requests[i]))])
				}
				synctest.Wait()
			}
			for i, p := range peers {
				corr := 10*round + int32(i)
				p.expect(corr)
				if !bytes.HasSuffix(requests[i], r.stage.bodies[corr]) {
					t.Fatalf("body of request %d arrived otherwise", corr)
				}
			}
		}
	})
}

// What cannot be answered closes the connection with one line that tells the reason, after earlier requests have
// been answered, and no handler sees it.
func TestFaults(t *testing.T) {
	huge := frame(0, 7, 9, nil)
	huge[0] = 0x7f
	negative := frame(0, 7, 9, nil)
	negative[0] = 0xff
	long := kmsg.NewPtrHeartbeatRequest()
	long.Group = strings.Repeat("g", 1000)
	cut := metadata(9)
	cut = cut[:len(cut)-2]
	cut[3] -= 2
	noID := []byte{0, 0, 0, 8, 0, 3, 0, 4, 0, 0, 0, 9}
	for _, test := range []struct {
		name  string
		frame []byte
		want  []string
	}{
		{"giant", huge, []string{"frame", "at most"}},
		{"negative", negative, []string{"frame size -"}},
		{"empty", make([]byte, 4), []string{"frame of 0 bytes"}},
		{"short", []byte{0, 0, 0, 7, 0, 0, 0, 7, 0, 0, 0}, []string{"frame of 7 bytes"}},
		{"unknown API", frame(99, 5, 9, make([]byte, 10)), []string{"API key 99 (version 5)", `"client_id":"tester"`}},
		{"negative API", frame(-1, 5, 9, nil), []string{"API key -1 (version 5)"}},
		{"unknown version", frame(0, 2, 9, make([]byte, 10)),
			[]string{"Produce (API key 0) version 2", "3 to 8", `"client_id":"tester"`, `"listener":"TEST"`, `"conn":1`}},
		{"negative version", frame(0, -1, 9, nil), []string{"Produce (API key 0) version -1"}},
		{"header without client id", noID, []string{"Metadata", "malformed"}},
		{"body too short", cut, []string{"Metadata", "malformed"}},
		{"too large for its API", encoded(long, 3, 9), []string{"Heartbeat", "at most 1000"}},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), []string{"HTTP"}},
		{"TLS", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, []string{"TLS"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{})
				open := r.stage.block(2)
				p := r.dial()
				p.send(frames("PM"))
				p.send(test.frame)
				synctest.Wait()
				p.expect(1)
				p.expectSilence()
				open()
				p.expect(2)
				p.expectClosed()
				r.stage.expect(t, "begin 1", "handle 2")
				logged := r.logs.at(zerolog.WarnLevel)
				if len(logged) != 1 {
					t.Fatalf("%d lines instead of one: %s", len(logged), logged)
				}
				for _, want := range test.want {
					if !strings.Contains(logged[0], want) {
						t.Errorf("%q not in %s", want, logged[0])
					}
				}
				if n := r.Stats().Connections.ProtocolFault; n != 1 {
					t.Errorf("%d faults counted", n)
				}
			})
		})
	}
}

func TestApiVersionsOfUnknownVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		var got Request
		r.stage.answer = func(_ context.Context, q *Request) (Response, error) {
			got = *q
			m := kmsg.NewPtrApiVersionsResponse()
			m.ErrorCode = 35
			return Message(m), nil
		}
		p := r.dial()
		// Header version 2: a section of tagged fields behind the client id, then a body that nobody is to parse.
		p.send(frame(18, 77, 5, []byte{0, 0xff, 0xff, 0xff}))
		a := <-p.answers
		if want := []byte{0, 35, 0, 0, 0, 0}; a.corr != 5 || !bytes.Equal(a.body, want) {
			t.Errorf("answer to %d: %x, want %x", a.corr, a.body, want)
		}
		if !got.Unsupported || got.Message != nil || got.Version != 77 {
			t.Errorf("the handler got %+v", got)
		}
		p.send(encoded(kmsg.NewPtrApiVersionsRequest(), 0, 6))
		p.expect(6)
		if got.Unsupported || got.Message == nil {
			t.Errorf("the handler got %+v", got)
		}
		r.logs.quiet(t)
	})
}

// A row with Begin takes effect at once behind pipelined rows only. The sequences are requests as frames spells them;
// the request named blocked is held up, and the events are those that happen nonetheless.
func TestOrderOfEffects(t *testing.T) {
	for _, test := range []struct {
		sequence string
		blocked  int32
		before   []string
		after    []string
	}{
		{"PPP", 1, []string{"begin 1", "begin 2", "begin 3"}, nil},
		{"FPP", 1, []string{"handle 1", "begin 2", "begin 3"}, nil},
		{"MPP", 1, []string{"handle 1"}, []string{"begin 2", "begin 3"}},
		{"PMP", 1, []string{"begin 1"}, []string{"handle 2", "begin 3"}},
		{"PMP", 2, []string{"begin 1", "handle 2"}, []string{"begin 3"}},
		{"PFM", 1, []string{"begin 1"}, []string{"handle 2", "handle 3"}},
		{"FMF", 1, []string{"handle 1"}, []string{"handle 2", "handle 3"}},
		{"SPF", 1, []string{"handle 1"}, []string{"begin 2", "handle 3"}},
	} {
		t.Run(fmt.Sprint(test.sequence, test.blocked), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{})
				open := r.stage.block(test.blocked)
				p := r.dial()
				for _, b := range spell(test.sequence) {
					p.send(b)
					synctest.Wait() // else the first Handle and the next Begin race, as they may
				}
				r.stage.expect(t, test.before...)
				open()
				p.expect(1, 2, 3)
				r.stage.expect(t, append(test.before, test.after...)...)
			})
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	large := kmsg.NewPtrMetadataRequest()
	for range 1000 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(strings.Repeat("t", 40))
		large.Topics = append(large.Topics, topic)
	}
	for _, test := range []struct {
		name  string
		frame func(corr int32) []byte
		taken uint64 // while the first is blocked
	}{
		{"by count", fetch, 4},
		{"by bytes", func(corr int32) []byte { return encoded(large, 4, corr) }, 1},
		{"begun ones by count", func(corr int32) []byte { return produce(corr, 50_000) }, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{QueueDepth: 4})
				open := r.stage.block(1)
				p := r.dial()
				var want []int32
				var used int64 // by the first
				for corr := range int32(10) {
					p.send(test.frame(corr + 1))
					want = append(want, corr+1)
					if corr == 0 {
						synctest.Wait()
						used, _ = r.budget.state()
					}
				}
				synctest.Wait()
				var taken uint64
				for _, a := range r.Stats().APIs {
					taken += a.Requests
				}
				if taken != test.taken {
					t.Errorf("%d requests taken, want %d", taken, test.taken)
				}
				if now, _ := r.budget.state(); now != used {
					t.Errorf("%d bytes of the budget in use, %d by the first: while waiting for a turn some are held", now, used)
				}
				open()
				p.expect(want...)
			})
		})
	}
}

// Behind a barrier not even garbage is read before the answer is out.
func TestBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		open := r.stage.block(1)
		p := r.dial()
		p.send(append(frames("S"), make([]byte, 100)...))
		synctest.Wait()
		r.logs.quiet(t)
		open()
		p.expect(1)
		p.expectClosed()
		if n := r.Stats().Connections.ProtocolFault; n != 1 {
			t.Errorf("%d faults counted", n)
		}
	})
}

func TestAuthentication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Listeners: []Listener{{Name: "TEST", Authenticate: true}}})
		r.stage.answer = func(_ context.Context, q *Request) (Response, error) {
			if q.Key == 17 {
				q.Client.SetPrincipal("User:test")
			}
			return reply(q), nil
		}
		p := r.dial()
		p.send(frames("SMP")) // the handshake's outcome counts for what was sent together with it
		p.expect(1, 2, 3)

		p = r.dial()
		p.send(append(encoded(kmsg.NewPtrApiVersionsRequest(), 0, 1), metadata(2)...))
		p.expect(1)
		p.expectClosed()
		if logged := r.logs.at(zerolog.WarnLevel); len(logged) != 1 || !strings.Contains(logged[0], "before authentication") {
			t.Errorf("logged: %s", logged)
		}
	})
}

func TestLogLineNamesTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.stage.answer = func(_ context.Context, q *Request) (Response, error) {
			q.Client.SetSoftware(Software{"librdkafka", "2.11.1"})
			return reply(q), nil
		}
		p := r.dial()
		p.send(encoded(kmsg.NewPtrApiVersionsRequest(), 0, 1))
		p.expect(1)
		p.send(frame(0, 2, 2, nil))
		p.expectClosed()
		logged := strings.Join(r.logs.at(zerolog.WarnLevel), "")
		for _, want := range []string{`"conn":1`, `"remote":"pipe"`, `"listener":"TEST"`, `"client_id":"tester"`,
			`"software":"librdkafka 2.11.1"`} {
			if !strings.Contains(logged, want) {
				t.Errorf("%s not in %s", want, logged)
			}
		}
	})
}

func TestThrottledClientIsMuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.stage.answer = func(_ context.Context, q *Request) (Response, error) {
			switch q.CorrelationID {
			case 1:
				return Throttle(reply(q), 5*time.Second), nil
			case 2:
				return Throttle(nil, 300*time.Millisecond), nil // acks=0
			}
			return reply(q), nil
		}
		p := r.dial()
		began := time.Now()
		p.send(metadata(1))
		p.expect(1)
		if d := time.Since(began); d != 0 {
			t.Errorf("a throttled answer came after %v", d)
		}
		p.send(produce(2, 10))
		pass(5 * time.Second)
		synctest.Wait() // else the third would be in flight together with the second
		p.send(produce(3, 10_000))
		p.expect(3)
		if d := time.Since(began); d != 5300*time.Millisecond {
			t.Errorf("unmuted after %v", d)
		}
		r.stage.expect(t, "handle 1", "begin 2", "begin 3")
	})
	synctest.Test(t, func(t *testing.T) { // a shorter time does not shorten a longer one
		r := newRig(t, Config{})
		r.stage.answer = func(_ context.Context, q *Request) (Response, error) {
			return Throttle(reply(q), time.Minute/time.Duration(q.CorrelationID)), nil
		}
		open := r.stage.block(1)
		p := r.dial()
		p.send(frames("MM"))
		synctest.Wait()
		open()
		p.expect(1, 2)
		began := time.Now()
		p.send(metadata(3))
		p.expect(3)
		if d := time.Since(began); d != time.Minute {
			t.Errorf("unmuted after %v", d)
		}
	})
}

func TestIdleConnections(t *testing.T) {
	const limit = 10 * time.Second
	for _, test := range []struct {
		name   string
		client func(r *rig, p *peer)
		want   time.Duration // after which the connection is closed
	}{
		{"silent", func(*rig, *peer) {}, limit},
		{"after an answer", func(_ *rig, p *peer) {
			pass(3 * time.Second)
			p.send(metadata(1))
			p.expect(1)
		}, limit + 3*time.Second},
		{"in flight", func(r *rig, p *peer) {
			open := r.stage.block(1)
			p.send(metadata(1))
			pass(5*limit + time.Second/2)
			open()
			p.expect(1)
		}, 6*limit + time.Second/2},
		{"a header byte by byte", func(_ *rig, p *peer) {
			for _, b := range metadata(1)[:8] {
				pass(time.Second)
				p.send([]byte{b})
			}
		}, limit},
		{"half a body", func(_ *rig, p *peer) {
			b := produce(1, 100_000)
			p.send(b[:40_000])
			pass(limit / 2)
			p.send(b[40_000:50_000])
		}, limit + limit/2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{IdleTimeout: limit})
				p := r.dial()
				began := time.Now()
				test.client(r, p)
				p.expectClosed()
				if d := time.Since(began); d < test.want || d > test.want+lookEvery {
					t.Errorf("closed after %v, want %v", d, test.want)
				}
				if n := r.Stats().Connections.IdleClosed; n != 1 {
					t.Errorf("%d idle connections counted", n)
				}
			})
		})
	}
}

// What is received whole takes effect although its sender has closed the connection by then.
func TestEffectsOutliveTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.stage.block(1)
		p := r.connect()
		for _, b := range spell("FPMFM") {
			p.send(b)
			synctest.Wait()
		}
		r.stage.expect(t, "handle 1", "begin 2")
		p.hangUp()
		synctest.Wait()
		r.stage.expect(t, "handle 1", "begin 2", "gone 1", "handle 3", "handle 4", "handle 5")
		r.logs.quiet(t)
	})
}

func TestDisconnectDuringLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.stage.block(1)
		p := r.dial()
		p.send(fetch(1))
		synctest.Wait()
		r.stage.expect(t, "handle 1")
		p.hangUp()
		synctest.Wait()
		r.stage.expect(t, "handle 1", "gone 1")
		if n := r.Stats().Connections.Open; n != 0 {
			t.Errorf("%d connections open", n)
		}
		r.logs.quiet(t)
	})
}
