package storage

import (
	"errors"
	"sync"
	"syscall"

	"github.com/rs/zerolog"

	"segue/storage/vfs"
)

// reserve is a file that holds some room on the disk back, so that what makes room again, or must not fail (deletes,
// checkpoints, the catalog), still works on a full disk: the file is emptied, and filled again once there is room.
type reserve struct {
	fs   vfs.FS
	path string
	size int64
	log  zerolog.Logger

	mu     sync.Mutex
	filled bool
}

func newReserve(fsys vfs.FS, path string, size int64, log zerolog.Logger) *reserve {
	r := &reserve{fs: fsys, path: path, size: size, log: log}
	r.refill()
	return r
}

// isFull tells whether an error says that the disk, or the quota on it, is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// with calls f, and once more with the reserve given up if the disk was full.
func (r *reserve) with(f func() error) error {
	err := f()
	if err == nil || !isFull(err) {
		return err
	}
	return r.spend(f)
}

// spend gives up the reserve and calls f.
func (r *reserve) spend(f func() error) error {
	r.mu.Lock()
	had := r.filled
	r.filled = false
	r.mu.Unlock()
	if had {
		if err := r.resize(0); err != nil {
			r.log.Warn().Err(err).Msg("reserve not given up")
		} else {
			r.log.Warn().Int64("bytes", r.size).Msg("disk is full; the reserve is in use until there is room again")
		}
	}
	return f()
}

// refill takes the room again if there is plenty.
func (r *reserve) refill() {
	r.mu.Lock()
	filled := r.filled
	r.mu.Unlock()
	if filled {
		return
	}
	free, err := r.fs.Free(r.path[:len(r.path)-len(reserveFile)])
	if err == nil && free < 2*r.size {
		err = syscall.ENOSPC
	}
	if err == nil {
		err = r.resize(r.size)
	}
	if err != nil {
		r.log.Warn().Err(err).Int64("bytes", r.size).Msg("no reserve for a full disk")
		return
	}
	r.mu.Lock()
	r.filled = true
	r.mu.Unlock()
}

// resize makes the file that long, with blocks behind every byte.
func (r *reserve) resize(size int64) error {
	f, err := r.fs.OpenFile(r.path)
	if err != nil {
		if f, err = r.fs.Create(r.path); err != nil {
			return err
		}
	}
	if size == 0 {
		err = f.Truncate(0)
	} else {
		err = f.Allocate(0, size)
	}
	return errors.Join(err, f.Close())
}
