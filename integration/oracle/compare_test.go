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
	"sync"
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
			compareMembers(k, h, func(name string) string { return path + "." + name }, tell)
			return
		}
	case []any:
		if h, ok := here.([]any); ok && compareLists(path, k, h, tell) {
			return
		}
	}
	if k, h := compact(kafka), compact(here); k != h {
		tell(path, k, h)
	}
}

// compareMembers compares what two maps have of the same name.
func compareMembers(kafka, here map[string]any, path func(name string) string, tell func(path, kafka, here string)) {
	all := maps.Clone(kafka)
	maps.Copy(all, here)
	for _, name := range sortedKeys(all) {
		k, inKafka := kafka[name]
		h, isHere := here[name]
		switch {
		case !inKafka:
			tell(path(name), "nothing", compact(h))
		case !isHere:
			tell(path(name), compact(k), "nothing")
		default:
			compare(path(name), k, h, tell)
		}
	}
}

// compareLists compares lists element by element, and says whether it could: by what their elements are about, or by their
// order if there are as many.
func compareLists(path string, kafka, here []any, tell func(path, kafka, here string)) bool {
	k, kOK := bySubject(kafka)
	h, hOK := bySubject(here)
	switch {
	case kOK && hOK:
		compareMembers(k, h, func(subject string) string { return path + "[" + subject + "]" }, tell)
	case len(kafka) == len(here):
		for i := range kafka {
			compare(fmt.Sprintf("%s[%d]", path, i), kafka[i], here[i], tell)
		}
	default:
		return false
	}
	return true
}

// subjects are the fields that say what an element of a list is about.
var subjects = []string{"Name", "ResourceName", "ApiKey", "Topic", "TopicID", "Partition", "MemberID", "Group", "NodeID"}

// bySubject returns the elements of a list by what they are about, if no two are about the same. One of them may lack the
// field, which has its default then.
func bySubject(list []any) (map[string]any, bool) {
	for _, field := range subjects {
		elements, named := map[string]any{}, 0
		for _, e := range list {
			object, ok := e.(map[string]any)
			if !ok {
				return nil, false
			}
			subject, ok := object[field]
			if ok {
				named++
			}
			elements[strings.Trim(compact(subject), `"`)] = e
		}
		if len(elements) == len(list) && (named > 0 || len(list) == 0) {
			return elements, true
		}
	}
	return nil, len(list) == 0
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// known are the differences in which Segue is right. Its methods may be called concurrently.
type known struct {
	mu      sync.Mutex
	entries []*knownDifference
}

type knownDifference struct {
	line    string // as it is written: a difference, with * for anything
	pattern *regexp.Regexp
	reason  string
	used    bool
}

// readKnown reads the file of known differences. A line that is not indented is a difference as a test prints it, in which *
// stands for anything; the indented lines behind one or several of them say why Segue is right. Lines with # are for the
// reader.
func readKnown(t testing.TB) *known {
	file, err := os.Open(filepath.Join("testdata", "known.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	k := &known{}
	var group []*knownDifference // which the next indented lines explain
	explained := false
	for in := bufio.NewScanner(file); in.Scan(); {
		line := in.Text()
		text := strings.TrimSpace(line)
		switch {
		case text == "" || strings.HasPrefix(line, "#"):
		case text != line:
			for _, e := range group {
				e.reason += text
			}
			explained = true
		default:
			if explained {
				group, explained = nil, false
			}
			pattern := strings.ReplaceAll(regexp.QuoteMeta(line), `\*`, `.*`)
			group = append(group, &knownDifference{line: line, pattern: regexp.MustCompile("^" + pattern + "$")})
			k.entries = append(k.entries, group[len(group)-1])
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
	k.mu.Lock()
	defer k.mu.Unlock()
	found := false
	for _, e := range k.entries {
		if e.pattern.MatchString(d.String()) {
			e.used, found = true, true
		}
	}
	return found
}
