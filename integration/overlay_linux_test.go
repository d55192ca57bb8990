//go:build integration

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// edit plants a bug: it replaces a piece of a source file, which must be there exactly once.
type edit struct{ file, old, new string }

// noDataSync takes out the sync of every file's data.
var noDataSync = edit{"storage/vfs/os_linux.go", `return control(f, unix.Fdatasync)`, `return control(f, func(int) error { return nil })`}

// buildEdited builds the broker with bugs planted. The sources stay as they are.
func buildEdited(t testing.TB, edits ...edit) string {
	t.Helper()
	dir := t.TempDir()
	replaced := map[string]string{}
	for _, e := range edits {
		file, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(e.file)))
		if err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), e.old); n != 1 {
			t.Fatalf("%s has %d times what is to be replaced, want 1: %s\nThe bug has to be planted in another way now.", e.file, n, e.old)
		}
		if replaced[file] != "" {
			t.Fatalf("%s is edited twice", e.file)
		}
		replaced[file] = filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(replaced[file], []byte(strings.Replace(string(source), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "broker")
	if err := build(binary, "-overlay", file); err != nil {
		t.Fatal(err)
	}
	return binary
}
