// Package vfs is the file system that the log is written on: the operating system's own (OS), and two that
// stand in for it in tests, one in memory that can lose power (Crashable) and one that fails operations on
// demand (Inject).
//
// A log is as good as what it may take for granted about its disk, so the interfaces here say only what every
// implementation gives:
//
//   - What was written is visible at once to every reader, through any handle or mapping, and survives the
//     end of the process. It survives the end of the machine only once File.Sync, Mapping.Sync or Syncer.Sync
//     has returned nil.
//   - A name is not part of the file. That a file was created, renamed or removed survives the machine only
//     once SyncDir of the directory that holds the name has returned nil; a new directory's own name stands
//     in its parent.
//   - A failed sync is not repeatable: the system may have dropped the pages that it could not write, and a
//     second sync may then report success. Its caller must treat the file as lost, or copy what it can prove.
//   - A handle stays with its file: it can be read and written after the file was renamed or removed.
//   - Every error satisfies errors.Is for fs.ErrNotExist, fs.ErrExist, fs.ErrClosed, fs.ErrPermission,
//     ErrLocked and syscall.ENOSPC where that is the cause, whatever the operating system calls it, and its
//     text names the operation and the path.
//
// All methods of all types are safe for concurrent use unless they say otherwise.
//
// Crashable and Inject are not exported for production use, but they are production code for tests: a fault
// that a fake disk cannot produce is a fault that no test has seen.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// FS is a tree of directories and files. Names are paths in the form of the operating system, absolute or
// relative to the working directory.
type FS interface {
	// Open opens a file for reading only.
	Open(name string) (File, error)
	// OpenFile opens a file that exists for reading and writing.
	OpenFile(name string) (File, error)
	// Create makes a new, empty file and opens it for reading and writing. It fails with fs.ErrExist if the
	// name is taken.
	Create(name string) (File, error)
	// Rename gives a file or directory another name. A file called to is replaced, at once and with no moment
	// at which to is missing; a directory called to is fs.ErrExist. On Windows a directory cannot be renamed
	// while a file below it is mapped, and older versions refuse while one is open.
	Rename(from, to string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// RemoveAll removes a file, or a directory with all below it. It is no error if there is none.
	RemoveAll(name string) error
	// Mkdir makes a directory whose parent exists. It fails with fs.ErrExist if the name is taken.
	Mkdir(name string) error
	// MkdirAll makes a directory and those above it that are missing. It is no error if it is there already.
	MkdirAll(name string) error
	// ReadDir lists a directory, sorted by name. What is removed meanwhile may be missing.
	ReadDir(name string) ([]Entry, error)
	// Stat describes a file or directory.
	Stat(name string) (Info, error)
	// SyncDir makes the names in a directory durable: the files created in it, renamed into or out of it, and
	// removed from it. It says nothing about what is in the files, nor about the name of the directory
	// itself. Windows has no such call; there it does nothing.
	SyncDir(name string) error
	// Lock takes the lock file of that name, made if it is missing, for as long as the Closer stays open and
	// at most as long as the process lives. If another holds it, in this process or another, Lock does not
	// wait: it returns ErrLocked, with the process id of the holder in its text where that is known. The file
	// stays behind.
	Lock(name string) (io.Closer, error)
	// Free returns how many bytes may still be written to the file system that holds name, which must exist.
	Free(name string) (int64, error)
	// Total returns how many bytes the file system that holds name, which must exist, has in all.
	Total(name string) (int64, error)
	// BulkSync returns a Syncer for the file system that holds the directory dir, and whether there is one:
	// only some file systems can make many files durable with one call that can be relied on. The caller must
	// close it.
	BulkSync(dir string) (Syncer, bool)
	// BootID returns a text that changes whenever the machine starts, so that who finds the same text as
	// before knows that the machine did not go down in between and nothing written was lost. It is empty
	// where that is not known.
	BootID() string
}

// File is an open file. Its ReadAt and WriteAt are those of io.ReaderAt and io.WriterAt. After Close every
// method but Name and Conn returns fs.ErrClosed. On a file opened with FS.Open, the methods that change the
// file, Sync among them, return fs.ErrPermission.
type File interface {
	io.ReaderAt
	// WriteAt writes p at off, past the end too: a gap reads as zeros. When it fails, with syscall.ENOSPC
	// where the disk fills up on the way, any part of p may have been written and the file be longer than
	// before, whatever number it returns: os.File does not count what a write that fails has got done.
	io.WriterAt
	// WriteParts writes parts one behind the other at off, in one go where the system can. It fails as a WriteAt of
	// them all would.
	WriteParts(parts [][]byte, off int64) error
	io.Closer

	// Name is the name that the file was opened by. It does not follow a rename.
	Name() string
	// Size returns the length of the file in bytes.
	Size() (int64, error)
	// Truncate sets the length of the file. What is added reads as zeros and has no room reserved on the
	// disk, see Allocate. A file must not be cut below bytes of a mapping that may still be touched.
	Truncate(size int64) error
	// Sync makes durable what was written to the file, and its size. Bytes stored through a mapping need
	// Mapping.Sync.
	Sync() error
	// Allocate makes the file at least off+n bytes long and reserves room on the disk for the n bytes from
	// off, so that writing and storing there cannot run into a full disk. Bytes that are new read as zeros,
	// others are kept. If it fails, with syscall.ENOSPC for want of room, the size is what it was. No one may
	// write in that range or past the end of the file meanwhile. (A file system that copies on write, such as
	// btrfs, keeps the promise for the first write of each byte only.)
	Allocate(off, n int64) error
	// Map maps the file into memory from its first byte, shared, for reading, and for writing too unless it
	// was opened with FS.Open. It takes reserve bytes of address space, which may be more than the file has:
	// as the file grows the mapping is found to have grown with it. A file may be mapped more than once, but
	// no later mapping may reserve more than the first one that is still open.
	Map(reserve int64) (Mapping, error)
	// Conn returns what is needed to send the file's bytes from its descriptor (sendfile); nil if there is
	// none.
	Conn() syscall.Conn
}

// Mapping is the memory that a file is mapped to. A mapping that can be written must be closed before its
// File is; otherwise Sync and Close return fs.ErrClosed. A read-only one may outlive it.
type Mapping interface {
	// Bytes is the memory, reserve bytes of it. Only those may be touched that are below the size of the
	// file, and only those stored to that were allocated or written before: the machine answers all else by
	// ending the process with a signal (which runtime/debug.SetPanicOnFault turns into a panic, as it does
	// for a disk error). None may be touched after Close. Loads and stores by several goroutines are the
	// callers' to order. While a file is mapped, the part that is should not be written with WriteAt: not
	// every system shows the one to the other.
	Bytes() []byte
	// Sync makes durable what was stored, and the file's size. It may run while others store; whether those
	// stores are covered is then open.
	Sync() error
	// Close ends the mapping. What was stored stays in the file, as if it had been written.
	Close() error
}

// Syncer makes all files on one file system durable in one go.
type Syncer interface {
	// Sync makes durable all that was done, before it was called, to any file or directory on the file
	// system: contents, sizes, names, and what was stored through mappings. It also writes out what other
	// programs have left to be written. An error says that something on the file system could not be written
	// since the Syncer was made or since the error before; not what, and not that it was one of ours. Each
	// File's own Sync tells which it was.
	Sync() error
	io.Closer
}

// Entry is one line of a directory listing.
type Entry struct {
	// Name is the last element of the path.
	Name string
	// Dir is whether it is a directory, or a symbolic link to one.
	Dir bool
	// Size is the length of a file in bytes, 0 for a directory.
	Size int64
}

// Info describes a file or directory.
type Info struct {
	// Size is the length of a file in bytes, 0 for a directory.
	Size int64
	// Dir is whether it is a directory.
	Dir bool
	// ModTime is when it was last written to. Stores through a mapping need not count.
	ModTime time.Time
}

// ErrLocked is the cause when a lock file is held by someone else.
var ErrLocked = errors.New("locked by another process")

// pathError names the operation and the path of err, unless it already does.
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var pe *fs.PathError
	var le *os.LinkError
	if errors.As(err, &pe) || errors.As(err, &le) {
		return err
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
