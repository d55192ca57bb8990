package segue_test

import (
	"os"
	"strings"
	"testing"

	"segue/internal/config"
)

// TestDifferencesAreDocumented holds docs/differences.md against the table that the defaults are made from.
func TestDifferencesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range config.Differences() {
		if !strings.Contains(string(page), "`"+d.Name+"`") {
			t.Errorf("docs/differences.md says nothing of %s (%s in Kafka, %s here)", d.Name, d.Kafka, d.Here)
		}
		if d.Here != "" && !strings.Contains(string(page), d.Here) {
			t.Errorf("docs/differences.md does not give the default of %s, %s", d.Name, d.Here)
		}
	}
	for _, name := range config.ReadAtStart() {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/differences.md does not say that %s is read once", name)
		}
	}
}
