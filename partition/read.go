package partition

import (
	"context"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage/record"
)

// ReadRequest asks for the records of a partition from an offset on.
type ReadRequest struct {
	Offset     record.Offset
	MaxBytes   int
	AtLeastOne bool // the first batch may be larger than MaxBytes
	// CurrentEpoch is the leader epoch that the client knows of, -1 if it does not say (KIP-320).
	CurrentEpoch int32
	// LastFetchedEpoch is the leader epoch of the last record that the client has, -1 if it does not say (KIP-595).
	LastFetchedEpoch int32
	ReadCommitted    bool // isolation level read_committed
}

// ReadResult is what there is to read. The marks are those from before the read.
type ReadResult struct {
	Chunk         record.Chunk // whole batches, the first one holding the offset asked for; the caller releases it
	HighWatermark record.Offset
	LastStable    record.Offset
	LogStart      record.Offset
	// Aborted are the aborted transactions whose records a reader of committed data has to skip, by first offset.
	Aborted []AbortedTxn
	// Diverging is set, and the Chunk empty, if what the client has last is not what the log has there: the client
	// has to go back to where that epoch ends.
	Diverging *EpochEnd
}

// AbortedTxn is an aborted transaction of a producer, which began at an offset.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset record.Offset
}

// CheckEpoch compares the leader epoch that a client knows of with the partition's: FENCED_LEADER_EPOCH if it is older,
// UNKNOWN_LEADER_EPOCH if it is newer, nil if it is the same or -1 (Kafka's Partition.checkCurrentLeaderEpoch).
func (p *Partition) CheckEpoch(current int32) error {
	switch {
	case current == -1 || current == p.epoch:
		return nil
	case current < p.epoch:
		return refuse(kerr.FencedLeaderEpoch, "%s is led at epoch %d, the request is from %d", p.id, p.epoch, current)
	}
	return refuse(kerr.UnknownLeaderEpoch, "%s is led at epoch %d, the request is from %d", p.id, p.epoch, current)
}

// checkOpen returns an error if the partition is closed.
func (p *Partition) checkOpen(doing string) error {
	if p.closed.Load() {
		return translate(doing+" "+p.id.String(), errClosed)
	}
	return nil
}

// Read reads batches, as Kafka's Partition.fetchRecords does for a consumer. An offset below the log start or above the
// log end is OFFSET_OUT_OF_RANGE; one between the high watermark and the log end is not: there is nothing to read there
// yet. It takes no lock of appends, and goes on below the high watermark when the log has failed.
func (p *Partition) Read(ctx context.Context, r ReadRequest) (ReadResult, error) {
	if err := p.checkOpen("read"); err != nil {
		return ReadResult{}, err
	}
	if err := p.CheckEpoch(r.CurrentEpoch); err != nil {
		return ReadResult{}, err
	}
	o := p.Offsets()
	result := ReadResult{HighWatermark: o.HighWatermark, LastStable: o.LastStable, LogStart: o.LogStart}
	var end EpochEnd
	if r.LastFetchedEpoch >= 0 {
		if end = p.epochs.end(r.LastFetchedEpoch, o.LogStart, o.LogEnd); end == noEpochEnd {
			return ReadResult{}, refuse(kerr.OffsetOutOfRange, "read %s: leader epoch %d, of the last record fetched, is not known",
				p.id, r.LastFetchedEpoch)
		}
	}
	if r.Offset < o.LogStart || r.LastFetchedEpoch < 0 && r.Offset > o.LogEnd {
		return ReadResult{}, refuse(kerr.OffsetOutOfRange, "read %s at offset %d, it holds %d to %d", p.id, r.Offset, o.LogStart, o.LogEnd)
	}
	if r.LastFetchedEpoch >= 0 && (end.Epoch < r.LastFetchedEpoch || end.End < r.Offset) {
		result.Diverging = &end
		return result, nil
	}
	to := o.HighWatermark
	if r.ReadCommitted {
		to = o.LastStable
	}
	if r.Offset >= to {
		return result, nil
	}
	for {
		dropped := p.dropped.Load()
		var err error
		result.Chunk, err = p.log.Read(ctx, r.Offset, to, max(r.MaxBytes, 0), r.AtLeastOne)
		if err == nil && r.ReadCommitted && result.Chunk.Length > 0 {
			result.Aborted = p.aborted(r.Offset, to, result.Chunk)
		}
		if err == nil && p.dropped.Load() == dropped {
			return result, nil
		}
		// Or else an aborted transaction was dropped in between, so that what was read and what is known of it may be of
		// different times. Before it was, its records had gone; so they are not read again.
		result.Chunk.Release()
		if err != nil {
			return ReadResult{}, translate("read "+p.id.String(), err)
		}
	}
}

// fewAborted are told of even if some of them lie behind what was read: that costs a reader less than it would to find out.
const fewAborted = 16

// aborted returns the aborted transactions that a chunk may hold records of, which was read between two offsets.
func (p *Partition) aborted(from, to record.Offset, c record.Chunk) []AbortedTxn {
	view := p.isolation.Load()
	found := view.overlapping(from, to, fewAborted)
	if len(found) <= fewAborted {
		return found
	}
	return view.overlapping(from, min(to, c.Below(to)), math.MaxInt)
}

// EpochEnd returns where a leader epoch ends (OffsetForLeaderEpoch): for the current one at the log end.
func (p *Partition) EpochEnd(epoch int32) EpochEnd {
	o := p.Offsets()
	return p.epochs.end(epoch, o.LogStart, o.LogEnd)
}

// EpochOf returns the leader epoch in which the record at an offset was written, -1 if that is not known.
func (p *Partition) EpochOf(offset record.Offset) int32 { return p.epochs.at(offset) }

// FoundOffset is the answer to a search by time. Nothing found is all -1.
type FoundOffset struct {
	Offset      record.Offset
	Timestamp   int64
	LeaderEpoch int32
}

var nothingFound = FoundOffset{Offset: -1, Timestamp: record.NoTimestamp, LeaderEpoch: -1}

// OffsetForTime returns the first record with a timestamp at or after unixMilli that may be read: below the high
// watermark, or with readCommitted the last stable offset (ListOffsets with a time; Kafka's
// Partition.fetchOffsetForTimestamp).
func (p *Partition) OffsetForTime(ctx context.Context, unixMilli int64, readCommitted bool) (FoundOffset, error) {
	if err := p.checkOpen("search by time"); err != nil {
		return nothingFound, err
	}
	// The marks are taken first: a record that is committed by the time it is found is no reason to show it.
	o := p.Offsets()
	at, timestamp, err := p.log.OffsetForTime(ctx, unixMilli)
	if err != nil {
		return nothingFound, translate("search by time "+p.id.String(), err)
	}
	return p.found(at, timestamp, o, readCommitted), nil
}

// MaxTimestamp returns the record with the largest timestamp of the log (ListOffsets with -3, KIP-734). If it is not
// committed yet MaxTimestamp waits for that: in a Kafka of one replica it would be at once, and answering that there is
// none, as Kafka does above the high watermark, would be wrong whenever somebody writes. With readCommitted there is
// none if it lies in an open transaction.
func (p *Partition) MaxTimestamp(ctx context.Context, readCommitted bool) (FoundOffset, error) {
	if err := p.checkOpen("search for the largest timestamp"); err != nil {
		return nothingFound, err
	}
	at, timestamp, err := p.log.MaxTimestamp(ctx)
	if err != nil {
		return nothingFound, translate("search for the largest timestamp "+p.id.String(), err)
	}
	if at >= 0 {
		// If it will never be committed it is not to be read, and found says so.
		if err := p.Await(ctx, at+1); err != nil && ctx.Err() != nil {
			return nothingFound, translate("search for the largest timestamp "+p.id.String(), ctx.Err())
		}
	}
	return p.found(at, timestamp, p.Offsets(), readCommitted), nil
}

func (p *Partition) found(at record.Offset, timestamp int64, o Offsets, readCommitted bool) FoundOffset {
	limit := o.HighWatermark
	if readCommitted {
		limit = o.LastStable
	}
	if at < 0 || at >= limit {
		return nothingFound
	}
	return FoundOffset{Offset: at, Timestamp: timestamp, LeaderEpoch: p.epochs.at(at)}
}

// ToHighWatermark is the offset that has DeleteBefore delete all that is committed.
const ToHighWatermark record.Offset = -1

// DeleteBefore raises the log start offset, for good when it returns, and returns the log start offset that there is
// then (DeleteRecords, KIP-107). An offset at or below it changes nothing. An offset above the high watermark is
// OFFSET_OUT_OF_RANGE; a topic that is compacted and nothing else keeps its records, which is POLICY_VIOLATION.
func (p *Partition) DeleteBefore(ctx context.Context, offset record.Offset) (record.Offset, error) {
	if err := p.checkOpen("delete records of"); err != nil {
		return -1, err
	}
	if c := p.config.Load(); c.Log.Compact && !c.Log.Delete {
		return -1, refuse(kerr.PolicyViolation, "delete records of %s: cleanup.policy is compact", p.id)
	}
	o := p.Offsets()
	if offset == ToHighWatermark {
		offset = o.HighWatermark
	}
	if offset < 0 || offset > o.HighWatermark {
		return -1, refuse(kerr.OffsetOutOfRange, "delete records of %s below offset %d, its high watermark is %d", p.id, offset, o.HighWatermark)
	}
	if offset > o.LogStart {
		if err := p.keepProducers(ctx); err != nil {
			return -1, err
		}
		if err := p.log.DeleteBefore(ctx, offset); err != nil {
			return -1, translate("delete records of "+p.id.String(), err)
		}
		p.wake(false) // what was deleted of a transaction keeps nobody waiting
	}
	return p.Offsets().LogStart, nil
}

// keepProducers saves a checkpoint before records are deleted that a replay would otherwise miss: a retry of a batch
// whose original is deleted is still a retry. A checkpoint that cannot be written (on a full disk, say) is no reason to
// keep records that somebody wants gone.
func (p *Partition) keepProducers(ctx context.Context) error {
	if p.counters.producers.Load() == 0 {
		return nil
	}
	if err := p.Checkpoint(ctx); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}
