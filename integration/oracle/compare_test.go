package oracle

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// difference is one field in which two answers differ.
type difference struct {
	where string // scenario/case
	path  string // of the field, such as "2 Produce.Topics[0].Partitions[0].ErrorCode": the step's number, what was asked, the field
	kafka string // JSON, or "nothing"
	here  string
}

func (d difference) String() string {
	return fmt.Sprintf("%s: %s: %s -> %s", d.where, d.path, d.kafka, d.here)
}

// compareSteps returns what differs between Kafka's answers and others.
func compareSteps(where string, kafka, here []step) (list []difference) {
	for i := range max(len(kafka), len(here)) {
		switch {
		case i >= len(here):
			list = append(list, difference{where, stepName(i, kafka[i]), compact(kafka[i].answer), "nothing"})
		case i >= len(kafka):
			list = append(list, difference{where, stepName(i, here[i]), "nothing", compact(here[i].answer)})
		default:
			compare(stepName(i, kafka[i]), kafka[i].answer, plain(here[i].answer), func(path, k, h string) {
				list = append(list, difference{where, path, k, h})
			})
		}
	}
	return list
}

func stepName(i int, s step) string { return fmt.Sprintf("%d %s", i+1, s.asked) }

// compare walks two trees and tells each field in which they differ.
func compare(path string, kafka, here any, tell func(path, kafka, here string)) {
	switch k := kafka.(type) {
	case map[string]any:
		if h, ok := here.(map[string]any); ok {
			all := maps.Clone(k)
			maps.Copy(all, h)
			for _, name := range sortedKeys(all) {
				field := path + "." + name
				kv, inKafka := k[name]
				hv, isHere := h[name]
				switch {
				case !inKafka:
					tell(field, "nothing", compact(hv))
				case !isHere:
					tell(field, compact(kv), "nothing")
				default:
					compare(field, kv, hv, tell)
				}
			}
			return
		}
	case []any:
		if h, ok := here.([]any); ok && len(h) == len(k) {
			for i := range k {
				compare(fmt.Sprintf("%s[%d]", path, i), k[i], h[i], tell)
			}
			return
		}
	}
	if k, h := compact(kafka), compact(here); k != h {
		tell(path, k, h)
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// known are the differences in which Segue is right.
type known struct {
	entries []*knownDifference
}

type knownDifference struct {
	line    string // as it is written: a difference, with * for anything
	pattern *regexp.Regexp
	reason  string
	used    bool
}

// readKnown reads the file of known differences. A line that begins at its beginning is a difference as a test prints it, in
// which * stands for anything; the indented lines behind it say why Segue is right. Lines with # are for the reader.
func readKnown(t testing.TB) *known {
	file, err := os.Open(filepath.Join("testdata", "known.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	k := &known{}
	for in := bufio.NewScanner(file); in.Scan(); {
		line := in.Text()
		text := strings.TrimSpace(line)
		switch {
		case text == "" || strings.HasPrefix(line, "#"):
		case text != line && len(k.entries) > 0:
			k.entries[len(k.entries)-1].reason += text
		default:
			pattern := strings.ReplaceAll(regexp.QuoteMeta(line), `\*`, `.*`)
			k.entries = append(k.entries, &knownDifference{line: line, pattern: regexp.MustCompile("^" + pattern + "$")})
		}
	}
	for _, e := range k.entries {
		if e.reason == "" {
			t.Errorf("known.txt does not say why %s", e.line)
		}
	}
	return k
}

// has says whether a difference is known, and remembers which lines are needed.
func (k *known) has(d difference) bool {
	found := false
	for _, e := range k.entries {
		if e.pattern.MatchString(d.String()) {
			e.used, found = true, true
		}
	}
	return found
}
