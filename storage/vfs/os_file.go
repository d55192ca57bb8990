package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
)

// osFile is a File of the operating system.
type osFile struct {
	file     *os.File
	readOnly bool
	closed   atomic.Bool // for mappings, which ask whether the file is still there to sync
}

func openOSFile(name string, flag int) (File, error) {
	f, err := sysOpen(name, flag)
	if err != nil {
		return nil, sysFull(err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = pathError("open", name, syscall.EISDIR)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &osFile{file: f, readOnly: flag&os.O_RDWR == 0}, nil
}

func (f *osFile) Name() string { return f.file.Name() }

func (f *osFile) Conn() syscall.Conn { return f.file }

func (f *osFile) Close() error {
	f.closed.Store(true)
	return f.file.Close()
}

func (f *osFile) Size() (int64, error) {
	if f.closed.Load() { // for which not every system has the same error
		return 0, pathError("stat", f.Name(), fs.ErrClosed)
	}
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) { return f.file.ReadAt(p, off) }

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.writable("write"); err != nil {
		return 0, err
	}
	n, err := f.file.WriteAt(p, off)
	return n, sysFull(err)
}

func (f *osFile) WriteParts(parts [][]byte, off int64) error {
	if len(parts) == 1 {
		_, err := f.WriteAt(parts[0], off)
		return err
	}
	if err := f.writable("write"); err != nil {
		return err
	}
	return sysFull(pathError("write", f.Name(), sysWriteParts(f.file, parts, off)))
}

func (f *osFile) Truncate(size int64) error {
	if err := f.writable("truncate"); err != nil {
		return err
	}
	return sysFull(f.file.Truncate(size))
}

func (f *osFile) Sync() error {
	if err := f.writable("sync"); err != nil {
		return err
	}
	return sysFull(pathError("sync", f.Name(), sysDataSync(f.file)))
}

func (f *osFile) Allocate(off, n int64) error {
	if err := f.writable("allocate"); err != nil {
		return err
	}
	if off < 0 || n <= 0 || off+n < 0 {
		return pathError("allocate", f.Name(), fmt.Errorf("%d bytes from %d: %w", n, off, syscall.EINVAL))
	}
	before, err := f.Size()
	if err != nil {
		return err
	}
	if err := sysAllocate(f.file, off, n); err != nil {
		// What was reserved before the room ran out has made the file longer on some systems.
		if after, sizeErr := f.Size(); sizeErr == nil && after > before {
			err = errors.Join(err, f.file.Truncate(before))
		}
		return sysFull(pathError("allocate", f.Name(), err))
	}
	return nil
}

func (f *osFile) Map(reserve int64) (Mapping, error) {
	if f.closed.Load() {
		return nil, pathError("map", f.Name(), fs.ErrClosed)
	}
	if reserve <= 0 || int64(int(reserve)) != reserve {
		return nil, pathError("map", f.Name(), fmt.Errorf("%d bytes: %w", reserve, syscall.EINVAL))
	}
	m, err := sysMap(f, int(reserve))
	if err != nil {
		return nil, pathError("map", f.Name(), err)
	}
	return m, nil
}

// writable returns the error of an operation that a file opened for reading does not allow. Left to
// themselves the systems give three different ones, and some would allow Sync.
func (f *osFile) writable(op string) error {
	switch {
	case !f.readOnly:
		return nil
	case f.closed.Load():
		return pathError(op, f.Name(), fs.ErrClosed)
	default:
		return pathError(op, f.Name(), fs.ErrPermission)
	}
}

// smallestBlock is the unit in which room inside a file is reserved by hand. No common file system has
// smaller blocks; in larger steps some would be left out.
const smallestBlock = 512

// allocateByWriting reserves room where the system has no call for it: it writes zeros past the end, and in
// each block before the end it writes a byte that is there over itself.
func allocateByWriting(f *os.File, off, n int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size, end := info.Size(), off+n
	var b [1]byte
	for at := off; at < min(size, end); at += smallestBlock - at%smallestBlock {
		if _, err := f.ReadAt(b[:], at); err != nil {
			return err
		}
		if _, err := f.WriteAt(b[:], at); err != nil {
			return err
		}
	}
	zeros := make([]byte, min(1<<18, max(0, end-size)))
	for at := max(off, size); at < end; {
		wrote, err := f.WriteAt(zeros[:min(int64(len(zeros)), end-at)], at)
		if err != nil {
			return err
		}
		at += int64(wrote)
	}
	return nil
}

// copiedMapping stands in for a mapping where the system has none that fits, or none that may be longer than
// its file: a copy of the file in memory that Sync and Close write back.
type copiedMapping struct {
	file *osFile
	mem  []byte
	done atomic.Bool
}

func mapByCopying(f *osFile, reserve int) (Mapping, error) {
	mem := make([]byte, reserve)
	if _, err := f.file.ReadAt(mem, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &copiedMapping{file: f, mem: mem}, nil
}

func (m *copiedMapping) Bytes() []byte {
	if m.done.Load() {
		return nil
	}
	return m.mem
}

func (m *copiedMapping) Sync() error {
	if m.done.Load() {
		return pathError("msync", m.file.Name(), fs.ErrClosed)
	}
	if m.file.readOnly {
		return nil
	}
	if err := m.writeBack(); err != nil {
		return err
	}
	return m.file.Sync()
}

func (m *copiedMapping) Close() error {
	if m.done.Swap(true) {
		return pathError("munmap", m.file.Name(), fs.ErrClosed)
	}
	if m.file.readOnly {
		return nil
	}
	return m.writeBack()
}

// writeBack writes what the file has of the memory. The copy in between is taken without telling the race
// detector: a real mapping is written out while it is stored to, and what a page then holds is no one's
// error.
func (m *copiedMapping) writeBack() error {
	size, err := m.file.Size()
	if err != nil {
		return err
	}
	image := make([]byte, min(size, int64(len(m.mem))))
	copyMapped(image, m.mem)
	_, err = m.file.WriteAt(image, 0)
	return err
}
