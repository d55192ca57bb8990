package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Rule says which values of a config's kind are allowed. The zero Rule allows all.
type Rule struct {
	text     string
	check    func(Value) string
	distinct bool // a list loses repeated elements before it is checked, as Kafka's ValidList does
}

// String says what is allowed, as the end of a sentence; empty if everything is.
func (r Rule) String() string { return r.text }

// Check returns why the value is not allowed, or nothing. Null is always allowed: only a config without a default
// can be null, by not being set.
func (r Rule) Check(v Value) string {
	if r.check == nil || v.null {
		return ""
	}
	return r.check(v)
}

// The rules that need no argument.
var (
	anything = Rule{}
	anyList  = Rule{text: "a list without empty elements", distinct: true, check: noEmptyElement}
	someList = Rule{text: "a list of at least one element, none of them empty", distinct: true, check: func(v Value) string {
		if len(v.list) == 0 {
			return "The list must not be empty"
		}
		return noEmptyElement(v)
	}}
	nonEmpty = Rule{text: "not empty", check: func(v Value) string {
		if v.text == "" {
			return "String must be non-empty"
		}
		return ""
	}}
	gzipLevel = Rule{text: "1 to 9, or -1 for the default", check: func(v Value) string {
		if v.number == -1 || v.number >= 1 && v.number <= 9 {
			return ""
		}
		return "Value must be between 1 and 9 or equal to -1"
	}}
	throttledReplicas = Rule{text: "* or a list of partition:broker pairs", check: checkThrottledReplicas}
	hostPort          = Rule{text: "host:port, :port for every interface, or empty for none", check: checkHostPort}
)

func atLeast(low float64) Rule {
	return Rule{
		text: "at least " + plainNumber(low),
		check: func(v Value) string {
			if v.Float() < low {
				return "Value must be at least " + plainNumber(low)
			}
			return ""
		},
	}
}

func between(low, high float64) Rule {
	return Rule{
		text: plainNumber(low) + " to " + plainNumber(high),
		check: func(v Value) string {
			switch {
			case v.Float() < low:
				return "Value must be at least " + plainNumber(low)
			case v.Float() > high:
				return "Value must be no more than " + plainNumber(high)
			}
			return ""
		},
	}
}

func plainNumber(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func oneOf(allowed ...string) Rule {
	return Rule{
		text: "one of " + strings.Join(allowed, ", "),
		check: func(v Value) string {
			if slices.Contains(allowed, v.text) {
				return ""
			}
			return "String must be one of: " + strings.Join(allowed, ", ")
		},
	}
}

// oneOfFold is oneOf without regard to capitals.
func oneOfFold(allowed ...string) Rule {
	return Rule{
		text: "one of " + strings.Join(allowed, ", ") + ", in capitals or not",
		check: func(v Value) string {
			if slices.ContainsFunc(allowed, func(s string) bool { return strings.EqualFold(s, v.text) }) {
				return ""
			}
			return "String must be one of (case insensitive): " + strings.Join(allowed, ", ")
		},
	}
}

func listOf(emptyAllowed bool, allowed ...string) Rule {
	text := "a list of " + strings.Join(allowed, ", ")
	if !emptyAllowed {
		text += " with at least one of them"
	}
	return Rule{text: text, distinct: true, check: func(v Value) string {
		if len(v.list) == 0 && !emptyAllowed {
			return "The list must not be empty; it may hold: " + strings.Join(allowed, ", ")
		}
		for _, element := range v.list {
			if !slices.Contains(allowed, element) {
				return fmt.Sprintf("%q is not one of: %s", element, strings.Join(allowed, ", "))
			}
		}
		return ""
	}}
}

func noEmptyElement(v Value) string {
	if slices.Contains(v.list, "") {
		return "The list must not have empty elements"
	}
	return ""
}

// checkThrottledReplicas follows Kafka's ThrottledReplicaListValidator: empty elements pass.
func checkThrottledReplicas(v Value) string {
	if strings.Join(v.list, "") == "*" {
		return ""
	}
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	for _, element := range v.list {
		partition, broker, ok := strings.Cut(element, ":")
		if element != "" && (!ok || !digits(partition) || !digits(broker)) {
			return "Value must be * or a list of the form [partitionId]:[brokerId],[partitionId]:[brokerId],..."
		}
	}
	return ""
}

func checkHostPort(v Value) string {
	if v.text == "" {
		return ""
	}
	const expected = "Value must be host:port with a port from 0 to 65535, :port for every interface, or empty for none"
	_, port, err := net.SplitHostPort(v.text)
	if err != nil {
		return expected
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return expected
	}
	return ""
}
