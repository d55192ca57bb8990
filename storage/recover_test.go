package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/storage/record"
	"segue/storage/vfs"
)

// crashCopy copies the bench's directory as a process kill would leave it and opens the copy.
func (b *bench) crashCopy(change func(folder string), bootID string) *bench {
	b.t.Helper()
	to := filepath.Join(b.t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(b.path)); err != nil {
		b.t.Fatal(err)
	}
	if change != nil {
		change(filepath.Join(to, testID.Folder()))
	}
	c := &bench{t: b.t, fs: bootedFS{vfs.OS(), bootID}, path: to, opts: b.opts, cfg: b.cfg}
	b.t.Cleanup(func() {
		if c.dir != nil {
			c.close()
		}
	})
	c.open()
	return c
}

// bootedFS is a file system on a machine with a given boot id.
type bootedFS struct {
	vfs.FS
	id string
}

func (f bootedFS) BootID() string { return f.id }

const (
	sameBoot  = "same"
	otherBoot = "other"
)

func newBooted(t *testing.T, change func(*bench)) *bench {
	return newBench(t, bootedFS{vfs.OS(), sameBoot}, func(b *bench) {
		b.path = filepath.Join(t.TempDir(), "data")
		if change != nil {
			change(b)
		}
	})
}

func edit(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readable returns the offsets that can be read, going on behind what cannot.
func (b *bench) readable() (out []record.Offset) {
	b.t.Helper()
	start, committed, _ := b.log.Bounds()
	for from := start; from < committed; {
		c, err := b.log.Read(context.Background(), from, committed, 1, true)
		var corrupt *CorruptError
		if errors.As(err, &corrupt) {
			from++
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if c.Length == 0 {
			b.t.Fatalf("nothing at %d of %d", from, committed)
		}
		for _, batch := range batches(b.t, c) {
			for o := max(from, batch.BaseOffset()); o < batch.NextOffset(); o++ {
				out = append(out, o)
			}
			from = batch.NextOffset()
		}
	}
	return out
}

func glob(t *testing.T, folder, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return names
}

func removeAll(t *testing.T, folder, pattern string) {
	t.Helper()
	for _, name := range glob(t, folder, pattern) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFolderOfAnotherTopicIsSetAside(t *testing.T) {
	b := newBench(t, nil, nil)
	b.append(3, 1000)
	b.close()
	recreated := testID
	recreated.TopicID[0]++
	d, err := OpenDir(b.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Open(context.Background(), recreated, b.cfg, &events{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, end := l.Bounds(); end != 0 {
		t.Fatalf("the new topic begins at %d", end)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	stray := glob(t, b.path, "*-stray")
	if len(stray) != 1 || len(glob(t, stray[0], "*.log")) != 1 {
		t.Fatal(stray)
	}
	b.open()
	b.wantBounds(0, 0, 0)
}

func TestSecondBrokerIsRefused(t *testing.T) {
	b := newBench(t, nil, nil)
	if _, err := OpenDir(b.path, Options{}); !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), b.path) {
		t.Fatal(err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	b := newBench(t, nil, nil)
	b.close()
	path := filepath.Join(b.path, runFile)
	edit(t, path, func([]byte) []byte { return []byte(`{"version": 99}`) })
	if err := b.tryOpen(); !errors.Is(err, ErrUnsupported) {
		t.Fatal(err)
	}
	edit(t, path, func([]byte) []byte { return []byte(`{"version": 1}`) })
	b.open()
}
