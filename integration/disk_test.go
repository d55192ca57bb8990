//go:build integration && unix

package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/storage/record"
)

// folder is where a partition has its files.
func (b *broker) folder(topic string, partition int32) string {
	return filepath.Join(b.dir, fmt.Sprintf("%s-%d", topic, partition))
}

// segments returns the data files of a partition, in the order of their offsets.
func (b *broker) segments(t testing.TB, topic string, partition int32) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(b.folder(topic, partition), "*.log")) // sorted
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// batches returns all batches in the files of a partition, as they lie there. They must be sound and follow upon one
// another without a gap.
func (b *broker) batches(t testing.TB, topic string, partition int32) []record.Batch {
	t.Helper()
	var batches []record.Batch
	for _, file := range b.segments(t, topic, partition) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for len(data) > 0 {
			batch, rest, err := record.Parse(data)
			if err == nil {
				err = batch.Verify()
			}
			if err != nil {
				t.Fatalf("%s, %d bytes from its end: %v", file, len(data), err)
			}
			if n := len(batches); n > 0 && batch.BaseOffset() != batches[n-1].NextOffset() {
				t.Errorf("%s: a batch at %d after one that ends at %d", file, batch.BaseOffset(), batches[n-1].NextOffset())
			}
			batches, data = append(batches, batch), rest
		}
	}
	return batches
}

// dataSize is how many bytes of records a topic has on the disk now, in all its partitions. Files that come and go
// meanwhile are counted or not.
func (b *broker) dataSize(topic string) (size int64) {
	folders, _ := filepath.Glob(filepath.Join(b.dir, topic+"-*"))
	for _, folder := range folders {
		filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(name, ".log") {
				if info, err := d.Info(); err == nil {
					size += info.Size()
				}
			}
			return nil
		})
	}
	return size
}

// topicFolders returns the names of all folders of partitions, deleted ones included; not that of the catalog.
func (b *broker) topicFolders(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), "@") && e.Name() != "segue.reserve" {
			names = append(names, e.Name())
		}
	}
	return names
}
