package vfs

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// everything does each operation once and returns the first error. It closes what it opens in any case.
func everything(fsys FS) (err error) {
	do := func(next func() error) {
		if err == nil {
			err = next()
		}
	}
	closing := func(c io.Closer) {
		if closeErr := c.Close(); err == nil {
			err = closeErr
		}
	}
	var f, g, h File
	var lock io.Closer
	do(func() error { return fsys.MkdirAll("d/e") })
	do(func() error { return fsys.Mkdir("d/f") })
	do(func() (err error) { lock, err = fsys.Lock("d/lock"); return err })
	if lock != nil {
		defer func() { closing(lock) }()
	}
	do(func() (err error) { f, err = fsys.Create("d/a"); return err })
	if f != nil {
		defer func() { closing(f) }()
	}
	do(func() (err error) { g, err = fsys.Open("d/a"); return err })
	if g != nil {
		defer func() { closing(g) }()
	}
	do(func() (err error) { h, err = fsys.OpenFile("d/a"); return err })
	if h != nil {
		defer func() { closing(h) }()
	}
	do(func() error { return f.Allocate(0, 100) })
	do(func() error { return everythingMapped(f) })
	do(func() error { _, err := f.WriteAt([]byte("abc"), 5); return err })
	do(func() error { _, err := g.ReadAt(make([]byte, 2), 6); return err })
	do(func() error { _, err := g.Size(); return err })
	do(func() error { return f.Truncate(50) })
	do(func() error { return h.Sync() })
	do(func() error { return fsys.Rename("d/a", "d/b") })
	do(func() error { return fsys.SyncDir("d") })
	do(func() error { _, err := fsys.ReadDir("d"); return err })
	do(func() error { _, err := fsys.Stat("d/b"); return err })
	do(func() error { _, err := fsys.Free("d"); return err })
	do(func() error { _, err := fsys.Total("d"); return err })
	do(func() error {
		s, ok := fsys.BulkSync("d")
		if !ok {
			return errors.New("open d: no syncer: injected")
		}
		return errors.Join(s.Sync(), s.Close())
	})
	do(func() error { return fsys.Remove("d/b") })
	do(func() error { return fsys.RemoveAll("d") })
	return err
}

func everythingMapped(f File) error {
	m, err := f.Map(200)
	if err != nil {
		return err
	}
	m.Bytes()[0] = 1
	return errors.Join(m.Sync(), m.Close())
}

// bulk returns a new disk that has all that everything asks for.
func bulk() *Crashable {
	c := NewCrashable()
	c.SetBulkSync(true)
	return c
}

const transcript = `mkdirall d/e
mkdir d/f
lock d/lock
create d/a
open d/a
openfile d/a
allocate d/a 0+100
map d/a 200
msync d/a
unmap d/a
write d/a 5+3
read d/a 6+2
size d/a
truncate d/a 50
sync d/a
rename d/a d/b
syncdir d
readdir d
stat d/b
free d
total d
makesyncer d
bulksync d
closesyncer d
remove d/b
removeall d
close d/a
close d/a
close d/a
unlock d/lock
`

func TestTranscript(t *testing.T) {
	var got strings.Builder
	check(t, everything(Inject(bulk(), func(o Op) error {
		fmt.Fprintln(&got, o)
		if lines := strings.Count(got.String(), "\n"); o.N != lines {
			t.Errorf("operation %d is numbered %d", lines, o.N)
		}
		return nil
	})))
	if got.String() != transcript {
		t.Errorf("the transcript is\n%s", got.String())
	}
}

// Each operation fails once, is not done, and says which it was; what closes is done all the same.
func TestFailEachOperation(t *testing.T) {
	injected := fmt.Errorf("injected: %w", syscall.ENOSPC)
	for n := 1; ; n++ {
		c := bulk()
		var failed Op
		before := ""
		err := everything(Inject(c, func(o Op) error {
			if o.N != n {
				return nil
			}
			failed, before = o, (&player{fs: c}).tree(t, "/")
			return injected
		}))
		if failed.N == 0 {
			check(t, err)
			if want := strings.Count(transcript, "\n") + 1; n != want {
				t.Errorf("%d operations were failed, want %d", n, want)
			}
			return
		}
		if failed.Kind != OpMakeSyncer && !errors.Is(err, injected) || err == nil {
			t.Fatalf("%v failed with %v", failed, err)
		}
		for _, part := range []string{failed.Name, failed.To, "injected"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v failed with %v", failed, err)
			}
		}
		if after := (&player{fs: c}).tree(t, "/"); before != after {
			t.Errorf("%v failed, but made of\n%s\nthis\n%s", failed, before, after)
		}
		c.root.walk(func(node *node) {
			if node.opens > 0 {
				t.Errorf("after %v failed a file is still open", failed)
			}
		})
		if len(c.locked) > 0 {
			t.Errorf("after %v failed the lock is still held", failed)
		}
	}
}

func TestShortWrite(t *testing.T) {
	for _, test := range []struct {
		short *ShortWrite
		want  string
	}{
		{&ShortWrite{-1, syscall.EIO}, ""},
		{&ShortWrite{0, syscall.EIO}, ""},
		{&ShortWrite{2, syscall.EIO}, "ab"},
		{&ShortWrite{4, syscall.EIO}, "abcd"},
		{&ShortWrite{9, syscall.EIO}, "abcd"},
	} {
		c := NewCrashable()
		f := must[File](t)(Inject(c, func(o Op) error {
			if o.Kind == OpWrite {
				return test.short
			}
			return nil
		}).Create("a"))
		n, err := f.WriteAt([]byte("abcd"), 0)
		if n != len(test.want) || !errors.Is(err, syscall.EIO) || class(err, "a") != "error" {
			t.Errorf("%v: wrote %d bytes: %v", test.short, n, err)
		}
		if got := string(contentOf(t, c, "a")); got != test.want {
			t.Errorf("%v: the file holds %q", test.short, got)
		}
	}
	c := NewCrashable()
	c.SetCapacity(0)
	f := must[File](t)(Inject(c, func(o Op) error {
		if o.Kind == OpWrite || o.Kind == OpTruncate {
			return &ShortWrite{2, syscall.EIO}
		}
		return nil
	}).Create("a"))
	if _, err := f.WriteAt([]byte("abcd"), 0); class(err, "a") != "full" {
		t.Errorf("on a full disk: %v", err)
	}
	if err := f.Truncate(100); !errors.Is(err, syscall.EIO) || must[int64](t)(f.Size()) != 0 {
		t.Errorf("a truncation: %v", err)
	}
}

// A hook may hold an operation up while others go on.
func TestHookBlocks(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	var calls atomic.Int64
	fsys := Inject(NewCrashable(), func(o Op) error {
		calls.Add(1)
		if o.Kind == OpSyncFile {
			close(held)
			<-release
		}
		return nil
	})
	f := create(t, fsys, "a", []byte("abcd"))
	done := make(chan error)
	go func() { done <- f.Sync() }()
	<-held
	must[int](t)(f.WriteAt([]byte("e"), 4))
	close(release)
	check(t, <-done)
	if f.Conn() != nil {
		t.Error("the file can be read past the hook")
	}
	if calls.Load() != 4 {
		t.Errorf("the hook was called %d times", calls.Load())
	}
	if fsys.BootID() == "" {
		t.Error("there is no boot id")
	}
}
