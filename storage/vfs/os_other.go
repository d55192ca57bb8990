//go:build !linux && !darwin && !freebsd && !dragonfly && !windows

package vfs

import (
	"errors"
	"fmt"
	"os"
)

// Systems that Segue is not released for. It builds there and says what is missing when it is asked for it.

func sysOpen(name string, flag int) (*os.File, error) { return os.OpenFile(name, flag, filePerm) }

func sysRename(from, to string) error { return os.Rename(from, to) }

func sysSyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func sysLock(*os.File) error {
	return fmt.Errorf("lock files are not supported on this system: %w", errors.ErrUnsupported)
}

func sysFull(err error) error { return err }

func sysSpace(string) (free, total int64, err error) {
	return 0, 0, fmt.Errorf("free space is not known on this system: %w", errors.ErrUnsupported)
}
