package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// triesToWork is how often a kind of operation may fail before it is odd that it never works.
const triesToWork = 10

// Check holds every operation of the history against what all the others tell of the logs. It changes nothing in it.
func Check(h *History) *Report {
	c := &checker{
		h: h, report: &Report{Found: map[Name]int{}}, sends: map[Value]int32{},
		byPartition: make([][]int32, len(h.Partitions)), place: make([]int64, len(h.Ops)),
		txns: map[int32]*transaction{}, visible: map[Value]*Op{},
	}
	c.sort()
	c.transactions()
	for p := range h.Partitions {
		t := &trail{checker: c, partition: h.Partitions[p], number: int32(p), ops: c.byPartition[p]}
		t.log.pages = map[int64]*page{}
		t.learn()
		t.writes()
		t.polls()
		t.drains()
		t.clock()
		c.report.Known += t.log.known
	}
	c.cycles()
	c.fences()
	c.transforms()
	return c.report
}

// checker is one run of Check.
type checker struct {
	h           *History
	report      *Report
	sends       map[Value]int32 // by value; an index in h.Ops
	faults      []*Op           // by their begin
	byPartition [][]int32       // indices in h.Ops; of one client they are in its order
	txns        map[int32]*transaction
	visible     map[Value]*Op // the first poll of what is committed that brought it, of values that transactions or transforms are about
	place       []int64       // of a send: the lowest offset at which its value is; Nowhere if it is not known
}

// sort hands the operations to their partitions.
func (c *checker) sort() {
	tried := [kinds]int{}
	for i := range c.h.Ops {
		op := &c.h.Ops[i]
		c.place[i] = Nowhere
		c.report.Counts[op.Kind][op.Outcome]++
		if op.Kind >= Kill {
			c.faults = append(c.faults, op)
			continue
		}
		if op.Kind != Send || c.h.Clients[op.Client].Delivery != AtMostOnce {
			tried[op.Kind]++
		}
		if !op.Kind.ofPartition() {
			continue
		}
		c.byPartition[op.Partition] = append(c.byPartition[op.Partition], int32(i))
		if op.Kind == Send {
			c.sends[op.Value] = int32(i)
		}
	}
	slices.SortFunc(c.faults, func(a, b *Op) int { return cmp.Compare(a.Invoke, b.Invoke) })
	for k, n := range tried {
		if n >= triesToWork && c.report.Counts[k][OK] == 0 {
			c.report.add(Finding{Check: NothingWorked, Text: fmt.Sprintf("of %d operations of the kind %v none succeeded", n, Kind(k))})
		}
	}
}

// faultWithin says whether something was happening to the broker at any time from one to the other.
func (c *checker) faultWithin(from, to time.Duration) bool {
	return slices.ContainsFunc(c.faults, func(f *Op) bool { return f.Invoke <= to && f.Complete >= from })
}

// restartBetween says whether the broker was made to end between the two times.
func (c *checker) restartBetween(from, to time.Duration) bool {
	return slices.ContainsFunc(c.faults, func(f *Op) bool { return f.Kind.restarts() && f.Invoke >= from && f.Invoke <= to })
}

// op returns the operation that a cell names by its index and one.
func (c *checker) op(indexAndOne int32) *Op { return &c.h.Ops[indexAndOne-1] }

// trail is what is known of one partition.
type trail struct {
	*checker
	partition Partition
	number    int32
	ops       []int32
	log       versions
	maxStart  int64            // the highest log start that anybody was told of
	sparse    bool             // control records take offsets
	open      map[int32][]span // by client, in order: while its transactions had records here and were not ended
	sought    map[int64]bool
}

// find reports a finding of this partition.
func (t *trail) find(check Name, offset int64, value Value, ops []*Op, format string, args ...any) {
	t.report.add(Finding{
		Check: check, Partition: t.partition, Offsets: []int64{offset}, Values: []Value{value}, Text: fmt.Sprintf(format, args...),
	}, ops...)
}

// learn finds out what is where, and how far the beginning of the log has moved.
func (t *trail) learn() {
	t.sought = map[int64]bool{}
	t.open = map[int32][]span{}
	for _, i := range t.ops {
		op := &t.h.Ops[i]
		t.sparse = t.sparse || op.Kind == Send && op.Txn != 0
		switch {
		case op.Kind == Send && op.Outcome == OK:
			t.learnAck(i, op)
		case op.Kind == Poll:
			t.maxStart = max(t.maxStart, op.LogStart)
			for _, r := range op.Records {
				t.learnRecord(i, op, r)
			}
		case op.Kind == Earliest && op.Outcome == OK:
			t.maxStart = max(t.maxStart, op.Offset)
			t.sought[op.Offset] = true
		}
	}
	t.log.settle()
}

func (t *trail) learnAck(i int32, op *Op) {
	if c := t.put(i, op.Offset, op.Value); c != nil && c.ack == 0 {
		c.ack = i + 1
	}
	t.opened(op)
}

func (t *trail) learnRecord(i int32, op *Op, r Record) {
	t.readInTime(op, r)
	c := t.put(i, r.Offset, r.Value)
	if c == nil {
		t.origin(r.Offset, r.Value, op)
		return
	}
	if c.poll == 0 {
		c.poll, c.time, c.epoch = i+1, r.Time, r.Epoch
		return
	}
	first := t.op(c.poll)
	if c.time != r.Time {
		t.find(Altered, r.Offset, r.Value, []*Op{first, op}, "the record at %d had the time %d and has %d", r.Offset, c.time, r.Time)
	}
	if c.epoch != r.Epoch {
		t.find(EpochChanged, r.Offset, r.Value, []*Op{first, op}, "the record at %d had the leader epoch %d and has %d", r.Offset, c.epoch, r.Epoch)
	}
	if op.Complete < first.Complete {
		c.poll = i + 1
	}
}

// put notes that a value is at an offset. It returns nil if something else is there.
func (t *trail) put(i int32, offset int64, value Value) *cell {
	if offset < 0 {
		t.find(InconsistentOffsets, offset, value, []*Op{&t.h.Ops[i]}, "a record is said to be at %d", offset)
		return nil
	}
	c := t.log.at(offset)
	if c.first == 0 {
		t.log.known++
		c.first, c.value = i+1, value
		return c
	}
	if c.value == value {
		return c
	}
	one, other := t.op(c.first), &t.h.Ops[i]
	check := InconsistentOffsets
	if t.restartBetween(min(one.Complete, other.Complete), max(one.Complete, other.Complete)) {
		check = OffsetReuse
	}
	t.report.add(Finding{
		Check: check, Partition: t.partition, Offsets: []int64{offset}, Values: []Value{c.value, value},
		Text: fmt.Sprintf("offset %d has value %#x and value %#x", offset, uint64(c.value), uint64(value)),
	}, one, other)
	return nil
}

// origin checks that a value which was read was sent, and to here. It returns its send; nil if there is none.
func (t *trail) origin(offset int64, value Value, poll *Op) (send *Op, index int32) {
	index, ok := t.sends[value]
	if !ok {
		t.find(Invented, offset, value, []*Op{poll}, "value %#x at %d was never sent", uint64(value), offset)
		return nil, 0
	}
	send = &t.h.Ops[index]
	switch {
	case send.Partition != t.number:
		t.find(Invented, offset, value, []*Op{send, poll}, "value %#x at %d was sent to %v",
			uint64(value), offset, t.h.Partitions[send.Partition])
		return nil, 0
	case poll.Complete < send.Invoke:
		t.find(Invented, offset, value, []*Op{send, poll}, "value %#x at %d was read before it was sent", uint64(value), offset)
	case send.Outcome == Failed:
		t.find(AbortedRead, offset, value, []*Op{send, poll}, "value %#x is at %d, and its send has failed", uint64(value), offset)
	}
	return send, index
}
