package config

import (
	"maps"
	"slices"
)

// Source says where a config's value comes from, numbered as in DescribeConfigs answers
// (DescribeConfigsResponse.ConfigSource).
type Source int8

// The sources of values that this package tells apart.
const (
	DynamicTopic         Source = 1 // altered for the topic
	DynamicBroker        Source = 2 // altered for this broker
	DynamicDefaultBroker Source = 3 // altered for all brokers
	StaticBroker         Source = 4 // set at the start
	Default              Source = 5
)

// Synonym is one of the places a config's value may come from, with the value that stands there.
type Synonym struct {
	Name   string
	Value  *string // nil if there is none or it must not be shown
	Source Source
}

// Entry is a config as DescribeConfigs shows it.
type Entry struct {
	Name      string
	Value     *string // nil if there is none or it must not be shown
	Source    Source
	Kind      Kind // Unknown for a name that was set and means nothing here
	ReadOnly  bool
	Sensitive bool
	Synonyms  []Synonym // the strongest first
	Doc       string
}

// DescribeTopic returns the entries of a topic with these overrides, in the order of names. Names restricts them to
// those asked for; nil means all, those that are Kafka's internal ones only if they are set.
func (l *Layers) DescribeTopic(overrides map[string]string, names []string) []Entry {
	var entries []Entry
	for d := range Topic().All() {
		_, set := overrides[d.Name]
		if d.Internal && !set || names != nil && !slices.Contains(names, d.Name) {
			continue
		}
		e := Entry{Name: d.Name, Kind: d.Kind, Sensitive: d.Sensitive(), Doc: d.Doc}
		e.Value = shown(d, l.topicValue(overrides, d.Name))
		if set {
			e.Synonyms = append(e.Synonyms, Synonym{Name: d.Name, Value: e.Value, Source: DynamicTopic})
		}
		if d.BrokerName != "" {
			e.Synonyms = append(e.Synonyms, l.synonyms(d.BrokerName)...)
		}
		e.Source = strongest(e.Synonyms)
		entries = append(entries, e)
	}
	return entries
}

// DescribeBroker returns the entries of this broker, in the order of names; names as for DescribeTopic. A name that
// was set and is not known is among them, without its value, which may be a secret for all one knows.
func (l *Layers) DescribeBroker(names []string) []Entry {
	all := map[string]*Definition{}
	for d := range Broker().All() {
		all[d.Name] = d
	}
	for _, layer := range l.stack() {
		for name := range layer.values {
			if _, known := all[name]; !known {
				all[name], _ = lookupBroker(name)
			}
		}
	}
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if names != nil && !slices.Contains(names, name) {
			continue
		}
		if d := all[name]; d == nil || !d.Internal || l.isSet(name) {
			entries = append(entries, l.brokerEntry(name, d))
		}
	}
	return entries
}

// DescribeDefaults returns the entries that were altered for all brokers, in the order of names; names as for
// DescribeTopic.
func (l *Layers) DescribeDefaults(names []string) []Entry {
	var entries []Entry
	for _, name := range sortedKeys(l.cluster) {
		if names != nil && !slices.Contains(names, name) {
			continue
		}
		d, _ := lookupBroker(name)
		e := l.brokerEntry(name, d)
		e.Value = valueOrHidden(d, l.cluster[name])
		e.Synonyms = slices.DeleteFunc(e.Synonyms, func(s Synonym) bool { return s.Source != DynamicDefaultBroker })
		e.Source = DynamicDefaultBroker
		entries = append(entries, e)
	}
	return entries
}

// brokerEntry makes the entry of a broker config; d is nil if the name is not known.
func (l *Layers) brokerEntry(name string, d *Definition) Entry {
	e := Entry{Name: name, Synonyms: l.synonyms(name)}
	e.Source = strongest(e.Synonyms)
	if d == nil {
		e.Sensitive, e.ReadOnly = true, true
		return e
	}
	e.Kind, e.ReadOnly, e.Sensitive, e.Doc = d.Kind, d.ReadOnly, d.Sensitive(), d.Doc
	v, ok := l.values[name]
	if !ok { // with a listener prefix
		v = l.prefixedValue(name, d)
	}
	e.Value = shown(d, v)
	return e
}

func (l *Layers) prefixedValue(name string, d *Definition) Value {
	for _, layer := range l.stack() {
		if text, set := layer.values[name]; set {
			if v, err := d.Parse(text); err == nil {
				return v
			}
		}
	}
	return l.values[d.Name]
}

// synonyms lists the places that a broker config's value may come from: by layer, and in a layer by the strength of
// the names. As in Kafka (ConfigHelper.configSynonyms) the list begins where the name itself first stands, so that
// one with a unit of its own is shown only behind the one that was asked for.
func (l *Layers) synonyms(name string) []Synonym {
	names := brokerSynonyms(name)
	var found []Synonym
	for _, layer := range l.stack() {
		for _, synonym := range names {
			if text, set := layer.values[synonym]; set {
				d, _ := lookupBroker(synonym)
				found = append(found, Synonym{Name: synonym, Value: valueOrHidden(d, text), Source: layer.source})
			}
		}
	}
	for _, synonym := range names {
		if d, ok := Broker().Lookup(synonym); ok && !d.Optional {
			found = append(found, Synonym{Name: synonym, Value: shown(d, d.DefaultValue()), Source: Default})
		}
	}
	first := slices.IndexFunc(found, func(s Synonym) bool { return s.Name == name })
	if first < 0 {
		return nil
	}
	return found[first:]
}

func (l *Layers) isSet(name string) bool {
	for _, layer := range l.stack() {
		if _, set := layer.values[name]; set {
			return true
		}
	}
	return false
}

func strongest(synonyms []Synonym) Source {
	if len(synonyms) == 0 {
		return Default
	}
	return synonyms[0].Source
}

// shown is a value as it may be told; nil if it is null or a secret.
func shown(d *Definition, v Value) *string {
	if v.Null() || d.Sensitive() {
		return nil
	}
	text := v.String()
	return &text
}

// valueOrHidden is text that was set for a definition, or nil if that is a secret or not known (nil).
func valueOrHidden(d *Definition, text string) *string {
	if d == nil || d.Sensitive() {
		return nil
	}
	text = javaTrim(text)
	return &text
}
