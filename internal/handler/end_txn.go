package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
)

// endTxn answers EndTxn.
type endTxn struct{ *transactionCommands }

// fencedAdd is from when on EndTxn, AddPartitionsToTxn and AddOffsetsToTxn know PRODUCER_FENCED.
const fencedAdd = 2

func (h endTxn) handle(_ context.Context, _ *server.Client, req *kmsg.EndTxnRequest) *kmsg.EndTxnResponse {
	resp := req.ResponseKind().(*kmsg.EndTxnResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	decided, err := askTransaction[*kmsg.EndTxnResponse](h.transactionCommands, req.TransactionalID, req)
	if err != nil {
		resp.ErrorCode = err.Code
		return resp
	}
	if decided.ErrorCode == kerr.ProducerFenced.Code {
		decided.ErrorCode = fencedBefore(req.Version, fencedAdd, kerr.ProducerFenced).Code
	}
	return decided
}
