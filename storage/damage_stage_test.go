package storage

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"segue/storage/vfs"
)

// lazyFS does not wait for the disk: nothing crashes here.
type lazyFS struct{ vfs.FS }

type lazyFile struct{ vfs.File }

type lazyMapping struct{ vfs.Mapping }

func (l lazyFS) Open(name string) (vfs.File, error)     { return lazily(l.FS.Open(name)) }
func (l lazyFS) OpenFile(name string) (vfs.File, error) { return lazily(l.FS.OpenFile(name)) }
func (l lazyFS) Create(name string) (vfs.File, error)   { return lazily(l.FS.Create(name)) }
func (l lazyFS) SyncDir(string) error                   { return nil }
func (l lazyFS) BulkSync(string) (vfs.Syncer, bool)     { return nil, false }

func lazily(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return lazyFile{f}, nil
}

func (f lazyFile) Sync() error { return nil }

func (f lazyFile) Map(reserve int64) (vfs.Mapping, error) {
	m, err := f.File.Map(reserve)
	if err != nil {
		return nil, err
	}
	return lazyMapping{m}, nil
}

func (m lazyMapping) Sync() error { return nil }

// snapshot lists all files below a directory with their sizes, times and contents.
func snapshot(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		var data []byte
		if !e.IsDir() {
			if data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		out = append(out, fmt.Sprintf("%s %d %v %08x", path, info.Size(), info.ModTime(), crc32.Checksum(data, castagnoli)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameBatches compares snapshots of the log's folder, but for indexes, in which an open notes what it has found sound.
func sameBatches(before, after []string) bool {
	data := func(files []string) (out []string) {
		for _, f := range files {
			path, _, _ := strings.Cut(f, " ")
			if filepath.Base(filepath.Dir(path)) == testID.Folder() && filepath.Ext(path) != indexSuffix {
				out = append(out, f)
			}
		}
		return out
	}
	return slices.Equal(data(before), data(after))
}

// total adds up the bytes of the data files in a snapshot.
func total(files []string) (n int64) {
	for _, f := range files {
		path, rest, _ := strings.Cut(f, " ")
		var size int64
		if _, err := fmt.Sscan(rest, &size); err == nil && filepath.Ext(path) == dataSuffix {
			n += size
		}
	}
	return n
}

// keptBytes adds up what lies in data files and in what was set aside.
func keptBytes(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && (filepath.Ext(path) == dataSuffix || strings.Contains(e.Name(), cutSuffix)) {
			info, err := e.Info()
			if err != nil {
				return err
			}
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
