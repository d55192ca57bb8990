package config

import (
	"errors"
	"fmt"
	"time"
)

// Compression says what the broker does with the codec of batches that it is sent: Kafka's compression.type.
type Compression string

// The values of compression.type.
const (
	CompressionProducer     Compression = "producer" // batches stay as they were sent
	CompressionUncompressed Compression = "uncompressed"
	CompressionGzip         Compression = "gzip"
	CompressionSnappy       Compression = "snappy"
	CompressionLZ4          Compression = "lz4"
	CompressionZstd         Compression = "zstd"
)

// TopicSettings are the configs of a topic as its partitions use them. Times of "for ever" are the longest duration
// there is.
type TopicSettings struct {
	Delete, Compact bool          // cleanup.policy
	RetentionBytes  int64         // negative for no limit
	Retention       time.Duration // negative for no limit

	SegmentBytes  int64
	SegmentAge    time.Duration // segment.ms, or max.compaction.lag.ms if the topic is compacted and that is shorter
	SegmentJitter time.Duration // never more than SegmentAge
	IndexBytes    int64
	IndexInterval int64

	FlushMessages int64 // 1: what is acknowledged is on disk
	FlushInterval time.Duration

	MaxMessageBytes    int32
	LogAppendTime      bool // message.timestamp.type
	TimestampBeforeMax time.Duration
	TimestampAfterMax  time.Duration

	Compression                     Compression
	GzipLevel, LZ4Level, ZstdLevel  int
	MinInSyncReplicas               int32
	DeleteRetention                 time.Duration
	MinCompactionLag, CompactionLag time.Duration // min.compaction.lag.ms, max.compaction.lag.ms
	MinCleanableRatio               float64
	FileDeleteDelay                 time.Duration
}

func topicSettings(value func(name string) Value) TopicSettings {
	number := func(name string) int64 { return value(name).Int() }
	millis := func(name string) time.Duration { return value(name).Millis() }
	s := TopicSettings{
		Delete:             value("cleanup.policy").Has("delete"),
		Compact:            value("cleanup.policy").Has("compact"),
		RetentionBytes:     number("retention.bytes"),
		Retention:          millis("retention.ms"),
		SegmentBytes:       number("segment.bytes"),
		SegmentAge:         millis("segment.ms"),
		SegmentJitter:      millis("segment.jitter.ms"),
		IndexBytes:         number("segment.index.bytes"),
		IndexInterval:      number("index.interval.bytes"),
		FlushMessages:      number("flush.messages"),
		FlushInterval:      millis("flush.ms"),
		MaxMessageBytes:    int32(number("max.message.bytes")),
		LogAppendTime:      value("message.timestamp.type").String() == "LogAppendTime",
		TimestampBeforeMax: millis("message.timestamp.before.max.ms"),
		TimestampAfterMax:  millis("message.timestamp.after.max.ms"),
		Compression:        Compression(value("compression.type").String()),
		GzipLevel:          int(number("compression.gzip.level")),
		LZ4Level:           int(number("compression.lz4.level")),
		ZstdLevel:          int(number("compression.zstd.level")),
		MinInSyncReplicas:  int32(number("min.insync.replicas")),
		DeleteRetention:    millis("delete.retention.ms"),
		MinCompactionLag:   millis("min.compaction.lag.ms"),
		CompactionLag:      millis("max.compaction.lag.ms"),
		MinCleanableRatio:  value("min.cleanable.dirty.ratio").Float(),
		FileDeleteDelay:    millis("file.delete.delay.ms"),
	}
	if internal := value("internal.segment.bytes"); !internal.Null() {
		s.SegmentBytes = max(1, internal.Int())
	}
	if s.Compact {
		s.SegmentAge = min(s.SegmentAge, s.CompactionLag)
	}
	s.SegmentJitter = min(s.SegmentJitter, s.SegmentAge)
	return s
}

// Topic resolves the configs of a topic: its own overrides over the broker's over the defaults. An override that is
// not known or not valid counts as not set; CheckTopic is what keeps such out.
func (l *Layers) Topic(overrides map[string]string) TopicSettings {
	if len(overrides) == 0 {
		return l.topics
	}
	return topicSettings(func(name string) Value { return l.topicValue(overrides, name) })
}

func (l *Layers) topicValue(overrides map[string]string, name string) Value {
	if text, set := overrides[name]; set {
		if d, known := Topic().Lookup(name); known {
			if v, err := d.Parse(text); err == nil {
				return v
			}
		}
	}
	return l.topic[name]
}

// CheckTopic tells whether a topic may have these overrides, all of them together. The error is an
// *UnknownNameError, a *ValueError, an *UnsupportedError, or says which of them contradict each other; the first in
// the order of names.
func (l *Layers) CheckTopic(overrides map[string]string) error {
	for _, name := range sortedKeys(overrides) {
		d, known := Topic().Lookup(name)
		if !known {
			return &UnknownNameError{Name: name, Topic: true, Nearest: nearestTopic(name)}
		}
		if _, err := d.Check(overrides[name]); err != nil {
			return err
		}
	}
	return checkCompactionLag(
		l.topicValue(overrides, "min.compaction.lag.ms"), l.topicValue(overrides, "max.compaction.lag.ms"))
}

func checkCompactionLag(low, high Value) error {
	if low.Int() > high.Int() {
		return fmt.Errorf("min.compaction.lag.ms (%d) must not be more than max.compaction.lag.ms (%d)", low.Int(), high.Int())
	}
	return nil
}

// CheckBroker tells whether a broker config may be altered to a value while the broker runs: for this broker alone
// (perBroker), or for all brokers. The error is a *ReadOnlyError, a *ValueError, an *UnsupportedError or an
// *UnknownNameError; Kafka stores unknown names without a word, so callers may let the last pass.
func CheckBroker(name, value string, perBroker bool) error {
	d, known := lookupBroker(name)
	switch {
	case !known:
		return &UnknownNameError{Name: name, Nearest: nearestBroker(name)}
	case d.ReadOnly:
		return &ReadOnlyError{Name: name, Reason: "it is read once, when the broker starts"}
	case d.PerBroker && !perBroker:
		return &ReadOnlyError{Name: name, Reason: "it can be set for a single broker only"}
	}
	if _, err := d.Check(value); err != nil {
		return err
	}
	for t := range Topic().All() {
		for _, synonym := range topicSynonyms(t.Name) {
			if synonym.name == name {
				if _, err := fromSynonym(t, synonym, value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// CheckAltered tells whether what is altered for this broker (perBroker), or for all brokers, may become these configs.
// What stays as it is passes, for it may be older than this version of the broker; so do unknown names, which Kafka
// stores too. The error is one of CheckBroker's, for the first in the order of names, or says which configs contradict
// each other.
func (l *Layers) CheckAltered(configs map[string]string, perBroker bool) error {
	before, next := l.cluster, l.WithDynamic(l.node, configs)
	if perBroker {
		before, next = l.node, l.WithDynamic(configs, l.cluster)
	}
	for _, name := range sortedKeys(configs) {
		if was, set := before[name]; set && was == configs[name] {
			continue
		}
		err := CheckBroker(name, configs[name], perBroker)
		if _, unknown := errors.AsType[*UnknownNameError](err); err != nil && !unknown {
			return err
		}
	}
	return checkCompactionLag(next.topic["min.compaction.lag.ms"], next.topic["max.compaction.lag.ms"])
}

// Loggable is a value of a config as it may stand in a log: shortened, and nothing of what is or may be a secret.
func Loggable(t *Table, name, value string) string {
	d, known := t.Lookup(name)
	if !known && t == Broker() {
		d, known = lookupBroker(name)
	}
	if !known || d.Sensitive() {
		return "[hidden]"
	}
	return shorten(value)
}
