package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"segue/internal/catalog"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
)

// machine is a file system on a machine that was started under that boot id.
type machine struct {
	vfs.FS
	boot string
}

func (m machine) BootID() string { return m.boot }

// openAt opens the catalog in a directory. It closes what it has opened if it fails.
func openAt(fs vfs.FS, path string) (*storage.Dir, *Store, error) {
	dir, err := storage.OpenDir(path, storage.Options{FS: fs, Reserve: 64 << 10})
	if err != nil {
		return nil, nil, err
	}
	config := storage.Config{
		SegmentBytes: 1500, SegmentAge: time.Hour, IndexBytes: 1 << 12, IndexInterval: 256,
		FlushMessages: 1, RetentionBytes: -1, RetentionAge: -1,
	}
	events := NewEvents()
	log, err := dir.Open(context.Background(), storage.Identity{Topic: Topic, Partition: Partition}, config, events, nil)
	if err != nil {
		_ = dir.Close()
		return nil, nil, err
	}
	store, err := Open(context.Background(), log, events, Options{})
	if err != nil {
		_ = dir.Close()
		return nil, nil, err
	}
	return dir, store, nil
}

// TestDamage damages the catalog's log in every way, after a kill and after a stop, with and without a restart of the
// machine. It is read as it was, or it is refused: an older or an empty one would turn topics into deleted ones.
func TestDamage(t *testing.T) {
	flip := func(segment, at int, bit byte) func(*testing.T, string) {
		return func(t *testing.T, folder string) {
			editSegment(t, folder, segment, func(b []byte) []byte {
				b[(at+len(b))%len(b)] ^= bit
				return b
			})
		}
	}
	cut := func(segment int, keep func(b []byte) int) func(*testing.T, string) {
		return func(t *testing.T, folder string) {
			editSegment(t, folder, segment, func(b []byte) []byte { return b[:keep(b)] })
		}
	}
	remove := func(patterns ...string) func(*testing.T, string) {
		return func(t *testing.T, folder string) {
			for _, pattern := range patterns {
				for _, name := range find(t, folder, pattern) {
					if err := os.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	write := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, folder string) {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	segment := func(n int) func(*testing.T, string) {
		return func(t *testing.T, folder string) {
			all := segments(t, folder)
			name := all[(n+len(all))%len(all)]
			remove(filepath.Base(name), strings.TrimSuffix(filepath.Base(name), ".log")+".idx")(t, folder)
		}
	}
	tests := []struct {
		name   string
		change func(t *testing.T, folder string)
		// sound says that all of the catalog is read nevertheless; named what an error must name otherwise.
		sound bool
		named string
		// stopped says that it takes a clean stop for anything to tell of the damage.
		stopped bool
	}{
		{name: "nothing", sound: true, change: func(*testing.T, string) {}},
		{name: "flipped bit in a record", change: flip(0, 100, 1), named: ".log"},
		{name: "flipped bit in a record of the last segment", change: flip(-1, 100, 1), named: ".log"},
		{name: "flipped bit in the last record", change: flip(-1, -3, 1), named: ".log"},
		{name: "flipped bit in a base offset", change: flip(0, 7, 4), named: ".log"},
		{name: "flipped bit in the magic", change: flip(1, 16, 1), named: ".log"},
		{name: "flipped bit in a length", change: flip(1, 11, 2), named: ".log"},
		{name: "last segment cut", change: cut(-1, func(b []byte) int { return len(b) - 7 }), named: ".log"},
		{name: "last segment cut at a batch boundary", change: cut(-1, firstBatch), named: ".log"},
		{name: "first segment cut at a batch boundary", change: cut(0, firstBatch), named: ".log"},
		{name: "last segment cut to nothing", change: cut(-1, func([]byte) int { return 0 }), named: ".log"},
		{name: "first segment missing", change: segment(0), named: Topic},
		{name: "middle segment missing", change: segment(2), named: ".log"},
		{name: "last segment missing", change: segment(-1), named: ".log", stopped: true},
		{name: "all segments missing", change: remove("*.log", "*.idx"), named: Topic, stopped: true},
		{name: "indexes missing", change: remove("*.idx"), sound: true},
		{name: "log start of garbage", change: write("log-start-offset", "garbage"), named: "log-start-offset"},
		{name: "topic id of garbage", change: write("partition.metadata", "garbage"), named: "partition.metadata"},
		{name: "topic id of a topic", change: write("partition.metadata", "version: 0\ntopic_id: "+catalog.NewClusterID()+"\n"), named: "partition.metadata"},
		{name: "topic id missing", change: remove("partition.metadata"), sound: true},
		{name: "record of a later version", change: appendRecord(`{"type":"Start","version":2,"clusterId":"c"}`), named: "later version"},
		{name: "record of an unknown type", change: appendRecord(`{"type":"GrantAccess","version":1}`), named: "later version"},
		{name: "record with an unknown field", change: appendRecord(`{"type":"Start","version":1,"clusterId":"c","zone":"z"}`), named: "zone"},
	}
	for _, stopped := range []bool{false, true} {
		from := filepath.Join(t.TempDir(), "data")
		dir, store, err := openAt(machine{vfs.OS(), "first"}, from)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 40 {
			commit1(t, store, create(fmt.Sprintf("topic-%d", n)))
		}
		full := store.Image()
		stop := func() {
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			if err := dir.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if stopped {
			stop()
		} else {
			defer stop()
		}
		for _, tt := range tests {
			if tt.stopped && !stopped {
				continue
			}
			for _, boot := range []string{"first", "second"} {
				t.Run(fmt.Sprintf("%s, stopped %v, %s boot", tt.name, stopped, boot), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "copy")
					if err := os.CopyFS(path, os.DirFS(from)); err != nil {
						t.Fatal(err)
					}
					tt.change(t, filepath.Join(path, "@catalog-0"))
					dir, store, err := openAt(machine{vfs.OS(), boot}, path)
					if err == nil {
						defer dir.Close()
						defer store.Close()
					}
					switch {
					case err == nil && !store.Image().Equal(full):
						t.Fatalf("version %d is read, %d was committed", store.Image().Version(), full.Version())
					case err == nil && !tt.sound:
						t.Fatal("it is read")
					case err != nil && tt.sound:
						t.Fatal(err)
					case err != nil && !strings.Contains(err.Error(), tt.named):
						t.Fatalf("%v; it does not name %s", err, tt.named)
					}
					if aside, _ := filepath.Glob(filepath.Join(path, "*-stray")); len(aside) > 0 {
						t.Fatalf("set aside: %q", aside)
					}
				})
			}
		}
	}
}

func find(t *testing.T, folder, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %q, %v", pattern, names, err)
	}
	return names
}

func segments(t *testing.T, folder string) []string {
	t.Helper()
	names := find(t, folder, "*.log")
	if len(names) < 4 {
		t.Fatalf("%d segments", len(names))
	}
	return names
}

// editSegment changes a segment, counted from the last one if n is negative.
func editSegment(t *testing.T, folder string, n int, f func([]byte) []byte) {
	t.Helper()
	names := segments(t, folder)
	name := names[(n+len(names))%len(names)]
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, f(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func firstBatch(data []byte) int {
	b, _, err := record.Parse(data)
	if err != nil {
		panic(fmt.Sprint("a test has broken its own data: ", err))
	}
	return b.Size()
}

// appendRecord puts a batch with that record behind all others, as a later broker may.
func appendRecord(value string) func(*testing.T, string) {
	return func(t *testing.T, folder string) {
		editSegment(t, folder, -1, func(data []byte) []byte {
			next, rest := record.Offset(0), data
			for len(rest) > 0 {
				var b record.Batch
				var err error
				if b, rest, err = record.Parse(rest); err != nil {
					t.Fatal(err)
				}
				next = b.NextOffset()
			}
			b, err := buildBatch(1, [][]byte{[]byte(value)})
			if err != nil {
				t.Fatal(err)
			}
			b.SetBaseOffset(next)
			return append(data, b.Bytes()...)
		})
	}
}
