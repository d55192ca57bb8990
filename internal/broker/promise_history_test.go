package broker

import (
	"slices"

	"segue/storage/record"
)

// historyPromise: what a partition says of its leader epochs and of its records' timestamps is what its log says. It
// needs nothing to be remembered.
type historyPromise struct{}

func (p *historyPromise) audit(a *audit) {
	for _, epoch := range []int32{a.epoch, a.epoch + 1, a.rand.Int32N(a.epoch + 1)} {
		ends, err := endsOfEpoch(a.wire, epoch, a.topics)
		if err != nil {
			a.violated("OffsetForLeaderEpoch: %w", err)
			return
		}
		for at, found := range a.logs {
			is := ends[at]
			wantEpoch, wantEnd := found.endOf(epoch, a.epoch)
			if is.ErrorCode != 0 || is.LeaderEpoch != wantEpoch || is.EndOffset != wantEnd {
				a.violated("%s: leader epoch %d is said to end with epoch %d at %d (error code %d), the log says epoch %d at %d",
					at, epoch, is.LeaderEpoch, is.EndOffset, is.ErrorCode, wantEpoch, wantEnd)
			}
		}
	}
	for _, timestamp := range []int64{largest, firstTimestamp + a.rand.Int64N(timestampRange)} {
		is, err := listOffsets(a.wire, timestamp, a.topics)
		if err != nil {
			a.violated("ListOffsets with timestamp %d: %w", timestamp, err)
			return
		}
		for at, found := range a.logs {
			offset, unixMilli := found.lookUp(timestamp)
			if is[at].Offset != offset || is[at].Timestamp != unixMilli {
				a.violated("%s: timestamp %d is said to be at offset %d (%d), the log says %d (%d)",
					at, timestamp, is[at].Offset, is[at].Timestamp, offset, unixMilli)
			}
		}
	}
	p.auditMiddle(a)
}

// auditMiddle reads from somewhere within a log, which takes its index.
func (p *historyPromise) auditMiddle(a *audit) {
	places := slices.DeleteFunc(a.places(), func(at place) bool { return a.logs[at].start == a.logs[at].high })
	if len(places) == 0 {
		return
	}
	at := places[a.rand.IntN(len(places))]
	found := a.logs[at]
	offset := found.start + a.rand.Int64N(found.high-found.start)
	answer, err := read(a.wire, a.topics[at.topic], at.partition, offset)
	var batches []record.Batch
	if err == nil {
		batches, err = split(answer.RecordBatches)
	}
	if err != nil || len(batches) == 0 || int64(batches[0].BaseOffset()) > offset || int64(batches[0].NextOffset()) <= offset {
		a.violated("%s: a fetch at offset %d finds %d batches, and not the one that holds it (%v)", at, offset, len(batches), err)
	}
}

// endOf says where a leader epoch ends, by the log alone. The current one has written nothing yet.
func (l *foundLog) endOf(epoch, current int32) (is int32, end int64) {
	if epoch == current {
		return epoch, l.high
	}
	if epoch > current {
		return -1, -1
	}
	last := int32(-1) // the epoch of the batches before, if one of them is not above the one asked for
	for _, b := range l.batches {
		if b.LeaderEpoch() > epoch {
			if last < 0 {
				return epoch, l.start
			}
			return last, int64(b.BaseOffset())
		}
		last = b.LeaderEpoch()
	}
	if last < 0 {
		return epoch, l.start
	}
	return last, l.high
}

// lookUp returns the first record with the largest timestamp, or with one at or after the one given, and what it is.
func (l *foundLog) lookUp(timestamp int64) (offset, unixMilli int64) {
	offset, unixMilli = -1, -1
	for _, b := range l.batches {
		for r, err := range b.Records(nil) {
			if err != nil || int64(r.Offset) < l.start {
				continue
			}
			if timestamp == largest && r.Timestamp > unixMilli || timestamp >= 0 && offset < 0 && r.Timestamp >= timestamp {
				offset, unixMilli = int64(r.Offset), r.Timestamp
			}
		}
	}
	return offset, unixMilli
}
