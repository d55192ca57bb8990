package partition

import (
	"context"

	"segue/storage"
	"segue/storage/record"
)

// Log is what a partition asks of its log: an ordered run of record batches with a committed watermark. It is safe
// for concurrent use, except that Append is called by one goroutine at a time. storage.Log is one; package logtest
// holds the suite that every implementation must pass.
//
// A cancelled context ends waiting and nothing else: an append that returns an error has written nothing, unless
// the log has failed with it.
type Log interface {
	// Append stamps the next offsets and the leader epoch into the batches' headers and writes them, in order. It
	// returns the offset of the first record and the one behind the last. A batch is committed when Events.Committed
	// says so. With an error, those that end at or below next are in the log and the others are not.
	Append(ctx context.Context, epoch int32, batches ...record.Batch) (base, next record.Offset, err error)
	// Read returns whole batches: the first one holds the offset from or is the next one behind it, all end at or
	// below to, and together they are at most maxBytes, but for the first one where atLeastOne is set. The zero
	// Chunk says that there are none. The caller releases the chunk.
	Read(ctx context.Context, from, to record.Offset, maxBytes int, atLeastOne bool) (record.Chunk, error)
	// OffsetForTime returns the first record by offset, at or above the log start, with a timestamp at or after
	// unixMilli, and that timestamp; -1 and -1 if there is none. It does not stop at committed.
	OffsetForTime(ctx context.Context, unixMilli int64) (record.Offset, int64, error)
	// MaxTimestamp returns the first record with the largest timestamp of the log, and that timestamp; -1 and -1 if
	// there is none.
	MaxTimestamp(ctx context.Context) (record.Offset, int64, error)
	// Bounds returns the log start offset, the offset below which all is committed, and the log end offset. It is
	// cheap and never waits for a write.
	Bounds() (start, committed, end record.Offset)
	// DeleteBefore raises the log start offset to start, which must be committed. The new start is durable when it
	// returns.
	DeleteBefore(ctx context.Context, start record.Offset) error
	// Save keeps a checkpoint: state, a fold over every batch below at, which must be committed. It replaces the
	// last one of that name.
	Save(ctx context.Context, name string, at record.Offset, state []byte) error
	// Load returns the last checkpoint of that name, storage.ErrNotFound if there is none that is valid.
	Load(ctx context.Context, name string) (at record.Offset, state []byte, err error)
	// Configure changes the log's configuration from now on.
	Configure(storage.Config)
	// Size is the bytes of all batches in the log.
	Size() int64
	// Close ends the log. Everything else then returns storage.ErrClosed; chunks that are out stay readable.
	Close() error
}

// Store is a set of logs. It is safe for concurrent use.
type Store interface {
	// Open opens a log, a new one if there is none, and recovers it. Events may come as soon as it has returned.
	Open(ctx context.Context, id storage.Identity, c storage.Config, e storage.Events, k storage.Keeper) (Log, error)
	// Delete removes a log, which is not open. A log that is not there is no error.
	Delete(ctx context.Context, id storage.Identity) error
	// List returns the logs that hold anything.
	List(ctx context.Context) ([]storage.Identity, error)
}
