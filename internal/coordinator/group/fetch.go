package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetch asks for committed offsets of a group. The reply is a *kmsg.OffsetFetchResponseGroup.
type Fetch struct {
	Group string
	// MemberID and MemberEpoch are of the consumer protocol. Classic groups do not look at them, as in Kafka.
	MemberID    *string
	MemberEpoch int32
	// RequireStable asks not to be told of an offset that a transaction may be about to change: UNSTABLE_OFFSET_COMMIT stands
	// in its place (KIP-447).
	RequireStable bool
	Topics        []FetchTopic // nil for all
}

// FetchTopic is a topic of a Fetch.
type FetchTopic struct {
	Topic      string
	ID         [16]byte // an offset committed under another id is not this topic's; zero for any
	Partitions []int32
}

// Lags asks for every committed offset. The reply is a []GroupOffset in no order.
type Lags struct{}

// GroupOffset is one committed offset.
type GroupOffset struct {
	Group     string
	Topic     string
	TopicID   [16]byte // that was meant; zero if that is not known
	Partition int32
	Offset    int64
	Committed int64 // when, in Unix milliseconds
}

// noOffset is what is answered where no offset is committed.
func noOffset(partition int32) kmsg.OffsetFetchResponseGroupTopicPartition {
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: partition, Offset: -1, LeaderEpoch: -1, Metadata: pointer(""),
	}
}

func (c *committed) fetched(partition int32) kmsg.OffsetFetchResponseGroupTopicPartition {
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: partition, Offset: c.offset, LeaderEpoch: c.leaderEpoch, Metadata: &c.metadata,
	}
}

// fetch handles Fetch. Where a group or an offset does not exist, the answer is -1 and no error.
func (m *Machine) fetch(req Fetch) *kmsg.OffsetFetchResponseGroup {
	resp := &kmsg.OffsetFetchResponseGroup{Group: req.Group}
	g := m.groups[req.Group]
	if req.Topics == nil {
		if g != nil {
			resp.Topics = g.fetchAll(req.RequireStable)
		}
		return resp
	}
	resp.Topics = make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(req.Topics))
	for _, topic := range req.Topics {
		rt := kmsg.OffsetFetchResponseGroupTopic{Topic: topic.Topic, TopicID: topic.ID}
		rt.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, 0, len(topic.Partitions))
		for _, p := range topic.Partitions {
			answer := noOffset(p)
			if req.RequireStable && g != nil && g.isUndecided(topic.Topic, p) {
				answer.ErrorCode = kerr.UnstableOffsetCommit.Code
			} else if c := g.lookUp(topic, p); c != nil {
				answer = c.fetched(p)
			}
			rt.Partitions = append(rt.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// lookUp returns the offset that is committed for a topic, unless it was for another topic of that name.
func (g *group) lookUp(topic FetchTopic, partition int32) *committed {
	if g == nil {
		return nil
	}
	c := g.offset(topic.Topic, partition)
	if c == nil || isOther(c.topicID, topic.ID) {
		return nil
	}
	return c
}

// isOther says whether two topic ids are known to be of different topics.
func isOther(a, b [16]byte) bool {
	return a != b && a != [16]byte{} && b != [16]byte{}
}

// fetchAll returns all offsets, in order of topics and partitions. Those of a topic that were committed under different
// ids are topics of their own: who knows the topics knows which one is meant.
func (g *group) fetchAll(stable bool) []kmsg.OffsetFetchResponseGroupTopic {
	topics := make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(g.offsets))
	for _, topic := range sortedKeys(g.offsets) {
		first := len(topics)
		for _, p := range sortedKeys(g.offsets[topic]) {
			c := g.offset(topic, p)
			i := first
			for i < len(topics) && topics[i].TopicID != c.topicID {
				i++
			}
			if i == len(topics) {
				topics = append(topics, kmsg.OffsetFetchResponseGroupTopic{Topic: topic, TopicID: c.topicID})
			}
			answer := c.fetched(p)
			if stable && g.isUndecided(topic, p) {
				answer = noOffset(p)
				answer.ErrorCode = kerr.UnstableOffsetCommit.Code
			}
			topics[i].Partitions = append(topics[i].Partitions, answer)
		}
	}
	return topics
}

// lags handles Lags.
func (m *Machine) lags() []GroupOffset {
	var all []GroupOffset
	for _, g := range m.groups {
		for topic, ps := range g.offsets {
			for p, c := range ps {
				all = append(all, GroupOffset{
					Group: g.id, Topic: topic, TopicID: c.topicID, Partition: p, Offset: c.offset, Committed: c.at,
				})
			}
		}
	}
	return all
}
