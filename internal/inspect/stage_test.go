package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"segue/internal/catalog"
	"segue/internal/catalog/local"
	"segue/storage"
	"segue/storage/record"
)

// stage is a directory with a catalog and a topic, as a broker leaves it.
type stage struct {
	t       testing.TB
	path    string
	dir     *storage.Dir
	catalog *local.Store
	id      storage.Identity
	log     *storage.Log
}

func logConfig() storage.Config {
	return storage.Config{
		SegmentBytes: 600, SegmentAge: time.Hour, IndexBytes: 1 << 16, IndexInterval: 100,
		FlushMessages: 1, RetentionBytes: -1, RetentionAge: -1,
	}
}

// newStage opens the directory and creates the topic.
func newStage(t testing.TB, configs map[string]string) *stage {
	t.Helper()
	s := &stage{t: t, path: filepath.Join(t.TempDir(), "data")}
	s.id = storage.Identity{Topic: "orders", TopicID: [16]byte{1, 2, 3}, Partition: 4}
	s.open()
	s.commit(catalog.Start{ClusterID: "cluster"})
	s.commit(catalog.CreateTopic{Name: "orders", ID: s.id.TopicID, Partitions: 5, ReplicationFactor: 1, Configs: configs})
	return s
}

func (s *stage) open() {
	s.t.Helper()
	var err error
	if s.dir, err = storage.OpenDir(s.path, storage.Options{Reserve: 64 << 10}); err != nil {
		s.t.Fatal(err)
	}
	events := local.NewEvents()
	l, err := s.dir.Open(context.Background(), catalogID(), logConfig(), events, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.catalog, err = local.Open(context.Background(), l, events, local.Options{}); err != nil {
		s.t.Fatal(err)
	}
	if s.log, err = s.dir.Open(context.Background(), s.id, logConfig(), deaf{}, nil); err != nil {
		s.t.Fatal(err)
	}
}

// deaf listens to no log.
type deaf struct{}

func (deaf) Committed(record.Offset) {}
func (deaf) Failed(error)            {}

func (s *stage) commit(c catalog.Change) {
	s.t.Helper()
	if _, err := s.catalog.Commit(context.Background(), catalog.Any, c); err != nil {
		s.t.Fatal(err)
	}
}

// append appends a batch of records.
func (s *stage) append(build func(b *record.Builder)) {
	s.t.Helper()
	b := record.NewBuilder(0)
	build(b)
	batch, err := b.Build()
	if err != nil {
		s.t.Fatal(err)
	}
	if _, _, err := s.log.Append(context.Background(), 7, batch); err != nil {
		s.t.Fatal(err)
	}
}

// fill appends n batches of two records.
func (s *stage) fill(n int) {
	s.t.Helper()
	for i := range n {
		s.append(func(b *record.Builder) {
			b.Add(int64(1_700_000_000_000+i), []byte("key"), fmt.Appendf(nil, "value %d", i))
			b.Add(int64(1_700_000_000_001+i), nil, []byte("padding, padding, padding"))
		})
	}
}

// save makes everything durable, with a checkpoint.
func (s *stage) save() {
	s.t.Helper()
	_, _, end := s.log.Bounds()
	if err := s.log.Save(context.Background(), "partition", end, []byte("state")); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) close() {
	s.t.Helper()
	if err := s.catalog.Close(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.dir.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// copy returns a copy of the directory, which is what a kill would leave of it if it is open.
func (s *stage) copy() string {
	s.t.Helper()
	for {
		to := filepath.Join(s.t.TempDir(), "copy")
		err := os.CopyFS(to, os.DirFS(s.path))
		if err == nil {
			return to
		}
		if !errors.Is(err, fs.ErrNotExist) { // the cleaner may have removed a file meanwhile
			s.t.Fatal(err)
		}
	}
}

// verify returns what Verify prints and comes to, and checks that it changes nothing.
func verify(t testing.TB, o VerifyOptions, dirs ...string) (string, Result) {
	t.Helper()
	var before, out bytes.Buffer
	for _, dir := range dirs {
		describe(t, &before, dir)
	}
	o.Out = &out
	r, err := Verify(context.Background(), dirs, o)
	if err != nil {
		t.Fatal(err)
	}
	var after bytes.Buffer
	for _, dir := range dirs {
		describe(t, &after, dir)
	}
	if !bytes.Equal(before.Bytes(), after.Bytes()) {
		t.Errorf("verify has changed something:\n%s\n%s", &before, &after)
	}
	return out.String(), r
}

// describe writes down every file below a directory: its time, size and content.
func describe(t testing.TB, to *bytes.Buffer, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(to, "%s %v %d ", path, info.ModTime(), info.Size())
		if !e.IsDir() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			to.Write(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// dump returns what Dump prints.
func dump(t testing.TB, o DumpOptions, paths ...string) (out string, damaged bool) {
	t.Helper()
	var b bytes.Buffer
	o.Out = &b
	damaged, err := Dump(context.Background(), paths, o)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), damaged
}
