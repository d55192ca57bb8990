package config

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxValueBytes bounds the text of one value, so that splitting and checking it stays cheap whoever sent it. Key
// material in PEM, the longest there is, takes a few kilobytes.
const maxValueBytes = 1 << 20

// Value is a config's value, parsed. Its accessors answer the zero of their type where the kind is another or the
// value is null.
type Value struct {
	kind   Kind
	null   bool
	text   string
	number int64
	float  float64
	list   []string
}

// Null reports that there is no value: a config without a default that is not set.
func (v Value) Null() bool { return v.null }

// String returns the value as DescribeConfigs shows it: numbers in plain form, lists joined by commas; empty if null.
func (v Value) String() string { return v.text }

// Bool returns a Boolean.
func (v Value) Bool() bool { return v.kind == Boolean && v.number != 0 }

// Int returns an Int, Short or Long.
func (v Value) Int() int64 {
	if v.kind == Boolean {
		return 0
	}
	return v.number
}

// Float returns a Double, or a whole number as one.
func (v Value) Float() float64 {
	if v.kind == Double {
		return v.float
	}
	return float64(v.Int())
}

// List returns the elements of a List. The slice is the caller's.
func (v Value) List() []string { return slices.Clone(v.list) }

// Has reports whether a List holds the element, without regard to capitals, as Kafka reads cleanup.policy.
func (v Value) Has(element string) bool {
	return slices.ContainsFunc(v.list, func(s string) bool { return strings.EqualFold(s, element) })
}

// Millis returns a whole number of milliseconds as a duration. What a duration cannot hold (292 years; Kafka's "for
// ever" is longer) becomes the longest there is.
func (v Value) Millis() time.Duration { return v.duration(time.Millisecond) }

// Minutes is Millis for a whole number of minutes.
func (v Value) Minutes() time.Duration { return v.duration(time.Minute) }

func (v Value) duration(unit time.Duration) time.Duration {
	most := int64(math.MaxInt64 / unit)
	switch n := v.Int(); {
	case n > most:
		return math.MaxInt64
	case n < -most:
		return math.MinInt64
	default:
		return time.Duration(n) * unit
	}
}

// parseValue reads text as Kafka's ConfigDef.parseType does: trimmed, Booleans in any capitals, lists split at commas
// with the white space around them. The reason is empty if it could be read.
func parseValue(kind Kind, text string, distinct bool) (v Value, reason string) {
	if len(text) > maxValueBytes {
		return Value{}, "The value is longer than " + strconv.Itoa(maxValueBytes) + " bytes"
	}
	trimmed := javaTrim(text)
	v = Value{kind: kind, text: trimmed}
	switch kind {
	case Boolean:
		switch {
		case strings.EqualFold(trimmed, "true"):
			v.number, v.text = 1, "true"
		case strings.EqualFold(trimmed, "false"):
			v.text = "false"
		default:
			return Value{}, "Expected value to be either true or false"
		}
	case Int, Short, Long:
		number, err := strconv.ParseInt(trimmed, 10, bits(kind))
		if err != nil {
			return Value{}, "Not a number of type " + kind.String()
		}
		v.number, v.text = number, strconv.FormatInt(number, 10)
	case Double:
		// NaN would pass every range: no comparison with it is true. Underscores are Go's and not Java's.
		float, err := strconv.ParseFloat(trimmed, 64)
		if err != nil || math.IsNaN(float) || strings.Contains(trimmed, "_") {
			return Value{}, "Not a number of type " + kind.String()
		}
		v.float, v.text = float, formatDouble(float)
	case List:
		v.list = splitList(trimmed)
		if distinct {
			v.list = withoutRepetition(v.list)
		}
		v.text = strings.Join(v.list, ",")
	}
	return v, ""
}

func bits(kind Kind) int {
	switch kind {
	case Short:
		return 16
	case Int:
		return 32
	default:
		return 64
	}
}

// javaTrim takes off what Java's String.trim takes off: everything up to and including the space.
func javaTrim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}

func splitList(trimmed string) []string {
	if trimmed == "" {
		return nil
	}
	elements := strings.Split(trimmed, ",")
	for i, element := range elements {
		elements[i] = strings.Trim(element, " \t\n\v\f\r")
	}
	return elements
}

func withoutRepetition(list []string) []string {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		if seen[s] {
			return true
		}
		seen[s] = true
		return false
	})
}

// formatDouble writes a number as Java's Double.toString does, which is what clients of DescribeConfigs see: 0.5,
// 10.0, 1.0E7, 1.7976931348623157E308.
func formatDouble(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if size := math.Abs(f); size == 0 || size >= 1e-3 && size < 1e7 {
		return withFraction(strconv.FormatFloat(f, 'f', -1, 64))
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
	sign := ""
	if strings.HasPrefix(exponent, "-") {
		sign = "-"
	}
	return withFraction(mantissa) + "E" + sign + strings.TrimLeft(exponent, "+-0")
}

func withFraction(s string) string {
	if strings.Contains(s, ".") {
		return s
	}
	return s + ".0"
}
