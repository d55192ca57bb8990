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

// isUndecided says whether a transaction may be about to change the offset of a partition.
func (g *group) isUndecided(topic string, partition int32) bool {
	return len(g.undecided[topic][partition]) > 0
}

// pend stores a pending offset of a producer, and says whether it had none there before.
func (g *group) pend(topic string, partition int32, p pendingOffset) (first bool) {
	if g.undecided == nil {
		g.undecided = map[string]topicPending{}
	}
	ps := g.undecided[topic]
	if ps == nil {
		ps = topicPending{}
		g.undecided[topic] = ps
	}
	others := slices.DeleteFunc(ps[partition], func(o pendingOffset) bool { return o.producer == p.producer })
	first = len(others) == len(ps[partition])
	ps[partition] = append(others, p)
	return first
}

// supersede has what is pending for a partition come to nothing, whatever is decided.
func (g *group) supersede(topic string, partition int32) {
	ps := g.undecided[topic][partition]
	for i := range ps {
		ps[i].c = nil
	}
}

// decide takes out a producer's pending offset. With commit it holds from now on, unless something that was written later does,
// and those that were written before it never will.
func (g *group) decide(topic string, partition int32, producer int64, commit bool) {
	ps := g.undecided[topic][partition]
	i := slices.IndexFunc(ps, func(p pendingOffset) bool { return p.producer == producer })
	if i < 0 {
		return // a tombstone took it
	}
	c := ps[i].c
	later := slices.Clone(ps[i+1:])
	rest := slices.Delete(ps, i, i+1)
	if commit && c != nil {
		g.put(topic, partition, c)
		rest = append(rest[:i], later...)
	}
	if len(rest) == 0 {
		g.forget(topic, partition)
	} else {
		g.undecided[topic][partition] = rest
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
