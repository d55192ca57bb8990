package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator/group"
	"segue/internal/server"
)

// deleteGroups answers DeleteGroups. A group that is named twice is deleted, and answered, once.
type deleteGroups struct{ *groupCommands }

func (h deleteGroups) handle(_ context.Context, _ *server.Client, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
	seen := make(map[string]bool, len(req.Groups))
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, 0, len(req.Groups))
	for _, id := range req.Groups {
		if !seen[id] {
			seen[id] = true
			resp.Groups = append(resp.Groups, kmsg.DeleteGroupsResponseGroup{Group: id})
		}
	}
	forEach(len(resp.Groups), func(i int) {
		g := &resp.Groups[i]
		answer, err := command[*kmsg.DeleteGroupsResponseGroup](h.groupCommands, g.Group, group.Delete{Group: g.Group})
		if err != nil {
			g.ErrorCode = err.Code
		} else {
			*g = *answer
		}
	})
	return resp
}
