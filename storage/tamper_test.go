package storage

import (
	"slices"

	"segue/storage/vfs"
)

// tampered is a file system in which calls are answered by functions where there are such.
type tampered struct {
	vfs.FS
	write    func(f vfs.File, p []byte, off int64) (int, error)
	sync     func(f vfs.File) error
	truncate func(f vfs.File, size int64) error
	syncDir  func(fsys vfs.FS, name string) error
	rename   func(fsys vfs.FS, from, to string) error
	remove   func(fsys vfs.FS, name string) error
	bulk     func(s vfs.Syncer) error
}

func (t *tampered) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return tamperedFile{f, t}, nil
}

func (t *tampered) Open(name string) (vfs.File, error)     { return t.file(t.FS.Open(name)) }
func (t *tampered) OpenFile(name string) (vfs.File, error) { return t.file(t.FS.OpenFile(name)) }
func (t *tampered) Create(name string) (vfs.File, error)   { return t.file(t.FS.Create(name)) }

func (t *tampered) SyncDir(name string) error {
	if t.syncDir != nil {
		return t.syncDir(t.FS, name)
	}
	return t.FS.SyncDir(name)
}

func (t *tampered) Rename(from, to string) error {
	if t.rename != nil {
		return t.rename(t.FS, from, to)
	}
	return t.FS.Rename(from, to)
}

func (t *tampered) Remove(name string) error {
	if t.remove != nil {
		return t.remove(t.FS, name)
	}
	return t.FS.Remove(name)
}

func (t *tampered) BulkSync(dir string) (vfs.Syncer, bool) {
	s, ok := t.FS.BulkSync(dir)
	if !ok {
		return nil, false
	}
	return tamperedSyncer{s, t}, true
}

type tamperedFile struct {
	vfs.File
	t *tampered
}

func (f tamperedFile) WriteAt(p []byte, off int64) (int, error) {
	if f.t.write != nil {
		return f.t.write(f.File, p, off)
	}
	return f.File.WriteAt(p, off)
}

func (f tamperedFile) WriteParts(parts [][]byte, off int64) error {
	_, err := f.WriteAt(slices.Concat(parts...), off)
	return err
}

func (f tamperedFile) Sync() error {
	if f.t.sync != nil {
		return f.t.sync(f.File)
	}
	return f.File.Sync()
}

func (f tamperedFile) Truncate(size int64) error {
	if f.t.truncate != nil {
		return f.t.truncate(f.File, size)
	}
	return f.File.Truncate(size)
}

type tamperedSyncer struct {
	vfs.Syncer
	t *tampered
}

func (s tamperedSyncer) Sync() error {
	if s.t.bulk != nil {
		return s.t.bulk(s.Syncer)
	}
	return s.Syncer.Sync()
}
