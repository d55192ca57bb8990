package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator/group"
	"segue/internal/server"
)

// listGroups answers ListGroups with the groups of all shards that are here, or with the error of one of them.
type listGroups struct{ *groupCommands }

func (h listGroups) handle(ctx context.Context, _ *server.Client, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	ctx, cancel := context.WithTimeout(ctx, h.patience())
	defer cancel()
	resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
	replies, err := h.groups.Each(ctx, group.Input{Request: group.List{States: req.StatesFilter, Types: req.TypesFilter}})
	if err != nil {
		resp.ErrorCode = h.code("", err).Code
		return resp
	}
	for _, reply := range replies {
		resp.Groups = append(resp.Groups, reply.([]kmsg.ListGroupsResponseGroup)...)
	}
	return resp
}
