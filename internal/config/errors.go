package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// ValueError says that a value may not be set for a config. Its text has the form of Kafka's ConfigException.
type ValueError struct {
	Name   string
	Value  string // as it was given; [hidden] for a password
	Reason string // what is allowed
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", e.Value, e.Name, e.Reason)
}

// UnknownNameError says that there is no config of a name.
type UnknownNameError struct {
	Name    string
	Topic   bool   // looked for among topic configs, else among broker configs
	Nearest string // a known name that may have been meant; empty if none is near
}

func (e *UnknownNameError) Error() string {
	kind := "broker"
	if e.Topic {
		kind = "topic"
	}
	text := fmt.Sprintf("Unknown %s config name: %s", kind, shorten(e.Name))
	if e.Nearest != "" {
		text += fmt.Sprintf(" (did you mean %s?)", e.Nearest)
	}
	return text
}

// UnsupportedError says that a value is one of Kafka's, and that this broker cannot do what it asks for.
type UnsupportedError struct {
	Name   string
	Value  string
	Reason string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("Unsupported value %s for configuration %s: %s", e.Value, e.Name, e.Reason)
}

// ReadOnlyError says that a broker config cannot be altered while the broker runs, or not at the level asked for.
type ReadOnlyError struct {
	Name   string
	Reason string
}

func (e *ReadOnlyError) Error() string {
	return fmt.Sprintf("Cannot update configuration %s dynamically: %s", e.Name, e.Reason)
}

func newValueError(d *Definition, text, reason string) *ValueError {
	if d.Sensitive() {
		text = "[hidden]"
	}
	return &ValueError{Name: d.Name, Value: shorten(text), Reason: reason}
}

// shorten keeps errors readable whatever they quote.
func shorten(s string) string {
	const most = 256
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strings.ToValidUTF8(s[:cut], "\uFFFD") + "..."
}
