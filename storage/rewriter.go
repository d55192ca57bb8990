package storage

import (
	"fmt"
	"math"

	"segue/storage/record"
)

// rewriter writes the replacement of segments, batch by batch. As long as nothing changes it only counts.
type rewriter struct {
	replacement
	c       *round
	buf     []byte // behind what is in the file
	flushed int64
	out     []byte // of the filter, used again

	undecided undecided       // in front of the batch that comes next
	forgotten []record.Offset // of the markers that go
}

// rewriteBlock is how much is written at once.
const rewriteBlock = 1 << 20

// batch takes in the next batch of a segment.
func (w *rewriter) batch(s *Segment, b record.Batch, pos int64, edge bool) error {
	c := w.c
	options, filtered := w.choose(b, edge)
	if !filtered {
		return w.add(b)
	}
	horizon := int64(noTimestamp)
	if b.HasDeleteHorizon() {
		horizon = b.BaseTimestamp()
	}
	out, res, err := c.filter.Batch(w.out[:0], b, options, func(r record.FilterRecord) bool { return c.verdict(r, horizon) })
	w.out = out
	if err != nil { // it cannot be read, or not within bounds
		c.blind = true
		c.l.dir.counters.compactUnread.Add(1)
		return w.add(b)
	}
	if expires := res.Tombstones > 0 || options.MarkerExpires && res.Kept > 0; expires && !c.blind && (c.horizon < 0 || res.Horizon < c.horizon) {
		c.horizon = res.Horizon
	}
	c.l.dir.counters.compactedRecords.Add(int64(res.Dropped))
	if res.Unchanged {
		return w.add(b)
	}
	if err := w.begin(s); err != nil || len(out) == 0 {
		return err
	}
	fewer, _, err := record.Parse(out)
	if err != nil {
		return err
	}
	return w.add(fewer)
}

// choose returns how a batch is to be filtered; ok is false if it stays as it is. One at the edge of what is written stays,
// if only its header.
func (w *rewriter) choose(b record.Batch, edge bool) (o record.FilterOptions, ok bool) {
	c := w.c
	verdict := c.l.keep(b)
	switch {
	case b.IsControl() && b.IsTransactional():
		return w.chooseMarker(b, verdict, edge)
	case b.BaseOffset() >= c.to, b.IsControl(), verdict == KeepAll:
		return o, false
	}
	keep := edge || verdict == KeepBatch || verdict == DropRecords
	return record.FilterOptions{KeepHeader: keep, Horizon: c.newHorizon(), DropRecords: verdict.drops()}, true
}

// add writes a batch, or counts it while all is as it was.
func (w *rewriter) add(b record.Batch) error {
	w.undecided.stays(b.Header)
	if w.size > math.MaxInt32-int64(b.Size()) {
		return fmt.Errorf("%s does not fit into a segment any more: what is compressed anew may grow", w.path())
	}
	w.index.add(b, w.size, w.index.maxTime)
	w.index.maxTime = max(w.index.maxTime, b.MaxTimestamp())
	w.size += int64(b.Size())
	if w.file == nil {
		return nil
	}
	w.buf = append(w.buf, b.Bytes()...)
	if len(w.buf) < rewriteBlock {
		return nil
	}
	return w.flush()
}

// begin makes the file with all that was only counted so far, which is the beginning of s.
func (w *rewriter) begin(s *Segment) error {
	if w.file != nil {
		return nil
	}
	fsys := w.l.dir.fs
	path := w.path() + swapTempSuffix
	if err := removeIfThere(fsys, path); err != nil {
		return err
	}
	from, err := s.file.pin()
	if err != nil {
		return err
	}
	defer s.file.unpin()
	if w.file, err = fsys.Create(path); err != nil {
		return err
	}
	return eachBlock(from, 0, w.size, func(b []byte, _ int64) error { return w.put(b) })
}

// flush writes what is behind the end of the file.
func (w *rewriter) flush() error {
	err := w.put(w.buf)
	w.buf = w.buf[:0]
	return err
}

// put writes bytes at the end of the file, no faster than it may, and as long as what is left on the disk is more than
// what is held back for when it is full.
func (w *rewriter) put(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	d := w.l.dir
	if err := w.c.throttle.wait(w.c.ctx, len(b)); err != nil {
		return err
	}
	if err := d.reserve.spare(int64(len(b))); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(b, w.flushed); err != nil {
		return err
	}
	w.flushed += int64(len(b))
	d.counters.compactedBytes.Add(int64(len(b)))
	return nil
}
