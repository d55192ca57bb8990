// Package placement says who leads a partition, at which epoch, who coordinates a group or a transaction, and who the
// brokers are. It is the only source of node ids, hosts, ports and epochs in answers to clients: no handler knows that
// there is one broker.
//
// View is what handlers ask. Single answers for a broker that is alone.
package placement

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Broker is a broker as clients of one listener see it.
type Broker struct {
	NodeID int32
	Host   string
	Port   int32
	Rack   *string // nil for none
}

// Leader says who serves a partition. The slices must not be changed.
type Leader struct {
	NodeID, Epoch          int32
	Replicas, ISR, Offline []int32
}

// View tells where everything is. All methods may be called concurrently, and none of them waits.
type View interface {
	// ClusterID is the id of the cluster, which never changes.
	ClusterID() string
	// Controller is the node id of a live broker that clients may send administrative requests to.
	Controller() int32
	// Brokers are the live brokers by node id, with the addresses that a listener hands to its clients; none if it
	// hands out no address.
	Brokers(listener string) []Broker
	// Leader says who serves a partition of a topic that is in the catalog.
	Leader(topicID [16]byte, partition int32) Leader
	// Coordinator is the node id of the broker that coordinates a key: a group, or a transactional id (KIP-98).
	// The error, a *kerr.Error, is COORDINATOR_NOT_AVAILABLE where there is none.
	Coordinator(kind int8, key string) (nodeID int32, err error)
}

// Address is a host and a port that clients can reach.
type Address struct {
	Host string
	Port int32
}

// Single is the View of a broker that is alone: it leads every partition, and its leadership begins anew with each
// start.
type Single struct {
	clusterID string
	self      Broker // without its address
	nodes     []int32
	epoch     int32
	brokers   atomic.Pointer[map[string][]Broker] // by listener
}

// NewSingle returns the View of one broker, of which clients are told no address yet. Epoch is the number of its start,
// self its id and rack.
func NewSingle(clusterID string, epoch int32, self Broker) *Single {
	s := &Single{clusterID: clusterID, self: self, nodes: []int32{self.NodeID}, epoch: epoch}
	s.Advertise(nil)
	return s
}

// Advertise sets the address that each listener hands to its clients. Listeners that are not named hand out none.
func (s *Single) Advertise(addresses map[string]Address) {
	brokers := make(map[string][]Broker, len(addresses))
	for listener, a := range addresses {
		b := s.self
		b.Host, b.Port = a.Host, a.Port
		brokers[listener] = []Broker{b}
	}
	s.brokers.Store(&brokers)
}

// ClusterID implements View.
func (s *Single) ClusterID() string { return s.clusterID }

// Controller implements View.
func (s *Single) Controller() int32 { return s.nodes[0] }

// Brokers implements View.
func (s *Single) Brokers(listener string) []Broker { return (*s.brokers.Load())[listener] }

// Leader implements View.
func (s *Single) Leader([16]byte, int32) Leader {
	return Leader{NodeID: s.nodes[0], Epoch: s.epoch, Replicas: s.nodes, ISR: s.nodes}
}

// The kinds of keys that have a coordinator (FindCoordinatorRequest.CoordinatorType).
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
)

// Coordinator implements View. There are no share groups on this broker, so nobody coordinates them.
func (s *Single) Coordinator(kind int8, _ string) (int32, error) {
	if kind == groupCoordinator || kind == transactionCoordinator {
		return s.nodes[0], nil
	}
	return -1, kerr.CoordinatorNotAvailable
}
