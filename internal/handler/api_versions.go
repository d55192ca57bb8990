package handler

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/server"
)

// apiVersions answers ApiVersions from the list of APIs that it is part of.
//
// Of Kafka's features those are named that stand for protocols that this broker serves, and none that stand for formats of
// Kafka's metadata log. Their epoch is the version of the catalog (KIP-584).
type apiVersions struct {
	ranges    []kmsg.ApiVersionsResponseApiKey // by key; set once, before the first request
	self      kmsg.ApiVersionsResponseApiKey
	nodeID    int32
	clusterID func() string
	image     func() *catalog.Image
}

// zeroFeatures is from when on ApiVersions shows features whose lowest level is 0: Kafka's older clients fail at them
// (KAFKA-17011).
const zeroFeatures = 4

// list takes the rows that are to be shown.
func (h *apiVersions) list(rows []server.API) {
	for _, r := range rows {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = r.Key, r.Advertise, r.Max
		h.ranges = append(h.ranges, k)
		if r.Key == int16(kmsg.ApiVersions) {
			h.self = k
		}
	}
	slices.SortFunc(h.ranges, func(a, b kmsg.ApiVersionsResponseApiKey) int { return int(a.ApiKey) - int(b.ApiKey) })
}

func (h *apiVersions) handle(_ context.Context, r *server.Request) (server.Response, error) {
	if r.Unsupported {
		// KIP-511: in version 0, which every client reads, with the range to try again in.
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{h.self}
		return server.Message(resp), nil
	}
	req := r.Message.(*kmsg.ApiVersionsRequest)
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	if err := h.check(req); err != nil {
		resp.ErrorCode = err.Code
		return server.Message(resp), nil
	}
	if req.Version >= 3 {
		r.Client.SetSoftware(server.Software{Name: req.ClientSoftwareName, Version: req.ClientSoftwareVersion})
	}
	resp.ApiKeys = h.ranges
	image := h.image()
	resp.FinalizedFeaturesEpoch = image.Version()
	for _, f := range catalog.Features() {
		if req.Version >= zeroFeatures || f.Min > 0 {
			resp.SupportedFeatures = append(resp.SupportedFeatures,
				kmsg.ApiVersionsResponseSupportedFeature{Name: f.Name, MinVersion: f.Min, MaxVersion: f.Max})
		}
		if level := image.FeatureLevel(f.Name); level > 0 {
			resp.FinalizedFeatures = append(resp.FinalizedFeatures,
				kmsg.ApiVersionsResponseFinalizedFeature{Name: f.Name, MaxVersionLevel: level, MinVersionLevel: level})
		}
	}
	return server.Message(resp), nil
}

// check refuses a client that does not say properly who it is, and one that meant another broker (KIP-1242).
func (h *apiVersions) check(req *kmsg.ApiVersionsRequest) *kerr.Error {
	if req.Version >= 3 && !(isSoftwareName(req.ClientSoftwareName) && isSoftwareName(req.ClientSoftwareVersion)) {
		return kerr.InvalidRequest
	}
	if req.Version < 5 {
		return nil
	}
	if (req.ClusterID == nil) != (req.NodeID == -1) {
		return kerr.InvalidRequest // both or none
	}
	if req.ClusterID != nil && (*req.ClusterID != h.clusterID() || req.NodeID != h.nodeID) {
		return kerr.RebootstrapRequired
	}
	return nil
}

// isSoftwareName tells whether s is letters and digits with dots and hyphens between them (KIP-511); it ends up in
// metrics.
func isSoftwareName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case (c == '-' || c == '.') && i > 0 && i < len(s)-1:
		default:
			return false
		}
	}
	return s != ""
}
