package config

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func define(kind Kind, rule Rule) *Definition {
	return &Definition{Name: "some.name", Kind: kind, Allowed: rule}
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		d    *Definition
		text string
		want string // canonical text, or
		err  string // what the error says after the name
	}{
		{define(Boolean, anything), " TRUE\t", "true", ""},
		{define(Boolean, anything), "False", "false", ""},
		{define(Boolean, anything), "yes", "", "Expected value to be either true or false"},
		{define(Boolean, anything), "", "", "Expected value to be either true or false"},
		{define(Int, anything), " 12 ", "12", ""},
		{define(Int, anything), "+7", "7", ""},
		{define(Int, anything), "007", "7", ""},
		{define(Int, anything), "2147483647", "2147483647", ""},
		{define(Int, anything), "2147483648", "", "Not a number of type INT"},
		{define(Int, anything), "1_000", "", "Not a number of type INT"},
		{define(Int, anything), "0x10", "", "Not a number of type INT"},
		{define(Int, anything), "1.0", "", "Not a number of type INT"},
		{define(Int, anything), "", "", "Not a number of type INT"},
		{define(Short, anything), "32768", "", "Not a number of type SHORT"},
		{define(Short, anything), "-32768", "-32768", ""},
		{define(Long, anything), "9223372036854775807", "9223372036854775807", ""},
		{define(Long, anything), "9223372036854775808", "", "Not a number of type LONG"},
		{define(Double, anything), "0.5", "0.5", ""},
		{define(Double, anything), "1", "1.0", ""},
		{define(Double, anything), "NaN", "", "Not a number of type DOUBLE"},
		{define(Double, anything), "1_0.5", "", "Not a number of type DOUBLE"},
		{define(Double, anything), "half", "", "Not a number of type DOUBLE"},
		{define(List, anything), " a , b,c ", "a,b,c", ""},
		{define(List, anything), "", "", ""},
		{define(List, anything), "a,,b", "a,,b", ""},
		{define(List, anyList), "a,b,a", "a,b", ""},
		{define(List, anyList), "a,,b", "", "The list must not have empty elements"},
		{define(List, someList), " ", "", "The list must not be empty"},
		{define(String, anything), "  spaced out ", "spaced out", ""},
		{define(String, nonEmpty), " ", "", "String must be non-empty"},
		{define(String, anything), strings.Repeat("x", maxValueBytes+1), "", "longer than 1048576 bytes"},
		{define(Long, atLeast(-1)), "-1", "-1", ""},
		{define(Long, atLeast(-1)), "-2", "", "Value must be at least -1"},
		{define(Int, between(1, 17)), "18", "", "Value must be no more than 17"},
		{define(Int, between(1, 17)), "0", "", "Value must be at least 1"},
		{define(Double, between(0, 1)), "1.01", "", "Value must be no more than 1"},
		{define(Int, gzipLevel), "-1", "-1", ""},
		{define(Int, gzipLevel), "0", "", "Value must be between 1 and 9 or equal to -1"},
		{define(Int, gzipLevel), "10", "", "Value must be between 1 and 9 or equal to -1"},
		{define(String, oneOf("a", "b")), "B", "", "String must be one of: a, b"},
		{define(String, oneOfFold("a", "b")), "B", "B", ""},
		{define(String, oneOfFold("a", "b")), "c", "", "one of (case insensitive): a, b"},
		{define(List, listOf(true, "compact", "delete")), "delete, compact", "delete,compact", ""},
		{define(List, listOf(true, "compact", "delete")), "", "", ""},
		{define(List, listOf(false, "broker")), "", "", "must not be empty; it may hold: broker"},
		{define(List, listOf(true, "compact", "delete")), "delete,zip", "", `"zip" is not one of: compact, delete`},
		{define(List, throttledReplicas), "*", "*", ""},
		{define(List, throttledReplicas), "0:1, 2:3", "0:1,2:3", ""},
		{define(List, throttledReplicas), "0:1,*", "", "Value must be *"},
		{define(List, throttledReplicas), "0:", "", "Value must be *"},
		{define(String, hostPort), ":9644", ":9644", ""},
		{define(String, hostPort), "[::1]:80", "[::1]:80", ""},
		{define(String, hostPort), "", "", ""},
		{define(String, hostPort), "9644", "", "Value must be host:port"},
		{define(String, hostPort), "a:70000", "", "Value must be host:port"},
	} {
		v, err := test.d.Parse(test.text)
		if test.err == "" {
			if err != nil || v.String() != test.want {
				t.Errorf("%v %.30q: %q, %v, want %q", test.d.Kind, test.text, v, err, test.want)
			}
			continue
		}
		if _, ok := errors.AsType[*ValueError](err); !ok || !strings.Contains(err.Error(), test.err) ||
			!strings.HasPrefix(err.Error(), "Invalid value ") || !strings.Contains(err.Error(), " for configuration some.name: ") {
			t.Errorf("%v %.30q: %v, want %q", test.d.Kind, test.text, err, test.err)
		}
		if len(err.Error()) > 1000 {
			t.Errorf("%v: an error of %d bytes", test.d.Kind, len(err.Error()))
		}
	}
}

func TestValueAccessors(t *testing.T) {
	parse := func(kind Kind, text string) Value {
		v, err := define(kind, anything).Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := parse(Boolean, "true"); !v.Bool() || v.Int() != 0 || v.Null() {
		t.Errorf("true: %v %d", v.Bool(), v.Int())
	}
	if v := parse(Long, "-3"); v.Int() != -3 || v.Float() != -3 || v.Bool() || v.Millis() != -3*time.Millisecond {
		t.Errorf("-3: %+v", v)
	}
	if v := parse(Long, "9223372036854775807"); v.Millis() != math.MaxInt64 {
		t.Errorf("longest: %v", v.Millis())
	}
	if v := parse(Long, "-9223372036854775808"); v.Millis() != math.MinInt64 {
		t.Errorf("shortest: %v", v.Millis())
	}
	if v := parse(Int, "2147483647"); v.Minutes() != math.MaxInt64 {
		t.Errorf("longest in minutes: %v", v.Minutes())
	}
	if v := parse(Int, "10080"); v.Minutes() != 7*24*time.Hour {
		t.Errorf("a week in minutes: %v", v.Minutes())
	}
	if v := parse(Double, "0.25"); v.Float() != 0.25 || v.Int() != 0 {
		t.Errorf("0.25: %+v", v)
	}
	v := parse(List, "a,B")
	if list := v.List(); !slices.Equal(list, []string{"a", "B"}) || !v.Has("b") || v.Has("c") {
		t.Errorf("list: %q", list)
	}
	v.List()[0] = "changed"
	if v.List()[0] != "a" {
		t.Error("the list of a value can be changed from outside")
	}
	if null := (Value{null: true}); !null.Null() || null.String() != "" || null.Int() != 0 || null.List() != nil {
		t.Errorf("null: %+v", null)
	}
}

func TestFormatDouble(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0.0", 0.5: "0.5", 10: "10.0", 1e7: "1.0E7", 12345678.9: "1.23456789E7", 1e-3: "0.001", 1e-4: "1.0E-4", -2.5: "-2.5",
		math.MaxFloat64: "1.7976931348623157E308", math.Inf(1): "Infinity", math.Inf(-1): "-Infinity", 1e100: "1.0E100",
	} {
		if got := formatDouble(f); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	d := define(Password, nonEmpty)
	if _, err := d.Parse(strings.Repeat("s3cret", 1<<18)); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%.60v", err)
	}
}

func TestShorten(t *testing.T) {
	if got := shorten(strings.Repeat("ä", 200)); len(got) > 260 || strings.Contains(got, "\uFFFD") {
		t.Errorf("%q", got)
	}
	if got := shorten("as it is"); got != "as it is" {
		t.Errorf("%q", got)
	}
}
