package vfs

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// shareAll lets others read, write, rename and remove a file while it is open. Go's own os.OpenFile leaves
// out the last two, and a log renames and removes files that fetches are still reading.
const shareAll = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE

func sysOpen(name string, flag int) (*os.File, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	access, mode := uint32(windows.GENERIC_READ), uint32(windows.OPEN_EXISTING)
	if flag&os.O_RDWR != 0 {
		access |= windows.GENERIC_WRITE
	}
	switch {
	case flag&os.O_EXCL != 0:
		mode = windows.CREATE_NEW
	case flag&os.O_CREATE != 0:
		mode = windows.OPEN_ALWAYS
	}
	h, err := windows.CreateFile(path, access, shareAll, nil, mode, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return os.NewFile(uintptr(h), name), nil
}

// renameInfo is FILE_RENAME_INFO with room for the longest path that Windows knows.
type renameInfo struct {
	flags      uint32
	root       windows.Handle
	nameLength uint32 // in bytes, without the terminating zero
	name       [windows.MAX_LONG_PATH]uint16
}

// sysRename renames as POSIX does: a file that is replaced may be open, and stays readable for those who have
// it open. File systems that cannot do so get the plain rename.
func sysRename(from, to string) error {
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		if _, err := os.Stat(from); err != nil {
			return err
		}
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: windows.ERROR_ALREADY_EXISTS}
	}
	err := renamePosix(from, to)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, windows.ERROR_INVALID_PARAMETER), errors.Is(err, windows.ERROR_NOT_SUPPORTED),
		errors.Is(err, windows.ERROR_INVALID_FUNCTION):
		return sysFull(os.Rename(from, to))
	default:
		return sysFull(&os.LinkError{Op: "rename", Old: from, New: to, Err: err})
	}
}

func renamePosix(from, to string) error {
	path, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	// The new name has to be a full path: a relative one would be taken relative to the file's own directory.
	full, err := windows.FullPath(to)
	if err != nil {
		return err
	}
	name, err := windows.UTF16FromString(full)
	if err != nil {
		return err
	}
	info := &renameInfo{flags: windows.FILE_RENAME_REPLACE_IF_EXISTS | windows.FILE_RENAME_POSIX_SEMANTICS}
	if len(name) > len(info.name) {
		return windows.ERROR_FILENAME_EXCED_RANGE
	}
	copy(info.name[:], name)
	info.nameLength = uint32(len(name)-1) * 2
	// Opening a directory needs backup semantics; the link itself is renamed, not what it points to.
	h, err := windows.CreateFile(path, windows.DELETE|windows.SYNCHRONIZE, shareAll, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(h) }()
	size := uint32(unsafe.Offsetof(info.name)) + uint32(len(name))*2
	return windows.SetFileInformationByHandle(h, windows.FileRenameInfoEx, (*byte)(unsafe.Pointer(info)), size)
}

// sysSyncDir does nothing: Windows writes names through its own log and has no call that waits for it.
func sysSyncDir(string) error { return nil }

// lockOffset is where the byte lies that is locked: far past the process id that stands in the file, since a
// lock on Windows keeps others from reading what it covers.
const lockOffset = 1 << 30

func sysLock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := conn.Control(func(fd uintptr) {
		at := windows.Overlapped{Offset: lockOffset}
		result = windows.LockFileEx(windows.Handle(fd),
			windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	}); err != nil {
		return err
	}
	if errors.Is(result, windows.ERROR_LOCK_VIOLATION) || errors.Is(result, windows.ERROR_IO_PENDING) {
		return ErrLocked
	}
	return result
}

// sysFull makes an error that means "no room" be found as syscall.ENOSPC.
func sysFull(err error) error {
	for _, full := range []error{
		windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED,
	} {
		if errors.Is(err, full) {
			return fullError{err}
		}
	}
	return err
}

// sysSpace returns how many bytes a volume may still take, and how many it has in all.
func sysSpace(name string) (free, total int64, err error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, 0, err
	}
	var available, all uint64
	if err := windows.GetDiskFreeSpaceEx(path, &available, &all, nil); err != nil {
		return 0, 0, err
	}
	return int64(min(available, 1<<63-1)), int64(min(all, 1<<63-1)), nil
}
