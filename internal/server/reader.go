package server

import (
	"encoding/binary"
	"fmt"
	"time"

	"segue/protocol"
)

const (
	// headSize is how much of a frame is looked at before it is taken: its size, API key and version.
	headSize = protocol.PrefixSize + 4
	// shortestRequest is a request header without client id: key, version, correlation id.
	shortestRequest = 8
)

// head is what the first bytes of a frame say.
type head struct {
	row         *row
	size        int // of the frame, without its prefix
	unsupported bool
}

// readRequests takes one request after the other. It returns why it stopped, never nil.
func (c *conn) readRequests() error {
	for {
		h, err := c.readHead()
		if err != nil {
			return err
		}
		if err := c.awaitTurn(h); err != nil {
			return err
		}
		calls, err := c.readRequest(h)
		if err != nil {
			return err
		}
		for _, k := range calls {
			c.enqueue(k)
		}
		clear(calls)
		c.together = calls[:0]
		if h.row.Barrier {
			if err := c.awaitAnswers(); err != nil {
				return err
			}
		}
	}
}

// readHead waits for the next frame and judges it by its first bytes, which stay in the buffer.
func (c *conn) readHead() (head, error) {
	b, err := c.peek(protocol.PrefixSize)
	if err != nil {
		return head{}, err
	}
	if _, err := c.frameSize(b); err != nil {
		return head{}, err
	}
	if b, err = c.peek(headSize); err != nil {
		return head{}, err
	}
	return c.judge(b)
}

// frameSize returns the size of a frame, by its prefix, if it is one that a request can have.
func (c *conn) frameSize(b []byte) (int, error) {
	size, err := protocol.FrameSize([protocol.PrefixSize]byte(b), c.server.config.MaxRequestBytes)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errFault, err)
	}
	if size < shortestRequest {
		return 0, fmt.Errorf("%w: frame of %d bytes cannot hold a request header", errFault, size)
	}
	return size, nil
}

// judge judges a frame by its first headSize bytes.
func (c *conn) judge(b []byte) (head, error) {
	size, err := c.frameSize(b)
	if err != nil {
		return head{}, err
	}
	key := int16(binary.BigEndian.Uint16(b[protocol.PrefixSize:]))
	version := int16(binary.BigEndian.Uint16(b[protocol.PrefixSize+2:]))
	h := head{row: c.server.table.row(key), size: size}
	switch {
	case h.row == nil:
		return h, c.refuse(size, "API key %d (version %d) is not known to this broker", key, version)
	case version < h.row.Min || version > h.row.Max:
		if key != apiVersionsKey {
			return h, c.refuse(size, "%v version %d is not supported, %d to %d are", h.row, version, h.row.Min, h.row.Max)
		}
		h.unsupported = true
	}
	if c.authenticate && !h.row.Open && c.client.Principal() == "" {
		return h, c.refuse(size, "%v version %d before authentication", h.row, version)
	}
	if int64(size) > int64(h.row.MaxFrame) {
		return h, c.refuse(size, "%v version %d with %d bytes, at most %d are allowed", h.row, version, size, h.row.MaxFrame)
	}
	return h, nil
}

// refuse returns the error for a request that is not even read. Its client id, which the log line is to name, is
// taken from the buffer if it has come already: it stands at the same place in every header that has one.
func (c *conn) refuse(size int, format string, args ...any) error {
	const at = headSize + 4 + 2
	if b, err := c.in.Peek(min(protocol.PrefixSize+size, c.in.Buffered())); err == nil && len(b) >= at {
		n := int(int16(binary.BigEndian.Uint16(b[at-2:])))
		if n >= 0 && at+n <= len(b) {
			id := string(b[at : at+n])
			c.client.setClientID(&id)
		}
	}
	return fmt.Errorf("%w: %w", errFault, fmt.Errorf(format, args...))
}

// awaitTurn waits until the request may be taken: the queue has room, what a Begin must not overtake is answered, and
// the client is not muted. It comes before any memory is reserved, so that nothing of this holds memory.
func (c *conn) awaitTurn(h head) error {
	ready := func() bool { return c.hasRoom(h) && (h.row.Begin == nil || c.ordered.Load() == 0) }
	if err := c.await(c.progress, ready); err != nil {
		return err
	}
	for c.ctx.Err() == nil {
		d := time.Duration(c.mutedUntil.Load()) - c.server.now()
		if d <= 0 {
			break
		}
		if err := c.pause(nil, d); err != nil {
			return err
		}
	}
	return nil
}

// hasRoom tells whether the queue takes one more. As the reader alone adds to it, it stays so.
func (c *conn) hasRoom(h head) bool {
	n := int(c.unanswered.Load())
	return n == 0 || n < c.server.config.QueueDepth && c.queued.Load() < ownMemory && (h.row.Begin != nil || h.size <= readBuffer)
}

// readRequest reads the frame and makes a call of it, if somebody is there to answer to. A request for Begin may take others
// behind it along. The calls are to be enqueued; nothing refers to the bytes of their frames any more.
//
// As long as memory is plenty, a request for Begin comes through a wide inbox, together with those behind it. Otherwise
// a body that does not fit the connection's buffer is reserved, along with the most that decoding it can take, once
// the buffer is full: who sends nothing, or a byte a second, holds no memory but his own. Bodies of usual size that are
// for Begin and have arrived have a budget of their own, which nobody can hold by being slow; so they do not wait behind
// those who are.
func (c *conn) readRequest(h head) ([]*call, error) {
	whole := protocol.PrefixSize + h.size
	if h.row.Query && c.ctx.Err() != nil {
		return nil, c.skip(whole)
	}
	if h.row.Begin != nil && whole > readBuffer {
		c.widen(whole)
	}
	var b []byte
	var err error
	if c.wide != nil && whole <= len(c.in.b) {
		b, err = c.gather(whole)
	} else {
		b, err = c.peek(min(whole, readBuffer))
	}
	switch {
	case err != nil:
		return nil, err
	case whole > len(b):
		return c.readReserved(h)
	case h.row.Begin == nil:
		k, err := c.decode(h, b[protocol.PrefixSize:], nil)
		c.in.Discard(whole) // was peeked, cannot fail
		return append(c.together[:0], k), err
	}
	calls, size, err := c.openAll(h)
	if err == nil {
		err = c.begin(calls)
	}
	c.in.Discard(size)
	return calls, err
}

// readReserved is readRequest for what memory has to be reserved for.
func (c *conn) readReserved(h head) ([]*call, error) {
	size := int64(bufferSize(h.size))
	if h.row.Begin == nil {
		size += int64(protocol.MeasureLimit(h.size))
	}
	budget := c.server.budget
	if h.row.Begin != nil && size <= promptBody && c.hasArrived(protocol.PrefixSize+h.size) {
		budget = c.server.prompt
	}
	claim := budget.claim(size, nil) // readBody sees to the client's pace
	kept := false
	defer func() {
		if !kept {
			claim.release()
		}
	}()
	if err := c.awaitClaim(claim); err != nil {
		return nil, err
	}
	if _, err := c.in.Discard(protocol.PrefixSize); err != nil {
		return nil, err // was peeked, cannot fail
	}
	body, err := c.readBody(h.size)
	if err != nil {
		return nil, err
	}
	defer c.server.buffers.put(body)
	if h.row.Begin != nil {
		k, err := c.open(h, body.b[:h.size])
		if err != nil {
			h.row.counts.errors.Add(1)
			return nil, err
		}
		calls := append(c.together[:0], k)
		return calls, c.begin(calls)
	}
	k, err := c.decode(h, body.b[:h.size], claim)
	if err != nil {
		return nil, err
	}
	kept = k.decoded == claim
	return append(c.together[:0], k), nil
}

// open makes a call of a frame.
func (c *conn) open(h head, frame []byte) (*call, error) {
	k := &call{row: h.row}
	r := &k.request
	r.Client, r.Received, r.Unsupported, r.Stopping = c.client, time.Now(), h.unsupported, c.server.stopping
	var err error
	if r.Header, r.Body, err = protocol.ParseHeader(frame); err != nil {
		return nil, fmt.Errorf("%w: %w", errFault, err)
	}
	c.client.setClientID(r.ClientID)
	c.touch()
	h.row.counts.requests.Add(1)
	h.row.counts.bytesIn.Add(uint64(protocol.PrefixSize + len(frame)))
	if h.row.Begin != nil && h.row.Cost != nil {
		k.need = int64(h.row.Cost(r, 0))
	}
	return k, nil
}

// openAll makes calls of the request at the front of the inbox and of those behind it that have come whole, are for the same
// row and find room in the queue; what is wrong with another is met when its turn comes. It returns how many bytes they are.
func (c *conn) openAll(h head) (calls []*call, size int, err error) {
	calls = c.together[:0]
	row, weight := h.row, int64(0)
	for {
		frame := c.in.b[c.in.begin+size+protocol.PrefixSize:][:h.size]
		k, err := c.open(h, frame)
		if err != nil && size > 0 {
			break
		}
		if err != nil {
			row.counts.errors.Add(1)
			return nil, 0, err
		}
		calls, size, weight = append(calls, k), size+protocol.PrefixSize+h.size, weight+k.need
		if len(calls) == mostTogether || int(c.unanswered.Load())+len(calls) >= c.server.config.QueueDepth || c.queued.Load()+weight >= ownMemory {
			break
		}
		rest := c.in.b[c.in.begin+size : c.in.end]
		if len(rest) < headSize {
			break
		}
		if h, err = c.judge(rest); err != nil || h.row != row || len(rest) < protocol.PrefixSize+h.size {
			break
		}
	}
	return calls, size, nil
}

// begin has calls of one row take effect, when there is memory for what that leaves behind.
func (c *conn) begin(calls []*call) error {
	begun := false
	defer func() {
		for _, k := range calls {
			if !begun { // also where Begin panics
				k.row.counts.errors.Add(1)
				k.work.release()
			}
		}
	}()
	requests := c.requests[:0]
	for _, k := range calls {
		if k.need <= ownMemory {
			k.weight = k.need
		} else if err := c.claimWork(k); err != nil {
			return err
		} else if err := c.awaitClaim(k.work); err != nil {
			return err
		}
		k.begun = k.request.Received
		requests = append(requests, &k.request)
	}
	pendings := calls[0].row.Begin(c.ctx, requests)
	begun = true
	for i, k := range calls {
		k.pending, k.request.Body = pendings[i], nil
	}
	clear(requests)
	c.requests = requests
	return nil
}

// decode makes a call of a frame and decodes its request, when there is memory for it: what is left of the claim for its
// body, if it has one, else another claim if it is not small.
func (c *conn) decode(h head, frame []byte, claim *claim) (*call, error) {
	k, err := c.open(h, frame)
	if err != nil {
		h.row.counts.errors.Add(1)
		return nil, err
	}
	r := &k.request
	body := r.Body
	r.Body = nil
	if h.unsupported {
		return k, nil
	}
	sound := false
	defer func() {
		if !sound {
			h.row.counts.errors.Add(1)
			if k.decoded != claim {
				k.decoded.release()
			}
		}
	}()
	measured, err := protocol.Measure(r.Header, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFault, err)
	}
	size := int64(measured.Size)
	switch limit := c.server.budget.size; {
	case size > limit:
		return nil, fmt.Errorf("%w: %v version %d would take %d bytes of memory, requests have %d in all", errFault, k.row, r.Version, size, limit)
	case size <= ownMemory:
		k.weight = size
	case claim == nil:
		k.decoded = c.server.budget.claim(size, c)
		if err := c.awaitClaim(k.decoded); err != nil {
			return nil, err
		}
	}
	if r.Message, err = measured.Decode(); err != nil {
		return nil, fmt.Errorf("%w: %w", errFault, err)
	}
	k.need = HandlingFactor * size
	if k.row.Cost != nil {
		k.need = int64(k.row.Cost(r, measured.Size))
	}
	if err := c.affordable(k); err != nil {
		return nil, err
	}
	if claim != nil && size > ownMemory {
		claim.keep(size, c)
		k.decoded = claim
	}
	sound = true
	return k, nil
}

// affordable refuses a call that no amount of waiting would find the memory for.
func (c *conn) affordable(k *call) error {
	if limit := c.server.work.size; k.need > limit {
		return fmt.Errorf("%w: answering %v version %d would take %d bytes of memory, answers have %d in all; ask for less at a time",
			errFault, k.row, k.request.Version, k.need, limit)
	}
	return nil
}

// claimWork claims the memory that handling takes.
func (c *conn) claimWork(k *call) error {
	if err := c.affordable(k); err != nil {
		return err
	}
	k.work = c.server.work.claim(k.need, c)
	return nil
}

// enqueue hands a call to the writer.
func (c *conn) enqueue(k *call) {
	c.unanswered.Add(1)
	c.queued.Add(k.weight)
	if !k.row.pipelined() {
		c.ordered.Add(1)
	}
	c.startWriter()
	c.calls <- k
}

// peek waits until n bytes are in the buffer, which they stay in. While nothing is in flight it waits no longer than
// the idle timeout.
func (c *conn) peek(n int) ([]byte, error) {
	for {
		if c.in.Buffered() < n {
			c.narrow()
			if err := c.checkIdle(); err != nil {
				return nil, err
			}
			if c.mayRest() {
				return nil, errResting
			}
		}
		b, err := c.in.Peek(n)
		switch {
		case err == nil:
			return b, nil
		case isTimeout(err):
		case isEOF(err) && len(b) == 0:
			return nil, errGone
		case isEOF(err):
			return nil, errGoneEarly
		default:
			return nil, err
		}
	}
}

// checkIdle says whether the reader may go on to wait for bytes, and sees to it that it is asked again in time. The
// socket's deadline is left alone as long as it is not too late: to move it at every request would be wasted.
func (c *conn) checkIdle() error {
	limit := c.server.config.IdleTimeout
	now := c.server.now()
	idle := c.idle(now)
	if limit > 0 && idle >= limit {
		return errIdle
	}
	due := now + limit - idle
	if rest := now + c.server.restAfter - idle; rest > now && (limit <= 0 || rest < due) {
		due = rest
	} else if limit <= 0 {
		due = 0
	}
	if c.deadline <= now || due > 0 && c.deadline > due {
		c.readUntil(due)
	}
	if c.isStopping() {
		return errStopping
	}
	return nil
}

// idle returns for how long nothing has happened.
func (c *conn) idle(now time.Duration) time.Duration {
	if c.unanswered.Load() > 0 {
		return 0
	}
	return now - time.Duration(c.lastActive.Load())
}

// readUntil sets the deadline for reading, on the server's clock; 0 is none. A stop sets it too: who sets it asks
// isStopping before the next read, or the stop might be missed.
func (c *conn) readUntil(t time.Duration) {
	if t == c.deadline {
		return
	}
	c.deadline = t
	at := time.Time{}
	if t > 0 {
		at = c.server.epoch.Add(t)
	}
	c.socket.SetReadDeadline(at)
}

func (c *conn) isStopping() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}
