package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// OS is the file system of the operating system.
func OS() FS { return osFS{} }

// osFS has no state. What differs between systems is in the functions named sys….
type osFS struct{}

const (
	filePerm = 0o644
	dirPerm  = 0o755
)

func (osFS) Open(name string) (File, error) { return openOSFile(name, os.O_RDONLY) }

func (osFS) OpenFile(name string) (File, error) { return openOSFile(name, os.O_RDWR) }

func (osFS) Create(name string) (File, error) {
	return openOSFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (osFS) Rename(from, to string) error { return sysRename(from, to) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) RemoveAll(name string) error { return os.RemoveAll(name) }

func (osFS) Mkdir(name string) error { return sysFull(os.Mkdir(name, dirPerm)) }

func (osFS) MkdirAll(name string) error { return sysFull(os.MkdirAll(name, dirPerm)) }

func (osFS) ReadDir(name string) ([]Entry, error) {
	listed, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(listed))
	for _, d := range listed {
		if d.IsDir() { // of which there is nothing more to ask
			entries = append(entries, Entry{Name: d.Name(), Dir: true})
			continue
		}
		info, err := d.Info()
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			info, err = os.Stat(name + string(os.PathSeparator) + d.Name())
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile, or a link to nowhere
		case err != nil:
			return nil, err
		case info.IsDir():
			entries = append(entries, Entry{Name: d.Name(), Dir: true})
		default:
			entries = append(entries, Entry{Name: d.Name(), Size: info.Size()})
		}
	}
	return entries, nil
}

func (osFS) Stat(name string) (Info, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return Info{}, err
	case info.IsDir():
		return Info{Dir: true, ModTime: info.ModTime()}, nil
	default:
		return Info{Size: info.Size(), ModTime: info.ModTime()}, nil
	}
}

func (osFS) SyncDir(name string) error { return pathError("syncdir", name, sysSyncDir(name)) }

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := sysOpen(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, sysFull(err)
	}
	if err := sysLock(f); err != nil {
		if errors.Is(err, ErrLocked) {
			if pid := lockHolder(f); pid > 0 {
				err = fmt.Errorf("%w with id %d", err, pid)
			}
		}
		f.Close()
		return nil, pathError("lock", name, err)
	}
	// The lock is what counts; the number is a service to whoever meets it, so failing to write it is no
	// failure.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// LockExisting takes a lock file of the operating system as FS.Lock does, but writes nothing: it fails with fs.ErrNotExist
// if there is none, and does not tell others who holds it.
func LockExisting(name string) (io.Closer, error) {
	f, err := sysOpen(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	if err := sysLock(f); err != nil {
		if errors.Is(err, ErrLocked) {
			if pid := lockHolder(f); pid > 0 {
				err = fmt.Errorf("%w with id %d", err, pid)
			}
		}
		f.Close()
		return nil, pathError("lock", name, err)
	}
	return f, nil
}

// lockHolder reads the process id from a lock file, 0 if there is none.
func lockHolder(f io.ReaderAt) int {
	var text [24]byte
	n, _ := f.ReadAt(text[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return 0
	}
	return pid
}

func (osFS) Free(name string) (int64, error) {
	free, _, err := sysSpace(name)
	return free, pathError("statfs", name, err)
}

func (osFS) Total(name string) (int64, error) {
	_, total, err := sysSpace(name)
	return total, pathError("statfs", name, err)
}

func (osFS) BulkSync(dir string) (Syncer, bool) { return sysBulkSync(dir) }

func (osFS) BootID() string { return sysBootID() }

// fullError is an error that means "no room" under another name, such as a quota that is used up.
type fullError struct{ error }

func (e fullError) Unwrap() error { return e.error }

func (e fullError) Is(target error) bool { return target == syscall.ENOSPC }
