package handler

import (
	"context"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/placement"
	"segue/internal/server"
)

// resourceTypesVersion is the version of ListConfigResources since which it is about more than client metrics (KIP-1142).
const resourceTypesVersion = 1

// listConfigResources answers ListConfigResources: topics and brokers. Groups, client metrics and loggers have no configs
// here.
type listConfigResources struct {
	image func() *catalog.Image
	view  interface {
		Brokers(listener string) []placement.Broker
	}
}

func (h *listConfigResources) handle(_ context.Context, c *server.Client, req *kmsg.ListConfigResourcesRequest) *kmsg.ListConfigResourcesResponse {
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	if req.Version < resourceTypesVersion {
		return resp
	}
	known := []kmsg.ConfigResourceType{
		kmsg.ConfigResourceTypeGroupConfig, kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeBrokerLogger,
		kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeTopic,
	}
	for _, kind := range req.ResourceTypes {
		if !slices.Contains(known, kmsg.ConfigResourceType(kind)) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			return resp
		}
	}
	for _, kind := range known {
		if len(req.ResourceTypes) > 0 && !slices.Contains(req.ResourceTypes, int8(kind)) {
			continue
		}
		for _, name := range h.names(c, kind) {
			r := kmsg.NewListConfigResourcesResponseConfigResource()
			r.Name, r.Type = name, int8(kind)
			resp.ConfigResources = append(resp.ConfigResources, r)
		}
	}
	return resp
}

// names lists the resources of a type.
func (h *listConfigResources) names(c *server.Client, kind kmsg.ConfigResourceType) (names []string) {
	switch kind {
	case kmsg.ConfigResourceTypeBroker:
		for _, b := range h.view.Brokers(c.Listener) {
			names = append(names, strconv.Itoa(int(b.NodeID)))
		}
	case kmsg.ConfigResourceTypeTopic:
		for _, t := range h.image().Topics() {
			names = append(names, t.Name)
		}
	}
	return names
}

// cost implements server.API's Cost: all topics are named.
func (h *listConfigResources) cost(_ *server.Request, decoded int) int {
	return 4*decoded + len(h.image().Topics())*topicCost + 4<<10
}
