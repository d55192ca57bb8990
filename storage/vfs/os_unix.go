//go:build linux || darwin || freebsd || dragonfly

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sysOpen is os.OpenFile without the question whether the file can be polled, which costs a start with thousands of logs
// three system calls for each of their files. Regular files cannot.
func sysOpen(name string, flag int) (*os.File, error) {
	for {
		fd, err := unix.Open(name, flag|unix.O_CLOEXEC, filePerm)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), name), nil
		case syscall.EINTR:
		default:
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

func sysRename(from, to string) error { return sysFull(os.Rename(from, to)) }

func sysSyncDir(name string) error {
	d, err := os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sysLock uses flock: unlike fcntl's locks it belongs to the open file, so it also keeps a second taker in
// the same process out, and closing another descriptor of the file does not drop it.
func sysLock(f *os.File) error {
	err := control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if err == syscall.EWOULDBLOCK {
		return ErrLocked
	}
	return err
}

// control calls fn with the descriptor, which cannot be closed (and given to another file) meanwhile, and
// again for as long as signals interrupt it.
func control(f *os.File, fn func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if conn.Control(func(fd uintptr) {
		for {
			if result = fn(int(fd)); result != syscall.EINTR {
				return
			}
		}
	}) != nil {
		return fs.ErrClosed // the only way for Control to fail, which has another name for it
	}
	return result
}

// sysFull makes an error that means "no room" be found as syscall.ENOSPC.
func sysFull(err error) error {
	if errors.Is(err, syscall.EDQUOT) {
		return fullError{err}
	}
	return err
}

// sysSpace returns how many bytes a file system may still take, and how many it has in all.
func sysSpace(name string) (free, total int64, err error) {
	var st unix.Statfs_t
	err = unix.Statfs(name, &st)
	for err == syscall.EINTR {
		err = unix.Statfs(name, &st)
	}
	if err != nil {
		return 0, 0, err
	}
	// The blocks that only the administrator may use are in Bfree but not in Bavail, which some systems let
	// go below zero.
	return max(0, int64(st.Bavail)) * blockUnit(&st), int64(st.Blocks) * blockUnit(&st), nil
}
