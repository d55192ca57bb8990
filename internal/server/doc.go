// Package server is the broker's side of a connection: it listens, reads requests, has them run in order and writes
// the answers. It knows the APIs only as rows of a table (API) and calls their functions; what they mean is the
// handlers' business.
//
// # One connection
//
// A connection has two goroutines and no more, and one without a buffer while it rests, because nothing has happened on it
// for a while. The reader takes frames off the socket in order and makes each a call: it begins a row that has Begin and
// decodes all others. The writer takes the calls in the same order, runs what has not run yet, and sends the answers.
// Between them stands a queue that is bounded by count and by bytes. The reader owns the connection: it starts the writer
// with the first call, waits for it, and closes the socket.
//
// Answers that are ready one behind the other leave with one write; none waits for one that is not.
//
// Requests take effect strictly one after the other, with the one exception that makes a pipelining producer fast:
// a row with Begin (Produce) is begun by the reader, ahead of the answers that are still owed, as long as every
// request before it that is unanswered is pipelined too (Produce or Fetch). Otherwise the reader waits, before it
// reads the body, until those are answered. Requests for such a row that have come together are begun together. So the
// produce requests that a client has in flight share writes and a sync, and no order is ever inverted that a client could
// tell.
//
// # Memory
//
// Each connection has a little memory of its own: its read buffer, and ownMemory for what it has decoded and for what
// handling takes. A request that is content with that (a heartbeat, most fetches) passes however much memory others
// hold. What takes more is reserved first, from three budgets:
//
//   - prompt is for bodies of usual size for a row with Begin that lie in the socket already. Reading them takes no
//     time, so nobody can hold it by being slow.
//   - budget is for all other bodies, from when they have filled the read buffer, and for what they are decoded to,
//     until they are answered. The claim for a body covers the most that it can be decoded to (protocol.MeasureLimit).
//   - work is for handling: what a row says that a request costs (API.Cost), until the answer is sent.
//
// While half of budget is free and nobody waits for it, a connection on which large requests for a row with Begin come has
// a wide inbox out of it, which one system call fills with many of them, until that is empty again. So the first of the
// three is for when memory is short.
//
// Who holds some of prompt or budget may wait for work, and nobody waits the other way, so all get on. A sender that
// is slower than a minimum pace loses its connection when others wait, and so does in the end whoever has the broker
// hold memory that others wait for, by not reading its answers for example. Body buffers grow as bytes arrive and come
// from pools by size that belong to the Server.
//
// Queries that cost much are handled by some of the processors at a time, so that a flood of them leaves the others
// to those who ask little.
//
// # A client that goes away
//
// The reader normally sits in a read and sees a closed socket at once. Where it has to wait for something else (the
// queue is full, the client is throttled, the budget is spent) it looks about once a second at the state of the
// TCP connection, where the system tells it. The connection's context, which every handler gets, then ends. That
// ends waits and nothing else: a request that was received whole takes effect even if nobody is left to read the
// answer (one that would change nothing is passed over), as in Kafka, whose acks=0 producers and clients that say goodbye rely on it. A handler must not
// pass this context to an append or to a coordinator's command, only to the wait for their outcome.
//
// # Lock order
//
// The mutexes of Server, admission, budget and occasionally are leaves: none is held while another is taken or over
// anything that can block.
package server
