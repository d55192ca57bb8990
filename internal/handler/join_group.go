package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator/group"
	"segue/internal/server"
)

// joinGroup answers JoinGroup when the rebalance is over that it brings about or takes part in. A client that goes away
// ends the wait; its place in the group is the coordinator's to see to.
//
// The request of a client that has gone before its turn came is passed over: it would add a member that nobody is.
type joinGroup struct{ *groupCommands }

// handle implements server.Handler.
func (h joinGroup) handle(ctx context.Context, r *server.Request) (server.Response, error) {
	req := r.Message.(*kmsg.JoinGroupRequest)
	resp, err := ask[*kmsg.JoinGroupResponse](ctx, h.groupCommands, req.Group, group.Input{Client: clientOf(r), Request: req})
	if err != nil {
		resp = req.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = err.Code
		if err == kerr.InvalidGroupID { // as Kafka tells it
			resp.MemberID = req.MemberID
		}
	}
	return server.Sized(server.Message(resp), joinGroupSize(resp)), nil
}
