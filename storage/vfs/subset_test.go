package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// unit is one change that is not durable, and how to see whether a disk has it.
type unit struct {
	name string
	on   func(t *testing.T, c *Crashable) bool
}

func hasName(name string) func(*testing.T, *Crashable) bool {
	return func(_ *testing.T, c *Crashable) bool { _, err := c.Stat(name); return err == nil }
}

func hasByte(name string, at int, want byte) func(*testing.T, *Crashable) bool {
	return func(t *testing.T, c *Crashable) bool {
		content := contentOf(t, c, name)
		return at < len(content) && content[at] == want
	}
}

// unsyncedUnits makes a disk on which some things are durable and others, each independent of all others, are not.
func unsyncedUnits(t *testing.T) (*Crashable, []unit) {
	c := NewCrashable()
	old := bytes.Repeat([]byte{'o'}, 3*pageSize)
	written, mapped, grown := create(t, c, "written", old), create(t, c, "mapped", old), create(t, c, "grown", old)
	moved := create(t, c, "moved", old)
	check(t, c.Mkdir("d"))
	for _, f := range []File{written, mapped, grown, moved} {
		check(t, f.Sync())
	}
	check(t, errors.Join(c.SyncDir("."), c.SyncDir("d")))

	must[int](t)(written.WriteAt([]byte{'n'}, 0))
	must[int](t)(written.WriteAt([]byte{'n'}, 2*pageSize))
	m := must[Mapping](t)(mapped.Map(3 * pageSize))
	m.Bytes()[pageSize] = 'n'
	check(t, grown.Allocate(3*pageSize, pageSize))
	check(t, create(t, c, "made", nil).Close())
	check(t, c.Rename("moved", "d/moved"))
	return c, []unit{
		{"a page", hasByte("written", 0, 'n')},
		{"another page of the file", hasByte("written", 2*pageSize, 'n')},
		{"a mapped page", hasByte("mapped", pageSize, 'n')},
		{"a length", func(t *testing.T, c *Crashable) bool { return len(contentOf(t, c, "grown")) > 3*pageSize }},
		{"a name", hasName("made")},
		{"a rename", hasName("d/moved")},
	}
}

// TestAnySubsetIsLeft has many crashes of one disk. Each unsynced change is kept or lost for itself, whatever it is: every
// subset of them is left by some crash, and what is durable by all.
func TestAnySubsetIsLeft(t *testing.T) {
	c, units := unsyncedUnits(t)
	const crashes = 4000
	seen := make([]int, 1<<len(units))
	r := rand.New(rand.NewPCG(1, 6))
	for range crashes {
		left := c.Crash(r)
		subset := 0
		for i, u := range units {
			if u.on(t, left) {
				subset |= 1 << i
			}
		}
		seen[subset]++
		if !hasByte("written", pageSize, 'o')(t, left) || !hasByte("mapped", 2*pageSize, 'o')(t, left) || !hasByte("grown", 0, 'o')(t, left) {
			t.Fatal("what was durable is lost")
		}
		if hasName("moved")(t, left) == hasName("d/moved")(t, left) {
			t.Fatal("a rename was kept in half")
		}
	}
	t.Logf("the rarest subset was left %d times", slices.Min(seen))
	for subset, n := range seen {
		if n == 0 {
			var names []string
			for i, u := range units {
				if subset&(1<<i) != 0 {
					names = append(names, u.name)
				}
			}
			t.Errorf("of %d crashes none leaves only [%s]", crashes, strings.Join(names, ", "))
		}
	}
}

// TestUnwrittenRanges is of what file systems leave of a file that has grown or shrunk: the length may be new and the
// bytes not there yet, which then are zeros, or the bytes that were cut off may be back.
func TestUnwrittenRanges(t *testing.T) {
	durable := bytes.Repeat([]byte{'o'}, 2*pageSize)
	for what, test := range map[string]struct {
		do   func(File) error
		want []string // lengths in pages, with the first byte of each page; 0 for a zero
	}{
		"grown by a write": {
			func(f File) error { _, err := f.WriteAt(bytes.Repeat([]byte{'n'}, 2*pageSize), 2*pageSize); return err },
			[]string{"oo", "oo00", "oon0", "oo0n", "oonn"},
		},
		"grown by two writes": {
			func(f File) error {
				_, err := f.WriteAt(bytes.Repeat([]byte{'n'}, pageSize), 2*pageSize)
				_, err2 := f.WriteAt(bytes.Repeat([]byte{'m'}, pageSize), 3*pageSize)
				return errors.Join(err, err2)
			},
			[]string{"oo", "oo0", "oon", "oo00", "oon0", "oo0m", "oonm"},
		},
		"cut": {
			func(f File) error { return f.Truncate(pageSize) },
			[]string{"o", "oo", "o0"},
		},
		"cut and grown again": {
			func(f File) error {
				_, err := f.WriteAt(nil, 0)
				return errors.Join(err, f.Truncate(pageSize), f.Allocate(0, 3*pageSize))
			},
			[]string{"o", "oo", "o0", "o00", "oo0"},
		},
		"cut and written again": {
			func(f File) error {
				err := f.Truncate(pageSize)
				_, err2 := f.WriteAt(bytes.Repeat([]byte{'n'}, pageSize), pageSize)
				return errors.Join(err, err2)
			},
			[]string{"o", "oo", "o0", "on"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := NewCrashable()
			f := create(t, c, "a", durable)
			check(t, errors.Join(f.Sync(), c.SyncDir(".")))
			check(t, test.do(f))
			got := map[string]bool{}
			r := rand.New(rand.NewPCG(1, 7))
			for range 2000 {
				content := contentOf(t, c.Crash(r), "a")
				var pages strings.Builder
				torn := false
				for at := 0; at < len(content); at += pageSize {
					page := content[at : at+pageSize]
					torn = torn || !bytes.Equal(page, bytes.Repeat(page[:1], pageSize))
					fmt.Fprintf(&pages, "%c", max(page[0], '0'))
				}
				if !torn {
					got[pages.String()] = true
				}
			}
			for _, want := range test.want {
				if !got[want] {
					t.Errorf("%q is never left", want)
				}
				delete(got, want)
			}
			if len(got) > 0 {
				t.Errorf("%v are left, which is not possible", got)
			}
		})
	}
}

// TestSyncedFileInALostFolder is of the folder that nobody has synced the name of: it is gone with all that is in it, and
// everything in it may have been synced.
func TestSyncedFileInALostFolder(t *testing.T) {
	c := NewCrashable()
	check(t, c.MkdirAll("d/e"))
	f := create(t, c, "d/e/a", []byte("A"))
	check(t, errors.Join(f.Sync(), c.SyncDir("d/e"), c.SyncDir("d")))
	seen := map[string]bool{}
	for _, left := range crashes(c) {
		seen[shape(t, left)] = true
	}
	if len(seen) != 2 || !seen[""] || !seen["d/ d/e/ d/e/a=A"] {
		t.Errorf("a crash leaves %v", seen)
	}
}
