package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
	"segue/partition"
)

// TxnCommit commits offsets in a producer's transaction: they hold once it is committed. The reply is a
// *kmsg.TxnOffsetCommitResponse of the request's version.
type TxnCommit struct {
	Request *kmsg.TxnOffsetCommitRequest // whose topics carry name and id, both, and exist
	// Guard is that of the producer in the group's partition of __consumer_offsets; 0 if its transaction is open there.
	Guard partition.Guard
}

func (c TxnCommit) producer() coordinator.Producer {
	return coordinator.Producer{ID: c.Request.ProducerID, Epoch: c.Request.ProducerEpoch}
}

// commitPending handles TxnCommit.
func (m *Machine) commitPending(t coordinator.Token, req TxnCommit) {
	g, err := m.checkTxnCommit(req.Request)
	resp := req.Request.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	resp.Topics = make([]kmsg.TxnOffsetCommitResponseTopic, 0, len(req.Request.Topics))
	for _, topic := range req.Request.Topics {
		rt := kmsg.TxnOffsetCommitResponseTopic{Topic: topic.Topic}
		rt.Partitions = make([]kmsg.TxnOffsetCommitResponseTopicPartition, 0, len(topic.Partitions))
		for _, p := range topic.Partitions {
			e := err
			if e == nil {
				e = m.checkOffset(topic.Topic, p.Metadata)
			}
			if e == nil {
				if g == nil {
					g = m.newGroup(req.Request.Group)
				}
				c := &committed{offset: p.Offset, leaderEpoch: p.LeaderEpoch, at: m.Millis(), expires: noTime, topicID: topic.TopicID}
				if p.Metadata != nil {
					c.metadata = *p.Metadata
				}
				m.pend(g, topic.Topic, p.Partition, pendingOffset{req.Request.ProducerID, c})
				m.Write(offsetRecord(g.id, topic.Topic, p.Partition, c))
			}
			rt.Partitions = append(rt.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: code(e)})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(m.Led.Records) > 0 {
		p := req.producer()
		m.Led.Producer = &p
	}
	m.Reply(t, resp)
}

// checkTxnCommit returns the group that commits, which is nil if it has to be made, or why it may not. A group whose members
// have not synced yet may commit, since the transaction's end is what counts; requests of older versions say nothing of who
// they are for (Kafka's ClassicGroup.validateOffsetCommit).
func (m *Machine) checkTxnCommit(req *kmsg.TxnOffsetCommitRequest) (*group, *kerr.Error) {
	if err := checkGroupID(req.Group); err != nil {
		return nil, err
	}
	g := m.groups[req.Group]
	switch {
	case g == nil && req.Generation < 0:
		return nil, nil
	case g == nil:
		return nil, kerr.IllegalGeneration
	case req.Generation < 0 && (g.state == Empty || req.MemberID == "" && req.InstanceID == nil):
		return g, nil
	}
	if err := g.validate(req.MemberID, req.InstanceID); err != nil {
		return nil, err
	}
	if req.Generation != g.generation {
		return nil, kerr.IllegalGeneration
	}
	return g, nil
}

// ApplyPending implements coordinator.Transactional.
func (m *Machine) ApplyPending(p coordinator.Producer, rec coordinator.Record) error {
	key := coordinator.Reader{Left: rec.Key}
	if kind := key.Int16(); key.Bad || kind != offsetCommitRecord && kind != legacyOffsetRecord || rec.Value == nil {
		return m.Apply(rec) // nothing but offsets is committed in transactions
	}
	id, topic, partition := key.String(), key.String(), key.Int32()
	if key.Bad {
		return fmt.Errorf("the key of an offset of group %q, committed in a transaction, cannot be read", id)
	}
	c, err := readOffset(rec.Value)
	if err != nil {
		return fmt.Errorf("the offset of group %q for partition %d of topic %q: %w", id, partition, topic, err)
	}
	g := m.groups[id]
	if g == nil {
		g = m.newGroup(id)
	}
	m.pend(g, topic, partition, pendingOffset{p.ID, c})
	return nil
}

// Decide implements coordinator.Transactional: what the producer's transaction has committed holds, or is gone. A group that
// nothing else has made, and that is left with nothing, goes at once in a replay, and else with the next sweep.
func (m *Machine) Decide(now time.Time, p coordinator.Producer, commit bool) coordinator.Effects {
	m.Begin(now)
	for at := range m.open[p.ID] {
		g := m.groups[at.group]
		g.decide(at.topic, at.partition, p.ID, commit)
		if !m.loaded && g.madeByCommits() {
			m.bury(g)
		}
	}
	delete(m.open, p.ID)
	return m.End()
}
