package server

import "runtime/debug"

// This file lets connections rest that nothing happens on. One that rests has neither a writer nor a buffer until bytes
// come, which is most of what an idle connection takes.

// startWriter starts the writer unless it runs. The reader alone starts and ends it.
func (c *conn) startWriter() {
	if c.calls == nil {
		calls := make(chan *call, c.server.config.QueueDepth)
		c.calls = calls
		c.writer.Go(func() { c.writeAnswers(calls) })
	}
}

// endWriter has the writer finish what it was given and waits for it.
func (c *conn) endWriter() {
	if c.calls != nil {
		close(c.calls)
		c.calls = nil
	}
	c.writer.Wait()
}

// mayRest tells whether it is time to rest. The reader asks before it waits for bytes, after checkIdle, which sees to it that
// it asks in time.
func (c *conn) mayRest() bool {
	return c.raw != nil && c.in.Buffered() == 0 && c.idle(c.server.now()) >= c.server.restAfter
}

// rest lets go of what only a busy connection needs. Nothing is in flight. Every so many connections that do so, memory
// goes back to the system: a broker with nothing to do would not collect what they have left for minutes.
func (c *conn) rest() {
	c.endWriter()
	c.in.drop()
	c.together, c.requests = nil, nil
	c.resting = true
	if c.server.rested.Add(1)%restsToTrim == 0 {
		debug.FreeOSMemory()
	}
}

// rouse waits for the first byte if the connection rests, and gives it its buffer back. It returns why none will come.
func (c *conn) rouse() error {
	if !c.resting {
		return nil
	}
	err := c.awaitFirst()
	c.in.restore(readBuffer) // with an error too: a goodbye reads
	c.resting = false
	c.touch() // what has come is read before the next rest
	return err
}

// awaitFirst waits until there is something to read.
func (c *conn) awaitFirst() error {
	for {
		if err := c.checkIdle(); err != nil {
			return err
		}
		if err := awaitBytes(c.raw); !isTimeout(err) {
			return err
		}
	}
}
