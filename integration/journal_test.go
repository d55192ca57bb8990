//go:build integration && unix

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
)

// entry is a line of the broker's log.
type entry struct {
	raw    string
	valid  bool // it is a JSON object, as all that the broker logs; a stack trace is not
	fields map[string]any
}

func parseEntry(line string) entry {
	e := entry{raw: line}
	e.valid = json.Unmarshal([]byte(line), &e.fields) == nil
	return e
}

// text returns a field that is a string; "" if there is none.
func (e entry) text(field string) string {
	s, _ := e.fields[field].(string)
	return s
}

// journal takes what a process writes to its standard error, line by line. It is safe for concurrent use.
type journal struct {
	mu      sync.Mutex
	entries []entry
	partial []byte
	grown   chan struct{} // closed when an entry comes, and then replaced
}

func newJournal() *journal { return &journal{grown: make(chan struct{})} }

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.partial = append(j.partial, p...)
	before := len(j.entries)
	for {
		line, rest, ok := bytes.Cut(j.partial, []byte("\n"))
		if !ok {
			break
		}
		j.entries = append(j.entries, parseEntry(string(line)))
		j.partial = rest
	}
	if len(j.entries) > before {
		close(j.grown)
		j.grown = make(chan struct{})
	}
	return len(p), nil
}

// all returns the entries so far, and a channel that is closed when there are more.
func (j *journal) all() ([]entry, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[:len(j.entries):len(j.entries)], j.grown
}

// find returns the entries that match.
func (j *journal) find(match func(entry) bool) []entry {
	entries, _ := j.all()
	var found []entry
	for _, e := range entries {
		if match(e) {
			found = append(found, e)
		}
	}
	return found
}

// await waits for an entry that matches.
func (j *journal) await(ctx context.Context, match func(entry) bool) (entry, error) {
	seen := 0
	for {
		entries, grown := j.all()
		for _, e := range entries[seen:] {
			if match(e) {
				return e, nil
			}
		}
		seen = len(entries)
		select {
		case <-grown:
		case <-ctx.Done():
			return entry{}, ctx.Err()
		}
	}
}

// String returns the log as it was written.
func (j *journal) String() string {
	entries, _ := j.all()
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(e.raw)
		b.WriteByte('\n')
	}
	return b.String()
}

// printedLines is how much of a log is shown of a test that failed.
const printedLines = 200

// print shows the end of the log in the test's output.
func (j *journal) print(t testing.TB, title string) {
	t.Helper()
	entries, _ := j.all()
	from := max(0, len(entries)-printedLines)
	var b strings.Builder
	for _, e := range entries[from:] {
		b.WriteString("\n\t")
		b.WriteString(e.raw)
	}
	t.Logf("%s, %d lines, of which the last are:%s", title, len(entries), b.String())
}

// message matches entries by their text.
func message(text string) func(entry) bool {
	return func(e entry) bool { return e.text("message") == text }
}
