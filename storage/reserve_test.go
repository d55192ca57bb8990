package storage

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"segue/storage/record"
	"segue/storage/vfs"
)

// hoard is a file that takes all the room of a disk, as another program does.
func hoard(t testing.TB, disk *vfs.Crashable) vfs.File {
	t.Helper()
	f, err := disk.Create("/hoard")
	if err != nil {
		t.Fatal(err)
	}
	takeAll(t, f)
	return f
}

func takeAll(t testing.TB, f vfs.File) {
	t.Helper()
	for {
		size, err := f.Size()
		if err == nil {
			err = f.Allocate(size, 4096)
		}
		if IsFull(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestReserveOnADiskThatStaysFull: somebody else takes every byte that comes free, and the catalog can still be written,
// also by the next runs, which find what is left of the reserve.
func TestReserveOnADiskThatStaysFull(t *testing.T) {
	disk := vfs.NewCrashable()
	disk.SetCapacity(1 << 20)
	b := newBench(t, disk, func(b *bench) {
		b.opts.Reserve = 256 << 10
		b.cfg.UseReserve = true
	})
	put := func() {
		t.Helper() // a batch that takes another block nearly each time
		if _, _, err := b.log.Append(context.Background(), 1, numbered(t, b.end(), 1, 0, 3000, record.None)); err != nil {
			t.Fatal(err)
		}
	}
	put()
	other := hoard(t, disk)
	for n := range 20 {
		put()
		takeAll(t, other)
		if n%2 == 0 {
			b.close()
			takeAll(t, other)
			b.open()
			takeAll(t, other)
		}
	}
	if n := len(b.dir.reserve.have); n == b.dir.reserve.count {
		t.Error("the reserve was not needed: the disk was not full")
	}
}

// TestFullDiskIsSaidOnce: the log tells that the disk is full, and that there is room again, and not each time that
// something does not fit. The reserve is whole again then.
func TestFullDiskIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		disk := vfs.NewCrashable()
		disk.SetCapacity(1 << 20)
		d, err := OpenDir("/data", Options{FS: disk, Reserve: 128 << 10, Log: zerolog.New(&said)})
		if err != nil {
			t.Fatal(err)
		}
		c := testConfig()
		l, err := d.Open(context.Background(), testID, c, &events{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		end := record.Offset(0)
		write := func() error {
			_, next, err := l.Append(context.Background(), 1, numbered(t, end, 1, 0, 10_000, record.None))
			if err == nil {
				end = next
			}
			return err
		}
		if err := write(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			said.Reset()
			other := hoard(t, disk)
			for range 100 {
				if err := write(); !errors.Is(err, ErrNotWritten) || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("append to a full disk: %v", err)
				}
			}
			if err := l.Save(context.Background(), "state", end, make([]byte, 20_000)); err != nil {
				t.Errorf("checkpoint on a full disk: %v", err)
			}
			if !d.Stats().Full || len(d.Trouble()) != 1 {
				t.Errorf("full is %t, trouble is %q", d.Stats().Full, d.Trouble())
			}
			time.Sleep(3 * reserveLook) // nothing changes
			synctest.Wait()
			if n := strings.Count(said.String(), "\n"); n != 1 || !strings.Contains(said.String(), "disk is full") {
				t.Errorf("the log has %d lines, want one:\n%s", n, &said)
			}
			if err := errors.Join(other.Close(), disk.Remove("/hoard")); err != nil {
				t.Fatal(err)
			}
			if err := write(); err != nil {
				t.Errorf("there is room: %v", err)
			}
			time.Sleep(3 * reserveLook)
			synctest.Wait()
			if n := strings.Count(said.String(), "\n"); n != 2 || !strings.Contains(said.String(), "there is room") {
				t.Errorf("the log has %d lines, want another one:\n%s", n, &said)
			}
			if d.Stats().Full || len(d.Trouble()) != 0 || len(d.reserve.have) != d.reserve.count {
				t.Errorf("full is %t, trouble is %q, the reserve has %d of %d files", d.Stats().Full, d.Trouble(), len(d.reserve.have), d.reserve.count)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFirstAppendThatDoesNotFit leaves half of a log's folder behind. That is no reason for it not to open, now or with
// room again, and the next append makes it whole.
func TestFirstAppendThatDoesNotFit(t *testing.T) {
	disk := vfs.NewCrashable()
	disk.SetCapacity(1 << 20)
	b := newBench(t, disk, nil)
	other := hoard(t, disk)
	if _, _, err := b.log.Append(context.Background(), 1, numbered(t, 0, 1, 0, 100, record.None)); !errors.Is(err, ErrNotWritten) {
		t.Fatalf("append to a full disk: %v", err)
	}
	b.dir.reserve.giveUp(b.dir.reserve.count, 0)
	takeAll(t, other)
	b.close()
	b.open()
	if err := errors.Join(other.Close(), disk.Remove("/hoard")); err != nil {
		t.Fatal(err)
	}
	b.append(3, 100)
}
