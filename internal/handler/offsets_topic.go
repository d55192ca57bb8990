package handler

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/catalog"
	"segue/internal/config"
)

// offsetsTopic makes the topic of groups when it is first asked for, whatever auto.create.topics.enable says, as Kafka
// does (GroupCoordinatorService.groupMetadataTopicConfigs).
type offsetsTopic struct {
	image   func() *catalog.Image
	config  func() *config.Layers
	creator *topicCreator
}

// ensure returns when the topic is there, or an error when it cannot be: COORDINATOR_NOT_AVAILABLE, which clients try
// again on. Why it cannot is in the log.
func (o *offsetsTopic) ensure(listener string) error {
	if _, ok := o.image().Topic(catalog.GroupOffsetsTopic); ok {
		return nil
	}
	_, results := o.creator.create(listener, []topicSpec{o.spec()}, false)
	if err := results[0].err; err != nil && err.code != kerr.TopicAlreadyExists {
		return kerr.CoordinatorNotAvailable
	}
	return nil
}

// spec is the topic as the settings say. The coordinator writes its batches uncompressed; a codec is the topic's.
func (o *offsetsTopic) spec() topicSpec {
	layers := o.config()
	number := func(name string) int64 { return layers.Value(name).Int() }
	is := func(name, value string) topicConfig { return topicConfig{name, &value} }
	return topicSpec{
		name:       catalog.GroupOffsetsTopic,
		partitions: int32(number("offsets.topic.num.partitions")),
		replicas:   int16(number("offsets.topic.replication.factor")),
		configs: []topicConfig{
			is("cleanup.policy", "compact"),
			is("compression.type", string(compressionByID(number("offsets.topic.compression.codec")))),
			is("segment.bytes", strconv.FormatInt(number("offsets.topic.segment.bytes"), 10)),
		},
	}
}

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
