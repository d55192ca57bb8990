package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
)

// Kind is what an operation does.
type Kind string

// The kinds of operations, by the method that they stand for. Those of File have no prefix but where FS has
// the like; OpSyncFile, OpSyncMapping and OpBulkSync are the three ways to make contents durable, and
// OpSyncDir is the one for names. OpMakeSyncer is FS.BulkSync itself.
const (
	OpOpen        Kind = "open"
	OpOpenFile    Kind = "openfile"
	OpCreate      Kind = "create"
	OpRename      Kind = "rename"
	OpRemove      Kind = "remove"
	OpRemoveAll   Kind = "removeall"
	OpMkdir       Kind = "mkdir"
	OpMkdirAll    Kind = "mkdirall"
	OpReadDir     Kind = "readdir"
	OpStat        Kind = "stat"
	OpSyncDir     Kind = "syncdir"
	OpLock        Kind = "lock"
	OpUnlock      Kind = "unlock"
	OpFree        Kind = "free"
	OpTotal       Kind = "total"
	OpMakeSyncer  Kind = "makesyncer"
	OpBulkSync    Kind = "bulksync"
	OpCloseSyncer Kind = "closesyncer"

	OpRead     Kind = "read"
	OpWrite    Kind = "write"
	OpSize     Kind = "size"
	OpTruncate Kind = "truncate"
	OpAllocate Kind = "allocate"
	OpSyncFile Kind = "sync"
	OpClose    Kind = "close"

	OpMap         Kind = "map"
	OpSyncMapping Kind = "msync"
	OpUnmap       Kind = "unmap"
)

// Op is one operation on an injected FS, about to be done.
type Op struct {
	Kind Kind
	// Name is the path; for a File the one that it was opened by.
	Name string
	// To is the new name in a rename.
	To string
	// Offset and Length are the range of a read, a write or an allocation; Length is also the size in a
	// truncation and the address space of a mapping.
	Offset, Length int64
	// N counts the operations of the FS, from 1.
	N int
}

// String is the operation as a line of a transcript, without its number.
func (o Op) String() string {
	switch o.Kind {
	case OpRename:
		return fmt.Sprintf("%s %s %s", o.Kind, o.Name, o.To)
	case OpRead, OpWrite, OpAllocate:
		return fmt.Sprintf("%s %s %d+%d", o.Kind, o.Name, o.Offset, o.Length)
	case OpTruncate, OpMap:
		return fmt.Sprintf("%s %s %d", o.Kind, o.Name, o.Length)
	default:
		return fmt.Sprintf("%s %s", o.Kind, o.Name)
	}
}

// ShortWrite is what a hook returns to have a write done in part: the first N bytes are written, and the
// write fails with Err. For other operations it is like Err.
type ShortWrite struct {
	N   int
	Err error
}

// Error implements error.
func (s *ShortWrite) Error() string { return fmt.Sprintf("after %d bytes: %v", s.N, s.Err) }

// Unwrap returns Err.
func (s *ShortWrite) Unwrap() error { return s.Err }

// Inject returns a file system that calls hook before each operation on inner and on what is opened through
// it. If the hook returns an error, the operation is not done and fails with that error, wrapped with its
// kind and path; what closes something is done in any case. Loads and stores through a mapping are no
// operations. Conn is nil, for nothing should be read past the hook.
//
// The hook runs in the goroutine of the operation, on several at once if the file system is used by several.
// It may block, for as long as the operation is to take, and may use inner, but not the result of Inject.
func Inject(inner FS, hook func(Op) error) FS { return &injected{inner: inner, hook: hook} }

type injected struct {
	inner FS
	hook  func(Op) error
	count atomic.Int64
}

// ask numbers an operation and calls the hook.
func (i *injected) ask(o Op) error {
	o.N = int(i.count.Add(1))
	err := i.hook(o)
	if err == nil {
		return nil
	}
	if o.Kind == OpRename {
		return &os.LinkError{Op: string(o.Kind), Old: o.Name, New: o.To, Err: err}
	}
	return pathError(string(o.Kind), o.Name, err)
}

func (i *injected) file(kind Kind, open func(string) (File, error), name string) (File, error) {
	if err := i.ask(Op{Kind: kind, Name: name}); err != nil {
		return nil, err
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	return &injectedFile{fs: i, inner: f}, nil
}

func (i *injected) Open(name string) (File, error) { return i.file(OpOpen, i.inner.Open, name) }

func (i *injected) OpenFile(name string) (File, error) {
	return i.file(OpOpenFile, i.inner.OpenFile, name)
}

func (i *injected) Create(name string) (File, error) { return i.file(OpCreate, i.inner.Create, name) }

func (i *injected) Rename(from, to string) error {
	if err := i.ask(Op{Kind: OpRename, Name: from, To: to}); err != nil {
		return err
	}
	return i.inner.Rename(from, to)
}

func (i *injected) named(kind Kind, do func(string) error, name string) error {
	if err := i.ask(Op{Kind: kind, Name: name}); err != nil {
		return err
	}
	return do(name)
}

func (i *injected) Remove(name string) error { return i.named(OpRemove, i.inner.Remove, name) }

func (i *injected) RemoveAll(name string) error { return i.named(OpRemoveAll, i.inner.RemoveAll, name) }

func (i *injected) Mkdir(name string) error { return i.named(OpMkdir, i.inner.Mkdir, name) }

func (i *injected) MkdirAll(name string) error { return i.named(OpMkdirAll, i.inner.MkdirAll, name) }

func (i *injected) SyncDir(name string) error { return i.named(OpSyncDir, i.inner.SyncDir, name) }

func (i *injected) ReadDir(name string) ([]Entry, error) {
	if err := i.ask(Op{Kind: OpReadDir, Name: name}); err != nil {
		return nil, err
	}
	return i.inner.ReadDir(name)
}

func (i *injected) Stat(name string) (Info, error) {
	if err := i.ask(Op{Kind: OpStat, Name: name}); err != nil {
		return Info{}, err
	}
	return i.inner.Stat(name)
}

func (i *injected) Lock(name string) (io.Closer, error) {
	if err := i.ask(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, err
	}
	l, err := i.inner.Lock(name)
	if err != nil {
		return nil, err
	}
	return &injectedLock{fs: i, inner: l, name: name}, nil
}

func (i *injected) Free(name string) (int64, error) {
	if err := i.ask(Op{Kind: OpFree, Name: name}); err != nil {
		return 0, err
	}
	return i.inner.Free(name)
}

func (i *injected) Total(name string) (int64, error) {
	if err := i.ask(Op{Kind: OpTotal, Name: name}); err != nil {
		return 0, err
	}
	return i.inner.Total(name)
}

// BulkSync says that there is no Syncer if the hook fails it, since it has no other way to fail.
func (i *injected) BulkSync(dir string) (Syncer, bool) {
	if i.ask(Op{Kind: OpMakeSyncer, Name: dir}) != nil {
		return nil, false
	}
	s, ok := i.inner.BulkSync(dir)
	if !ok {
		return nil, false
	}
	return &injectedSyncer{fs: i, inner: s, dir: dir}, true
}

func (i *injected) BootID() string { return i.inner.BootID() }

// closing asks about an operation that is done in any case.
func (i *injected) closing(o Op, do func() error) error {
	asked := i.ask(o)
	return errors.Join(asked, do())
}

type injectedLock struct {
	fs    *injected
	inner io.Closer
	name  string
}

func (l *injectedLock) Close() error {
	return l.fs.closing(Op{Kind: OpUnlock, Name: l.name}, l.inner.Close)
}

type injectedSyncer struct {
	fs    *injected
	inner Syncer
	dir   string
}

func (s *injectedSyncer) Sync() error {
	if err := s.fs.ask(Op{Kind: OpBulkSync, Name: s.dir}); err != nil {
		return err
	}
	return s.inner.Sync()
}

func (s *injectedSyncer) Close() error {
	return s.fs.closing(Op{Kind: OpCloseSyncer, Name: s.dir}, s.inner.Close)
}

type injectedFile struct {
	fs    *injected
	inner File
}

func (f *injectedFile) op(kind Kind, offset, length int64) Op {
	return Op{Kind: kind, Name: f.inner.Name(), Offset: offset, Length: length}
}

func (f *injectedFile) Name() string { return f.inner.Name() }

func (f *injectedFile) Conn() syscall.Conn { return nil }

func (f *injectedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.ask(f.op(OpRead, off, int64(len(p)))); err != nil {
		return 0, err
	}
	return f.inner.ReadAt(p, off)
}

func (f *injectedFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.fs.ask(f.op(OpWrite, off, int64(len(p))))
	if err == nil {
		return f.inner.WriteAt(p, off)
	}
	var short *ShortWrite
	if !errors.As(err, &short) || short.N <= 0 {
		return 0, err
	}
	n, innerErr := f.inner.WriteAt(p[:min(short.N, len(p))], off)
	if innerErr != nil {
		return n, innerErr
	}
	return n, err
}

func (f *injectedFile) WriteParts(parts [][]byte, off int64) error {
	_, err := f.WriteAt(slices.Concat(parts...), off)
	return err
}

func (f *injectedFile) Size() (int64, error) {
	if err := f.fs.ask(f.op(OpSize, 0, 0)); err != nil {
		return 0, err
	}
	return f.inner.Size()
}

func (f *injectedFile) Truncate(size int64) error {
	if err := f.fs.ask(f.op(OpTruncate, 0, size)); err != nil {
		return err
	}
	return f.inner.Truncate(size)
}

func (f *injectedFile) Sync() error {
	if err := f.fs.ask(f.op(OpSyncFile, 0, 0)); err != nil {
		return err
	}
	return f.inner.Sync()
}

func (f *injectedFile) Allocate(off, n int64) error {
	if err := f.fs.ask(f.op(OpAllocate, off, n)); err != nil {
		return err
	}
	return f.inner.Allocate(off, n)
}

func (f *injectedFile) Map(reserve int64) (Mapping, error) {
	if err := f.fs.ask(f.op(OpMap, 0, reserve)); err != nil {
		return nil, err
	}
	m, err := f.inner.Map(reserve)
	if err != nil {
		return nil, err
	}
	return &injectedMapping{file: f, inner: m}, nil
}

func (f *injectedFile) Close() error { return f.fs.closing(f.op(OpClose, 0, 0), f.inner.Close) }

type injectedMapping struct {
	file  *injectedFile
	inner Mapping
}

func (m *injectedMapping) Bytes() []byte { return m.inner.Bytes() }

func (m *injectedMapping) Sync() error {
	if err := m.file.fs.ask(m.file.op(OpSyncMapping, 0, 0)); err != nil {
		return err
	}
	return m.inner.Sync()
}

func (m *injectedMapping) Close() error {
	return m.file.fs.closing(m.file.op(OpUnmap, 0, 0), m.inner.Close)
}
