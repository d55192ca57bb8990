package txn

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"segue/internal/coordinator"
	"segue/partition"
)

// MarkerWriter writes markers into partitions: now into this broker's own, some day also into others'.
type MarkerWriter interface {
	// WriteMarkers writes a marker into each of some partitions and returns when all are committed, or why they are not: an
	// error for each partition, in their order, nil where the marker is committed. It does not change the list. UNKNOWN_TOPIC_OR_PARTITION says that the partition is
	// gone, INVALID_PRODUCER_EPOCH and TRANSACTION_COORDINATOR_FENCED that it refuses the marker for good; all else is tried
	// again. It is called concurrently.
	WriteMarkers(ctx context.Context, m partition.Marker, to []Partition) []error
}

// Config is what a Coordinator is made of. All of it must be set, but for Log.
type Config struct {
	// Machine returns the options of a machine that is made now; TakeProducerID is the Coordinator's to set.
	Machine func() Options
	// Shards says how many partitions __transaction_state has, 0 while it is not there.
	Shards  func() int32
	IDs     *ProducerIDs
	Markers MarkerWriter
	// Log gets what goes wrong in the background. Its zero value discards it.
	Log zerolog.Logger
}

// Coordinator runs the machines of the transactional ids whose shards this broker leads, and has the markers written of the
// transactions that they decide. It is safe for concurrent use. It has a goroutine for each shard and one for each of a bounded
// number of transactions that are ending; Unload and Close end them.
type Coordinator struct {
	config  Config
	runtime *coordinator.Runtime[Input]
	sender  sender
}

// NewCoordinator returns a Coordinator without shards.
func NewCoordinator(c Config) *Coordinator {
	coord := &Coordinator{config: c}
	coord.runtime = coordinator.New(coordinator.Options[Input]{
		Machine: func(int32) coordinator.Machine[Input] {
			o := c.Machine()
			o.TakeProducerID = c.IDs.TryTake
			return New(o)
		},
		Send: func(shard int32, message any) {
			switch message := message.(type) {
			case Ending:
				coord.sender.send(shard, message)
			case NeedProducerID:
				coord.sender.fetchIDs(shard)
			}
		},
		Log: c.Log,
	})
	coord.sender = sender{
		markers: c.Markers, fill: c.IDs.Fill, log: c.Log, shards: make(map[int32]*sending),
		complete: func(ctx context.Context, shard int32, done Complete) error {
			_, err := coord.runtime.Do(ctx, shard, Input{Request: done})
			return err
		},
	}
	return coord
}

// fillAgain is how often a command is given again for which there was no producer id left.
const fillAgain = 3

// Do gives a transactional id's shard a command and returns the message of its reply. The errors are those of
// coordinator.Runtime.Do, ErrNotCoordinator also while there is no __transaction_state; and ErrLoading while no producer ids can
// be had.
func (c *Coordinator) Do(ctx context.Context, transactionalID string, in Input) (any, error) {
	n := c.config.Shards()
	if n <= 0 {
		return nil, coordinator.ErrNotCoordinator
	}
	for range fillAgain {
		reply, err := c.runtime.Do(ctx, coordinator.ShardOf(transactionalID, n), in)
		if _, needs := reply.(NeedProducerID); !needs || err != nil {
			return reply, err
		}
		if err := c.config.IDs.Fill(ctx); err != nil {
			if ctx.Err() == nil {
				c.config.Log.Error().Err(err).Msg("no producer ids could be allocated; transactional producers cannot start")
			}
			return nil, fmt.Errorf("%w: %w", coordinator.ErrLoading, err)
		}
	}
	return nil, fmt.Errorf("%w: others take all producer ids", coordinator.ErrLoading)
}

// Each gives a command to every shard that is here, as coordinator.Runtime.Each does.
func (c *Coordinator) Each(ctx context.Context, in Input) (replies []any, err error) {
	return c.runtime.Each(ctx, in)
}

// Load has a shard loaded from its partition's log, as coordinator.Runtime.Load does. The log's leader epoch is the
// coordinator's epoch in the markers.
func (c *Coordinator) Load(shard int32, log coordinator.Log) {
	c.sender.open(shard, log.LeaderEpoch())
	c.runtime.Load(shard, log)
}

// Unload ends a shard at once. Nothing more is appended to its log when it returns, and no marker is written any more.
func (c *Coordinator) Unload(shard int32) {
	c.runtime.Unload(shard)
	c.sender.close(shard)
}

// Shards returns the shards that are here, in ascending order.
func (c *Coordinator) Shards() []int32 { return c.runtime.Shards() }

// RuntimeStats returns the counts of the runtime.
func (c *Coordinator) RuntimeStats() coordinator.Stats { return c.runtime.Stats() }

// Close takes no more commands and ends all shards, as coordinator.Runtime.Close does. Transactions that are ending go on when
// they are loaded again.
func (c *Coordinator) Close(ctx context.Context) error {
	err := c.runtime.Close(ctx)
	c.sender.closeAll()
	return err
}

// isGone says whether a shard is not here any more, so there is nothing to try again for.
func isGone(err error) bool { return errors.Is(err, coordinator.ErrNotCoordinator) }
