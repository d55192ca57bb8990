package storage

import (
	"fmt"
	"sync/atomic"
	"time"
)

// counters are what a directory counts about its logs.
type counters struct {
	appends, appendedBytes, appendErrors atomic.Int64
	rolls, segmentsDropped               atomic.Int64
	indexesOdd, indexesRebuilt           atomic.Int64
	cuts, cutBytes, damage, corruptReads atomic.Int64
	failedLogs                           atomic.Int64

	compactions, compactFailures, compactTime       atomic.Int64 // the time in nanoseconds
	compactedSegments, compactedBytes               atomic.Int64
	compactedRecords, compactDamaged, compactUnread atomic.Int64
	flushes                                         histogram
}

// flushBounds are the upper bounds of the flush histogram's buckets.
var flushBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 10 * time.Second,
}

// histogram counts durations in fixed buckets; the last one is unbounded.
type histogram struct {
	counts [len(flushBounds) + 1]atomic.Int64
	sum    atomic.Int64
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(flushBounds) && d > flushBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Histogram is a snapshot of durations in buckets.
type Histogram struct {
	Bounds []time.Duration // upper bounds; Counts has one bucket more, which has none
	Counts []int64         // in each bucket, not cumulated
	Sum    time.Duration
}

// Stats is what a directory can tell about itself and its logs. Counts are since it was opened.
type Stats struct {
	Path      string
	Logs      int   // open
	Segments  int   // of open logs
	Bytes     int64 // of their batches
	OpenFiles int   // data files and indexes
	Failed    int   // logs that have failed
	Full      bool  // something did not fit on the disk, and there has not been room since
	Free      int64 // bytes of room on the disk; -1 where it is not known

	Appends, AppendedBytes, AppendErrors int64
	Rolls, SegmentsDropped               int64
	IndexesOdd, IndexesRebuilt           int64
	// Cuts and CutBytes count torn ends that recovery cut off and kept; Damage counts stretches that cannot be read;
	// CorruptReads counts reads that met one.
	Cuts, CutBytes, Damage, CorruptReads int64
	// Compactions counts rounds that came through, over one log each, and CompactFailures those that did not; CompactTime
	// is what the former took. CompactedSegments were replaced, CompactedBytes written for that, and CompactedRecords left
	// out. CompactDamaged counts the times that a segment was left alone because it is damaged, and CompactUnread batches
	// that were kept because they cannot be unpacked.
	Compactions, CompactFailures                    int64
	CompactTime                                     time.Duration
	CompactedSegments, CompactedBytes               int64
	CompactedRecords, CompactDamaged, CompactUnread int64
	// CompactHalted counts open logs that are not compacted before they are opened again, because an exchange of segments
	// did not come through.
	CompactHalted int
	// Flushes are the syncs, each of one log or of many at once.
	Flushes Histogram
}

// Trouble says what keeps the directory's logs from being written to, in a line for each cause; none while all is well.
func (d *Dir) Trouble() (lines []string) {
	if d.reserve.full.Load() {
		lines = append(lines, fmt.Sprintf("%s: disk is full, produces are refused until there is room", d.path))
	}
	if n := d.counters.failedLogs.Load(); n > 0 {
		lines = append(lines, fmt.Sprintf("%s: %d logs have failed and take no more writes until the broker is restarted", d.path, n))
	}
	if e := d.lastError.Load(); e != nil && time.Since(e.at) < troubleAge {
		lines = append(lines, fmt.Sprintf("%s: writes have failed, the last one %v ago: %v", d.path, time.Since(e.at).Round(time.Second), e.cause))
	}
	return lines
}

// troubleAge is how long a write that has failed counts as trouble, if none fails after it.
const troubleAge = time.Minute

// Stats returns a snapshot.
func (d *Dir) Stats() Stats {
	c := &d.counters
	s := Stats{
		Path: d.path, OpenFiles: d.handles.count(), Failed: int(c.failedLogs.Load()), Full: d.reserve.full.Load(), Free: -1,
		Appends: c.appends.Load(), AppendedBytes: c.appendedBytes.Load(), AppendErrors: c.appendErrors.Load(),
		Rolls: c.rolls.Load(), SegmentsDropped: c.segmentsDropped.Load(),
		IndexesOdd: c.indexesOdd.Load(), IndexesRebuilt: c.indexesRebuilt.Load(),
		Cuts: c.cuts.Load(), CutBytes: c.cutBytes.Load(), Damage: c.damage.Load(), CorruptReads: c.corruptReads.Load(),
		Compactions: c.compactions.Load(), CompactFailures: c.compactFailures.Load(), CompactTime: time.Duration(c.compactTime.Load()),
		CompactedSegments: c.compactedSegments.Load(), CompactedBytes: c.compactedBytes.Load(), CompactedRecords: c.compactedRecords.Load(),
		CompactDamaged: c.compactDamaged.Load(), CompactUnread: c.compactUnread.Load(),
		Flushes: Histogram{Bounds: flushBounds[:], Sum: time.Duration(c.flushes.sum.Load())},
	}
	if free, err := d.fs.Free(d.path); err == nil {
		s.Free = free
	}
	for i := range c.flushes.counts {
		s.Flushes.Counts = append(s.Flushes.Counts, c.flushes.counts[i].Load())
	}
	for _, l := range d.open() {
		s.Logs++
		s.Segments += len(l.view.Load().segments)
		s.Bytes += l.Size()
		if l.halted.Load() {
			s.CompactHalted++
		}
	}
	return s
}
