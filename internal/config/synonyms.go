package config

import (
	"slices"
	"time"
)

// synonym is a broker config that sets the default of a topic config, and the milliseconds that one of its units
// has (1 where the value is taken as it is).
type synonym struct {
	name string
	unit int64
}

// topicSynonyms returns the broker configs that stand behind a topic config, the strongest first (Kafka's
// ServerTopicConfigSynonyms).
func topicSynonyms(name string) []synonym {
	hour, minute := time.Hour.Milliseconds(), time.Minute.Milliseconds()
	switch name {
	case "segment.ms":
		return []synonym{{"log.roll.ms", 1}, {"log.roll.hours", hour}}
	case "segment.jitter.ms":
		return []synonym{{"log.roll.jitter.ms", 1}, {"log.roll.jitter.hours", hour}}
	case "retention.ms":
		return []synonym{{"log.retention.ms", 1}, {"log.retention.minutes", minute}, {"log.retention.hours", hour}}
	case "flush.ms":
		return []synonym{{"log.flush.interval.ms", 1}, {"log.flush.scheduler.interval.ms", 1}}
	case "segment.index.bytes":
		return []synonym{{"log.index.size.max.bytes", 1}}
	case "flush.messages":
		return []synonym{{"log.flush.interval.messages", 1}}
	case "max.message.bytes":
		return []synonym{{"message.max.bytes", 1}}
	case "file.delete.delay.ms":
		return []synonym{{"log.segment.delete.delay.ms", 1}}
	case "min.cleanable.dirty.ratio":
		return []synonym{{"log.cleaner.min.cleanable.ratio", 1}}
	case "delete.retention.ms", "min.compaction.lag.ms", "max.compaction.lag.ms":
		return []synonym{{"log.cleaner." + name, 1}}
	case "unclean.leader.election.enable", "min.insync.replicas", "compression.type", "compression.gzip.level",
		"compression.lz4.level", "compression.zstd.level":
		return []synonym{{name, 1}}
	case "segment.bytes", "retention.bytes", "index.interval.bytes", "cleanup.policy", "preallocate",
		"message.timestamp.type", "message.timestamp.before.max.ms", "message.timestamp.after.max.ms",
		"local.retention.ms", "local.retention.bytes", "remote.copy.lag.ms", "remote.copy.lag.bytes":
		return []synonym{{"log." + name, 1}}
	}
	return nil
}

// brokerSynonyms returns the names under which a broker config may be set, the strongest first, itself among them
// (Kafka's DynamicBrokerConfig.brokerConfigSynonyms).
func brokerSynonyms(name string) []string {
	for _, group := range [...][]string{
		{"log.roll.ms", "log.roll.hours"},
		{"log.roll.jitter.ms", "log.roll.jitter.hours"},
		{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	} {
		if slices.Contains(group, name) {
			return group
		}
	}
	if name == "log.flush.interval.ms" { // only this way round: the scheduler's interval is a default for it
		return []string{name, "log.flush.scheduler.interval.ms"}
	}
	if bare, ok := listenerConfig(name); ok {
		return []string{name, bare}
	}
	return []string{name}
}
