package config

// topicRows: configs of a topic: Kafka's LogConfig and TopicConfig.
var topicRows = []row{
	{"cleanup.policy", List, "delete", listOf(true, "compact", "delete"), plain,
		"What happens to old segments: delete drops them by age and size, compact keeps the newest record of " +
			"each key, both may be given, and an empty list keeps everything."},
	{"compression.gzip.level", Int, "-1", gzipLevel, plain,
		"Level used when the broker compresses batches with gzip because compression.type asks for it; -1 is " +
			"the codec's own default."},
	{"compression.lz4.level", Int, "9", between(1, 17), plain,
		"Level used when the broker compresses batches with lz4 because compression.type asks for it."},
	{"compression.type", String, "producer", oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"), plain,
		"Codec that batches are stored with. The value producer keeps each batch as it was sent; uncompressed " +
			"or a codec's name makes the broker rewrite batches that came otherwise."},
	{"compression.zstd.level", Int, "3", between(-131072, 22), plain,
		"Level used when the broker compresses batches with zstd because compression.type asks for it."},
	{"delete.retention.ms", Long, "86400000", atLeast(0), plain,
		"How long a compacted topic keeps tombstones, which is also the time a reader from offset 0 has to " +
			"finish and still see every delete."},
	{"errors.deadletterqueue.group.enable", Boolean, "false", anything, inert,
		"Whether share groups may write records that could not be delivered to this topic."},
	{"file.delete.delay.ms", Long, "60000", atLeast(0), inert,
		"How long a segment file that was dropped stays on disk before it is removed."},
	{"flush.messages", Long, "9223372036854775807", atLeast(1), plain,
		"How many records may be written before they are synced to disk. At 1, the default here, a batch is " +
			"synced before its producer is told and before any consumer sees it; above 1 a power cut may take the " +
			"unsynced tail."},
	{"flush.ms", Long, "9223372036854775807", atLeast(0), plain,
		"The longest time a written record waits for its sync when flush.messages is above 1."},
	{"follower.replication.throttled.replicas", List, "", throttledReplicas, inert,
		"Replicas, as partition:broker pairs or * for all, whose replication is throttled on the follower's " +
			"side."},
	{"index.interval.bytes", Int, "4096", atLeast(0), plain,
		"How many bytes of batches lie between two entries of a segment's index. Smaller finds offsets with " +
			"less reading and makes indexes larger."},
	{"internal.segment.bytes", Int, "", anything, optional | internal,
		"Size of a segment without the lower bound that segment.bytes has. Meant for tests."},
	{"leader.replication.throttled.replicas", List, "", throttledReplicas, inert,
		"Replicas, as partition:broker pairs or * for all, whose replication is throttled on the leader's " +
			"side."},
	{"local.retention.bytes", Long, "-2", atLeast(-2), inert,
		"With tiered storage, the size a partition may take on local disk; -2 follows retention.bytes."},
	{"local.retention.ms", Long, "-2", atLeast(-2), inert,
		"With tiered storage, how long segments stay on local disk; -2 follows retention.ms."},
	{"max.compaction.lag.ms", Long, "9223372036854775807", atLeast(1), plain,
		"The longest time a record of a compacted topic may stay out of compaction. It also rolls the hot " +
			"segment when it is shorter than segment.ms."},
	{"max.message.bytes", Int, "1048588", atLeast(0), plain,
		"The largest record batch, as it is stored and compressed as it is, that a producer may send."},
	{"message.timestamp.after.max.ms", Long, "3600000", atLeast(0), plain,
		"How far a record's timestamp may lie in the future of the broker's clock. Ignored with " +
			"LogAppendTime."},
	{"message.timestamp.before.max.ms", Long, "9223372036854775807", atLeast(0), plain,
		"How far a record's timestamp may lie in the past of the broker's clock. Ignored with LogAppendTime."},
	{"message.timestamp.type", String, "CreateTime", oneOf("CreateTime", "LogAppendTime"), plain,
		"Whose clock stamps the records: CreateTime keeps the producer's timestamps, LogAppendTime sets the " +
			"broker's."},
	{"min.cleanable.dirty.ratio", Double, "0.5", between(0, 1), plain,
		"The share of a compacted log that must be uncompacted before it is compacted again. Higher means " +
			"fewer runs and more room for old values."},
	{"min.compaction.lag.ms", Long, "0", atLeast(0), plain,
		"How long a record is safe from compaction after it was written."},
	{"min.insync.replicas", Int, "1", atLeast(1), plain,
		"How many in-sync replicas, the leader among them, must have a write before acks=all is answered."},
	{"preallocate", Boolean, "false", anything, inert,
		"Whether a new segment file takes its full size on disk at once."},
	{"remote.copy.lag.bytes", Long, "-1", atLeast(-1), inert,
		"With tiered storage, how many newer local bytes make a sealed segment ready for upload; -1 follows " +
			"the local retention."},
	{"remote.copy.lag.ms", Long, "0", atLeast(-1), inert,
		"With tiered storage, the age at which a sealed segment is ready for upload; 0 is at once and -1 " +
			"follows the local retention."},
	{"remote.log.copy.disable", Boolean, "false", anything, inert,
		"With tiered storage, whether uploading stops and the remote part becomes read-only."},
	{"remote.log.delete.on.disable", Boolean, "false", anything, inert,
		"With tiered storage, whether remote data is deleted when remote.storage.enable goes from true to " +
			"false."},
	{"remote.storage.enable", Boolean, "false", anything, inert,
		"Whether the topic's sealed segments go to tiered storage. This broker has none, so true is refused."},
	{"retention.bytes", Long, "-1", anything, plain,
		"The size above which a partition drops its oldest segments under the delete policy; -1 sets no " +
			"limit. It counts for each partition alone."},
	{"retention.ms", Long, "604800000", atLeast(-1), plain,
		"The age at which a segment is dropped under the delete policy, counted from its newest record; -1 " +
			"sets no limit."},
	{"segment.bytes", Int, "1073741824", atLeast(1 << 20), plain,
		"The size at which a segment is sealed and a new one begun. Retention and compaction work on whole " +
			"segments."},
	{"segment.index.bytes", Int, "10485760", atLeast(4), plain,
		"The largest size of a segment's index; a full index seals the segment."},
	{"segment.jitter.ms", Long, "0", atLeast(0), plain,
		"The largest random time taken off segment.ms, so that partitions made together do not all roll " +
			"together."},
	{"segment.ms", Long, "604800000", atLeast(1), plain,
		"The time after which a segment is sealed although it is not full, so that retention and compaction " +
			"can take it."},
	{"unclean.leader.election.enable", Boolean, "false", anything, inert,
		"Whether a replica that is out of sync may become leader when no other is left, at the price of lost " +
			"records."},
}
