package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"segue/storage/record"
	"segue/storage/vfs"
)

// damageBench writes five sealed segments: in the second, which gets damaged, and in the fourth are older values of keys
// that are deleted in the fifth.
func damageBench(t *testing.T, damage func(fsys vfs.FS, path string)) *bench {
	b := newCompactBench(t, vfs.NewCrashable(), func(b *bench) { b.cfg.SegmentBytes = 150 })
	for _, batch := range [][]string{{"x=1", "y=1"}, {"a=1", "y=2"}, {"b=1", "z=1"}, {"x=2", "z=2"}, {"a", "b"}, {"hot=1"}} {
		b.put(batch...)
		b.seal()
	}
	b.put("hot=2")
	b.close()
	damage(b.fs, filepath.Join(b.path, testID.Folder(), segmentName(2)+dataSuffix))
	b.open()
	return b
}

func overwrite(t *testing.T, fsys vfs.FS, path string, change func(b []byte)) {
	t.Helper()
	b, err := readFile(fsys, path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	change(b)
	f, err := fsys.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCompactionLeavesDamage: a damaged segment stays as it is, byte for byte; what is around it is compacted, and a
// tombstone behind it stays for ever, since it may be of a key that nobody can read.
func TestCompactionLeavesDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := damageBench(t, func(fsys vfs.FS, path string) {
			overwrite(t, fsys, path, func(b []byte) { b[record.HeaderSize+3] ^= 1 })
		})
		path := filepath.Join(b.path, testID.Folder(), segmentName(2)+dataSuffix)
		was, err := readFile(b.fs, path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			b.compact()
			time.Sleep(24 * time.Hour)
		}
		if is, err := readFile(b.fs, path, 1<<20); err != nil || !slices.Equal(is, was) {
			t.Fatal("the damaged segment has changed", err)
		}
		s := b.dir.Stats()
		if s.Compactions == 0 || s.CompactDamaged == 0 || s.CompactFailures != 0 {
			t.Fatalf("%+v", s)
		}
		_, committed, _ := b.log.Bounds()
		all, err := readBatches(b.log, 4, committed, 300)
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, batch := range all {
			for r := range batch.Records(nil) {
				left = append(left, string(r.Key)+"="+string(r.Value))
			}
		}
		if want := []string{"x=2", "z=2", "a=", "b=", "hot=1", "hot=2"}; !slices.Equal(left, want) {
			t.Fatal(left)
		}
	})
}

// TestCompactionKeepsWhatItCannotRead: a batch that is sound and cannot be unpacked stays whole, what it claims to hold
// supersedes nothing, and tombstones behind it stay.
func TestCompactionKeepsWhatItCannotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCompactBench(t, vfs.NewCrashable(), func(b *bench) { b.opts.DecompressLimit = 2000 })
		b.put("a=1", "b=1")
		bb := record.NewBuilder(0)
		bb.Compression.Codec, bb.Compressor = record.Gzip, new(record.Compressor)
		bb.Add(time.Now().UnixMilli(), []byte("a"), make([]byte, 10_000))
		batch, err := bb.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.log.Append(context.Background(), 1, batch); err != nil {
			t.Fatal(err)
		}
		b.put("b", "c")
		b.put("d=1")
		b.seal()
		b.put("hot=1")
		for range 2 {
			b.compact()
			time.Sleep(24 * time.Hour)
		}
		_, committed, _ := b.log.Bounds()
		all, err := readBatches(b.log, 0, committed, 300)
		if err != nil {
			t.Fatal(err)
		}
		var bases []record.Offset
		var counts []int32
		for _, b := range all {
			bases, counts = append(bases, b.BaseOffset()), append(counts, b.Count())
		}
		if !slices.Equal(bases, []record.Offset{0, 2, 3, 5, 6}) || !slices.Equal(counts, []int32{1, 1, 2, 1, 1}) {
			t.Fatal(bases, counts)
		}
		if s := b.dir.Stats(); s.CompactUnread == 0 || s.CompactFailures != 0 {
			t.Fatalf("%+v", s)
		}
	})
}

// TestDamagedSwap: a file that is to take the place of segments and has been damaged since does not take them with it.
func TestDamagedSwap(t *testing.T) {
	b := newCompactBench(t, nil, nil)
	for range 2 {
		b.put("a=1", "b=1")
		b.put("a=2", "c=1")
		b.seal()
	}
	b.put("hot=1")
	b.close()
	folder := filepath.Join(b.path, testID.Folder())
	data, err := os.ReadFile(filepath.Join(folder, segmentName(0)+dataSuffix))
	if err != nil {
		t.Fatal(err)
	}
	data[record.HeaderSize+3] ^= 1
	if err := os.WriteFile(filepath.Join(folder, swapName(0, 8)+swapSuffix), data, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := Inspect(b.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	damaged, told := false, false
	_, err = in.VerifyLog(context.Background(), testID, VerifyOptions{Report: func(f Finding) {
		damaged = damaged || !f.Note && strings.HasSuffix(f.File, swapSuffix)
		told = told || f.Note && strings.HasSuffix(f.File, swapSuffix)
	}})
	if err != nil || !damaged || !told {
		t.Fatal(damaged, told, err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	b.open()
	var corrupt *CorruptError
	if _, err := b.log.Read(context.Background(), 0, 8, 10, true); !errors.As(err, &corrupt) {
		t.Fatal(err)
	}
	var kept []string
	entries, err := b.fs.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name, cutSuffix) {
			kept = append(kept, e.Name)
		}
	}
	if !slices.Equal(kept, []string{segmentName(0) + cutSuffix, segmentName(4) + cutSuffix}) || b.dir.Stats().Damage == 0 {
		t.Fatal(kept, b.dir.Stats().Damage)
	}
}

// TestCompactionOfKafkasSegments: what Kafka has compacted has gaps at the edges of segments too, and is compacted on.
func TestCompactionOfKafkasSegments(t *testing.T) {
	b := newCompactBench(t, nil, func(b *bench) { b.cfg.SegmentBytes = 250 })
	for range 3 { // 0-3, 4-7, 8-11
		b.put("a=1", "b=1")
		b.put("c=1", "d=1")
		b.seal()
	}
	b.put("hot=1")
	want := b.contents()
	b.close()
	folder := filepath.Join(b.path, testID.Folder())
	for _, base := range []record.Offset{0, 4, 8} {
		path := filepath.Join(folder, segmentName(base))
		data, err := os.ReadFile(path + dataSuffix)
		if err != nil {
			t.Fatal(err)
		}
		first, rest, err := record.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		switch base {
		case 4:
			data = rest // a gap at the beginning
		default:
			data = first.Bytes() // or at the end
		}
		if err := os.WriteFile(path+dataSuffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+kafkaIndexSuffix, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path + indexSuffix); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{cleanCheckpoint, cleanedCheckpoint} {
		_ = os.Remove(filepath.Join(folder, name+checkpointSuffix))
	}
	want = []string{want[0], want[3], want[4], want[6]}
	b.open()
	b.wantContents(want...)
	b.compact()
	want = []string{"0-1:", "6-7: 6 c=1 7 d=1", "8-9: 8 a=1 9 b=1", want[3]}
	b.wantContents(want...)
	for range 2 {
		b.reopen()
		b.wantContents(want...)
		if s := b.dir.Stats(); s.Damage+s.Cuts != 0 {
			t.Fatalf("%+v", s)
		}
	}
}
