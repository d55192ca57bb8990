package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Delete asks to delete a group that has no members, and its offsets. The reply is a *kmsg.DeleteGroupsResponseGroup.
type Delete struct{ Group string }

// DeleteOffsets asks to delete committed offsets of topics that the group does not read now. The reply is a
// *kmsg.OffsetDeleteResponse.
type DeleteOffsets struct {
	Group  string
	Topics []DeleteTopic
}

// DeleteTopic is a topic of a DeleteOffsets.
type DeleteTopic struct {
	Topic      string
	Partitions []int32
}

// delete handles Delete.
func (m *Machine) delete(req Delete) *kmsg.DeleteGroupsResponseGroup {
	resp := kmsg.NewDeleteGroupsResponseGroup()
	resp.Group = req.Group
	g := m.groups[req.Group]
	switch {
	case g == nil:
		resp.ErrorCode = kerr.GroupIDNotFound.Code
	case g.state != Empty:
		resp.ErrorCode = kerr.NonEmptyGroup.Code
	default:
		g.eachPartition(func(topic string, p int32) { m.dropOffset(g, topic, p) })
		m.Write(groupTombstone(g.id))
		m.bury(g)
	}
	return &resp
}

// deleteOffsets handles DeleteOffsets.
func (m *Machine) deleteOffsets(req DeleteOffsets) *kmsg.OffsetDeleteResponse {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	g, err := m.checkDeleteOffsets(req.Group)
	if err != nil {
		resp.ErrorCode = err.Code
		return resp
	}
	for _, topic := range req.Topics {
		err = nil
		if g.subscribesTo(topic.Topic) {
			err = kerr.GroupSubscribedToTopic
		}
		rt := kmsg.OffsetDeleteResponseTopic{Topic: topic.Topic}
		for _, p := range topic.Partitions {
			if err == nil && (g.offset(topic.Topic, p) != nil || g.isUndecided(topic.Topic, p)) {
				m.dropOffset(g, topic.Topic, p)
			}
			rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p, ErrorCode: code(err)})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// checkDeleteOffsets returns a group whose offsets may be deleted. Of members that are not consumers it is not known
// what they read, so they must be gone.
func (m *Machine) checkDeleteOffsets(id string) (*group, *kerr.Error) {
	if err := checkGroupID(id); err != nil {
		return nil, err
	}
	g := m.groups[id]
	switch {
	case g == nil:
		return nil, kerr.GroupIDNotFound
	case g.state != Empty && g.protocolType != consumerProtocol:
		return nil, kerr.NonEmptyGroup
	}
	return g, nil
}

// dropOffset deletes one committed offset, and what is pending there.
func (m *Machine) dropOffset(g *group, topic string, partition int32) {
	m.drop(g, topic, partition)
	m.Write(offsetTombstone(g.id, topic, partition))
}
