package history

import (
	"fmt"
	"math"
	"time"
)

// Partition names a log. A topic that is deleted and made again is another generation.
type Partition struct {
	Topic      string
	Generation int
	Index      int32
}

// String returns topic-index, with the generation behind a '#' if it is not 0.
func (p Partition) String() string {
	if p.Generation == 0 {
		return fmt.Sprintf("%s-%d", p.Topic, p.Index)
	}
	return fmt.Sprintf("%s#%d-%d", p.Topic, p.Generation, p.Index)
}

// Value stands for the content of one record. It is unique in the history.
type Value uint64

// Garbled is the value of a record whose content nobody can have sent.
const Garbled Value = math.MaxUint64

// Delivery is what a producer may rely on.
type Delivery uint8

// The deliveries.
const (
	// ExactlyOnce is an idempotent producer: nothing is there twice, nothing out of order.
	ExactlyOnce Delivery = iota
	// AtLeastOnce waits for acknowledgements and tries again with one request at a time: a record may be there twice.
	AtLeastOnce
	// AtMostOnce wants no acknowledgements (acks=0).
	AtMostOnce
)

// Kind is what an operation is.
type Kind uint8

// The kinds of operations. The ones from Kill on happen to the broker, and are no client's.
const (
	Send     Kind = iota // one record
	Poll                 // records of one partition, as one answer brought them
	Seek                 // the client's next poll of the partition may be anywhere, or is at Offset if that is not -1
	Earliest             // ListOffsets for the first offset
	Latest               // ListOffsets for the high watermark
	ForTime              // ListOffsets for the first record that is not older than Time
	Drain                // all the client's polls of the partition within it, together, went from the log start to the end
	Init                 // InitProducerId of the client's transactional id
	Commit               // the client asks for the end of its transaction; its offsets are the transaction's too
	Abort                // the same
	Kill
	Stop
	Pause
	Overload
	kinds int = iota
)

var kindNames = [kinds]string{
	"send", "poll", "seek", "earliest", "latest", "for-time", "drain", "init", "commit", "abort", "kill", "stop", "pause", "overload",
}

// String returns the kind's name.
func (k Kind) String() string { return kindNames[k] }

// ofPartition says whether a partition is what it is about.
func (k Kind) ofPartition() bool { return k < Init }

// restarts says whether the broker runs anew afterwards.
func (k Kind) restarts() bool { return k == Kill || k == Stop }

// Outcome is what came of an operation.
type Outcome uint8

// The outcomes.
const (
	Unknown    Outcome = iota // it may have happened, and may yet happen
	OK                        // it has happened
	Failed                    // it has not happened, and will not
	OutOfRange                // of a Poll: the broker said that there is no such offset
	outcomes   int     = iota
)

var outcomeNames = [outcomes]string{"unknown", "ok", "failed", "out of range"}

// String returns the outcome's name.
func (o Outcome) String() string { return outcomeNames[o] }

// Never is when an operation ends that nobody saw the end of.
const Never time.Duration = math.MaxInt64

// Nowhere is an offset, a watermark, a time or an epoch that is not known.
const Nowhere = -1

// Op is an operation.
type Op struct {
	Kind      Kind
	Outcome   Outcome
	Client    int32 // index in History.Clients; Nowhere for what happens to the broker
	Partition int32 // index in History.Partitions; Nowhere for what is about none
	Epoch     int32 // the leader epoch that Latest was told; else Nowhere
	// Txn is the transaction in which a Send or a Poll is, or that a Commit or an Abort is to end; 0 for none.
	Txn int32
	// Committed says of a Poll, a Drain or a Latest that it wants what is committed only (read_committed). A Latest is then
	// told the last stable offset.
	Committed bool

	// Invoke and Complete bound, by the recorder's clock, when the broker did it.
	Invoke, Complete time.Duration

	Value  Value // of a Send
	Source Value // of a Send: what was read to be transformed into this; 0 if nothing was
	// Offset is where a Send was acknowledged, what ListOffsets answered (Nowhere for none), where a Poll or a Seek
	// begins (Nowhere if it goes on, or anywhere), and where a Drain ended.
	Offset int64
	Time   int64 // Unix milliseconds: of the record that is sent, or that ForTime asks for
	// HighWatermark, LastStable and LogStart are what the answer to a Poll said, else Nowhere.
	HighWatermark, LastStable, LogStart int64
	Records                             []Record // of a Poll
}

// Record is a record as a poll brought it.
type Record struct {
	Offset int64
	Value  Value
	Time   int64 // Unix milliseconds
	Epoch  int32 // leader epoch
}

// String says what the operation was, in one line.
func (o Op) String() string {
	end := "…"
	if o.Complete != Never {
		end = o.Complete.Round(time.Microsecond).String()
	}
	s := fmt.Sprintf("%v %v by client %d at %v–%s", o.Kind, o.Outcome, o.Client, o.Invoke.Round(time.Microsecond), end)
	if o.Txn != 0 {
		s += fmt.Sprintf(" in transaction %d", o.Txn)
	}
	if o.Committed {
		s += " (committed only)"
	}
	switch {
	case o.Kind == Send:
		s += fmt.Sprintf(": value %#x, offset %d", uint64(o.Value), o.Offset)
	case o.Kind == Poll:
		s += fmt.Sprintf(": from %d, %d records", o.Offset, len(o.Records))
		if n := len(o.Records); n > 0 {
			s += fmt.Sprintf(" (%d–%d)", o.Records[0].Offset, o.Records[n-1].Offset)
		}
		s += fmt.Sprintf(", log start %d, last stable offset %d, high watermark %d", o.LogStart, o.LastStable, o.HighWatermark)
	case o.Kind.ofPartition():
		s += fmt.Sprintf(": offset %d, time %d, epoch %d", o.Offset, o.Time, o.Epoch)
	}
	return s
}

// Process is a client as the history knows it: it begins one operation after the other.
type Process struct {
	Name     string
	Delivery Delivery
	// TransactionalID is shared by all that come one after the other in the same place; empty for none.
	TransactionalID string
}

// Transform is a promise: each record that is committed to a topic is made, exactly once, into one of another topic.
type Transform struct{ From, To string }

// History is all that is known. The operations of one client are in the order in which it began them; those of
// different clients may be in any.
type History struct {
	Partitions []Partition
	Clients    []Process
	Transforms []Transform
	Ops        []Op
}
