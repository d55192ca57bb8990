package server

import "time"

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

// widen makes the inbox a large one for a request of that size and those behind it, if that takes no waiting.
func (c *conn) widen(whole int) {
	if c.wide != nil || whole > wideInbox/2 {
		return
	}
	if c.wide = c.server.budget.claimAtOnce(wideInbox); c.wide != nil {
		c.in.widen(c.server.buffers.get(wideInbox))
	}
}

// narrow gives the large inbox back, if there is one and what waits in it fits a small one.
func (c *conn) narrow() {
	if c.wide != nil && c.in.Buffered() <= readBuffer {
		c.server.buffers.put(c.in.narrow())
		c.wide.release()
		c.wide = nil
	}
}

// gather waits until n bytes are in the large inbox, which they stay in.
func (c *conn) gather(n int) ([]byte, error) {
	err := c.paced(n, c.in.Buffered, func() error { return c.in.fill(n) })
	if err != nil {
		return nil, err
	}
	return c.in.Peek(n)
}

// readBody reads n bytes into a buffer that grows as they come.
func (c *conn) readBody(n int) (*buffer, error) {
	buf, got := c.server.buffers.get(min(n, firstStep)), 0
	err := c.paced(n, func() int { return got }, func() error {
		if got == len(buf.b) {
			larger := c.server.buffers.get(min(n, got*stepFactor))
			copy(larger.b, buf.b)
			c.server.buffers.put(buf)
			buf = larger
		}
		m, err := c.in.Read(buf.b[got:min(n, len(buf.b))])
		got += m
		return err
	})
	if err != nil {
		c.server.buffers.put(buf)
		return nil, err
	}
	return buf, nil
}

// paced reads until it has got n bytes, at the pace that is asked of those who hold memory.
func (c *conn) paced(n int, got func() int, read func() error) error {
	if got() >= n {
		return nil
	}
	began := c.server.now()
	last := began
	for had := got(); had < n; {
		now := c.server.now()
		if c.deadline <= now || c.deadline > now+lookEvery {
			c.readUntil(now + lookEvery)
		}
		if err := c.checkPace(had, n, now-began, now-last); err != nil {
			return err
		}
		err := read()
		switch more := got(); {
		case more > had:
			had, last = more, c.server.now()
		case err == nil || isTimeout(err):
		case isEOF(err):
			return errGoneEarly
		default:
			return err
		}
	}
	return nil
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
