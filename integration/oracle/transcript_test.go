package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// versions are the versions of APIs that Kafka serves, by name.
type versions map[string][2]int16

// transcript holds the answers of a scenario's cases, by case and version.
type transcript map[string]map[int16][]step

// written is a transcript's form: by case, and by versions ("3-8") that have the same answers. A step is an object with one
// member, whose name is what was asked.
type written map[string]map[string][]map[string]any

func transcriptFile(scenario string) string { return filepath.Join("testdata", scenario+".json") }

// write writes a transcript.
func (tr transcript) write(file string) error {
	all := written{}
	for name, byVersion := range tr {
		all[name] = map[string][]map[string]any{}
		for _, run := range runs(byVersion) {
			key := fmt.Sprint(run[0])
			if run[1] != run[0] {
				key = fmt.Sprintf("%d-%d", run[0], run[1])
			}
			all[name][key] = toWrite(byVersion[run[0]])
		}
	}
	return os.WriteFile(file, append(pretty(nil, plain(all), ""), '\n'), 0o644)
}

func toWrite(steps []step) []map[string]any {
	list := []map[string]any{}
	for _, s := range steps {
		list = append(list, map[string]any{s.asked: s.answer})
	}
	return list
}

// runs are the first and last of versions in a row with the same answers.
func runs(byVersion map[int16][]step) (list [][2]int16) {
	var all []int16
	for v := range byVersion {
		all = append(all, v)
	}
	slices.Sort(all)
	for _, v := range all {
		if n := len(list); n > 0 && list[n-1][1] == v-1 && compact(plain(toWrite(byVersion[v]))) == compact(plain(toWrite(byVersion[v-1]))) {
			list[n-1][1] = v
		} else {
			list = append(list, [2]int16{v, v})
		}
	}
	return list
}

// readTranscript reads what write wrote.
func readTranscript(file string) (transcript, error) {
	var all written
	if err := readJSON(file, &all); err != nil {
		return nil, err
	}
	tr := transcript{}
	for name, byRun := range all {
		tr[name] = map[int16][]step{}
		for key, list := range byRun {
			var from, to int16
			if n, _ := fmt.Sscanf(key, "%d-%d", &from, &to); n == 1 {
				to = from
			} else if n != 2 {
				return nil, fmt.Errorf("%s: %q in %q names no versions", file, key, name)
			}
			for v := from; v <= to; v++ {
				tr[name][v] = fromWritten(list)
			}
		}
	}
	return tr, nil
}

func fromWritten(list []map[string]any) (steps []step) {
	for _, m := range list {
		for asked, answer := range m {
			steps = append(steps, step{asked, answer})
		}
	}
	return steps
}

// newest is the newest version of an API.
func (v versions) newest(key int16) int16 { return v[apiName(key)][1] }

func readJSON(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("what Kafka answers is not there; `make oracle` asks it: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// plain turns a value into one of maps, slices and scalars.
func plain(v any) (tree any) {
	d := json.NewDecoder(bytes.NewReader([]byte(compact(v))))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		panic(err) // compact has just written it
	}
	return tree
}

// compact is a value's JSON in one line.
func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // trees have nothing that JSON has not
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// firstVersion is the first of the versions that a key names; 0 for other keys.
func firstVersion(key string) int {
	var v int
	fmt.Sscanf(key, "%d", &v) // what is no number leaves 0
	return v
}

// width is how long a line may become before it is broken.
const width = 120

// pretty appends a tree's JSON with what fits into a line in one line.
func pretty(b []byte, tree any, indent string) []byte {
	line := compact(tree)
	deeper := indent + " "
	list := func(open, shut byte, n int, item func(i int)) {
		b = append(b, open)
		for i := range n {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, '\n'), deeper...)
			item(i)
		}
		b = append(append(append(b, '\n'), indent...), shut)
	}
	switch v := tree.(type) {
	case map[string]any:
		if len(indent)+len(line) > width || indent == "" {
			keys := sortedKeys(v)
			slices.SortStableFunc(keys, func(a, b string) int { return firstVersion(a) - firstVersion(b) })
			list('{', '}', len(keys), func(i int) {
				b = append(append(b, compact(keys[i])...), ": "...)
				b = pretty(b, v[keys[i]], deeper)
			})
			return b
		}
	case []any:
		if len(indent)+len(line) > width {
			list('[', ']', len(v), func(i int) { b = pretty(b, v[i], deeper) })
			return b
		}
	}
	return append(b, line...)
}
