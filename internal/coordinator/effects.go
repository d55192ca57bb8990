// Package coordinator runs replicated state machines: each is a fold over one partition of a coordinator's topic.
package coordinator

import "time"

// Record is one record of a coordinator's topic, in Kafka's format. A nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// Token stands for a request that waits for its reply; the runtime gives each a new one.
type Token uint64

// Reply answers one request.
type Reply struct {
	To      Token
	Message any
}

// Effects are what a command leads to. Records belong together: all of them are appended in one batch, or none.
type Effects struct {
	Records  []Record
	Replies  []Reply   // held back until all that was applied before is committed
	Deadline time.Time // when Expire wants to be called, at the latest; zero for never
}

// Machine is the state of one shard and the rules by which commands change it. One goroutine at a time calls it.
// Handle and Expire have already applied the records that they return: a caller that cannot append them throws the
// machine away.
type Machine[In any] interface {
	Handle(now time.Time, t Token, in In) Effects
	Expire(now time.Time) Effects
	// Apply is called for each record of the log, in order, before any command (replay).
	Apply(r Record) error
	// Loaded says that the replay is over: timers begin (members that were there have a session from now on).
	Loaded(now time.Time) Effects
}
