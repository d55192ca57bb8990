package vfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A device that is always full has the error that a full disk has.
func TestDeviceFull(t *testing.T) {
	f, err := OS().OpenFile("/dev/full")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	if n, err := f.WriteAt([]byte("abc"), 0); class(err, "/dev/full") != "full" || n != 0 {
		t.Errorf("wrote %d bytes: %v", n, err)
	}
}

// Allocated room is there, not only promised.
func TestAllocateTakesBlocks(t *testing.T) {
	for what, allocate := range map[string]func(f *osFile, off, n int64) error{
		"fallocate": (*osFile).Allocate,
		"writing":   func(f *osFile, off, n int64) error { return allocateByWriting(f.file, off, n) },
	} {
		f := tempFile(t, nil)
		check(t, f.Truncate(1<<20))
		check(t, allocate(f, 1<<19, 1<<20))
		check(t, f.Sync()) // some file systems allocate no sooner
		var st unix.Stat_t
		check(t, unix.Stat(f.Name(), &st))
		if st.Size != 1<<20+1<<19 || st.Blocks*512 < 1<<20 {
			t.Errorf("%s: %d bytes in %d blocks", what, st.Size, st.Blocks)
		}
	}
}

// An allocation that fails leaves the size as it was.
func TestAllocateFails(t *testing.T) {
	f := tempFile(t, []byte("content"))
	err := f.Allocate(0, 1<<62)
	if err == nil {
		t.Fatal("allocated four exabytes")
	}
	if size := must[int64](t)(f.Size()); size != 7 {
		t.Errorf("%v; the file has %d bytes", err, size)
	}
}

func TestBootID(t *testing.T) {
	if id := OS().BootID(); len(id) != 36 || strings.TrimSpace(id) != id {
		t.Errorf("%q is not an id", id)
	}
}

func TestConn(t *testing.T) {
	f := tempFile(t, []byte("content"))
	conn := must[syscall.RawConn](t)(f.Conn().SyscallConn())
	var got [7]byte
	var readErr error
	check(t, conn.Read(func(fd uintptr) bool {
		_, readErr = syscall.Pread(int(fd), got[:], 0)
		return true
	}))
	if string(got[:]) != "content" || readErr != nil {
		t.Errorf("the descriptor reads %q: %v", got, readErr)
	}
	check(t, f.Close())
	if err := control(f.file, func(int) error { return nil }); class(err) != "closed" {
		t.Errorf("the descriptor of a closed file can be used: %v", err)
	}
}

func TestControlRepeats(t *testing.T) {
	calls := 0
	err := control(tempFile(t, nil).file, func(int) error {
		if calls++; calls < 3 {
			return syscall.EINTR
		}
		return syscall.EIO
	})
	if err != syscall.EIO || calls != 3 {
		t.Errorf("after %d calls: %v", calls, err)
	}
}

func TestQuotaIsFull(t *testing.T) {
	err := sysFull(pathError("write", "name", syscall.EDQUOT))
	if class(err, "write", "name") != "full" || !errors.Is(err, syscall.EDQUOT) {
		t.Errorf("%v is %s", err, class(err))
	}
	if err := sysFull(syscall.EIO); class(err) != "error" {
		t.Errorf("%v is %s", err, class(err))
	}
}

func TestBulkSync(t *testing.T) {
	dir := t.TempDir()
	if _, ok := OS().BulkSync(filepath.Join(dir, "none")); ok {
		t.Error("there is a syncer for no directory")
	}
	if _, ok := OS().BulkSync("/proc"); ok {
		t.Error("there is a syncer for /proc")
	}
	s, ok := OS().BulkSync(dir)
	if !ok {
		t.Skip("not on this file system")
	}
	check(t, os.WriteFile(filepath.Join(dir, "a"), []byte("content"), filePerm))
	check(t, s.Sync())

	// A file system that counts an error since the last time is not believed, once.
	if b := s.(*bulkSyncer); b.errs != nil {
		b.before = []byte("no number")
		if err := s.Sync(); !errors.Is(err, syscall.EIO) || class(err, dir) != "error" {
			t.Errorf("after an error: %v", err)
		}
		check(t, s.Sync())
	}
	check(t, s.Close())
	if class(s.Sync(), dir) != "closed" {
		t.Error("a closed syncer can be used")
	}
}

func TestFindMount(t *testing.T) {
	const table = `21 98 0:20 / /proc rw,nosuid shared:5 - proc proc rw
98 1 252:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
99 98 0:45 /sub /data rw,noatime shared:2 master:7 - btrfs /dev/sdb1 rw,space_cache=v2,subvolid=5
100 98 8:1 / /a\040b rw - ext4 /dev/sda1 rw,nobarrier,data=ordered
101 98 8:2 / /c rw - ext4 /dev/sda2 rw,barrier=0
102 98 8:3 /
103 98 8:4 / /c rw 8:5
`
	for id, want := range map[string]struct {
		device, fsType string
		barriers, ok   bool
	}{
		"98":  {"252:0", "ext4", true, true},
		"99":  {"0:45", "btrfs", true, true},
		"100": {"8:1", "ext4", false, true},
		"101": {"8:2", "ext4", false, true},
		"9":   {}, "102": {}, "103": {}, "": {},
	} {
		m, err := findMount(table, id)
		same := m.device == want.device && m.fsType == want.fsType && (m.barriers() == want.barriers || !want.ok)
		if (err == nil) != want.ok || !same {
			t.Errorf("mount %q is %v: %v", id, m, err)
		}
	}
	d, err := os.Open(t.TempDir())
	check(t, err)
	defer d.Close()
	if m, err := mountOf(d); err == nil && (m.fsType == "" || !strings.Contains(m.device, ":")) {
		t.Errorf("the temporary directory is on %v", m)
	}
}

func TestKernelAtLeast(t *testing.T) {
	if !kernelAtLeast(2, 6) || kernelAtLeast(1000, 0) {
		t.Error("the kernel's version is not understood")
	}
}
