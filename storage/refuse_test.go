package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"segue/storage/record"
	"segue/storage/vfs"
)

// TestLogStartAboveTheEnd opens a log whose start lies above all that it holds. Either the file is another log's, or
// segments are missing: the records below it may be wanted yet, so they are set aside, and the log goes on at its start.
func TestLogStartAboveTheEnd(t *testing.T) {
	for _, at := range []record.Offset{121, 1000} {
		for _, stopped := range []bool{false, true} {
			b := newBooted(t, func(b *bench) { b.cfg.SegmentBytes = 1500 })
			for range 40 {
				b.append(3, 0)
			}
			b.sync()
			if stopped {
				b.close()
				defer b.open()
			}
			c := b.crashCopy(func(folder string) {
				r, err := findReserve(vfs.OS(), filepath.Join(t.TempDir(), "reserve"), 1, zerolog.Nop())
				if err == nil {
					err = (&Log{dir: &Dir{fs: vfs.OS(), reserve: r}, folder: folder}).writeStart(at)
				}
				if err != nil {
					t.Fatal(err)
				}
			}, otherBoot)
			c.wantBounds(at, at, at)
			kept := glob(t, filepath.Join(c.path, testID.Folder()), "*"+cutSuffix)
			if len(kept) != 5 {
				t.Errorf("set aside: %q", kept)
			}
			if base := c.append(1, 0); base != at {
				t.Errorf("the next append is at %d, want %d", base, at)
			}
			c.sync()
			c.reopen()
			c.wantBounds(at, at+1, at+1)
		}
	}
}

// TestUnreadableFile opens a log of which one file cannot be read: it belongs to another user, say. That is no damage: the
// log is refused, and nothing is changed.
func TestUnreadableFile(t *testing.T) {
	b := newBooted(t, func(b *bench) { b.cfg.SegmentBytes = 1500 })
	for range 40 {
		b.append(3, 0)
	}
	b.sync()
	for _, name := range []string{dataSuffix, indexSuffix, metadataFile} {
		to := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(to, os.DirFS(b.path)); err != nil {
			t.Fatal(err)
		}
		before := snapshot(t, filepath.Join(to, testID.Folder()))
		c := &bench{t: t, path: to, cfg: b.cfg}
		c.fs = vfs.Inject(bootedFS{vfs.OS(), otherBoot}, func(op vfs.Op) error {
			if (op.Kind == vfs.OpOpen || op.Kind == vfs.OpOpenFile) && strings.HasSuffix(op.Name, name) {
				return fs.ErrPermission
			}
			return nil
		})
		if err := c.tryOpen(); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", name, err)
			c.close()
		}
		if after := snapshot(t, filepath.Join(to, testID.Folder())); !slices.Equal(before, after) {
			t.Errorf("%s: the folder was\n%q\nand is\n%q", name, before, after)
		}
		c.fs = bootedFS{vfs.OS(), otherBoot}
		c.open()
		c.wantAll(0, 120)
		c.close()
	}
}

// TestTopicIDByCheckpoint opens a folder that has lost its topic id, for the topic that a checkpoint in it names and for
// another one of that name, which must not be given the records.
func TestTopicIDByCheckpoint(t *testing.T) {
	b := newBench(t, nil, nil)
	b.append(3, 1000)
	b.close()
	if err := os.Remove(filepath.Join(b.path, testID.Folder(), metadataFile)); err != nil {
		t.Fatal(err)
	}
	other := testID
	other.TopicID[0]++
	d, err := OpenDir(b.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Open(t.Context(), other, b.cfg, &events{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, end := l.Bounds(); end != 0 {
		t.Fatalf("another topic has %d records of it", end)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	stray := glob(t, b.path, "*"+straySuffix)
	if err := os.Rename(stray[0], filepath.Join(b.path, testID.Folder())); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.wantAll(0, 3)
}

// TestSmallBatchesBehindADamagedHeader reads what lies behind a damaged header below a checkpoint, where the index has no
// entry for it.
func TestSmallBatchesBehindADamagedHeader(t *testing.T) {
	b := newBooted(t, func(b *bench) { b.cfg.IndexInterval = 3000 })
	for range 40 {
		b.append(3, 0)
	}
	b.close()
	defer b.open()
	c := b.crashCopy(func(folder string) {
		edit(t, filepath.Join(folder, segmentName(0)+dataSuffix), func(data []byte) []byte {
			h, err := record.ParseHeader(data)
			if err != nil {
				t.Fatal(err)
			}
			data[h.Size()+magicAt] ^= 1
			return data
		})
	}, otherBoot)
	c.wantBounds(0, 120, 120)
	if got := c.readable(); len(got) != 117 || got[3] != 6 {
		t.Fatalf("%d records can be read: %v", len(got), got)
	}
	if s := c.dir.Stats(); s.Damage != 1 || s.CorruptReads == 0 {
		t.Fatalf("%+v", s)
	}
}

// TestLengthThatLeadsTwoBatchesOn damages the length of a batch among others of the same size, so that it leads to the
// start of the batch after the next one. The next one is not lost with it.
func TestLengthThatLeadsTwoBatchesOn(t *testing.T) {
	const size = 128 // so that one bit more makes it twice as long
	b := newBooted(t, nil)
	for range 10 {
		batch := numbered(t, b.end(), 1, 0, 0, record.None)
		batch = numbered(t, b.end(), 1, 0, size-batch.Size()-1, record.None) // the length of the value takes a byte more then
		if batch.Size() != size {
			t.Fatalf("a batch of %d bytes", batch.Size())
		}
		if _, _, err := b.log.Append(t.Context(), 1, batch); err != nil {
			t.Fatal(err)
		}
	}
	b.sync()
	for _, n := range []int{0, 3, 8} {
		c := b.crashCopy(func(folder string) {
			edit(t, filepath.Join(folder, segmentName(0)+dataSuffix), func(data []byte) []byte {
				data[n*size+lengthAt+3] ^= size
				return data
			})
		}, otherBoot)
		c.wantBounds(0, 10, 10)
		if got := c.readable(); len(got) != 9 || slices.Contains(got, record.Offset(n)) {
			t.Fatalf("batch %d: %v can be read", n, got)
		}
	}
}
