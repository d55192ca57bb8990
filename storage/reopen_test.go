package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"segue/storage/record"
	"segue/storage/vfs"
)

// withBatchInside makes a batch of one record whose value holds a whole batch, as a topic has that backs up another
// one, and returns where in the outer one the inner one ends.
func withBatchInside(t *testing.T, base record.Offset) (outer record.Batch, end int) {
	t.Helper()
	build := func(base record.Offset, value []byte) record.Batch {
		bb := record.NewBuilder(base)
		bb.Add(1000, nil, value)
		batch, err := bb.Build()
		if err != nil {
			t.Fatal(err)
		}
		return batch
	}
	inner := build(1<<40, []byte("inner"))
	outer = build(base, slices.Concat(make([]byte, 100), inner.Bytes(), make([]byte, 100)))
	outer.SetLeaderEpoch(1)
	return outer, outer.Size() - 101 // behind the value comes the number of headers
}

// TestBatchInsideATornOne cuts the write of a batch short, in the value of which there is another batch. That one is
// nothing that the log holds.
func TestBatchInsideATornOne(t *testing.T) {
	b := newBooted(t, nil)
	for range 4 {
		b.append(3, 0)
	}
	b.sync()
	outer, inside := withBatchInside(t, b.end())
	for _, boot := range []string{sameBoot, otherBoot} {
		for _, length := range []int{inside - 1, inside, inside + 50, outer.Size() - 1} {
			t.Run(fmt.Sprintf("%s boot, %d of %d bytes", boot, length, outer.Size()), func(t *testing.T) {
				c := b.crashCopy(func(folder string) {
					edit(t, filepath.Join(folder, segmentName(0)+dataSuffix), func(data []byte) []byte {
						return append(data, outer.Bytes()[:length]...)
					})
				}, boot)
				c.wantBounds(0, 12, 12)
				c.wantAll(0, 12)
				if s := c.dir.Stats(); s.Damage != 0 || s.Cuts != 1 {
					t.Fatalf("%d stretches damaged, %d ends cut", s.Damage, s.Cuts)
				}
			})
		}
	}
}

// TestBatchInsideADamagedOne damages a batch in the value of which there is another one.
func TestBatchInsideADamagedOne(t *testing.T) {
	b := newBooted(t, nil)
	b.append(3, 0)
	outer, _ := withBatchInside(t, 3)
	if _, _, err := b.log.Append(context.Background(), 1, outer); err != nil {
		t.Fatal(err)
	}
	b.append(3, 0)
	b.sync()
	for _, at := range []int{record.HeaderSize + 20, 9, 16} { // in the value, the length, the magic
		t.Run(fmt.Sprintf("byte %d", at), func(t *testing.T) {
			c := b.crashCopy(func(folder string) {
				edit(t, filepath.Join(folder, segmentName(0)+dataSuffix), func(data []byte) []byte {
					h, err := record.ParseHeader(data)
					if err != nil {
						t.Fatal(err)
					}
					data[h.Size()+at] ^= 4
					return data
				})
			}, otherBoot)
			c.wantBounds(0, 7, 7)
			if got := c.readable(); !slices.Equal(got, []record.Offset{0, 1, 2, 4, 5, 6}) {
				t.Fatalf("read %v", got)
			}
		})
	}
}

// TestOldMessageFormatIsRefused opens a folder of a Kafka that wrote message format 0 or 1, which is neither torn nor
// damaged.
func TestOldMessageFormatIsRefused(t *testing.T) {
	for magic := range byte(2) {
		for _, foreign := range []bool{true, false} {
			t.Run(fmt.Sprintf("format %d, with Kafka's index %v", magic, foreign), func(t *testing.T) {
				body := []byte{magic, 0}
				if magic == 1 {
					body = binary.BigEndian.AppendUint64(body, 1000) // timestamp
				}
				body = binary.BigEndian.AppendUint32(body, 0xffffffff) // no key
				body = append(binary.BigEndian.AppendUint32(body, 5), "value"...)
				var messages []byte
				for i := range uint64(3) {
					messages = binary.BigEndian.AppendUint64(messages, i)
					messages = binary.BigEndian.AppendUint32(messages, uint32(4+len(body)))
					messages = binary.BigEndian.AppendUint32(messages, crc32.ChecksumIEEE(body))
					messages = append(messages, body...)
				}
				b := &bench{t: t, fs: vfs.OS(), path: filepath.Join(t.TempDir(), "data"), cfg: testConfig()}
				folder := filepath.Join(b.path, testID.Folder())
				if err := os.MkdirAll(folder, 0o755); err != nil {
					t.Fatal(err)
				}
				name := filepath.Join(folder, segmentName(0))
				if err := os.WriteFile(name+dataSuffix, messages, 0o644); err != nil {
					t.Fatal(err)
				}
				if foreign {
					if err := os.WriteFile(name+kafkaIndexSuffix, nil, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if err := b.tryOpen(); !errors.Is(err, ErrUnsupported) {
					t.Fatalf("open: %v, want %v", err, ErrUnsupported)
				}
				if data, err := os.ReadFile(name + dataSuffix); err != nil || len(data) != len(messages) {
					t.Fatalf("%d bytes of %d are left: %v", len(data), len(messages), err)
				}
			})
		}
	}
}

// TestNoteOfSyncsMayBeWrong flips bits in what an index header notes of syncs. An index is a hint: it must not move the
// end of the log.
func TestNoteOfSyncsMayBeWrong(t *testing.T) {
	b := newBooted(t, func(b *bench) { b.cfg.SegmentBytes = 1500 })
	for i := range 40 {
		b.append(3, int64(i))
	}
	b.sync()
	for _, boot := range []string{sameBoot, otherBoot} {
		for at := noteAt; at < indexHeaderSize; at += 3 {
			c := b.crashCopy(func(folder string) {
				for _, name := range glob(t, folder, "*"+indexSuffix) {
					edit(t, name, func(x []byte) []byte { x[at] ^= 0x20; return x })
				}
			}, boot)
			c.wantBounds(0, 120, 120)
			if s := c.dir.Stats(); s.Damage != 0 || s.Cuts != 0 {
				t.Fatalf("byte %d, %s boot: %d stretches damaged, %d ends cut", at, boot, s.Damage, s.Cuts)
			}
		}
	}
}

// TestWhatWasLostStaysLost opens a log whose synced end is missing, or a batch in the middle of it, again and again,
// with a kill or a power cut in between and no append. The offsets of the missing end are not handed out again, and
// what is behind a damaged batch is not cut off.
func TestWhatWasLostStaysLost(t *testing.T) {
	tests := []struct {
		name     string
		change   func([]byte) []byte
		readable int
	}{
		{"end", func(data []byte) []byte { return data[:len(data)-10] }, 27},
		{"middle", func(data []byte) []byte { data[len(data)/2+40] ^= 1; return data }, 27},
		{"last batch", func(data []byte) []byte { data[len(data)-2] ^= 1; return data }, 27},
	}
	for _, tt := range tests {
		for _, boots := range [][]string{{sameBoot, sameBoot}, {otherBoot, "third"}, {otherBoot, otherBoot, "third"}} {
			t.Run(fmt.Sprint(tt.name, boots), func(t *testing.T) {
				b := newBooted(t, nil)
				for range 10 {
					b.append(3, 0)
				}
				b.sync()
				c := b
				for i, boot := range boots {
					c = c.crashCopy(func(folder string) {
						if i == 0 {
							edit(t, filepath.Join(folder, segmentName(0)+dataSuffix), tt.change)
						}
					}, boot)
					c.wantBounds(0, 30, 30)
					if got := c.readable(); len(got) != tt.readable {
						t.Fatalf("open %d: %d records can be read: %v", i+1, len(got), got)
					}
					if s := c.dir.Stats(); s.Cuts != 0 {
						t.Fatalf("open %d: %d ends cut", i+1, s.Cuts)
					}
				}
			})
		}
	}
}

// TestCheckpointFromBeyondTheEnd has the last segment of a log disappear with what a checkpoint tells of. That the log
// grows past the checkpoint again does not make it true.
func TestCheckpointFromBeyondTheEnd(t *testing.T) {
	b := newBooted(t, func(b *bench) { b.cfg.SegmentBytes = 1500 })
	for i := range 40 {
		b.append(3, int64(i))
	}
	if err := b.log.Save(context.Background(), "fold", b.end(), []byte("sum")); err != nil {
		t.Fatal(err)
	}
	c := b.crashCopy(func(folder string) {
		logs := glob(t, folder, "*"+dataSuffix)
		if err := os.Remove(logs[len(logs)-1]); err != nil {
			t.Fatal(err)
		}
	}, otherBoot)
	end := c.end()
	if end >= 120 {
		t.Fatalf("the log ends at %d", end)
	}
	if _, _, err := c.log.Load(context.Background(), "fold"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	for c.end() < 150 {
		c.append(1, 0)
	}
	c.sync()
	d := c.crashCopy(nil, otherBoot)
	if at, _, err := d.log.Load(context.Background(), "fold"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a checkpoint of other records is given out, at %d: %v", at, err)
	}
	d.wantAll(0, 150)
}

// TestServedMeansDurable kills the process at each operation on the disk from the first on, opens the log, and cuts the
// power before anything is written. What the log has shown as committed in between is still there.
func TestServedMeansDurable(t *testing.T) {
	disk := vfs.NewCrashable()
	var mu sync.Mutex
	var killed []*vfs.Crashable
	b := &bench{t: t, path: "/srv/kafka/data", cfg: crashConfig(1)}
	b.fs = vfs.Inject(disk, func(op vfs.Op) error {
		switch op.Kind {
		case vfs.OpRead, vfs.OpStat, vfs.OpSize, vfs.OpReadDir, vfs.OpMap, vfs.OpClose, vfs.OpUnmap:
		default:
			mu.Lock()
			killed = append(killed, disk.Kill())
			mu.Unlock()
		}
		return nil
	})
	b.open()
	for i := range 8 {
		if _, _, err := b.log.Append(context.Background(), 1, numbered(t, b.end(), 2, 0, 1500, record.None)); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			b.sync()
		}
	}
	b.close()
	r := rand.New(rand.NewPCG(1, 9))
	for i, disk := range killed {
		k := &bench{t: t, fs: disk, path: b.path, cfg: b.cfg}
		k.open()
		served := k.end()
		cuts := []*vfs.Crashable{disk.Crash(r), disk.Crash(r), disk.Crash(r)}
		k.append(2, 0)
		k.sync()
		after := []*vfs.Crashable{disk.Crash(r), disk.Crash(r)}
		k.close()
		for j, cut := range append(cuts, after...) {
			want := served
			if j >= len(cuts) {
				want += 2
			}
			c := &bench{t: t, fs: cut, path: b.path, cfg: b.cfg}
			c.open()
			c.wantBounds(0, want, want)
			c.wantAll(0, want)
			c.close()
			if t.Failed() {
				t.Fatalf("killed at operation %d", i)
			}
		}
	}
}

// TestCrashWhileRecovering crashes again in the middle of opening what a crash has left: at each operation on the disk
// the process is killed once and the power is cut once. What was promised before the first crash still holds.
func TestCrashWhileRecovering(t *testing.T) {
	for seed := range uint64(orLong(2, 200)) {
		flush := int64(1 + 4*(seed%2))
		t.Run(fmt.Sprintf("flush.messages %d, seed %d", flush, seed), func(t *testing.T) {
			t.Parallel()
			type left struct {
				disk *vfs.Crashable
				p    promise
			}
			r := rand.New(rand.NewPCG(seed, 7))
			disk := vfs.NewCrashable()
			w := &workload{r: rand.New(rand.NewPCG(seed, 8))}
			var mu sync.Mutex
			var crashed []left
			b := &bench{t: t, path: "/data", cfg: crashConfig(flush)}
			b.fs = vfs.Inject(disk, func(op vfs.Op) error {
				mu.Lock()
				defer mu.Unlock()
				switch op.Kind {
				case vfs.OpRead, vfs.OpStat, vfs.OpSize, vfs.OpReadDir, vfs.OpMap, vfs.OpClose, vfs.OpUnmap:
					return nil
				}
				if w.b != nil && r.IntN(25) == 0 {
					p := w.promise()
					if flush > 1 {
						p.acked = 0
					}
					crashed = append(crashed, left{disk.Crash(r), p})
				}
				return nil
			})
			b.open()
			mu.Lock()
			w.b = b
			mu.Unlock()
			for range 60 {
				if err := w.step(); err != nil {
					t.Fatal(err)
				}
			}
			b.close()
			points := 0
			for _, first := range crashed {
				var again []*vfs.Crashable
				c := &bench{t: t, path: "/data", cfg: b.cfg}
				c.fs = vfs.Inject(first.disk, func(op vfs.Op) error {
					switch op.Kind {
					case vfs.OpRead, vfs.OpStat, vfs.OpSize, vfs.OpReadDir, vfs.OpMap, vfs.OpClose, vfs.OpUnmap:
					default:
						again = append(again, first.disk.Kill(), first.disk.Crash(r))
					}
					return nil
				})
				c.open()
				done := again
				c.close()
				points += len(done)
				for _, second := range done {
					survives(t, second, b.cfg, first.p)
				}
			}
			t.Logf("%d crashes, %d while recovering", len(crashed), points)
			if len(crashed) < 5 || points < 100 {
				t.Fatalf("only %d crashes and %d while recovering", len(crashed), points)
			}
		})
	}
}

// TestInterruptedRecovery fails the 1st, 2nd, 3rd… operation on the disk while a log is opened after a power cut that
// has taken a batch from the middle of what was not synced, and opens it again under the same boot id. The bytes are
// torn then as they were before: it was not this boot that wrote them.
func TestInterruptedRecovery(t *testing.T) {
	b := newBooted(t, func(b *bench) { b.cfg.SegmentBytes = 1500 })
	for range 14 {
		b.append(3, 0)
	}
	b.sync()
	end := b.end()
	var tail []byte
	for i := range 6 {
		batch := numbered(t, end+record.Offset(3*i), 3, 0, 20, record.None)
		batch.SetBaseOffset(end + record.Offset(3*i))
		batch.SetLeaderEpoch(1)
		data := slices.Clone(batch.Bytes())
		if i == 2 {
			data[len(data)-1] ^= 1
		}
		tail = append(tail, data...)
	}
	end += 6
	for n, met := 1, true; met; n++ {
		met = false
		path := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(path, os.DirFS(b.path)); err != nil {
			t.Fatal(err)
		}
		logs := glob(t, filepath.Join(path, testID.Folder()), "*"+dataSuffix)
		edit(t, logs[len(logs)-1], func(data []byte) []byte { return append(data, tail...) })
		fsys := bootedFS{vfs.OS(), otherBoot}
		c := &bench{t: t, path: path, cfg: b.cfg}
		c.fs = vfs.Inject(fsys, func(op vfs.Op) error {
			if op.N == n && op.Kind != vfs.OpUnlock {
				met = true
				return errors.New("interrupted")
			}
			return nil
		})
		if err := c.tryOpen(); err == nil {
			c.wantBounds(0, end, end)
			if s := c.dir.Stats(); s.Damage != 0 || s.Cuts != 1 {
				t.Fatalf("failure %d: %d stretches damaged, %d ends cut", n, s.Damage, s.Cuts)
			}
			c.dir.Close() // it may meet the failure
		}
		c.fs = fsys
		c.open()
		c.wantBounds(0, end, end)
		c.wantAll(0, end)
		if d := c.dir.Stats().Damage; d != 0 {
			t.Fatalf("failure %d: %d stretches damaged after another open", n, d)
		}
		c.close()
	}
}

// TestFailedWriteBeforeARoll has a write fail half-way, with what there is of it on the disk before it is cut off again,
// and the log go on in a new segment. After a power cut that takes the cut back, the rest of a batch is not to be found
// in the middle of the log.
func TestFailedWriteBeforeARoll(t *testing.T) {
	disk := vfs.NewCrashable()
	var broken atomic.Bool
	b := &bench{t: t, path: "/data", cfg: crashConfig(1)}
	b.fs = vfs.Inject(disk, func(op vfs.Op) error {
		switch {
		case op.Kind == vfs.OpWrite && broken.CompareAndSwap(true, false):
			return &vfs.ShortWrite{N: int(op.Length / 2), Err: syscall.ENOSPC}
		case op.Kind == vfs.OpTruncate && filepath.Ext(op.Name) == dataSuffix:
			f, err := disk.OpenFile(op.Name)
			if err != nil {
				return err
			}
			return errors.Join(f.Sync(), f.Close()) // as another sync may, at any time
		}
		return nil
	})
	b.open()
	put := func(size int) error {
		_, _, err := b.log.Append(context.Background(), 1, numbered(t, b.end(), 1, 0, size, record.None))
		return err
	}
	if err := put(4000); err != nil {
		t.Fatal(err)
	}
	b.sync()
	broken.Store(true)
	if err := put(4000); !errors.Is(err, ErrNotWritten) {
		t.Fatal(err)
	}
	if err := put(8000); err != nil {
		t.Fatal(err)
	}
	b.sync()
	if n := b.segments(); n != 2 {
		t.Fatalf("%d segments", n)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		if end := survives(t, disk.Crash(r), b.cfg, promise{acked: 2}); end != 2 {
			t.Fatalf("the log ends at %d", end)
		}
	}
	b.close()
}

// TestReopenAfterFailedSyncInTheSameRun opens a log again whose sync has failed, without opening its directory anew.
// What was not synced looks clean now and is on no disk; what the log then shows must nevertheless outlast the power.
func TestReopenAfterFailedSyncInTheSameRun(t *testing.T) {
	disk := vfs.NewCrashable()
	var broken atomic.Int32 // syncs of data that are still to fail
	b := &bench{t: t, path: "/data", cfg: testConfig()}
	b.fs = vfs.Inject(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpSyncFile && filepath.Ext(op.Name) == dataSuffix && broken.Add(-1) >= 0 {
			return errors.Join(syscall.EIO, disk.Drop(op.Name))
		}
		return nil
	})
	b.open()
	b.append(3, 0)
	b.sync()
	broken.Store(2) // the log's, and that of the first try to open it again
	b.append(2, 0)
	if err := b.log.sync(context.Background()); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if err := b.log.Close(); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	b.ev = &events{}
	if _, err := b.dir.Open(context.Background(), testID, b.cfg, b.ev, nil); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	var err error
	if b.log, err = b.dir.Open(context.Background(), testID, b.cfg, b.ev, nil); err != nil {
		t.Fatal(err)
	}
	b.wantBounds(0, 5, 5)
	b.wantAll(0, 5)
	for seed := range uint64(20) {
		cut := disk.Crash(rand.New(rand.NewPCG(seed, 1)))
		if end := survives(t, cut, testConfig(), promise{acked: 5}); end != 5 {
			t.Fatalf("the log ends at %d after a power cut", end)
		}
	}
	b.close()
}
