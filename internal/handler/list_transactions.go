package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator/txn"
	"segue/internal/server"
)

// listTransactions answers ListTransactions (KIP-664, KIP-994, KIP-1152).
type listTransactions struct{ *transactionCommands }

func (h listTransactions) handle(ctx context.Context, _ *server.Client, req *kmsg.ListTransactionsRequest) *kmsg.ListTransactionsResponse {
	resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
	filter := txn.List{ProducerIDs: req.ProducerIDFilters, LongerThan: req.DurationFilterMillis}
	filter.States, resp.UnknownStateFilters = txn.StatesNamed(req.StateFilters)
	if p := req.TransactionalIDPattern; p != nil {
		var err error
		if filter.Pattern, err = txn.CompilePattern(*p); err != nil {
			resp.ErrorCode = kerr.InvalidRegularExpression.Code
			return resp
		}
	}
	ctx, cancel := context.WithTimeout(ctx, h.patience)
	defer cancel()
	replies, err := h.transactions.Each(ctx, txn.Input{Request: filter})
	if err != nil {
		resp.ErrorCode, resp.UnknownStateFilters = coordinatorCode(err).Code, nil
		return resp
	}
	for _, reply := range replies {
		states, _ := reply.([]kmsg.ListTransactionsResponseTransactionState)
		resp.TransactionStates = append(resp.TransactionStates, states...)
	}
	return resp
}

func listTransactionsSize(r *kmsg.ListTransactionsResponse) int {
	size := 0
	for _, s := range r.TransactionStates {
		size += groupCost + encodedFactor*(len(s.TransactionalID)+len(s.TransactionState))
	}
	return size
}
