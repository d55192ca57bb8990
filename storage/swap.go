package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"segue/storage/record"
	"segue/storage/vfs"
)

// This file holds how one segment takes the place of several neighbours, with names alone, so that a crash leaves either
// the old ones or the new one. FORMAT.md tells the order and why each point of it is safe.

const (
	swapSuffix      = ".swap"
	swapTempSuffix  = swapSuffix + tempSuffix  // data that is being written
	indexTempSuffix = indexSuffix + tempSuffix // its index, until the data has its name
)

// swapName is the name, without suffix, of the files that are to take the place of the segments from one base offset up
// to another.
func swapName(base, next record.Offset) string { return segmentName(base) + "-" + segmentName(next) }

// swapFile is a file that takes the place of the segments whose base offsets lie in base..next-1. Its name is the
// commit: it was synced before it got it.
type swapFile struct {
	name       string
	base, next record.Offset
	size       int64
}

// holds says whether a segment is one of those whose place the file takes.
func (s swapFile) holds(base record.Offset) bool { return s.base <= base && base < s.next }

// parseSwap returns the range in the name of such a file.
func parseSwap(name string) (base, next record.Offset, ok bool) {
	digits, isSwap := strings.CutSuffix(name, swapSuffix)
	if !isSwap || len(digits) != 41 || digits[20] != '-' {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(digits[:20], 10, 64)
	to, err2 := strconv.ParseInt(digits[21:], 10, 64)
	return record.Offset(from), record.Offset(to), errors.Join(err, err2) == nil && 0 <= from && from < to
}

// listSwaps returns the files of a folder that are to take the place of others, in order.
func listSwaps(entries []vfs.Entry) (swaps []swapFile) {
	for _, e := range entries {
		if base, next, ok := parseSwap(e.Name); ok && !e.Dir {
			swaps = append(swaps, swapFile{e.Name, base, next, e.Size})
		}
	}
	return swaps
}

// swapAround returns the file that takes the place of the segment with that base offset, if there is one.
func swapAround(swaps []swapFile, base record.Offset) (swapFile, bool) {
	i := slices.IndexFunc(swaps, func(s swapFile) bool { return s.holds(base) })
	if i < 0 {
		return swapFile{}, false
	}
	return swaps[i], true
}

// replacement is a segment that is written to take the place of neighbours.
type replacement struct {
	l     *Log
	base  record.Offset
	next  record.Offset // the base offset of the segment behind
	file  vfs.File      // pinned by nobody; nil before the first byte
	size  int64
	index indexBuilder
}

func (n *replacement) path() string { return filepath.Join(n.l.folder, swapName(n.base, n.next)) }

// seal makes the data durable, and an index for it, under names that an open removes.
func (n *replacement) seal() error {
	if err := n.file.Sync(); err != nil {
		return err
	}
	n.index.synced, n.index.syncedTo = n.size, n.next
	return writeNew(n.l.dir.fs, n.path()+indexTempSuffix, n.index.encode(n.size, true))
}

// writeNew makes a file with that content and syncs it. One that a failure has left under the name is replaced.
func writeNew(fsys vfs.FS, path string, content []byte) error {
	if err := removeIfThere(fsys, path); err != nil {
		return err
	}
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(content, 0); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// discard gives the room of a replacement that was not committed back.
func (n *replacement) discard() error {
	var err error
	if n.file != nil {
		err = n.file.Close()
	}
	fsys := n.l.dir.fs
	return errors.Join(err, removeIfThere(fsys, n.path()+swapTempSuffix), removeIfThere(fsys, n.path()+indexTempSuffix))
}

// errOvertaken says that segments have left the log while others were written for them: records were deleted.
var errOvertaken = errors.New("records were deleted meanwhile")

// swapIn puts a sealed replacement into the place of the segments that it was made of, which the caller holds. If it
// returns an error before the commit the log is as it was, and the replacement is the caller's to discard; after it, what
// could not be done is left to the next open, and the log is not compacted any more before that.
func (l *Log) swapIn(ctx context.Context, old []*Segment, n *replacement) (committed bool, err error) {
	if err := l.takeTurn(ctx); err != nil {
		return false, err
	}
	defer l.giveTurn()
	if err := errors.Join(l.ifClosed(), l.usable()); err != nil {
		return false, err
	}
	if !l.stand(old, n.next) {
		return false, errOvertaken
	}
	if err := l.unplace(ctx, n.base, n.next); err != nil {
		return false, err
	}
	fresh, err := l.freshSegment(n)
	if err != nil {
		return false, err
	}
	for _, s := range old { // whoever makes an index again ends first, and begins no more
		s.making.Lock()
		defer s.making.Unlock()
	}
	fsys, swap := l.dir.fs, n.path()+swapSuffix
	defer fresh.idx.Load().mapped.unpin()
	defer fresh.file.unpin()
	if err := fsys.Rename(n.path()+swapTempSuffix, swap); IsFull(err) {
		fresh.release()
		return false, err // this cause says that it has not got the name
	} else if err != nil {
		l.halt(err)
		fresh.release()
		return true, err
	}
	if err := l.syncNames(); err != nil {
		fresh.release()
		return true, err
	}
	fresh.swap.Store(&swap)
	l.replace(old, fresh)
	for _, s := range old {
		s.shut() // at once: its path is another's now. Whoever reads in it reads on
		s.release()
	}
	return true, l.takePlace(old, n, fresh)
}

// freshSegment returns the segment that a replacement is to be, with both of its handles pinned, so that neither needs a
// name.
func (l *Log) freshSegment(n *replacement) (*Segment, error) {
	d := l.dir
	f, err := d.fs.OpenFile(n.path() + indexTempSuffix)
	if err != nil {
		return nil, err
	}
	s := newSegment(d, l.folder, n.base, 0)
	x := s.idx.Load()
	m, err := x.mapFile(f)
	if err != nil {
		return nil, err
	}
	x.mapped.adopt(m)
	x.count.Store(int64(len(n.index.entries)))
	x.full = true
	s.file.adopt(n.file)
	n.file = nil // it is the segment's now
	s.size.Store(n.size)
	s.maxTime.Store(n.index.maxTime)
	s.durable.Store(true)
	s.named.Store(true)
	s.surveyed.Store(true)
	s.ready.Store(true)
	return s, nil
}

// stand says whether the segments are still neighbours in the log, with the one at next behind them.
func (l *Log) stand(old []*Segment, next record.Offset) bool {
	all := l.view.Load().segments
	i := slices.Index(all, old[0])
	return i >= 0 && i+len(old) < len(all) && slices.Equal(all[i:i+len(old)], old) && all[i+len(old)].base == next
}

// replace publishes a list with another segment in the place of some.
func (l *Log) replace(old []*Segment, fresh *Segment) {
	l.writer.Lock() // the list changes at a roll too
	defer l.writer.Unlock()
	v := l.view.Load()
	i := slices.Index(v.segments, old[0])
	segments := slices.Concat(v.segments[:i], []*Segment{fresh}, v.segments[i+len(old):])
	for _, s := range old {
		s.replaced.Store(true)
	}
	l.view.Store(&view{segments: segments, start: v.start, lost: v.lost})
}

// takePlace removes the old files and gives the new ones their names. Each step is durable before the next: a new segment
// is never found beside an old one, nor an old index beside a new segment.
func (l *Log) takePlace(old []*Segment, n *replacement, fresh *Segment) error {
	fsys := l.dir.fs
	for _, s := range old {
		if err := errors.Join(removeIfThere(fsys, s.path+dataSuffix), removeIfThere(fsys, s.path+indexSuffix)); err != nil {
			return l.leaveSwap(fresh, err)
		}
	}
	if err := l.syncNames(); err != nil {
		return l.leaveSwap(fresh, err)
	}
	if err := fsys.Rename(n.path()+indexTempSuffix, fresh.path+indexSuffix); err != nil {
		return l.leaveSwap(fresh, err)
	}
	if err := l.syncNames(); err != nil {
		return l.leaveSwap(fresh, err)
	}
	if err := fsys.Rename(n.path()+swapSuffix, fresh.path+dataSuffix); err != nil {
		return l.leaveSwap(fresh, err)
	}
	fresh.swap.Store(nil)
	return l.syncNames()
}

// leaveSwap leaves the rest of an exchange to the next open. Until then the data is read where it is, and an index is made
// where the old one was, which that open removes.
func (l *Log) leaveSwap(fresh *Segment, cause error) error {
	fresh.markOdd(fresh.idx.Load())
	l.halt(cause)
	return cause
}

// halt keeps the log from being compacted until it is opened again, because what an exchange has left of names is not
// known, or not what another may build on.
func (l *Log) halt(cause error) {
	if !l.halted.Swap(true) {
		l.dir.log.Error().Err(cause).Str("partition", l.id.String()).
			Msg("segments were not exchanged; the log can be read and written, and is compacted again after a restart")
	}
}

// syncNames makes the names in the log's folder durable. If that fails the log has failed: nobody else would be told what
// was lost.
func (l *Log) syncNames() error {
	err := l.dir.fs.SyncDir(l.folder)
	if err != nil {
		l.halted.Store(true)
		l.mu.Lock()
		l.failLocked(fmt.Errorf("sync: %w", err))
		l.wakeLocked(0)
		l.mu.Unlock()
		l.deliver()
	}
	return err
}

// unplace sees to it that no checkpoint names a place in segments that are about to be replaced. What it says of offsets
// stays: that is as true of the new segment. Another one is saved first if none would be left to begin at.
func (l *Log) unplace(ctx context.Context, base, next record.Offset) error {
	fsys := l.dir.fs
	entries, err := fsys.ReadDir(l.folder)
	if err != nil {
		return err
	}
	type placed struct {
		path  string
		p     point
		state []byte
	}
	var within []placed
	placedBehind := false
	for _, e := range entries {
		if e.Dir || !strings.HasSuffix(e.Name, checkpointSuffix) {
			continue
		}
		path := filepath.Join(l.folder, e.Name)
		p, state, err := readCheckpoint(fsys, path, l.id.TopicID)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return err
		case p.base >= next && l.hasSegment(p.base):
			placedBehind = true
		case base <= p.base && p.base < next:
			within = append(within, placed{path, p, state})
		}
	}
	if len(within) == 0 {
		return nil
	}
	if !placedBehind {
		if err := l.sync(ctx); err != nil {
			return err
		}
		l.mu.Lock()
		end := l.synced.offset
		l.mu.Unlock()
		if err := l.saveCheckpoint(cleanCheckpoint, end, nil); err != nil {
			return err
		}
	}
	for _, c := range within {
		if filepath.Base(c.path) == cleanCheckpoint+checkpointSuffix && !placedBehind {
			continue // replaced just now
		}
		if err := writeFile(fsys, c.path, encodeCheckpoint(l.id.TopicID, c.p.unplaced(), c.state)); err != nil {
			return err
		}
	}
	return l.syncNames()
}

// hasSegment says whether a segment of the log begins at an offset.
func (l *Log) hasSegment(base record.Offset) bool {
	return slices.ContainsFunc(l.view.Load().segments, func(s *Segment) bool { return s.base == base })
}

// unplaced returns a point that says of offsets what p says, and names no place in any segment but the start of one that
// may begin there.
func (p point) unplaced() point {
	return point{at: p.at, base: p.at, maxTimestamp: noTimestamp, lastEpoch: p.lastEpoch}
}
