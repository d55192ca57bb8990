package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// The types of records, which are the versions of their keys (Kafka's CoordinatorRecordType).
const (
	legacyOffsetRecord = 0 // before Kafka 0.9
	offsetCommitRecord = 1
	groupMetadataType  = 2
)

// groupRecord is the record that says what a group has become.
func groupRecord(g *group) coordinator.Record {
	v := kmsg.GroupMetadataValue{
		Version: 3, ProtocolType: g.protocolType, Generation: g.generation, CurrentStateTimestamp: g.since,
		Members: make([]kmsg.GroupMetadataValueMember, 0, len(g.members)),
	}
	if g.protocol != "" {
		v.Protocol = &g.protocol
	}
	if g.leader != "" {
		v.Leader = &g.leader
	}
	for _, mb := range g.members {
		v.Members = append(v.Members, kmsg.GroupMetadataValueMember{
			MemberID: mb.id, InstanceID: mb.instanceID(), ClientID: mb.clientID, ClientHost: mb.host,
			RebalanceTimeoutMillis: mb.rebalanceMillis, SessionTimeoutMillis: mb.sessionMillis,
			Subscription: mb.metadata(g.protocol), Assignment: mb.assignment,
		})
	}
	return coordinator.Record{Key: groupKey(g.id), Value: v.AppendTo(nil)}
}

// groupTombstone is the record that says that a group is gone.
func groupTombstone(id string) coordinator.Record { return coordinator.Record{Key: groupKey(id)} }

func groupKey(id string) []byte {
	key := kmsg.GroupMetadataKey{Version: groupMetadataType, Group: id}
	return key.AppendTo(make([]byte, 0, 4+len(id)))
}

// offsetRecord is the record of a committed offset. Version 4 carries the topic id, version 1 alone when it expires.
func offsetRecord(group, topic string, partition int32, c *committed) coordinator.Record {
	v := kmsg.OffsetCommitValue{
		Version: 4, Offset: c.offset, LeaderEpoch: c.leaderEpoch, Metadata: c.metadata,
		CommitTimestamp: c.at, ExpireTimestamp: c.expires, TopicID: c.topicID,
	}
	if c.expires != noTime {
		v.Version = 1
	}
	return coordinator.Record{Key: offsetKey(group, topic, partition), Value: v.AppendTo(make([]byte, 0, 64+len(c.metadata)))}
}

// offsetTombstone is the record that says that an offset is gone.
func offsetTombstone(group, topic string, partition int32) coordinator.Record {
	return coordinator.Record{Key: offsetKey(group, topic, partition)}
}

func offsetKey(group, topic string, partition int32) []byte {
	key := kmsg.OffsetCommitKey{Version: offsetCommitRecord, Group: group, Topic: topic, Partition: partition}
	return key.AppendTo(make([]byte, 0, 10+len(group)+len(topic)))
}
