package handler

import (
	"context"
	"errors"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
)

// producerIDBlock is how many producer ids are taken from the catalog at a time (ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE).
// Those left of a block when the broker ends are never given out.
const producerIDBlock = 1000

// producerIDs hands out producer ids, each one once for all time.
type producerIDs struct {
	allocate func(ctx context.Context, n int) (first int64, err error)
	turn     chan struct{} // holds one token: whoever has it owns what follows, across the allocation too
	next     int64
	left     int
}

func newProducerIDs(allocate func(ctx context.Context, n int) (int64, error)) *producerIDs {
	return &producerIDs{allocate: allocate, turn: make(chan struct{}, 1)}
}

// take returns the next id. The context ends the wait, for others or for a block of ids; a block that nobody has waited
// for to the end is lost, and not given twice.
func (p *producerIDs) take(ctx context.Context) (int64, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return -1, ctx.Err()
	}
	defer func() { <-p.turn }()
	if p.left == 0 {
		first, err := p.allocate(ctx, producerIDBlock)
		if err != nil {
			return -1, err
		}
		p.next, p.left = first, producerIDBlock
	}
	id := p.next
	p.next++
	p.left--
	return id, nil
}

// initProducerID answers InitProducerId for producers that are idempotent only: a new id with epoch 0 for each request,
// whatever id the client brings, as in Kafka. Transactional ids are their coordinator's, and placement knows none.
type initProducerID struct {
	log zerolog.Logger
	ids *producerIDs
}

func (h *initProducerID) handle(ctx context.Context, _ *server.Client, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		resp.ErrorCode = kerr.InvalidRequest.Code // both or none
	case req.TransactionalID != nil && *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.TransactionalID != nil && req.TransactionTimeoutMillis <= 0:
		resp.ErrorCode = kerr.InvalidTransactionTimeout.Code
	case req.TransactionalID != nil:
		resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
	default:
		id, err := h.ids.take(ctx)
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				h.log.Error().Err(err).Msg("no producer ids could be allocated; idempotent producers cannot start")
			}
			// As Kafka answers when it has no block of ids; all clients try again.
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
			return resp
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
	}
	return resp
}
