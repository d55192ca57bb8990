package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator/group"
	"segue/internal/server"
)

// describeGroups answers DescribeGroups.
type describeGroups struct{ *groupCommands }

func (h describeGroups) handle(ctx context.Context, _ *server.Client, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
	resp.Groups = forEachKey(len(req.Groups), func(i int) string { return req.Groups[i] }, func(i int) kmsg.DescribeGroupsResponseGroup {
		return h.describe(ctx, req, req.Groups[i])
	})
	return resp
}

func (h describeGroups) describe(ctx context.Context, req *kmsg.DescribeGroupsRequest, id string) kmsg.DescribeGroupsResponseGroup {
	g, err := query[*kmsg.DescribeGroupsResponseGroup](ctx, h.groupCommands, id, group.Describe{Group: id, Version: req.Version})
	switch {
	case err != nil:
		none := kmsg.NewDescribeGroupsResponseGroup()
		none.Group, none.ErrorCode = id, err.Code
		return none
	case g.ErrorCode == 0 && req.IncludeAuthorizedOperations:
		g.AuthorizedOperations = groupOperations
	}
	return *g
}
