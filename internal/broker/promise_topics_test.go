package broker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// identityPromise: the cluster id stays, and the leader epoch of every start is above all that were shown.
type identityPromise struct {
	cluster string
	epoch   int32 // the highest that was shown
}

func (p *identityPromise) copy() *identityPromise {
	c := *p
	return &c
}

func (p *identityPromise) audit(a *audit) {
	defer a.lock()()
	if p.cluster != "" && p.cluster != a.cluster {
		a.violated("the cluster id is %s, it was %s", a.cluster, p.cluster)
	}
	if a.epoch <= p.epoch {
		a.violated("the leader epoch is %d, %d was shown before", a.epoch, p.epoch)
	}
	p.cluster, p.epoch = a.cluster, a.epoch
}

// topic is one as clients ask for it and as they find it.
type topic struct {
	name       string
	id         [16]byte // zero as long as it is only asked for
	partitions int32
	configs    map[string]string
}

func (t topic) String() string { return fmt.Sprintf("%s (%x)", t.name, t.id[:3]) }

// topicPromise: a topic that was created is there, whole and with its id, until its deletion was asked for; one that
// was deleted does not come back; there are none that nobody asked for; and what was altered in one, or added to it,
// stays.
type topicPromise struct {
	live     map[[16]byte]topic
	gone     map[[16]byte]bool
	asked    map[string][]topic // creations that were asked for, by name; what came of them may not be known
	deleting map[[16]byte]bool  // deletions that were asked for
	changes  map[string]*topicChanges
}

func newTopicPromise() *topicPromise {
	return &topicPromise{
		live: map[[16]byte]topic{}, gone: map[[16]byte]bool{}, asked: map[string][]topic{}, deleting: map[[16]byte]bool{},
		changes: map[string]*topicChanges{},
	}
}

func (p *topicPromise) copy() *topicPromise {
	changes := map[string]*topicChanges{}
	for name, c := range p.changes {
		changes[name] = &topicChanges{maps.Clone(c.delays), c.partitions, c.open, c.crossed}
	}
	return &topicPromise{maps.Clone(p.live), maps.Clone(p.gone), maps.Clone(p.asked), maps.Clone(p.deleting), changes}
}

// creating notes that a topic is about to be asked for.
func (p *topicPromise) creating(t topic) {
	p.asked[t.name] = append(slices.Clone(p.asked[t.name]), t)
}

// refused notes that a topic that was asked for will never be there.
func (p *topicPromise) refused(t topic) { p.take(t) }

// take takes one of the creations that were asked for, if there is one like it.
func (p *topicPromise) take(t topic) bool {
	i := slices.IndexFunc(p.asked[t.name], func(o topic) bool {
		return p.fits(o, t)
	})
	if i >= 0 {
		p.asked[t.name] = slices.Delete(slices.Clone(p.asked[t.name]), i, i+1)
	}
	return i >= 0
}

// created notes that a topic was shown: in the answer to its creation, or in Metadata.
func (p *topicPromise) created(t topic) {
	if _, known := p.live[t.id]; !known && !p.gone[t.id] {
		p.take(t)
		p.live[t.id] = t
	}
}

// deleted notes that a topic is gone for good.
func (p *topicPromise) deleted(id [16]byte) {
	delete(p.live, id)
	delete(p.deleting, id)
	p.gone[id] = true
}

// usable returns the ordinary topics whose deletion nobody has asked for, in the order of their names.
func (p *topicPromise) usable() []topic {
	var topics []topic
	for id, t := range p.live {
		if !p.deleting[id] && t.isOrdinary() {
			topics = append(topics, t)
		}
	}
	slices.SortFunc(topics, func(a, b topic) int {
		return slices.Compare([]byte(a.name+string(a.id[:])), []byte(b.name+string(b.id[:])))
	})
	return topics
}

func (p *topicPromise) audit(a *audit) {
	defer a.lock()()
	for id, t := range p.live {
		found, ok := a.topics[id]
		switch {
		case !ok && p.deleting[id]:
			p.gone[id] = true
		case !ok:
			a.violated("topic %s is gone", t)
		case !p.fits(t, found):
			a.violated("topic %s has %d partitions and %v, it had %d and %v", found, found.partitions, found.configs, t.partitions, t.configs)
		}
	}
	for id, t := range a.topics {
		switch _, told := p.live[id]; {
		case p.gone[id]:
			a.violated("topic %s has come back", t)
		case !told && !p.take(t):
			a.violated("nobody asked for topic %s with %d partitions and %v", t, t.partitions, t.configs)
		}
	}
	p.live, p.asked, p.deleting = maps.Clone(a.topics), map[string][]topic{}, map[[16]byte]bool{}
	clear(p.changes)
}

// lookAtTopics reads Metadata, and the configs from the catalog's image.
func (a *audit) lookAtTopics() error {
	req := kmsg.NewPtrMetadataRequest()
	resp, err := ask[*kmsg.MetadataResponse](a.wire, req, 13)
	if err != nil {
		return err
	}
	a.cluster, a.epoch, a.topics = *resp.ClusterID, a.broker.catalog.Image().StartCount(), map[[16]byte]topic{}
	for _, t := range resp.Topics {
		if t.ErrorCode != 0 {
			return fmt.Errorf("metadata of topic %s: %w", *t.Topic, kerr.ErrorForCode(t.ErrorCode))
		}
		for i, p := range t.Partitions {
			if p.ErrorCode != 0 || p.Partition != int32(i) || p.LeaderEpoch != a.epoch || len(p.OfflineReplicas) > 0 {
				return fmt.Errorf("metadata of topic %s: %+v", *t.Topic, p)
			}
		}
		known, ok := a.broker.catalog.Image().TopicByID(t.TopicID)
		if !ok {
			return fmt.Errorf("metadata shows topic %s, which is not in the catalog", *t.Topic)
		}
		a.topics[t.TopicID] = topic{*t.Topic, t.TopicID, int32(len(t.Partitions)), known.Configs}
	}
	return nil
}
