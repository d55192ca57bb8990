package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator/group"
	"segue/internal/server"
)

// syncGroup answers SyncGroup when the leader's assignment is there and written. A client that goes away ends the wait.
type syncGroup struct{ *groupCommands }

func (h syncGroup) handle(ctx context.Context, _ *server.Client, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	var resp *kmsg.SyncGroupResponse
	var err *kerr.Error
	if ctx.Err() != nil && len(req.GroupAssignment) > 0 { // the leader has gone, and the others wait for what it has sent
		resp, err = command[*kmsg.SyncGroupResponse](h.groupCommands, req.Group, req)
	} else {
		resp, err = ask[*kmsg.SyncGroupResponse](ctx, h.groupCommands, req.Group, group.Input{Request: req})
	}
	if err != nil {
		resp = req.ResponseKind().(*kmsg.SyncGroupResponse)
		resp.ErrorCode = err.Code
	}
	return resp
}
