package history

import (
	"fmt"
	"maps"
	"slices"
)

// cycles looks for transactions that read each other's records in a circle, although each was given only what is committed:
// one of them must then have read what was not. Circles that need an order of writes beside reads are legal, as is one
// transaction's record between two of another: Kafka does not keep transactions apart in any other way.
func (c *checker) cycles() {
	g := &flow{from: map[int32]map[int32]*Op{}}
	for n, x := range c.txns {
		if !x.committed() {
			continue
		}
		for _, i := range x.polls {
			c.flows(g, n, &c.h.Ops[i])
		}
	}
	for _, circle := range g.circles() {
		name, ops := CircularFlow, []*Op{}
		if len(circle) == 2 {
			name = EarlyRead
		}
		for _, n := range circle {
			for _, from := range slices.Sorted(maps.Keys(g.from[n])) {
				if slices.Contains(circle, from) {
					ops = append(ops, g.from[n][from])
				}
			}
		}
		c.report.add(Finding{Check: name, Text: fmt.Sprintf("transactions %v read each other's records", circle)}, ops...)
	}
}

// flows notes of which other transactions a transaction was given records in a poll.
func (c *checker) flows(g *flow, n int32, op *Op) {
	if !op.Committed {
		return
	}
	for _, r := range op.Records {
		i, ok := c.sends[r.Value]
		if !ok {
			continue
		}
		from := c.h.Ops[i].Txn
		if x := c.txns[from]; x == nil || from == n || !x.committed() {
			continue
		}
		if g.from[n] == nil {
			g.from[n] = map[int32]*Op{}
		}
		g.from[n][from] = op
	}
}

// flow is a graph: which transaction has read from which, and in what poll.
type flow struct {
	from map[int32]map[int32]*Op

	// of Tarjan's search
	number  map[int32]int // in the order of discovery, from 1 on
	low     map[int32]int
	stack   []int32
	waiting map[int32]bool // on the stack
	found   [][]int32
}

// circles returns the strongly connected sets of more than one transaction, each ascending.
func (g *flow) circles() [][]int32 {
	g.number, g.low, g.waiting = map[int32]int{}, map[int32]int{}, map[int32]bool{}
	for _, n := range slices.Sorted(maps.Keys(g.from)) {
		if g.number[n] == 0 {
			g.search(n)
		}
	}
	return g.found
}

// visit is a transaction that the search is in, and those that it has read from and that are still to be looked at.
type visit struct {
	n    int32
	rest []int32
}

// search goes through all that can be reached. It keeps its own stack, for a chain may have as many transactions as there are.
func (g *flow) search(root int32) {
	path := []visit{g.discover(root)}
	for len(path) > 0 {
		at := &path[len(path)-1]
		if len(at.rest) > 0 {
			next := at.rest[0]
			at.rest = at.rest[1:]
			switch {
			case g.number[next] == 0:
				path = append(path, g.discover(next))
			case g.waiting[next]:
				g.low[at.n] = min(g.low[at.n], g.number[next])
			}
			continue
		}
		n := at.n
		path = path[:len(path)-1]
		if len(path) > 0 {
			above := path[len(path)-1].n
			g.low[above] = min(g.low[above], g.low[n])
		}
		if g.low[n] == g.number[n] {
			g.close(n)
		}
	}
}

func (g *flow) discover(n int32) visit {
	g.number[n] = len(g.number) + 1
	g.low[n] = g.number[n]
	g.stack, g.waiting[n] = append(g.stack, n), true
	return visit{n, slices.Sorted(maps.Keys(g.from[n]))}
}

// close takes the set whose first one is n off the stack.
func (g *flow) close(n int32) {
	i := slices.Index(g.stack, n)
	set := slices.Clone(g.stack[i:])
	g.stack = g.stack[:i]
	for _, one := range set {
		g.waiting[one] = false
	}
	if len(set) > 1 {
		slices.Sort(set)
		g.found = append(g.found, set)
	}
}
