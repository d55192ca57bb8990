package storage

import (
	"errors"
	"io"
	"syscall"

	"segue/storage/vfs"
)

// frugalFS is a file system for a process that may run out of descriptors: what needs one and gets none has idle handles
// closed, and is tried again.
type frugalFS struct {
	vfs.FS
	handles *handles
}

// frugally calls open again as long as that helps.
func frugally[T any](h *handles, open func() (T, error)) (T, error) {
	for {
		v, err := open()
		if err == nil || !isOutOfDescriptors(err) || !h.shed() {
			return v, err
		}
	}
}

func isOutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func (f *frugalFS) Open(name string) (vfs.File, error) {
	return frugally(f.handles, func() (vfs.File, error) { return f.FS.Open(name) })
}

func (f *frugalFS) OpenFile(name string) (vfs.File, error) {
	return frugally(f.handles, func() (vfs.File, error) { return f.FS.OpenFile(name) })
}

func (f *frugalFS) Create(name string) (vfs.File, error) {
	return frugally(f.handles, func() (vfs.File, error) { return f.FS.Create(name) })
}

func (f *frugalFS) ReadDir(name string) ([]vfs.Entry, error) {
	return frugally(f.handles, func() ([]vfs.Entry, error) { return f.FS.ReadDir(name) })
}

func (f *frugalFS) Lock(name string) (io.Closer, error) {
	return frugally(f.handles, func() (io.Closer, error) { return f.FS.Lock(name) })
}

func (f *frugalFS) SyncDir(name string) error {
	_, err := frugally(f.handles, func() (struct{}, error) { return struct{}{}, f.FS.SyncDir(name) })
	return err
}

func (f *frugalFS) RemoveAll(name string) error {
	_, err := frugally(f.handles, func() (struct{}, error) { return struct{}{}, f.FS.RemoveAll(name) })
	return err
}
