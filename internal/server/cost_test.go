package server

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/protocol"
)

// cost gives a row of the stage a cost.
func cost(key int16, bytes int) func([]API) {
	return func(apis []API) {
		for i := range apis {
			if apis[i].Key == key {
				apis[i].Cost = func(*Request, int) int { return bytes }
			}
		}
	}
}

// topicsMetadata asks for so many topics.
func topicsMetadata(corr int32, topics int) []byte {
	m := kmsg.NewPtrMetadataRequest()
	for range topics {
		m.Topics = append(m.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr("a-topic")})
	}
	return encoded(m, 4, corr)
}

// expectMemory fails unless so much is in use, and so many wait.
func expectMemory(t *testing.T, what string, got MemoryStats, used int64, waiting int) {
	t.Helper()
	if got.Used != used || got.Waiting != waiting {
		t.Fatalf("%s: %d bytes in use and %d wait, want %d and %d", what, got.Used, got.Waiting, used, waiting)
	}
}

// Who announces a large request holds memory only once he has sent enough to fill the connection's own buffer.
func TestAnnouncementsHoldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MemoryBudget: 64 << 10})
		large := produce(1, 60_000)
		var slow []*peer
		for range 50 {
			p := r.dial()
			p.send(large[:readBuffer-1])
			slow = append(slow, p)
		}
		synctest.Wait()
		expectMemory(t, "announced", r.Stats().Memory, 0, 0)
		honest := r.dial()
		honest.send(large)
		honest.expect(1)
		for i := range 5 { // a byte a minute
			for _, p := range slow {
				p.send(large[readBuffer-1+i:][:1])
			}
			pass(time.Minute)
			honest.send(large)
			honest.expect(1)
		}
	})
}

// What a request takes decoded is reserved until it is answered, and whoever lets the broker wait with it while
// others need the memory is closed.
func TestDecodedRequestsAreReserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		request := topicsMetadata(1, 1000)
		_, body, err := protocol.ParseHeader(request[4:])
		if err != nil {
			t.Fatal(err)
		}
		size, err := protocol.DecodedSize(3, 4, body)
		if err != nil {
			t.Fatal(err)
		}
		claim := int64(bufferSize(len(request)) + protocol.MeasureLimit(len(request)-4))
		r := newRig(t, Config{MemoryBudget: claim + int64(size)/2, AnswerBudget: 64 << 20})
		open := r.stage.block(1)
		holder, other := r.dial(), r.dial()
		holder.send(request)
		synctest.Wait()
		expectMemory(t, "decoded", r.Stats().Memory, int64(size), 0)
		pass(time.Hour)
		other.send(topicsMetadata(2, 1000))
		other.expect(2) // after the holder was closed
		holder.expectClosed()
		open()
		synctest.Wait()
		expectMemory(t, "in the end", r.Stats().Memory, 0, 0)
		if n := r.Stats().Connections.Held; n != 1 {
			t.Errorf("%d connections counted that were closed for it", n)
		}
		if logged := r.logs.at(zerolog.WarnLevel); len(logged) != 1 || !strings.Contains(logged[0], errHeld.Error()) {
			t.Errorf("logged: %s", logged)
		}
	})
}

// A small frame may be decoded to a lot: that is reserved as well, to the byte.
func TestDecodedSmallFramesAreReserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := kmsg.NewPtrMetadataRequest()
		for range 600 {
			m.Topics = append(m.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr("abc")})
		}
		request := encoded(m, 4, 1)
		_, body, err := protocol.ParseHeader(request[4:])
		if err != nil {
			t.Fatal(err)
		}
		size, err := protocol.DecodedSize(3, 4, body)
		if err != nil || len(request) > readBuffer || size < ownMemory {
			t.Fatalf("%d bytes, %d decoded, %v", len(request), size, err)
		}
		r := newRig(t, Config{})
		open := r.stage.block(1)
		p := r.dial()
		p.send(request)
		synctest.Wait()
		expectMemory(t, "decoded", r.Stats().Memory, int64(size), 0)
		open()
		p.expect(1)
		synctest.Wait()
		expectMemory(t, "in the end", r.Stats().Memory, 0, 0)
	})
}

// The memory for answers is shared out in order, among rows with Handle and with Begin, and comes back.
func TestCostsAreReserved(t *testing.T) {
	for _, test := range []struct {
		name  string
		key   int16
		frame func(corr int32) []byte
	}{
		{"handle", 3, metadata},
		{"begin", 0, func(corr int32) []byte { return produce(corr, 100) }},
		{"begin, large", 0, func(corr int32) []byte { return produce(corr, 10_000) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{AnswerBudget: 100_000}, cost(test.key, 60_000))
				open := r.stage.block(1)
				first, second, small := r.dial(), r.dial(), r.dial()
				first.send(test.frame(1))
				synctest.Wait()
				second.send(test.frame(2))
				synctest.Wait()
				expectMemory(t, "two", r.Stats().Answers, 60_000, 1)
				second.expectSilence()
				small.send(heartbeat(3))
				small.expect(3)
				open()
				first.expect(1)
				second.expect(2)
				synctest.Wait()
				expectMemory(t, "none", r.Stats().Answers, 0, 0)
				r.logs.quiet(t)

				// Who goes away while he waits has the request carried out all the same, if it has been taken.
				open = r.stage.block(4)
				first.send(test.frame(4))
				synctest.Wait()
				second.send(test.frame(5))
				synctest.Wait()
				second.hangUp()
				open()
				first.expect(4)
				synctest.Wait()
				expectMemory(t, "none", r.Stats().Answers, 0, 0)
			})
		})
	}
}

// A request that would take more than there is for all is refused, as it would wait for ever.
func TestCostBeyondTheBudget(t *testing.T) {
	for _, frame := range [][]byte{metadata(1), produce(1, 100)} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Config{AnswerBudget: 100_000}, cost(3, 100_001), cost(0, 100_001))
			p := r.dial()
			p.send(frame)
			p.expectClosed()
			r.stage.expect(t)
			if logged := r.logs.at(zerolog.WarnLevel); len(logged) != 1 || !strings.Contains(logged[0], "100001") {
				t.Errorf("logged: %s", logged)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MemoryBudget: 40_000})
		p := r.dial()
		p.send(topicsMetadata(1, 1000)) // whose bytes fit, and which does not when it is decoded
		p.expectClosed()
		r.stage.expect(t)
	})
}

// An answer that turns out larger than the request told waits for its memory, and gives up what it had first.
func TestSizedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{AnswerBudget: 100_000}, cost(3, 30_000))
		sizes := map[int32]int{1: 60_000, 2: 90_000, 3: 100, 4: 100_001}
		r.stage.answer = func(_ context.Context, q *Request) (Response, error) {
			if n := sizes[q.CorrelationID]; n > 0 {
				return Sized(reply(q), n), nil
			}
			return reply(q), nil
		}
		first, second, third := r.connect(), r.dial(), r.dial()
		first.send(metadata(1)) // who does not read yet, so what it takes stays claimed
		synctest.Wait()
		expectMemory(t, "one", r.Stats().Answers, 60_000, 0)
		second.send(metadata(2))
		synctest.Wait()
		expectMemory(t, "two", r.Stats().Answers, 60_000, 1)
		first.read()
		first.expect(1)
		second.expect(2)
		synctest.Wait()
		expectMemory(t, "none", r.Stats().Answers, 0, 0)
		third.send(metadata(3))
		third.expect(3)
		r.logs.quiet(t)

		third.send(metadata(4))
		third.expectClosed()
		expectMemory(t, "none", r.Stats().Answers, 0, 0)
		if logged := r.logs.at(zerolog.WarnLevel); len(logged) != 1 || !strings.Contains(logged[0], "100001") {
			t.Errorf("logged: %s", logged)
		}
	})
}

// A client that does not take its answer cannot keep the memory that others wait for.
func TestSlowReadersGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{AnswerBudget: 100_000}, cost(3, 60_000))
		reader, other := r.connect(), r.dial()
		reader.send(metadata(1)) // and does not read
		synctest.Wait()
		other.send(metadata(2))
		began := time.Now()
		other.expect(2)
		if d := time.Since(began); d > holdGrace+3*time.Second {
			t.Errorf("after %v", d)
		}
		if n := r.Stats().Connections.Held; n != 1 {
			t.Errorf("%d connections counted that were closed for it", n)
		}
	})
}

// A client that sends and never reads is not read from either, however much it has sent.
func TestPipelineWithoutReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		p := r.connect()
		const each, many = 1000, 100
		burst := make([]byte, 0, each*len(metadata(1)))
		for range each {
			burst = append(burst, metadata(1)...)
		}
		for range many {
			p.send(burst)
		}
		synctest.Wait()
		var taken uint64
		for _, a := range r.Stats().APIs {
			taken += a.Requests
		}
		if taken > 2*defaultQueueDepth {
			t.Errorf("%d requests were taken of a client that reads no answers", taken)
		}
		other := r.dial()
		other.send(metadata(2))
		other.expect(2)
	})
}

// What a connection keeps of a client id is bounded.
func TestLongClientID(t *testing.T) {
	c := new(Client)
	long := strings.Repeat("x", 32_000)
	c.setClientID(&long)
	if got := c.ClientID(); len(got) != keptClientID {
		t.Errorf("%d bytes kept", len(got))
	}
	short := "y"
	c.setClientID(&short)
	if got := c.ClientID(); got != "y" {
		t.Errorf("%q", got)
	}
}

// Bodies of usual size that have arrived do not wait for those who hold memory and are slow.
func TestPromptBodiesOvertakeSlowOnes(t *testing.T) {
	r := newSocketRig(t, Config{MemoryBudget: 128 << 10})
	var slow []*peer
	for range 10 {
		p := r.connect()
		p.send(produce(1, 100_000)[:2*readBuffer])
		slow = append(slow, p)
	}
	for r.Stats().Memory.Waiting != len(slow)-1 {
		runtime.Gosched()
	}
	honest := r.dial()
	for corr := range int32(20) {
		honest.send(produce(corr, 20_000))
		honest.expect(corr)
	}
	if n := r.Stats().Connections.SlowSenders; n > 5 {
		t.Errorf("the others had to give way: %d were closed", n)
	}
	// One that announces a body of that size and does not send it does not count as prompt.
	late := r.connect()
	late.send(produce(1, 20_000)[:2*readBuffer])
	for r.Stats().Memory.Waiting < len(slow)/2 {
		runtime.Gosched()
	}
	honest.send(produce(100, 20_000))
	honest.expect(100)
	if used := r.prompt.stats().Used; used != 0 {
		t.Errorf("%d bytes are held by one who has not sent them", used)
	}
}

// What a client has asked for and does not wait for costs no more work, unless it changes something.
func TestQueriesOfTheGoneArePassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, func(apis []API) {
			for i := range apis {
				apis[i].Query = apis[i].Key == 3
			}
		})
		open := r.stage.block(1)
		p := r.dial()
		p.send(heartbeat(1)) // whose handler waits, so the rest lies in the queue or the socket
		p.send(metadata(2))
		synctest.Wait()
		c := r.onlyConn(t)
		if n := c.unanswered.Load(); n != 2 {
			t.Fatalf("%d requests were taken, want two", n)
		}
		c.cancel(errGone)
		p.send(metadata(3))
		p.send(topicsMetadata(4, 2000))
		p.send(heartbeat(5))
		open()
		synctest.Wait()
		r.stage.expect(t, "handle 1", "gone 1", "handle 5")
	})
}

// onlyConn returns the one connection that there is.
func (r *rig) onlyConn(t *testing.T) *conn {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		return c
	}
	t.Fatal("there is no connection")
	return nil
}

// Of the queries that cost much only some are handled at a time; those that cost little pass, and so does one whose
// client takes its answer slowly.
func TestHeavyQueriesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, cost(3, 100_000), func(apis []API) {
			for i := range apis {
				apis[i].Query = apis[i].Key == 3 || apis[i].Key == 12
			}
		})
		turns := int32(cap(r.heavy))
		var open []func()
		var peers []*peer
		for corr := range turns + 1 {
			open = append(open, r.stage.block(corr))
			p := r.dial()
			p.send(metadata(corr))
			synctest.Wait()
			peers = append(peers, p)
		}
		if n := len(r.stage.seen()); n != int(turns) {
			t.Fatalf("%d are handled at a time, want %d", n, turns)
		}
		small := r.dial()
		small.send(heartbeat(100))
		small.expect(100)
		for corr, f := range open {
			f()
			peers[corr].expect(int32(corr))
		}

		slow := r.connect() // which does not read
		slow.send(metadata(200))
		synctest.Wait()
		began := time.Now()
		peers[0].send(metadata(201))
		peers[0].expect(201)
		if d := time.Since(began); d > 0 {
			t.Errorf("after %v: it waits for a client that does not read", d)
		}
	})
}
