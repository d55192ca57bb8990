package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator/txn"
	"segue/internal/server"
)

// describeTransactions answers DescribeTransactions (KIP-664).
type describeTransactions struct{ *transactionCommands }

func (h describeTransactions) handle(_ context.Context, _ *server.Client, req *kmsg.DescribeTransactionsRequest) *kmsg.DescribeTransactionsResponse {
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	ids := req.TransactionalIDs
	resp.TransactionStates = forEachKey(len(ids), func(i int) string { return ids[i] },
		func(i int) kmsg.DescribeTransactionsResponseTransactionState {
			if ids[i] == "" {
				return refusedTransaction("", kerr.InvalidRequest) // whoever coordinates it
			}
			state, err := askTransaction[kmsg.DescribeTransactionsResponseTransactionState](h.transactionCommands, ids[i], txn.Describe{TransactionalID: ids[i]})
			if err != nil {
				state = refusedTransaction(ids[i], err)
			}
			return state
		})
	return resp
}

func refusedTransaction(id string, err *kerr.Error) kmsg.DescribeTransactionsResponseTransactionState {
	state := kmsg.NewDescribeTransactionsResponseTransactionState()
	state.TransactionalID, state.ErrorCode = id, err.Code
	return state
}

func describeTransactionsSize(r *kmsg.DescribeTransactionsResponse) int {
	size := 0
	for _, s := range r.TransactionStates {
		size += groupCost + encodedFactor*len(s.TransactionalID)
		for _, t := range s.Topics {
			size += topicCost + encodedFactor*(len(t.Topic)+4*len(t.Partitions))
		}
	}
	return size
}
