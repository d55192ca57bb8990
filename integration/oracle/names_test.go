package oracle

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// names says what stands in a transcript for what is drawn anew each time. It belongs to one conversation, in one version.
type names struct {
	texts  []replacement // longest first
	ids    map[[16]byte]string
	uuids  map[string]string // in texts, such as member ids
	labels map[label]string  // of numbers
	epoch  int32             // leader epoch of a topic that has just been made
	later  []int32           // its leader epochs after each restart of the broker
	port   int32
}

type replacement struct{ real, shown string }

// label is a number of a kind, such as a producer id.
type label struct {
	kind  string
	value int64
}

func newNames(port int32) *names {
	return &names{ids: map[[16]byte]string{}, uuids: map[string]string{}, labels: map[label]string{}, port: port}
}

// show has a text stand for another.
func (n *names) show(real, shown string) {
	n.texts = append(n.texts, replacement{real, shown})
	slices.SortStableFunc(n.texts, func(a, b replacement) int { return cmp.Compare(len(b.real), len(a.real)) })
}

var uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// text returns a text without what is drawn.
func (n *names) text(s string) string {
	for _, r := range n.texts {
		s = strings.ReplaceAll(s, r.real, r.shown)
	}
	return uuid.ReplaceAllStringFunc(s, func(found string) string {
		if _, ok := n.uuids[found]; !ok {
			n.uuids[found] = fmt.Sprintf("<uuid %d>", len(n.uuids)+1)
		}
		return n.uuids[found]
	})
}

// id returns the name of a topic's id.
func (n *names) id(id [16]byte) string {
	if _, ok := n.ids[id]; !ok {
		n.ids[id] = fmt.Sprintf("<id %d>", len(n.ids)+1)
	}
	return n.ids[id]
}

// number gives numbers of a kind names by their order.
func (n *names) number(kind string, value int64) string {
	l := label{kind, value}
	if _, ok := n.labels[l]; !ok {
		n.labels[l] = fmt.Sprintf("<%s %d>", kind, len(n.labels)+1)
	}
	return n.labels[l]
}

// known returns the name of a number, if it has one.
func (n *names) known(kind string, value int64) (string, bool) {
	name, ok := n.labels[label{kind, value}]
	return name, ok
}

// recent tells the present from times that a case made up.
func recent(millis int64) bool {
	age := time.Since(time.UnixMilli(millis))
	return age > -time.Hour && age < time.Hour
}
