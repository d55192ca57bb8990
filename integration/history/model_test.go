package history

import (
	"math/rand/v2"
	"time"
)

// model is a sound log with its clients, in small: it makes legal histories. One step takes a millisecond. What the log
// does, it does at once; the clients see it begin earlier and end later.
type model struct {
	rng   *rand.Rand
	now   time.Duration
	h     History
	log   []Record // from offset 0 on
	start int64
	epoch int32

	producers []*modelProducer
	consumers []*modelConsumer
	sent      Value
}

// modelProducer sends in order. What is under way is at the head of its queue.
type modelProducer struct {
	id       int32
	delivery Delivery
	queue    []*modelSend
	answered int // of the queue's head: these are in the log, and their answer is on the way
	ops      []*Op
}

type modelSend struct {
	op *Op
	at int64 // in the log; Nowhere if it is not, as far as an idempotent producer's partition knows
}

type modelConsumer struct {
	id   int32
	next int64
	free time.Duration // until then it is busy
	ops  []*Op
}

const (
	modelProducers = 4
	modelConsumers = 3
	modelJitter    = 20 // milliseconds
)

// legal returns a history of so many steps.
func legal(seed uint64, steps int) *History {
	m := &model{rng: rand.New(rand.NewPCG(seed, 1)), now: time.Second, epoch: 1}
	m.h.Partitions = []Partition{{Topic: "t"}}
	for i := range modelProducers {
		d := Delivery(i % 3)
		m.producers = append(m.producers, &modelProducer{id: int32(i), delivery: d})
		m.h.Clients = append(m.h.Clients, Process{Delivery: d})
	}
	for i := range modelConsumers + 1 { // one of them drains in the end
		m.consumers = append(m.consumers, &modelConsumer{id: int32(modelProducers + i)})
		m.h.Clients = append(m.h.Clients, Process{})
	}
	for range steps {
		m.now += time.Millisecond
		m.step()
	}
	for _, p := range m.producers {
		for len(p.queue) > 0 {
			m.deliver(p)
			m.answer(p)
		}
	}
	for range 2 {
		m.drain(m.consumers[modelConsumers])
	}
	for _, p := range m.producers {
		for _, op := range p.ops {
			m.h.Ops = append(m.h.Ops, *op)
		}
	}
	for _, c := range m.consumers {
		for _, op := range c.ops {
			m.h.Ops = append(m.h.Ops, *op)
		}
	}
	return &m.h
}

func (m *model) jitter() time.Duration {
	return time.Duration(1 + m.rng.Int64N(int64(modelJitter*time.Millisecond)))
}

func (m *model) step() {
	p := m.producers[m.rng.IntN(modelProducers)]
	c := m.consumers[m.rng.IntN(modelConsumers)]
	switch n := m.rng.IntN(1000); {
	case n < 300:
		m.send(p)
	case n < 500:
		m.deliver(p)
	case n < 700:
		m.answer(p)
	case n < 850:
		m.poll(c)
	case n < 950:
		m.ask(c)
	case n < 970:
		m.seek(c)
	case n < 975:
		m.start = min(int64(len(m.log)), m.start+m.rng.Int64N(20))
	case n < 985:
		m.fault()
	case n < 990: // it gives up what it has not begun with
		if n := len(p.queue); n > p.answered {
			p.queue = p.queue[:n-1]
		}
	}
}

func (m *model) send(p *modelProducer) {
	m.sent++
	op := &Op{Kind: Send, Client: p.id, Invoke: m.now, Complete: Never, Value: m.sent, Offset: Nowhere, Time: 1000 + m.rng.Int64N(1000)}
	p.ops = append(p.ops, op)
	if m.rng.IntN(30) == 0 {
		op.Outcome, op.Complete = Failed, m.now+m.jitter()
		return
	}
	p.queue = append(p.queue, &modelSend{op, Nowhere})
}

// deliver appends some of what is at the head of the queue.
func (m *model) deliver(p *modelProducer) {
	if p.answered > 0 && p.delivery != ExactlyOnce {
		return // one request at a time
	}
	for range 1 + m.rng.IntN(5) {
		if p.answered == len(p.queue) {
			return
		}
		s := p.queue[p.answered]
		p.answered++
		if s.at == Nowhere || p.delivery != ExactlyOnce {
			s.at = int64(len(m.log))
			m.log = append(m.log, Record{s.at, s.op.Value, s.op.Time, m.epoch})
		}
	}
}

// answer tells the producer of all that it has under way.
func (m *model) answer(p *modelProducer) {
	for _, s := range p.queue[:p.answered] {
		if p.delivery != AtMostOnce {
			s.op.Outcome, s.op.Offset, s.op.Complete = OK, s.at, m.now+m.jitter()
		}
	}
	p.queue, p.answered = p.queue[p.answered:], 0
}

// fault kills, stops or holds the broker. Answers that are under way are lost, or come late.
func (m *model) fault() {
	kind := []Kind{Kill, Stop, Pause}[m.rng.IntN(3)]
	op := Op{Kind: kind, Outcome: OK, Client: Nowhere, Partition: Nowhere, Offset: Nowhere, Invoke: m.now}
	m.now += m.jitter()
	op.Complete = m.now
	m.h.Ops = append(m.h.Ops, op)
	if !kind.restarts() {
		return
	}
	m.epoch++
	for _, p := range m.producers {
		if p.delivery == AtMostOnce { // what was under way may be lost
			p.queue = p.queue[min(len(p.queue), p.answered+m.rng.IntN(3)):]
		}
		p.answered = 0 // it sends all of it again
	}
}

// begin makes an operation of a consumer that the broker does now.
func (m *model) begin(c *modelConsumer, k Kind) *Op {
	op := &Op{Kind: k, Outcome: OK, Client: c.id, Epoch: Nowhere, Offset: Nowhere, HighWatermark: Nowhere, LogStart: Nowhere}
	m.now = max(m.now, c.free)
	op.Invoke = max(c.free, m.now-m.jitter())
	op.Complete = m.now + m.jitter()
	c.free = op.Complete
	c.ops = append(c.ops, op)
	return op
}

func (m *model) poll(c *modelConsumer) {
	op := m.begin(c, Poll)
	op.HighWatermark, op.LogStart = int64(len(m.log)), m.start
	explicit := m.rng.IntN(2) == 0
	if explicit {
		op.Offset = c.next
	}
	if c.next < m.start || c.next > op.HighWatermark {
		op.Offset, op.Outcome = c.next, OutOfRange
		c.next = m.start
		c.ops = append(c.ops, &Op{Kind: Seek, Outcome: OK, Client: c.id, Offset: Nowhere, Invoke: op.Complete, Complete: op.Complete})
		return
	}
	end := min(op.HighWatermark, c.next+1+m.rng.Int64N(30))
	op.Records = append(op.Records, m.log[c.next:end]...)
	c.next = end
}

func (m *model) ask(c *modelConsumer) {
	switch m.rng.IntN(3) {
	case 0:
		m.begin(c, Earliest).Offset = m.start
	case 1:
		op := m.begin(c, Latest)
		op.Offset, op.Epoch = int64(len(m.log)), m.epoch
	case 2:
		op := m.begin(c, ForTime)
		op.Time = 950 + m.rng.Int64N(1100)
		for _, r := range m.log[m.start:] {
			if r.Time >= op.Time {
				op.Offset = r.Offset
				break
			}
		}
	}
}

func (m *model) seek(c *modelConsumer) {
	op := m.begin(c, Seek)
	c.next = m.rng.Int64N(int64(len(m.log)) + 3)
	op.Offset = c.next
}

func (m *model) drain(c *modelConsumer) {
	op := m.begin(c, Drain)
	m.begin(c, Earliest).Offset = m.start
	m.begin(c, Seek).Offset = m.start
	for c.next = m.start; c.next < int64(len(m.log)); {
		m.poll(c)
	}
	op.Offset, op.Complete = c.next, c.free
}
