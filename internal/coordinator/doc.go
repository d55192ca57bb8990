// Package coordinator is the runtime for replicated state machines: it runs one Machine for each partition of a
// coordinator's topic (a shard) that this broker leads, loads it by replay, appends the records that its commands lead
// to, and answers a command when what it rests on is committed.
//
// What always holds:
//
//   - A machine's state is a fold over its partition's log. It is never ahead of the log for longer than it takes to
//     append one batch; when that fails, the machine is thrown away and made again by replay.
//   - A reply, also a read's or a refusal's, is given once everything that had been applied when it was made is
//     committed. So nothing that anybody was told is taken back by a crash.
//   - The records of one command are in one batch: a crash leaves all of them or none.
//   - The records of a producer's transaction are pending until its marker stands in the log. The shard writes markers, too
//     (DoMarker), so a machine decides at the same place in a replay. A transactional batch is appended only under a guard.
//   - Messages to others are handed on once what they rest on is committed, and are lost with the machine before that.
//   - Each shard is the one writer of its partition, and one goroutine at a time has its machine.
//   - An answer other than a reply (ErrUnavailable, ErrNotCoordinator, a context's error) says nothing about the command:
//     it may stand or not. ErrLoading says that it was not looked at; ErrTooLarge and ErrPanicked that it was not done.
package coordinator
