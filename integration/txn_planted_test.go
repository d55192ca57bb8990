//go:build integration && unix

package integration

import (
	"slices"
	"testing"
	"time"

	"segue/integration/history"
)

// transactionBugs are changes that make transactions wrong.
var transactionBugs = []bug{
	{
		"who reads what is committed is given what is open",
		edit{"partition/read.go", "		to = o.LastStable\n", "		to = o.HighWatermark\n"},
		[]history.Name{history.UncommittedRead, history.AbortedRead, history.ReadAboveLastStable},
		true,
	}, {
		"aborted transactions are not told of",
		edit{"partition/read.go", "			result.Aborted = p.aborted(r.Offset, to, result.Chunk)\n", "			p.aborted(r.Offset, to, result.Chunk)\n"},
		[]history.Name{history.AbortedRead},
		true,
	}, {
		"an aborted transaction is told of to late readers only if it began where they read",
		edit{"partition/transactions.go", "			found = append(found, AbortedTxn{a.producerID, a.first})\n", `			if a.first >= from {
				found = append(found, AbortedTxn{a.producerID, a.first})
			}
`},
		[]history.Name{history.AbortedRead},
		false,
	}, {
		"a replay leaves out the offsets that transactions commit",
		edit{"internal/coordinator/group/transactions.go", "	m.pend(g, topic, partition, pendingOffset{p.ID, c})\n	return nil\n", `	if m.loaded {
		m.pend(g, topic, partition, pendingOffset{p.ID, c})
	}
	return nil
`},
		[]history.Name{history.TransformedTwice},
		true,
	},
}

// TestTransactionPlantedBugs: the mill and its history find a broker whose transactions are wrong. What finds nothing here would
// prove nothing in TestTransactionChaos.
func TestTransactionPlantedBugs(t *testing.T) {
	if raceEnabled() {
		t.Skip("a planted bug may race")
	}
	for _, bug := range transactionBugs {
		t.Run(bug.name, func(t *testing.T) {
			if !bug.quick && !long() {
				t.Skip("it takes SEGUE_LONG=1")
			}
			b := newBroker(t, onlyByRequest, checkOften, soon)
			b.binary = buildEdited(t, bug.change)
			b.tolerated = func(entry) bool { return true }
			b.launch()
			m := newMill(b, seeded(t))
			m.run(t)
			defer m.readers.end()
			defer m.chains.end()
			defer m.writers.end()
			defer m.traders.end()
			const patiently = 40 // kills
			for rng := m.random(); b.starts <= patiently; {
				m.awaitAcks(t, 1+rng.Int64N(300))
				m.awaitChains(t)
				b.crash()
				pass(nil, 200*time.Millisecond)
				found := history.Check(m.rec.History()).Found
				if slices.ContainsFunc(bug.want, func(n history.Name) bool { return found[n] > 0 }) {
					t.Logf("%v", found)
					return
				}
			}
			t.Errorf("after %d kills none of %v is found", patiently, bug.want)
		})
	}
}
