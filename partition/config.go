package partition

import (
	"math"
	"time"

	"segue/storage"
	"segue/storage/record"
)

// Config is what a partition can be told about itself: its topic's configuration, resolved. All of it may change while
// the partition is open.
type Config struct {
	// Log is the log's own part. Compact in it also makes a key obligatory, and without Delete it forbids DeleteBefore.
	Log storage.Config

	// MaxMessageBytes bounds a client's batch as it is stored, header included (max.message.bytes).
	MaxMessageBytes int32
	// TimestampType says whose timestamps the records keep (message.timestamp.type).
	TimestampType record.TimestampType
	// TimestampBeforeMax and TimestampAfterMax are how far the CreateTime of a record may lie before and after the
	// time of its append (message.timestamp.before.max.ms, message.timestamp.after.max.ms). NoLimit is no limit.
	TimestampBeforeMax, TimestampAfterMax time.Duration

	// Recompress has batches that arrive in another codec than Compression's stored in that one (compression.type,
	// unless that is "producer").
	Recompress  bool
	Compression record.Compression

	// ProducerExpiry is after how long without an append a producer id is forgotten (producer.id.expiration.ms).
	ProducerExpiry time.Duration
}

// NoLimit is the largest duration, which the timestamp limits take for none.
const NoLimit = time.Duration(math.MaxInt64)

// Origin says on whose behalf a batch is appended.
type Origin int8

const (
	// Client is a producer out there: its batch is checked in full.
	Client Origin = iota
	// Coordinator is this broker: its batches carry no sequence numbers, their base offset means nothing, and
	// max.message.bytes is no limit for them.
	Coordinator
)

// timestampRange returns the CreateTimes that a record may have at a time, all in Unix milliseconds.
func (c *Config) timestampRange(now int64) (low, high int64) {
	low, high = now-math.MaxInt64, math.MaxInt64 // without limits: what differs from now by a number, as in Kafka
	if c.TimestampBeforeMax != NoLimit {
		low = now - c.TimestampBeforeMax.Milliseconds()
	}
	if c.TimestampAfterMax != NoLimit {
		high = now + c.TimestampAfterMax.Milliseconds()
	}
	return low, high
}
