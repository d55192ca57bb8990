package config

import (
	"math"
	"time"
)

// BrokerSettings are the broker configs that this broker acts on, in the units it uses. Times of "for ever" are the
// longest duration there is.
type BrokerSettings struct {
	NodeID  int32  // node.id
	Rack    string // broker.rack; empty for none
	LogDirs []string
	// HTTPListener is where health and metrics are served; empty for nowhere.
	HTTPListener string

	Partitions        int32 // of a topic that does not say (num.partitions)
	ReplicationFactor int16 // of a topic that does not say (default.replication.factor)
	AutoCreateTopics  bool  // auto.create.topics.enable
	DeleteTopics      bool  // delete.topic.enable
	MaxPartitions     int   // of all topics (max.partitions); 0 for the broker's own choice

	RetentionCheckInterval time.Duration // log.retention.check.interval.ms
	CleanerEnabled         bool          // log.cleaner.enable
	CleanerThreads         int           // log.cleaner.threads
	CleanerBackoff         time.Duration // log.cleaner.backoff.ms
	CleanerMemory          int64         // log.cleaner.dedupe.buffer.size
	CleanerBytesPerSecond  float64       // log.cleaner.io.max.bytes.per.second

	RecoveryThreads int           // logs opened side by side, for each directory
	ProducerExpiry  time.Duration // producer.id.expiration.ms

	MaxRequestBytes     int32         // socket.request.max.bytes
	QueuedRequestBytes  int64         // queued.max.request.bytes; 0 for the broker's own choice
	MaxConnections      int           // max.connections; 0 for the broker's own choice
	MaxConnectionsPerIP int           // max.connections.per.ip
	IdleTimeout         time.Duration // connections.max.idle.ms; 0 for none

	FetchMaxBytes    int32 // fetch.max.bytes
	FetchSessions    int   // max.incremental.fetch.session.cache.slots
	DescribeMaxParts int   // partitions in one DescribeTopicPartitions answer (max.request.partition.size.limit)

	Groups       GroupSettings
	Transactions TransactionSettings
}

// TransactionSettings are the broker configs of transactions.
type TransactionSettings struct {
	MaxTimeout  time.Duration // transaction.max.timeout.ms
	Expiration  time.Duration // transactional.id.expiration.ms
	ExpireEvery time.Duration // transaction.remove.expired.transaction.cleanup.interval.ms
}

func transactionSettings(values map[string]Value) TransactionSettings {
	return TransactionSettings{
		MaxTimeout:  values["transaction.max.timeout.ms"].Millis(),
		Expiration:  values["transactional.id.expiration.ms"].Millis(),
		ExpireEvery: values["transaction.remove.expired.transaction.cleanup.interval.ms"].Millis(),
	}
}

// GroupSettings are the broker configs of consumer groups and their offsets.
type GroupSettings struct {
	MinSession, MaxSession time.Duration // group.min.session.timeout.ms, group.max.session.timeout.ms
	MaxSize                int           // group.max.size
	InitialRebalanceDelay  time.Duration // group.initial.rebalance.delay.ms
	OffsetsRetention       time.Duration // offsets.retention.minutes
	OffsetsCheckInterval   time.Duration // offsets.retention.check.interval.ms
	MaxOffsetMetadata      int           // offset.metadata.max.bytes
	LagSeries              int           // metrics.group.lag.max.series
}

func groupSettings(values map[string]Value) GroupSettings {
	return GroupSettings{
		MinSession:            values["group.min.session.timeout.ms"].Millis(),
		MaxSession:            values["group.max.session.timeout.ms"].Millis(),
		MaxSize:               int(values["group.max.size"].Int()),
		InitialRebalanceDelay: max(0, values["group.initial.rebalance.delay.ms"].Millis()),
		OffsetsRetention:      values["offsets.retention.minutes"].Minutes(),
		OffsetsCheckInterval:  values["offsets.retention.check.interval.ms"].Millis(),
		MaxOffsetMetadata:     int(values["offset.metadata.max.bytes"].Int()),
		LagSeries:             int(values["metrics.group.lag.max.series"].Int()),
	}
}

func brokerSettings(values map[string]Value) BrokerSettings {
	number := func(name string) int64 { return values[name].Int() }
	dirs := values["log.dirs"]
	if dirs.Null() {
		dirs = values["log.dir"]
	}
	return BrokerSettings{
		NodeID:                 int32(number("node.id")),
		Rack:                   values["broker.rack"].String(),
		LogDirs:                dirs.List(),
		HTTPListener:           values["http.listener"].String(),
		Partitions:             int32(number("num.partitions")),
		ReplicationFactor:      int16(max(math.MinInt16, min(math.MaxInt16, number("default.replication.factor")))),
		AutoCreateTopics:       values["auto.create.topics.enable"].Bool(),
		DeleteTopics:           values["delete.topic.enable"].Bool(),
		MaxPartitions:          int(number("max.partitions")),
		RetentionCheckInterval: values["log.retention.check.interval.ms"].Millis(),
		CleanerEnabled:         values["log.cleaner.enable"].Bool(),
		CleanerThreads:         int(number("log.cleaner.threads")),
		CleanerBackoff:         values["log.cleaner.backoff.ms"].Millis(),
		CleanerMemory:          number("log.cleaner.dedupe.buffer.size"),
		CleanerBytesPerSecond:  values["log.cleaner.io.max.bytes.per.second"].Float(),
		RecoveryThreads:        int(number("num.recovery.threads.per.data.dir")),
		ProducerExpiry:         values["producer.id.expiration.ms"].Millis(),
		MaxRequestBytes:        int32(number("socket.request.max.bytes")),
		QueuedRequestBytes:     max(0, number("queued.max.request.bytes")),
		MaxConnections:         maxConnections(number("max.connections")),
		MaxConnectionsPerIP:    int(number("max.connections.per.ip")),
		IdleTimeout:            max(0, values["connections.max.idle.ms"].Millis()),
		FetchMaxBytes:          int32(number("fetch.max.bytes")),
		FetchSessions:          int(number("max.incremental.fetch.session.cache.slots")),
		DescribeMaxParts:       int(number("max.request.partition.size.limit")),
		Groups:                 groupSettings(values),
		Transactions:           transactionSettings(values),
	}
}

// maxConnections takes Kafka's default, the highest number that there is, for not set.
func maxConnections(n int64) int {
	if n == math.MaxInt32 {
		return 0
	}
	return int(n)
}
