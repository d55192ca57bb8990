package broker

import (
	"math"
)

// limits are how much the broker takes on, so that it stays within the memory and the descriptors that it has.
type limits struct {
	runtime      int64 // memory limit for the Go runtime, in bytes; 0 to leave it alone
	connections  int   // open at a time
	partitions   int   // of all topics
	requestBytes int64 // of requests in memory
	answerBytes  int64 // of answers in the making
	sessionParts int   // partitions in fetch sessions
	unpackBytes  int   // what one batch may unpack to where the broker looks inside
	unpackTurns  int   // batches that are unpacked at a time
	openFiles    int   // files and mappings of logs
	keyBytes     int64 // of the keys that compaction remembers
}

// wishes are the limits that were set by hand, 0 where none was. They count, whatever the memory; only that there
// are no more connections than descriptors holds in any case.
type wishes struct {
	connections  int
	partitions   int
	requestBytes int64
}

// What things cost, in bytes of resident memory, measured on Linux with Go 1.26 by the TestCostOf… of the integration
// tests, and rounded up.
const (
	// baseCost is what the broker takes without clients and topics, 12 MiB, half of which is its own text.
	baseCost = 12 << 20
	// connectionCost: 17 KiB for a connection whose stacks have grown, 16 KiB that it may hold without asking anyone
	// (server.ownMemory, for what waits and for what is handled), 16 KiB of an answer that is being gathered.
	connectionCost = 48 << 10
	// partitionCost: 5 KiB for an open one, as much again once it has records, and 7 KiB for a topic with one partition
	// while metrics are collected.
	partitionCost = 16 << 10
	// sessionCost is a partition in a fetch session, and in the plan of the fetch that reads it.
	sessionCost = 1 << 10
)

// The parts of the memory, behind baseCost, that may be taken. They add up to seven eighths: what is left is for the
// garbage that has not been collected yet.
const (
	connectionShare = 5
	partitionShare  = 5
	requestShare    = 8 // and a quarter of that for small bodies that have arrived
	answerShare     = 8
	unpackShare     = 8 // for one batch, which takes little more than it unpacks to
	sessionShare    = 40
	keyShare        = 100
)

// The least that is of use, however little memory there is, and the most that is, however much there is.
const (
	minConnections, minPartitions = 16, 64
	minRequests, maxRequests      = 2 << 20, 1 << 30
	minAnswers, maxAnswers        = 2 << 20, 1 << 30
	minUnpack, maxUnpack          = 1 << 20, 256 << 20
	minSessions, maxSessions      = 1 << 10, 1 << 20
	minKeys, maxKeys              = 256 << 10, 1 << 30
)

const (
	minOpenFiles = 128
	maxOpenFiles = 3_500 // each file of a log is open while it is in use; more that are idle would spare little
	spareFiles   = 128   // listeners, HTTP, and files that are opened for a moment
)

// limitsFor derives the limits from the memory, the number of descriptors and that of processors, and what was set.
func limitsFor(m memory, descriptors, processors int, set wishes) limits {
	var l limits
	usable := m.bytes
	switch {
	case m.bytes == 0: // not known
		usable = 1 << 30
	case !m.hard:
		usable = m.bytes / 2 // the page cache is what makes reads fast, and there may be other processes
	case m.from != goLimitName:
		usable = m.bytes / 100 * 80 // sockets, threads and pages of files are the kernel's, and count
		l.runtime = usable
	}
	usable = max(usable-baseCost, 0)
	share := func(n, least, most int64) int64 { return min(max(usable/n, least), most) }

	l.partitions = int(share(partitionShare*partitionCost, minPartitions, math.MaxInt32))
	l.requestBytes = share(requestShare, minRequests, maxRequests)
	l.answerBytes = share(answerShare, minAnswers, maxAnswers)
	l.sessionParts = int(share(sessionShare*sessionCost, minSessions, maxSessions))
	l.keyBytes = share(keyShare, minKeys, maxKeys)
	l.unpackBytes = int(share(unpackShare, minUnpack, maxUnpack))
	l.unpackTurns = int(min(max(usable/unpackShare/int64(l.unpackBytes), 1), int64(processors)))
	l.connections = int(share(connectionShare*connectionCost, minConnections, math.MaxInt32))
	if set.partitions > 0 {
		l.partitions = set.partitions
	}
	if set.requestBytes > 0 {
		l.requestBytes = set.requestBytes
	}
	if set.connections > 0 {
		l.connections = set.connections
	}
	// Half of the descriptors are for files, the other half is for connections.
	l.openFiles = min(max(descriptors/2, minOpenFiles), maxOpenFiles)
	l.connections = min(l.connections, max(descriptors-l.openFiles-spareFiles, minConnections))
	return l
}
