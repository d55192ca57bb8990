package storage

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"segue/storage/record"
	"segue/storage/vfs"
)

// FuzzRecover opens a log over files of any content. It must not panic, and what it then holds must be sound: offsets
// ascend, every batch that can be read has its checksum, an append goes to the end, and a reopen finds the same.
func FuzzRecover(f *testing.F) {
	var good []byte
	var next record.Offset
	for i := range 12 {
		b := numbered(f, next, 3, int64(1000+i), 200, record.None)
		b.SetBaseOffset(next)
		b.SetLeaderEpoch(1)
		next = b.NextOffset()
		good = append(good, b.Bytes()...)
	}
	f.Add(good, []byte{}, []byte{}, []byte{}, false)
	f.Add(good[:len(good)-7], good, []byte{}, []byte{}, true)
	f.Add(append(append([]byte(nil), good[:300]...), good...), []byte("segueidx\x01\x00\x00\x00"), []byte("segueckp"), []byte("seguelso"), true)
	f.Add(append(append([]byte(nil), good...), make([]byte, 5000)...), make([]byte, 80), make([]byte, 90), make([]byte, 20), false)
	f.Fuzz(func(t *testing.T, data, index, checkpoint, start []byte, sameBoot bool) {
		disk := vfs.NewCrashable()
		folder := filepath.Join("/data", testID.Folder())
		if err := disk.MkdirAll(folder); err != nil {
			t.Fatal(err)
		}
		put := func(name string, content []byte) {
			if len(content) == 0 {
				return
			}
			if err := writeFile(disk, filepath.Join(folder, name), content); err != nil {
				t.Fatal(err)
			}
		}
		put(segmentName(0)+dataSuffix, data)
		put(segmentName(36)+dataSuffix, data[:len(data)/3])
		put(segmentName(0)+indexSuffix, index)
		put(segmentName(36)+indexSuffix, append(slices.Clone(index), 0)) // without one, another name than its first offset is refused
		put("fold"+checkpointSuffix, checkpoint)
		put(startFile, start)
		if sameBoot {
			if err := writeFile(disk, filepath.Join("/data", runFile), []byte(`{"version":1,"boot_id":"`+disk.BootID()+`"}`)); err != nil {
				t.Fatal(err)
			}
		}
		first := openAndRead(t, disk, true)
		if first == nil {
			return
		}
		if second := openAndRead(t, disk, false); len(second) != len(first) {
			t.Fatalf("%d batches after a reopen, %d before", len(second), len(first))
		}
	})
}

// openAndRead returns the base offsets of all batches that can be read, after an append if write is set; nil if the
// files were refused.
func openAndRead(t *testing.T, disk vfs.FS, write bool) (bases []record.Offset) {
	t.Helper()
	ctx := context.Background()
	d, err := OpenDir("/data", Options{FS: disk, Log: zerolog.Nop(), Reserve: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	l, err := d.Open(ctx, testID, testConfig(), &events{}, nil)
	if err != nil {
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) && !errors.Is(err, ErrUnsupported) {
			t.Fatal(err)
		}
		return nil
	}
	if write {
		_, _, end := l.Bounds()
		base, _, err := l.Append(ctx, 1<<30, numbered(t, end, 2, 5000, 10, record.None))
		if err != nil || base != end {
			t.Fatalf("append at %d, the log ends at %d: %v", base, end, err)
		}
	}
	if err := l.sync(ctx); err != nil {
		t.Fatal(err)
	}
	from, committed, _ := l.Bounds()
	for last := record.Offset(-1); from < committed; {
		c, err := l.Read(ctx, from, committed, 1, true)
		var corrupt *CorruptError
		if errors.As(err, &corrupt) {
			if from++; from-last > 1<<12 {
				return bases // a damaged stretch of very many offsets: what lies behind is not worth the time
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.Length == 0 {
			break
		}
		for _, b := range batches(t, c) {
			if b.BaseOffset() <= last {
				t.Fatalf("batch at %d after one that ends at %d", b.BaseOffset(), last)
			}
			last = b.LastOffset()
			bases = append(bases, b.BaseOffset())
			from = b.NextOffset()
		}
	}
	return bases
}
