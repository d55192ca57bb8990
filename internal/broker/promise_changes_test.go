package broker

import "maps"

// topicChanges are what was asked of the topics of a name, since a topic was last known to be as it is: changes are asked
// for by name.
type topicChanges struct {
	delays     map[string]bool // values of alteredConfig; which of them came last may not be known
	partitions int32           // the most
	open       int             // delays that are not answered
	crossed    bool            // some of delays were asked for while others were open
}

// alteredConfig is what the clients alter: something that changes nothing for the other promises.
const alteredConfig = "file.delete.delay.ms"

// changing returns what is asked of topics of a name.
func (p *topicPromise) changing(name string) *topicChanges {
	if p.changes[name] == nil {
		p.changes[name] = &topicChanges{delays: map[string]bool{}}
	}
	return p.changes[name]
}

// altering notes that a value of alteredConfig is about to be asked for.
func (p *topicPromise) altering(name, delay string) {
	c := p.changing(name)
	c.delays[delay] = true
	c.crossed = c.crossed || c.open > 0
	c.open++
}

// altered notes that a topic has got that value, if it was there all the time: else it may have been another of its name.
func (p *topicPromise) altered(t topic, delay string) {
	c := p.changing(t.name)
	c.open--
	is, there := p.live[t.id]
	if !there || p.deleting[t.id] {
		return
	}
	configs := map[string]string{alteredConfig: delay}
	for name, value := range is.configs {
		if name != alteredConfig {
			configs[name] = value
		}
	}
	is.configs = configs
	p.live[t.id] = is
	if c.open == 0 {
		if !c.crossed {
			clear(c.delays)
		}
		c.crossed = false
	}
}

// growing notes that a number of partitions is about to be asked for.
func (p *topicPromise) growing(name string, partitions int32) {
	c := p.changing(name)
	c.partitions = max(c.partitions, partitions)
}

// grown notes that a topic has at least so many partitions, if it was there all the time.
func (p *topicPromise) grown(t topic, partitions int32) {
	if is, there := p.live[t.id]; there && !p.deleting[t.id] {
		is.partitions = max(is.partitions, partitions)
		p.live[t.id] = is
	}
}

// fits says whether a topic may have become another of its name by what was asked of such.
func (p *topicPromise) fits(was, is topic) bool {
	c := p.changing(was.name)
	told, now := was.configs[alteredConfig], is.configs[alteredConfig]
	before, after := maps.Clone(was.configs), maps.Clone(is.configs)
	delete(before, alteredConfig)
	delete(after, alteredConfig)
	return was.name == is.name && maps.Equal(before, after) && (now == told || c.delays[now]) &&
		is.partitions >= was.partitions && is.partitions <= max(was.partitions, c.partitions)
}
