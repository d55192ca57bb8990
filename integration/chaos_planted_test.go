//go:build integration && unix

package integration

import (
	"slices"
	"testing"
	"time"

	"segue/integration/history"
)

// bug is a change to one source file that makes the broker wrong.
type bug struct {
	name   string
	change edit
	want   []history.Name // one of them is to be found
	quick  bool           // it is looked for even when there is little time
}

var bugs = []bug{
	{
		"recovery forgets the last batch",
		edit{"storage/check.go", "		if cause == nil {\n			c.take(b)\n", `		if cause == nil {
			if end := c.pos + int64(b.Size()); c.next == noNext && end == c.size && c.s.path[len(c.s.dir.path)+1] != '@' {
				c.synced, c.syncedTo, c.size = min(c.synced, c.pos), min(c.syncedTo, b.BaseOffset()), c.pos
				break
			}
			c.take(b)
`},
		[]history.Name{history.EndBelowAck, history.EndBelowRead, history.OffsetReuse},
		true,
	}, {
		"producers are forgotten at a kill",
		edit{"partition/checkpoint.go", "		s.apply(h, m, kind, now)\n", "		_, _, s.epochs = m, kind, s.epochs.assign(h.LeaderEpoch(), h.BaseOffset())\n"},
		[]history.Name{history.Duplicate},
		true,
	}, {
		"the high watermark is published before the sync",
		edit{"internal/handler/list_offsets.go", "latest := marks.HighWatermark\n", "latest := marks.LogEnd\n"},
		[]history.Name{history.HighWatermarkBack, history.EmptyBelowEnd},
		false,
	}, {
		"acknowledged before it is written",
		edit{"storage/hot.go", "	if err := f.WriteParts(parts, pos); err != nil {\n", `	var late []byte
	for _, part := range parts {
		late = append(late, part...)
	}
	at := pos
	write := func() { f.WriteAt(late, at) }
	if c.UseReserve { // the catalog
		write()
	} else {
		time.AfterFunc(5*time.Millisecond, write)
	}
	if f == nil {
`},
		[]history.Name{history.EndBelowAck, history.LostWrite, history.Unseen, history.OffsetReuse},
		true,
	},
}

// TestPlantedBugs: the crowd and its history find a broker that is wrong. What finds nothing here would prove nothing in
// TestChaos.
func TestPlantedBugs(t *testing.T) {
	if raceEnabled() {
		t.Skip("a planted bug may race")
	}
	for _, bug := range bugs {
		t.Run(bug.name, func(t *testing.T) {
			if !bug.quick && !long() {
				t.Skip("it takes SEGUE_LONG=1")
			}
			b := newBroker(t, onlyByRequest, checkOften)
			b.binary = buildEdited(t, bug.change)
			b.tolerated = func(entry) bool { return true }
			b.launch()
			c := newCrowd(b, seeded(t))
			f := c.faults(c.populate(t, true), 100*time.Millisecond)
			f.topics = nil // a wrong broker may not answer for all of them
			defer c.readers.end()
			defer c.writers.end()
			const patiently = 60 // kills
			for f.kills < patiently {
				c.awaitAcks(t, 1+f.rng.Int64N(300))
				f.strike(allFaults()[:4])
				found := history.Check(c.rec.History()).Found
				if slices.ContainsFunc(bug.want, func(n history.Name) bool { return found[n] > 0 }) {
					t.Logf("%v: %v", f, found)
					return
				}
			}
			t.Errorf("after %d kills none of %v is found", f.kills, bug.want)
		})
	}
}
