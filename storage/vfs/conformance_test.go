package vfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// class is what callers may tell an error by. It panics if the text of err lacks the path.
func class(err error, names ...string) string {
	if err == nil {
		return "ok"
	}
	if err == io.EOF {
		return "EOF"
	}
	for _, name := range names {
		if !strings.Contains(err.Error(), name) {
			panic(fmt.Sprintf("error %q does not name %s", err, name))
		}
	}
	var classes []string
	for _, c := range []struct {
		name   string
		target error
	}{
		{"not exist", fs.ErrNotExist}, {"exist", fs.ErrExist}, {"closed", fs.ErrClosed},
		{"permission", fs.ErrPermission}, {"locked", ErrLocked}, {"full", syscall.ENOSPC},
	} {
		if errors.Is(err, c.target) {
			classes = append(classes, c.name)
		}
	}
	if classes == nil {
		return "error"
	}
	return strings.Join(classes, "+")
}

// player does operations on one file system, as a script tells it, and says what came of each.
type player struct {
	fs    FS
	root  string
	files []*openFile
}

type openFile struct {
	File
	readOnly bool
	maps     []Mapping
}

// script draws the operations. Two scripts from the same source are the same.
type script interface{ IntN(n int) int }

var scriptNames = []string{"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "f", "f/a", "f/e"}

const (
	scriptFile    = 5 * pageSize // how long files get
	scriptReserve = 4 * pageSize
)

// step does the next operation and returns what it was and what came of it.
func (p *player) step(s script) string {
	name := scriptNames[s.IntN(len(scriptNames))]
	path := filepath.Join(p.root, filepath.FromSlash(name))
	switch op := s.IntN(24); op {
	case 0:
		return "open " + p.open(s, name, p.fs.Open, true)
	case 1, 2:
		return "openfile " + p.open(s, name, p.fs.OpenFile, false)
	case 3, 4, 5:
		return "create " + p.open(s, name, p.fs.Create, false)
	case 6, 7:
		to := scriptNames[s.IntN(len(scriptNames))]
		err := p.fs.Rename(path, filepath.Join(p.root, filepath.FromSlash(to)))
		return fmt.Sprintf("rename %s %s: %s", name, to, class(err, name, to))
	case 8:
		return fmt.Sprintf("remove %s: %s", name, class(p.fs.Remove(path), name))
	case 9:
		if s.IntN(4) > 0 {
			return "nothing"
		}
		return fmt.Sprintf("removeall %s: %s", name, class(p.fs.RemoveAll(path)))
	case 10, 11:
		return fmt.Sprintf("mkdir %s: %s", name, class(p.fs.Mkdir(path), name))
	case 12:
		return fmt.Sprintf("mkdirall %s: %s", name, class(p.fs.MkdirAll(path)))
	case 13:
		entries, err := p.fs.ReadDir(path)
		return fmt.Sprintf("readdir %s: %s %v", name, class(err, name), entries)
	case 14:
		info, err := p.fs.Stat(path)
		return fmt.Sprintf("stat %s: %s %d %v", name, class(err, name), info.Size, info.Dir)
	case 15:
		return fmt.Sprintf("syncdir %s: %s", name, class(p.fs.SyncDir(path), name))
	default:
		if len(p.files) == 0 {
			return "no file"
		}
		i := s.IntN(len(p.files))
		return fmt.Sprintf("file %d %s", i, p.fileStep(s, i))
	}
}

func (p *player) open(s script, name string, open func(string) (File, error), readOnly bool) string {
	f, err := open(filepath.Join(p.root, filepath.FromSlash(name)))
	if err != nil {
		return name + ": " + class(err, name)
	}
	if len(p.files) == 8 {
		p.close(s.IntN(8))
	}
	p.files = append(p.files, &openFile{File: f, readOnly: readOnly})
	return name + ": ok"
}

func (p *player) close(i int) string {
	for _, m := range p.files[i].maps {
		if err := m.Close(); err != nil {
			panic(err)
		}
	}
	err := p.files[i].Close()
	p.files = slices.Delete(p.files, i, i+1)
	return class(err)
}

func (p *player) fileStep(s script, i int) string {
	f := p.files[i]
	name := filepath.Base(f.Name())
	off := int64(s.IntN(scriptFile))
	if s.IntN(3) == 0 {
		off -= off % pageSize
	}
	length := 1 + s.IntN(2*pageSize)
	switch s.IntN(15) {
	case 0:
		return "close: " + p.close(i)
	case 1, 2, 3:
		n, err := f.WriteAt(bytes.Repeat([]byte{byte(1 + s.IntN(255))}, length), off)
		return fmt.Sprintf("write %d+%d: %d %s", off, length, n, class(err, name))
	case 12:
		parts := make([][]byte, 1+s.IntN(3))
		for i := range parts {
			parts[i] = bytes.Repeat([]byte{byte(1 + s.IntN(255))}, s.IntN(length+1))
		}
		err := f.WriteParts(parts, off)
		return fmt.Sprintf("write %d+%d in %d: %s", off, len(slices.Concat(parts...)), len(parts), class(err, name))
	case 4, 5:
		b := make([]byte, length)
		n, err := f.ReadAt(b, off)
		return fmt.Sprintf("read %d+%d: %s %x", off, length, class(err, name), b[:n])
	case 6:
		size, err := f.Size()
		return fmt.Sprintf("size: %d %s", size, class(err, name))
	case 7:
		if slices.ContainsFunc(p.files, func(f *openFile) bool { return len(f.maps) > 0 }) {
			return "not truncated" // a name tells not which files are one, and cutting a mapped one is not allowed
		}
		return fmt.Sprintf("truncate %d: %s", off, class(f.Truncate(off), name))
	case 8:
		return fmt.Sprintf("sync: %s", class(f.Sync(), name))
	case 9:
		return fmt.Sprintf("allocate %d+%d: %s", off, length, class(f.Allocate(off, int64(length)), name))
	case 10:
		if len(f.maps) == 3 {
			return "mapped enough"
		}
		m, err := f.Map(scriptReserve)
		if err == nil {
			f.maps = append(f.maps, m)
		}
		return fmt.Sprintf("map: %s", class(err, name))
	default:
		return p.mappingStep(s, f, off, length)
	}
}

func (p *player) mappingStep(s script, f *openFile, off int64, length int) string {
	if len(f.maps) == 0 {
		return "not mapped"
	}
	i := s.IntN(len(f.maps))
	m := f.maps[i]
	size, err := f.Size()
	if err != nil {
		return err.Error()
	}
	size = min(size, scriptReserve)
	off = min(off, size)
	end := min(off+int64(length), size)
	switch s.IntN(6) {
	case 0:
		f.maps = slices.Delete(f.maps, i, i+1)
		return fmt.Sprintf("unmap: %s", class(m.Close()))
	case 1:
		return fmt.Sprintf("msync: %s", class(m.Sync()))
	case 2, 3:
		return fmt.Sprintf("load %d-%d of %d: %x", off, end, len(m.Bytes()), m.Bytes()[off:end])
	default:
		if f.readOnly {
			return "not stored"
		}
		if err := f.Allocate(0, max(1, size)); err != nil {
			return err.Error()
		}
		for i := off; i < end; i++ {
			m.Bytes()[i] = byte(i + int64(length))
		}
		return fmt.Sprintf("store %d-%d", off, end)
	}
}

// tree is all that is on the file system.
func (p *player) tree(t *testing.T, path string) string {
	t.Helper()
	var b strings.Builder
	var walk func(path string)
	walk = func(path string) {
		entries, err := p.fs.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			at := filepath.Join(path, e.Name)
			fmt.Fprintln(&b, filepath.ToSlash(strings.TrimPrefix(at, p.root)), e.Dir, e.Size)
			if e.Dir {
				walk(at)
				continue
			}
			fmt.Fprintf(&b, "%x\n", contentOf(t, p.fs, at))
		}
	}
	walk(path)
	return b.String()
}

func contentOf(t *testing.T, fsys FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && (err != io.EOF || size > 0) {
		t.Fatal(err)
	}
	return b
}

// conform plays a script on the system's files and on a Crashable, and fails where they differ. It ends with
// Kill, which must not be seen in the files.
func conform(t *testing.T, steps int, source func() script) {
	t.Helper()
	c := NewCrashable()
	if err := c.MkdirAll("/root"); err != nil {
		t.Fatal(err)
	}
	system, crashable := &player{fs: OS(), root: t.TempDir()}, &player{fs: c, root: "/root"}
	s1, s2 := source(), source()
	var history []string
	for range steps {
		want, got := system.step(s1), crashable.step(s2)
		history = append(history, want[:min(len(want), 100)])
		if want != got {
			last := strings.Join(history[max(0, len(history)-40):], "\n")
			t.Fatalf("after\n%s\nthe system has\n%s\nand Crashable\n%s", last, want, got)
		}
	}
	killed := &player{fs: c.Kill(), root: "/root"}
	for _, p := range []*player{system, crashable} {
		for len(p.files) > 0 {
			p.close(0)
		}
	}
	want := system.tree(t, system.root)
	if got := crashable.tree(t, "/root"); got != want {
		t.Errorf("the system has\n%s\nand Crashable\n%s", want, got)
	}
	if got := killed.tree(t, "/root"); got != want {
		t.Errorf("the system has\n%s\nand after Kill there is\n%s", want, got)
	}
	var used int64
	c.root.walk(func(n *node) {
		used += n.room()
		if !n.dir && !bytes.Equal(n.content(), n.written()) {
			t.Error("the content is not made of what is durable and the changes since")
		}
	})
	if used != c.used {
		t.Errorf("%d bytes are counted as used, files have %d", c.used, used)
	}
}

func TestConformance(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere mappings are copies, which Crashable is not, and directories follow other rules")
	}
	for seed := range uint64(40) {
		conform(t, 300, func() script { return rand.New(rand.NewPCG(seed, 1)) })
	}
}

// bytesScript draws from a fuzzer's bytes.
type bytesScript struct{ b []byte }

func (s *bytesScript) IntN(n int) int {
	if len(s.b) < 2 {
		s.b = nil
		return 0
	}
	v := binary.LittleEndian.Uint16(s.b)
	s.b = s.b[2:]
	return int(v) % n
}

func FuzzConformance(f *testing.F) {
	if runtime.GOOS != "linux" {
		f.Skip("see TestConformance")
	}
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := make([]byte, 600)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 4000)]
		conform(t, len(b)/4, func() script { return &bytesScript{b} })
	})
}
