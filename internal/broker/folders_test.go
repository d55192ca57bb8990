package broker

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/internal/catalog"
	"segue/storage"
)

// TestCatalogThatIsNotTheDatas starts brokers on directories whose catalog is missing, damaged, or older than the data.
// They do not start, they say what to do, and nothing is lost: with the right catalog all of it is there again.
func TestCatalogThatIsNotTheDatas(t *testing.T) {
	dir, old := t.TempDir(), filepath.Join(t.TempDir(), "old")
	folder := filepath.Join(dir, "@catalog-0")
	b := start(t, dir)
	produce(t, client(t, b, kgo.AllowAutoTopicCreation()), "first", "one")
	stop(t, b)
	if err := os.CopyFS(old, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	b = start(t, dir)
	produce(t, client(t, b, kgo.AllowAutoTopicCreation()), "second", "one", "two")
	stop(t, b)
	put := func(from string) func() error {
		return func() error { return os.CopyFS(folder, os.DirFS(from)) }
	}
	kept := filepath.Join(t.TempDir(), "kept")
	if err := os.CopyFS(kept, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func() error // of the folder, which is not there before
		want   []string     // in the error
	}{
		{"missing", func() error { return nil }, []string{"no catalog", folder, "first-0", "second-0", "Put", "move"}},
		{"an empty folder", func() error { return os.Mkdir(folder, 0o755) }, []string{"no catalog", folder, "first-0"}},
		{"older", put(old), []string{"does not know", folder, "second-0", "newest copy"}},
		{"damaged", func() error {
			if err := put(kept)(); err != nil {
				return err
			}
			logs, err := filepath.Glob(filepath.Join(folder, "*.log"))
			if err != nil {
				return err
			}
			data, err := os.ReadFile(logs[0])
			if err != nil {
				return err
			}
			data[100] ^= 1
			return os.WriteFile(logs[0], data, 0o644)
		}, []string{"cannot be read", filepath.Join(folder, "0000"), "offset 0", "broker log verify", "copy"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.RemoveAll(folder); err != nil {
				t.Fatal(err)
			}
			if err := tt.change(); err != nil {
				t.Fatal(err)
			}
			before := listing(t, dir)
			b, err := New(t.Context(), Config{Settings: settings(t, dir), Log: zerolog.Nop(), Started: time.Now()})
			if err == nil {
				_ = b.Shutdown(context.Background())
				t.Fatal("it starts")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if after := listing(t, dir); after != before {
				t.Errorf("there is now\n%sand there was\n%s", after, before)
			}
		})
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := put(kept)(); err != nil {
		t.Fatal(err)
	}
	b = start(t, dir)
	if got := consume(t, b, "second", 2); strings.Join(got, " ") != "one two" {
		t.Fatal(got)
	}
}

// listing lists all files below a directory but the catalog's, with their sizes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !strings.Contains(path, "@catalog-0") {
			out.WriteString(path + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestFoldersWithoutATopic: a folder in which nothing was ever written, as a crash may leave one, keeps no broker from its
// start.
func TestFoldersWithoutATopic(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "orders-0"), 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, dir)
}

// TestFolderOfATopicThatIsBeingDeleted: a power cut may leave a folder its name, though its topic's deletion is durable, and
// of its first write the data without the topic id.
func TestFolderOfATopicThatIsBeingDeleted(t *testing.T) {
	path := t.TempDir()
	for _, folder := range []string{"going-0", "unknown-0"} {
		if err := os.MkdirAll(filepath.Join(path, folder), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, folder, "00000000000000000000.log"), []byte("batches"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := storage.OpenDir(path, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	topic := catalog.CreateTopic{Name: "going", ID: catalog.NewTopicID(), Partitions: 1, ReplicationFactor: 1}
	image, err := new(catalog.Image).Apply(topic, catalog.DeleteTopic{ID: topic.ID})
	if err != nil {
		t.Fatal(err)
	}
	folders, err := listFolders(t.Context(), []*storage.Dir{d})
	if err != nil {
		t.Fatal(err)
	}
	err = checkFolders(folders, d, image)
	if err == nil || strings.Contains(err.Error(), "going-0") || !strings.Contains(err.Error(), "unknown-0") {
		t.Error(err)
	}
}
