package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"segue/storage/record"
	"segue/storage/vfs"
)

// changesDisk says whether an operation leaves something behind on the disk, or a file open.
func changesDisk(op vfs.Op) bool {
	switch op.Kind {
	case vfs.OpCreate, vfs.OpOpenFile, vfs.OpRename, vfs.OpRemove, vfs.OpRemoveAll, vfs.OpMkdir, vfs.OpMkdirAll, vfs.OpSyncDir, vfs.OpWrite,
		vfs.OpTruncate, vfs.OpAllocate, vfs.OpSyncFile, vfs.OpMap, vfs.OpSyncMapping, vfs.OpBulkSync:
		return true
	}
	return false
}

// TestClosedLogIsOnlyRead opens and closes a log that was closed: nothing of it is written or stays open until a
// batch is appended.
func TestClosedLogIsOnlyRead(t *testing.T) {
	var (
		mu   sync.Mutex // guards told, which syncs behind add to
		told []string
	)
	disk := vfs.Inject(vfs.NewCrashable(), func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(op.Name, testID.Folder()) && changesDisk(op) {
			told = append(told, op.String())
		}
		return nil
	})
	b := &bench{t: t, fs: disk, path: "/data", cfg: testConfig()}
	b.cfg.SegmentBytes = 2000
	b.open()
	for b.segments() < 3 {
		b.append(3, 0)
	}
	end := b.append(3, 0) + 3
	b.close()
	told = nil
	for range 2 {
		b.open()
		b.wantBounds(0, end, end)
		if !b.log.hot.resting || b.dir.handles.count() != 0 {
			t.Errorf("after the open: resting %v, %d files open", b.log.hot.resting, b.dir.handles.count())
		}
		b.close()
	}
	if told != nil {
		t.Errorf("a log that nobody writes to: %s", told)
	}
	b.open()
	b.wantAll(0, end)
	segments := b.segments()
	if base := b.append(3, 0); base != end || b.segments() != segments {
		t.Errorf("appended at %d, and there are %d segments", base, b.segments())
	}
	b.sync()
	b.wantAll(0, end+3)
	b.close()
}

// TestKillBehindAClosedLog kills the broker at every operation of the first append to a log that was closed, and cuts the
// power there.
func TestKillBehindAClosedLog(t *testing.T) {
	for stop, more := 0, true; more; stop++ {
		for _, power := range []bool{false, true} {
			disk := vfs.NewCrashable()
			var (
				mu      sync.Mutex // guards what follows
				n       = -1
				reached bool
				left    *vfs.Crashable
			)
			inject := vfs.Inject(disk, func(op vfs.Op) error {
				mu.Lock()
				defer mu.Unlock()
				if n >= 0 && strings.Contains(op.Name, testID.Folder()) {
					if n == stop {
						reached = true
						if left = disk.Kill(); power {
							left = disk.Crash(rand.New(rand.NewPCG(uint64(stop), 1)))
						}
					}
					n++
				}
				return nil
			})
			b := &bench{t: t, fs: inject, path: "/data", cfg: testConfig()}
			b.open()
			for range 40 { // so many that the index has entries
				b.append(3, 0)
			}
			b.reopen()
			mu.Lock()
			n = 0
			mu.Unlock()
			b.append(3, 0)
			b.sync()
			b.close()
			if more = reached; !reached {
				break
			}
			c := &bench{t: t, fs: left, path: "/data", cfg: testConfig()}
			c.open()
			if end := c.end(); end != 120 && end != 123 {
				t.Errorf("killed at operation %d: the log ends at %d", stop, end)
			}
			c.wantAll(0, c.end())
			c.append(3, 0)
			c.sync()
			c.wantAll(0, c.end())
			c.close()
		}
	}
}

// TestWhatIsNotAsACloseLeavesIt changes a log that was closed. Then it is checked like any other, and closed again it rests.
func TestWhatIsNotAsACloseLeavesIt(t *testing.T) {
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			b[at] ^= 1
			return b
		}
	}
	path := func(folder, suffix string) string { return filepath.Join(folder, segmentName(0)+suffix) }
	for name, change := range map[string]func(t *testing.T, folder string){
		"the index is open":          func(t *testing.T, f string) { edit(t, path(f, indexSuffix), flip(12)) },
		"an index entry has changed": func(t *testing.T, f string) { edit(t, path(f, indexSuffix), flip(indexHeaderSize)) },
		"the note of syncs is gone":  func(t *testing.T, f string) { edit(t, path(f, indexSuffix), flip(noteAt)) },
		"the index is cut":           func(t *testing.T, f string) { edit(t, path(f, indexSuffix), func(b []byte) []byte { return b[:90] }) },
		"the index is empty":         func(t *testing.T, f string) { edit(t, path(f, indexSuffix), func([]byte) []byte { return nil }) },
		"the index is missing":       func(t *testing.T, f string) { removeAll(t, f, "*"+indexSuffix) },
		"the checkpoint is missing":  func(t *testing.T, f string) { removeAll(t, f, "*"+checkpointSuffix) },
		"half a batch was written": func(t *testing.T, f string) {
			edit(t, path(f, dataSuffix), func(b []byte) []byte { return append(b, b[:50]...) })
		},
		"Kafka's index stands beside": func(t *testing.T, f string) { touch(t, path(f, kafkaIndexSuffix)) },
		"the last header is not sound": func(t *testing.T, f string) {
			edit(t, path(f, dataSuffix), func(b []byte) []byte { b[len(b)-lastSize(b)+16] = 9; return b })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBooted(t, nil)
			for range 40 {
				b.append(3, 0)
			}
			b.close()
			folder := filepath.Join(b.path, testID.Folder())
			change(t, folder)
			b.open()
			if b.log.hot.resting {
				t.Fatal("it was taken as it is")
			}
			b.wantBounds(0, 120, 120)
			damaged := b.dir.Stats().Damage > 0
			if want := name == "the last header is not sound"; damaged != want {
				t.Fatalf("damage %v", damaged)
			}
			if damaged {
				return
			}
			b.wantAll(0, 120)
			b.reopen()
			if rests := b.log.hot.resting; rests != (name != "Kafka's index stands beside") {
				t.Errorf("closed again, it rests: %v", rests)
			}
			b.append(3, 0)
			b.sync()
			b.wantAll(0, 123)
		})
	}
}

// touch makes a file.
func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// lastSize returns the size of the last of some batches.
func lastSize(b []byte) int {
	for {
		h, err := record.ParseHeader(b)
		if err != nil || h.Size() >= len(b) {
			return len(b)
		}
		b = b[h.Size():]
	}
}

// TestClosedLogOnAFullDisk appends to a log that was closed when there is no room for its index. The append fails as any
// does for want of room, and the next one goes on in the same segment.
func TestClosedLogOnAFullDisk(t *testing.T) {
	full := false
	disk := vfs.Inject(vfs.NewCrashable(), func(op vfs.Op) error {
		if full && op.Kind == vfs.OpAllocate && strings.HasSuffix(op.Name, indexSuffix) {
			return syscall.ENOSPC
		}
		return nil
	})
	b := &bench{t: t, fs: disk, path: "/data", cfg: testConfig()}
	b.open()
	b.append(3, 0)
	b.reopen()
	full = true
	if _, _, err := b.log.Append(context.Background(), 1, numbered(t, 3, 3, 0, 20, record.None)); !errors.Is(err, ErrNotWritten) || !IsFull(err) {
		t.Error(err)
	}
	full = false
	if base := b.append(3, 0); base != 3 || b.segments() != 1 {
		t.Errorf("appended at %d, and there are %d segments", base, b.segments())
	}
	b.sync()
	b.reopen()
	b.wantAll(0, 6)
	b.close()
}

// TestCheckpointsOfManyLogs has many logs save side by side, so that they share syncs, and cuts the power after each:
// whoever has a checkpoint has a whole one.
func TestCheckpointsOfManyLogs(t *testing.T) {
	for seed := range uint64(5) {
		disk := vfs.NewCrashable()
		disk.SetBulkSync(true)
		b := &bench{t: t, fs: disk, path: "/data", cfg: testConfig(), opts: Options{BulkFlush: 1}}
		b.open()
		logs := []*Log{b.log}
		for n := range int32(40) {
			id := testID
			id.Partition += n + 1
			l, err := b.dir.Open(context.Background(), id, b.cfg, &events{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			logs = append(logs, l)
		}
		crashed := make(chan *vfs.Crashable, len(logs))
		errs := make(chan error, len(logs))
		for i, l := range logs {
			go func() {
				_, _, err := l.Append(context.Background(), 1, numbered(t, 0, 1, 0, 20, record.None))
				err = errors.Join(err, l.sync(context.Background()), l.Save(context.Background(), "fold", 1, []byte(l.id.String())))
				crashed <- disk.Crash(rand.New(rand.NewPCG(seed, uint64(i))))
				errs <- err
			}()
		}
		for range logs {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		for range logs {
			left := <-crashed
			for _, l := range logs {
				path := filepath.Join(l.folder, "fold"+checkpointSuffix)
				if _, missing := left.Stat(path); missing != nil {
					continue
				}
				p, state, err := readCheckpoint(left, path, l.id.TopicID)
				if err != nil || p.at != 1 || string(state) != l.id.String() {
					t.Fatalf("seed %d: %s: %v %q %v", seed, l.id, p.at, state, err)
				}
			}
		}
		b.close()
	}
}

// TestJointSyncThatFails has everybody sync for himself who began to write before a bulk sync that has failed, whichever
// they share.
func TestJointSyncThatFails(t *testing.T) {
	errBulk := fmt.Errorf("bulk")
	fail := true
	j := &joint{bulk: fakeSyncer(func() error {
		if fail {
			return errBulk
		}
		return nil
	}), min: 1, turn: make(chan struct{}, 1)}
	own := 0
	count := func() error { own++; return nil }
	early := j.doubt.Load()
	if err := j.sync(early, count); err != nil || own != 1 {
		t.Error(err, own)
	}
	fail = false
	if err := j.sync(early, count); err != nil || own != 2 {
		t.Error("a sync after the failed one was trusted", err, own)
	}
	if err := j.sync(j.doubt.Load(), count); err != nil || own != 2 {
		t.Error(err, own)
	}
	fail = true
	if err := j.sync(j.doubt.Load(), func() error { return errBulk }); !errors.Is(err, errBulk) {
		t.Error(err)
	}
}

type fakeSyncer func() error

func (f fakeSyncer) Sync() error { return f() }
func (fakeSyncer) Close() error  { return nil }
