package handler

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator/txn"
	"segue/internal/server"
)

// initProducerID answers InitProducerId: for producers that are idempotent only a new id with epoch 0 for each request, whatever
// id the client brings, as in Kafka; for transactional ids what their coordinator says.
type initProducerID struct {
	*transactionCommands
	ids        *txn.ProducerIDs
	maxTimeout func() time.Duration // transaction.max.timeout.ms
}

// fencedInit is from when on InitProducerId knows PRODUCER_FENCED.
const fencedInit = 4

func (h *initProducerID) handle(ctx context.Context, _ *server.Client, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		resp.ErrorCode = kerr.InvalidRequest.Code // both or none
	case req.TransactionalID != nil && *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code // whoever coordinates it
	case req.TransactionalID != nil &&
		(req.TransactionTimeoutMillis <= 0 || int64(req.TransactionTimeoutMillis) > h.maxTimeout().Milliseconds()):
		resp.ErrorCode = kerr.InvalidTransactionTimeout.Code
	case req.TransactionalID == nil:
		id, err := h.ids.Take(ctx)
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				h.log.Error().Err(err).Msg("no producer ids could be allocated; idempotent producers cannot start")
			}
			// As Kafka answers when it has no block of ids; all clients try again.
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
			return resp
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
	default:
		decided, err := askTransaction[*kmsg.InitProducerIDResponse](h.transactionCommands, *req.TransactionalID, req)
		if err != nil {
			resp.ErrorCode = err.Code
			return resp
		}
		if decided.ErrorCode == kerr.ProducerFenced.Code {
			decided.ErrorCode = fencedBefore(req.Version, fencedInit, kerr.ProducerFenced).Code
		}
		return decided
	}
	return resp
}
