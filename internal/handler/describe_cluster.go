package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/placement"
	"segue/internal/server"
)

// Bits of Kafka's AclOperation for each operation that exists on a kind of resource. Without an authorizer a client
// that asks what it may do is told all of them (AuthHelper.authorizedOperations, AclEntry.supportedOperations).
const (
	aclRead = 1 << (iota + 3)
	aclWrite
	aclCreate
	aclDelete
	aclAlter
	aclDescribe
	aclClusterAction
	aclDescribeConfigs
	aclAlterConfigs
	aclIdempotentWrite

	topicOperations = aclRead | aclWrite | aclCreate | aclDelete | aclAlter | aclDescribe |
		aclDescribeConfigs | aclAlterConfigs
	groupOperations   = aclRead | aclDelete | aclDescribe | aclDescribeConfigs | aclAlterConfigs
	clusterOperations = aclCreate | aclAlter | aclDescribe | aclClusterAction | aclDescribeConfigs |
		aclAlterConfigs | aclIdempotentWrite
)

// The kinds of endpoint that a client of DescribeCluster may mean (Kafka's EndpointType).
const (
	brokerEndpoint     = 1
	controllerEndpoint = 2
)

// describeCluster answers DescribeCluster from placement.
type describeCluster struct {
	view interface {
		ClusterID() string
		Controller() int32
		Brokers(listener string) []placement.Broker
	}
}

func (h *describeCluster) handle(_ context.Context, c *server.Client, req *kmsg.DescribeClusterRequest) *kmsg.DescribeClusterResponse {
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	if req.EndpointType != brokerEndpoint {
		err := failure(kerr.UnsupportedEndpointType, "Unsupported endpoint type %d", req.EndpointType)
		if req.EndpointType == controllerEndpoint {
			err = failure(kerr.MismatchedEndpointType,
				"The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER")
		}
		resp.ErrorCode, resp.ErrorMessage = err.code.Code, err.message()
		return resp
	}
	resp.ClusterID = h.view.ClusterID()
	resp.ControllerID = h.view.Controller()
	for _, b := range h.view.Brokers(c.Listener) {
		broker := kmsg.NewDescribeClusterResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack = b.NodeID, b.Host, b.Port, b.Rack
		resp.Brokers = append(resp.Brokers, broker)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	return resp
}
