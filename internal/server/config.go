package server

import (
	"fmt"
	"time"

	"segue/protocol"
)

// Listener is an address that clients connect to.
type Listener struct {
	// Name is the listener's name in Kafka's configuration (listeners), as in PLAINTEXT.
	Name string
	// Addr is host:port; an empty host is every address, port 0 is any free port.
	Addr string
	// Authenticate closes connections that use a row which is not Open before a handler has set a principal.
	Authenticate bool
}

// Config is what the Server can be told. Zero values stand for what the fields say.
type Config struct {
	Listeners []Listener

	// MaxConnections bounds the open connections of all listeners together (max.connections); 0 is no limit.
	MaxConnections int
	// MaxConnectionsPerIP bounds the open connections from one address (max.connections.per.ip); 0 is no limit.
	MaxConnectionsPerIP int
	// IdleTimeout closes a connection on which nothing is in flight and nothing has happened for so long
	// (connections.max.idle.ms); 0 or less is never.
	IdleTimeout time.Duration

	// MaxRequestBytes is the largest request (socket.request.max.bytes); 0 is protocol.MaxFrame. It is lowered to
	// MemoryBudget.
	MaxRequestBytes int32
	// MemoryBudget bounds the bytes of requests in memory at a time, as they came and decoded, over all connections
	// (queued.max.request.bytes); 0 is 256 MiB. Small requests do not count; there is a quarter more for requests with
	// Begin of up to 64 KiB that have arrived.
	MemoryBudget int64
	// AnswerBudget bounds the bytes that go into finding answers at a time, and that answers take until they are sent,
	// over all connections; 0 is MemoryBudget. Small answers do not count, nor do batches that are sent from files.
	AnswerBudget int64
	// QueueDepth is how many requests of one connection may be unanswered before no more are read; 0 is 64.
	QueueDepth int

	// SendBuffer and ReceiveBuffer are the sizes in bytes of the sockets' buffers (socket.send.buffer.bytes,
	// socket.receive.buffer.bytes); 0 and -1 leave them to the operating system.
	SendBuffer, ReceiveBuffer int
}

const (
	defaultMemoryBudget = 256 << 20
	defaultQueueDepth   = 64
	minRequestLimit     = 1 << 10 // below this no client gets past its first request
)

// HandlingFactor is how much more memory a request takes while it is handled than when it is decoded, where its row does
// not say: for the request itself, what the handler keeps about each of its elements, and the answer as a message and as
// bytes.
const HandlingFactor = 12

// The server's own figures. They guard against the far end and against overload, and no deployment has reason to
// change them.
const (
	// readBuffer is each connection's own buffer. A frame that fits in, prefix included, is a small one.
	readBuffer = 4 << 10

	// wideInbox is the buffer that a connection has in the place of that while large requests for Begin come and memory
	// is plenty: what one system call takes from the socket. Requests of up to half of it come through it.
	wideInbox = 512 << 10

	// mostTogether is how many requests are begun together.
	mostTogether = 16

	// A connection rests after restAfter without a request. Every restsToTrim of them have memory go back to the system.
	restAfter   = 10 * time.Second
	restsToTrim = 500

	// firstStep is how much is allocated for a larger body before a byte of it has come; it grows by stepFactor each
	// time it is full. Growing costs a third of the bytes copied once more, and a claim of 100 MiB no memory.
	firstStep  = 64 << 10
	stepFactor = 4

	// ownMemory is what each connection may use without asking for it: for a decoded request that waits, or what a
	// Begin has left to wait for, and again for the request that is handled. What takes more is reserved from a budget.
	ownMemory = 8 << 10

	// A sender that holds a reservation while others wait must have sent minPace bytes for every second after
	// paceGrace, or what brings it to the end of the body within bodyTime, whichever is more.
	minPace   = 64 << 10
	paceGrace = time.Second
	bodyTime  = 30 * time.Second

	// promptBody is the largest buffer for a body that may come out of the budget for those that have arrived, and
	// promptTime how long they may take to arrive; later they are taken for slow.
	promptBody = 64 << 10
	promptTime = time.Second

	// holdGrace is how long memory may be held while others wait for it, beside the time that so many bytes take at
	// minPace. It covers a slow disk; a client that does not read, or lets the broker wait, is closed behind it.
	holdGrace = 10 * time.Second

	// lookEvery is how often a reader that does not read looks after its peer, its pace and a stop.
	lookEvery = time.Second

	// Each paceStep bytes of an answer must be taken by the client within writeStall. It is long because a client may
	// be suspended for a while without being broken, and finite because an answer pins files.
	paceStep   = 64 << 10
	writeStall = time.Minute

	// copyBelow is the size up to which a chunk is copied next to the bytes around it: one system call and one
	// packet less are worth more than a small copy.
	copyBelow = 16 << 10

	// lingerTime is how long the client has to read the last answers and close, when it is the server that ends an
	// orderly connection. Closing with unread requests in the socket would take those answers back.
	lingerTime = 500 * time.Millisecond

	// haltGrace is how long Shutdown waits for handlers after their contexts have ended.
	haltGrace = 5 * time.Second
)

// withDefaults checks c and fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	if len(c.Listeners) == 0 {
		return c, fmt.Errorf("no listener is configured")
	}
	names := make(map[string]bool)
	for _, l := range c.Listeners {
		if l.Name == "" || names[l.Name] {
			return c, fmt.Errorf("listener name %q for %s is empty or used twice: each listener needs a name of its own",
				l.Name, l.Addr)
		}
		names[l.Name] = true
	}
	if c.MaxRequestBytes == 0 {
		c.MaxRequestBytes = protocol.MaxFrame
	}
	if c.MemoryBudget == 0 {
		c.MemoryBudget = defaultMemoryBudget
	}
	if c.AnswerBudget == 0 {
		c.AnswerBudget = c.MemoryBudget
	}
	if c.QueueDepth == 0 {
		c.QueueDepth = defaultQueueDepth
	}
	c.MaxRequestBytes = int32(min(int64(c.MaxRequestBytes), c.MemoryBudget))
	switch {
	case c.MaxRequestBytes < minRequestLimit:
		return c, fmt.Errorf("requests are limited to %d bytes, by request size or memory budget: at least %d are needed",
			c.MaxRequestBytes, minRequestLimit)
	case c.AnswerBudget < minRequestLimit:
		return c, fmt.Errorf("answers are limited to %d bytes of memory: at least %d are needed", c.AnswerBudget, minRequestLimit)
	case c.QueueDepth < 1 || c.QueueDepth > 1<<16:
		return c, fmt.Errorf("queue depth %d: 1 to %d are allowed", c.QueueDepth, 1<<16)
	case c.MaxConnections < 0 || c.MaxConnectionsPerIP < 0:
		return c, fmt.Errorf("negative limit of connections: 0 stands for none")
	}
	return c, nil
}
