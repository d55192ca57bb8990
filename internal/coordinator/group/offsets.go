package group

import (
	"maps"
	"slices"
)

// topicOffsets are the committed offsets of one topic, by partition.
type topicOffsets map[int32]*committed

// committed is a committed offset. It is not written to once it is stored.
type committed struct {
	offset      int64
	at          int64    // when it was committed, in Unix milliseconds
	expires     int64    // when the client said that it ends, in Unix milliseconds; noTime if it did not
	topicID     [16]byte // of the topic that was meant; zero if that is not known
	metadata    string
	leaderEpoch int32 // of the last record consumed; -1 if that is not known
}

// offset returns a committed offset; nil if there is none.
func (g *group) offset(topic string, partition int32) *committed { return g.offsets[topic][partition] }

// put stores an offset that is committed now. What was written before it in transactions is not to come after it.
func (g *group) put(topic string, partition int32, c *committed) {
	g.store(topic, partition, c)
	supersede(g.undecided[topic][partition])
}

// store stores a committed offset.
func (g *group) store(topic string, partition int32, c *committed) {
	if g.offsets == nil {
		g.offsets = map[string]topicOffsets{}
	}
	ps := g.offsets[topic]
	if ps == nil {
		ps = topicOffsets{}
		g.offsets[topic] = ps
	}
	ps[partition] = c
}

// drop removes a committed offset.
func (g *group) drop(topic string, partition int32) {
	ps := g.offsets[topic]
	delete(ps, partition)
	if len(ps) == 0 {
		delete(g.offsets, topic)
	}
	if len(g.offsets) == 0 {
		g.offsets = nil
	}
}

// sortedKeys returns the keys of a map in order: what is written and answered does not depend on how maps are walked.
func sortedKeys[K string | int32, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
