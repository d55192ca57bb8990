package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/catalog"
	"segue/internal/coordinator"
	"segue/internal/coordinator/txn"
)

// transactions is what the handlers ask of the coordinator of transactions; *txn.Coordinator is one. The errors are those of
// package coordinator, or the context's, whose end ends the waiting and nothing else.
type transactions interface {
	Do(ctx context.Context, transactionalID string, in txn.Input) (any, error)
	Each(ctx context.Context, in txn.Input) (replies []any, err error)
}

// transactionCommands is how the handlers give commands to transactional ids.
type transactionCommands struct {
	log          zerolog.Logger
	broker       context.Context // that commands run under: each takes effect whether its client is still there or not
	transactions transactions
	image        func() *catalog.Image
	patience     time.Duration // request.timeout.ms
}

// askTransaction gives a transactional id a command and waits for the reply, an R, for as long as patience lasts.
func askTransaction[R any](c *transactionCommands, transactionalID string, request any) (R, *kerr.Error) {
	ctx, cancel := context.WithTimeout(c.broker, c.patience)
	defer cancel()
	message, err := c.transactions.Do(ctx, transactionalID, txn.Input{Request: request})
	reply, sound := message.(R)
	if err == nil && !sound {
		err = fmt.Errorf("the reply to a %T is a %T: %v", request, message, message)
	}
	if err == nil {
		return reply, nil
	}
	code := coordinatorCode(err)
	if code == kerr.UnknownServerError {
		c.log.Error().Err(err).Str("transactional_id", transactionalID).Msg("a command of a transactional id failed")
	}
	return reply, code
}

// coordinatorCode says in Kafka's terms why a coordinator's command was not answered (CoordinatorOperationExceptionHelper). A
// log that cannot be written is COORDINATOR_NOT_AVAILABLE, where Kafka says NOT_COORDINATOR because another broker takes over.
func coordinatorCode(err error) *kerr.Error {
	switch {
	case errors.Is(err, coordinator.ErrLoading):
		return kerr.CoordinatorLoadInProgress
	case errors.Is(err, coordinator.ErrNotCoordinator):
		return kerr.NotCoordinator
	case errors.Is(err, coordinator.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return kerr.CoordinatorNotAvailable
	}
	return errorOf(err) // REQUEST_TIMED_OUT for the end of the broker, which nobody will read
}

// add gives a transaction partitions, or asks whether they are part of it.
func (c *transactionCommands) add(request txn.AddPartitions) (txn.Added, *kerr.Error) {
	added, err := askTransaction[txn.Added](c, request.TransactionalID, request)
	if err == nil {
		err = added.Err
	}
	return added, err
}

// fencedBefore gives PRODUCER_FENCED the code that requests below a version know.
func fencedBefore(version, known int16, err *kerr.Error) *kerr.Error {
	if err == kerr.ProducerFenced && version < known {
		return kerr.InvalidProducerEpoch
	}
	return err
}

// codeNumber is the number of a code; nil is none.
func codeNumber(err *kerr.Error) int16 {
	if err == nil {
		return 0
	}
	return err.Code
}
