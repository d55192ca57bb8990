package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// sysDataSync is fdatasync: like fsync it waits for the contents and for all that is needed to read them
// back, the size included, but it leaves out the times, which would cost a journal commit for each sync of an
// allocated file.
func sysDataSync(f *os.File) error { return control(f, unix.Fdatasync) }

func sysAllocate(f *os.File, off, n int64) error {
	err := control(f, func(fd int) error { return unix.Fallocate(fd, 0, off, n) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return allocateByWriting(f, off, n)
	}
	return err
}

// mostParts is how many parts the kernel takes at once (UIO_MAXIOV).
const mostParts = 1024

func sysWriteParts(f *os.File, parts [][]byte, off int64) error {
	left := slices.Clone(parts)
	return control(f, func(fd int) error {
		for {
			for len(left) > 0 && len(left[0]) == 0 {
				left = left[1:]
			}
			if len(left) == 0 {
				return nil
			}
			n, err := unix.Pwritev(fd, left[:min(len(left), mostParts)], off)
			if err != nil {
				return err // also where it was interrupted: what is left is tried again
			}
			if n == 0 {
				return io.ErrUnexpectedEOF
			}
			off += int64(n)
			for n > 0 {
				m := min(n, len(left[0]))
				if left[0] = left[0][m:]; len(left[0]) == 0 {
					left = left[1:]
				}
				n -= m
			}
		}
	})
}

func sysMap(f *osFile, reserve int) (Mapping, error) {
	prot := unix.PROT_READ
	if !f.readOnly {
		prot |= unix.PROT_WRITE
	}
	m := &osMapping{file: f}
	err := control(f.file, func(fd int) (err error) {
		m.mem, err = unix.Mmap(fd, 0, reserve, prot, unix.MAP_SHARED)
		return err
	})
	if err == syscall.ENODEV { // a file system without mappings
		return mapByCopying(f, reserve)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// osMapping is memory that the kernel shares with the page cache. Linux allows it to be longer than its file:
// pages past the end are addresses only, and become memory when the file has grown over them.
type osMapping struct {
	file *osFile
	mu   sync.RWMutex // held for reading over msync, so that munmap cannot pull the memory away
	mem  []byte       // nil once closed
}

func (m *osMapping) Bytes() []byte {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.mem
}

func (m *osMapping) Sync() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.mem == nil || !m.file.readOnly && m.file.closed.Load() {
		return pathError("msync", m.file.Name(), fs.ErrClosed)
	}
	if m.file.readOnly {
		return nil
	}
	// The kernel takes the range for one of the file and passes over what lies past its end; it touches no
	// page.
	for {
		if err := unix.Msync(m.mem, unix.MS_SYNC); err != syscall.EINTR {
			return sysFull(pathError("msync", m.file.Name(), err))
		}
	}
}

func (m *osMapping) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mem == nil {
		return pathError("munmap", m.file.Name(), fs.ErrClosed)
	}
	err := unix.Munmap(m.mem)
	m.mem = nil
	if err == nil && !m.file.readOnly && m.file.closed.Load() {
		err = fs.ErrClosed
	}
	return pathError("munmap", m.file.Name(), err)
}

// sysBootID is a random number that the kernel draws when it starts. It is the host's in a container too,
// which is right: the page cache is the host's.
func sysBootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
