package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"segue/storage/record"
	"segue/storage/vfs"
)

// TestDamage holds what an open does about damaged files against tables, in damage_batch_test.go and
// damage_file_test.go. The log has 40 batches of 3 records in five segments, and a checkpoint in the middle one. Each
// damage is done to a segment below the checkpoint, to one above it, and to the hot one, with and without a restart of the
// machine in between; after a kill and, to the hot one, after a clean stop, which leaves another checkpoint at the end.
func TestDamage(t *testing.T) {
	rows := slices.Concat(batchDamages(), dataDamages(), indexDamages(), sideDamages(), folderDamages())
	for _, stopped := range []bool{false, true} {
		b := newBooted(t, func(b *bench) { b.cfg.SegmentBytes, b.opts.Reserve = 1500, 1 })
		for i := range 40 {
			b.append(3, int64(1000+i))
			if i == 20 {
				b.sync()
				if err := b.log.Save(context.Background(), "fold", b.end(), []byte("sum")); err != nil {
					t.Fatal(err)
				}
			}
		}
		b.sync()
		if stopped {
			b.close()
			defer b.open()
		}
		for _, d := range rows {
			for _, target := range d.targets() {
				for _, boot := range []string{sameBoot, otherBoot} {
					v := variation{stopped: stopped, boot: boot, target: target}
					if v.unread() && (boot == sameBoot || stopped && target != hot && target != nowhere) {
						continue // no open looks there, whatever the boot
					}
					t.Run(d.name+", "+v.String(), func(t *testing.T) { d.run(t, b, v) })
				}
			}
		}
	}
}

// damage is a row of the table.
type damage struct {
	name   string
	change func(s *scene)
	// at says which of the segments it is done to; all three kinds if it is empty. For damage that is not to a segment it
	// is nowhere.
	at []int
	// lost says which offsets cannot be read. None if it is nil.
	lost func(s *scene) []offsets
	// end is where the log ends then, if not where it did.
	end func(s *scene) record.Offset
	// payload says that the checksum tells of the damage and the header may not. Below a checkpoint, where no open looks,
	// the batch may go to the client as it is, who sees it.
	payload bool
	// refused is the error of an open that changes nothing: an error value, or a *CorruptError for one of that type.
	refused error
	// aside is what must lie beside the log afterwards: a pattern below the directory.
	aside string
	// sound says that verify need not find anything damaged: the broker mends it without a loss.
	sound bool
	// unless says in which variations the row is not to be looked at, as they are another row's.
	unless func(v variation) bool
}

// The segments that damage is done to.
const (
	nowhere = -1
	below   = 1 // the checkpoint
	above   = 3
	hot     = 4
)

func (d *damage) targets() []int {
	if len(d.at) == 0 {
		return []int{below, above, hot}
	}
	return d.at
}

type variation struct {
	stopped bool
	boot    string
	target  int
}

func (v variation) String() string {
	name := map[bool]string{false: "after a kill", true: "after a stop"}[v.stopped] + ", " + v.boot + " boot"
	return map[int]string{nowhere: "", below: "sealed, below a checkpoint, ", above: "sealed, ", hot: "hot, "}[v.target] + name
}

// unread says whether an open passes over the target: it lies below a checkpoint.
func (v variation) unread() bool { return v.stopped || v.target == below }

// scene is a copy of the log that something is about to happen to.
type scene struct {
	t *testing.T
	variation
	dir, folder string
	segments    []segmentCopy
	segmentCopy // the target
}

// segmentCopy is a segment before the damage.
type segmentCopy struct {
	path      string // without the suffix
	base, end record.Offset
	batches   []place
}

func newScene(t *testing.T, dir string, v variation) *scene {
	t.Helper()
	s := &scene{t: t, variation: v, dir: dir, folder: filepath.Join(dir, testID.Folder())}
	for _, name := range glob(t, s.folder, "*"+dataSuffix) {
		c := segmentCopy{path: strings.TrimSuffix(name, dataSuffix)}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for pos := 0; pos < len(data); {
			h, err := record.ParseHeader(data[pos:])
			if err != nil {
				t.Fatal(err)
			}
			c.batches = append(c.batches, place{int64(pos), h.Size(), h.BaseOffset(), h.NextOffset()})
			pos += h.Size()
		}
		c.base, c.end = c.batches[0].base, c.batches[len(c.batches)-1].end
		s.segments = append(s.segments, c)
	}
	if len(s.segments) != hot+1 {
		t.Fatalf("%d segments", len(s.segments))
	}
	if v.target != nowhere {
		s.segmentCopy = s.segments[v.target]
	}
	return s
}

// data edits the target's data file.
func (s *scene) data(f func(b []byte) []byte) { edit(s.t, s.path+dataSuffix, f) }

// index edits the target's index.
func (s *scene) index(f func(b []byte) []byte) { edit(s.t, s.path+indexSuffix, f) }

// file edits a file of the folder.
func (s *scene) file(name string, f func(b []byte) []byte) {
	edit(s.t, filepath.Join(s.folder, name), f)
}

func (s *scene) write(name string, content []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, name), content, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) remove(paths ...string) {
	s.t.Helper()
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			s.t.Fatal(err)
		}
	}
}

// offsets are those from one up to another.
type offsets struct{ from, to record.Offset }

// theBatches are those of the target with the given numbers, counted from its end if negative.
func theBatches(numbers ...int) func(*scene) []offsets {
	return func(s *scene) (lost []offsets) {
		for _, n := range numbers {
			if n < 0 {
				n += len(s.batches)
			}
			lost = append(lost, offsets{s.batches[n].base, s.batches[n].end})
		}
		return lost
	}
}

func wholeSegment(s *scene) []offsets { return []offsets{{s.base, s.end}} }

// run does the damage to a copy of b, opens it, and looks at what is there.
func (d *damage) run(t *testing.T, b *bench, v variation) {
	if d.unless != nil && d.unless(v) {
		t.Skip("another row tells of this")
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(b.path)); err != nil {
		t.Fatal(err)
	}
	s := newScene(t, to, v)
	if d.change != nil {
		d.change(s)
	}
	before := snapshot(t, to)
	switch damage, notes := verifyAll(t, bootedFS{vfs.OS(), v.boot}, to, VerifyOptions{Records: true}); {
	case d.sound && len(damage) > 0, d.change == nil && len(notes) > 0:
		t.Errorf("verify finds %q and %q", damage, notes)
	case !d.sound && len(damage)+len(notes) == 0:
		t.Error("verify finds nothing")
	}
	if after := snapshot(t, to); !slices.Equal(before, after) {
		t.Errorf("verify has changed files: %q\nthey were %q", after, before)
	}
	c := &bench{t: t, fs: bootedFS{lazyFS{vfs.OS()}, v.boot}, path: to, cfg: b.cfg, opts: b.opts}
	err := c.tryOpen()
	if d.refused != nil {
		d.checkRefused(t, err)
		if err == nil {
			c.close()
		}
		if after := snapshot(t, to); !sameBatches(before, after) {
			t.Errorf("the files are %q\nthey were %q", after, before)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { c.close() }()
	d.checkOpened(t, c, s)
	if have, had := keptBytes(t, to), total(before); have < had {
		t.Errorf("%d bytes of batches are kept of %d", have, had)
	}
	if d.aside != "" {
		glob(t, to, d.aside)
	} else if cuts, _ := filepath.Glob(filepath.Join(to, "*", "*.cut*")); len(cuts) > 0 {
		t.Errorf("set aside: %q", cuts)
	}
}

func (d *damage) checkRefused(t *testing.T, err error) {
	t.Helper()
	var corrupt *CorruptError
	if errors.As(d.refused, &corrupt) {
		if !errors.As(err, &corrupt) || corrupt.File == "" {
			t.Errorf("open: %v, want a CorruptError", err)
		}
		return
	}
	if !errors.Is(err, d.refused) {
		t.Errorf("open: %v, want %v", err, d.refused)
	}
}

// checkOpened looks at what can be read, appends, and looks again after a reopen.
func (d *damage) checkOpened(t *testing.T, c *bench, s *scene) {
	t.Helper()
	end := record.Offset(120)
	if d.end != nil {
		end = d.end(s)
	}
	c.wantBounds(0, end, end)
	var lost []offsets
	if d.lost != nil {
		lost = d.lost(s)
	}
	check := func(when string, end record.Offset) {
		t.Helper()
		outcomes := c.outcomes()
		for at, got := range outcomes {
			want := "read"
			for _, l := range lost {
				if at := record.Offset(at); l.from <= at && at < l.to {
					want = "corrupt"
				}
			}
			if want == "corrupt" && d.payload && s.unread() && got == "bad checksum" {
				continue
			}
			if got != want {
				t.Fatalf("%s, offset %d: %s, want %s; lost are %v", when, at, got, want, lost)
			}
		}
		if n := len(outcomes); n != int(end) {
			t.Fatalf("%s: %d offsets, want %d", when, n, end)
		}
	}
	check("at first", end)
	if base := c.append(3, 9000); base != end {
		t.Fatalf("the next append is at %d, want %d", base, end)
	}
	c.sync()
	c.reopen()
	check("after an append and a reopen", end+3)
	c.close()
	c.fs = bootedFS{lazyFS{vfs.OS()}, "third"}
	c.open()
	check("after a restart of the machine", end+3)
}

// outcomes tells for each offset whether it can be read. What a read returns is looked at as a client does.
func (b *bench) outcomes() (out []string) {
	b.t.Helper()
	_, committed, _ := b.log.Bounds()
	for at := record.Offset(0); at < committed; at++ {
		c, err := b.log.Read(context.Background(), at, committed, 1, true)
		var corrupt *CorruptError
		if errors.As(err, &corrupt) {
			out = append(out, "corrupt")
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, delivered(b.t, c, at))
	}
	return out
}

// delivered says what a client makes of a chunk that it asked for to read an offset.
func delivered(t testing.TB, c record.Chunk, at record.Offset) string {
	t.Helper()
	defer c.Release()
	data, err := c.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	batch, _, err := record.Parse(data)
	switch {
	case len(data) == 0:
		return "nothing"
	case err != nil:
		return err.Error()
	case batch.Verify() != nil:
		return "bad checksum"
	}
	for r, err := range batch.Records(nil) {
		if err != nil {
			return err.Error()
		}
		if r.Offset == at {
			if !strings.HasPrefix(string(r.Value), fmt.Sprintf("%d ", at)) {
				return fmt.Sprintf("the record %.5q", r.Value)
			}
			return "read"
		}
	}
	return fmt.Sprintf("a batch of %d to %d", batch.BaseOffset(), batch.LastOffset())
}
