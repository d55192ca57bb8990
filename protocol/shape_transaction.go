package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// transactionRequests are the requests about producer ids and transactions.
var transactionRequests = []shape{
	{kmsg.InitProducerID, 0, 5, 2, fields{
		str("TransactionalId").nullable(),
		i32("TransactionTimeoutMs"),
		i64("ProducerId").since(3),
		i16("ProducerEpoch").since(3),
	}},
	{kmsg.AddPartitionsToTxn, 0, 5, 3, fields{
		structs("Transactions",
			str("TransactionalId"),
			i64("ProducerId"),
			i16("ProducerEpoch"),
			boolean("VerifyOnly"),
			structs("Topics", str("Name"), list("Partitions", i32)),
		).since(4),
		str("V3AndBelowTransactionalId").until(3),
		i64("V3AndBelowProducerId").until(3),
		i16("V3AndBelowProducerEpoch").until(3),
		structs("V3AndBelowTopics", str("Name"), list("Partitions", i32)).until(3),
	}},
	{kmsg.AddOffsetsToTxn, 0, 4, 3, fields{
		str("TransactionalId"),
		i64("ProducerId"),
		i16("ProducerEpoch"),
		str("GroupId"),
	}},
	{kmsg.EndTxn, 0, 5, 3, fields{
		str("TransactionalId"),
		i64("ProducerId"),
		i16("ProducerEpoch"),
		boolean("Committed"),
	}},
	{kmsg.TxnOffsetCommit, 0, 6, 3, fields{
		str("TransactionalId"),
		str("GroupId"),
		i64("ProducerId"),
		i16("ProducerEpoch"),
		i32("GenerationIdOrMemberEpoch").since(3),
		str("MemberId").since(3),
		str("GroupInstanceId").since(3).nullable(),
		structs("Topics",
			str("Name").until(5),
			uuid("TopicId").since(6),
			structs("Partitions",
				i32("PartitionIndex"),
				i64("CommittedOffset"),
				i32("CommittedLeaderEpoch").since(2),
				str("CommittedMetadata").nullable(),
			),
		),
	}},
	{kmsg.WriteTxnMarkers, 1, 2, 1, fields{
		structs("Markers",
			i64("ProducerId"),
			i16("ProducerEpoch"),
			boolean("TransactionResult"),
			structs("Topics", str("Name"), list("PartitionIndexes", i32)),
			i32("CoordinatorEpoch"),
			i8("TransactionVersion").since(2),
		),
	}},
	{kmsg.DescribeProducers, 0, 0, 0, fields{
		structs("Topics", str("Name"), list("PartitionIndexes", i32)),
	}},
	{kmsg.DescribeTransactions, 0, 0, 0, fields{
		list("TransactionalIds", str),
	}},
	{kmsg.ListTransactions, 0, 2, 0, fields{
		list("StateFilters", str),
		list("ProducerIdFilters", i64),
		i64("DurationFilter").since(1),
		str("TransactionalIdPattern").since(2).nullable(),
	}},
}
