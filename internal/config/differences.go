package config

import (
	"slices"
	"strings"
)

// Difference is a place where this broker's configs differ from Kafka's on purpose.
type Difference struct {
	Name  string
	Kafka string // its default in Kafka 4.4; "null" for none, "required" where a broker does not start without
	Here  string // the default here
	Why   string
}

// Differences lists every config whose default is not Kafka's. It is where those defaults are set: the tables hold
// Kafka's, and are overridden from here when they are built.
func Differences() []Difference {
	const one = "a broker that stands alone cannot place more than one replica"
	return []Difference{
		{"flush.messages", "9223372036854775807", "1", "what is acknowledged is on disk"},
		{"flush.ms", "9223372036854775807", "1000", "with flush.messages raised, a second is the most that a power cut takes"},
		{"log.flush.interval.messages", "9223372036854775807", "1", "what is acknowledged is on disk"},
		{"log.flush.interval.ms", "null", "1000", "as flush.ms"},
		{"group.initial.rebalance.delay.ms", "3000", "0", "a lone consumer should not wait three seconds for its first record"},
		{"log.dir", "/tmp/kafka-logs", "./data", "data does not belong where a restart of the machine deletes it"},
		{"node.id", "required", "1", "the broker starts without any setting"},
		{"process.roles", "required", "broker,controller", "the broker starts without any setting"},
		{"controller.listener.names", "required", "", "there is no controller to be reached"},
		{"offsets.topic.replication.factor", "3", "1", one},
		{"transaction.state.log.replication.factor", "3", "1", one},
		{"transaction.state.log.min.isr", "2", "1", one},
		{"share.coordinator.state.topic.replication.factor", "3", "1", one},
		{"share.coordinator.state.topic.min.isr", "2", "1", one},
	}
}

// ReadAtStart lists configs that Kafka lets one alter while running and that are read once, at the start, here. All
// of ssl.* and sasl.* are such too.
func ReadAtStart() []string {
	return []string{
		"config.providers", "listeners", "listener.security.protocol.map", "log.cleaner.backoff.ms",
		"log.cleaner.dedupe.buffer.size", "log.cleaner.io.max.bytes.per.second", "log.cleaner.threads",
		"max.connections", "max.connections.per.ip",
		"num.recovery.threads.per.data.dir", "principal.builder.class",
	}
}

func readAtStart(name string) bool {
	return strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "sasl.") || slices.Contains(ReadAtStart(), name)
}

// defaultsHere returns the differing defaults of one table. Topic and broker names that are spelled alike have the
// same meaning, and none of them differs.
func defaultsHere(topic bool) map[string]string {
	own := map[string]string{}
	for _, d := range Differences() {
		if len(topicSynonyms(d.Name)) > 0 == topic {
			own[d.Name] = d.Here
		}
	}
	return own
}

// ownRows: the configs that are this broker's and not Kafka's.
var ownRows = []row{
	{"http.listener", String, ":9644", hostPort, plain,
		"Address on which health and metrics are served over HTTP; an empty value switches it off."},
	{"metrics.group.lag.max.series", Int, "10000", atLeast(0), plain,
		"Committed offsets up to which the metrics have offset and lag of each; where there are more, they have the lag of " +
			"as many groups instead, and tell how many are left out."},
	{"max.partitions", Int, "", atLeast(1), optional,
		"Partitions that all topics together may have; a topic that would take them beyond it is refused. Where it is " +
			"not set it follows from the memory that the process may use. Existing topics are served in any case."},
}
