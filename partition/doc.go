// Package partition gives a log of record batches the meaning that a Kafka topic-partition has: which batches may be
// appended, what offset a producer's retry is answered with, how far consumers may read, and who is woken when they
// may read further.
//
// # Types
//
// Partition is one led topic-partition over one Log. Manager owns the set of them: it opens them side by side, finds
// them by topic id and number, and keeps their checkpoints fresh. Log and Store are what this package asks of storage.
// Ack is the promise of an append, Waiter the bell of a long poll.
//
// # Invariants
//
//   - log start <= last stable offset <= high watermark <= log end, in every answer, and the high watermark never goes
//     back while the partition is open. It is what the log has announced as committed.
//   - An append is acknowledged by the high watermark alone. A retry of a batch is answered once the original is
//     committed, with the original's offset.
//   - The append lock is held over the one write of a batch. It guards the producer table. Nothing that reads (Read,
//     Offsets, EpochEnd, OffsetForTime, waiting) takes it.
//   - The producer table, the epoch history and the transactions are folds over the headers of the log's batches, and over
//     the markers of transactions, in order. A batch that was not written leaves them as they were. A checkpoint holds them
//     as they were at an offset that is committed; opening replays what lies behind it, so after a crash they are exactly
//     those of the batches that survived.
//   - Below the last stable offset every transaction is decided. Whoever may read a batch has been told before what is
//     undecided, or aborted, about it.
//   - Errors are *kerr.Error, wrapped with what was being done and the cause; translate is the one place where an
//     error of storage becomes one.
//
// # Locks
//
// In order: the Manager's lock, a partition's turn to checkpoint, its append lock, its waiters' lock. The append lock
// is held across the log's Append and nothing else that may be slow; the Manager's and the waiters' lock are never held
// across anything that is. The log's events arrive under none of the log's locks, but possibly under the append lock,
// and take only the last one.
package partition
