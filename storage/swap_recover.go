package storage

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"segue/storage/record"
	"segue/storage/vfs"
)

// This file holds what recovery does with an exchange of segments that did not come to its end.

// finishSwaps finishes the exchanges of segments that were committed and did not come to their end. It returns what the
// folder holds then.
func (r *recovery) finishSwaps(ctx context.Context, entries []vfs.Entry) ([]vfs.Entry, error) {
	swaps := listSwaps(entries)
	if len(swaps) == 0 {
		return entries, nil
	}
	// The last run may have been killed before their names were durable, and what they take the place of is removed now.
	if err := r.d.fs.SyncDir(r.l.folder); err != nil {
		return nil, err
	}
	for i, s := range swaps {
		if i > 0 && s.base < swaps[i-1].next {
			return nil, &CorruptError{File: filepath.Join(r.l.folder, s.name), Offset: s.base, Err: fmt.Errorf(
				"it is to take the place of segments that %s takes the place of too; move the one that does not belong there elsewhere", swaps[i-1].name)}
		}
		if err := r.finishSwap(ctx, s, entries); err != nil {
			return nil, fmt.Errorf("exchange of segments by %s: %w", s.name, err)
		}
	}
	return r.d.fs.ReadDir(r.l.folder)
}

// finishSwap does again what takePlace does, whatever of it was done. The index is made from the data: which one is there
// is not known.
func (r *recovery) finishSwap(ctx context.Context, swap swapFile, entries []vfs.Entry) error {
	fsys := r.d.fs
	s := newSegment(r.d, r.l.folder, swap.base, 0)
	defer s.release()
	path := filepath.Join(r.l.folder, swap.name)
	s.swap.Store(&path)
	s.size.Store(swap.size)
	b, damage, err := s.readIndex(ctx, swap.next)
	if err != nil {
		return err
	}
	b.synced, b.syncedTo = swap.size, swap.next
	for _, e := range entries {
		base, isData := parseSegmentName(e.Name)
		if !isData || e.Dir || !swap.holds(base) {
			continue
		}
		if damage == 0 {
			err = removeIfThere(fsys, filepath.Join(r.l.folder, e.Name))
		} else { // what of it the new file has is not sure
			err = fsys.Rename(filepath.Join(r.l.folder, e.Name), r.cutName(base))
		}
		if err != nil {
			return err
		}
	}
	for _, e := range entries {
		if name, isIndex := strings.CutSuffix(e.Name, indexSuffix); isIndex && !e.Dir {
			if base, ok := parseSegmentName(name + dataSuffix); ok && swap.holds(base) {
				if err := removeIfThere(fsys, filepath.Join(r.l.folder, e.Name)); err != nil {
					return err
				}
			}
		}
	}
	if err := fsys.SyncDir(r.l.folder); err != nil {
		return err
	}
	err = r.d.reserve.with(forRoom, func() error { return writeFile(fsys, s.path+indexSuffix, b.encode(swap.size, damage == 0)) })
	if IsFull(err) {
		r.d.log.Warn().Err(err).Str("segment", s.path).Msg("no room for an index; it is made when it is needed")
		err = nil
	}
	if err == nil {
		err = fsys.SyncDir(r.l.folder)
	}
	if err == nil {
		err = fsys.Rename(path, s.path+dataSuffix)
	}
	if err != nil {
		return err
	}
	return fsys.SyncDir(r.l.folder)
}

// readIndex reads a segment for its index, and counts what of it is not sound.
func (s *Segment) readIndex(ctx context.Context, next record.Offset) (b indexBuilder, damage int, err error) {
	f, err := s.file.pin()
	if err != nil {
		return b, 0, err
	}
	defer s.file.unpin()
	b.base = s.base
	c := &checker{s: s, f: f, size: s.size.Load(), least: s.base, next: next, settled: true, maxTime: noTimestamp, lastEpoch: -1, onBatch: b.add}
	err = c.run(ctx)
	b.maxTime = c.maxTime
	return b, len(c.damage), err
}
