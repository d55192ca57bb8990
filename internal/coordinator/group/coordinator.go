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

// Stats is what a Coordinator counts. Both only grow.
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
	if req, ok := in.Request.(*kmsg.OffsetCommitRequest); ok {
		c.count(req, m)
	}
	return m, err
}

// count counts the offsets of a commit.
func (c *Coordinator) count(req *kmsg.OffsetCommitRequest, reply any) {
	all, good := int64(0), int64(0)
	for _, topic := range req.Topics {
		all += int64(len(topic.Partitions))
	}
	if resp, ok := reply.(*kmsg.OffsetCommitResponse); ok {
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode == 0 {
					good++
				}
			}
		}
	}
	c.committed.Add(good)
	c.refused.Add(all - good)
}

// Each gives a command to every shard that is here, as coordinator.Runtime.Each does.
func (c *Coordinator) Each(ctx context.Context, in Input) (replies []any, err error) {
	return c.runtime.Each(ctx, in)
}
