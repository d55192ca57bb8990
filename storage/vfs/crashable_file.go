package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// crashableFile is a handle on a file of a Crashable.
type crashableFile struct {
	c        *Crashable
	node     *node
	name     string
	readOnly bool
	closed   bool // guarded by c.mu
}

// lock locks the file system, for an operation that needs the file open, and open for writing if it changes
// it. Only if there is no error must it be unlocked.
func (f *crashableFile) lock(op string, changes bool) error {
	f.c.mu.Lock()
	var err error
	switch {
	case f.closed:
		err = fs.ErrClosed
	case changes && f.readOnly:
		err = fs.ErrPermission
	default:
		return nil
	}
	f.c.mu.Unlock()
	return pathError(op, f.name, err)
}

func (f *crashableFile) Name() string { return f.name }

func (f *crashableFile) Conn() syscall.Conn { return nil }

func (f *crashableFile) Close() error {
	if err := f.lock("close", false); err != nil {
		return err
	}
	defer f.c.mu.Unlock()
	f.closed = true
	f.node.opens--
	f.c.release(f.node)
	return nil
}

func (f *crashableFile) Size() (int64, error) {
	if err := f.lock("stat", false); err != nil {
		return 0, err
	}
	defer f.c.mu.Unlock()
	return f.node.size, nil
}

func (f *crashableFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.lock("read", false); err != nil {
		return 0, err
	}
	defer f.c.mu.Unlock()
	if off < 0 {
		return 0, pathError("read", f.name, fmt.Errorf("negative offset %d: %w", off, syscall.EINVAL))
	}
	n := f.node.read(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashableFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.lock("write", true); err != nil {
		return 0, err
	}
	defer f.c.mu.Unlock()
	n, err := f.node.write(f.c, p, off)
	return n, pathError("write", f.name, err)
}

func (f *crashableFile) WriteParts(parts [][]byte, off int64) error {
	_, err := f.WriteAt(slices.Concat(parts...), off)
	return err
}

func (f *crashableFile) Truncate(size int64) error {
	if err := f.lock("truncate", true); err != nil {
		return err
	}
	defer f.c.mu.Unlock()
	switch {
	case size < 0:
		return pathError("truncate", f.name, fmt.Errorf("size %d: %w", size, syscall.EINVAL))
	case size > maxCrashableFile:
		return pathError("truncate", f.name, syscall.EFBIG)
	}
	f.node.truncate(f.c, size)
	return nil
}

func (f *crashableFile) Sync() error {
	if err := f.lock("sync", true); err != nil {
		return err
	}
	defer f.c.mu.Unlock()
	f.node.sync()
	return nil
}

func (f *crashableFile) Allocate(off, n int64) error {
	if err := f.lock("allocate", true); err != nil {
		return err
	}
	defer f.c.mu.Unlock()
	switch {
	case off < 0 || n <= 0 || off+n < 0:
		return pathError("allocate", f.name, fmt.Errorf("%d bytes from %d: %w", n, off, syscall.EINVAL))
	case off+n > maxCrashableFile:
		return pathError("allocate", f.name, syscall.EFBIG)
	}
	return pathError("allocate", f.name, f.node.reserve(f.c, off, off+n))
}

func (f *crashableFile) Map(reserve int64) (Mapping, error) {
	if err := f.lock("map", false); err != nil {
		return nil, err
	}
	defer f.c.mu.Unlock()
	if reserve <= 0 || reserve > maxCrashableFile {
		return nil, pathError("map", f.name, fmt.Errorf("%d bytes: %w", reserve, syscall.EINVAL))
	}
	mem, err := f.node.mapMemory(reserve)
	if err != nil {
		return nil, pathError("map", f.name, err)
	}
	f.node.opens++
	return &crashableMapping{file: f, mem: mem}, nil
}

// crashableMapping is a mapping of a file of a Crashable.
type crashableMapping struct {
	file *crashableFile
	mem  []byte // nil once closed
}

func (m *crashableMapping) Bytes() []byte {
	m.file.c.mu.Lock()
	defer m.file.c.mu.Unlock()
	return m.mem
}

func (m *crashableMapping) Sync() error {
	m.file.c.mu.Lock()
	defer m.file.c.mu.Unlock()
	if m.mem == nil || !m.file.readOnly && m.file.closed {
		return pathError("msync", m.file.name, fs.ErrClosed)
	}
	if !m.file.readOnly {
		m.file.node.syncMapped()
	}
	return nil
}

func (m *crashableMapping) Close() error {
	m.file.c.mu.Lock()
	defer m.file.c.mu.Unlock()
	if m.mem == nil {
		return pathError("munmap", m.file.name, fs.ErrClosed)
	}
	m.mem = nil
	m.file.node.unmap()
	m.file.node.opens--
	m.file.c.release(m.file.node)
	if !m.file.readOnly && m.file.closed {
		return pathError("munmap", m.file.name, fs.ErrClosed)
	}
	return nil
}
