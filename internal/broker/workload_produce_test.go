package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// flight is a delivery of a request that has no answer yet.
type flight struct {
	delivery
	session *session // nil if the producer is not idempotent
	first   bool     // of its session: no other is on its way before it, so it cannot be out of order
}

// produce sends up to three requests without waiting, each with batches for some partitions, and takes the answers.
func (c *user) produce() error {
	if !c.known && c.rand.IntN(3) > 0 {
		if err := c.newProducer(); err != nil {
			return err
		}
	}
	var requests [][]flight
	aboard := map[place]bool{} // false for a batch that is sent again: there, nothing follows for now
	for range 1 + c.rand.IntN(3) {
		flights := c.load(aboard)
		if len(flights) == 0 {
			continue
		}
		answered, err := c.takeOff(flights)
		if err != nil {
			return err
		}
		if answered {
			requests = append(requests, flights)
		}
	}
	for _, flights := range requests {
		answer, err := c.wire.receive()
		if err != nil {
			return err
		}
		for i, t := range answer.(*kmsg.ProduceResponse).Topics {
			c.landed(flights[i], &t.Partitions[0])
		}
	}
	return nil
}

// load makes the batches of one request: all of an idempotent producer, or none.
func (c *user) load(aboard map[place]bool) (flights []flight) {
	idempotent := c.known && c.rand.IntN(4) > 0
	for range 1 + c.rand.IntN(3) {
		t, ok := c.pick()
		if !ok {
			return flights
		}
		f := flight{delivery: delivery{topic: t, partition: c.rand.Int32N(t.partitions)}}
		if slices.ContainsFunc(flights, func(o flight) bool { return o.topic.id == t.id }) {
			continue
		}
		if !idempotent {
			f.batch = c.newBatch(-1, 0, 0, 1+c.rand.IntN(4))
		} else if !c.next(&f, aboard) {
			continue
		}
		flights = append(flights, f)
	}
	return flights
}

// next gives a flight the batch that is next in its session, a new one or the first of those in doubt, and says
// whether there may be one now.
func (c *user) next(f *flight, aboard map[place]bool) bool {
	defer c.lock()()
	s := session{f.place(), c.producer}
	at := c.ledger.producers.sessions[s]
	if at == nil {
		at = &sequence{}
	}
	more, sent := aboard[s.place]
	f.session, f.first = &s, !sent
	switch {
	case sent && !more:
		return false
	case !sent && len(at.doubt) > 0:
		aboard[s.place] = false
		f.batch = at.doubt[0]
		return true
	}
	aboard[s.place] = true
	epoch, seq := at.epoch, at.next
	if !sent && seq > 0 && c.rand.IntN(20) == 0 {
		epoch, seq = epoch+1, 0 // as a producer does after an error that it cannot otherwise get over (KIP-360)
	}
	f.batch = c.newBatch(s.id, epoch, seq, 1+c.rand.IntN(4))
	c.ledger.producers.sessions[s] = &sequence{epoch, f.batch.LastSequence() + 1, append(slices.Clip(at.doubt), f.batch)}
	return true
}

// takeOff sends a request, and says whether there will be an answer.
func (c *user) takeOff(flights []flight) (answered bool, err error) {
	acks := int16(-1)
	if flights[0].session == nil {
		acks = int16(c.rand.IntN(3)) - 1
	}
	deliveries := make([]delivery, len(flights))
	for i, f := range flights {
		deliveries[i] = f.delivery
	}
	c.sending(deliveries...)
	w := c.wire
	if acks == 0 { // a failure ends the connection, so it had better be one of its own
		if w, err = dial(c.broker.Addr("PLAINTEXT")); err != nil {
			return false, err
		}
		defer w.close()
	}
	return acks != 0, w.send(produceRequest(acks, deliveries), produceVersion)
}

// landed takes the answer for one batch.
func (c *user) landed(f flight, p *kmsg.ProduceResponseTopicPartition) {
	err := kerr.ErrorForCode(p.ErrorCode)
	if err == nil {
		c.delivered(f.delivery, p)
	}
	if err != nil && !(f.session != nil && !f.first && c.faulty && err == kerr.OutOfOrderSequenceNumber) && !c.excused(f.topic, err) {
		c.violated("produce to %s-%d (producer %d, sequence %d): %w", f.topic, f.partition, f.batch.ProducerID(), f.batch.BaseSequence(), err)
	}
	if f.session == nil || err != nil {
		return // an idempotent batch that failed stays in doubt
	}
	defer c.lock()()
	at := c.ledger.producers.sessions[*f.session]
	if at == nil {
		return // the topic is gone
	}
	left := slices.DeleteFunc(slices.Clone(at.doubt), func(b *sentBatch) bool { return b == f.batch })
	c.ledger.producers.sessions[*f.session] = &sequence{at.epoch, at.next, left}
}
