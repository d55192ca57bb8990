package storage

import (
	"context"
	"maps"

	"segue/storage/record"
)

// This file holds when the marker of a transaction may go (KIP-534): it outlives the data that it decides, and then the
// readers that may have seen that data.

// undecided are the producers with a batch of data in the log and, as far as a round has come, no marker behind it. The nil
// map is empty.
type undecided map[int64]struct{}

// stays notes a batch that stays. One that has lost its records counts: who reads the log anew, Kafka for one, takes it for
// the beginning of a transaction.
func (u *undecided) stays(h record.Header) {
	if !h.IsTransactional() || h.IsControl() {
		return
	}
	if *u == nil {
		*u = undecided{}
	}
	(*u)[h.ProducerID()] = struct{}{}
}

// end notes the marker of a producer, and says whether it decides something that is left.
func (u undecided) end(h record.Header) bool {
	_, left := u[h.ProducerID()]
	delete(u, h.ProducerID())
	return left
}

func (u undecided) clone() undecided { return maps.Clone(u) }

// mostForgotten bounds how many markers go at a time, for what the keeper is told of them.
const mostForgotten = 1 << 16

// chooseMarker returns how the marker of a transaction is to be filtered; ok is false if it stays as it is. The rewriter has
// come to it.
func (w *rewriter) chooseMarker(b record.Batch, verdict Verdict, edge bool) (o record.FilterOptions, ok bool) {
	c := w.c
	if w.undecided.end(b.Header) || c.blind || verdict == KeepAll || b.BaseOffset() >= c.to {
		return o, false
	}
	o = record.FilterOptions{KeepHeader: edge || verdict == KeepBatch, Horizon: c.newHorizon(), MarkerExpires: true}
	due := b.HasDeleteHorizon() && c.now >= b.BaseTimestamp()
	switch {
	case b.Count() == 0:
		o.DropRecords = true
	case due && len(w.forgotten) < mostForgotten:
		o.DropRecords = true
		w.forgotten = append(w.forgotten, b.LastOffset())
	}
	return o, true
}

// forget tells the keeper which markers go, before they do.
func (w *rewriter) forget(ctx context.Context) error {
	if len(w.forgotten) == 0 || w.l.keeper == nil {
		return nil
	}
	return w.l.keeper.Forget(ctx, w.forgotten)
}
