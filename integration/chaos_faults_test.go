//go:build integration && unix

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"segue/integration/history"
)

// faults does things to a crowd's broker, at moments that random numbers choose.
type faults struct {
	c     *crowd
	rng   *rand.Rand
	pause time.Duration // the longest
	roll  string        // the folder of a partition whose rolls are to be met

	topics []crowdTopic // whose bounds are asked for after each start
	asks   *asker

	kills, stops, pauses int
	outage               time.Duration // the longest from a kill or a stop to the next answer
}

func (c *crowd) faults(topics []crowdTopic, pause time.Duration) *faults {
	a := c.asker()
	a.book = c.rec.Client("asks after each start", 0)
	return &faults{c: c, rng: c.random(), pause: pause, roll: c.b.folder(topics[0].name, 0), topics: topics, asks: a}
}

// fault is one of the things that happen.
type fault struct {
	name   string
	weight int
	do     func(*faults)
}

// allFaults are those that a sound broker gets over with nothing lost.
func allFaults() []fault {
	return []fault{
		{"kill", 6, func(f *faults) { f.down(history.Kill, f.kill) }},
		{"kill during a roll", 4, func(f *faults) { f.awaitRoll(); f.down(history.Kill, f.kill) }},
		{"kill right after a start", 2, func(f *faults) { f.down(history.Kill, f.kill); f.down(history.Kill, f.kill) }},
		{"kill during recovery", 4, func(f *faults) {
			f.down(history.Kill, func() {
				f.kill()
				for range 1 + f.rng.IntN(3) {
					f.begin()
					f.wait(150 * time.Millisecond)
					f.kill()
				}
			})
		}},
		{"pause", 2, func(f *faults) { f.hold(func() {}) }},
		{"pause and kill", 2, func(f *faults) { f.hold(func() { f.down(history.Kill, f.kill) }) }},
		{"stop", 2, func(f *faults) { f.down(history.Stop, func() { f.stops++; f.c.b.stop() }) }},
		{"kill during a stop", 3, func(f *faults) {
			f.down(history.Kill, func() {
				f.c.b.signal(syscall.SIGTERM)
				f.wait(60 * time.Millisecond)
				f.end()
			})
		}},
	}
}

// strike does one of the faults.
func (f *faults) strike(from []fault) string {
	total := 0
	for _, one := range from {
		total += one.weight
	}
	n := f.rng.IntN(total)
	for _, one := range from {
		if n -= one.weight; n < 0 {
			one.do(f)
			return one.name
		}
	}
	return ""
}

// wait lets any time up to d go by.
func (f *faults) wait(d time.Duration) { pass(nil, time.Duration(f.rng.Int64N(int64(d)))) }

// down ends the broker in some way, has it run again, and asks where its logs begin and end.
func (f *faults) down(kind history.Kind, end func()) {
	op := f.c.rec.Fault(kind)
	begun := time.Now()
	end()
	f.c.b.launch()
	op.End(history.OK, history.Nowhere)
	f.outage = max(f.outage, time.Since(begun))
	f.bounds()
}

// bounds asks where each partition begins and ends.
func (f *faults) bounds() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, topic := range f.topics {
		for p := range topic.partitions {
			// The client's connection is still the one to the broker that has gone.
			_, err := f.asks.patiently(ctx, f.asks.earliest, topic, p)
			for _, ask := range []func(context.Context, crowdTopic, int32) (int64, error){f.asks.latest, f.asks.stable} {
				if err == nil {
					_, err = f.asks.patiently(ctx, ask, topic, p)
				}
			}
			if err != nil {
				f.c.complain("right after a start: %v", err)
			}
		}
	}
}

func (f *faults) kill() {
	f.kills++
	f.c.b.kill()
}

// end kills the broker, which may be ending of itself.
func (f *faults) end() {
	f.kills++
	b := f.c.b
	b.run.cmd.Process.Kill()
	<-b.run.ended
	b.account()
}

// begin starts the broker and does not wait for it.
func (f *faults) begin() {
	b := f.c.b
	b.run = executeIn(b.t, b.binary, b.env, b.args()...)
	b.starts++
}

// hold makes the process pause for a while, and does something to it before it goes on.
func (f *faults) hold(then func()) {
	op := f.c.rec.Fault(history.Pause)
	f.pauses++
	f.c.b.signal(syscall.SIGSTOP)
	pass(nil, 100*time.Millisecond)
	f.wait(f.pause)
	then()
	if f.c.b.run != nil {
		f.c.b.signal(syscall.SIGCONT)
	}
	op.End(history.OK, history.Nowhere)
}

// awaitRoll waits until the partition has a new segment, or for a moment if none comes.
func (f *faults) awaitRoll() {
	newest := func() string {
		name := ""
		for _, file := range listed(f.roll) {
			if strings.HasSuffix(file, ".log") {
				name = max(name, file)
			}
		}
		return name
	}
	before := newest()
	for deadline := time.Now().Add(time.Second); newest() == before && time.Now().Before(deadline); {
	}
	f.wait(3 * time.Millisecond)
}

// String sums up what has been done.
func (f *faults) String() string {
	return fmt.Sprintf("%d kills, %d stops, %d pauses; away for %v at most", f.kills, f.stops, f.pauses, f.outage.Round(time.Millisecond))
}
