package handler

import (
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestDescribeCluster(t *testing.T) {
	s := newStage(t)
	for version := int16(0); version <= 2; version++ {
		req := kmsg.NewPtrDescribeClusterRequest()
		resp := s.ask(req, version).(*kmsg.DescribeClusterResponse)
		expectCode(t, "DescribeCluster", resp.ErrorCode, nil)
		if resp.ClusterID != clusterID || resp.ControllerID != nodeID || resp.ClusterAuthorizedOperations != math.MinInt32 {
			t.Errorf("v%d: %+v", version, resp)
		}
		if len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != nodeID || resp.Brokers[0].Host != "internal" ||
			resp.Brokers[0].Port != 9000 || stringOf(resp.Brokers[0].Rack) != "r1" || resp.Brokers[0].IsFenced {
			t.Errorf("v%d: brokers %+v", version, resp.Brokers)
		}
		req.IncludeClusterAuthorizedOperations = true
		if resp = s.ask(req, version).(*kmsg.DescribeClusterResponse); resp.ClusterAuthorizedOperations != 8096 { // as Kafka
			t.Errorf("v%d: operations %d", version, resp.ClusterAuthorizedOperations)
		}
	}
}

func TestDescribeClusterOfOtherEndpoints(t *testing.T) {
	for kind, want := range map[int8]*kerr.Error{2: kerr.MismatchedEndpointType, 3: kerr.UnsupportedEndpointType, 0: kerr.UnsupportedEndpointType} {
		s := newStage(t)
		for version := int16(1); version <= 2; version++ {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.EndpointType = kind
			resp := s.ask(req, version).(*kmsg.DescribeClusterResponse)
			expectCode(t, "DescribeCluster", resp.ErrorCode, want)
			if resp.ControllerID != -1 || len(resp.Brokers) != 0 || resp.ErrorMessage == nil {
				t.Errorf("endpoint type %d, v%d: %+v", kind, version, resp)
			}
		}
	}
}
