package coordinator

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"segue/partition"
	"segue/storage/record"
)

// tenure is a shard's time with one machine: from the end of a load until the shard ends, or until the machine and the
// log part.
type tenure[In any] struct {
	*shard[In]
	machine Machine[In]
	epoch   int32
	bell    *partition.Waiter

	batch     batch
	last, end record.Offset // of the batch appended last; what is gathered comes behind it
	committed record.Offset // as far as was heard
	watching  bool          // the bell will ring when more is

	waiting  map[Token]*request[In] // that the machine has not replied to
	handling Token                  // the command that the machine is at; 0 for none
	held     held[In]

	timer    *time.Timer
	deadline time.Time // when the machine wants Expire; zero for never
	alarm    time.Time // when the timer fires, which is not after the deadline; zero for never
}

// serve serves with a machine that has applied the log up to end. It returns nil when the shard is to end, and else why
// the machine is good for nothing any more, with everybody who waited told so.
func (s *shard[In]) serve(m Machine[In], end record.Offset) error {
	t := &tenure[In]{
		shard: s, machine: m, epoch: s.log.LeaderEpoch(), bell: partition.NewWaiter(), last: end, end: end, committed: end,
		waiting: make(map[Token]*request[In]), timer: time.NewTimer(math.MaxInt64),
	}
	defer t.timer.Stop()
	defer s.log.Unwatch(t.bell)
	err := t.run()
	if err != nil {
		t.fail(err)
	}
	return err
}

// run is the loop of a tenure. A panic of the machine is an error like another: whatever state it was in is thrown away.
func (t *tenure[In]) run() (err error) {
	defer func() {
		if r := recover(); r != nil {
			t.runtime.counters.panics.Add(1)
			cause := fmt.Errorf("the machine panicked: %v", r)
			t.blame(t.handling, ErrPanicked, cause)
			err = fmt.Errorf("%w\n%s", cause, debug.Stack())
		}
	}()
	t.log.Watch(t.bell, math.MaxInt64, false) // for as long as the partition lives
	if err := t.log.Ended(); err != nil {
		return err
	}
	now := time.Now()
	err = t.apply(now, 0, t.machine.Loaded(now))
	drain := t.drain
	for {
		if err == nil {
			err = t.advance()
		}
		if err != nil || drain == nil && t.idle() {
			return err
		}
		inbox := t.inbox
		if t.held.len() >= t.runtime.options.Held {
			inbox = nil
		}
		select {
		case q := <-inbox:
			err = t.gather(q)
		case <-t.bell.C():
			err = t.listen()
		case <-t.timer.C:
			err = t.expire()
		case <-drain:
			drain = nil
		case <-t.stop:
			return nil
		}
	}
}

// idle says that nothing is to be done any more for those who have asked, but for what the machine keeps.
func (t *tenure[In]) idle() bool {
	return t.held.len() == 0 && t.batch.count() == 0 && len(t.inbox) == 0
}

// advance appends what was gathered, if it is time, and gives the replies whose turn has come. Two batches may be under
// way: while one is being synced the other waits for the next sync. What comes then is gathered until the first is
// committed. Waiting for that with one under way would miss the next sync, and without a limit a busy shard would write
// a batch for each command, which are no sooner synced.
func (t *tenure[In]) advance() error {
	if t.committed >= t.last {
		if err := t.flush(); err != nil {
			return err
		}
	}
	t.held.release(t.committed, t.send)
	if t.end > t.committed && !t.watching {
		t.watching = true
		t.log.Watch(t.bell, t.committed, false)
	}
	return nil
}

// listen is called when the bell has rung: something was committed, or nothing more will be.
func (t *tenure[In]) listen() error {
	t.watching = false
	if high := t.log.Offsets().HighWatermark; high > t.committed {
		t.committed = high
		t.failures = 0
	}
	t.held.release(t.committed, t.send)
	return t.log.Ended()
}

// gather handles a command, and those that wait behind it.
func (t *tenure[In]) gather(q *request[In]) error {
	for n := 1; ; n++ {
		if err := t.handle(q); err != nil || n == cap(t.inbox) {
			return err
		}
		select {
		case q = <-t.inbox:
		default:
			return nil
		}
	}
}

func (t *tenure[In]) handle(q *request[In]) error {
	t.runtime.counters.commands.Add(1)
	t.tokens++
	t.waiting[t.tokens] = q
	in, marker := q.take()
	if marker != nil {
		return t.mark(q, *marker)
	}
	if err := t.checkGuard(in); err != nil {
		delete(t.waiting, t.tokens)
		q.answer <- answer{err: err}
		return nil
	}
	now := time.Now()
	t.handling = t.tokens
	e := t.machine.Handle(now, t.tokens, in)
	t.handling = 0
	return t.apply(now, t.tokens, e)
}

// expire is called when the timer has fired.
func (t *tenure[In]) expire() error {
	now, deadline := time.Now(), t.deadline
	t.alarm = time.Time{}
	if deadline.IsZero() || now.Before(deadline) {
		t.schedule(deadline) // it was moved, and the timer left as it was
		return nil
	}
	return t.apply(now, 0, t.machine.Expire(now))
}

// schedule has Expire called at a deadline. The timer is not set back for a deadline that has moved back, as with each
// heartbeat of many: it fires early instead, once in a while.
func (t *tenure[In]) schedule(deadline time.Time) {
	t.deadline = deadline
	if deadline.IsZero() || !t.alarm.IsZero() && !deadline.Before(t.alarm) {
		return
	}
	t.alarm = deadline
	t.timer.Reset(time.Until(deadline))
}

// apply takes in the effects of a command, 0 if it was none. Its records go into the batch, as a whole, and its replies
// wait for them and for all that was applied before.
func (t *tenure[In]) apply(now time.Time, command Token, e Effects) error {
	t.schedule(e.Deadline)
	if len(e.Records) > 0 {
		limit := t.runtime.options.BatchBytes
		if t.batch.count() > 0 && (e.Producer != nil || !t.batch.fits(e.Records, limit)) {
			if err := t.flush(); err != nil {
				return err
			}
		}
		t.batch.add(now.UnixMilli(), e.Records, e.Producer)
		if e.Producer != nil || t.batch.size() >= limit {
			err := t.flush()
			if isTooLarge(err) {
				t.blame(command, ErrTooLarge, err)
			}
			if err != nil {
				return err
			}
		}
	}
	for _, r := range e.Replies {
		t.reply(r)
	}
	for _, message := range e.Sends {
		t.held.push(heldReply[In]{next: t.gathered(), message: message})
	}
	return nil
}

// gathered is the end of the log as it will be with what was gathered.
func (t *tenure[In]) gathered() record.Offset { return t.end + record.Offset(t.batch.count()) }

// send hands a message to others.
func (t *tenure[In]) send(message any) { t.runtime.options.Send(t.index, message) }

// reply holds a reply back until its turn comes.
func (t *tenure[In]) reply(r Reply) {
	q := t.waiting[r.To]
	if q == nil {
		t.logger.Error().Uint64("token", uint64(r.To)).Msg("the machine replied to a request that does not wait")
		return
	}
	delete(t.waiting, r.To)
	t.held.push(heldReply[In]{t.gathered(), q, r.Message})
}

// blame tells the one whose command it was what will go wrong with it the next time too. The others may try again.
func (t *tenure[In]) blame(command Token, kind, cause error) {
	if q := t.waiting[command]; q != nil {
		delete(t.waiting, command)
		q.answer <- answer{err: fmt.Errorf("%w: %w", kind, cause)}
	}
}

// flush appends what was gathered. It does not wait until that is committed.
func (t *tenure[In]) flush() error {
	records := t.batch.count()
	if records == 0 {
		return nil
	}
	b, err := t.batch.take()
	if err != nil {
		return fmt.Errorf("make a batch of %d records: %w", records, err)
	}
	// No context ends this: an append that has begun must be known to be there or not.
	ack, err := t.log.Append(context.Background(), t.epoch, b, partition.Coordinator)
	if err != nil {
		return err
	}
	return t.appended(ack, records)
}

// appended notes a batch that is in the log.
func (t *tenure[In]) appended(ack partition.Ack, records int) error {
	if base, next := t.end, t.end+record.Offset(records); ack.Base != base || ack.Next != next {
		return fmt.Errorf("a batch of %d records was put at offsets %d to %d, where %d was the end: somebody else writes to the log",
			records, ack.Base, ack.Next, base)
	}
	t.last, t.end = ack.Base, ack.Next
	t.runtime.counters.batches.Add(1)
	t.runtime.counters.records.Add(int64(records))
	return nil
}

// fail answers everybody who waits.
func (t *tenure[In]) fail(cause error) {
	err := fmt.Errorf("%w: %w", whileEnded(cause), cause)
	t.held.fail(err)
	for _, q := range t.waiting {
		q.answer <- answer{err: err}
	}
	t.waiting = nil
}
