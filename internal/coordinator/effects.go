package coordinator

import (
	"fmt"
	"time"
)

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
	Deadline time.Time // when Expire wants to be called, at the latest; zero for never. It replaces the one before

	// Producer, if set, has the records be a transactional batch of their own, by this producer. The machine is
	// Transactional then, and has the records pending until the marker comes.
	Producer *Producer
	// Sends are messages to others. Options.Send gets them, in order, once all that was applied before is committed; if
	// that never is they are dropped with the machine.
	Sends []any
}

// Producer is a transactional producer: its id and its epoch.
type Producer struct {
	ID    int64
	Epoch int16
}

// Machine is the state of one shard and the rules by which commands change it. One goroutine at a time calls it.
// Handle and Expire have already applied the records that they return: a caller that cannot append them throws the
// machine away.
type Machine[In any] interface {
	// Handle is called for each command. Its reply may be among these effects or among later ones.
	Handle(now time.Time, t Token, in In) Effects
	// Expire is called at the deadline.
	Expire(now time.Time) Effects
	// Apply is called for each record of the log, in order, before any command (replay). The record is the machine's to
	// keep. An *UnknownRecordError has the record skipped, any other error fails the load.
	Apply(r Record) error
	// Loaded says that the replay is over: timers begin (members that were there have a session from now on).
	Loaded(now time.Time) Effects
}

// UnknownRecordError is what Apply returns for a record of a type that it does not know: one that a newer version has
// written. Kafka skips those as well.
type UnknownRecordError struct {
	Type int16 // with which the record's key begins
}

func (e *UnknownRecordError) Error() string {
	return fmt.Sprintf("record type %d is not known", e.Type)
}
