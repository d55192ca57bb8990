package coordinator

import (
	"context"

	"segue/partition"
	"segue/storage/record"
)

// Log is what a shard asks of its partition. *partition.Partition is one.
type Log interface {
	// Append writes a batch at the log end, on behalf of partition.Coordinator.
	Append(ctx context.Context, epoch int32, b record.Batch, from partition.Origin) (partition.Ack, error)
	// CheckProducer says whether a producer's transactional batch may be appended.
	CheckProducer(id int64, epoch int16, g partition.Guard) error
	// AppendMarker writes a marker that ends a producer's transaction.
	AppendMarker(ctx context.Context, epoch int32, m partition.Marker) (partition.Ack, error)
	// Read reads what is committed.
	Read(ctx context.Context, r partition.ReadRequest) (partition.ReadResult, error)
	// Offsets returns the marks of the log.
	Offsets() partition.Offsets
	// Watch rings w once when what lies at beyond is committed, and when the partition fails or is closed.
	Watch(w *partition.Waiter, beyond record.Offset, readCommitted bool)
	// Unwatch ends all that w watches.
	Unwatch(w *partition.Waiter)
	// Await blocks until everything below next is committed, or returns why that will not be.
	Await(ctx context.Context, next record.Offset) error
	// Ended returns why nothing more will be committed: NOT_LEADER_OR_FOLLOWER once the partition is closed,
	// KAFKA_STORAGE_ERROR once it has failed, nil before.
	Ended() error
	// LeaderEpoch is the epoch at which this broker leads the partition.
	LeaderEpoch() int32
}

var _ Log = (*partition.Partition)(nil)
