package group

import "time"

// Options are what a machine is told once. All of them must be set, except Rebalancing.
type Options struct {
	MinSession            time.Duration // group.min.session.timeout.ms
	MaxSession            time.Duration // group.max.session.timeout.ms
	MaxSize               int           // group.max.size: members of one group
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms
	OffsetsRetention      time.Duration // offsets.retention.minutes
	OffsetsCheckInterval  time.Duration // offsets.retention.check.interval.ms
	MaxOffsetMetadata     int           // offset.metadata.max.bytes, which Kafka counts in UTF-16 units

	// MaxRecordBytes bounds the record of a group, key and value. Who hands it in knows what the log takes as a batch at
	// the moment.
	MaxRecordBytes func() int

	// MemberID makes the id of a new member from its client id or, for a static one, from its instance id. Each must be
	// new: Kafka's are the prefix, a dash and a random UUID.
	MemberID func(prefix string) string

	// Rebalancing is told of every rebalance that begins, for the log; it must not call the machine. May be nil.
	Rebalancing func(Rebalance)
}

// Rebalance says that a group begins to rebalance, and why.
type Rebalance struct {
	Group      string
	Generation int32 // that is being left
	Members    int
	Reason     string
}

// Bounds on what requests bring that Kafka leaves open, or leaves to the size of a request. None is near what clients
// use.
const (
	maxString    = 4 << 10   // bytes of any name or id; records carry their lengths in 16 bits
	maxProtocols = 32        // protocols that one member offers
	maxMetadata  = 1 << 20   // bytes of their metadata together
	maxOffered   = 64 << 20  // bytes of the metadata of all members of a group
	maxPending   = 10_000    // ids handed out to members of one group that did not join with them yet
	maxReason    = 255       // bytes of a client's reason that are passed on; Java clients send no more
	maxCommitted = 1<<15 - 1 // bytes of an offset's metadata: one format of it carries its length in 16 bits
)

// newMemberTimeout is how long a member that is new to its group may wait for its first rebalance to end: it cannot
// send heartbeats meanwhile, and whether its client is still there is not known (Kafka's
// CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS).
const newMemberTimeout = 5 * time.Minute
