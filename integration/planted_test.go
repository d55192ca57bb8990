//go:build integration && unix

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"segue/integration/history"
)

// bug is a change to one source file that makes the broker wrong.
type bug struct {
	name       string
	file       string // below the root of the repository
	sound, bad string // what stands there once, and what takes its place
	want       []history.Name
}

var bugs = []bug{
	{
		name: "recovery forgets the last batch", file: "storage/check.go",
		sound: "		if cause == nil {\n			c.take(b)\n",
		bad: "		if cause == nil {\n			if end := c.pos + int64(b.Size()); c.next == noNext && end == c.size {\n" +
			"				c.synced, c.size = min(c.synced, c.pos), c.pos\n				break\n			}\n			c.take(b)\n",
		want: []history.Name{history.EndBelowAck, history.EndBelowRead, history.OffsetReuse},
	}, {
		name: "producers are forgotten at a kill", file: "partition/checkpoint.go",
		sound: "			s.apply(h, now)\n",
		bad:   "			s.epochs = s.epochs.assign(h.LeaderEpoch(), h.BaseOffset())\n",
		want:  []history.Name{history.Duplicate},
	}, {
		name: "the high watermark is published before the sync", file: "internal/handler/list_offsets.go",
		sound: "latest := marks.HighWatermark\n", bad: "latest := marks.LogEnd\n",
		want: []history.Name{history.HighWatermarkBack, history.EmptyBelowEnd},
	}, {
		name: "acknowledged before it is written", file: "storage/hot.go",
		sound: "	if _, err := f.WriteAt(b.Bytes(), pos); err != nil {\n",
		bad: "	late := append([]byte(nil), b.Bytes()...)\n	time.AfterFunc(5*time.Millisecond, func() { f.WriteAt(late, pos) })\n" +
			"	if f == nil {\n",
		want: []history.Name{history.EndBelowAck, history.LostWrite, history.Unseen, history.OffsetReuse},
	},
}

// plant builds a broker that has the bug.
func (bug bug) plant(t *testing.T) (binary string) {
	t.Helper()
	source, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(bug.file)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), bug.sound); n != 1 {
		t.Fatalf("%s has this %d times, want once; the bug has to be planted elsewhere now:\n%s", bug.file, n, bug.sound)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), bug.sound, bug.bad, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
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
	for _, bug := range bugs {
		t.Run(bug.name, func(t *testing.T) {
			b := newBroker(t, onlyByRequest, checkOften)
			b.binary = bug.plant(t)
			b.tolerated = func(entry) bool { return true }
			b.launch()
			c := newCrowd(b, seeded(t))
			f := c.faults(c.populate(t, true), 100*time.Millisecond)
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
