package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
)

// leaveGroup answers LeaveGroup. Clients send it and close the connection: it takes effect all the same.
type leaveGroup struct{ *groupCommands }

func (h leaveGroup) handle(_ context.Context, _ *server.Client, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	resp, err := command[*kmsg.LeaveGroupResponse](h.groupCommands, req.Group, req)
	if err != nil {
		resp = req.ResponseKind().(*kmsg.LeaveGroupResponse)
		resp.ErrorCode = err.Code
	}
	return resp
}
