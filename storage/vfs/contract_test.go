package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		check(t, err)
		return v
	}
}

// create makes a file that holds content.
func create(t *testing.T, fsys FS, name string, content []byte) File {
	t.Helper()
	f, err := fsys.Create(name)
	check(t, err)
	_, err = f.WriteAt(content, 0)
	check(t, err)
	return f
}

// each runs a test on every implementation of FS, with an empty directory.
func each(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	inject := func(inner FS) FS { return Inject(inner, func(Op) error { return nil }) }
	for name, fsys := range map[string]FS{
		"OS": OS(), "Crashable": NewCrashable(), "Inject OS": inject(OS()), "Inject Crashable": inject(NewCrashable()),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			check(t, fsys.MkdirAll(dir))
			test(t, fsys, dir)
		})
	}
}

func TestClosedFile(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "a")
		f := create(t, fsys, name, []byte("content"))
		check(t, f.Close())
		readOnly := must[File](t)(fsys.Open(name))
		check(t, readOnly.Close())
		for _, f := range []File{f, readOnly} {
			for op, do := range map[string]func() error{
				"close":    f.Close,
				"read":     func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
				"write":    func() error { _, err := f.WriteAt(make([]byte, 1), 0); return err },
				"parts":    func() error { return f.WriteParts([][]byte{{1}, {2}}, 0) },
				"size":     func() error { _, err := f.Size(); return err },
				"truncate": func() error { return f.Truncate(0) },
				"allocate": func() error { return f.Allocate(0, 1) },
				"sync":     f.Sync,
				"map":      func() error { _, err := f.Map(1); return err },
			} {
				if got := class(do(), name); got != "closed" {
					t.Errorf("%s of a closed file: %s", op, got)
				}
			}
			if f.Name() != name {
				t.Errorf("the name has become %s", f.Name())
			}
		}
		if got := contentOf(t, fsys, name); string(got) != "content" {
			t.Errorf("the file holds %q", got)
		}
	})
}

func TestReadOnlyFile(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "a")
		check(t, create(t, fsys, name, []byte("content")).Close())
		f := must[File](t)(fsys.Open(name))
		defer f.Close()
		for op, do := range map[string]func() error{
			"write":    func() error { _, err := f.WriteAt(make([]byte, 1), 0); return err },
			"truncate": func() error { return f.Truncate(0) },
			"allocate": func() error { return f.Allocate(0, 1) },
			"sync":     f.Sync,
		} {
			if got := class(do(), name); got != "permission" {
				t.Errorf("%s of a read-only file: %s", op, got)
			}
		}
		m := must[Mapping](t)(f.Map(100))
		if got := string(m.Bytes()[:7]); got != "content" || len(m.Bytes()) != 100 {
			t.Errorf("mapped are %d bytes that begin with %q", len(m.Bytes()), got)
		}
		check(t, m.Sync())
		check(t, f.Close())
		if got := string(m.Bytes()[:7]); got != "content" {
			t.Errorf("after the file was closed there is %q", got)
		}
		check(t, m.Close())
		if m.Bytes() != nil {
			t.Error("a closed mapping has bytes")
		}
	})
}

func TestImpossibleNumbers(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "a"), []byte("content"))
		defer f.Close()
		for what, do := range map[string]func() error{
			"read before the file":     func() error { _, err := f.ReadAt(make([]byte, 1), -1); return err },
			"write before the file":    func() error { _, err := f.WriteAt(make([]byte, 1), -1); return err },
			"negative size":            func() error { return f.Truncate(-1) },
			"allocate before the file": func() error { return f.Allocate(-1, 2) },
			"allocate nothing":         func() error { return f.Allocate(0, 0) },
			"allocate less":            func() error { return f.Allocate(10, -1) },
			"allocate too much":        func() error { return f.Allocate(1<<62, 1<<62) },
			"map nothing":              func() error { _, err := f.Map(0); return err },
			"map less":                 func() error { _, err := f.Map(-1); return err },
		} {
			if err := do(); class(err, f.Name()) != "error" {
				t.Errorf("%s: %v", what, err)
			}
		}
		if got := must[int64](t)(f.Size()); got != 7 {
			t.Errorf("the file has %d bytes", got)
		}
	})
}

// A mapping sees the file grow under it, and is the file.
func TestMappingGrows(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		const reserve = 1 << 20
		f := must[File](t)(fsys.Create(filepath.Join(dir, "a")))
		m := must[Mapping](t)(f.Map(reserve))
		if len(m.Bytes()) != reserve {
			t.Fatalf("%d bytes are mapped", len(m.Bytes()))
		}
		for step := range 4 {
			off := step * 3 * pageSize
			check(t, f.Allocate(int64(off), 3*pageSize))
			if i := slices.IndexFunc(m.Bytes()[off:off+3*pageSize], func(b byte) bool { return b != 0 }); i >= 0 {
				t.Fatalf("byte %d of the new ones is not zero", i)
			}
			copy(m.Bytes()[off+100:], fmt.Sprintf("step %d", step))
			check(t, m.Sync())
			got := make([]byte, 6)
			must[int](t)(f.ReadAt(got, int64(off+100)))
			if want := fmt.Sprintf("step %d", step); string(got) != want {
				t.Errorf("read %q, want %q", got, want)
			}
		}
		m.Bytes()[0] = 1
		check(t, m.Close())
		if class(m.Close(), f.Name()) != "closed" || class(m.Sync(), f.Name()) != "closed" {
			t.Error("a closed mapping can be used")
		}
		if size := must[int64](t)(f.Size()); size != 12*pageSize {
			t.Errorf("the file has %d bytes", size)
		}
		if got := contentOf(t, fsys, f.Name()); got[0] != 1 {
			t.Error("what was stored before Close is lost")
		}
		check(t, f.Close())
	})
}

func TestMappingNeedsItsFile(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "a"), []byte("content"))
		m := must[Mapping](t)(f.Map(100))
		check(t, f.Close())
		if got := class(m.Sync(), f.Name()); got != "closed" {
			t.Errorf("sync: %s", got)
		}
		if got := class(m.Close(), f.Name()); got != "closed" {
			t.Errorf("close: %s", got)
		}
	})
}

func TestHandlesOutliveNames(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		at := func(name string) string { return filepath.Join(dir, name) }
		check(t, fsys.Mkdir(at("d")))
		f := create(t, fsys, at("d/a"), []byte("first"))
		old := create(t, fsys, at("d/b"), []byte("second"))
		check(t, fsys.Rename(at("d/a"), at("d/b")))
		d := at("d")
		if runtime.GOOS != "windows" { // see FS.Rename
			check(t, fsys.Rename(d, at("e")))
			d = at("e")
		}
		if got := contentOf(t, fsys, filepath.Join(d, "b")); string(got) != "first" {
			t.Errorf("the renamed file holds %q", got)
		}
		must[int](t)(f.WriteAt([]byte("F"), 0))
		check(t, fsys.Remove(filepath.Join(d, "b")))
		must[int](t)(old.WriteAt([]byte("S"), 0))
		check(t, errors.Join(f.Sync(), old.Sync()))
		for f, want := range map[File]string{f: "First", old: "Second"} {
			got := make([]byte, len(want))
			must[int](t)(f.ReadAt(got, 0))
			if string(got) != want {
				t.Errorf("%s holds %q, want %q", f.Name(), got, want)
			}
			check(t, f.Close())
		}
		check(t, fsys.RemoveAll(d))
		if entries := must[[]Entry](t)(fsys.ReadDir(dir)); len(entries) > 0 {
			t.Errorf("%v are left", entries)
		}
	})
}

func TestLock(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, ".lock")
		l := must[io.Closer](t)(fsys.Lock(name))
		_, err := fsys.Lock(name)
		if class(err, name) != "locked" || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Errorf("a second lock: %v", err)
		}
		other := must[io.Closer](t)(fsys.Lock(name + "2"))
		check(t, l.Close())
		if class(l.Close(), name) != "closed" {
			t.Error("a lock can be closed twice")
		}
		l = must[io.Closer](t)(fsys.Lock(name))
		check(t, errors.Join(l.Close(), other.Close()))
		if got := string(contentOf(t, fsys, name)); got != fmt.Sprintln(os.Getpid()) {
			t.Errorf("the lock file holds %q", got)
		}
		_, err = fsys.Lock(filepath.Join(dir, "none", ".lock"))
		if class(err, dir) != "not exist" {
			t.Errorf("a lock in no directory: %v", err)
		}
		if _, err = fsys.Lock(dir); class(err, dir) == "ok" {
			t.Errorf("a lock of a directory: %v", err)
		}
	})
}

func TestFree(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		if free := must[int64](t)(fsys.Free(dir)); free <= 0 {
			t.Errorf("%d bytes are free", free)
		}
		if free, total := must[int64](t)(fsys.Free(dir)), must[int64](t)(fsys.Total(dir)); total < free {
			t.Errorf("%d bytes of %d are free", free, total)
		}
		for _, ask := range []func(string) (int64, error){fsys.Free, fsys.Total} {
			if _, err := ask(filepath.Join(dir, "none")); class(err, "none") != "not exist" {
				t.Errorf("of no file: %v", err)
			}
		}
		if _, err := fsys.Open(""); class(err) != "not exist" {
			t.Errorf("of no name: %v", err)
		}
		first := fsys.BootID()
		if second := fsys.BootID(); first != second {
			t.Errorf("the boot id changes from %q to %q", first, second)
		}
	})
}

// Everything at once, for the race detector; each result is only required to be a possible one.
func TestConcurrentUse(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		if c, ok := fsys.(*Crashable); ok {
			c.SetBulkSync(true)
		}
		shared := create(t, fsys, filepath.Join(dir, "shared"), make([]byte, 4*pageSize))
		mapped := create(t, fsys, filepath.Join(dir, "mapped"), make([]byte, 4*pageSize))
		m := must[Mapping](t)(mapped.Map(8 * pageSize))
		var group sync.WaitGroup
		for worker := range 4 {
			group.Go(func() {
				own := m.Bytes()[worker*pageSize : (worker+1)*pageSize]
				block := bytes.Repeat([]byte{byte(worker + 1)}, pageSize)
				for i := range 5 {
					name := filepath.Join(dir, fmt.Sprintf("%d-%d", worker, i))
					f, err := fsys.Create(name)
					if err != nil {
						t.Error(err)
						return
					}
					copy(own, block)
					_, writeErr := shared.WriteAt(block, int64(worker)*pageSize)
					_, readErr := shared.ReadAt(make([]byte, 4*pageSize), 0)
					_, listErr := fsys.ReadDir(dir)
					_, statErr := fsys.Stat(name)
					err = errors.Join(writeErr, readErr, listErr, statErr, f.Allocate(0, 100), f.Sync(), m.Sync(),
						shared.Sync(), fsys.Rename(name, name+"r"), fsys.SyncDir(dir), fsys.Remove(name+"r"), f.Close())
					if err != nil {
						t.Error(err)
					}
					if c, ok := fsys.(*Crashable); ok {
						c.Kill()
						c.Crash(rand.New(rand.NewPCG(uint64(i), uint64(worker))))
					}
					if s, ok := fsys.BulkSync(dir); ok {
						if err := errors.Join(s.Sync(), s.Close()); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		group.Wait()
		check(t, errors.Join(m.Close(), mapped.Close(), shared.Close()))
		a, b := contentOf(t, fsys, shared.Name()), contentOf(t, fsys, mapped.Name())
		if !bytes.Equal(a, b) || a[pageSize] != 2 {
			t.Error("what was written and what was stored differ")
		}
	})
}

// TestWriteParts writes more parts than a system takes at once, empty ones among them.
func TestWriteParts(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "a"), []byte("content"))
		defer f.Close()
		var parts [][]byte
		for i := range 3000 {
			parts = append(parts, bytes.Repeat([]byte{byte(i)}, i%7))
		}
		check(t, f.WriteParts([][]byte{nil, {}}, 100))
		check(t, f.WriteParts(parts, 4))
		want := append([]byte("cont"), slices.Concat(parts...)...)
		got := make([]byte, len(want))
		must[int](t)(f.ReadAt(got, 0))
		if size := must[int64](t)(f.Size()); !bytes.Equal(got, want) || size != int64(len(want)) {
			t.Errorf("the file has %d bytes, want %d, or others than were written", size, len(want))
		}
	})
}
