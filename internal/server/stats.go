package server

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Stats is what the server has counted since it was made. Figures of one call are not taken at one instant.
type Stats struct {
	Connections ConnectionStats
	Memory      MemoryStats // for requests
	Answers     MemoryStats // for answers
	APIs        []APIStats  // in order of key; rows that were never asked included
}

// ConnectionStats counts connections.
type ConnectionStats struct {
	Open          int    // now
	Accepted      uint64 // taken, of all time
	Rejected      uint64 // closed at once, for a limit on the number of connections
	AcceptErrors  uint64 // failures to take one, for want of descriptors say
	IdleClosed    uint64 // closed for want of activity
	ProtocolFault uint64 // closed because the client sent something that cannot be answered
	SlowSenders   uint64 // closed for sending a body too slowly while others waited for its memory
	Held          uint64 // closed for having memory held for too long while others waited
	SlowReaders   uint64 // closed for not reading an answer
	Panics        uint64 // panics of handlers that were caught
}

// MemoryStats tells about a budget, in bytes.
type MemoryStats struct {
	Budget  int64
	Used    int64
	Waiting int // connections that wait for some
}

// APIStats counts the requests of one API.
type APIStats struct {
	Key  int16
	Name string

	Requests uint64 // received whole
	Errors   uint64 // for which the connection was closed instead of an answer sent
	BytesIn  uint64 // size prefixes included
	BytesOut uint64

	Queue  Histogram // from the last byte received until it was begun or handled
	Handle Histogram // from then until the answer was ready
	Send   Histogram // from then until the last byte of the answer was handed to the operating system
}

// Buckets is the number of a Histogram's bounded buckets.
const Buckets = 22

const firstBucket = 50 * time.Microsecond

// Histogram counts durations in buckets that double.
type Histogram struct {
	// Counts[i] is the number of durations up to BucketLimit(i) and above the limit before it; the last one counts
	// all that are longer.
	Counts [Buckets + 1]uint64
	Sum    time.Duration
}

// BucketLimit is the upper bound, inclusive, of bucket i in [0, Buckets): 50 µs doubled i times.
func BucketLimit(i int) time.Duration { return firstBucket << i }

// Count is the number of durations in h.
func (h Histogram) Count() uint64 {
	var n uint64
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// histogram is a Histogram that is being filled. Safe for concurrent use.
type histogram struct {
	counts [Buckets + 1]atomic.Uint64
	sum    atomic.Int64
}

func (h *histogram) observe(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(d)].Add(1)
	h.sum.Add(int64(d))
}

// bucket is the index of the first bucket with a limit of at least d.
func bucket(d time.Duration) int {
	if d <= firstBucket {
		return 0
	}
	units := uint64((d + firstBucket - 1) / firstBucket)
	return min(bits.Len64(units-1), Buckets)
}

func (h *histogram) snapshot() (s Histogram) {
	for i := range h.counts {
		s.Counts[i] = h.counts[i].Load()
	}
	s.Sum = time.Duration(h.sum.Load())
	return s
}

type apiCounters struct {
	requests, errors, bytesIn, bytesOut atomic.Uint64
	queue, handle, send                 histogram
}

type connectionCounters struct {
	accepted, rejected, acceptErrors, idle, faults, slowSenders, held, slowReaders, panics atomic.Uint64
}

// Stats may be called at any time.
func (s *Server) Stats() Stats {
	st := Stats{
		Connections: ConnectionStats{
			Open:          s.admission.open(),
			Accepted:      s.counts.accepted.Load(),
			Rejected:      s.counts.rejected.Load(),
			AcceptErrors:  s.counts.acceptErrors.Load(),
			IdleClosed:    s.counts.idle.Load(),
			ProtocolFault: s.counts.faults.Load(),
			SlowSenders:   s.counts.slowSenders.Load(),
			Held:          s.counts.held.Load(),
			SlowReaders:   s.counts.slowReaders.Load(),
			Panics:        s.counts.panics.Load(),
		},
		Memory:  s.budget.stats(),
		Answers: s.work.stats(),
	}
	for _, r := range s.table {
		if r == nil {
			continue
		}
		c := &r.counts
		st.APIs = append(st.APIs, APIStats{
			Key:      r.Key,
			Name:     r.name,
			Requests: c.requests.Load(),
			Errors:   c.errors.Load(),
			BytesIn:  c.bytesIn.Load(),
			BytesOut: c.bytesOut.Load(),
			Queue:    c.queue.snapshot(),
			Handle:   c.handle.snapshot(),
			Send:     c.send.snapshot(),
		})
	}
	return st
}
