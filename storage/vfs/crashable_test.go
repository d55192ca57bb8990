package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"
)

func TestFullDisk(t *testing.T) {
	c := NewCrashable()
	if free := must[int64](t)(c.Free("/")); free != math.MaxInt64 {
		t.Errorf("without a limit %d bytes are free", free)
	}
	c.SetCapacity(4*pageSize + 100) // the rest is of no use
	f := create(t, c, "a", bytes.Repeat([]byte{'a'}, pageSize+1))
	checkFree := func(pages int64) {
		t.Helper()
		if free := must[int64](t)(c.Free("/")); free != pages*pageSize+100 {
			t.Errorf("%d bytes are free, want %d pages and 100", free, pages)
		}
	}
	checkFree(2)

	// A gap takes no room, and a write that does not fit is done in part.
	n, err := f.WriteAt(bytes.Repeat([]byte{'b'}, 3*pageSize), 10*pageSize-10)
	if class(err, "a") != "full" || n != 0 {
		t.Errorf("wrote %d bytes: %v", n, err)
	}
	content := contentOf(t, c, "a")
	if want := bytes.Repeat([]byte{'b'}, 10+pageSize); !bytes.Equal(content[10*pageSize-10:], want) {
		t.Errorf("the file has %d bytes", len(content))
	}
	checkFree(0)
	if n, err = f.WriteAt([]byte{'c'}, 11*pageSize); class(err, "a") != "full" || n != 0 {
		t.Errorf("wrote %d bytes: %v", n, err)
	}
	if class(f.Allocate(11*pageSize, 1), "a") != "full" {
		t.Error("allocated on a full disk")
	}

	// What has room can be written, synced, and read; names and sizes need none.
	must[int](t)(f.WriteAt([]byte("over"), 100))
	check(t, errors.Join(f.Allocate(10*pageSize, pageSize), f.Sync(), f.Truncate(20*pageSize), c.Mkdir("d")))
	check(t, create(t, c, "b", nil).Close())
	must[interface{ Close() error }](t)(c.Lock("lock"))

	// Cutting gives room back, and so does removing, but not while the file is open.
	check(t, f.Truncate(pageSize+1))
	checkFree(2)
	if class(f.Allocate(0, 5*pageSize), "a") != "full" {
		t.Error("allocated more than there is")
	}
	if size := must[int64](t)(f.Size()); size != pageSize+1 {
		t.Errorf("after that the file has %d bytes", size)
	}
	checkFree(2)
	check(t, f.Allocate(0, 4*pageSize))
	checkFree(0)
	check(t, c.Remove("a"))
	checkFree(0)
	check(t, f.Close())
	checkFree(4)
	check(t, create(t, c, "a", make([]byte, 2*pageSize)).Close())
	g := create(t, c, "g", make([]byte, pageSize))
	m := must[Mapping](t)(g.Map(pageSize))
	check(t, c.Rename("a", "g"))
	checkFree(1)
	check(t, g.Sync())
	check(t, m.Close())
	checkFree(1)
	check(t, g.Close())
	checkFree(2)

	c.SetCapacity(0)
	if free := must[int64](t)(c.Free("/")); free != 0 {
		t.Errorf("beyond the limit %d bytes are free", free)
	}
	c.SetCapacity(-1)
	check(t, create(t, c, "e", make([]byte, 100*pageSize)).Close())
}

// A real mapping ends the process at such stores; here it is found out when the mapping is closed or the disk
// copied.
func TestStoresWhereNoMemoryIs(t *testing.T) {
	for what, test := range map[string]struct {
		prepare func(File) error
		at      int
		panics  bool
	}{
		"in the file":               {func(f File) error { return f.Allocate(0, 100) }, 99, false},
		"in the rest of its page":   {func(f File) error { return f.Allocate(0, 100) }, pageSize - 1, false},
		"past the page":             {func(f File) error { return f.Allocate(0, 100) }, pageSize, true},
		"at the end of the mapping": {func(f File) error { return f.Allocate(0, 100) }, 10*pageSize - 1, true},
		"in a gap":                  {func(f File) error { return f.Truncate(2 * pageSize) }, pageSize, true},
		"in what was written": {
			func(f File) error { _, err := f.WriteAt([]byte{1}, pageSize); return err }, pageSize + 1, false,
		},
	} {
		t.Run(what, func(t *testing.T) {
			for how, find := range map[string]func(*Crashable, Mapping) error{
				"close": func(_ *Crashable, m Mapping) error { return m.Close() },
				"kill":  func(c *Crashable, _ Mapping) error { c.Kill(); return nil },
			} {
				c := NewCrashable()
				f := must[File](t)(c.Create("a"))
				check(t, test.prepare(f))
				m := must[Mapping](t)(f.Map(10 * pageSize))
				m.Bytes()[test.at] = 1
				func() {
					defer func() {
						got := fmt.Sprint(recover())
						if strings.Contains(got, "through a mapping") != test.panics {
							t.Errorf("%s panics with %v", how, got)
						}
					}()
					check(t, find(c, m))
				}()
			}
		})
	}
}

// What is cut off and comes back is empty, also where it is mapped.
func TestCutWhileMapped(t *testing.T) {
	c := NewCrashable()
	f := create(t, c, "a", bytes.Repeat([]byte{'a'}, 3*pageSize))
	m := must[Mapping](t)(f.Map(2 * pageSize))
	check(t, f.Truncate(100))
	check(t, f.Allocate(0, 3*pageSize))
	want := append(bytes.Repeat([]byte{'a'}, 100), make([]byte, 3*pageSize-100)...)
	if got := contentOf(t, c, "a"); !bytes.Equal(got, want) || !bytes.Equal(m.Bytes(), want[:2*pageSize]) {
		t.Error("what was cut off has come back")
	}
	check(t, m.Close())
}

func TestSeveralMappings(t *testing.T) {
	c := NewCrashable()
	f := create(t, c, "a", make([]byte, pageSize))
	first := must[Mapping](t)(f.Map(2 * pageSize))
	second := must[Mapping](t)(f.Map(pageSize))
	if _, err := f.Map(3 * pageSize); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("a longer mapping: %v", err)
	}
	first.Bytes()[5] = 'x'
	memory := second.Bytes()
	check(t, first.Close())
	if memory[5] != 'x' {
		t.Error("the mappings are not of one memory")
	}
	check(t, second.Close())
	if memory[5] == 'x' {
		t.Error("the memory can be used after the mapping was closed")
	}
	check(t, must[Mapping](t)(f.Map(3*pageSize)).Close())
	if got := contentOf(t, c, "a"); got[5] != 'x' {
		t.Error("what was stored is lost")
	}
}

func TestLimitsOfCrashable(t *testing.T) {
	c := NewCrashable()
	f := create(t, c, "a", nil)
	_, writeErr := f.WriteAt([]byte{1}, maxCrashableFile)
	_, mapErr := f.Map(maxCrashableFile + 1)
	for what, err := range map[string]error{
		"write": writeErr, "truncate": f.Truncate(maxCrashableFile + 1), "allocate": f.Allocate(1, maxCrashableFile),
		"map": mapErr, "remove the root": c.Remove("/"), "remove all": c.RemoveAll("."),
	} {
		if class(err) != "error" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s, ok := c.BulkSync("/"); ok {
		t.Errorf("there is a syncer, %v, though none was asked for", s)
	}
	c.SetBulkSync(true)
	if _, ok := c.BulkSync("a"); ok {
		t.Error("there is a syncer for a file")
	}
	s, ok := c.BulkSync("/")
	if !ok {
		t.Fatal("there is no syncer")
	}
	check(t, s.Close())
	if class(s.Close(), "/") != "closed" || class(s.Sync(), "/") != "closed" {
		t.Error("a closed syncer can be used")
	}
}

// Names are paths from one root, in whatever form.
func TestNamesOfCrashable(t *testing.T) {
	c := NewCrashable()
	check(t, c.MkdirAll("/x/y/"))
	check(t, create(t, c, "x/./y/../y//a", []byte("A")).Close())
	for _, name := range []string{"x/y/a", "/x/y/a", "./x/y/a", "../x/y/a"} {
		if got := string(contentOf(t, c, name)); got != "A" {
			t.Errorf("%s holds %q", name, got)
		}
	}
	info := must[Info](t)(c.Stat("/"))
	if !info.Dir || info.Size != 0 || info.ModTime.IsZero() {
		t.Errorf("the root is %v", info)
	}
}
