package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"segue/storage/vfs"
)

// reserve holds some room on the disk back, so that what makes room again, or must not fail (deletes, checkpoints, the
// catalog), still works on a full disk. It is a folder of small files: each is room, and the place of a file where it is
// those that have run out. They are removed one after the other as somebody needs what they hold, since others are
// about to take what comes free and is not used at once, and they are made again when there is room.
//
// It also knows whether the disk is full, and says so once.
type reserve struct {
	fs    vfs.FS
	path  string // of the folder
	piece int64  // bytes of one file
	count int    // of files, when the reserve is whole
	log   zerolog.Logger

	full    atomic.Bool // something did not fit, and there has not been room since
	refused atomic.Bool // something has not fitted since the last look

	mu   sync.Mutex // held across the making and removing of files: what one gives up no other is to make again
	have []string   // the files that are there
	sure bool       // that they have blocks, which a copy of the folder may not; a full disk cannot tell
}

const (
	reservePieces = 64
	smallestPiece = 4 << 10
	// reserveLook is the time between two looks whether there is room again.
	reserveLook = 5 * time.Second
)

// purpose is what the reserve is used for; some may use more of it than others.
type purpose int

const (
	forCaches  purpose = iota // what only makes the next start shorter
	forRoom                   // what makes room, or lets a log open
	forCatalog                // what the broker cannot start without
)

// left is how many of a reserve's pieces are not for that purpose.
func (p purpose) left(count int) int {
	switch p {
	case forCaches:
		return count / 2
	case forRoom:
		return count / 8
	}
	return 0
}

// IsFull tells whether an error says that the disk, or the quota on it, is full.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// findReserve returns the reserve as the last run has left it.
func findReserve(fsys vfs.FS, path string, size int64, log zerolog.Logger) (*reserve, error) {
	r := &reserve{fs: fsys, path: path, log: log, piece: max(smallestPiece, size/reservePieces)}
	r.count = int(max(1, size/r.piece))
	entries, err := fsys.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the reserve for a full disk: %w", err)
	}
	for _, e := range entries {
		if !e.Dir && e.Size == r.piece {
			r.have = append(r.have, filepath.Join(path, e.Name))
		}
	}
	return r, nil
}

// with calls f, and again after each piece of the reserve that is given up for it while the disk is full.
func (r *reserve) with(p purpose, f func() error) error {
	err := f()
	for n := 1; IsFull(err); n *= 2 {
		r.noteFull(err)
		if !r.giveUp(n, p.left(r.count)) {
			break
		}
		// Some file systems (XFS) free what was removed a little later, sooner if they are asked how much is free.
		for wait := time.Millisecond; ; wait *= 4 {
			if err = f(); !IsFull(err) || wait > 16*time.Millisecond {
				break
			}
			_, _ = r.fs.Free(filepath.Dir(r.path))
			time.Sleep(wait)
		}
	}
	return err
}

// spare returns the error of a full disk if what is to be written would leave less than what is held back: it is for what
// may fail, and must not make others fail.
func (r *reserve) spare(n int64) error {
	free, err := r.fs.Free(filepath.Dir(r.path))
	if err == nil && free < n+r.piece*int64(r.count) {
		return fmt.Errorf("%d bytes are free and %d are to be left: %w", free, r.piece*int64(r.count), syscall.ENOSPC)
	}
	return nil
}

// noteFull notes that something did not fit.
func (r *reserve) noteFull(cause error) {
	r.refused.Store(true)
	if !r.full.Swap(true) {
		r.log.Error().Err(cause).Msg("disk is full: produces are refused until there is room; delete topics, shorten their retention, or give it more room")
	}
}

// giveUp removes up to n pieces, as long as more than that are left. It returns false if there is none to give.
func (r *reserve) giveUp(n, left int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	gave := false
	for ; n > 0 && len(r.have) > left; n-- {
		last := len(r.have) - 1
		name := r.have[last]
		r.have = r.have[:last]
		if err := removeIfThere(r.fs, name); err != nil {
			r.log.Warn().Err(err).Msg("reserve for a full disk not given up")
			continue
		}
		gave = true
		if last == 0 {
			r.log.Warn().Msg("reserve for a full disk is used up")
		}
	}
	return gave
}

// look makes the reserve whole again if there is plenty of room, and notes that the disk is full no more.
func (r *reserve) look() {
	quiet := !r.refused.Swap(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.have) == r.count && r.sure && !r.full.Load() {
		return
	}
	free, err := r.fs.Free(filepath.Dir(r.path))
	if err == nil && free >= 2*r.piece*int64(r.count) {
		if err = r.fill(); err == nil && quiet && r.full.Swap(false) {
			r.log.Info().Int64("free", free).Msg("there is room on the disk again")
		}
	}
	if err != nil && !IsFull(err) {
		r.log.Warn().Err(err).Msg("no reserve for a full disk")
	}
}

// fill makes the files that are missing, and sees to it that the others are what they seem.
func (r *reserve) fill() error {
	if len(r.have) == r.count && r.sure {
		return nil
	}
	if err := r.fs.MkdirAll(r.path); err != nil {
		return err
	}
	for i := range r.count {
		name := filepath.Join(r.path, fmt.Sprintf("%02d", i))
		there := slices.Contains(r.have, name)
		if there && r.sure {
			continue
		}
		if err := r.hold(name); err != nil {
			return err
		}
		if !there {
			r.have = append(r.have, name)
		}
	}
	r.sure = true
	return nil
}

// hold makes a file one piece long, with blocks behind every byte.
func (r *reserve) hold(name string) error {
	f, err := r.fs.OpenFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = r.fs.Create(name)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Allocate(0, r.piece), f.Close())
}
