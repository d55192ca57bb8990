package history

import (
	"sync"
	"time"
)

// Recorder takes down a history. It is safe for concurrent use.
type Recorder struct {
	begun time.Time

	mu         sync.Mutex
	partitions []Partition
	numbers    map[Partition]int32
	processes  []Process
	clients    []*Client
	broker     *Client
	transforms []Transform
	txns       int32
}

// NewRecorder returns a recorder whose clock begins now.
func NewRecorder() *Recorder {
	r := &Recorder{begun: time.Now(), numbers: map[Partition]int32{}}
	r.broker = &Client{recorder: r, id: Nowhere}
	return r
}

// Now is the time by the recorder's clock, which never goes back.
func (r *Recorder) Now() time.Duration { return time.Since(r.begun) }

// Partition returns the number by which operations name the partition.
func (r *Recorder) Partition(p Partition) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.numbers[p]
	if !ok {
		n = int32(len(r.partitions))
		r.numbers[p] = n
		r.partitions = append(r.partitions, p)
	}
	return n
}

// Client returns the book of a new client.
func (r *Recorder) Client(name string, d Delivery) *Client {
	return r.client(Process{Name: name, Delivery: d})
}

// Transactional returns the book of a new client with a transactional id.
func (r *Recorder) Transactional(name, id string) *Client {
	return r.client(Process{Name: name, Delivery: ExactlyOnce, TransactionalID: id})
}

func (r *Recorder) client(p Process) *Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &Client{recorder: r, id: int32(len(r.clients))}
	r.clients = append(r.clients, c)
	r.processes = append(r.processes, p)
	return c
}

// Transaction returns the number of a new transaction. Operations are in it that name it.
func (r *Recorder) Transaction() int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.txns++
	return r.txns
}

// Transform notes that what is committed to one topic is made into records of the other, each once.
func (r *Recorder) Transform(from, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.transforms = append(r.transforms, Transform{from, to})
}

// Fault notes that something begins to happen to the broker: Kill, Stop, Pause or Overload. It is over with Pending.End.
func (r *Recorder) Fault(k Kind) Pending {
	return r.broker.Begin(Op{Kind: k, Partition: Nowhere, Offset: Nowhere})
}

// History returns what has been noted so far. The operations that have not ended are Unknown, until Never.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &History{
		Partitions: append([]Partition(nil), r.partitions...),
		Clients:    append([]Process(nil), r.processes...),
		Transforms: append([]Transform(nil), r.transforms...),
	}
	for _, c := range append([]*Client{r.broker}, r.clients...) {
		h.Ops = c.appendTo(h.Ops)
	}
	return h
}

// Client is the book of one client. Begin and Add are for one goroutine at a time; operations may end in any.
type Client struct {
	recorder *Recorder
	id       int32

	mu     sync.Mutex
	chunks []*[chunkOps]Op
	count  int
}

// chunkOps is how many operations are allocated at a time. They stay where they are.
const chunkOps = 512

// ID returns the number by which operations name the client.
func (c *Client) ID() int32 { return c.id }

// Begin notes that an operation begins. Its Invoke is now, if it is 0.
func (c *Client) Begin(op Op) Pending {
	if op.Invoke == 0 {
		op.Invoke = c.recorder.Now()
	}
	op.Client, op.Outcome, op.Complete = c.id, Unknown, Never
	return c.append(op)
}

// Add notes an operation that has just ended, and which the client filled in but for Client and Complete.
func (c *Client) Add(op Op) {
	op.Client, op.Complete = c.id, c.recorder.Now()
	c.append(op)
}

func (c *Client) append(op Op) Pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.count % chunkOps
	if at == 0 {
		c.chunks = append(c.chunks, new([chunkOps]Op))
	}
	o := &c.chunks[len(c.chunks)-1][at]
	*o = op
	c.count++
	return Pending{c, o}
}

func (c *Client) appendTo(ops []Op) []Op {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, chunk := range c.chunks {
		ops = append(ops, chunk[:min(chunkOps, c.count-i*chunkOps)]...)
	}
	return ops
}

// Pending is an operation that has begun.
type Pending struct {
	client *Client
	op     *Op
}

// End notes what came of it. An operation whose outcome is Unknown may still happen later, and does not end.
func (p Pending) End(outcome Outcome, offset int64) {
	now := p.client.recorder.Now()
	p.client.mu.Lock()
	defer p.client.mu.Unlock()
	p.op.Outcome, p.op.Offset = outcome, offset
	if outcome != Unknown {
		p.op.Complete = now
	}
}
