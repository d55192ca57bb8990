package inspect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/internal/catalog"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
)

// TestSoundDirectories verifies what brokers leave behind, of every kind. Nothing is to be found in it.
func TestSoundDirectories(t *testing.T) {
	tests := []struct {
		name    string
		configs map[string]string
		do      func(s *stage)
		notes   bool // there may be some
	}{
		{name: "empty", do: func(*stage) {}},
		{name: "filled", do: func(s *stage) { s.fill(30) }},
		{name: "with a checkpoint in the middle", do: func(s *stage) {
			s.fill(10)
			s.save()
			s.fill(10)
		}},
		{name: "opened again", do: func(s *stage) {
			s.fill(10)
			s.close()
			s.open()
			s.fill(10)
		}},
		{name: "with deleted records", notes: true, do: func(s *stage) {
			s.fill(30)
			s.save()
			if err := s.log.DeleteBefore(context.Background(), 25); err != nil {
				s.t.Fatal(err)
			}
		}},
		{name: "with all records deleted", notes: true, do: func(s *stage) {
			s.fill(30)
			s.save()
			if err := s.log.DeleteBefore(context.Background(), 60); err != nil {
				s.t.Fatal(err)
			}
		}},
		{name: "of many commits", do: func(s *stage) {
			for range 50 {
				s.commit(catalog.ReserveProducerIDs{Count: 10})
			}
		}},
		{name: "compressed", do: func(s *stage) {
			for range 10 {
				s.append(func(b *record.Builder) {
					b.Compression.Codec, b.Compressor = record.Zstd, new(record.Compressor)
					b.Add(1, nil, bytes.Repeat([]byte("x"), 1000))
				})
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t, tt.configs)
			tt.do(s)
			killed := s.copy()
			s.close()
			for how, dir := range map[string]string{"killed": killed, "stopped": s.path} {
				for _, deep := range []bool{false, true} {
					out, r := verify(t, VerifyOptions{Deep: deep}, dir)
					if tt.notes && r.Damaged == 0 {
						continue // the cleaner was in the middle of removing files
					}
					if r.Damaged > 0 || r.Notes > 0 || strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, ": sound\n") {
						t.Errorf("%s, deep %v: %s", how, deep, out)
					}
				}
			}
		})
	}
}

// TestGapsOfCompaction verifies a log with gaps, which compaction leaves. The catalog says whether they may be there.
func TestGapsOfCompaction(t *testing.T) {
	for _, compacted := range []bool{true, false} {
		s := newStage(t, map[string]string{"cleanup.policy": map[bool]string{true: "compact", false: "delete"}[compacted]})
		s.fill(30)
		s.close()
		names, err := filepath.Glob(filepath.Join(s.path, s.id.Folder(), "*.log"))
		if err != nil || len(names) < 4 {
			t.Fatal(names, err)
		}
		// A segment that compaction has emptied.
		for _, name := range []string{names[1], strings.TrimSuffix(names[1], ".log") + ".idx"} {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		out, r := verify(t, VerifyOptions{}, s.path)
		if (r.Damaged == 0) != compacted {
			t.Errorf("compacted %v: %s", compacted, out)
		}
	}
}

// TestFindings looks at how damage is told: a line each, which names the file, the place, the offsets, what is wrong and
// what will come of it.
func TestFindings(t *testing.T) {
	s := newStage(t, nil)
	s.fill(30)
	s.close()
	first := filepath.Join(s.id.Folder(), "00000000000000000000.log")
	flip := func(name string, at int) func(dir string) error {
		return func(dir string) error {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			data[at] ^= 1
			return os.WriteFile(filepath.Join(dir, name), data, 0o644)
		}
	}
	rename := func(from, to string) func(dir string) error {
		return func(dir string) error { return os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)) }
	}
	tests := []struct {
		name   string
		change func(dir string) error
		want   []string // on one line
		note   bool
	}{
		{"record", flip(first, 90), []string{"damaged", first + " byte 0 offsets 0 to 1: checksum mismatch", "clients find it"}, false},
		{"header", flip(first, 16), []string{"damaged", first + " byte 0 offsets 0 to 1: ", "magic is 3", "CORRUPT_MESSAGE"}, false},
		{"catalog", flip("@catalog-0/00000000000000000000.log", 100), []string{"damaged", "byte 0 offset 0: checksum", "does not start"}, false},
		{"catalog missing", rename("@catalog-0", "@gone"), []string{"damaged", "no catalog", "1 folder of topics", "does not start"}, false},
		{"topic id", flip(s.id.Folder()+"/partition.metadata", 22), []string{"damaged", "topic id", "checkpoint", "offline"}, false},
		{"folder of another topic", rename(s.id.Folder(), "other-0"), nil, false},
		{"topic that is not in the catalog", func(dir string) error {
			if err := os.Mkdir(filepath.Join(dir, "stranger-0"), 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "stranger-0", "partition.metadata"),
				[]byte("version: 0\ntopic_id: "+catalog.NewClusterID()+"\n"), 0o644)
		}, []string{"damaged", "stranger-0", "does not know", "does not start"}, false},
		{"run file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "segue.run"), []byte("garbage"), 0o644) },
			[]string{"damaged", "segue.run", "restarted"}, false},
		{"stray file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "core"), nil, 0o644) },
			[]string{"note", "core", "not a file of the broker's", "left alone"}, true},
		{"index missing", func(dir string) error { return os.Remove(filepath.Join(dir, strings.TrimSuffix(first, ".log")+".idx")) },
			[]string{"note", ".idx", "missing", "made again"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := s.copy()
			if err := tt.change(dir); err != nil {
				t.Fatal(err)
			}
			out, r := verify(t, VerifyOptions{}, dir)
			if tt.want == nil {
				return // that it can be looked at is all
			}
			if (r.Damaged == 0) != tt.note || tt.note && r.Notes != 1 {
				t.Errorf("%+v", r)
			}
			lines := strings.Split(out, "\n")
			for _, line := range lines {
				all := true
				for _, want := range tt.want {
					all = all && strings.Contains(line, want)
				}
				if all {
					return
				}
			}
			t.Errorf("no line says %q:\n%s", tt.want, out)
		})
	}
}

// TestOneFolder verifies the folder of a log alone, and the same with the deep look inside a batch whose checksum is right
// and whose records are not.
func TestOneFolder(t *testing.T) {
	s := newStage(t, nil)
	s.fill(3)
	b := record.NewBuilder(0)
	b.Add(1, nil, []byte("odd"))
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	batch.Bytes()[record.HeaderSize+1] = 0xff // of the record, not of the batch
	batch.Bytes()[record.HeaderSize] = 2
	batch.SetLogAppendTime(5) // which computes the checksum anew
	if _, _, err := s.log.Append(context.Background(), 7, batch); err != nil {
		t.Fatal(err)
	}
	s.close()
	folder := filepath.Join(s.path, s.id.Folder())
	if out, r := verify(t, VerifyOptions{}, folder); r.Damaged != 0 || r.Logs != 1 || r.Batches != 4 {
		t.Errorf("%+v: %s", r, out)
	}
	if out, r := verify(t, VerifyOptions{Deep: true}, folder); r.Damaged != 1 || !strings.Contains(out, "offset 6") {
		t.Errorf("deep: %s", out)
	}
}

func TestVerifyRefuses(t *testing.T) {
	s := newStage(t, nil)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "segue.run"), []byte(`{"version":99}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		dir, want string
		err       error
	}{
		{s.path, "stop the broker", vfs.ErrLocked},
		{filepath.Join(s.path, "none"), "none", os.ErrNotExist},
		{file, "not a directory", nil},
		{newer, "newer broker", storage.ErrUnsupported},
	} {
		_, err := Verify(context.Background(), []string{tt.dir}, VerifyOptions{Out: io.Discard})
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.dir, err)
		}
	}
	s.close()
}

func TestProgressIsDrawn(t *testing.T) {
	s := newStage(t, nil)
	s.fill(30)
	s.close()
	var drawn bytes.Buffer
	if out, _ := verify(t, VerifyOptions{Progress: &drawn}, s.path); !strings.HasSuffix(out, "sound\n") {
		t.Error(out)
	}
	if !strings.Contains(drawn.String(), "verifying") || !strings.Contains(drawn.String(), "KiB") {
		t.Errorf("%q", &drawn)
	}
}
