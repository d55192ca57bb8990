package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"segue/storage/record"
)

// Identity names a log: the topic-partition that it holds and the id of the topic, which tells a topic from one
// of the same name that was deleted before.
type Identity struct {
	Topic     string
	TopicID   [16]byte
	Partition int32
}

// Folder is the name of the log's folder inside its directory, as Kafka lays it out: topic-partition.
func (id Identity) Folder() string { return fmt.Sprintf("%s-%d", id.Topic, id.Partition) }

func (id Identity) String() string { return id.Folder() }

// Config is what a log can be told about itself. All of it may change while the log is open.
type Config struct {
	// SegmentBytes is the size at which the hot segment is sealed (Kafka's segment.bytes).
	SegmentBytes int64
	// SegmentAge is the span of record timestamps after which the hot segment is sealed (segment.ms), less a
	// random part of SegmentJitter (segment.jitter.ms), so that logs made together do not roll together.
	SegmentAge, SegmentJitter time.Duration
	// IndexBytes bounds a segment's index (segment.index.bytes); a full index seals the segment.
	IndexBytes int64
	// IndexInterval is how many bytes of batches lie between two index entries (index.interval.bytes).
	IndexInterval int64

	// FlushMessages is the flush policy by count (flush.messages). At 1 committed means synced. Above it committed
	// means written, and a sync follows after that many records.
	FlushMessages int64
	// FlushInterval is the flush policy by time (flush.ms), for a FlushMessages above 1: no written record waits
	// longer than this for its sync.
	FlushInterval time.Duration

	// Delete has the cleaner drop sealed segments by age and by size (cleanup.policy=delete).
	Delete bool
	// Compact has the cleaner keep the last record of each key (cleanup.policy=compact).
	Compact bool
	// TombstoneAge is how long compaction keeps a tombstone after it has first met it (delete.retention.ms).
	TombstoneAge time.Duration
	// MinDirtyRatio is the part of the log, of what compaction may look at, that must be dirty before it is compacted
	// (min.cleanable.dirty.ratio).
	MinDirtyRatio float64
	// MinCompactionLag keeps younger records from compaction (min.compaction.lag.ms); from MaxCompactionLag on older ones
	// are compacted whatever the ratio (max.compaction.lag.ms); 0 is no such limit for either.
	MinCompactionLag, MaxCompactionLag time.Duration
	// RetentionBytes is the size above which the oldest segments go; negative for no limit.
	RetentionBytes int64
	// RetentionAge is the age of its newest record at which a segment goes; negative for no limit.
	RetentionAge time.Duration

	// UseReserve lets appends use the room that is held back for a full disk. It is for logs that must go on so
	// that room can be made: the catalog's.
	UseReserve bool
}

// Events tells a log's owner what happened to it. Calls for one log come in order, one at a time, with no lock of
// the log held, and neither before Open has returned nor after Close or Delete has; they must not block, so they must
// not close the log either.
type Events interface {
	// Committed says that every record below next is committed. Next never goes back.
	Committed(next record.Offset)
	// Failed says that the log has failed for good, with the cause; nothing is committed after it.
	Failed(cause error)
}

// Heir may be implemented by a log's Events, if its owner knows things from the records that it must go on knowing when
// they are gone.
type Heir interface {
	// BeforeRetention is called before retention takes the oldest records, with no lock of the log held, so that a
	// checkpoint can be saved which covers them. It may be called as soon as the log is open. They stay if it returns an
	// error, until the next round.
	BeforeRetention(ctx context.Context) error
}

// Keeper answers what compaction must know of a partition's transactions and producers.
type Keeper interface {
	// CleanLimit is the offset below which compaction may look: nothing at or above it is decided yet.
	CleanLimit() record.Offset
	// Keep says what must stay of a batch. Of the marker of a transaction it says nothing about the time when it may go.
	Keep(record.Batch) Verdict
	// Forget is called before markers of transactions go, with their offsets in order and no lock of the log held. No data
	// of their transactions is left. When it has returned, no checkpoint must be there that was folded without having seen
	// them, or that still tells what they said. They stay if it returns an error, until the next round.
	Forget(ctx context.Context, markers []record.Offset) error
}

// Verdict is what a Keeper says of a batch.
type Verdict uint8

// The verdicts of a Keeper.
const (
	KeepLatest  Verdict = iota // the batch is compacted like any other
	KeepBatch                  // so it is, but its header has to stay
	KeepAll                    // nothing of it may go
	DropAll                    // all of it goes: it belongs to an aborted transaction
	DropRecords                // so it does, but its header has to stay
)

// drops says whether the records of the batch are to be seen by nobody, and so supersede nothing.
func (v Verdict) drops() bool { return v == DropAll || v == DropRecords }

// The errors that callers tell apart. Every error that a log returns is one of these, a *CorruptError, a
// context's error, or a passing failure to read, each wrapped with what was being done.
var (
	// ErrOffsetOutOfRange: the offset lies below the log's start or above its end.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrClosed: the log or its directory was closed or deleted.
	ErrClosed = errors.New("log is closed")
	// ErrFailed: an earlier sync failed, so what the disk holds is unknown; the log takes no more appends until it
	// is opened again.
	ErrFailed = errors.New("log has failed")
	// ErrNotWritten: the batch could not be written (the disk is full, say). The log is as it was before; a later
	// append may succeed.
	ErrNotWritten = errors.New("batch not written")
	// ErrStaleEpoch: the append carries a leader epoch below one that the log already holds.
	ErrStaleEpoch = errors.New("leader epoch is stale")
	// ErrNotFound: there is no such checkpoint, or none that is valid.
	ErrNotFound = errors.New("not found")
	// ErrUnsupported: the folder holds something this version cannot read (message format 0 or 1, say).
	ErrUnsupported = errors.New("unsupported format")
)

// CorruptError says where a log's bytes are not what they should be. Reads of sound batches before and after it
// go on.
type CorruptError struct {
	File     string
	Position int64         // of the first unsound byte in File
	Offset   record.Offset // the lowest offset that cannot be read for it
	Err      error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt data in %s at byte %d (offset %d): %v", e.File, e.Position, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }
