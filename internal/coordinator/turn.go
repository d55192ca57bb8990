package coordinator

import "time"

// Turn is what a machine has at hand while it is called: its clock, its timers, and what the call has led to so far. A machine
// embeds one; O is what owns its timers.
type Turn[O any] struct {
	Timers Timers[O]
	// Led is what the call has led to so far.
	Led Effects
	// Began is what timers count from: the first call, unless it is set before.
	Began time.Time

	now time.Time // of the call
}

// Begin begins a call at a time.
func (t *Turn[O]) Begin(now time.Time) {
	if t.Began.IsZero() {
		t.Began = now
	}
	t.now = now
}

// End ends the call and returns what it has led to.
func (t *Turn[O]) End() Effects {
	led := t.Led
	t.Led = Effects{}
	if first := t.Timers.First(); first != nil {
		led.Deadline = t.Began.Add(time.Duration(first.At()))
	}
	return led
}

// Reply answers a request.
func (t *Turn[O]) Reply(to Token, message any) {
	t.Led.Replies = append(t.Led.Replies, Reply{To: to, Message: message})
}

// Write has a record appended.
func (t *Turn[O]) Write(r Record) { t.Led.Records = append(t.Led.Records, r) }

// Send sends a message to others.
func (t *Turn[O]) Send(message any) { t.Led.Sends = append(t.Led.Sends, message) }

// Clock is the time of the call on which timers run, in nanoseconds.
func (t *Turn[O]) Clock() int64 { return int64(t.now.Sub(t.Began)) }

// Millis is the time of the call that is written into records: Unix milliseconds.
func (t *Turn[O]) Millis() int64 { return t.now.UnixMilli() }

// Set makes a timer ring after a time.
func (t *Turn[O]) Set(timer *Timer[O], owner O, after time.Duration) {
	t.Timers.Set(timer, owner, t.Clock()+int64(after))
}
