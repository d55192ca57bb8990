package storage

import (
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"segue/storage/record"
	"segue/storage/vfs"
)

// IndexContents is what an index file says.
type IndexContents struct {
	Base   record.Offset
	Closed bool // whether the fields up to MaxTimestamp hold
	// DataSize and MaxTimestamp are of the segment.
	DataSize, MaxTimestamp int64
	// Synced and SyncedTo are how far the segment was synced, as was noted last: bytes, and the offset behind them.
	Synced   int64
	SyncedTo record.Offset
	Entries  []IndexEntry
}

// IndexEntry says that the batch at Position begins at Offset, and that no batch before it holds a later record than
// MaxBefore.
type IndexEntry struct {
	Offset    record.Offset
	Position  int64
	MaxBefore int64
}

// ReadIndex reads an index file. The error is a *CorruptError, an ErrUnsupported, or that of reading.
func ReadIndex(fsys vfs.FS, path string) (x IndexContents, err error) {
	b, err := readFile(fsys, path, maxCheckpoint)
	switch {
	case errors.Is(err, errUnsound):
		return x, &CorruptError{File: path, Err: err}
	case err != nil:
		return x, err
	case len(b) < indexHeaderSize || string(b[:8]) != string(indexMagic):
		return x, &CorruptError{File: path, Err: errors.New("it is not an index")}
	case order.Uint32(b[8:]) != indexVersion:
		return x, fmt.Errorf("%s: %w: version %d, this broker knows %d", path, ErrUnsupported, order.Uint32(b[8:]), indexVersion)
	}
	x.Base, x.Closed = record.Offset(order.Uint64(b[16:])), order.Uint32(b[12:]) == indexClosed
	x.Synced, x.SyncedTo = noteIn(b)
	n := (len(b) - indexHeaderSize) / indexEntrySize
	if x.Closed {
		if crc32.Checksum(b[:52], castagnoli) != order.Uint32(b[52:]) || int64(order.Uint64(b[24:])) != int64(n) {
			return x, &CorruptError{File: path, Err: errors.New("its header has another checksum, or counts other entries")}
		}
		x.DataSize, x.MaxTimestamp = int64(order.Uint64(b[32:])), int64(order.Uint64(b[40:]))
	}
	for i := range n {
		e := entryAt(b, i)
		if e.Position == 0 {
			break // there is none for the start: from here on the file is room for more
		}
		x.Entries = append(x.Entries, IndexEntry{x.Base + record.Offset(e.Relative), int64(e.Position), e.MaxBefore})
	}
	return x, nil
}

// CheckpointContents is what a checkpoint file says.
type CheckpointContents struct {
	TopicID      [16]byte
	At           record.Offset // below it everything was sound and synced
	Segment      record.Offset // the base offset of the segment that At is in
	Position     int64         // of At in it
	IndexEntries int64         // of its index, up to Position
	MaxTimestamp int64         // of the segment below Position
	LeaderEpoch  int32
	State        []byte // the sum of all records below At, for who saved it
}

// ReadCheckpoint reads a checkpoint file. The error is a *CorruptError, or that of reading.
func ReadCheckpoint(fsys vfs.FS, path string) (c CheckpointContents, err error) {
	b, err := readFile(fsys, path, maxCheckpoint+checkpointFixed+4)
	if err == nil {
		_, err = checkpointBody(b)
	}
	if err == nil {
		copy(c.TopicID[:], b[16:32])
		var p point
		if p, c.State, err = decodeCheckpoint(b, c.TopicID); err == nil {
			c.At, c.Segment, c.Position, c.IndexEntries = p.at, p.base, p.position, p.entries
			c.MaxTimestamp, c.LeaderEpoch = p.maxTimestamp, p.lastEpoch
			return c, nil
		}
	}
	if errors.Is(err, errUnsound) {
		err = &CorruptError{File: path, Err: err}
	}
	return c, err
}

// ReadTopicID reads the topic id of a log's folder; ok is false where none is written down.
func ReadTopicID(fsys vfs.FS, folder string) (id [16]byte, ok bool, err error) {
	return readMetadata(fsys, folder)
}

// ReadLogStart reads the log start offset of a log's folder, 0 where nothing was deleted.
func ReadLogStart(fsys vfs.FS, folder string) (record.Offset, error) { return readStart(fsys, folder) }

// FileKind is what a file in a directory of logs is, as its name tells.
type FileKind uint8

// The kinds of files.
const (
	OtherFile FileKind = iota
	DataFile
	IndexFile
	CheckpointFile
	TopicIDFile
	LogStartFile
)

// KindOf tells the kind of a file by its name. What was cut off or set aside is data like any.
func KindOf(path string) FileKind {
	name := filepath.Base(path)
	switch filepath.Ext(name) {
	case dataSuffix, cutSuffix, swapSuffix:
		return DataFile
	case indexSuffix:
		return IndexFile
	case checkpointSuffix:
		return CheckpointFile
	}
	switch name {
	case metadataFile:
		return TopicIDFile
	case startFile:
		return LogStartFile
	}
	return OtherFile
}
