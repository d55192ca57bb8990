//go:build integration

package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// realDisk is a small file system of its own, on a file or in memory, that a test may fill, break, or take the power from.
type realDisk struct {
	t       testing.TB
	fsType  string
	options string
	stays   bool   // the machine does, when the power of the disk is cut
	dir     string // where it is mounted
	image   string // what it lies on; "" for one in memory
	mounted bool
}

// newTmpfs mounts a file system in memory. It skips the test where that is not allowed.
func newTmpfs(t testing.TB, options string) *realDisk {
	t.Helper()
	d := &realDisk{t: t, fsType: "tmpfs", options: options, dir: t.TempDir()}
	d.mountOrSkip()
	return d
}

// newLoopDisk makes a file system of so many MiB on a file, and mounts it. It skips the test where that is not possible:
// it takes root, a free loop device, and mkfs for that file system.
func newLoopDisk(t testing.TB, fsType string, mib int64, options string, mkfs ...string) *realDisk {
	t.Helper()
	d := &realDisk{t: t, fsType: fsType, options: options, dir: t.TempDir(), image: filepath.Join(t.TempDir(), "image")}
	if os.Geteuid() != 0 {
		t.Skip("a file system can be made and mounted only by root")
	}
	program, err := exec.LookPath("mkfs." + fsType)
	if err != nil {
		for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
			if p, err2 := exec.LookPath(dir + "mkfs." + fsType); err2 == nil {
				program, err = p, nil
			}
		}
	}
	if err != nil {
		t.Skipf("mkfs.%s is not installed", fsType)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, mib<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, append(mkfs, d.image)...).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.%s: %v: %s", fsType, err, out)
	}
	d.mountOrSkip()
	return d
}

func (d *realDisk) mountOrSkip() {
	d.t.Helper()
	if err := d.tryMount(); err != nil {
		d.t.Skipf("a disk of type %s cannot be mounted here, which takes root: %v", d.fsType, err)
	}
	d.t.Cleanup(func() {
		if err := d.tryUnmount(); err != nil {
			d.t.Error(err)
			unix.Unmount(d.dir, unix.MNT_DETACH) // it goes with the last that uses it
		}
	})
}

// mount mounts the disk again.
func (d *realDisk) mount() {
	d.t.Helper()
	if err := d.tryMount(); err != nil {
		d.t.Fatalf("mount: %v", err)
	}
}

func (d *realDisk) tryMount() error {
	device := d.fsType
	if d.image != "" {
		loop, err := attachLoop(d.image)
		if err != nil {
			return err
		}
		defer loop.Close() // it is detached when it is not mounted any more
		device = loop.Name()
	}
	if err := unix.Mount(device, d.dir, d.fsType, 0, d.options); err != nil {
		return fmt.Errorf("mount %s: %w", device, err)
	}
	d.mounted = true
	return nil
}

// attachLoop makes a block device of a file, which is detached when nobody has it open or mounted.
func attachLoop(image string) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for try := 0; ; try++ {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("no free loop device: %w", err)
		}
		loop, err := os.OpenFile(fmt.Sprint("/dev/loop", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			return loop, nil
		}
		loop.Close()
		if !errors.Is(err, unix.EBUSY) || try == 20 { // or somebody else was faster
			return nil, fmt.Errorf("configure %s: %w", loop.Name(), err)
		}
	}
}

// unmount takes the disk away. Whoever used it has ended.
func (d *realDisk) unmount() {
	d.t.Helper()
	if err := d.tryUnmount(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *realDisk) tryUnmount() error {
	if !d.mounted {
		return nil
	}
	var err error
	if !holdsWithin(prompt, func() bool { err = unix.Unmount(d.dir, 0); return err == nil }) {
		return fmt.Errorf("unmount %s: %w", d.dir, err)
	}
	d.mounted = false
	return nil
}

// EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN and f2fs's are one number and one flag: go down, and write nothing more, not even
// the journal.
const (
	iocShutdown   = 0x8004587d
	goDownNoFlush = 2
)

// cutPower has the file system drop all that has not reached its device, as a power cut does, and fail from then on.
// What the device was given counts as kept, also what a drive would still have had in its cache.
func (d *realDisk) cutPower() {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	flags := uint32(goDownNoFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), iocShutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		if errno == unix.ENOTTY || errno == unix.EOPNOTSUPP || errno == unix.EPERM {
			d.t.Skipf("%s cannot be shut down here: %v", d.fsType, errno)
		}
		d.t.Fatalf("shut down %s: %v", d.fsType, errno)
	}
}

// powerUp is what follows a power cut, when the broker has ended: the journal is replayed, and the machine has been
// started anew, which directories and indexes tell by its boot id. That is the one thing that a test has to do by hand.
func (d *realDisk) powerUp(b *broker) {
	d.t.Helper()
	d.unmount()
	d.mount()
	if d.stays {
		return
	}
	b.forgetBoot()
	file := filepath.Join(b.dir, "segue.run")
	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(content) == 0 {
		return // it is lost, which says as much; only a broker without syncs loses it
	}
	if err != nil {
		d.t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		d.t.Fatal(err)
	}
	another := strings.Replace(string(content), strings.TrimSpace(string(boot)), "another boot", 1)
	if another == string(content) {
		d.t.Fatalf("%s does not hold the boot id: %s", file, content)
	}
	if err := os.WriteFile(file, []byte(another), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// forgetBoot takes the mark of the machine's boot out of all indexes.
func (b *broker) forgetBoot() {
	b.t.Helper()
	const markAt, end = 76, 80 // see FORMAT.md
	indexes, err := filepath.Glob(filepath.Join(b.dir, "*", "*.idx"))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, index := range indexes {
		f, err := os.OpenFile(index, os.O_RDWR, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		info, err := f.Stat()
		if err == nil && info.Size() >= end {
			_, err = f.WriteAt(make([]byte, end-markAt), markAt)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// on puts the broker's data on the disk.
func (b *broker) on(d *realDisk) *broker {
	b.dir = filepath.Join(d.dir, "data")
	d.t.Cleanup(b.cleanup) // before the disk goes
	return b
}
