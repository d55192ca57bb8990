package storage

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"segue/storage/record"
	"segue/storage/vfs"
)

// This file tells what lies in a log's folder. Nothing in it changes anything.

// segmentFile is a data file and what is known of it before it is read.
type segmentFile struct {
	base     record.Offset
	size     int64
	foreign  bool          // Kafka's index stands beside it
	own      bool          // an index of ours does, or a checkpoint of ours names it
	synced   int64         // bytes that were synced; 0 where nothing tells
	syncedTo record.Offset // the offset behind them
	swap     string        // the name of the file if it has not got its own yet; see swapFile
}

// noteProof takes in that the file was once synced up to a position, where an offset is.
func (f *segmentFile) noteProof(position int64, at record.Offset) {
	if position >= f.synced {
		f.synced, f.syncedTo = position, max(at, f.syncedTo)
	}
}

// proof tells that a log was once synced up to an offset, in the segment of that base offset.
type proof struct {
	base, at record.Offset
}

// listSegments returns the data files of a folder in order. One without a byte between two others is passed over: what is
// missing is missing at the end of the one before it. The first one stays, to say that the log begins there, and so does
// one that may be the first above what was deleted: files from below the log start may still be there. A file that takes
// the place of others is listed in their place.
func listSegments(entries []vfs.Entry, start record.Offset) (files, empty []segmentFile) {
	swaps := listSwaps(entries)
	for _, e := range entries {
		if base, next, ok := parseSwap(e.Name); ok && !e.Dir {
			files = append(files, segmentFile{base: base, size: e.Size, swap: e.Name, synced: e.Size, syncedTo: next})
		} else if base, ok := parseSegmentName(e.Name); ok && !e.Dir {
			if _, gone := swapAround(swaps, base); gone {
				continue
			}
			if n := len(files); n > 1 && files[n-1].size == 0 && files[n-1].base > start {
				empty = append(empty, files[n-1])
				files = files[:n-1]
			}
			files = append(files, segmentFile{base: base, size: e.Size})
		}
	}
	return files, empty
}

// orphans returns the base offsets of the indexes that have no data file.
func orphans(entries []vfs.Entry, files []segmentFile) (bases []record.Offset) {
	swaps := listSwaps(entries)
	for _, e := range entries {
		name, isIndex := strings.CutSuffix(e.Name, indexSuffix)
		base, ok := parseSegmentName(name + dataSuffix)
		if _, gone := swapAround(swaps, base); !isIndex || !ok || e.Dir || gone {
			continue
		}
		if !holdBase(files, base) {
			bases = append(bases, base)
		}
	}
	return bases
}

// holdBase says whether one of the files is of that base offset.
func holdBase(files []segmentFile, base record.Offset) bool {
	return slices.ContainsFunc(files, func(f segmentFile) bool { return f.base == base })
}

// checkNames refuses a folder with a segment whose name is not the offset of its first batch. Only files that have no
// index of that name are looked at, since whoever renames one has no reason to rename the other.
func checkNames(d *Dir, folder string, files []segmentFile, entries []vfs.Entry, gaps bool) error {
	for _, file := range files {
		has := func(suffix string) bool { return hasEntry(entries, segmentName(file.base)+suffix) }
		if file.size == 0 || file.swap != "" || has(indexSuffix) {
			continue
		}
		if err := checkName(d, folder, file, gaps || has(kafkaIndexSuffix)); err != nil {
			return err
		}
	}
	return nil
}

// hasEntry says whether there is a file or folder of that name.
func hasEntry(entries []vfs.Entry, name string) bool {
	_, there := slices.BinarySearchFunc(entries, name, func(e vfs.Entry, name string) int { return strings.Compare(e.Name, name) })
	return there
}

// checkName reads the first two batches. That the name is wrong, and not a bit of the first offset, is known from the
// second one.
func checkName(d *Dir, folder string, file segmentFile, gaps bool) error {
	path := filepath.Join(folder, segmentName(file.base)) + dataSuffix
	f, err := d.fs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	c := &checker{f: f, size: file.size, next: noNext}
	b, cause, err := c.sound(0)
	if err != nil || cause != nil {
		return err // other damage is for the check to judge
	}
	base, next, size := b.BaseOffset(), b.NextOffset(), b.Size()
	if base == file.base || base > file.base && gaps {
		return nil
	}
	if b, cause, err = c.sound(int64(size)); err != nil || cause == nil && b.BaseOffset() == file.base+(next-base) {
		return err
	}
	return &CorruptError{File: path, Offset: file.base, Err: fmt.Errorf(
		"its first batch is of offset %d; rename the file to %s%s, or move it elsewhere if it does not belong here",
		base, segmentName(base), dataSuffix)}
}

// checkpointTopics returns the topic ids that the sound checkpoints of a folder name.
func checkpointTopics(fsys vfs.FS, folder string, entries []vfs.Entry) (ids [][16]byte, err error) {
	for _, e := range entries {
		if e.Dir || !strings.HasSuffix(e.Name, checkpointSuffix) {
			continue
		}
		b, err := readFile(fsys, filepath.Join(folder, e.Name), maxCheckpoint+checkpointFixed+4)
		if err != nil && !errors.Is(err, errUnsound) {
			return nil, err
		}
		if id, ok := checkpointTopic(b); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// readable passes on only such errors of reading an index as say nothing about what is in it.
func readable(err error) error {
	if errors.Is(err, errIndexOdd) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// formatID writes a topic id as Kafka writes its UUIDs.
func formatID(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }
