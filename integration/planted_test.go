//go:build integration && unix

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// edit changes the broker, to plant a bug say: it replaces a piece of a source file, which must be there exactly once.
type edit struct{ file, old, new string }

// noDataSync takes out the sync of every file's data.
var noDataSync = edit{"storage/vfs/os_linux.go", `return control(f, unix.Fdatasync)`, `return control(f, func(int) error { return nil })`}

// buildEdited builds the broker from edited sources. The sources themselves stay as they are.
func buildEdited(t testing.TB, edits ...edit) string {
	t.Helper()
	dir := t.TempDir()
	replaced, texts := map[string]string{}, map[string]string{}
	for _, e := range edits {
		file, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(e.file)))
		if err != nil {
			t.Fatal(err)
		}
		if texts[file] == "" {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			replaced[file], texts[file] = filepath.Join(dir, fmt.Sprint(len(texts), ".go")), string(source)
		}
		if n := strings.Count(texts[file], e.old); n != 1 {
			t.Fatalf("%s has %d times what is to be replaced, want 1: %s\nThe bug has to be planted in another way now.", e.file, n, e.old)
		}
		texts[file] = strings.Replace(texts[file], e.old, e.new, 1)
	}
	for file, text := range texts {
		if err := os.WriteFile(replaced[file], []byte(text), 0o600); err != nil {
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
