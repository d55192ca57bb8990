//go:build integration && unix

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"segue/integration/history"
)

// bug is a change to one source file that makes the broker wrong.
type bug struct {
	name   string
	file   string
	change replacement
	want   []history.Name // one of them is to be found
	quick  bool           // it is looked for even when there is little time
}

var bugs = []bug{
	{
		"recovery forgets the last batch", "storage/check.go",
		replacement{"		if cause == nil {\n			c.take(b)\n", `		if cause == nil {
			if end := c.pos + int64(b.Size()); c.next == noNext && end == c.size {
				c.synced, c.size = min(c.synced, c.pos), c.pos
				break
			}
			c.take(b)
`},
		[]history.Name{history.EndBelowAck, history.EndBelowRead, history.OffsetReuse},
		true,
	}, {
		"producers are forgotten at a kill", "partition/checkpoint.go",
		replacement{"			s.apply(h, now)\n", "			s.epochs = s.epochs.assign(h.LeaderEpoch(), h.BaseOffset())\n"},
		[]history.Name{history.Duplicate},
		true,
	}, {
		"the high watermark is published before the sync", "internal/handler/list_offsets.go",
		replacement{"latest := marks.HighWatermark\n", "latest := marks.LogEnd\n"},
		[]history.Name{history.HighWatermarkBack, history.EmptyBelowEnd},
		false,
	}, {
		"acknowledged before it is written", "storage/hot.go",
		replacement{"	if _, err := f.WriteAt(b.Bytes(), pos); err != nil {\n", `	late := append([]byte(nil), b.Bytes()...)
	write := func() { f.WriteAt(late, pos) }
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

// replacement is what takes the place of a text that stands once in a file.
type replacement struct{ text, by string }

// altered builds a broker from sources of which one file, below the root of the repository, is altered.
func altered(t *testing.T, file string, replacements ...replacement) (binary string) {
	t.Helper()
	source, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range replacements {
		if n := bytes.Count(text, []byte(r.text)); n != 1 {
			t.Fatalf("%s has this %d times, want once; the test has to alter something else now:\n%s", file, n, r.text)
		}
		text = bytes.Replace(text, []byte(r.text), []byte(r.by), 1)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(changed, text, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "broker")
	if err := build(binary, "-overlay", overlay); err != nil {
		t.Fatal(err)
	}
	return binary
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
			b.binary = altered(t, bug.file, bug.change)
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
