package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func tempFile(t *testing.T, content []byte) *osFile {
	t.Helper()
	f := create(t, OS(), filepath.Join(t.TempDir(), "a"), content).(*osFile)
	t.Cleanup(func() { f.Close() })
	return f
}

// What stands in for a mapping behaves like one for whoever keeps to the contract.
func TestCopiedMapping(t *testing.T) {
	f := tempFile(t, []byte("content"))
	m := must[Mapping](t)(mapByCopying(f, 3*pageSize))
	if got := string(m.Bytes()[:8]); got != "content\x00" || len(m.Bytes()) != 3*pageSize {
		t.Errorf("%d bytes are mapped that begin with %q", len(m.Bytes()), got)
	}
	check(t, f.Allocate(0, pageSize))
	copy(m.Bytes(), "C")
	copy(m.Bytes()[pageSize-1:], "XY") // the Y past the end
	check(t, m.Sync())
	want := append([]byte("Content"), make([]byte, pageSize-7)...)
	want[pageSize-1] = 'X'
	if got := contentOf(t, OS(), f.Name()); !bytes.Equal(got, want) {
		t.Errorf("the file holds %d bytes %.10q", len(got), got)
	}
	m.Bytes()[1] = 'O'
	check(t, m.Close())
	if got := contentOf(t, OS(), f.Name()); string(got[:7]) != "COntent" {
		t.Errorf("after Close the file holds %.7q", got)
	}
	if class(m.Close(), f.Name()) != "closed" || class(m.Sync(), f.Name()) != "closed" {
		t.Error("a closed mapping can be used")
	}

	orphan := must[Mapping](t)(mapByCopying(f, 10))
	readOnly := must[File](t)(OS().Open(f.Name())).(*osFile)
	view := must[Mapping](t)(mapByCopying(readOnly, 10))
	check(t, errors.Join(f.Close(), readOnly.Close()))
	check(t, errors.Join(view.Sync(), view.Close()))
	if class(orphan.Sync(), f.Name()) != "closed" || class(orphan.Close(), f.Name()) != "closed" {
		t.Error("a mapping outlives its file")
	}
	if _, err := mapByCopying(f, 10); class(err, f.Name()) != "closed" {
		t.Errorf("a closed file is mapped: %v", err)
	}
}

func TestAllocateByWriting(t *testing.T) {
	for _, size := range []int64{0, 1, 4095, 4096, 10000, 1 << 20} {
		for _, at := range [][2]int64{{0, 1}, {0, 4096}, {1, 9999}, {5000, 5000}, {8192, 1 << 19}, {1 << 20, 1}} {
			t.Run(fmt.Sprint(size, at), func(t *testing.T) {
				content := randomBytes(rand.New(rand.NewPCG(1, 1)), int(size))
				f := tempFile(t, content)
				check(t, allocateByWriting(f.file, at[0], at[1]))
				want := append(content, make([]byte, max(0, at[0]+at[1]-size))...)
				if got := contentOf(t, OS(), f.Name()); !bytes.Equal(got, want) {
					t.Errorf("the file has %d bytes, want %d, or others", len(got), len(want))
				}
			})
		}
	}
}

func TestFullError(t *testing.T) {
	cause := errors.New("quota")
	if err := (fullError{cause}); class(err) != "full" || !errors.Is(err, cause) || errors.Is(err, fs.ErrExist) {
		t.Errorf("%v is %s", err, class(err))
	}
}

// A lock file that another kind of program has left holds no process id.
func TestLockHolder(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "123\n": 123, "123": 123, "-4": -4, "x\n": 0, "123 456": 0, "999999999999999999999999": 0,
	} {
		if got := lockHolder(bytes.NewReader([]byte(text))); got != want {
			t.Errorf("%q is from process %d", text, got)
		}
	}
	name := filepath.Join(t.TempDir(), ".lock")
	check(t, os.WriteFile(name, []byte("left by someone long ago"), filePerm))
	check(t, must[io.Closer](t)(OS().Lock(name)).Close())
	if got := string(must[[]byte](t)(os.ReadFile(name))); got != fmt.Sprintln(os.Getpid()) {
		t.Errorf("the lock file holds %q", got)
	}
}

func TestReadDirFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	check(t, os.Mkdir(at("d"), dirPerm))
	check(t, os.WriteFile(at("f"), []byte("1234"), filePerm))
	for from, to := range map[string]string{"to-d": "d", "to-f": "f", "to-nothing": "none"} {
		if err := os.Symlink(to, at(from)); err != nil {
			t.Skip("no links here:", err)
		}
	}
	want := []Entry{{"d", true, 0}, {"f", false, 4}, {"to-d", true, 0}, {"to-f", false, 4}}
	if got := must[[]Entry](t)(OS().ReadDir(dir)); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
