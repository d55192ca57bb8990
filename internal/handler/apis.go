package handler

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/internal/coordinator/txn"
	"segue/internal/handler/fetch"
	"segue/internal/placement"
	"segue/internal/server"
	"segue/partition"
	"segue/storage"
)

// Deps is all that the handlers need. Nothing but APIs sees it.
type Deps struct {
	// Log is where the handlers report the broker's own troubles.
	Log zerolog.Logger
	// Broker is the context of the broker's life: appends run under it.
	Broker context.Context
	// NodeID is this broker's.
	NodeID int32
	// Config returns the configs as they hold now.
	Config func() *config.Layers
	// Catalog is where topics are. A commit must not return before the partitions that it makes are open.
	Catalog catalog.Store
	// Placement says who leads what.
	Placement placement.View
	// Partition finds a partition that this broker leads. Its errors wrap a *kerr.Error.
	Partition func(topicID [16]byte, partition int32) (*partition.Partition, error)
	// Dirs are the log directories.
	Dirs []*storage.Dir
	// MaxPartitions is how many partitions all topics together may have; 0 is no limit.
	MaxPartitions int
	// Refused counts the topics that were not created, or not made larger, for that; it may be nil.
	Refused *atomic.Int64
	// Fetch answers Fetch. It is made apart because it has statistics to show.
	Fetch *fetch.Handler
	// Groups coordinates groups; *group.Coordinator does.
	Groups groups
	// Transactions coordinates transactional ids; *txn.Coordinator does. ProducerIDs are where it has its producer ids
	// from, and Markers how it ends transactions in partitions.
	Transactions transactions
	ProducerIDs  *txn.ProducerIDs
	Markers      txn.MarkerWriter
}

// How large a request may be, by what it is good for. Kafka takes 100 MiB of anything; no client needs that but for
// Produce, which has no limit of its own here.
const (
	smallFrame = 64 << 10 // a few fields, and a client id of up to 32 KiB
	listFrame  = 16 << 20 // a list of topics and partitions, some hundred thousand of them
)

// APIs returns the rows of all APIs that the broker answers. The lowest versions are those that Kafka ever had, not
// those that Kafka 4 has left, wherever a lower one is only a matter of leaving fields out.
func APIs(d Deps) []server.API {
	image := d.Catalog.Image
	log := d.Log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Minute}) // clients ask again and again
	room := &partitionLimit{log: log, most: d.MaxPartitions, refused: d.Refused}
	creator := &topicCreator{log: d.Log, broker: d.Broker, store: d.Catalog, config: d.Config, view: d.Placement, room: room}

	versions := &apiVersions{
		nodeID: d.NodeID, clusterID: d.Placement.ClusterID, image: image,
	}
	transactional := &transactionCommands{
		log: log, broker: d.Broker, transactions: d.Transactions, image: image,
		patience: d.Config().Value("request.timeout.ms").Millis(),
	}
	produce := &produce{
		log: log, broker: d.Broker, image: image, view: d.Placement, lookup: lookup[appender](d.Partition),
		gather: storage.GatherAll(d.Dirs), patience: transactional.patience,
		transactions: transactional,
		verifies:     func() bool { return d.Config().Value("transaction.partition.verification.enable").Bool() },
	}
	offsets := &listOffsets{log: log, image: image, lookup: lookup[offsetSource](d.Partition)}
	epochs := &offsetForLeaderEpoch{image: image, lookup: lookup[epochSource](d.Partition)}
	metadata := &metadata{image: image, config: d.Config, creator: creator, view: d.Placement}
	quiet := *creator
	quiet.log = log
	topics := &coordinatorTopics{image: image, config: d.Config, creator: &quiet}
	coordinator := &findCoordinator{view: d.Placement, topics: topics}
	cluster := &describeCluster{view: d.Placement}
	create := &createTopics{creator: creator, config: d.Config}
	remove := &deleteTopics{log: d.Log, broker: d.Broker, store: d.Catalog, config: d.Config}
	grow := &createPartitions{log: d.Log, broker: d.Broker, store: d.Catalog, room: room, view: d.Placement}
	alter := &alterer{log: d.Log, broker: d.Broker, nodeID: d.NodeID, store: d.Catalog, config: d.Config}
	configs := &describeConfigs{nodeID: d.NodeID, image: image, config: d.Config}

	dirs := &describeLogDirs{log: log, image: image, dirs: d.Dirs}
	records := &deleteRecords{log: log, broker: d.Broker, image: image, lookup: lookup[recordDeleter](d.Partition)}
	resources := &listConfigResources{image: image, view: d.Placement}

	rows := []server.API{
		// Versions 0 to 2 of Produce are shown and not served, as in Kafka: without them librdkafka before 2.11.1
		// stops compressing (KAFKA-18659).
		{Key: kmsg.Produce.Int16(), Min: 3, Max: 13, Begin: produce.begin, Cost: produceCost},
		{Key: kmsg.Fetch.Int16(), Advertise: 4, Min: 4, Max: 18, MaxFrame: listFrame, Pipelined: true, Query: true, Handle: d.Fetch.Handle, Cost: fetchCost},
		{Key: kmsg.ListOffsets.Int16(), Query: true, Max: 11, MaxFrame: listFrame, Handle: answer(offsets.handle)},
		{Key: kmsg.Metadata.Int16(), Query: true, Max: 13, MaxFrame: listFrame, Handle: answer(metadata.handle), Cost: metadata.cost},
		{Key: kmsg.FindCoordinator.Int16(), Query: true, Max: 6, MaxFrame: listFrame, Handle: answer(coordinator.handle)},
		{Key: kmsg.ApiVersions.Int16(), Query: true, Max: 5, MaxFrame: smallFrame, Open: true, Handle: versions.handle},
		{Key: kmsg.CreateTopics.Int16(), Max: 7, MaxFrame: listFrame, Handle: answer(create.handle), Cost: create.cost},
		{Key: kmsg.DeleteTopics.Int16(), Max: 6, MaxFrame: listFrame, Handle: answer(remove.handle)},
		{Key: kmsg.DeleteRecords.Int16(), Max: 2, MaxFrame: listFrame, Handle: answer(records.handle)},
		{Key: kmsg.OffsetForLeaderEpoch.Int16(), Query: true, Max: 4, MaxFrame: listFrame, Handle: answer(epochs.handle)},
		{Key: kmsg.DescribeConfigs.Int16(), Query: true, Max: 4, MaxFrame: listFrame, Handle: answer(configs.handle), Cost: configs.cost},
		{Key: kmsg.AlterConfigs.Int16(), Max: 2, MaxFrame: listFrame, Handle: answer(alterConfigs{alter}.handle), Cost: alterConfigsCost},
		{Key: kmsg.DescribeLogDirs.Int16(), Query: true, Max: 5, MaxFrame: listFrame, Handle: answer(dirs.handle), Cost: dirs.cost},
		{Key: kmsg.CreatePartitions.Int16(), Max: 3, MaxFrame: listFrame, Handle: answer(grow.handle), Cost: createPartitionsCost},
		{Key: kmsg.IncrementalAlterConfigs.Int16(), Max: 1, MaxFrame: listFrame, Handle: answer(incrementalAlterConfigs{alter}.handle), Cost: incrementalAlterConfigsCost},
		{Key: kmsg.ListConfigResources.Int16(), Query: true, Max: 1, MaxFrame: smallFrame, Handle: answer(resources.handle), Cost: resources.cost},
		{Key: kmsg.DescribeCluster.Int16(), Query: true, Max: 2, MaxFrame: smallFrame, Handle: answer(cluster.handle)},
	}
	rows = append(rows, groupAPIs(d, log)...)
	rows = append(rows, transactionAPIs(d, transactional, topics)...)
	versions.list(rows)
	return rows
}

// transactionAPIs returns the rows about transactions, but for Produce. None of them is a Query, as with groups.
func transactionAPIs(d Deps, c *transactionCommands, topics *coordinatorTopics) []server.API {
	maxTimeout := func() time.Duration { return d.Config().Value("transaction.max.timeout.ms").Millis() }
	offsets := txnOffsetCommit{newGroupCommands(d, c.log), c, lookup[producerGuard](d.Partition)}
	features := &updateFeatures{log: d.Log, broker: d.Broker, store: d.Catalog}
	producers := &describeProducers{log: c.log, image: c.image, lookup: lookup[producerSource](d.Partition)}
	return []server.API{
		{Key: kmsg.InitProducerID.Int16(), Max: 5, MaxFrame: smallFrame, Handle: answer((&initProducerID{c, d.ProducerIDs, maxTimeout}).handle)},
		{Key: kmsg.AddPartitionsToTxn.Int16(), Max: 5, MaxFrame: listFrame, Handle: answer(addPartitionsToTxn{c}.handle), Cost: addPartitionsToTxnCost},
		{Key: kmsg.AddOffsetsToTxn.Int16(), Max: 4, MaxFrame: smallFrame, Handle: answer(addOffsetsToTxn{c, topics}.handle)},
		{Key: kmsg.EndTxn.Int16(), Max: 5, MaxFrame: smallFrame, Handle: answer(endTxn{c}.handle)},
		{Key: kmsg.WriteTxnMarkers.Int16(), Advertise: 1, Min: 1, Max: 2, MaxFrame: listFrame, Handle: answer(writeTxnMarkers{c, d.Markers}.handle), Cost: writeTxnMarkersCost},
		{Key: kmsg.TxnOffsetCommit.Int16(), Max: 6, MaxFrame: listFrame, Handle: answer(offsets.handle)},
		{Key: kmsg.UpdateFeatures.Int16(), Max: 2, MaxFrame: smallFrame, Handle: answer(features.handle)},
		{Key: kmsg.DescribeProducers.Int16(), Max: 0, MaxFrame: listFrame, Handle: sized(producers.handle, describeProducersSize), Cost: describeProducersCost},
		{Key: kmsg.DescribeTransactions.Int16(), Max: 0, MaxFrame: listFrame, Handle: sized(describeTransactions{c}.handle, describeTransactionsSize)},
		{Key: kmsg.ListTransactions.Int16(), Max: 2, MaxFrame: smallFrame, Handle: sized(listTransactions{c}.handle, listTransactionsSize)},
	}
}

// newGroupCommands returns how commands are given to groups.
func newGroupCommands(d Deps, log zerolog.Logger) *groupCommands {
	return &groupCommands{
		log: log, broker: d.Broker, groups: d.Groups,
		patience: func() time.Duration { return d.Config().Value("offsets.commit.timeout.ms").Millis() },
	}
}

// groupAPIs returns the rows about groups. None of them is a Query: each waits for what the log has taken before it, and
// what that takes must not be taken from queries that wait for nothing.
func groupAPIs(d Deps, log zerolog.Logger) []server.API {
	image := d.Catalog.Image
	commands := newGroupCommands(d, log)
	return []server.API{
		{Key: kmsg.OffsetCommit.Int16(), Max: 10, MaxFrame: listFrame, Handle: answer(offsetCommit{commands, image}.handle)},
		{Key: kmsg.OffsetFetch.Int16(), Max: 10, MaxFrame: listFrame, Handle: sized(offsetFetch{commands, image}.handle, offsetFetchSize), Cost: offsetFetchCost},
		{Key: kmsg.JoinGroup.Int16(), Max: 9, MaxFrame: listFrame, Handle: joinGroup{commands}.handle, Cost: joinGroupCost},
		{Key: kmsg.Heartbeat.Int16(), Max: 4, MaxFrame: smallFrame, Handle: answer(heartbeat{commands}.handle)},
		{Key: kmsg.LeaveGroup.Int16(), Max: 5, MaxFrame: listFrame, Handle: answer(leaveGroup{commands}.handle)},
		{Key: kmsg.SyncGroup.Int16(), Max: 5, MaxFrame: listFrame, Handle: answer(syncGroup{commands}.handle)},
		{Key: kmsg.DescribeGroups.Int16(), Max: 6, MaxFrame: listFrame, Handle: sized(describeGroups{commands}.handle, describeGroupsSize)},
		{Key: kmsg.ListGroups.Int16(), Max: 5, MaxFrame: smallFrame, Handle: sized(listGroups{commands}.handle, listGroupsSize)},
		{Key: kmsg.DeleteGroups.Int16(), Max: 3, MaxFrame: listFrame, Handle: answer(deleteGroups{commands}.handle)},
		{Key: kmsg.OffsetDelete.Int16(), Max: 0, MaxFrame: listFrame, Handle: answer(offsetDelete{commands, image}.handle)},
	}
}

// answer makes a server.Handler of a function from message to message.
func answer[Q kmsg.Request, R kmsg.Response](f func(context.Context, *server.Client, Q) R) server.Handler {
	return func(ctx context.Context, r *server.Request) (server.Response, error) {
		return server.Message(f(ctx, r.Client, r.Message.(Q))), nil
	}
}

// sized is answer for what the request does not tell the size of.
func sized[Q kmsg.Request, R kmsg.Response](f func(context.Context, *server.Client, Q) R, size func(R) int) server.Handler {
	return func(ctx context.Context, r *server.Request) (server.Response, error) {
		resp := f(ctx, r.Client, r.Message.(Q))
		return server.Sized(server.Message(resp), size(resp)), nil
	}
}

// What the handlers need of a partition is what one has.
var (
	_ appender      = (*partition.Partition)(nil)
	_ offsetSource  = (*partition.Partition)(nil)
	_ epochSource   = (*partition.Partition)(nil)
	_ recordDeleter = (*partition.Partition)(nil)

	_ producerSource = (*partition.Partition)(nil)
	_ producerGuard  = (*partition.Partition)(nil)
)

// lookup finds partitions as what a handler needs of them: one of the interfaces above.
func lookup[P any](find func(topicID [16]byte, partition int32) (*partition.Partition, error)) func([16]byte, int32) (P, error) {
	return func(topicID [16]byte, number int32) (P, error) {
		p, err := find(topicID, number)
		if err != nil {
			var none P
			return none, err
		}
		return any(p).(P), nil
	}
}
