package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/internal/console"
	"segue/internal/coordinator"
	"segue/internal/coordinator/txn"
	"segue/partition"
)

// transactions is the coordinator of transactions, and what keeps its shards in step with the partitions of
// __transaction_state.
type transactions struct {
	coordinator *txn.Coordinator
	ids         *txn.ProducerIDs
	markers     txn.MarkerWriter
	partition   func(topicID [16]byte, partition int32) (*partition.Partition, error)
}

// How long a request waits for a transaction that ends, and how many of a shard may.
const (
	endPatience = time.Second
	endWaiting  = 1000
)

// newTransactions returns the coordinator without any shard.
func newTransactions(settings func() *config.Layers, store catalog.Store, partitions *partition.Manager, g *groups, gather func() (sync func()), log zerolog.Logger) *transactions {
	ids := txn.NewProducerIDs(store.AllocateProducerIDs)
	markers := &markerWriter{image: store.Image, partition: partitions.Get, groups: g.runtime.DoMarker, gather: gather}
	return &transactions{
		ids: ids, markers: markers, partition: partitions.Get,
		coordinator: txn.NewCoordinator(txn.Config{
			Machine: func() txn.Options {
				s := settings().Broker().Transactions
				return txn.Options{
					Version:    func() int16 { return store.Image().FeatureLevel(catalog.TransactionVersion) },
					MaxTimeout: s.MaxTimeout, Expiration: s.Expiration, ExpireEvery: s.ExpireEvery,
					MaxRecordBytes: func() int { return maxRecordBytes(settings(), store.Image(), catalog.TransactionStateTopic) },
					Patience:       endPatience, Waiting: endWaiting,
				}
			},
			Shards: partitionsOf(store, catalog.TransactionStateTopic), IDs: ids, Markers: markers, Log: log,
		}),
	}
}

// load implements shards.
func (t *transactions) load(topicID [16]byte, shard int32) {
	t.coordinator.Load(shard, shardLog(t.partition(topicID, shard)))
}

// unload implements shards.
func (t *transactions) unload(shard int32) { t.coordinator.Unload(shard) }

// unloadAll implements shards.
func (t *transactions) unloadAll() {
	for _, shard := range t.coordinator.Shards() {
		t.coordinator.Unload(shard)
	}
}

// stats returns what there is to show of transactions.
func (t *transactions) stats() console.TransactionStats {
	ctx, cancel := context.WithTimeout(context.Background(), lagPatience)
	defer cancel()
	st := console.TransactionStats{Coordinator: t.coordinator.RuntimeStats(), Counts: txn.Counts{ByState: map[txn.State]int{}}}
	replies, _ := t.coordinator.Each(ctx, txn.Input{Request: txn.Count{}}) // what went wrong is counted
	for _, reply := range replies {
		st.Add(reply.(txn.Counts))
	}
	st.Unknown = len(t.coordinator.Shards()) - len(replies)
	return st
}

// markerWriter writes markers into partitions of this broker's.
type markerWriter struct {
	image     func() *catalog.Image
	partition func(topicID [16]byte, partition int32) (*partition.Partition, error)
	groups    func(ctx context.Context, shard int32, m partition.Marker) error
	gather    func() (sync func())
}

// WriteMarkers implements txn.MarkerWriter. All are appended before any is waited for. A group's shard writes its own.
func (w *markerWriter) WriteMarkers(ctx context.Context, m partition.Marker, to []txn.Partition) []error {
	errs := make([]error, len(to))
	acks := make([]partition.Ack, len(to))
	var groups sync.WaitGroup
	begin := w.gather()
	for i, p := range to {
		topic, ok := w.image().Topic(p.Topic)
		switch {
		case !ok || !topic.Has(p.Partition):
			errs[i] = kerr.UnknownTopicOrPartition
		case p.Topic == catalog.GroupOffsetsTopic:
			groups.Go(func() { errs[i] = groupMarkerError(w.groups(ctx, p.Partition, m)) })
		default:
			var led *partition.Partition
			if led, errs[i] = w.partition(topic.ID, p.Partition); errs[i] == nil {
				acks[i], errs[i] = led.AppendMarker(ctx, -1, m)
			}
		}
	}
	begin()
	groups.Wait()
	for i, p := range to {
		if errs[i] == nil && p.Topic != catalog.GroupOffsetsTopic {
			errs[i] = acks[i].Wait(ctx)
		}
	}
	return errs
}

// groupMarkerError gives the errors of a coordinator's shard the code that a partition's leader would answer with.
func groupMarkerError(err error) error {
	for _, notNow := range []error{coordinator.ErrLoading, coordinator.ErrNotCoordinator, coordinator.ErrUnavailable} {
		if errors.Is(err, notNow) {
			return kerr.NotLeaderForPartition
		}
	}
	return err
}
