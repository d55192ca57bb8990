package logtest_test

import (
	"context"
	"testing"

	"segue/partition"
	"segue/partition/logtest"
	"segue/storage"
	"segue/storage/vfs"
)

var id = storage.Identity{Topic: "topic", TopicID: [16]byte{1}, Partition: 3}

func TestMemory(t *testing.T) {
	for _, held := range []bool{false, true} {
		name := map[bool]string{false: "CommitsAtOnce", true: "CommitsWhenTold"}[held]
		t.Run(name, func(t *testing.T) {
			logtest.Run(t, func(t *testing.T) logtest.Harness {
				m := logtest.NewMemory()
				h := logtest.Harness{Reopens: true}
				h.Open = func(c storage.Config, e storage.Events) partition.Log {
					return open(t, m, c, e)
				}
				if held {
					m.Log(id).Hold()
					h.Commit = m.Log(id).CommitAll
				}
				t.Cleanup(func() {
					if n := m.Pinned(); n != 0 {
						t.Errorf("%d chunks were not released", n)
					}
				})
				return h
			})
		})
	}
}

// The log that all others are measured by. It is tried here too, on the file system in memory, so that the suite and
// the log cannot drift apart unnoticed.
func TestStorage(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Harness {
		dir, err := storage.OpenDir("data", storage.Options{FS: vfs.NewCrashable()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := dir.Close(); err != nil {
				t.Error(err)
			}
		})
		return logtest.Harness{Reopens: true, Open: func(c storage.Config, e storage.Events) partition.Log {
			return open(t, partition.Local(dir), c, e)
		}}
	})
}

func open(t *testing.T, s partition.Store, c storage.Config, e storage.Events) partition.Log {
	t.Helper()
	log, err := s.Open(context.Background(), id, c, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return log
}
