package group

import (
	"bytes"
	"slices"

	"segue/internal/coordinator"
)

// subscription is what a generation of consumers reads, as far as the coordinator can tell: offsets of those topics
// neither expire nor may be deleted.
type subscription struct {
	topics []string // in order
	known  bool     // topics are all there are
}

// subscribe works out the subscription of the present generation. It is not known unless all members are consumers,
// and what each says under the chosen protocol can be read.
func (g *group) subscribe() {
	g.subscription = subscription{}
	if g.protocolType != consumerProtocol {
		return
	}
	if len(g.members) == 0 {
		g.known = true
		return
	}
	if g.protocol == "" {
		return
	}
	var topics []string
	var last []byte
	for i, mb := range g.members {
		metadata := mb.metadata(g.protocol)
		if i > 0 && bytes.Equal(metadata, last) {
			continue // most groups are of one mind
		}
		more, ok := consumerTopics(metadata)
		if !ok {
			return
		}
		last = metadata
		topics = append(topics, more...)
		slices.Sort(topics)
		topics = slices.Compact(topics)
	}
	g.subscription = subscription{topics: slices.Clip(topics), known: true}
}

// subscribesTo says whether the group reads a topic. Consumers of whom that is not known may read any.
func (g *group) subscribesTo(topic string) bool {
	if !g.known {
		return g.protocolType == consumerProtocol
	}
	_, found := slices.BinarySearch(g.topics, topic)
	return found
}

// consumerTopics reads the topics out of what a consumer says when it joins. Of Kafka's ConsumerProtocolSubscription it
// reads version 0, which all versions begin with: the version, topics, user data.
func consumerTopics(metadata []byte) ([]string, bool) {
	r := coordinator.Reader{Left: metadata}
	r.Int16()
	topics := make([]string, 0, min(r.ArrayLen(2), 16))
	for range r.Count {
		topics = append(topics, r.String())
	}
	r.NullableBytes()
	return topics, !r.Bad
}
