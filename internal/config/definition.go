package config

import (
	"iter"
	"slices"
	"strings"
	"sync"
)

// Kind is the type of a config's value, numbered as in DescribeConfigs answers (DescribeConfigsResponse.ConfigType).
type Kind int8

// The kinds of values.
const (
	Unknown Kind = iota
	Boolean
	String
	Int   // 32 bits
	Short // 16 bits
	Long  // 64 bits
	Double
	List // of strings, separated by commas
	Class
	Password // never shown
)

// String returns the name that Kafka's documentation has for the kind, in capitals.
func (k Kind) String() string {
	names := [...]string{"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"}
	if k < 0 || int(k) >= len(names) {
		return names[Unknown]
	}
	return names[k]
}

// Definition says what is known of one config.
type Definition struct {
	Name string
	Kind Kind
	// Default is the value where nothing is set. It means nothing if Optional: then there is no value (null).
	Default  string
	Optional bool
	// Allowed tells which values of the kind may be set.
	Allowed Rule
	// Doc is one or two sentences for DescribeConfigs.
	Doc string
	// BrokerName is, for a topic config, the broker config that sets its default; empty if there is none.
	BrokerName string
	// ReadOnly is true for a broker config that is read once at the start.
	ReadOnly bool
	// PerBroker is true for a broker config that may be altered for one broker, and not for all as a default.
	PerBroker bool
	// Inert is true for a config that is accepted and shown, and changes nothing on this broker.
	Inert bool
	// Internal is true for a config that DescribeConfigs shows only when it is set.
	Internal bool
}

// Sensitive reports whether the value must never be shown.
func (d *Definition) Sensitive() bool { return d.Kind == Password }

// Parse turns text into a value of the config: trimmed, of its kind, within what is allowed. The error is a
// *ValueError.
func (d *Definition) Parse(text string) (Value, error) {
	v, reason := parseValue(d.Kind, text, d.Allowed.distinct)
	if reason == "" {
		reason = d.Allowed.Check(v)
	}
	if reason != "" {
		return Value{}, newValueError(d, text, reason)
	}
	return v, nil
}

// DefaultValue is the value where nothing is set; null if the config is Optional.
func (d *Definition) DefaultValue() Value {
	if d.Optional {
		return Value{kind: d.Kind, null: true}
	}
	v, _ := parseValue(d.Kind, d.Default, d.Allowed.distinct)
	return v
}

// Table is a set of definitions. It is immutable and safe for concurrent use.
type Table struct {
	ordered []Definition
	byName  map[string]*Definition
}

// Lookup returns the definition of a name. The definition must not be changed.
func (t *Table) Lookup(name string) (*Definition, bool) {
	d, ok := t.byName[name]
	return d, ok
}

// All yields the definitions in the order of their names.
func (t *Table) All() iter.Seq[*Definition] {
	return func(yield func(*Definition) bool) {
		for i := range t.ordered {
			if !yield(&t.ordered[i]) {
				return
			}
		}
	}
}

// Len is the number of definitions.
func (t *Table) Len() int { return len(t.ordered) }

// Topic is the table of topic configs.
func Topic() *Table { return topicTable() }

// Broker is the table of broker configs.
func Broker() *Table { return brokerTable() }

var (
	topicTable  = sync.OnceValue(func() *Table { return newTable(true, topicRows) })
	brokerTable = sync.OnceValue(func() *Table {
		return newTable(false, ownRows, logRows, serverRows, coordinatorRows, securityRows, clusterRows)
	})
)

// marks are the yes-or-no properties of a row.
type marks uint8

const (
	optional  marks = 1 << iota // there is no default: unset is null
	dynamic                     // may be altered while the broker runs
	perBroker                   // and that for one broker only
	inert                       // accepted, without effect
	internal                    // shown only when set

	plain marks = 0
)

// row is a definition as it is written down in the tables: name, kind, Kafka's default, rule, marks, documentation.
type row struct {
	name  string
	kind  Kind
	value string
	rule  Rule
	marks marks
	doc   string
}

func newTable(topic bool, parts ...[]row) *Table {
	t := &Table{byName: make(map[string]*Definition)}
	overridden := defaultsHere(topic)
	for _, r := range slices.Concat(parts...) {
		d := Definition{
			Name: r.name, Kind: r.kind, Default: r.value, Allowed: r.rule, Doc: r.doc,
			Optional: r.marks&optional != 0, Inert: r.marks&inert != 0, Internal: r.marks&internal != 0,
		}
		if value, ok := overridden[r.name]; ok {
			d.Default, d.Optional = value, false
		}
		if topic {
			if synonyms := topicSynonyms(r.name); len(synonyms) > 0 {
				d.BrokerName = synonyms[0].name
			}
		} else {
			d.ReadOnly = r.marks&dynamic == 0 || readAtStart(r.name)
			d.PerBroker = r.marks&perBroker != 0 && !d.ReadOnly
		}
		t.ordered = append(t.ordered, d)
	}
	slices.SortFunc(t.ordered, func(a, b Definition) int { return strings.Compare(a.Name, b.Name) })
	for i := range t.ordered {
		t.byName[t.ordered[i].Name] = &t.ordered[i]
	}
	return t
}

// lookupBroker finds the definition of a broker config. Besides the names of the table it knows Kafka's prefixed
// form for one listener, listener.name.<listener>.<config>, also with a SASL mechanism before the config.
func lookupBroker(name string) (*Definition, bool) {
	if d, ok := Broker().Lookup(name); ok {
		return d, true
	}
	if bare, ok := listenerConfig(name); ok {
		return Broker().Lookup(bare)
	}
	return nil, false
}

// listenerConfig returns the config that a name with a listener prefix stands for.
func listenerConfig(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "listener.name.")
	if !ok {
		return "", false
	}
	_, bare, ok := strings.Cut(rest, ".")
	if !ok || bare == "" {
		return "", false
	}
	for _, suffix := range [...]string{
		"sasl.jaas.config", "sasl.login.callback.handler.class", "sasl.login.class",
		"sasl.server.callback.handler.class", "connections.max.reauth.ms",
	} {
		if strings.HasSuffix(bare, "."+suffix) {
			return suffix, true
		}
	}
	return bare, true
}
