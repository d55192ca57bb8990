package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
)

// alterConfigs answers AlterConfigs: the configs that a request names are all that a resource has afterwards.
type alterConfigs struct{ alterer *alterer }

func (h alterConfigs) handle(_ context.Context, _ *server.Client, req *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse {
	alterations := make([]alteration, 0, len(req.Resources))
	for _, r := range req.Resources {
		a := alteration{kind: r.ResourceType, name: r.ResourceName, whole: true}
		for _, c := range r.Configs {
			a.changes = append(a.changes, configChange{name: c.Name, value: c.Value})
		}
		alterations = append(alterations, a)
	}
	h.alterer.alter(alterations, req.ValidateOnly)
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	for _, a := range alterations {
		r := kmsg.NewAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = a.kind, a.name
		if a.err != nil {
			r.ErrorCode, r.ErrorMessage = a.err.code.Code, a.err.message()
		}
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}
