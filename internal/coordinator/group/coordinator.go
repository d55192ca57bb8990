package group

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// Coordinator finds the shard of a group and asks it. It is safe for concurrent use.
type Coordinator struct {
	runtime *coordinator.Runtime[Input]
	shards  func() int32

	committed, refused atomic.Int64
}

// Stats is what a Coordinator counts. Both only grow. Offsets of transactions count when they are written, as in Kafka, and
// not when the transaction is decided.
type Stats struct {
	Committed int64 // offsets that are in the log, as the committer was told
	Refused   int64 // offsets whose commit was refused, or of which it is not known whether they are in the log
}

// Stats returns the counts. It waits for nobody.
func (c *Coordinator) Stats() Stats {
	return Stats{Committed: c.committed.Load(), Refused: c.refused.Load()}
}

// NewCoordinator returns the Coordinator of the groups whose shards the runtime holds. Shards says how many partitions
// __consumer_offsets has, 0 while it is not there.
func NewCoordinator(r *coordinator.Runtime[Input], shards func() int32) *Coordinator {
	return &Coordinator{runtime: r, shards: shards}
}

// Do gives a group's shard a command and returns the message of its reply. The errors are those of coordinator.Runtime.Do:
// ErrNotCoordinator also while there is no __consumer_offsets.
func (c *Coordinator) Do(ctx context.Context, groupID string, in Input) (any, error) {
	n := c.shards()
	if n <= 0 {
		return nil, coordinator.ErrNotCoordinator
	}
	m, err := c.runtime.Do(ctx, coordinator.ShardOf(groupID, n), in)
	all, good := offsetsAsked(in.Request), offsetsStored(m)
	c.committed.Add(good)
	c.refused.Add(all - good)
	return m, err
}

// offsetsAsked is how many offsets a command asks to commit.
func offsetsAsked(request any) (n int64) {
	switch req := request.(type) {
	case *kmsg.OffsetCommitRequest:
		for _, topic := range req.Topics {
			n += int64(len(topic.Partitions))
		}
	case TxnCommit:
		for _, topic := range req.Request.Topics {
			n += int64(len(topic.Partitions))
		}
	}
	return n
}

// offsetsStored is how many offsets a reply says to be in the log.
func offsetsStored(reply any) (n int64) {
	count := func(code int16) {
		if code == 0 {
			n++
		}
	}
	switch resp := reply.(type) {
	case *kmsg.OffsetCommitResponse:
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				count(p.ErrorCode)
			}
		}
	case *kmsg.TxnOffsetCommitResponse:
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				count(p.ErrorCode)
			}
		}
	}
	return n
}

// Each gives a command to every shard that is here, as coordinator.Runtime.Each does.
func (c *Coordinator) Each(ctx context.Context, in Input) (replies []any, err error) {
	return c.runtime.Each(ctx, in)
}
