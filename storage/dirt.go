package storage

import (
	"cmp"
	"time"

	"segue/storage/record"
)

// This file decides what there is to compact, over numbers alone.

// dirtPolicy is what the decision depends on (Kafka's topic settings of these names).
type dirtPolicy struct {
	minRatio float64       // min.cleanable.dirty.ratio
	minLag   time.Duration // min.compaction.lag.ms; not above 0 for none
	maxLag   time.Duration // max.compaction.lag.ms; not above 0 for none
}

// sealedSegment is what the decision takes to know of a sealed segment. Times are in Unix milliseconds, or NoTimestamp.
type sealedSegment struct {
	base  record.Offset
	bytes int64
	// newest is the largest timestamp of its records, first that of its first batch.
	newest, first int64
	// horizon is the earliest delete horizon of its batches, as far as that is known; NoTimestamp for none.
	horizon int64
}

// dirtRange are the offsets that bound what is looked at.
type dirtRange struct {
	// dirty is the first offset that was not compacted yet, as the last round noted it.
	dirty record.Offset
	// hot is the base of the hot segment, and so the end of the sealed ones.
	hot record.Offset
	// limit is the offset that nothing at or above may be looked at for other reasons: what is there is not decided.
	limit record.Offset
}

// dirt is what there is to compact in a log.
type dirt struct {
	// from is the first dirty offset, end the one before which a round ends: the base of a segment, and never above what
	// may be looked at. It lies below from where not even all that is clean may be looked at; then nothing is dirty.
	from, end record.Offset
	// cleanBytes and dirtyBytes are what lies in segments below end. A segment that is dirty in part counts as dirty.
	cleanBytes, dirtyBytes int64
	// overdue says that there is something dirty that has waited for longer than the maximum lag.
	overdue bool
	// expired says that there are tombstones or markers whose horizon has passed.
	expired  bool
	minRatio float64
}

// findDirt finds what there is to compact in a log with these sealed segments, in order, at the time now (Kafka's
// LogCleanerManager.cleanableOffsets and LogToClean). A round ends at the base of the first segment that holds an offset
// which may not be looked at, or a dirty record that is younger than the minimum lag; and at the hot segment.
func findDirt(segments []sealedSegment, r dirtRange, p dirtPolicy, now time.Time) dirt {
	d := dirt{from: r.dirty, end: r.hot, minRatio: p.minRatio}
	if len(segments) == 0 {
		d.from, d.end = r.hot, r.hot
		return d
	}
	// A note that lies outside the log is of another one, or of what was lost: then all is dirty.
	if d.from < segments[0].base || d.from > r.hot {
		d.from = segments[0].base
	}
	for i, s := range segments {
		next := r.hot
		if i+1 < len(segments) {
			next = segments[i+1].base
		}
		isDirty := next > d.from
		if next > r.limit || isDirty && p.minLag > 0 && s.newest > now.Add(-p.minLag).UnixMilli() {
			d.end = s.base
			break
		}
		if isDirty {
			d.dirtyBytes += s.bytes
			d.overdue = d.overdue || p.maxLag > 0 && s.first > 0 && s.first < now.Add(-p.maxLag).UnixMilli()
		} else {
			d.cleanBytes += s.bytes
		}
		d.expired = d.expired || s.horizon != record.NoTimestamp && s.horizon <= now.UnixMilli()
	}
	return d
}

// ratio is the share of dirty bytes, from 0 to 1.
func (d dirt) ratio() float64 {
	if d.dirtyBytes == 0 {
		return 0
	}
	return float64(d.dirtyBytes) / float64(d.cleanBytes+d.dirtyBytes)
}

// due reports whether a round is worth its while. Unlike in Kafka it is where there are tombstones to drop, else a log
// that is written to no more would keep them for ever, and where the ratio is exactly the least one, else a least ratio
// of 1 would mean never.
func (d dirt) due() bool {
	return d.dirtyBytes > 0 && (d.overdue || d.ratio() >= d.minRatio) || d.expired
}

// compareDirt orders logs by what to compact first: the largest share of dirty bytes, then the most of them.
func compareDirt(a, b dirt) int {
	if c := cmp.Compare(b.ratio(), a.ratio()); c != 0 {
		return c
	}
	return cmp.Compare(b.dirtyBytes, a.dirtyBytes)
}
