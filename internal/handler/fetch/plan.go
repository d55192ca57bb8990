package fetch

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/catalog"
	"segue/partition"
	"segue/storage/record"
)

// Partition is what a fetch asks of a partition; *partition.Partition is one.
type Partition interface {
	Read(ctx context.Context, r partition.ReadRequest) (partition.ReadResult, error)
	Watch(w *partition.Waiter, beyond record.Offset, readCommitted bool)
	Unwatch(w *partition.Waiter)
}

// Topics finds topics; *catalog.Image is one.
type Topics interface {
	Topic(name string) (*catalog.Topic, bool)
	TopicByID(id [16]byte) (*catalog.Topic, bool)
}

// plan is one request on its way to the answer. It is used by one goroutine.
type plan struct {
	readings      []reading // in the order to read them
	failed        bool      // a partition that exists cannot be read
	readCommitted bool
	minBytes      int
	maxBytes      int
	stopping      <-chan struct{} // ends the wait; nil for never
	epoch         time.Time       // that waits are aligned to
}

// reading is a target with the partition behind it and what the last read found.
type reading struct {
	target
	topicID [16]byte // of target.topic, also where the request has none

	source Partition   // nil: there is nothing to read, and err says why
	err    *kerr.Error // nil: the last read was good
	cause  error       // that err is the code of
	result partition.ReadResult
}

// newPlan finds the partitions, by topic id or by name. That a topic or partition does not exist is the reading's error.
func newPlan(image Topics, byID bool, targets []target, lookup Lookup) *plan {
	p := &plan{readings: make([]reading, len(targets))}
	for i, t := range targets {
		r := &p.readings[i]
		r.target = t
		topic, err := r.resolve(image, byID)
		switch {
		case err != nil:
			r.err = err
			p.failed = p.failed || err == kerr.InconsistentTopicID
			continue
		case !topic.Has(t.key.partition):
			r.err = kerr.UnknownTopicOrPartition
			continue
		}
		source, failure := lookup(topic.ID, t.key.partition)
		if failure != nil {
			r.err, r.cause, p.failed = codeOf(failure), failure, true
			continue
		}
		r.source = source
	}
	return p
}

// resolve finds the topic. A session keeps the name which an id had, as Kafka's does: once the topic is deleted the
// client is told that the name is unknown, and that the id is the wrong one if the name has been taken again.
func (r *reading) resolve(image Topics, byID bool) (*catalog.Topic, *kerr.Error) {
	if !byID {
		r.topic = r.key.topic
		topic, ok := image.Topic(r.topic)
		if !ok {
			return nil, kerr.UnknownTopicOrPartition
		}
		r.topicID = topic.ID
		return topic, nil
	}
	r.topicID = r.key.topicID
	if topic, ok := image.TopicByID(r.topicID); ok {
		r.topic = topic.Name
		return topic, nil
	}
	if r.topic == "" {
		return nil, kerr.UnknownTopicID
	}
	if _, ok := image.Topic(r.topic); ok {
		return nil, kerr.InconsistentTopicID
	}
	return nil, kerr.UnknownTopicOrPartition
}

// run reads until there is enough, the time is over, the server stops or the context ends, and leaves in the readings what is to be
// answered. As in Kafka, a topic that does not exist does not end the wait for others, and a failure to read does.
func (p *plan) run(ctx context.Context, maxWait time.Duration) {
	if p.read(ctx) || maxWait <= 0 {
		return
	}
	timer := time.NewTimer(together(time.Since(p.epoch), maxWait))
	defer timer.Stop()
	for {
		p.releaseChunks()
		switch p.wait(ctx, timer.C) {
		case gone:
			return
		case late:
			p.read(ctx)
			return
		}
		if p.read(ctx) {
			return
		}
	}
}

// togetherPart is the part of a wait by which it may be longer.
const togetherPart = 32

// together makes a wait that begins now a little longer, so that it ends along with others: those who are woken together
// cost little more than one.
func together(now, wait time.Duration) time.Duration {
	tick := max(wait/togetherPart, 1)
	end := now + wait + tick - 1
	return end - end%tick - now
}

// read reads all partitions once, and reports whether the answer should go out now.
func (p *plan) read(ctx context.Context) (enough bool) {
	enough = p.failed
	limit, found, sources := p.maxBytes, 0, 0
	for i := range p.readings {
		r := &p.readings[i]
		if r.source == nil {
			continue
		}
		sources++
		r.read(ctx, limit, found == 0, p.readCommitted)
		if r.err != nil || r.result.Diverging != nil {
			enough = true
		}
		found += r.result.Chunk.Length
		limit = max(0, limit-r.result.Chunk.Length)
	}
	return enough || sources == 0 || found >= p.minBytes
}

func (r *reading) read(ctx context.Context, limit int, atLeastOne, readCommitted bool) {
	result, err := r.source.Read(ctx, partition.ReadRequest{
		Offset:           r.offset,
		MaxBytes:         max(0, min(int(r.maxBytes), limit)),
		AtLeastOne:       atLeastOne,
		CurrentEpoch:     r.currentEpoch,
		LastFetchedEpoch: r.lastFetchedEpoch,
		ReadCommitted:    readCommitted,
	})
	r.result, r.err, r.cause = result, codeOf(err), err
}

// How a wait ended.
type outcome int8

const (
	woken outcome = iota // something has happened to a partition
	late                 // the time is over, for this request or for all
	gone                 // nobody waits for the answer any more
)

// wait waits for records, or anything else that is news, beyond what the last read saw.
func (p *plan) wait(ctx context.Context, timeout <-chan time.Time) outcome {
	w := partition.NewWaiter()
	for i := range p.readings {
		if r := &p.readings[i]; r.source != nil {
			r.source.Watch(w, p.visible(r), p.readCommitted)
		}
	}
	how := woken
	select {
	case <-w.C():
	case <-timeout:
		how = late
	case <-p.stopping:
		how = late
	case <-ctx.Done():
		how = gone
	}
	for i := range p.readings {
		if r := &p.readings[i]; r.source != nil {
			r.source.Unwatch(w)
		}
	}
	return how
}

// visible is the offset below which the last read could see.
func (p *plan) visible(r *reading) record.Offset {
	if p.readCommitted {
		return r.result.LastStable
	}
	return r.result.HighWatermark
}

func (p *plan) releaseChunks() {
	for i := range p.readings {
		r := &p.readings[i]
		r.result.Chunk.Release()
		r.result.Chunk = record.Chunk{}
	}
}

// standing says of a reading what a session needs to know.
func (r *reading) standing() standing {
	if r.err != nil {
		return standing{failed: true, highWatermark: -1, logStart: -1}
	}
	return standing{
		hasRecords:    r.result.Chunk.Length > 0,
		diverges:      r.result.Diverging != nil,
		highWatermark: int64(r.result.HighWatermark),
		logStart:      int64(r.result.LogStart),
	}
}

// codeOf finds the code in err, nil in nil. The end of a context is one that nobody will read.
func codeOf(err error) *kerr.Error {
	var coded *kerr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded):
		return coded
	}
	return kerr.UnknownServerError
}
