// Package fetch answers Fetch: it keeps the sessions of clients (KIP-227), plans what a request wants to read, reads
// it, and waits until there is enough.
//
// # Types
//
// Handler is the whole. A cache of sessions turns a request, which may name only what has changed, into the list of
// targets that the client wants (an exchange); a plan finds the partitions behind the targets and reads them in
// order, again after each wait; the exchange then says which of them the answer must name.
//
// # Invariants
//
//   - Only the first partition of a fetch that has records may exceed the limits, with one batch.
//   - Chunks are pinned files. A plan releases those of a read before it waits; those of the last read belong to the
//     response, or are released where there is none.
//   - One waiter hears all partitions of a fetch. It is set after the read that found too little, for what lies
//     beyond the watermarks which that read saw, so that nothing that comes in between is missed.
//   - No lock is held across a read or a wait, and of two requests with the same session and epoch one is refused, so
//     a session never sees two answers for one request.
//
// # Locks
//
// A session's lock and the cache's are never held together.
package fetch
