package server

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
)

// writeAnswers runs the calls in order and sends their answers, until the reader closes the queue. Answers that are ready
// one behind the other are sent together: what is encoded and not sent yet does not wait for anything but the encoding
// of others. Calls that are left when the client has gone still run: see the package comment. Only a halt of the server
// drops them.
func (c *conn) writeAnswers(calls <-chan *call) {
	for k := range calls {
		if c.server.ctx.Err() == nil {
			err := guarded(func() error { return c.answer(k) })
			if err != nil || len(calls) == 0 {
				if sendErr := c.sendOut(); err == nil {
					err = sendErr
				}
			}
			if err != nil {
				c.failed(k, err)
			}
		}
		c.finished(k)
	}
	c.out.release(&c.server.buffers)
}

// answer runs a call, unless it was begun, waits for its outcome and sends the answer.
func (c *conn) answer(k *call) error {
	if k.row.Query && c.ctx.Err() != nil {
		return nil // nobody is there to hear it
	}
	if !k.ready() {
		if err := c.sendOut(); err != nil {
			return err
		}
	}
	counts := &k.row.counts
	began := k.begun
	if began.IsZero() {
		began = time.Now()
	}
	counts.queue.observe(began.Sub(k.request.Received))

	if err := c.awaitWork(k); err != nil {
		return err
	}
	if err := c.enterHeavy(k); err != nil {
		return err
	}
	defer c.leaveHeavy(k)
	response, err := k.run(c.ctx)
	response, mute := unthrottle(response)
	if response != nil {
		defer response.Release()
	}
	ready := time.Now()
	counts.handle.observe(ready.Sub(began))
	if err != nil {
		return &handlerError{k.row, k.request.Version, err}
	}
	if s, ok := response.(sized); ok && c.ctx.Err() == nil {
		if err := c.awaitSize(k, s.bytes); err != nil {
			return err
		}
	}
	if response != nil && c.ctx.Err() == nil {
		n, err := c.transmit(k, response)
		counts.bytesOut.Add(uint64(n))
		if err != nil {
			return err
		}
		counts.send.observe(time.Since(ready))
	}
	if until := int64(c.server.now() + mute); mute > 0 && until > c.mutedUntil.Load() {
		c.mutedUntil.Store(until)
	}
	return nil
}

// awaitWork waits for the memory that handling takes, if it is more than a little and Begin has not had it. That the
// client has gone does not end the wait: the request takes effect all the same. It is bounded, as nobody may hold
// what others wait for.
func (c *conn) awaitWork(k *call) error {
	if k.need <= ownMemory || k.work != nil {
		return nil
	}
	if err := c.claimWork(k); err != nil {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !k.work.isGranted() {
		select {
		case <-k.work.granted:
		case <-tick.C:
			k.work.evict()
		case <-c.server.ctx.Done():
			return context.Cause(c.server.ctx)
		}
	}
	return nil
}

// awaitSize waits for the memory that an answer takes, if it turned out larger than was claimed. What was claimed is given
// back first: who waits for more while he holds some may wait for ever.
func (c *conn) awaitSize(k *call, bytes int64) error {
	if bytes <= max(k.need, ownMemory) {
		return nil
	}
	k.work.release()
	k.work, k.need = nil, bytes
	return c.awaitWork(k)
}

// enterHeavy waits until no more than some of the processors work on queries that cost much.
func (c *conn) enterHeavy(k *call) error {
	if !k.row.Query || k.row.Pipelined || k.need <= ownMemory {
		return nil
	}
	select {
	case c.server.heavy <- struct{}{}:
		k.heavy = true
		return nil
	case <-c.server.ctx.Done():
		return context.Cause(c.server.ctx)
	}
}

// leaveHeavy comes when the answer is ready to be sent: how fast the client takes it is no longer a processor's business.
func (c *conn) leaveHeavy(k *call) {
	if k.heavy {
		k.heavy = false
		<-c.server.heavy
	}
}

// run returns the answer to a call.
func (k *call) run(ctx context.Context) (Response, error) {
	switch {
	case k.row.Begin == nil:
		return k.row.Handle(ctx, &k.request)
	case k.pending != nil:
		return k.pending.Answer(ctx)
	}
	return nil, nil
}

// ready tells whether run would return without waiting.
func (k *call) ready() bool { return k.row.Begin != nil && (k.pending == nil || k.pending.Ready()) }

// failed ends the connection for an answer that could not be had or sent. Where the context has ended before, that
// is no wonder, and the reader is left to take what the client had sent.
func (c *conn) failed(k *call, err error) {
	if errors.As(err, new(*panicked)) || errors.As(err, new(*handlerError)) {
		k.row.counts.errors.Add(1)
	}
	if c.ctx.Err() != nil && !errors.As(err, new(*panicked)) {
		c.event(zerolog.DebugLevel).Err(err).Msg("request of a client that has gone")
		return
	}
	c.report(err)
	c.abort(err)
}

// finished takes a call off the books and tells the reader.
func (c *conn) finished(k *call) {
	c.touch()
	k.decoded.release()
	k.work.release()
	c.queued.Add(-k.weight)
	if !k.row.pipelined() {
		c.ordered.Add(-1)
	}
	c.unanswered.Add(-1)
	select {
	case c.progress <- struct{}{}:
	default:
	}
}
