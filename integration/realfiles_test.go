//go:build integration && unix

package integration

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// realFiles returns files that lie on this machine, of at least so many bytes in all: those of Go's module cache, then
// those of the Go distribution and of the system.
func realFiles(t testing.TB, bytes int64) (files []string, total int64) {
	t.Helper()
	out, err := exec.CommandContext(within(t, patience), "go", "env", "GOMODCACHE", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	errEnough := errors.New("enough")
	for _, root := range append(strings.Fields(string(out)), "/usr/lib", "/usr/share") {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // what cannot be read is not taken
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			files = append(files, name)
			if total += info.Size(); total >= bytes {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return files, total
		}
	}
	t.Fatalf("this machine has no more than %d MiB of files", total>>20)
	return nil, 0
}

// chunkSizes are how files are cut into records: each file by the next size.
var chunkSizes = [...]int{64 << 10, 1 << 10, 900_000, 4 << 10, 256 << 10, 16 << 10}

// manifest is what a topic should hold.
type manifest struct {
	records int
	bytes   int64
	hashes  map[string]string // of each file, by its path
}

func newManifest() *manifest { return &manifest{hashes: map[string]string{}} }

// cut reads a file, once, and hands it over in chunks. The chunk is good until the next call. An empty file is one empty
// chunk. What is handed over is what is remembered, should the file change meanwhile.
func (m *manifest) cut(number int, name string, give func(chunk []byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return nil // it has gone, or is not for us
	}
	defer f.Close()
	h := sha256.New()
	chunk := make([]byte, chunkSizes[number%len(chunkSizes)])
	for first := true; ; first = false {
		n, err := io.ReadFull(f, chunk)
		if n > 0 || first {
			if err := give(chunk[:n]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			h.Write(chunk[:n])
			m.records++
			m.bytes += int64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	m.hashes[name] = hex.EncodeToString(h.Sum(nil))
	return nil
}

// assembly puts files together from the records of a topic.
type assembly struct {
	records int
	bytes   int64
	next    map[int32]int64 // offset, by partition
	hashes  map[string]hash.Hash
}

func newAssembly() *assembly {
	return &assembly{next: map[int32]int64{}, hashes: map[string]hash.Hash{}}
}

// add takes the next record of a partition.
func (a *assembly) add(partition int32, offset int64, key, value []byte) error {
	if want := a.next[partition]; offset != want {
		return fmt.Errorf("partition %d: a record at %d, want %d", partition, offset, want)
	}
	a.next[partition]++
	a.records++
	a.bytes += int64(len(value))
	h := a.hashes[string(key)]
	if h == nil {
		h = sha256.New()
		a.hashes[string(key)] = h
	}
	h.Write(value)
	return nil
}

// addFrom takes the records that kcat writes in kcatFormat, to the end.
func (a *assembly) addFrom(out io.Reader, progress func(bytes int)) error {
	in := bufio.NewReaderSize(out, 1<<20)
	for {
		r, err := readKcatRecord(in)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = a.add(r.partition, r.offset, r.key, r.value)
		}
		if err != nil {
			return err
		}
		progress(len(r.value))
	}
}

// compare expects the files of the manifest, byte for byte, and nothing else.
func (a *assembly) compare(t testing.TB, who string, m *manifest) {
	t.Helper()
	if a.records != m.records || a.bytes != m.bytes || len(a.hashes) != len(m.hashes) {
		t.Errorf("%s has read %d records, %d bytes, %d files; want %d, %d, %d",
			who, a.records, a.bytes, len(a.hashes), m.records, m.bytes, len(m.hashes))
	}
	wrong := 0
	for name, want := range m.hashes {
		if h := a.hashes[name]; h == nil || hex.EncodeToString(h.Sum(nil)) != want {
			if wrong++; wrong < 5 {
				t.Errorf("%s has read %s otherwise than it was written", who, name)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%s has read %d files of %d wrongly", who, wrong, len(m.hashes))
	}
}
