package handler

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/placement"
	"segue/internal/server"
)

// The kinds of coordinator (FindCoordinatorRequest.CoordinatorType).
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
	shareCoordinator       = 2
)

// findCoordinator answers FindCoordinator from placement. The first question about a group makes the topic of groups, and so
// with transactional ids; it is there when the question is answered: Kafka answers COORDINATOR_NOT_AVAILABLE first.
type findCoordinator struct {
	topics *coordinatorTopics
	view   interface {
		Brokers(listener string) []placement.Broker
		Coordinator(kind int8, key string) (nodeID int32, err error)
	}
}

func (h *findCoordinator) handle(_ context.Context, c *server.Client, req *kmsg.FindCoordinatorRequest) *kmsg.FindCoordinatorResponse {
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	kind := req.CoordinatorType
	if req.Version < 1 {
		kind = groupCoordinator
	}
	// Once for all keys: where the topic cannot be made, each try may be a write that fails.
	ensure := sync.OnceValue(func() error { return h.topics.ensure(c.Listener, kind) })
	if req.Version < 4 {
		broker, err := h.find(c.Listener, req.Version, kind, req.CoordinatorKey, ensure)
		resp.NodeID, resp.Host, resp.Port = broker.NodeID, broker.Host, broker.Port
		resp.ErrorCode, resp.ErrorMessage = codeOf(err), kmsg.StringPtr("NONE")
		if err != nil {
			resp.ErrorMessage = plain(errorOf(err)).message()
		}
		return resp
	}
	for _, key := range req.CoordinatorKeys {
		broker, err := h.find(c.Listener, req.Version, kind, key, ensure)
		k := kmsg.NewFindCoordinatorResponseCoordinator()
		k.Key, k.NodeID, k.Host, k.Port = key, broker.NodeID, broker.Host, broker.Port
		k.ErrorCode = codeOf(err)
		k.ErrorMessage = kmsg.StringPtr("")
		if err != nil {
			k.ErrorMessage = plain(errorOf(err)).message()
		}
		resp.Coordinators = append(resp.Coordinators, k)
	}
	return resp
}

// find returns the coordinator, or Kafka's Node.noNode with the error. Ensure makes the coordinator's topic if it is not there.
func (h *findCoordinator) find(listener string, version int16, kind int8, key string, ensure func() error) (placement.Broker, error) {
	nobody := placement.Broker{NodeID: -1, Port: -1}
	switch {
	case kind < groupCoordinator || kind > shareCoordinator,
		kind == shareCoordinator && (version < 6 || !isSharePartitionKey(key)):
		return nobody, kerr.InvalidRequest
	}
	id, err := h.view.Coordinator(kind, key)
	if err == nil && kind != shareCoordinator {
		err = ensure()
	}
	if err != nil {
		return nobody, err
	}
	for _, b := range h.view.Brokers(listener) {
		if b.NodeID == id {
			return b, nil
		}
	}
	return nobody, kerr.CoordinatorNotAvailable
}

// isSharePartitionKey tells whether key is group:topicId:partition (Kafka's SharePartitionKey). Whether they name
// anything is for the coordinator to say.
func isSharePartitionKey(key string) bool {
	rest, partition, ok := cutLast(key)
	if !ok {
		return false
	}
	group, topicID, ok := cutLast(rest) // the group id may hold colons itself
	if !ok || strings.TrimSpace(group) == "" {
		return false
	}
	if _, err := catalog.ParseID(topicID); err != nil {
		return false
	}
	_, err := strconv.ParseInt(partition, 10, 32)
	return err == nil
}

// cutLast cuts s around its last colon.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
