package protocol

import (
	"errors"
	"fmt"
	"iter"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The versions of Produce that ParseProduce reads: from 3 on, records are batches of magic 2; at 13 topic ids
// take the place of names (KIP-516).
const (
	minProduce      = 3
	flexibleProduce = 9
	idProduce       = 13
	maxProduce      = 13
)

// What each topic and partition of a Produce request costs its receiver in memory: a place in the answer, and about as
// much again while the acknowledgement is waited for. It counts towards the limit that decoding has for other
// requests: the view itself takes no memory. A partition that has a batch is far from the limit.
const (
	produceTopicMemory     = int(unsafe.Sizeof(kmsg.ProduceResponseTopic{}))
	producePartitionMemory = 2 * int(unsafe.Sizeof(kmsg.ProduceResponseTopicPartition{}))
)

// ProduceRequest is a view of the body of a Produce request. It is checked as a whole when it is made; after that
// going over its topics and partitions cannot fail and does not allocate, but for one string for each topic.
//
// The body belongs to whoever read it: records are slices of it, and the view is good for as long as it is. A
// view may be read concurrently.
type ProduceRequest struct {
	TransactionalID *string // nil where there is none; a copy
	Acks            int16   // as sent: -1, 0 or 1 are the sound ones
	Timeout         time.Duration

	version    int16
	count      int    // of topics
	partitions int    // of all topics
	topics     []byte // the topics and what follows them
}

// ProduceTopic is one topic of a ProduceRequest, by name up to version 12 and by id from version 13 on.
type ProduceTopic struct {
	Name string   // a copy; empty from version 13 on
	ID   [16]byte // zero up to version 12

	wire produceTopic
}

// produceTopic is a topic as it lies in the body, up to its first partition.
type produceTopic struct {
	version int16
	name    []byte
	id      [16]byte
	count   int
	rest    []byte // the partitions and what follows them
}

// ProducePartition is what a ProduceRequest has for one partition.
type ProducePartition struct {
	Index   int32
	Records []byte // not looked into; nil for null; a slice of the body, with no spare capacity
}

// ParseProduce checks the body of a Produce request of versions 3 to 13 and returns the view of it. Whether topics
// and partitions exist, are named twice or hold sound records is not its business.
//
// The error is a *RequestError that wraps ErrMalformed, ErrTooLarge (more partitions than a body of that size can
// sensibly have) or ErrUnsupported.
func ParseProduce(version int16, body []byte) (ProduceRequest, error) {
	r := ProduceRequest{version: version}
	if version < minProduce || version > maxProduce {
		return r, produceError(version, ErrUnsupported, "")
	}
	c := cursor{rest: body}
	if n := c.stringLength(r.flexible()); n >= 0 {
		id := string(c.take(n))
		r.TransactionalID = &id
	}
	r.Acks = c.int16()
	r.Timeout = time.Duration(c.int32()) * time.Millisecond
	r.count = c.count(r.flexible())
	if r.count < 0 {
		c.fail(errNull)
	}
	r.topics = c.rest

	if at := r.check(&c, memoryLimit(len(body))); c.err != nil {
		return ProduceRequest{}, produceError(version, c.err, at)
	}
	return r, nil
}

// check walks everything after the count of topics and counts the partitions. If the cursor fails, it returns where.
func (r *ProduceRequest) check(c *cursor, limit int) (at string) {
	for topic := range r.count {
		t := c.produceTopic(r.version)
		r.partitions += max(t.count, 0)
		if (topic+1)*produceTopicMemory+r.partitions*producePartitionMemory > limit {
			c.fail(fmt.Errorf("%w: more topics and partitions than a request of that size can have", ErrTooLarge))
		}
		if c.err != nil {
			return fmt.Sprintf("TopicData[%d]", topic)
		}
		for partition := range t.count {
			if c.producePartition(r.version); c.err != nil {
				return fmt.Sprintf("TopicData[%d].PartitionData[%d]", topic, partition)
			}
		}
		if r.flexible() {
			c.skipTags()
		}
		if c.err != nil {
			return fmt.Sprintf("TopicData[%d]", topic)
		}
	}
	if r.flexible() {
		c.skipTags()
	}
	return ""
}

func produceError(version int16, cause error, at string) error {
	if !errors.Is(cause, ErrTooLarge) && !errors.Is(cause, ErrUnsupported) {
		cause = fmt.Errorf("%w: %w", ErrMalformed, cause)
	}
	return &RequestError{Key: int16(kmsg.Produce), Version: version, Field: at, Err: cause}
}

func (r *ProduceRequest) flexible() bool { return r.version >= flexibleProduce }

// TopicCount returns how many topics there are.
func (r *ProduceRequest) TopicCount() int { return r.count }

// PartitionCount returns how many partitions there are, of all topics together.
func (r *ProduceRequest) PartitionCount() int { return r.partitions }

// Topics goes over the topics in the order of the request.
func (r *ProduceRequest) Topics() iter.Seq[ProduceTopic] {
	return func(yield func(ProduceTopic) bool) {
		c := cursor{rest: r.topics}
		for range r.count {
			t := c.produceTopic(r.version)
			if !yield(ProduceTopic{Name: string(t.name), ID: t.id, wire: t}) {
				return
			}
			for range t.count {
				c.producePartition(r.version)
			}
			if r.flexible() {
				c.skipTags()
			}
		}
	}
}

// PartitionCount returns how many partitions of the topic there are.
func (t ProduceTopic) PartitionCount() int { return t.wire.count }

// Partitions goes over the partitions in the order of the request.
func (t ProduceTopic) Partitions() iter.Seq[ProducePartition] {
	return func(yield func(ProducePartition) bool) {
		c := cursor{rest: t.wire.rest}
		for range t.wire.count {
			if !yield(c.producePartition(t.wire.version)) {
				return
			}
		}
	}
}

func (c *cursor) produceTopic(version int16) produceTopic {
	t := produceTopic{version: version}
	flexible := version >= flexibleProduce
	if version >= idProduce {
		copy(t.id[:], c.take(len(t.id)))
	} else if n := c.stringLength(flexible); n >= 0 {
		t.name = c.take(n)
	} else {
		c.fail(errNull)
	}
	t.count = c.count(flexible)
	if t.count < 0 {
		c.fail(errNull)
	}
	t.rest = c.rest
	return t
}

func (c *cursor) producePartition(version int16) ProducePartition {
	p := ProducePartition{Index: c.int32()}
	flexible := version >= flexibleProduce
	if n := c.length(flexible); n >= 0 {
		p.Records = c.take(n)
	}
	if flexible {
		c.skipTags()
	}
	return p
}
