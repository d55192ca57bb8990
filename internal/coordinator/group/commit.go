package group

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// commit handles OffsetCommit. Topics carry name and id, both, and exist.
func (m *Machine) commit(t coordinator.Token, req *kmsg.OffsetCommitRequest) {
	g, err := m.checkCommit(req)
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = req.Version
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, 0, len(req.Topics))
	for _, topic := range req.Topics {
		rt := kmsg.OffsetCommitResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
		rt.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, 0, len(topic.Partitions))
		for _, p := range topic.Partitions {
			e := err
			if e == nil {
				e = m.checkOffset(topic.Topic, p.Metadata)
			}
			if e == nil {
				if g == nil { // who only commits needs no more of a group
					g = m.newGroup(req.Group)
				}
				m.commitOne(g, req.RetentionTimeMillis, topic, p)
			}
			rt.Partitions = append(rt.Partitions, kmsg.OffsetCommitResponseTopicPartition{
				Partition: p.Partition, ErrorCode: code(e),
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	m.Reply(t, resp)
}

// checkCommit returns the group that commits, which is nil if it has to be made, or why it may not. A commit by a member
// counts as a heartbeat.
func (m *Machine) checkCommit(req *kmsg.OffsetCommitRequest) (*group, *kerr.Error) {
	if tooLong(req.Group) { // an empty one is a group like any other here
		return nil, kerr.InvalidGroupID
	}
	g := m.groups[req.Group]
	switch {
	case g == nil && req.Generation < 0:
		return nil, nil
	case g == nil && req.Version >= 9:
		return nil, kerr.GroupIDNotFound
	case g == nil:
		return nil, kerr.IllegalGeneration
	case g.state == Empty && req.Generation < 0: // an administrator, or a consumer that assigns itself
		return g, nil
	case req.Generation < 0 && req.MemberID == "" && req.InstanceID == nil:
		return nil, kerr.UnknownMemberID
	}
	if err := g.validate(req.MemberID, req.InstanceID); err != nil {
		return nil, err
	}
	switch {
	case req.Generation != g.generation:
		return nil, kerr.IllegalGeneration
	case g.state == CompletingRebalance: // it knows the generation, but not yet what it may read in it
		return nil, kerr.RebalanceInProgress
	}
	m.renew(g.member(req.MemberID))
	return g, nil
}

// checkOffset refuses what cannot be stored.
func (m *Machine) checkOffset(topic string, metadata *string) *kerr.Error {
	switch {
	case metadata != nil && (utf16Len(*metadata) > m.opts.MaxOffsetMetadata || len(*metadata) > maxCommitted):
		return kerr.OffsetMetadataTooLarge
	case tooLong(topic):
		return kerr.UnknownTopicOrPartition
	}
	return nil
}

// commitOne stores one offset.
func (m *Machine) commitOne(g *group, retention int64, topic kmsg.OffsetCommitRequestTopic, p kmsg.OffsetCommitRequestTopicPartition) {
	c := &committed{
		offset: p.Offset, leaderEpoch: p.LeaderEpoch,
		at: m.Millis(), expires: noTime,
		topicID: topic.TopicID,
	}
	if p.Metadata != nil {
		c.metadata = *p.Metadata
	}
	if retention != -1 { // versions 2 to 4 may bring one
		c.expires = c.at + min(retention, math.MaxInt64-c.at)
		// The one format that has room for it has none for these.
		c.topicID, c.leaderEpoch = [16]byte{}, -1
	}
	g.put(topic.Topic, p.Partition, c)
	m.Write(offsetRecord(g.id, topic.Topic, p.Partition, c))
}

// utf16Len is the length of a string as Java has it.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		if n++; r > 0xFFFF {
			n++
		}
	}
	return n
}
