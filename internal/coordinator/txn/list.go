package txn

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Describe asks about a transactional id. The reply is a kmsg.DescribeTransactionsResponseTransactionState.
type Describe struct{ TransactionalID string }

// describe handles Describe.
func (m *Machine) describe(req Describe) kmsg.DescribeTransactionsResponseTransactionState {
	resp := kmsg.NewDescribeTransactionsResponseTransactionState()
	resp.TransactionalID = req.TransactionalID
	t := m.transactions[req.TransactionalID]
	switch {
	case req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	case t == nil:
		resp.ErrorCode = kerr.TransactionalIDNotFound.Code
		return resp
	}
	resp.State, resp.TimeoutMillis, resp.StartTimestamp = t.state.String(), t.timeout, t.start
	resp.ProducerID, resp.ProducerEpoch = t.producerID, t.epoch
	for _, p := range t.partitions {
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != p.Topic {
			topic := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
			topic.Topic = p.Topic
			resp.Topics = append(resp.Topics, topic)
		}
		last := &resp.Topics[len(resp.Topics)-1]
		last.Partitions = append(last.Partitions, p.Partition)
	}
	return resp
}

// List asks for the transactional ids that all of these filters let through. The reply is a
// []kmsg.ListTransactionsResponseTransactionState in the order of the ids.
type List struct {
	States      []State // nil for any
	ProducerIDs []int64 // none for any
	// LongerThan is for how many milliseconds the last transaction must have been there; negative for any time.
	LongerThan int64
	// Pattern is what the whole id matches; nil for any.
	Pattern *regexp.Regexp
}

// StatesNamed returns the states of names, as List takes them, and the names that are of none. Without any name that is nil:
// any state.
func StatesNamed(names []string) (known []State, unknown []string) {
	if len(names) > 0 {
		known = []State{}
	}
	for _, name := range names {
		if s, ok := stateNamed(name); ok {
			known = append(known, s)
		} else {
			unknown = append(unknown, name)
		}
	}
	return known, unknown
}

// list handles List.
func (m *Machine) list(req List) []kmsg.ListTransactionsResponseTransactionState {
	var all []kmsg.ListTransactionsResponseTransactionState
	for _, id := range m.ids() {
		t := m.transactions[id]
		if req.States != nil && !slices.Contains(req.States, t.state) ||
			len(req.ProducerIDs) > 0 && !slices.Contains(req.ProducerIDs, t.producerID) ||
			req.LongerThan >= 0 && m.Millis()-t.start <= req.LongerThan ||
			req.Pattern != nil && !req.Pattern.MatchString(id) {
			continue
		}
		s := kmsg.NewListTransactionsResponseTransactionState()
		s.TransactionalID, s.ProducerID, s.TransactionState = id, t.producerID, t.state.String()
		all = append(all, s)
	}
	return all
}

// maxPattern bounds a pattern, in bytes.
const maxPattern = 1 << 10

// CompilePattern returns what a List takes to find the ids that a pattern matches as a whole, by the rules of RE2; nil for an
// empty one. The error is INVALID_REGULAR_EXPRESSION (KIP-1152).
func CompilePattern(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil
	}
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("%w: the pattern has %d bytes, and %d are allowed", kerr.InvalidRegularExpression, len(pattern), maxPattern)
	}
	if _, err := regexp.Compile(pattern); err != nil { // or else a bracket could close one that is put around it
		return nil, fmt.Errorf("%w: %w", kerr.InvalidRegularExpression, err)
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

// Count asks how many transactional ids there are. The reply is a Counts.
type Count struct{}

// Counts is how many transactional ids are in each state, and when the first transaction began that is Ongoing, in Unix
// milliseconds; 0 if there is none.
type Counts struct {
	ByState map[State]int
	Oldest  int64
}

// Add adds the figures of another shard.
func (c *Counts) Add(o Counts) {
	for state, n := range o.ByState {
		c.ByState[state] += n
	}
	if o.Oldest > 0 && (c.Oldest == 0 || o.Oldest < c.Oldest) {
		c.Oldest = o.Oldest
	}
}

// count handles Count.
func (m *Machine) count() Counts {
	c := Counts{ByState: map[State]int{}}
	for _, t := range m.transactions {
		c.ByState[t.state]++
		if t.state == Ongoing && (c.Oldest == 0 || t.start < c.Oldest) {
			c.Oldest = t.start
		}
	}
	return c
}
