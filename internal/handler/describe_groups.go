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
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	first := firsts(req.Groups, func(i int) string { return req.Groups[i] })
	forEach(len(req.Groups), func(i int) {
		if first[i] != i {
			return
		}
		id := req.Groups[i]
		g, err := query[*kmsg.DescribeGroupsResponseGroup](ctx, h.groupCommands, id, group.Describe{Group: id, Version: req.Version})
		switch {
		case err != nil:
			none := kmsg.NewDescribeGroupsResponseGroup()
			g = &none
			g.Group, g.ErrorCode = id, err.Code
		case g.ErrorCode == 0 && req.IncludeAuthorizedOperations:
			g.AuthorizedOperations = groupOperations
		}
		resp.Groups[i] = *g
	})
	for i, f := range first {
		resp.Groups[i] = resp.Groups[f]
	}
	return resp
}
