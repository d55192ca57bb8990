// Package server is the broker's side of a connection: it listens, reads requests, has them run in order and writes
// the answers. It knows the APIs only as rows of a table (API) and calls their functions; what they mean is the
// handlers' business.
//
// # One connection
//
// A connection has two goroutines and no more. The reader takes frames off the socket in order and makes each a
// call: it begins a row that has Begin and decodes all others. The writer takes the calls in the same order, runs
// what has not run yet, and sends the answers. Between them stands a queue that is bounded by count and by bytes.
// The reader owns the connection: it starts the writer, waits for it, and closes the socket.
//
// Requests take effect strictly one after the other, with the one exception that makes a pipelining producer fast:
// a row with Begin (Produce) is begun by the reader, ahead of the answers that are still owed, as long as every
// request before it that is unanswered is pipelined too (Produce or Fetch). Otherwise the reader waits, before it
// reads the body, until those are answered. So the produce requests that a client has in flight share a sync, and
// no order is ever inverted that a client could tell.
//
// # Memory
//
// A frame that fits the connection's own small read buffer (a heartbeat, most fetches) costs nothing else, so such
// requests pass however much memory others hold. The body of a larger one is reserved from one budget before it
// is read and given back when it is begun or decoded; nothing waits for anything but the socket while it holds a
// reservation. A sender that is slower than a minimum pace loses its connection when others wait for memory. Body
// buffers grow as bytes arrive and come from pools by size that belong to the Server.
//
// # A client that goes away
//
// The reader normally sits in a read and sees a closed socket at once. Where it has to wait for something else (the
// queue is full, the client is throttled, the budget is spent) it looks about once a second at the state of the
// TCP connection, where the system tells it. The connection's context, which every handler gets, then ends. That
// ends waits and nothing else: a request that was received whole takes effect even if nobody is left to read the
// answer, as in Kafka, whose acks=0 producers and clients that say goodbye rely on it. A handler must not
// pass this context to an append or to a coordinator's command, only to the wait for their outcome.
//
// # Lock order
//
// The mutexes of Server, admission, budget and occasionally are leaves: none is held while another is taken or over
// anything that can block.
package server
