package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// syncfs promises little: on many file systems it returns before the drive has emptied its cache, or keeps an
// error to itself. It is used only where reading the kernel's source shows that it does what File.Sync does
// for every file:
//
//   - The kernel is 5.8 or newer. Older ones do not report from syncfs that a page could not be written.
//   - btrfs: syncfs waits for all data and then commits the one transaction that holds every tree, with a
//     flush of the drive before the superblock and one with it.
//   - ext4 with a journal: syncfs writes all data, then waits for the commit of the running journal
//     transaction, which flushes the drive; if there is nothing to commit it flushes the drive by itself.
//   - ext4 without a journal: the flush comes before the last metadata is written, so it is too early. An
//     fsync of the directory afterwards flushes once more and covers it.
//   - All of these flush only if barriers are on, which they are unless the mount says otherwise.
//
// XFS is left out: its syncfs forces the log, and if no metadata has changed, as when an allocated file is
// written again, it does not flush the drive. So are all others, ext2 and ext3 by that name among them: for
// them nobody looked.
//
// One hole is closed here: after an error a file system turns itself read-only, and from then on syncfs has
// nothing to do and succeeds, while fsync fails. So bulkSyncer looks for that each time.

// sysBulkSync returns a bulkSyncer if dir's file system is one of those.
func sysBulkSync(dir string) (Syncer, bool) {
	if !kernelAtLeast(5, 8) {
		return nil, false
	}
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, false
	}
	s := &bulkSyncer{dir: d}
	if !s.identify() {
		_ = s.Close()
		return nil, false
	}
	return s, true
}

// bulkSyncer syncs the file system of its directory, which it keeps open from the start: the kernel reports
// to each descriptor the errors that happened since it was opened.
type bulkSyncer struct {
	dir *os.File
	// flush is whether the drive has to be flushed after syncfs (ext4 without a journal).
	flush bool

	mu     sync.Mutex // guards what follows
	errs   *os.File   // ext4's count of errors, nil for btrfs
	before []byte     // what it was when last looked at
}

// identify finds out what file system it is, and reports whether it is one to rely on.
func (s *bulkSyncer) identify() bool {
	m, err := mountOf(s.dir)
	if err != nil || !m.barriers() {
		return false
	}
	switch m.fsType {
	case "btrfs":
		return true
	case "ext4":
		// ext4 tells about itself under the name of its device.
		device, err := os.Readlink("/sys/dev/block/" + m.device)
		if err != nil {
			return false
		}
		about := filepath.Join("/sys/fs/ext4", filepath.Base(device))
		journal, err := os.ReadFile(filepath.Join(about, "journal_task"))
		if err != nil {
			return false
		}
		s.flush = strings.TrimSpace(string(journal)) == "<none>"
		if s.errs, err = os.Open(filepath.Join(about, "errors_count")); err != nil {
			return false
		}
		s.before, err = s.errorCount()
		return err == nil
	default:
		return false
	}
}

// Sync implements Syncer.
func (s *bulkSyncer) Sync() error {
	if err := control(s.dir, unix.Syncfs); err != nil {
		return pathError("syncfs", s.dir.Name(), err)
	}
	if s.flush {
		if err := s.dir.Sync(); err != nil {
			return err
		}
	}
	return pathError("syncfs", s.dir.Name(), s.failed())
}

// failed says whether the file system has given up on writing, in which case the success of syncfs means
// nothing.
func (s *bulkSyncer) failed() error {
	var st unix.Statfs_t
	if err := control(s.dir, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return err
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("the file system has become read-only: %w", syscall.EROFS)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errs == nil {
		return nil
	}
	now, err := s.errorCount()
	if err != nil {
		return err
	}
	if bytes.Equal(now, s.before) {
		return nil
	}
	err = fmt.Errorf("ext4 counts %s errors, %s before: %w", now, s.before, syscall.EIO)
	s.before = now
	return err
}

func (s *bulkSyncer) errorCount() ([]byte, error) {
	var text [32]byte
	n, err := s.errs.ReadAt(text[:], 0)
	if n == 0 {
		return nil, err
	}
	return bytes.TrimSpace(text[:n]), nil
}

// Close implements io.Closer.
func (s *bulkSyncer) Close() error {
	err := s.dir.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errs != nil {
		err = errors.Join(err, s.errs.Close())
	}
	return err
}

// mount is one line of /proc/self/mountinfo, see proc(5).
type mount struct {
	device  string // major:minor
	fsType  string
	options []string // the file system's own, not those of the mount point
}

// barriers is whether the file system flushes the drive's cache, which all do unless they are told not to.
func (m mount) barriers() bool {
	for _, o := range m.options {
		if o == "nobarrier" || o == "barrier=0" {
			return false
		}
	}
	return true
}

// mountOf finds the mount that an open file lies on, by its id: a path may have been mounted over since, and
// btrfs gives files device numbers that no mount has.
func mountOf(f *os.File) (mount, error) {
	var st unix.Statx_t
	err := control(f, func(fd int) error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st)
	})
	if err != nil {
		return mount{}, err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return mount{}, errors.ErrUnsupported
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return mount{}, err
	}
	return findMount(string(table), fmt.Sprint(st.Mnt_id))
}

func findMount(table, id string) (mount, error) {
	for line := range strings.Lines(table) {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if ok && len(l) >= 6 && len(r) >= 3 && l[0] == id {
			return mount{device: l[2], fsType: r[0], options: strings.Split(r[2], ",")}, nil
		}
	}
	return mount{}, fmt.Errorf("no mount with id %s", id)
}

// kernelAtLeast compares the running kernel's version.
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var a, b int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}
