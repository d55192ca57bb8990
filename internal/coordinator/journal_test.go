package coordinator_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"segue/internal/coordinator"
)

// journal is a machine that writes down numbers in the order in which they come. A reply tells what it saw: how many
// there were, and a sum over them and their order. So two replies, or a reply and what is found after a crash, can be
// held against each other: what was seen must be a prefix of what is there.
type journal struct {
	numbers []int64
	sums    []uint64 // sums[i] is over the first i+1 numbers

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
	if j.loaded {
		return errors.New("a record is applied after Loaded")
	}
	if j.onLoad != nil {
		if err := j.onLoad(); err != nil {
			return err
		}
	}
	switch {
	case len(r.Key) > 0 && r.Key[0] == newerRecord:
		return &coordinator.UnknownRecordError{Type: newerRecord}
	case len(r.Key) != 9 || r.Key[0] != numberRecord:
		return fmt.Errorf("key %x is none of a journal's", r.Key)
	}
	j.kept = append(j.kept, r.Key)
	n := int64(binary.BigEndian.Uint64(r.Key[1:]))
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
		j.write(n)
		e.Records = append(e.Records, encode(n, c.pad))
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
	if len(c.add) > 0 {
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
