package storage

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"segue/storage/record"
	"segue/storage/vfs"
)

// This file holds what recovery does to data files: what is not to stay in the log is moved aside, and what is to stay is
// written again where it may not have come to the disk.

// cutTail moves what is behind a position into a file of its own and cuts the segment there.
func (r *recovery) cutTail(s *Segment, f vfs.File, pos, size int64, offset record.Offset, cause error) error {
	if pos == size {
		return nil // the end is missing, and with it what was to be kept
	}
	r.d.counters.cuts.Add(1)
	r.d.counters.cutBytes.Add(size - pos)
	keep := r.cutName(offset)
	r.d.log.Warn().Err(cause).Str("segment", s.path).Int64("offset", int64(offset)).Int64("at_byte", pos).
		Int64("bytes", size-pos).Str("kept_in", keep).
		Msg("the end of the log was never synced and is torn; it is cut off and kept")
	err := r.d.reserve.with(forRoom, func() error { return copyTail(r.d.fs, f, pos, size, keep) })
	if err == nil {
		err = r.d.fs.SyncDir(r.l.folder)
	}
	if err == nil {
		err = f.Truncate(pos)
	}
	if err != nil {
		return fmt.Errorf("cut the torn end of %s: %w", s.path, err)
	}
	return nil
}

// setAside renames whole segments, for the reason that is given.
func (r *recovery) setAside(files []segmentFile, why string) error {
	for _, file := range files {
		path := filepath.Join(r.l.folder, segmentName(file.base))
		keep := r.cutName(file.base)
		r.d.counters.cuts.Add(1)
		r.d.counters.cutBytes.Add(file.size)
		r.d.log.Warn().Str("segment", path).Int64("bytes", file.size).Str("kept_in", keep).
			Msg(why)
		if err := r.d.fs.Rename(path+dataSuffix, keep); err != nil {
			return err
		}
		if err := removeIfThere(r.d.fs, path+indexSuffix); err != nil {
			return err
		}
	}
	return r.d.fs.SyncDir(r.l.folder)
}

// cutName returns a free name for what is cut off at an offset.
func (r *recovery) cutName(offset record.Offset) string {
	name := filepath.Join(r.l.folder, segmentName(offset)+cutSuffix)
	free := name
	for n := 2; ; n++ {
		if _, err := r.d.fs.Stat(free); err != nil {
			return free
		}
		free = fmt.Sprintf("%s.%d", name, n)
	}
}

const copyBlock = 1 << 20

func copyTail(fsys vfs.FS, f vfs.File, pos, size int64, to string) (err error) {
	if err := removeIfThere(fsys, to); err != nil {
		return err
	}
	out, err := fsys.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := eachBlock(f, pos, size, func(b []byte, at int64) error {
		_, err := out.WriteAt(b, at-pos)
		return err
	}); err != nil {
		return err
	}
	return out.Sync()
}

// rewrite writes the bytes of a stretch over themselves.
func rewrite(f vfs.File, from, to int64) error {
	return eachBlock(f, from, to, func(b []byte, at int64) error {
		_, err := f.WriteAt(b, at)
		return err
	})
}

// eachBlock reads a stretch of a file block by block and hands each on with its position. It is valid during the call.
func eachBlock(f io.ReaderAt, from, to int64, do func(b []byte, at int64) error) error {
	buf := make([]byte, min(copyBlock, to-from))
	for at := from; at < to; at += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), to-at)]
		if n, err := f.ReadAt(buf, at); n < len(buf) {
			return err
		}
		if err := do(buf, at); err != nil {
			return err
		}
	}
	return nil
}
