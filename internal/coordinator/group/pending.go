package group

import (
	"slices"
)

// topicPending are the offsets of one topic that transactions have yet to decide about, by partition: those of several
// producers, in the order in which they were written.
type topicPending map[int32][]pendingOffset

// pendingOffset is an offset that a producer commits in a transaction.
type pendingOffset struct {
	producer int64
	// c is what it will be; nil if something that was written later holds already. Compaction of the log keeps the latest
	// record alone, so it is the latest that counts, whichever was decided last.
	c *committed
}

// pendingPlace is where a producer has a pending offset.
type pendingPlace struct {
	group, topic string
	partition    int32
}

// pend stores a pending offset.
func (m *Machine) pend(g *group, topic string, partition int32, p pendingOffset) {
	places := m.open[p.producer]
	if places == nil {
		places = map[pendingPlace]struct{}{}
		m.open[p.producer] = places
	}
	places[pendingPlace{g.id, topic, partition}] = struct{}{}
	g.pend(topic, partition, p)
}

// drop removes a committed offset, and with it what is pending there: it comes to nothing, whatever is decided.
func (m *Machine) drop(g *group, topic string, partition int32) {
	for _, p := range g.undecided[topic][partition] {
		places := m.open[p.producer]
		if delete(places, pendingPlace{g.id, topic, partition}); len(places) == 0 {
			delete(m.open, p.producer)
		}
	}
	g.forget(topic, partition)
	g.drop(topic, partition)
}

// isUndecided says whether a transaction may be about to change the offset of a partition.
func (g *group) isUndecided(topic string, partition int32) bool {
	return len(g.undecided[topic][partition]) > 0
}

// pend stores a pending offset of a producer, in the place of an earlier one.
func (g *group) pend(topic string, partition int32, p pendingOffset) {
	if g.undecided == nil {
		g.undecided = map[string]topicPending{}
	}
	ps := g.undecided[topic]
	if ps == nil {
		ps = topicPending{}
		g.undecided[topic] = ps
	}
	others := slices.DeleteFunc(ps[partition], func(o pendingOffset) bool { return o.producer == p.producer })
	ps[partition] = append(others, p)
}

// supersede has pending offsets come to nothing, whatever is decided.
func supersede(ps []pendingOffset) {
	for i := range ps {
		ps[i].c = nil
	}
}

// decide takes out the pending offset that a producer has there. With commit it holds from now on, unless something that was
// written later does, and those that were written before it never will.
func (g *group) decide(topic string, partition int32, producer int64, commit bool) {
	ps := g.undecided[topic][partition]
	i := slices.IndexFunc(ps, func(p pendingOffset) bool { return p.producer == producer })
	if c := ps[i].c; commit && c != nil {
		g.store(topic, partition, c)
		supersede(ps[:i])
	}
	if ps = slices.Delete(ps, i, i+1); len(ps) > 0 {
		g.undecided[topic][partition] = ps
	} else {
		g.forget(topic, partition)
	}
}

// forget drops all that is pending for a partition.
func (g *group) forget(topic string, partition int32) {
	ps := g.undecided[topic]
	delete(ps, partition)
	if len(ps) == 0 {
		delete(g.undecided, topic)
	}
	if len(g.undecided) == 0 {
		g.undecided = nil
	}
}

// meant says whether an offset is committed or pending for a partition that was meant for such a topic.
func (g *group) meant(topic string, partition int32, such func(topicID [16]byte) bool) bool {
	if c := g.offset(topic, partition); c != nil && such(c.topicID) {
		return true
	}
	return slices.ContainsFunc(g.undecided[topic][partition], func(p pendingOffset) bool { return p.c != nil && such(p.c.topicID) })
}

// eachPartition calls f with each partition for which an offset is committed or pending, in order. F may drop it.
func (g *group) eachPartition(f func(topic string, partition int32)) {
	topics := slices.Concat(sortedKeys(g.offsets), sortedKeys(g.undecided))
	slices.Sort(topics)
	for _, topic := range slices.Compact(topics) {
		partitions := slices.Concat(sortedKeys(g.offsets[topic]), sortedKeys(g.undecided[topic]))
		slices.Sort(partitions)
		for _, p := range slices.Compact(partitions) {
			f(topic, p)
		}
	}
}
