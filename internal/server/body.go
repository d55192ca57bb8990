package server

import (
	"time"

	"segue/protocol"
)

// readLarge is readRequest for what needs the claim. The claim goes over to the call where that keeps it.
func (c *conn) readLarge(h head, claim *claim) (*call, error) {
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
	return c.start(h, body.b[:h.size], claim)
}

// hasArrived waits for a short while for the rest of a request to arrive in the socket, and tells whether it has.
func (c *conn) hasArrived(whole int) bool {
	if c.raw == nil || c.server.config.ReceiveBuffer > 0 && c.server.config.ReceiveBuffer < 4*promptBody {
		return false
	}
	c.readUntil(c.server.now() + promptTime)
	return !c.isStopping() && awaitArrival(c.raw, whole-c.in.Buffered()) == nil
}

// skip passes over a request of a client that has gone.
func (c *conn) skip(whole int) error {
	for whole > 0 {
		if err := c.checkIdle(); err != nil {
			return err
		}
		n, err := c.in.Discard(min(whole, readBuffer))
		whole -= n
		switch {
		case err == nil, isTimeout(err):
		case isEOF(err):
			return errGoneEarly
		default:
			return err
		}
	}
	return nil
}

// readBody reads n bytes into a buffer that grows as they come, at the pace that is asked of those who hold memory.
func (c *conn) readBody(n int) (*buffer, error) {
	s := c.server
	buf := s.buffers.get(min(n, firstStep))
	began := s.now()
	last := began
	for got := 0; got < n; {
		if got == len(buf.b) {
			larger := s.buffers.get(min(n, got*stepFactor))
			copy(larger.b, buf.b)
			s.buffers.put(buf)
			buf = larger
		}
		now := s.now()
		if c.deadline <= now || c.deadline > now+lookEvery {
			c.readUntil(now + lookEvery)
		}
		m, err := 0, c.checkPace(got, n, now-began, now-last)
		if err == nil {
			m, err = c.in.Read(buf.b[got:min(n, len(buf.b))])
		}
		switch {
		case m > 0:
			got += m
			last = s.now()
		case err == nil || isTimeout(err):
		default:
			s.buffers.put(buf)
			if isEOF(err) {
				err = errGoneEarly
			}
			return nil, err
		}
	}
	return buf, nil
}

// checkPace says whether a body may go on to arrive as it does: got of its size bytes in so long, the last of them that
// long ago.
func (c *conn) checkPace(got, size int, elapsed, still time.Duration) error {
	switch {
	case c.isStopping():
		return errStopping
	case c.server.budget.contended() && elapsed > paceGrace &&
		float64(got) < max(minPace, float64(size)/bodyTime.Seconds())*(elapsed-paceGrace).Seconds():
		return errDawdled
	case c.server.config.IdleTimeout > 0 && still >= c.server.config.IdleTimeout && c.unanswered.Load() == 0:
		return errIdle
	}
	return nil
}
