package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
)

// incrementalAlterConfigs answers IncrementalAlterConfigs: configs that a request does not name stay as they are.
type incrementalAlterConfigs struct{ alterer *alterer }

func (h incrementalAlterConfigs) handle(_ context.Context, _ *server.Client, req *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
	alterations := make([]alteration, 0, len(req.Resources))
	for _, r := range req.Resources {
		a := alteration{kind: r.ResourceType, name: r.ResourceName}
		for _, c := range r.Configs {
			a.changes = append(a.changes, configChange{name: c.Name, op: c.Op, value: c.Value})
		}
		alterations = append(alterations, a)
	}
	h.alterer.alter(alterations, req.ValidateOnly)
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	for _, a := range alterations {
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = a.kind, a.name
		if a.err != nil {
			r.ErrorCode, r.ErrorMessage = a.err.code.Code, a.err.message()
		}
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}
