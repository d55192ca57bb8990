//go:build integration && unix

package integration

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"segue/integration/history"
)

// chaosTopics are the topics that stay, and how they are kept.
var chaosTopics = []struct {
	name       string
	partitions int32
	configs    []string
}{
	// Rolls come all the time, by size or by a full index.
	{"synced", 4, []string{"segment.bytes", "1048576", "segment.index.bytes", "360"}},
	// What was written is the kernel's: that syncs run behind the acknowledgements makes no difference to a kill.
	{"behind", 2, []string{"flush.messages", "100000", "segment.index.bytes", "600"}},
	// Its beginning moves.
	{"short", 2, []string{"retention.bytes", "300000", "segment.bytes", "1048576", "segment.index.bytes", "240"}},
	// Nothing rolls but by kills.
	{"plain", 1, nil},
}

// TestChaos does to a broker under load everything that it must get over: kills, pauses, stops, and all of these at the
// worst moments. Producers of all sorts write to topics of all sorts, consumers read everywhere; one topic is deleted
// and made again all along. In the end the history of all that they did and were told must be that of a sound log.
func TestChaos(t *testing.T) {
	rng := seeded(t)
	b := start(t, onlyByRequest, checkOften)
	c := newCrowd(b, rng)
	topics := c.populate(t, false)
	passing := c.recreate(t)
	f := c.faults(topics, orLong(300*time.Millisecond, 5*time.Second))
	begun := time.Now()
	for goal := orLong(12, 200); f.kills < goal; {
		c.awaitAcks(t, 1+f.rng.Int64N(orLong[int64](2500, 6000)))
		what := f.strike(allFaults())
		if long() && f.kills%20 == 0 || t.Failed() {
			t.Logf("%v: %s; %v, %d records acknowledged", time.Since(begun).Round(time.Second), what, f, c.acks.Load())
		}
		if t.Failed() {
			break
		}
	}
	c.awaitAcks(t, 100)
	c.finish(t, append(topics, passing()...)...)
	if n := len(b.segments(t, "synced", 0)); n < 2 {
		t.Errorf("%d segments: no roll was among what was interrupted", n)
	}
	report := c.check(t)
	t.Logf("%v of %v; %d records acknowledged; %d MiB of memory at most", f, time.Since(begun).Round(time.Second), c.acks.Load(), b.peak>>20)
	for _, kind := range []history.Kind{history.Send, history.Poll, history.Earliest, history.Latest, history.ForTime, history.Drain} {
		if report.Counts[kind][history.OK] == 0 {
			t.Errorf("no %v was part of it", kind)
		}
	}
}

// populate makes the topics that stay, and their clients.
func (c *crowd) populate(t *testing.T, abandon bool) (topics []crowdTopic) {
	t.Helper()
	for i, spec := range chaosTopics {
		topic, err := c.create(within(t, patience), spec.name, spec.partitions, 0, spec.configs...)
		if err != nil {
			t.Fatal(err)
		}
		topics = append(topics, topic)
		for j, w := range writings() {
			if i == 0 || (i+j)%2 == 0 {
				c.write(&c.writers, topic, w, abandon)
			}
		}
		c.refused(&c.writers, topic)
		c.follow(&c.readers, topic, false)
		c.follow(&c.readers, topic, true)
		c.wander(&c.readers, topic)
		c.survey(&c.readers, topic)
	}
	return topics
}

// recreate has one more topic come and go until what it returns is called, which returns the last one of its name.
func (c *crowd) recreate(t *testing.T) (last func() []crowdTopic) {
	t.Helper()
	g, rng := newGroup(), c.random()
	var topics []crowdTopic
	g.wait.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for generation := 1; ; generation++ {
			topic, err := c.create(ctx, "passing", 1, generation, "segment.index.bytes", "240")
			if err != nil {
				c.complain("%v", err)
				return
			}
			clients := newGroup()
			abandon := rng.IntN(2) == 0 // its deletion comes while clients use it
			for _, w := range writings()[:3] {
				c.write(&clients, topic, w, abandon)
			}
			c.follow(&clients, topic, false)
			if !pass(g.stop, time.Duration(rng.Int64N(int64(2*time.Second)))) {
				clients.end()
				topics = append(topics, topic)
				return
			}
			if !abandon {
				clients.end()
			}
			err = c.delete(ctx, topic)
			if abandon {
				clients.end()
			}
			if err != nil {
				c.complain("%v", err)
				return
			}
		}
	})
	return func() []crowdTopic {
		g.end()
		return topics
	}
}

// writeAll makes one topic, to which the first three sorts of producers write.
func (c *crowd) writeAll(t testing.TB, name string, partitions int32, configs ...string) crowdTopic {
	t.Helper()
	topic, err := c.create(within(t, patience), name, partitions, 0, configs...)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writings()[:3] {
		c.write(&c.writers, topic, w, false)
	}
	return topic
}

// finish ends the producers and drains the topics, and drains them again after a restart and after a kill: they must have
// the same ends each time, and nothing but sound batches in their files.
func (c *crowd) finish(t testing.TB, topics ...crowdTopic) {
	t.Helper()
	c.writers.end()
	c.revisit(t, topics...)
}

// revisit is finish once nobody writes any more.
func (c *crowd) revisit(t testing.TB, topics ...crowdTopic) {
	t.Helper()
	var before [][]int64
	for _, again := range []func(){func() {}, func() { c.b.restart() }, func() { c.b.crash() }} {
		again()
		var ends [][]int64
		for _, topic := range topics {
			for _, committed := range []bool{false, true} {
				e, err := c.drainAs(within(t, 4*patience), topic, committed)
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, e)
			}
		}
		if before != nil && !slices.EqualFunc(before, ends, slices.Equal) {
			t.Errorf("nobody wrote, and the logs that ended at %v end at %v", before, ends)
		}
		before = ends
	}
	c.readers.end()
	for _, topic := range topics {
		for p := range topic.partitions {
			c.b.batches(t, topic.name, p)
		}
	}
}

// listed returns the names of what is in a folder; none if it cannot be read.
func listed(folder string) (names []string) {
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		names = append(names, filepath.Base(e.Name()))
	}
	return names
}
