package group

import (
	"fmt"

	"segue/internal/coordinator"
)

// Apply implements coordinator.Machine. Records of KIP-848's groups, and of whatever a newer Kafka may have left in a data
// directory, are of an unknown type.
func (m *Machine) Apply(rec coordinator.Record) error {
	key := coordinator.Reader{Left: rec.Key}
	switch kind := key.Int16(); {
	case key.Bad:
		return fmt.Errorf("a record's key has %d bytes, which is no key", len(rec.Key))
	case kind == legacyOffsetRecord, kind == offsetCommitRecord:
		return m.applyOffset(&key, rec.Value)
	case kind == groupMetadataType:
		return m.applyGroup(&key, rec.Value)
	default:
		return &coordinator.UnknownRecordError{Type: kind}
	}
}

func (m *Machine) applyOffset(key *coordinator.Reader, value []byte) error {
	id, topic, partition := key.String(), key.String(), key.Int32()
	if key.Bad {
		return fmt.Errorf("the key of a committed offset of group %q cannot be read", id)
	}
	g := m.groups[id]
	if value == nil {
		if g != nil {
			m.drop(g, topic, partition)
			if g.madeByCommits() {
				m.bury(g)
			}
		}
		return nil
	}
	c, err := readOffset(value)
	if err != nil {
		return fmt.Errorf("the offset of group %q for partition %d of topic %q: %w", id, partition, topic, err)
	}
	if g == nil {
		g = m.newGroup(id)
	}
	g.put(topic, partition, c)
	return nil
}

// madeByCommits says whether nothing but commits ever made the group, and it has no offset left.
func (g *group) madeByCommits() bool {
	return g.since == noTime && g.generation == 0 && g.protocolType == "" && len(g.offsets)+len(g.undecided) == 0
}

func readOffset(b []byte) (*committed, error) {
	r := coordinator.Reader{Left: b}
	version := r.Int16()
	if version < 0 || version > 4 {
		return nil, fmt.Errorf("its value has version %d, and this version of Segue reads 0 to 4", version)
	}
	r.Flexible = version >= 4
	c := &committed{leaderEpoch: -1, expires: noTime}
	c.offset = r.Int64()
	if version >= 3 {
		c.leaderEpoch = r.Int32()
	}
	c.metadata = r.String()
	c.at = r.Int64()
	if version == 1 {
		c.expires = r.Int64()
	}
	r.Tags(func(tag int, b []byte) {
		if tag == 0 && len(b) == len(c.topicID) {
			c.topicID = [16]byte(b)
		}
	})
	if r.Bad {
		return nil, fmt.Errorf("its value (version %d, %d bytes) cannot be read", version, len(b))
	}
	return c, nil
}

func (m *Machine) applyGroup(key *coordinator.Reader, value []byte) error {
	id := key.String()
	if key.Bad {
		return fmt.Errorf("the key of a group cannot be read")
	}
	before := m.groups[id]
	g := &group{id: id, since: noTime}
	if before != nil {
		g.offsets, g.undecided = before.offsets, before.undecided
	}
	if value == nil {
		delete(m.groups, id)
		if len(g.offsets)+len(g.undecided) > 0 { // they have tombstones of their own
			m.groups[id] = g
		}
		return nil
	}
	if err := g.read(value); err != nil {
		return fmt.Errorf("group %q: %w", id, err)
	}
	m.groups[id] = g
	return nil
}

// read takes over what a record says of the group: it is Stable with its members, or Empty.
func (g *group) read(b []byte) error {
	r := coordinator.Reader{Left: b}
	version := r.Int16()
	if version < 0 || version > 4 {
		return fmt.Errorf("its value has version %d, and this version of Segue reads 0 to 4", version)
	}
	r.Flexible = version >= 4
	g.protocolType = r.String()
	g.generation = r.Int32()
	protocol, leader := r.NullableString(), r.NullableString()
	if version >= 2 {
		g.since = r.Int64()
	}
	if protocol != nil {
		g.protocol = *protocol
	}
	count := r.ArrayLen(4)
	for range count {
		mb := g.readMember(&r, version)
		if r.Bad {
			break
		}
		if g.member(mb.id) != nil || mb.static && g.instances[mb.instance] != nil {
			return fmt.Errorf("member %q is there twice", mb.id)
		}
		g.insert(mb)
	}
	r.Tags(func(int, []byte) {})
	if r.Bad {
		return fmt.Errorf("its value (version %d, %d bytes) cannot be read", version, len(b))
	}
	if count > 0 {
		g.state = Stable
		if g.protocol == "" || g.protocolType == "" {
			return fmt.Errorf("it has %d members and no protocol", count)
		}
	}
	if leader != nil && g.member(*leader) != nil {
		g.leader = *leader
	}
	g.subscribe()
	return nil
}

func (g *group) readMember(r *coordinator.Reader, version int16) *member {
	mb := &member{group: g, protocolType: g.protocolType}
	mb.id = r.String()
	if version >= 3 {
		if instance := r.NullableString(); instance != nil {
			mb.instance, mb.static = *instance, true
		}
	}
	mb.clientID, mb.host = r.String(), r.String()
	mb.rebalanceMillis = -1
	if version >= 1 {
		mb.rebalanceMillis = r.Int32()
	}
	mb.sessionMillis = r.Int32()
	if mb.rebalanceMillis == -1 {
		mb.rebalanceMillis = mb.sessionMillis
	}
	subscription, assignment := r.NullableBytes(), r.NullableBytes()
	all := append(append(make([]byte, 0, len(subscription)+len(assignment)), subscription...), assignment...)
	mb.protocols = []protocol{{g.protocol, all[:len(subscription):len(subscription)]}}
	mb.assignment = all[len(subscription):]
	r.Tags(func(int, []byte) {})
	return mb
}
