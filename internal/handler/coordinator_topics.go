package handler

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/catalog"
	"segue/internal/config"
)

// coordinatorTopics makes the topics of coordinators when they are first asked for, whatever auto.create.topics.enable says,
// as Kafka does.
type coordinatorTopics struct {
	image   func() *catalog.Image
	config  func() *config.Layers
	creator *topicCreator
}

// ensure returns when the topic is there of a kind of coordinator, or an error when it cannot be: COORDINATOR_NOT_AVAILABLE,
// which clients try again on. Why it cannot is in the log.
func (c *coordinatorTopics) ensure(listener string, kind int8) error {
	spec := c.offsets
	if kind == transactionCoordinator {
		spec = c.transactions
	}
	s := spec(c.config())
	if _, ok := c.image().Topic(s.name); ok {
		return nil
	}
	_, results := c.creator.create(listener, []topicSpec{s}, false)
	if err := results[0].err; err != nil && err.code != kerr.TopicAlreadyExists {
		return kerr.CoordinatorNotAvailable
	}
	return nil
}

// offsets is the topic of groups as the settings say (GroupCoordinatorService.groupMetadataTopicConfigs). The coordinator
// writes its batches uncompressed; a codec is the topic's.
func (*coordinatorTopics) offsets(layers *config.Layers) topicSpec {
	return topicSpec{
		name:       catalog.GroupOffsetsTopic,
		partitions: int32(layers.Value("offsets.topic.num.partitions").Int()),
		replicas:   int16(layers.Value("offsets.topic.replication.factor").Int()),
		configs: []topicConfig{
			set("cleanup.policy", "compact"),
			set("compression.type", string(compressionByID(layers.Value("offsets.topic.compression.codec").Int()))),
			set("segment.bytes", strconv.FormatInt(layers.Value("offsets.topic.segment.bytes").Int(), 10)),
		},
	}
}

// transactions is the topic of transactional ids as the settings say (TransactionStateManager.transactionTopicConfigs).
func (*coordinatorTopics) transactions(layers *config.Layers) topicSpec {
	return topicSpec{
		name:       catalog.TransactionStateTopic,
		partitions: int32(layers.Value("transaction.state.log.num.partitions").Int()),
		replicas:   int16(layers.Value("transaction.state.log.replication.factor").Int()),
		configs: []topicConfig{
			set("cleanup.policy", "compact"),
			set("compression.type", "uncompressed"),
			set("min.insync.replicas", strconv.FormatInt(layers.Value("transaction.state.log.min.isr").Int(), 10)),
			set("segment.bytes", strconv.FormatInt(layers.Value("transaction.state.log.segment.bytes").Int(), 10)),
			set("unclean.leader.election.enable", "false"),
		},
	}
}

func set(name, value string) topicConfig { return topicConfig{name, &value} }

// compressionByID is the codec of a number, as offsets.topic.compression.codec has it.
func compressionByID(id int64) config.Compression {
	switch id {
	case 1:
		return config.CompressionGzip
	case 2:
		return config.CompressionSnappy
	case 3:
		return config.CompressionLZ4
	case 4:
		return config.CompressionZstd
	}
	return config.CompressionProducer
}
