package storage_test

import (
	"context"
	"path/filepath"
	"testing"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
)

// TestLog holds a log on the operating system's file system against what partitions rely on.
func TestLog(t *testing.T) {
	for name, o := range map[string]storage.Options{
		"with handles for all":  {},
		"with handles for none": {OpenFiles: 1},
	} {
		t.Run(name, func(t *testing.T) {
			logtest.Run(t, func(t *testing.T) logtest.Harness {
				path := filepath.Join(t.TempDir(), "data")
				id := storage.Identity{Topic: "topic", TopicID: [16]byte{1}, Partition: 3}
				var dir *storage.Dir
				shut := func() {
					if dir == nil {
						return
					}
					if err := dir.Close(); err != nil {
						t.Error(err)
					}
				}
				t.Cleanup(shut)
				open := func(c storage.Config, e storage.Events) partition.Log {
					t.Helper()
					shut() // the log outlives its directory too
					var err error
					if dir, err = storage.OpenDir(path, o); err != nil {
						t.Fatal(err)
					}
					log, err := dir.Open(context.Background(), id, c, e, nil)
					if err != nil {
						t.Fatal(err)
					}
					return log
				}
				return logtest.Harness{Reopens: true, Open: open}
			})
		})
	}
}

var _ partition.Log = (*storage.Log)(nil)
