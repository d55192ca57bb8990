package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const crashSeeds = 200

// crashes returns many disks that may be left of c.
func crashes(c *Crashable) func(yield func(uint64, *Crashable) bool) {
	return func(yield func(uint64, *Crashable) bool) {
		for seed := range uint64(crashSeeds) {
			if !yield(seed, c.Crash(rand.New(rand.NewPCG(seed, 0)))) {
				return
			}
		}
	}
}

// shape tells a disk in one line: each name, with the first byte of a file.
func shape(t *testing.T, c *Crashable) string {
	t.Helper()
	var all []string
	var walk func(dir string)
	walk = func(dir string) {
		for _, e := range must[[]Entry](t)(c.ReadDir(dir)) {
			name := path.Join(dir, e.Name)
			if e.Dir {
				all = append(all, name+"/")
				walk(name)
				continue
			}
			content := contentOf(t, c, name)
			all = append(all, fmt.Sprintf("%s=%s", name, content[:min(1, len(content))]))
		}
	}
	walk(".")
	return strings.Join(all, " ")
}

// Which names may be left after a crash, for sequences of operations: all of these and no others.
func TestCrashOfNames(t *testing.T) {
	file := func(c *Crashable, name, content string) error {
		f, err := c.Create(name)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte(content), 0)
		return errors.Join(err, f.Sync(), f.Close())
	}
	for what, test := range map[string]struct {
		do   func(c *Crashable) error
		want []string
	}{
		"create without SyncDir": {
			func(c *Crashable) error { return file(c, "a", "A") },
			[]string{"", "a=A"},
		},
		"create": {
			func(c *Crashable) error { return errors.Join(file(c, "a", "A"), c.SyncDir(".")) },
			[]string{"a=A"},
		},
		"two files": {
			func(c *Crashable) error { return errors.Join(file(c, "a", "A"), file(c, "b", "B")) },
			[]string{"", "a=A", "b=B", "a=A b=B"},
		},
		"a directory's own name is in its parent": {
			func(c *Crashable) error { return errors.Join(c.Mkdir("d"), file(c, "d/a", "A"), c.SyncDir("d")) },
			[]string{"", "d/ d/a=A"},
		},
		"a file's name is not": {
			func(c *Crashable) error { return errors.Join(c.Mkdir("d"), file(c, "d/a", "A"), c.SyncDir(".")) },
			[]string{"d/", "d/ d/a=A"},
		},
		"MkdirAll makes each": {
			func(c *Crashable) error { return errors.Join(c.MkdirAll("d/e"), c.SyncDir("d"), c.SyncDir("/")) },
			[]string{"d/ d/e/"},
		},
		"a rename replaces at once": {
			func(c *Crashable) error {
				return errors.Join(file(c, "a", "A"), file(c, "b", "B"), c.SyncDir("."), c.Rename("a", "b"))
			},
			[]string{"a=A b=B", "b=A"},
		},
		"a rename can be kept without the create": {
			func(c *Crashable) error { return errors.Join(file(c, "a", "A"), c.Rename("a", "b")) },
			[]string{"", "b=A", "a=A"},
		},
		"a rename between directories is one": {
			func(c *Crashable) error {
				return errors.Join(c.Mkdir("d"), c.Mkdir("e"), file(c, "d/a", "A"), c.SyncDir("d"), c.SyncDir("."),
					c.Rename("d/a", "e/a"))
			},
			[]string{"d/ d/a=A e/", "d/ e/ e/a=A"},
		},
		"a rename between directories is durable by either": {
			func(c *Crashable) error {
				return errors.Join(c.Mkdir("d"), c.Mkdir("e"), file(c, "d/a", "A"), c.SyncDir("."), c.SyncDir("d"),
					c.Rename("d/a", "e/a"), c.SyncDir("d"))
			},
			[]string{"d/ e/ e/a=A"},
		},
		"the changes of a name come in order": {
			func(c *Crashable) error {
				return errors.Join(file(c, "a", "A"), c.SyncDir("."), c.Rename("a", "b"), file(c, "a", "B"))
			},
			[]string{"a=A", "b=A", "a=B b=A"},
		},
		"remove": {
			func(c *Crashable) error { return errors.Join(file(c, "a", "A"), c.SyncDir("."), c.Remove("a")) },
			[]string{"", "a=A"},
		},
		"durable remove": {
			func(c *Crashable) error {
				return errors.Join(file(c, "a", "A"), c.SyncDir("."), c.Remove("a"), c.SyncDir("."))
			},
			[]string{""},
		},
		"RemoveAll may get stuck": {
			func(c *Crashable) error {
				return errors.Join(c.Mkdir("d"), file(c, "d/a", "A"), file(c, "d/b", "B"), c.SyncDir("d"), c.SyncDir("."),
					c.RemoveAll("d"))
			},
			[]string{"", "d/", "d/ d/a=A", "d/ d/b=B", "d/ d/a=A d/b=B"},
		},
		"a renamed directory keeps what is in it": {
			func(c *Crashable) error {
				return errors.Join(c.Mkdir("d"), file(c, "d/a", "A"), c.SyncDir("d"), c.SyncDir("."),
					c.Rename("d", "e"), file(c, "e/b", "B"), c.SyncDir("e"))
			},
			[]string{"d/ d/a=A d/b=B", "e/ e/a=A e/b=B"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := NewCrashable()
			check(t, test.do(c))
			got := map[string]uint64{}
			for _, c := range []*Crashable{c, c.Kill()} { // Kill makes nothing durable, and takes nothing
				for seed, left := range crashes(c) {
					got[shape(t, left)] = seed
					check(t, checkNames(left))
				}
			}
			for shape, seed := range got {
				if !slices.Contains(test.want, shape) {
					t.Errorf("seed %d leaves %q, which is not possible", seed, shape)
				}
			}
			for _, want := range test.want {
				if _, ok := got[want]; !ok {
					t.Errorf("%q is never left", want)
				}
			}
		})
	}
}

// checkNames reports what is wrong with the nodes of a disk that has just crashed.
func checkNames(c *Crashable) (err error) {
	c.root.walk(func(n *node) {
		switch {
		case n.dir && !maps.Equal(n.names, n.durable):
			err = errors.New("a name is not durable after a crash")
		case !n.dir && (len(n.unsynced) > 0 || !bytes.Equal(n.disk, n.content())):
			err = errors.New("content is not durable after a crash")
		case n.opens != 0 || n.gone:
			err = errors.New("a file is open, or gone, after a crash")
		}
	})
	return err
}

// With every sync in its place a crash takes nothing, whatever the way to sync.
func TestSyncedSurvives(t *testing.T) {
	syncEach := func(c *Crashable, files []File, mapping Mapping) error {
		err := errors.Join(mapping.Sync(), c.SyncDir("d"), c.SyncDir("."))
		for _, f := range files {
			err = errors.Join(err, f.Sync())
		}
		return err
	}
	syncAll := func(c *Crashable, _ []File, _ Mapping) error {
		c.SetBulkSync(true)
		s, ok := c.BulkSync("d")
		if !ok {
			return errors.New("no syncer")
		}
		return errors.Join(s.Sync(), s.Close())
	}
	for what, sync := range map[string]func(*Crashable, []File, Mapping) error{"each": syncEach, "bulk": syncAll} {
		t.Run(what, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			c := NewCrashable()
			check(t, c.Mkdir("d"))
			var files []File
			for i := range 5 {
				f := must[File](t)(c.Create(fmt.Sprintf("d/%d", i)))
				for range 20 {
					must[int](t)(f.WriteAt(randomBytes(r, 1+r.IntN(3*pageSize)), r.Int64N(10*pageSize)))
				}
				check(t, f.Truncate(r.Int64N(8*pageSize)))
				files = append(files, f)
			}
			check(t, files[0].Allocate(0, 4*pageSize))
			m := must[Mapping](t)(files[0].Map(100 * pageSize))
			copy(m.Bytes()[pageSize-100:], randomBytes(r, 2*pageSize))
			check(t, c.Rename("d/1", "d/one"))
			check(t, c.Rename("d/2", "two"))
			check(t, c.Remove("d/3"))
			check(t, sync(c, files, m))
			want := (&player{fs: c}).tree(t, "/")
			for seed, left := range crashes(c.Kill()) {
				if got := (&player{fs: left}).tree(t, "/"); got != want {
					t.Fatalf("seed %d leaves\n%s\nof\n%s", seed, got, want)
				}
			}
			check(t, m.Close())
		})
	}
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + r.IntN(255))
	}
	return b
}

// Whatever is done to a file, what a crash leaves of it is made of sectors that it had, each at some time
// since it was durable, and it is as long as it was at such a time.
func TestCrashOfContent(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		c := NewCrashable()
		f := create(t, c, "a", randomBytes(r, r.IntN(4*pageSize)))
		check(t, errors.Join(f.Sync(), c.SyncDir(".")))
		states := [][]byte{contentOf(t, c, "a")}
		var m Mapping
		for range r.IntN(8) {
			off := r.Int64N(4 * pageSize)
			switch r.IntN(6) {
			case 0, 1:
				if m == nil {
					must[int](t)(f.WriteAt(randomBytes(r, 1+r.IntN(2*pageSize)), off))
				}
			case 2:
				if m == nil {
					check(t, f.Truncate(off))
				}
			case 3:
				check(t, f.Allocate(off, 1+r.Int64N(pageSize)))
			case 4:
				if m == nil {
					m = must[Mapping](t)(f.Map(8 * pageSize))
				}
				size := must[int64](t)(f.Size())
				check(t, f.Allocate(0, size+1))
				off = min(off, size)
				copy(m.Bytes()[off:size+1], randomBytes(r, 1+r.IntN(2*pageSize)))
			case 5:
				check(t, f.Sync())
				if m != nil {
					break // which leaves what is mapped as it was
				}
				states = nil
			}
			states = append(states, contentOf(t, c, "a"))
		}
		for crash, left := range crashes(c) {
			if crash == 50 {
				break
			}
			got := contentOf(t, left, "a")
			if !slices.ContainsFunc(states, func(s []byte) bool { return len(s) == len(got) }) {
				t.Fatalf("seed %d leaves %d bytes", seed, len(got))
			}
			for off := 0; off < len(got); off += sectorSize {
				if !slices.ContainsFunc(states, func(s []byte) bool { return sameSector(got, s, off) }) {
					t.Fatalf("seed %d leaves at %d what was never there", seed, off)
				}
			}
			seen["oldest"] = seen["oldest"] || bytes.Equal(got, states[0])
			seen["newest"] = seen["newest"] || bytes.Equal(got, states[len(states)-1])
			whole := slices.ContainsFunc(states, func(s []byte) bool { return bytes.Equal(s, got) })
			seen["between"] = seen["between"] || !whole
		}
	}
	if len(seen) != 3 || !seen["oldest"] || !seen["newest"] || !seen["between"] {
		t.Errorf("of what a crash may leave there was only %v", seen)
	}
}

// sameSector compares a sector as far as got has it; past the end of state there are zeros.
func sameSector(got, state []byte, off int) bool {
	got = got[off:min(off+sectorSize, len(got))]
	want := make([]byte, len(got))
	if off < len(state) {
		copy(want, state[off:])
	}
	return bytes.Equal(got, want)
}

// One page that is written over is found old, new, or torn between any two sectors; two pages are independent.
func TestTornPages(t *testing.T) {
	c := NewCrashable()
	f := create(t, c, "a", bytes.Repeat([]byte{'o'}, 2*pageSize))
	check(t, errors.Join(f.Sync(), c.SyncDir(".")))
	must[int](t)(f.WriteAt(bytes.Repeat([]byte{'n'}, 2*pageSize), 0))
	seen := map[string]bool{}
	for seed, left := range crashes(c) {
		got := contentOf(t, left, "a")
		var pagesLeft []string
		for _, page := range [][]byte{got[:pageSize], got[pageSize:]} {
			kind := string(page[:1])
			for i, b := range page {
				if b != page[i-i%sectorSize] {
					t.Fatalf("seed %d has a torn sector", seed)
				}
				if b != page[0] {
					kind = "torn"
				}
			}
			pagesLeft = append(pagesLeft, kind)
		}
		seen[strings.Join(pagesLeft, " ")] = true
	}
	for _, want := range []string{"o o", "o n", "n o", "n n", "torn n", "n torn", "o torn", "torn o", "torn torn"} {
		if !seen[want] {
			t.Errorf("pages are never %s", want)
		}
	}
}

// What was stored to mapped pages comes to the disk page by page, by Mapping.Sync for sure, by File.Sync not.
func TestCrashOfMappedPages(t *testing.T) {
	for what, test := range map[string]struct {
		sync func(File, Mapping) error
		want []string
	}{
		"none":    {func(File, Mapping) error { return nil }, []string{"oo", "on", "no", "nn"}},
		"file":    {func(f File, _ Mapping) error { return f.Sync() }, []string{"oo", "on", "no", "nn"}},
		"mapping": {func(_ File, m Mapping) error { return m.Sync() }, []string{"nn"}},
		"close":   {func(_ File, m Mapping) error { return m.Close() }, []string{"oo", "on", "no", "nn"}},
		"close, then file": {
			func(f File, m Mapping) error { return errors.Join(m.Close(), f.Sync()) }, []string{"nn"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := NewCrashable()
			f := create(t, c, "a", bytes.Repeat([]byte{'o'}, 2*pageSize))
			check(t, errors.Join(f.Sync(), c.SyncDir(".")))
			m := must[Mapping](t)(f.Map(10 * pageSize))
			m.Bytes()[0], m.Bytes()[pageSize] = 'n', 'n'
			check(t, test.sync(f, m))
			for name, c := range map[string]*Crashable{"c": c, "killed": c.Kill()} {
				seen := map[string]bool{}
				for _, left := range crashes(c) {
					got := contentOf(t, left, "a")
					seen[string([]byte{got[0], got[pageSize]})] = true
				}
				if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, slices.Sorted(slices.Values(test.want))) {
					t.Errorf("%s leaves %v, want %v", name, got, test.want)
				}
			}
		})
	}
}

func TestKill(t *testing.T) {
	c := NewCrashable()
	must[any](t)(c.Lock("lock"))
	f := create(t, c, "a", []byte("written"))
	removed := create(t, c, "b", []byte("removed"))
	check(t, c.Remove("b"))
	m := must[Mapping](t)(f.Map(pageSize))
	copy(m.Bytes(), "stored!")
	c.SetCapacity(2 * pageSize)
	killed := c.Kill()
	if got := shape(t, killed); got != "a=s lock="+string(contentOf(t, c, "lock")[:1]) {
		t.Errorf("Kill leaves %s", got)
	}
	if got := string(contentOf(t, killed, "a")); got != "stored!" {
		t.Errorf("the file holds %q", got)
	}
	if killed.BootID() != c.BootID() || killed.BootID() == "" {
		t.Error("the machine was started")
	}
	if left := killed.Crash(rand.New(rand.NewPCG(0, 0))); left.BootID() == killed.BootID() {
		t.Error("the machine was not started")
	}
	check(t, must[interface{ Close() error }](t)(killed.Lock("lock")).Close())
	if killed.used != 2*pageSize || c.used != 3*pageSize {
		t.Errorf("%d bytes are used, of %d before; the removed file is no longer open", killed.used, c.used)
	}
	// The two have nothing in common.
	m.Bytes()[0] = 'X'
	must[int](t)(f.WriteAt([]byte("Y"), 1))
	must[int](t)(removed.WriteAt([]byte("Z"), 0))
	check(t, c.Rename("a", "c"))
	g := must[File](t)(killed.OpenFile("a"))
	must[int](t)(g.WriteAt([]byte("K"), 2))
	if got := string(contentOf(t, killed, "a")); got != "stKred!" {
		t.Errorf("the file holds %q", got)
	}
	if got := string(contentOf(t, c, "c")); got != "XYored!" {
		t.Errorf("the file holds %q", got)
	}
}

// A crash is repeatable.
func TestCrashIsDeterministic(t *testing.T) {
	c := NewCrashable()
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 10 {
		f := create(t, c, fmt.Sprint(i), nil)
		for range 10 {
			must[int](t)(f.WriteAt(randomBytes(r, pageSize), r.Int64N(3*pageSize)))
		}
	}
	for seed, left := range crashes(c) {
		again := c.Crash(rand.New(rand.NewPCG(seed, 0)))
		if got, want := (&player{fs: again}).tree(t, "/"), (&player{fs: left}).tree(t, "/"); got != want {
			t.Fatalf("seed %d leaves\n%s\nand\n%s", seed, want, got)
		}
	}
}

// After a failed sync the next one says that all is well, and it is not.
func TestDrop(t *testing.T) {
	c := NewCrashable()
	f := create(t, c, "a", []byte("durable "))
	check(t, errors.Join(f.Sync(), c.SyncDir(".")))
	must[int](t)(f.WriteAt([]byte("dropped "), 8))
	fsys := Inject(c, func(o Op) error {
		if o.Kind == OpSyncFile {
			return errors.Join(c.Drop(o.Name), syscall.EIO)
		}
		return nil
	})
	g := must[File](t)(fsys.OpenFile("a"))
	if err := g.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("the sync did not fail: %v", err)
	}
	must[int](t)(f.WriteAt([]byte("later"), 16))
	check(t, f.Sync())
	if got := string(contentOf(t, c.Kill(), "a")); got != "durable dropped later" {
		t.Errorf("a reader finds %q", got)
	}
	for seed, left := range crashes(c) {
		if got := string(contentOf(t, left, "a")); got != "durable "+strings.Repeat("\x00", 8)+"later" {
			t.Fatalf("seed %d leaves %q", seed, got)
		}
	}
	must[int](t)(f.WriteAt([]byte("again   "), 8))
	check(t, f.Sync())
	for seed, left := range crashes(c) {
		if got := string(contentOf(t, left, "a")); got != "durable again   later" {
			t.Fatalf("seed %d leaves %q", seed, got)
		}
	}
	if class(c.Drop("none"), "none") != "not exist" || class(c.Drop(""), "") != "not exist" || c.Drop("/") == nil {
		t.Error("dropped what is no file")
	}
}

// A history that is cut short still ends in what is there.
func TestLongHistory(t *testing.T) {
	c := NewCrashable()
	r := rand.New(rand.NewPCG(1, 5))
	f := create(t, c, "a", []byte("durable"))
	check(t, errors.Join(f.Sync(), c.SyncDir(".")))
	var size int64
	for range 3 * maxUnsyncedChanges {
		n := must[int](t)(f.WriteAt(randomBytes(r, 64), size))
		size += int64(n)
	}
	n, want := c.root.names["a"], contentOf(t, c, "a")
	if len(n.unsynced) > maxUnsyncedChanges+1 {
		t.Errorf("%d changes are kept", len(n.unsynced))
	}
	if !bytes.Equal(n.written(), want) {
		t.Error("the changes do not lead to the content")
	}
	must[int](t)(f.WriteAt(make([]byte, 2*maxUnsyncedBytes), 100))
	if len(n.unsynced) != 1 {
		t.Errorf("%d changes are kept after a large one", len(n.unsynced))
	}
	check(t, f.Sync())
	left := c.Crash(rand.New(rand.NewPCG(1, 1)))
	if got := contentOf(t, left, "a"); !bytes.Equal(got[:100], want[:100]) || len(got) != 100+2*maxUnsyncedBytes {
		t.Error("synced content is lost")
	}
}

// What happens in directories that are gone for good is forgotten, else a test that makes and deletes for
// long would only get slower.
func TestGoneDirectoriesAreForgotten(t *testing.T) {
	c := NewCrashable()
	for i := range 50 {
		old, name := fmt.Sprint("topic", i), fmt.Sprint("deleted", i)
		check(t, c.MkdirAll(path.Join(old, "below", "it")))
		check(t, create(t, c, path.Join(old, "below", "it", "a"), nil).Close())
		if i%2 == 0 {
			check(t, c.SyncDir(old))
		}
		check(t, errors.Join(c.Rename(old, name), c.SyncDir("."), c.RemoveAll(name), c.SyncDir(".")))
	}
	if len(c.unsynced) > 0 || len(c.root.durable) > 0 {
		t.Errorf("%d changes and %d names are remembered", len(c.unsynced), len(c.root.durable))
	}
	// But not that of one whose removal may yet be lost.
	check(t, errors.Join(c.Mkdir("d"), create(t, c, "d/a", nil).Close(), c.SyncDir("."), c.RemoveAll("d")))
	seen := map[string]bool{}
	for _, left := range crashes(c) {
		seen[shape(t, left)] = true
	}
	if !seen["d/ d/a="] || !seen[""] {
		t.Errorf("a crash only leaves %v", seen)
	}
}
