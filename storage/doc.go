// Package storage is the segmented log: runs of record batches in append-only files with memory-mapped indexes beside
// them, one hot segment that is written and sealed read-only ones before it.
//
// Log is the log of one topic-partition. Dir is a directory of logs and owns what they share: the lock that keeps a
// second broker out, the flusher, the cleaner, the compactors, the bound on open files. Logs know nothing of what is in a
// batch beyond its header, but for the search by timestamp and compaction.
//
// What always holds:
//
//   - Append is not commit. A log has a written and a synced end; committed is the synced one where FlushMessages is 1
//     and the written one where it is more. Events tells how committed moves, and it never goes back.
//   - Offsets are handed out in order and never twice, whatever crashes.
//   - A sync that fails is final for its log, until it is opened again. A write that fails is not: the log is as it was.
//   - The data is synced before anything that says so: index headers, checkpoints, the log start offset.
//   - An index, a checkpoint and everything else but batches, topic id and log start offset can be deleted, and is made
//     again.
//   - Nothing that was read from a disk is believed before it was checked, and nothing unsound is dropped without a
//     trace: it is moved aside, logged and counted.
//
// FORMAT.md draws the files and argues why each crash point is safe.
package storage
