package catalog

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestValidateName(t *testing.T) {
	for _, name := range []string{"a", "A-z_0.9", "...", "__consumer_offsets", strings.Repeat("x", 249), "-", "_"} {
		if err := ValidateName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a b", "a/b", "ä", "a\x00", "@catalog", "a:b", strings.Repeat("x", 250), "a\xff"} {
		if err := ValidateName(name); !errors.Is(err, kerr.InvalidTopicException) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestHasCollision(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"a.b", "a_b", true}, {"a.b.c", "a_b.c", true}, {"a.b", "a.b", true}, {"a-b", "a_b", false}, {"a", "b", false}, {"_", ".", true},
	} {
		if HasCollision(test.a, test.b) != test.want || HasCollision(test.b, test.a) != test.want {
			t.Errorf("%s and %s: want %v", test.a, test.b, test.want)
		}
	}
}

func TestIsInternal(t *testing.T) {
	for name, want := range map[string]bool{
		"__consumer_offsets": true, "__transaction_state": true, "__share_group_state": true, "__cluster_metadata": false, "a": false,
	} {
		if IsInternal(name) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
}

func TestIDs(t *testing.T) {
	seen := map[[16]byte]bool{}
	for range 2000 { // one in 64 random ids would begin with '-'
		id := NewTopicID()
		text := FormatID(id)
		back, err := ParseID(text)
		if err != nil || back != id || len(text) != 22 || text[0] == '-' || seen[id] {
			t.Fatalf("%v %s %v", id, text, err)
		}
		seen[id] = true
		if id[6]>>4 != 4 || id[8]>>6 != 2 {
			t.Fatalf("%s is not a UUID of version 4", text)
		}
	}
	for _, text := range []string{"", "AAAA", strings.Repeat("A", 21) + "B", strings.Repeat("+", 22), strings.Repeat("A", 23)} {
		if _, err := ParseID(text); err == nil {
			t.Errorf("%q is taken for an id", text)
		}
	}
}
