package inspect

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/storage/record"
)

var update = flag.Bool("update", false, "write the golden files anew")

// small makes a small directory that is the same in each run, and returns it and the folder of its log.
func small(t testing.TB) (dir, folder string) {
	s := newStage(t, nil)
	s.append(func(b *record.Builder) {
		b.Add(1_700_000_000_000, []byte("k1"), []byte("one"))
		b.Add(1_700_000_000_500, nil, []byte{0xff, 0x00})
		b.Add(1_700_000_001_000, []byte(""), nil, record.RecordHeader{Key: "trace", Value: []byte("a\nb")}, record.RecordHeader{Key: "none"})
	})
	s.append(func(b *record.Builder) {
		b.Compression.Codec, b.Compressor = record.LZ4, new(record.Compressor)
		b.ProducerID, b.ProducerEpoch, b.BaseSequence = 1000, 2, 30
		b.Add(1_700_000_002_000, nil, []byte(strings.Repeat("packed ", 50)))
	})
	s.fill(6)
	s.save()
	if err := s.log.DeleteBefore(context.Background(), 2); err != nil {
		t.Fatal(err)
	}
	s.save()
	s.close()
	return s.path, filepath.Join(s.path, s.id.Folder())
}

// TestDumpGolden holds the output against files, which `go test -update` writes.
func TestDumpGolden(t *testing.T) {
	dir, folder := small(t)
	data := filepath.Join(folder, "00000000000000000000.log")
	damagedData := filepath.Join(t.TempDir(), "00000000000000000000.log")
	b, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	b[70] ^= 1
	if err := os.WriteFile(damagedData, b[:len(b)-5], 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		options DumpOptions
		path    string
		damaged bool
	}{
		{"folder", DumpOptions{}, folder, false},
		{"records", DumpOptions{Records: true}, folder, false},
		{"range", DumpOptions{Records: true, From: 2, To: 5}, data, false},
		{"json", DumpOptions{Records: true, JSON: true}, folder, false},
		{"index", DumpOptions{}, strings.TrimSuffix(data, ".log") + ".idx", false},
		{"index_json", DumpOptions{JSON: true}, strings.TrimSuffix(data, ".log") + ".idx", false},
		{"damaged", DumpOptions{Records: true}, damagedData, true},
		{"damaged_json", DumpOptions{JSON: true}, damagedData, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, damaged := dump(t, tt.options, tt.path)
			if damaged != tt.damaged {
				t.Errorf("damaged: %v", damaged)
			}
			out = strings.NewReplacer(dir, "DATA", filepath.Dir(damagedData), "ELSEWHERE").Replace(out)
			golden := filepath.Join("testdata", tt.name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if out != string(want) {
				t.Errorf("it prints\n%s\nand %s has\n%s", out, golden, want)
			}
			if tt.options.JSON {
				checkJSON(t, out)
			}
		})
	}
}

// checkJSON checks that each line is an object that says what it is and of which file.
func checkJSON(t *testing.T, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil || object["type"] == nil || object["file"] == nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestDumpOfTheCatalog: its changes are what one wants to see of it.
func TestDumpOfTheCatalog(t *testing.T) {
	dir, _ := small(t)
	out, _ := dump(t, DumpOptions{}, filepath.Join(dir, "@catalog-0"))
	if !strings.Contains(out, "value `{\"type\":\"CreateTopic\",\"version\":1,\"name\":\"orders\"") {
		t.Error(out)
	}
	all, _ := dump(t, DumpOptions{}, dir)
	if !strings.Contains(all, out) || !strings.Contains(all, "orders-4") {
		t.Error("a dump of the whole directory lacks something")
	}
}

func TestDumpRefuses(t *testing.T) {
	dir, _ := small(t)
	for _, path := range []string{filepath.Join(dir, "segue.run"), filepath.Join(dir, "none"), t.TempDir()} {
		if _, err := Dump(context.Background(), []string{path}, DumpOptions{Out: io.Discard}); err == nil {
			t.Errorf("%s is dumped", path)
		}
	}
}

// TestDumpOfWhatIsNone dumps files of garbage, by the names of all kinds.
func TestDumpOfWhatIsNone(t *testing.T) {
	for _, name := range []string{"00000000000000000000.log", "00000000000000000007.cut", "00000000000000000000.idx", "partition.checkpoint",
		"partition.metadata", "log-start-offset"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte("this is none"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, asJSON := range []bool{false, true} {
			if out, damaged := dump(t, DumpOptions{JSON: asJSON}, path); !damaged || !strings.Contains(out, name) {
				t.Errorf("%s: %s", name, out)
			}
		}
	}
}

// TestDumpOfMarkers: what ends a transaction is told in words, and a control batch that nobody understands is one still.
func TestDumpOfMarkers(t *testing.T) {
	for key, want := range map[string]string{
		"\x00\x00\x00\x00": "abort marker of coordinator epoch 7",
		"\x00\x00\x00\x01": "commit marker of coordinator epoch 7",
		"\x00\x00\x00\x02": ", control\n",
	} {
		b := record.NewBuilder(3)
		b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = 1000, 2, true, true
		b.Add(1_700_000_000_000, []byte(key), []byte("\x00\x00\x00\x00\x00\x07"))
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		(&textPrinter{&out}).batch(0, batch)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is told as %q, want %q", key, out.String(), want)
		}
	}
}
