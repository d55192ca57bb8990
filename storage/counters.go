package storage

import (
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
	flushes                              histogram
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

	Appends, AppendedBytes, AppendErrors int64
	Rolls, SegmentsDropped               int64
	IndexesOdd, IndexesRebuilt           int64
	// Cuts and CutBytes count torn ends that recovery cut off and kept; Damage counts stretches that cannot be read;
	// CorruptReads counts reads that met one.
	Cuts, CutBytes, Damage, CorruptReads int64
	// Flushes are the syncs, each of one log or of many at once.
	Flushes Histogram
}

// Stats returns a snapshot.
func (d *Dir) Stats() Stats {
	c := &d.counters
	s := Stats{
		Path: d.path, OpenFiles: d.handles.count(), Failed: int(c.failedLogs.Load()),
		Appends: c.appends.Load(), AppendedBytes: c.appendedBytes.Load(), AppendErrors: c.appendErrors.Load(),
		Rolls: c.rolls.Load(), SegmentsDropped: c.segmentsDropped.Load(),
		IndexesOdd: c.indexesOdd.Load(), IndexesRebuilt: c.indexesRebuilt.Load(),
		Cuts: c.cuts.Load(), CutBytes: c.cutBytes.Load(), Damage: c.damage.Load(), CorruptReads: c.corruptReads.Load(),
		Flushes: Histogram{Bounds: flushBounds[:], Sum: time.Duration(c.flushes.sum.Load())},
	}
	for i := range c.flushes.counts {
		s.Flushes.Counts = append(s.Flushes.Counts, c.flushes.counts[i].Load())
	}
	for _, l := range d.open() {
		s.Logs++
		s.Segments += len(l.view.Load().segments)
		s.Bytes += l.Size()
	}
	return s
}
