package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Setting is one name=value and the place it was found in.
type Setting struct {
	Name, Value string
	// Place names the file, variable or flag, for messages.
	Place string
	// Weak settings count only where nothing else sets the name.
	Weak bool
}

// Layers are the broker's configs as they hold: what was altered for this broker, over what was altered for all
// brokers, over what was set at the start, over the defaults. They are immutable and safe for concurrent use.
type Layers struct {
	static, cluster, node map[string]string

	values    map[string]Value // of every broker config
	topic     map[string]Value // of every topic config, for a topic that overrides nothing
	broker    BrokerSettings
	topics    TopicSettings // for a topic that overrides nothing
	listeners Listeners
}

// layer is one of the sources above the defaults.
type layer struct {
	source Source
	values map[string]string
}

// New makes layers of the settings found at the start. Later lists win over earlier ones, and later settings of a
// list over earlier ones; the callers' order is file, environment, overrides. The warnings are for names that are
// unknown here or have no effect. The error joins all that is wrong with the settings: *ValueError,
// *UnsupportedError, and errors that name the settings which do not go together.
func New(settings ...[]Setting) (*Layers, []Warning, error) {
	static, places := merge(settings)
	problems := checkEach(static, places)
	if len(problems) > 0 {
		return nil, nil, errors.Join(problems...)
	}
	if err := unifyNodeID(static); err != nil {
		return nil, nil, err
	}
	l := &Layers{static: static}
	problems = l.resolve()
	problems = append(problems, l.checkTogether()...)
	listeners, err := resolveListeners(l)
	if err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return nil, nil, errors.Join(problems...)
	}
	l.listeners = listeners
	return l, warnings(static, places), nil
}

// WithDynamic returns the layers with other altered configs: those of this broker and those of all brokers (the
// cluster's default). The maps must not be changed afterwards. Values that are not valid count as not set.
func (l *Layers) WithDynamic(node, cluster map[string]string) *Layers {
	next := &Layers{static: l.static, node: node, cluster: cluster, listeners: l.listeners}
	next.resolve()
	return next
}

// Value returns the value of a broker config; null for a name that is not in the table.
func (l *Layers) Value(name string) Value {
	v, ok := l.values[name]
	if !ok {
		return Value{null: true}
	}
	return v
}

// Broker returns the settings of the broker.
func (l *Layers) Broker() BrokerSettings { return l.broker }

// Listeners returns what to listen on and what to tell clients. They are read once, at the start.
func (l *Layers) Listeners() Listeners { return l.listeners }

func merge(lists [][]Setting) (values, places map[string]string) {
	values, places = map[string]string{}, map[string]string{}
	for _, list := range lists {
		for _, s := range list {
			if !s.Weak {
				values[s.Name], places[s.Name] = s.Value, s.Place
			}
		}
	}
	for _, list := range lists {
		for _, s := range list {
			if _, taken := values[s.Name]; s.Weak && !taken {
				values[s.Name], places[s.Name] = s.Value, s.Place
			}
		}
	}
	return values, places
}

func checkEach(static, places map[string]string) (problems []error) {
	for _, name := range sortedKeys(static) {
		d, known := lookupBroker(name)
		if !known {
			continue
		}
		if _, err := d.Check(static[name]); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", places[name], err))
		}
	}
	return problems
}

// unifyNodeID gives node.id and its older name broker.id the same value, as Kafka's populateSynonyms does.
func unifyNodeID(static map[string]string) error {
	id, hasID := static["node.id"]
	old, hasOld := static["broker.id"]
	switch {
	case hasID && hasOld && javaTrim(id) != javaTrim(old):
		return fmt.Errorf("node.id is %s and broker.id is %s: both name this broker, so set only node.id, or both alike", id, old)
	case hasID:
		static["broker.id"] = id
	case hasOld:
		d, _ := Broker().Lookup("node.id")
		if _, err := d.Parse(old); err != nil {
			return fmt.Errorf("broker.id: %w", err)
		}
		static["node.id"] = old
	}
	return nil
}

// stack lists the sources above the defaults, the strongest first.
func (l *Layers) stack() [3]layer {
	return [...]layer{
		{DynamicBroker, l.node}, {DynamicDefaultBroker, l.cluster}, {StaticBroker, l.static},
	}
}

// resolve computes all values. It returns what static settings make impossible values of topic configs; altered ones
// that do are passed over.
func (l *Layers) resolve() (problems []error) {
	l.values = make(map[string]Value, Broker().Len())
	for d := range Broker().All() {
		l.values[d.Name] = l.brokerValue(d)
	}
	if _, set := l.static["broker.id"]; !set {
		l.values["broker.id"] = l.values["node.id"]
	}
	l.topic = make(map[string]Value, Topic().Len())
	for d := range Topic().All() {
		v, err := l.topicDefault(d)
		if err != nil {
			problems = append(problems, err)
		}
		l.topic[d.Name] = v
	}
	l.broker = brokerSettings(l.values)
	l.topics = topicSettings(func(name string) Value { return l.topic[name] })
	return problems
}

// brokerValue is the value of one broker config. An altered config also hides the static values of its synonyms:
// log.roll.hours set while running wins over log.roll.ms from the file.
func (l *Layers) brokerValue(d *Definition) Value {
	synonyms := brokerSynonyms(d.Name)
	for _, layer := range l.stack() {
		if text, set := layer.values[d.Name]; set {
			if v, err := d.Parse(text); err == nil {
				return v
			}
		}
		if layer.source == StaticBroker {
			break
		}
		for _, synonym := range synonyms {
			if _, set := layer.values[synonym]; set {
				return d.DefaultValue()
			}
		}
	}
	return d.DefaultValue()
}

// topicDefault is the value of a topic config for a topic that does not set it: that of the strongest synonym in the
// strongest layer.
func (l *Layers) topicDefault(d *Definition) (Value, error) {
	var problem error
	synonyms := topicSynonyms(d.Name)
	for _, layer := range l.stack() {
		for _, synonym := range synonyms {
			text, set := layer.values[synonym.name]
			if !set {
				continue
			}
			v, err := fromSynonym(d, synonym, text)
			if err == nil {
				return v, problem
			}
			if layer.source == StaticBroker {
				problem = err
			}
		}
	}
	for _, synonym := range synonyms {
		if b, ok := Broker().Lookup(synonym.name); ok && !b.Optional {
			v, err := fromSynonym(d, synonym, b.Default)
			if err == nil {
				return v, problem
			}
		}
	}
	return d.DefaultValue(), problem
}

// fromSynonym turns the value of a broker config into that of the topic config it stands behind.
func fromSynonym(d *Definition, s synonym, text string) (Value, error) {
	b, ok := Broker().Lookup(s.name)
	if !ok {
		return Value{}, fmt.Errorf("no definition of %s", s.name)
	}
	v, err := b.Parse(text)
	if err != nil {
		return Value{}, err
	}
	text = v.String()
	if s.unit != 1 {
		text = strconv.FormatInt(v.Int()*s.unit, 10)
	}
	if d.Name == "retention.ms" {
		switch {
		case v.Int() < 0:
			text = "-1"
		case v.Int() == 0:
			return Value{}, newValueError(b, v.String(), "Value must be -1 for no limit, or at least 1")
		}
	}
	out, err := d.Parse(text)
	if invalid, ok := errors.AsType[*ValueError](err); ok {
		return Value{}, newValueError(b, v.String(), invalid.Reason)
	}
	return out, err
}

// checkTogether finds settings that are fine alone and not together.
func (l *Layers) checkTogether() (problems []error) {
	if err := checkCompactionLag(l.topic["min.compaction.lag.ms"], l.topic["max.compaction.lag.ms"]); err != nil {
		problems = append(problems, err)
	}
	if l.Value("max.connections.per.ip").Int() == 0 && l.Value("max.connections.per.ip.overrides").String() == "" {
		problems = append(problems, errors.New(
			"max.connections.per.ip is 0 and max.connections.per.ip.overrides is empty: no client could connect"))
	}
	if queued, largest := l.Value("queued.max.request.bytes").Int(), l.Value("socket.request.max.bytes").Int(); queued > 0 &&
		queued < largest {
		problems = append(problems, fmt.Errorf("queued.max.request.bytes (%d) must be at least socket.request.max.bytes (%d), "+
			"or a request of that size could never be read", queued, largest))
	}
	return problems
}

func sortedKeys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
