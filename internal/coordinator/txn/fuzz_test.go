package txn

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"segue/internal/coordinator"
)

// FuzzCommands hands the machine commands that are made of arbitrary bytes: most of them wrong in one way or another, on
// transactional ids in any state, with epochs near their end. World checks after each; nothing may panic, and what waits must
// not wait for ever.
func FuzzCommands(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		seed := make([]byte, 600)
		for i := range seed {
			seed[i] = byte(rng.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &commands{data: data}
		c.w = newWorld(t, int16(c.upTo(3)), func(o *Options) {
			maxRecord := 300 + 100*c.upTo(10)
			o.MaxRecordBytes = func() int { return maxRecord }
			o.Waiting = c.upTo(5)
			o.MaxTimeout = pick(c, time.Minute, math.MaxInt32*time.Millisecond)
			o.Expiration, o.ExpireEvery = time.Hour, pick(c, time.Minute, time.Hour)
		})
		for n, id := range []string{"a", "b"} {
			if c.upTo(2) == 0 {
				c.w.plant(&transaction{
					id: id, producerID: int64(1000 + n), previousID: int64(1000 + n), nextID: noProducerID, epoch: lastEpoch - int16(c.upTo(3)),
					timeout: 10_000, start: noTime, updated: start.UnixMilli(),
				})
			}
		}
		for n := 0; len(c.data) > 0 && n < 500; n++ {
			c.next()
		}
		c.w.ids = 1 << 20
		c.w.advance(time.Hour, func(coordinator.Effects) {})
		if len(c.w.waiting) > 0 {
			t.Fatalf("%d requests wait for ever", len(c.w.waiting))
		}
	})
}

// commands reads commands off bytes.
type commands struct {
	w    *world
	data []byte
}

// upTo takes a number below n.
func (c *commands) upTo(n int) int {
	if len(c.data) == 0 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return int(b) % n
}

func pick[T any](c *commands, from ...T) T { return from[c.upTo(len(from))] }

// next does one.
func (c *commands) next() {
	switch c.upTo(16) {
	case 0:
		patience := c.upTo(3)
		c.w.advance(pick(c, 0, time.Millisecond, time.Second, 11*time.Second, 2*time.Hour), func(coordinator.Effects) {
			if c.w.wants {
				if patience--; patience < 0 {
					c.w.wants, c.w.ids = false, 3
				}
			}
		})
	case 1:
		c.w.reload(c.upTo(2) == 0)
	case 2:
		c.w.ids = c.upTo(4)
	case 3, 4, 5:
		if pending := c.w.pending(); len(pending) > 0 {
			c.w.finish(pending[c.upTo(len(pending))].Complete)
		}
	case 6:
		if c.w.version > 0 { // what version 0 does not write is lost by then
			c.w.version = int16(1 + c.upTo(2))
		}
	default:
		c.w.do(c.request())
	}
}

func (c *commands) request() any {
	id := pick(c, "a", "a", "b", "c", "")
	producerID, epoch := int64(noProducerID), int16(noProducerEpoch)
	if t := c.w.m.transactions[id]; t != nil {
		producerID = pick(c, t.producerID, t.producerID, t.producerID, t.previousID, t.nextID, 77)
		epoch = pick(c, t.epoch, t.epoch, t.epoch, t.epoch-1, t.lastEpoch, lastEpoch, math.MaxInt16, noProducerEpoch)
	}
	switch c.upTo(10) {
	case 0, 1, 2:
		r := initOf(id, pick[int32](c, 10_000, 10_000, 0, -1, math.MaxInt32))
		r.Version = int16(c.upTo(6))
		if c.upTo(2) == 0 {
			r.ProducerID, r.ProducerEpoch = producerID, epoch
		}
		return r
	case 3, 4, 5:
		r := AddPartitions{TransactionalID: id, ProducerID: producerID, ProducerEpoch: epoch, VerifyOnly: c.upTo(4) == 0, Implicit: c.upTo(2) == 0}
		for range pick(c, 0, 1, 2, 30, 100) {
			r.Partitions = append(r.Partitions, Partition{pick(c, "t", "u"), int32(c.upTo(40))})
		}
		return r
	case 6, 7, 8:
		return endOf(id, producerID, epoch, c.upTo(2) == 0, int16(c.upTo(6)))
	}
	return pick[any](c, Describe{id}, List{LongerThan: int64(c.upTo(3)) - 1}, Count{}, nil,
		Complete{id, producerID, epoch, c.w.now.UnixMilli() - 1000})
}
