package coordinator_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"segue/internal/coordinator"
	"segue/partition"
)

// journal is a machine that writes down numbers in the order in which they come. A reply tells what it saw: how many
// there were, and a sum over them and their order. So two replies, or a reply and what is found after a crash, can be
// held against each other: what was seen must be a prefix of what is there. Numbers of a transaction are written down when it
// is committed.
type journal struct {
	numbers []int64
	sums    []uint64          // sums[i] is over the first i+1 numbers
	pending map[int64][]int64 // of transactions that are not decided, by producer

	parked   []coordinator.Token // that wait for the next number
	deadline time.Time
	due      int64 // written down at the deadline

	loaded bool
	kept   [][]byte     // the keys of all records that were applied, as they were given
	onLoad func() error // called for each record that is applied
}

// command is what a journal takes.
type command struct {
	add     []int64       // written down together
	pad     int           // bytes that each of their records is larger
	park    bool          // the reply comes with the next number that somebody adds
	expire  int64         // a number to be written down after a while
	after   time.Duration // which is this long
	twice   bool          // the reply is given two times
	panic   bool
	nothing bool // no reply comes, ever

	by    *coordinator.Producer // whose transaction the numbers are part of
	guard partition.Guard
	sends []string // messages to others
}

// Guard implements coordinator.Guarded.
func (c command) Guard() (coordinator.Producer, partition.Guard, bool) {
	if c.by == nil {
		return coordinator.Producer{}, 0, false
	}
	return *c.by, c.guard, true
}

// view is what a journal replies.
type view struct {
	count int
	sum   uint64
}

// The first byte of a record's key is its type, as it were.
const (
	numberRecord = 1
	newerRecord  = 99
)

func encode(n int64, pad int) coordinator.Record {
	key := binary.BigEndian.AppendUint64([]byte{numberRecord}, uint64(n))
	return coordinator.Record{Key: key, Value: make([]byte, 1+pad)}
}

func (j *journal) Apply(r coordinator.Record) error {
	n, err := j.take(r)
	if err != nil {
		return err
	}
	if r.Value == nil { // a tombstone
		j.numbers = slices.DeleteFunc(j.numbers, func(x int64) bool { return x == n })
		old := j.numbers
		j.numbers, j.sums = nil, nil
		for _, n := range old {
			j.write(n)
		}
		return nil
	}
	j.write(n)
	return nil
}

// take returns the number of a record.
func (j *journal) take(r coordinator.Record) (int64, error) {
	if j.loaded {
		return 0, errors.New("a record is applied after Loaded")
	}
	if j.onLoad != nil {
		if err := j.onLoad(); err != nil {
			return 0, err
		}
	}
	switch {
	case len(r.Key) > 0 && r.Key[0] == newerRecord:
		return 0, &coordinator.UnknownRecordError{Type: newerRecord}
	case len(r.Key) != 9 || r.Key[0] != numberRecord:
		return 0, fmt.Errorf("key %x is none of a journal's", r.Key)
	}
	j.kept = append(j.kept, r.Key)
	return int64(binary.BigEndian.Uint64(r.Key[1:])), nil
}

// ApplyPending implements coordinator.Transactional.
func (j *journal) ApplyPending(p coordinator.Producer, r coordinator.Record) error {
	n, err := j.take(r)
	if err == nil {
		j.pend(p.ID, n)
	}
	return err
}

func (j *journal) pend(producer, n int64) {
	if j.pending == nil {
		j.pending = map[int64][]int64{}
	}
	j.pending[producer] = append(j.pending[producer], n)
}

// Decide implements coordinator.Transactional. It sends what it comes to.
func (j *journal) Decide(_ time.Time, p coordinator.Producer, commit bool) coordinator.Effects {
	numbers := j.pending[p.ID]
	delete(j.pending, p.ID)
	e := coordinator.Effects{Deadline: j.deadline}
	if !commit || len(numbers) == 0 {
		return e
	}
	for _, n := range numbers {
		j.write(n)
	}
	e.Replies, e.Sends = j.wake(), []any{j.now()}
	return e
}

func (j *journal) write(n int64) {
	h := fnv.New64a()
	if len(j.sums) > 0 {
		_ = binary.Write(h, binary.BigEndian, j.sums[len(j.sums)-1])
	}
	_ = binary.Write(h, binary.BigEndian, n)
	j.numbers, j.sums = append(j.numbers, n), append(j.sums, h.Sum64())
}

// at returns what a journal with the first n of its numbers replies.
func (j *journal) at(n int) view {
	if n == 0 {
		return view{}
	}
	return view{n, j.sums[n-1]}
}

func (j *journal) now() view { return j.at(len(j.numbers)) }

func (j *journal) Loaded(time.Time) coordinator.Effects {
	j.loaded = true
	return coordinator.Effects{}
}

func (j *journal) Handle(now time.Time, t coordinator.Token, c command) coordinator.Effects {
	if !j.loaded {
		panic("a command before Loaded")
	}
	var e coordinator.Effects
	for _, n := range c.add {
		if c.by == nil {
			j.write(n)
		} else {
			j.pend(c.by.ID, n)
		}
		e.Records = append(e.Records, encode(n, c.pad))
	}
	e.Producer = c.by
	for _, s := range c.sends {
		e.Sends = append(e.Sends, s)
	}
	if c.panic {
		panic("the machine was told to")
	}
	switch {
	case c.nothing:
	case c.park:
		j.parked = append(j.parked, t)
	default:
		e.Replies = append(e.Replies, coordinator.Reply{To: t, Message: j.now()})
		if c.twice {
			e.Replies = append(e.Replies, coordinator.Reply{To: t, Message: j.now()})
		}
	}
	if len(c.add) > 0 && c.by == nil {
		e.Replies = append(e.Replies, j.wake()...)
	}
	if c.after > 0 {
		j.due, j.deadline = c.expire, now.Add(c.after)
	}
	e.Deadline = j.deadline
	return e
}

func (j *journal) wake() (replies []coordinator.Reply) {
	for _, t := range j.parked {
		replies = append(replies, coordinator.Reply{To: t, Message: j.now()})
	}
	j.parked = nil
	return replies
}

func (j *journal) Expire(now time.Time) coordinator.Effects {
	if now.Before(j.deadline) || j.deadline.IsZero() {
		panic("Expire before the deadline")
	}
	j.deadline = time.Time{}
	j.write(j.due)
	return coordinator.Effects{Records: []coordinator.Record{encode(j.due, 0)}, Replies: j.wake()}
}
