package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"segue/storage/record"
	"segue/storage/vfs"
)

// gate holds up the first operation on a disk that it is told to.
type gate struct {
	stop    func(vfs.Op) bool
	reached chan struct{}
	release chan struct{}
	shut    atomic.Bool
	ops     atomic.Int64
}

func newGate(stop func(vfs.Op) bool) *gate {
	return &gate{stop: stop, reached: make(chan struct{}), release: make(chan struct{})}
}

func (g *gate) hook(op vfs.Op) error {
	g.ops.Add(1)
	if g.shut.Load() && g.stop(op) && g.shut.CompareAndSwap(true, false) {
		close(g.reached)
		<-g.release
	}
	return nil
}

// TestDirectoryIsFreeOnceItIsClosed closes a directory while somebody is in the middle of something else with one of
// its logs. Close waits for that, whoever does it: as soon as it has returned another broker may have the directory.
func TestDirectoryIsFreeOnceItIsClosed(t *testing.T) {
	another := testID
	another.Partition++
	tests := []struct {
		name string
		stop func(vfs.Op) bool
		act  func(d *Dir, l *Log) error
		want error
	}{
		{"a log is being closed",
			func(op vfs.Op) bool {
				return op.Kind == vfs.OpCreate && strings.Contains(op.Name, cleanCheckpoint+checkpointSuffix)
			},
			func(_ *Dir, l *Log) error { return l.Close() }, nil},
		{"a log is being opened",
			func(op vfs.Op) bool {
				return op.Kind == vfs.OpReadDir && strings.HasSuffix(op.Name, another.Folder())
			},
			func(d *Dir, _ *Log) error {
				_, err := d.Open(context.Background(), another, testConfig(), &events{}, nil)
				return err
			}, ErrClosed},
		{"a log is being deleted",
			func(op vfs.Op) bool { return op.Kind == vfs.OpRename && strings.HasSuffix(op.To, deletedSuffix) },
			func(d *Dir, _ *Log) error { return d.Delete(context.Background(), testID) }, nil},
		{"a log is being checkpointed",
			func(op vfs.Op) bool { return op.Kind == vfs.OpCreate && strings.Contains(op.Name, "fold") },
			func(_ *Dir, l *Log) error { return l.Save(context.Background(), "fold", 3, nil) }, nil},
		{"records are being deleted",
			func(op vfs.Op) bool { return op.Kind == vfs.OpRename && strings.HasSuffix(op.To, startFile) },
			func(_ *Dir, l *Log) error { return l.DeleteBefore(context.Background(), 2) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(tt.stop)
				b := &bench{t: t, fs: vfs.Inject(vfs.NewCrashable(), g.hook), path: "/data", cfg: testConfig()}
				b.open()
				b.append(3, 0)
				b.sync()
				g.shut.Store(true)
				acted, closed := make(chan error, 1), make(chan error, 1)
				go func() { acted <- tt.act(b.dir, b.log) }()
				<-g.reached
				var after int64
				go func() {
					err := b.dir.Close()
					after = g.ops.Load()
					closed <- err
				}()
				synctest.Wait()
				select {
				case err := <-closed:
					t.Errorf("Close returned (%v) before the other was done", err)
					closed <- err
				default:
				}
				close(g.release)
				if err := <-acted; !errors.Is(err, tt.want) {
					t.Errorf("the other returned %v, want %v", err, tt.want)
				}
				if err := <-closed; err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if n := g.ops.Load() - after; n != 0 {
					t.Errorf("%d operations on the disk after Close", n)
				}
			})
		})
	}
}

// TestCloseWithoutIndexPages closes a log whose index the disk has no pages for any more, as btrfs has none on a full disk:
// the log is sound, and the next open makes the index again.
func TestCloseWithoutIndexPages(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is mapped cannot be cut there")
	}
	b := &bench{t: t, fs: vfs.OS(), path: filepath.Join(t.TempDir(), "data"), cfg: testConfig()}
	b.open()
	b.append(3, 0)
	b.sync()
	if err := os.Truncate(b.log.hot.idx.Load().path, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.log.Close(); err != nil {
		t.Error(err)
	}
	b.close()
	b.open()
	if _, _, end := b.log.Bounds(); end != 3 {
		t.Errorf("the log ends at %d, want 3", end)
	}
	b.close()
}

// TestCloseTwice has a log closed by two at once: neither returns before it is closed.
func TestCloseTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(func(op vfs.Op) bool { return op.Kind == vfs.OpSyncFile && strings.HasSuffix(op.Name, dataSuffix) })
		b := &bench{t: t, fs: vfs.Inject(vfs.NewCrashable(), g.hook), path: "/data", cfg: testConfig()}
		b.open()
		g.shut.Store(true)
		b.append(3, 0)
		<-g.reached
		var done atomic.Int32
		for range 2 {
			go func() {
				if err := b.log.Close(); err != nil {
					t.Error(err)
				}
				done.Add(1)
			}()
		}
		synctest.Wait()
		if n := done.Load(); n != 0 {
			t.Errorf("%d of two calls of Close returned while the log was being synced", n)
		}
		close(g.release)
		synctest.Wait()
		if n := done.Load(); n != 2 {
			t.Errorf("%d of two calls of Close returned", n)
		}
		b.close()
	})
}

// TestCommittedIsToldBeforeCloseReturns has a log closed while its owner is being told what is committed. Close waits
// for that: whoever closes a log must know by then what was acknowledged.
func TestCommittedIsToldBeforeCloseReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, fs: vfs.NewCrashable(), path: "/data", cfg: testConfig()}
		b.open()
		slow := slowEvents{make(chan struct{}), make(chan struct{})}
		id := testID
		id.Partition++
		l, err := b.dir.Open(context.Background(), id, b.cfg, slow, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := l.Append(context.Background(), 1, numbered(t, 0, 1, 0, 0, record.None)); err != nil {
			t.Fatal(err)
		}
		<-slow.told
		closed := make(chan error, 1)
		go func() { closed <- l.Close() }()
		synctest.Wait()
		if len(closed) != 0 {
			t.Error("Close returned before the owner knew what is committed")
		}
		close(slow.release)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		b.close()
	})
}

// slowEvents takes its time to hear of what is committed.
type slowEvents struct{ told, release chan struct{} }

func (e slowEvents) Committed(record.Offset) {
	close(e.told)
	<-e.release
}

func (e slowEvents) Failed(error) {}
