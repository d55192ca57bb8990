package txn

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// TestCompilePattern: the whole id must match, whatever the pattern does with brackets and flags.
func TestCompilePattern(t *testing.T) {
	for _, c := range []struct {
		pattern, id string
		want        bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a|ab", "ab", true}, {"b|a", "ab", false}, {"a.*", "a\nb", false}, {"(?s)a.*", "a\nb", true},
		{"(?m)^b$", "a\nb", false}, {"a(?i)B", "ab", true}, {"", "", true}, {"a\n?", "a\n", true}, {"a$", "a\n", false},
	} {
		p, err := CompilePattern(c.pattern)
		if err != nil || (p == nil || p.MatchString(c.id)) != c.want {
			t.Errorf("%q on %q: %v, want %v", c.pattern, c.id, err, c.want)
		}
	}
	for _, pattern := range []string{"(", "a)|(b", "[", "(?=a)", `\1`, "a{1001}", strings.Repeat("a", maxPattern+1)} {
		if p, err := CompilePattern(pattern); !errors.Is(err, kerr.InvalidRegularExpression) || p != nil {
			t.Errorf("%.20q: %v", pattern, err)
		}
	}
}

func TestStatesNamed(t *testing.T) {
	known, unknown := StatesNamed([]string{"Ongoing", "x", "PrepareEpochFence", "Dead", ""})
	if !slices.Equal(known, []State{Ongoing, PrepareEpochFence, Dead}) || !slices.Equal(unknown, []string{"x", ""}) {
		t.Errorf("%v, %q", known, unknown)
	}
	if known, unknown = StatesNamed(nil); known != nil || unknown != nil {
		t.Errorf("%v, %q", known, unknown)
	}
	for s := range states {
		if got, ok := stateNamed(s.String()); !ok || got != s {
			t.Errorf("%v is read as %v, %v", s, got, ok)
		}
	}
}
