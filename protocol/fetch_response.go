package protocol

import (
	"encoding/binary"
	"fmt"
	"math"

	"segue/storage/record"
)

// The versions of Fetch at which its response changes.
const (
	minFetch       = 4
	logStartFetch  = 5  // log start offset
	sessionFetch   = 7  // error and fetch session of the whole response (KIP-227)
	replicaFetch   = 11 // preferred read replica (KIP-392)
	flexibleFetch  = 12 // compact lengths, tagged fields (KIP-482, KIP-595)
	idFetch        = 13 // topic ids in place of names (KIP-516)
	endpointsFetch = 16 // addresses of the leaders (KIP-951)
	maxFetch       = 18
)

// FetchResponse is a response to Fetch whose records lie in chunks of files rather than in memory. It owns the
// chunks from when they are put into it: whoever drops it, sent or not, calls Release. It is not for concurrent use.
type FetchResponse struct {
	ThrottleMillis int32
	Err            int16 // of the whole response (from version 7)
	SessionID      int32 // 0: no session (from version 7)
	Topics         []FetchTopic

	// Nodes has the addresses of the leaders that partitions name as CurrentLeader (from version 16).
	Nodes []NodeEndpoint
}

// FetchTopic is what a FetchResponse has for one topic. Up to version 12 the name is sent, from 13 on the id.
type FetchTopic struct {
	Name       string
	ID         [16]byte
	Partitions []FetchPartition
}

// FetchPartition is what a FetchResponse has for one partition. Begin with NewFetchPartition.
type FetchPartition struct {
	Partition            int32
	Err                  int16
	HighWatermark        int64 // -1: unknown
	LastStable           int64 // -1: unknown
	LogStart             int64 // -1: unknown (from version 5)
	Aborted              []AbortedTransaction
	PreferredReadReplica int32 // -1: none (from version 11)

	// Chunk has the records: whole batches. Where it is empty the records are sent as empty, never as null, on
	// which librdkafka fails.
	Chunk record.Chunk

	// From version 12 on, each nil where there is nothing to say:
	Diverging     *EpochEnd    // where the log of a fetcher with a last fetched epoch parts from ours
	CurrentLeader *LeaderEpoch // with errors NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH
	Snapshot      *EpochEnd    // for a fetcher that is to fetch a snapshot instead (KIP-630)
}

// AbortedTransaction is a transaction that was aborted and has records among those that are sent. A nil slice of
// them is sent as null, as Kafka does for a fetch that reads uncommitted records.
type AbortedTransaction struct {
	ProducerID  int64
	FirstOffset int64
}

// EpochEnd is a leader epoch and the offset at which it ends.
type EpochEnd struct {
	Epoch     int32
	EndOffset int64
}

// LeaderEpoch is a leader and its epoch; -1 where unknown.
type LeaderEpoch struct {
	LeaderID    int32
	LeaderEpoch int32
}

// NodeEndpoint is the address of a broker.
type NodeEndpoint struct {
	NodeID int32
	Host   string
	Port   int32
	Rack   *string // nil: none
}

// NewFetchPartition returns the answer for a partition that has nothing to tell but an error: no records, and all
// else unknown.
func NewFetchPartition(partition int32, err int16) FetchPartition {
	return FetchPartition{
		Partition:            partition,
		Err:                  err,
		HighWatermark:        -1,
		LastStable:           -1,
		LogStart:             -1,
		PreferredReadReplica: -1,
	}
}

// Part is a piece of a frame: either bytes in memory or a chunk of a file. The chunk stays the property of the
// response that the part is of, and is not to be released through the part.
type Part struct {
	Bytes []byte
	Chunk record.Chunk
}

// Len returns how many bytes of the frame the part is.
func (p Part) Len() int { return len(p.Bytes) + p.Chunk.Length }

// Release releases all chunks and takes them out of the response. Calling it again does nothing.
func (r *FetchResponse) Release() {
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p := &r.Topics[i].Partitions[j]
			p.Chunk.Release()
			p.Chunk = record.Chunk{}
		}
	}
}

// Parts returns the frame of the response to a request with header h, as the parts to be written one after the
// other, and how many bytes they are in all. The first part begins with the size of the frame, so once it is
// written all the others must be, or the connection is of no more use. No part is empty; whether a small chunk is
// copied or sent from its file is for the writer to choose. No chunk is read or released here.
//
// The error wraps ErrUnsupported if the version is not one of 4 to 18, and ErrTooLarge if no frame can hold the
// response.
func (r *FetchResponse) Parts(h Header) ([]Part, int, error) {
	if h.Version < minFetch || h.Version > maxFetch {
		return nil, 0, fmt.Errorf("protocol: Fetch v%d response: %w", h.Version, ErrUnsupported)
	}
	e := fetchEncoder{version: h.Version, flexible: h.Version >= flexibleFetch}
	partitions := 0
	for i := range r.Topics {
		partitions += len(r.Topics[i].Partitions)
	}
	e.buf = make([]byte, PrefixSize, 64+48*len(r.Topics)+64*partitions) // enough unless much of the optional is there
	e.cuts = make([]cut, 0, partitions)
	e.buf = appendResponseHeader(e.buf, h, e.flexible)
	e.response(r)

	size := len(e.buf)
	for _, c := range e.cuts {
		size += c.chunk.Length
	}
	if size-PrefixSize > math.MaxInt32 {
		return nil, 0, fmt.Errorf("protocol: Fetch response of %d bytes: %w", size, ErrTooLarge)
	}
	binary.BigEndian.PutUint32(e.buf, uint32(size-PrefixSize))
	return e.parts(), size, nil
}

// fetchEncoder encodes all of a response but the chunks, and notes where they go.
type fetchEncoder struct {
	version  int16
	flexible bool
	buf      []byte
	cuts     []cut
}

// cut is a place in the encoder's buffer before which a chunk goes.
type cut struct {
	at    int
	chunk record.Chunk
}

func (e *fetchEncoder) parts() []Part {
	parts := make([]Part, 0, 2*len(e.cuts)+1)
	from := 0
	for _, c := range e.cuts {
		parts = append(parts, Part{Bytes: e.buf[from:c.at:c.at]}, Part{Chunk: c.chunk})
		from = c.at
	}
	if from < len(e.buf) {
		parts = append(parts, Part{Bytes: e.buf[from:]})
	}
	return parts
}

func (e *fetchEncoder) response(r *FetchResponse) {
	e.int32(r.ThrottleMillis)
	if e.version >= sessionFetch {
		e.int16(r.Err)
		e.int32(r.SessionID)
	}
	e.count(len(r.Topics))
	for i := range r.Topics {
		e.topic(&r.Topics[i])
	}
	if !e.flexible {
		return
	}
	if len(r.Nodes) == 0 || e.version < endpointsFetch {
		e.tagCount(0)
		return
	}
	e.tagCount(1)
	e.nodes(r.Nodes)
}

func (e *fetchEncoder) topic(t *FetchTopic) {
	if e.version >= idFetch {
		e.buf = append(e.buf, t.ID[:]...)
	} else {
		e.string(t.Name)
	}
	e.count(len(t.Partitions))
	for i := range t.Partitions {
		e.partition(&t.Partitions[i])
	}
	if e.flexible {
		e.tagCount(0)
	}
}

func (e *fetchEncoder) partition(p *FetchPartition) {
	e.int32(p.Partition)
	e.int16(p.Err)
	e.int64(p.HighWatermark)
	e.int64(p.LastStable)
	if e.version >= logStartFetch {
		e.int64(p.LogStart)
	}
	e.aborted(p.Aborted)
	if e.version >= replicaFetch {
		e.int32(p.PreferredReadReplica)
	}
	e.count(p.Chunk.Length) // the length of a byte string is encoded as a count is
	if p.Chunk.Length > 0 {
		e.cuts = append(e.cuts, cut{at: len(e.buf), chunk: p.Chunk})
	}
	if e.flexible {
		e.partitionTags(p)
	}
}

func (e *fetchEncoder) aborted(transactions []AbortedTransaction) {
	if transactions == nil {
		e.count(-1)
		return
	}
	e.count(len(transactions))
	for _, t := range transactions {
		e.int64(t.ProducerID)
		e.int64(t.FirstOffset)
		if e.flexible {
			e.tagCount(0)
		}
	}
}

func (e *fetchEncoder) partitionTags(p *FetchPartition) {
	count := 0
	for _, there := range [...]bool{p.Diverging != nil, p.CurrentLeader != nil, p.Snapshot != nil} {
		if there {
			count++
		}
	}
	e.tagCount(count)
	if d := p.Diverging; d != nil {
		e.tag(0, 13)
		e.int32(d.Epoch)
		e.int64(d.EndOffset)
		e.tagCount(0)
	}
	if l := p.CurrentLeader; l != nil {
		e.tag(1, 9)
		e.int32(l.LeaderID)
		e.int32(l.LeaderEpoch)
		e.tagCount(0)
	}
	if s := p.Snapshot; s != nil {
		e.tag(2, 13)
		e.int64(s.EndOffset)
		e.int32(s.Epoch)
		e.tagCount(0)
	}
}

// nodes encodes the tagged field of the nodes. Its size stands before it, so it is encoded apart; it is rare.
func (e *fetchEncoder) nodes(nodes []NodeEndpoint) {
	value := fetchEncoder{version: e.version, flexible: true}
	value.count(len(nodes))
	for _, n := range nodes {
		value.int32(n.NodeID)
		value.string(n.Host)
		value.int32(n.Port)
		if n.Rack != nil {
			value.string(*n.Rack)
		} else {
			value.count(-1)
		}
		value.tagCount(0)
	}
	e.tag(0, len(value.buf))
	e.buf = append(e.buf, value.buf...)
}

func (e *fetchEncoder) int16(v int16) { e.buf = appendInt16(e.buf, v) }
func (e *fetchEncoder) int32(v int32) { e.buf = appendInt32(e.buf, v) }
func (e *fetchEncoder) int64(v int64) { e.buf = appendInt64(e.buf, v) }

// count encodes the count of an array or the length of a byte string; -1 is null.
func (e *fetchEncoder) count(n int) {
	if e.flexible {
		e.buf = appendUvarint(e.buf, uint32(n+1))
	} else {
		e.int32(int32(n))
	}
}

func (e *fetchEncoder) string(s string) {
	if e.flexible {
		e.buf = appendUvarint(e.buf, uint32(len(s)+1))
	} else {
		e.int16(int16(len(s)))
	}
	e.buf = append(e.buf, s...)
}

func (e *fetchEncoder) tagCount(n int) { e.buf = appendUvarint(e.buf, uint32(n)) }

// tag encodes the head of a tagged field of size bytes.
func (e *fetchEncoder) tag(number uint32, size int) {
	e.buf = appendUvarint(e.buf, number)
	e.buf = appendUvarint(e.buf, uint32(size))
}
