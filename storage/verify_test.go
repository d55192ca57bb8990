package storage

import (
	"context"
	"fmt"
	"testing"

	"segue/storage/vfs"
)

// verifyAll verifies a directory with all that it has and returns the damage and the notes.
func verifyAll(t testing.TB, fsys vfs.FS, dir string, options VerifyOptions) (damage, notes []string) {
	t.Helper()
	in, err := Inspect(dir, Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	options.Report = func(f Finding) {
		line := fmt.Sprintf("%s, byte %d, offsets %d to %d: %v; %s", f.File, f.Position, f.From, f.To, f.Err, f.Outcome)
		if f.Note {
			notes = append(notes, line)
		} else {
			damage = append(damage, line)
		}
	}
	if err := in.VerifyDir(options.Report); err != nil {
		t.Fatal(err)
	}
	ids, err := in.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := in.VerifyLog(context.Background(), id, options); err != nil {
			t.Fatal(err)
		}
	}
	return damage, notes
}
