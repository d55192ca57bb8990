package inspect

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"segue/storage/vfs"
)

// FuzzInspect verifies and dumps a directory of files of any content. Neither may panic or go on for ever, nor fail but
// for what a directory of a newer version is refused with.
func FuzzInspect(f *testing.F) {
	dir, folder := small(f)
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	data, index := read(filepath.Join(folder, "00000000000000000000.log")), read(filepath.Join(folder, "00000000000000000000.idx"))
	checkpoint, start := read(filepath.Join(folder, "partition.checkpoint")), read(filepath.Join(folder, "log-start-offset"))
	id, list := read(filepath.Join(folder, "partition.metadata")), read(filepath.Join(dir, "@catalog-0", "00000000000000000000.log"))
	f.Add(data, index, checkpoint, start, id, list)
	f.Add(data[:len(data)-7], index[:90], checkpoint[:50], start[:10], id[:15], list[:100])
	f.Add(append(data[:100:100], data...), []byte("segueidx\x01\x00\x00\x00"), []byte("segueckp"), []byte("seguelso"), []byte("version: 1"), data)
	f.Add(make([]byte, 5000), make([]byte, 80), make([]byte, 90), make([]byte, 20), []byte{}, make([]byte, 100))
	f.Fuzz(func(t *testing.T, data, index, checkpoint, start, id, list []byte) {
		disk := vfs.NewCrashable()
		put := func(folder, name string, content []byte) {
			if err := disk.MkdirAll(filepath.Join("/data", folder)); err != nil {
				t.Fatal(err)
			}
			file, err := disk.Create(filepath.Join("/data", folder, name))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteAt(content, 0); err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, base := range []string{"00000000000000000000", "00000000000000000007"} {
			put("orders-4", base+".log", data)
			put("orders-4", base+".idx", index)
		}
		put("orders-4", "00000000000000000099.idx", index)
		put("orders-4", "partition.checkpoint", checkpoint)
		put("orders-4", "log-start-offset", start)
		put("orders-4", "partition.metadata", id)
		put("@catalog-0", "00000000000000000000.log", list)
		if _, err := Verify(context.Background(), []string{"/data"}, VerifyOptions{FS: disk, Deep: true, Out: io.Discard}); err != nil {
			t.Fatal(err)
		}
		for _, asJSON := range []bool{false, true} {
			if _, err := Dump(context.Background(), []string{"/data", "/data/orders-4/00000000000000000000.idx"},
				DumpOptions{FS: disk, Records: true, JSON: asJSON, Out: io.Discard}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
