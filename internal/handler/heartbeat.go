package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
)

// heartbeat answers Heartbeat. While the group is being loaded every member is told that all is well, as in Kafka: its
// session begins anew when that is done.
type heartbeat struct{ *groupCommands }

func (h heartbeat) handle(_ context.Context, _ *server.Client, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	resp, err := command[*kmsg.HeartbeatResponse](h.groupCommands, req.Group, req)
	if err == nil {
		return resp
	}
	resp = req.ResponseKind().(*kmsg.HeartbeatResponse)
	if err != kerr.CoordinatorLoadInProgress {
		resp.ErrorCode = err.Code
	}
	return resp
}
