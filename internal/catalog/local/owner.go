package local

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/catalog"
	"segue/storage/record"
)

// epoch is the leader epoch of the catalog's batches. The start count, which is that of all others, is read from
// them.
const epoch = 0

// maxPending bounds the commits that are appended and not yet committed; further callers wait.
const maxPending = 256

// owner is the state of a Store's goroutine.
type owner struct {
	*Store
	tip       *catalog.Image // after everything that was appended
	end       record.Offset  // where the log ends, if nobody else appends to it
	committed record.Offset  // how far the log is committed, as far as it was heard
	pending   []pending      // answers that wait for the log to commit, in order
	watchers  []watch
	behind    int   // changes behind the last snapshot
	failed    error // why nothing is appended any more
	closed    bool  // the log is closed
}

// pending waits until everything below next is committed.
type pending struct {
	next     record.Offset
	image    *catalog.Image // to publish, or nil
	snapshot bool           // from cut on the log holds all there is
	cut      record.Offset
	reply    chan reply // or nil
	err      error      // to answer with
}

type watch struct {
	fn      func(prev, next *catalog.Image)
	stopped *atomic.Bool
	ready   chan struct{} // closed when fn was called once
}

// run ends after Close was called. It closes the log first, which commits what was appended, so that whoever waits
// hears how it went.
func (o *owner) run() {
	defer close(o.done)
	for {
		commits := o.commits
		if len(o.pending) >= maxPending {
			commits = nil
		}
		select {
		case c := <-commits:
			o.take(c)
			o.settle()
		case <-o.events.changed:
			o.settle()
		case w := <-o.watches:
			w.fn(&catalog.Image{}, o.Image())
			o.watchers = append(o.watchers, w)
			close(w.ready)
		case <-o.closing:
			o.closeErr, o.closed = o.log.Close(), true
			o.settle()
			o.fail(catalog.ErrClosed)
			return
		}
	}
}

// take appends a commit, or finds out why it is not possible. Either way its answer waits until all that it rests on
// is committed.
func (o *owner) take(c commit) {
	if o.failed != nil {
		c.reply <- reply{err: o.failed}
		return
	}
	answer := pending{reply: c.reply}
	next, err := o.tip, error(nil)
	if c.at != catalog.Any && c.at != o.tip.Version() {
		err = &catalog.ConflictError{At: c.at, Current: o.tip.Version()}
	} else if next, err = o.tip.Apply(c.changes...); err == nil {
		err = o.append(c.batch)
	}
	if err == nil {
		o.tip, answer.image = next, next
		o.behind += len(c.changes)
	}
	answer.err, answer.next = err, o.end
	o.pending = append(o.pending, answer)
	if err == nil && o.behind >= max(o.options.SnapshotAfter, o.tip.Size()) {
		o.snapshot()
	}
}

// append writes a batch behind all others. After an error the log is as it was, or o.failed is set.
func (o *owner) append(b record.Batch) error {
	// The context of whoever wants the commit could end in the middle of it; the log's own errors are enough.
	base, next, err := o.log.Append(context.Background(), epoch, b)
	switch {
	case err != nil:
		if _, _, end := o.log.Bounds(); end != o.end {
			o.failed = fmt.Errorf("the catalog's log ends at %d and not at %d after a failed append: %w: %w",
				end, o.end, kerr.KafkaStorageError, err)
			return o.failed
		}
		return fmt.Errorf("append to the catalog's log: %w: %w", kerr.KafkaStorageError, err)
	case base != o.end || next != base+record.Offset(b.Count()):
		o.failed = fmt.Errorf("the catalog's log put a batch of %d records at %d to %d, where %d was its end: somebody else writes to it: %w",
			b.Count(), base, next, o.end, kerr.KafkaStorageError)
		return o.failed
	}
	o.end = next
	return nil
}

// snapshot appends the tip as a whole. That it cannot be is no failure of any commit: the log is longer than it need
// be, and it is tried again after some more changes.
func (o *owner) snapshot() {
	base := o.end
	b, err := encodeSnapshot(time.Now().UnixMilli(), o.tip)
	if err == nil {
		err = o.append(b)
	}
	if err != nil {
		o.behind /= 2
		o.counters.snapshotFailures.Add(1)
		return
	}
	o.behind = 0
	o.pending = append(o.pending, pending{next: o.end, snapshot: true, cut: base})
}

// settle publishes and answers what the log has committed. If the log has failed it answers the rest with that.
func (o *owner) settle() {
	committed, failure := o.events.state()
	o.committed = max(o.committed, committed)
	for len(o.pending) > 0 && o.pending[0].next <= o.committed {
		p := o.pending[0]
		o.pending[0] = pending{}
		o.pending = o.pending[1:]
		o.finish(p)
	}
	if failure != nil && o.failed == nil {
		o.failed = fmt.Errorf("the catalog's log has failed, and nothing can be committed until the broker is started again: %w: %w",
			kerr.KafkaStorageError, failure)
	}
	if o.failed != nil {
		o.fail(o.failed)
	}
}

func (o *owner) finish(p pending) {
	if p.image != nil {
		prev := o.image.Swap(p.image)
		o.counters.commits.Add(1)
		o.call(prev, p.image)
	}
	if p.snapshot {
		o.counters.snapshots.Add(1)
		if !o.closed { // else the next snapshot's cut takes it along
			if err := o.log.DeleteBefore(context.Background(), p.cut); err != nil {
				o.counters.snapshotFailures.Add(1)
			}
		}
	}
	if p.reply != nil {
		p.reply <- reply{image: p.image, err: p.err}
	}
}

// call tells the watchers of an image and forgets those that were stopped.
func (o *owner) call(prev, next *catalog.Image) {
	kept := o.watchers[:0]
	for _, w := range o.watchers {
		if !w.stopped.Load() {
			w.fn(prev, next)
			kept = append(kept, w)
		}
	}
	clear(o.watchers[len(kept):])
	o.watchers = kept
}

// fail answers everything that waits with an error, also what would have been refused: the refusal rests on what was
// appended before it. What was appended may be committed after all.
func (o *owner) fail(err error) {
	for _, p := range o.pending {
		if p.reply != nil {
			p.reply <- reply{err: err}
		}
	}
	o.pending = nil
}
