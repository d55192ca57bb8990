//go:build integration && unix

package integration

import (
	"fmt"
	"testing"
	"time"

	"segue/integration/history"
)

// millVersions are the protocols of transactions that the mills try: the older one, and that of KIP-890. Clients speak the
// older one at level 0 too.
var millVersions = []int16{1, 2}

// run begins the mill's work: topics, and all who write to them and read them.
func (m *mill) run(t testing.TB) (topics []crowdTopic) {
	t.Helper()
	for _, spec := range []struct {
		name       string
		partitions int32
		configs    []string
	}{
		{"raw", 3, []string{"segment.bytes", "1048576", "segment.index.bytes", "360"}},
		{"side", 2, []string{"segment.index.bytes", "240"}},
		{"made", 2, nil},
	} {
		topic, err := m.create(within(t, patience), spec.name, spec.partitions, 0, spec.configs...)
		if err != nil {
			t.Fatal(err)
		}
		topics = append(topics, topic)
		for _, committed := range []bool{true, false} {
			m.followAs(&m.readers, topic, false, committed)
		}
		m.wander(&m.readers, topic)
		m.wanderCommitted(&m.readers, topic)
		m.survey(&m.readers, topic)
	}
	raw, side, made := topics[0], topics[1], topics[2]
	m.rec.Transform(raw.name, made.name)
	for i := range 3 {
		m.trade(fmt.Sprint("trader-", i), traderTimeout, raw, side)
	}
	m.trade("hasty", time.Second, raw, side)
	m.write(&m.writers, raw, writings()[0], false)
	for i := range 2 {
		m.chain(fmt.Sprint("chain-", i), "chain", raw, made)
	}
	return topics
}

// TestTransactionChaos does to a broker under transactions everything that it must get over, in each version of their
// protocol: who wants what is committed is given all of each transaction that was, and nothing of any other; what was read is
// transformed exactly once; whoever was replaced is fenced.
func TestTransactionChaos(t *testing.T) {
	for _, version := range millVersions {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			rng := seeded(t)
			b := start(t, onlyByRequest, checkOften, soon)
			b.setTransactionVersion(t, version)
			m := newMill(b, rng)
			topics := m.run(t)
			f := m.faults(topics, orLong(300*time.Millisecond, 3*time.Second))
			begun, last := time.Now(), time.Now()
			for f.kills < 3 || time.Since(begun) < orLong(10*time.Second, 30*time.Minute) {
				m.awaitAcks(t, 1+f.rng.Int64N(orLong[int64](400, 2000)))
				what := f.strike(allFaults())
				if time.Since(last) > time.Minute {
					last = time.Now()
					t.Logf("%v: %s; %v; %v", time.Since(begun).Round(time.Second), what, f, m)
				}
				if t.Failed() {
					break
				}
			}
			m.settle(t, topics[0], topics[2])
			m.revisit(t, topics...)
			report := m.check(t)
			t.Logf("%v of %v; %v; %d MiB of memory at most", f, time.Since(begun).Round(time.Second), m, b.peak>>20)
			for _, kind := range []history.Kind{history.Init, history.Commit, history.Abort, history.Poll, history.Latest, history.Drain} {
				if report.Counts[kind][history.OK] == 0 {
					t.Errorf("no %v was part of it", kind)
				}
			}
		})
	}
}
