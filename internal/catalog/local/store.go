package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"segue/internal/catalog"
	"segue/storage/record"
)

// Log is what the Store asks of the log it keeps the catalog in. *storage.Log satisfies it. An Append that returns an
// error has either left the log as it was, or has failed it for good.
type Log interface {
	Append(ctx context.Context, epoch int32, batches ...record.Batch) (base, next record.Offset, err error)
	Read(ctx context.Context, from, to record.Offset, maxBytes int, atLeastOne bool) (record.Chunk, error)
	Bounds() (start, committed, end record.Offset)
	DeleteBefore(ctx context.Context, start record.Offset) error
	Close() error
}

// Topic and Partition name the log that the catalog is kept in. '@' cannot be part of a topic's name, so its folder
// cannot be that of a topic.
const (
	Topic     = "@catalog"
	Partition = 0
)

// Options tune a Store. The zero value is fine.
type Options struct {
	// SnapshotAfter is the number of changes after which a snapshot is written; 0 for 1000. A snapshot also waits
	// until there are as many changes as it has records, so that the work for snapshots stays a fraction of the
	// work for changes however large the catalog is.
	SnapshotAfter int
}

// producerIDBlock is how many producer ids are put aside at once, as in Kafka; a restart loses what is left of them.
const producerIDBlock = 1000

// Store is a catalog.Store on a Log.
type Store struct {
	log     Log
	events  *Events
	options Options
	image   atomic.Pointer[catalog.Image]

	commits  chan commit
	watches  chan watch
	closing  chan struct{}
	close    func()        // closes closing, once
	done     chan struct{} // closed when the owner has ended
	closeErr error         // of the log; set before done is closed

	counters counters

	ids chan idBlock // holds the one block, for whoever hands out of it
}

var _ catalog.Store = (*Store)(nil)

type counters struct{ commits, snapshots, snapshotFailures atomic.Int64 }

// Stats are counts since Open, for metrics.
type Stats struct {
	Version          int64 // of the image
	Topics           int
	Partitions       int
	Deleting         int   // deleted topics whose folders may still exist
	Commits          int64 // that were committed
	Snapshots        int64
	SnapshotFailures int64 // snapshots that could not be written, and logs that could not be cut behind one
}

// commit is a call of Commit on its way to the owner.
type commit struct {
	at      int64
	changes []catalog.Change
	batch   record.Batch
	reply   chan reply // has room for one
}

type reply struct {
	image *catalog.Image
	err   error
}

// idBlock is what is left of the producer ids that were put aside.
type idBlock struct{ next, end int64 }

// Open replays the log and returns the Store on it, which owns the log from then on. Events must have been handed to
// whoever opened the log; ctx bounds the opening only. If Open fails the log is still the caller's.
func Open(ctx context.Context, log Log, events *Events, options Options) (*Store, error) {
	if options.SnapshotAfter <= 0 {
		options.SnapshotAfter = 1000
	}
	image, end, changes, err := replay(ctx, log, events)
	if err != nil {
		return nil, fmt.Errorf("open the catalog: %w", err)
	}
	s := &Store{
		log: log, events: events, options: options,
		commits: make(chan commit), watches: make(chan watch),
		closing: make(chan struct{}), done: make(chan struct{}),
		ids: make(chan idBlock, 1),
	}
	s.close = sync.OnceFunc(func() { close(s.closing) })
	s.image.Store(image)
	s.ids <- idBlock{}
	o := &owner{Store: s, tip: image, end: end, committed: end, behind: changes}
	go o.run()
	return s, nil
}

// Image implements catalog.Store.
func (s *Store) Image() *catalog.Image { return s.image.Load() }

// Stats returns counts for metrics.
func (s *Store) Stats() Stats {
	i := s.Image()
	return Stats{
		Version: i.Version(), Topics: len(i.Topics()), Partitions: i.Partitions(), Deleting: len(i.Deleting()),
		Commits: s.counters.commits.Load(), Snapshots: s.counters.snapshots.Load(), SnapshotFailures: s.counters.snapshotFailures.Load(),
	}
}

// Commit implements catalog.Store. The changes must not be altered afterwards.
func (s *Store) Commit(ctx context.Context, at int64, changes ...catalog.Change) (*catalog.Image, error) {
	if len(changes) == 0 {
		i := s.Image()
		if at != catalog.Any && at != i.Version() {
			return nil, &catalog.ConflictError{At: at, Current: i.Version()}
		}
		return i, nil
	}
	batch, err := encodeCommit(time.Now().UnixMilli(), changes)
	if err != nil {
		return nil, fmt.Errorf("commit to the catalog: %w", err)
	}
	c := commit{at: at, changes: changes, batch: batch, reply: make(chan reply, 1)}
	select {
	case s.commits <- c:
	case <-s.done:
		return nil, catalog.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case r := <-c.reply:
		return r.image, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("commit to the catalog, outcome unknown: %w", ctx.Err())
	}
}

// Watch implements catalog.Store.
func (s *Store) Watch(fn func(prev, next *catalog.Image)) (stop func()) {
	w := watch{fn: fn, stopped: new(atomic.Bool), ready: make(chan struct{})}
	select {
	case s.watches <- w:
		<-w.ready
	case <-s.done: // no image will follow
		fn(&catalog.Image{}, s.Image())
	}
	return func() { w.stopped.Store(true) }
}

// AllocateProducerIDs implements catalog.Store.
func (s *Store) AllocateProducerIDs(ctx context.Context, n int) (int64, error) {
	if n < 1 || n > catalog.MaxReservation {
		return 0, fmt.Errorf("allocate producer ids: %d at once, allowed are 1 to %d", n, catalog.MaxReservation)
	}
	var block idBlock
	select {
	case block = <-s.ids:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { s.ids <- block }()
	if count := int64(max(n, producerIDBlock)); block.end-block.next < int64(n) {
		image, err := s.Commit(ctx, catalog.Any, catalog.ReserveProducerIDs{Count: count})
		if err != nil {
			return 0, fmt.Errorf("allocate producer ids: %w", err)
		}
		block = idBlock{image.NextProducerID() - count, image.NextProducerID()}
	}
	first := block.next
	block.next += int64(n)
	return first, nil
}

// Close implements catalog.Store. It closes the log too; the error is the log's. Further calls wait for the first.
func (s *Store) Close() error {
	s.close()
	<-s.done
	return s.closeErr
}

// replay reads the log into an image. Changes counts those behind the last snapshot.
func replay(ctx context.Context, log Log, events *Events) (image *catalog.Image, end record.Offset, changes int, err error) {
	start, committed, end := log.Bounds()
	for committed < end {
		// The log holds what it has not yet committed; what is not committed may not be relied on.
		if _, failed := events.state(); failed != nil {
			return nil, 0, 0, failed
		}
		select {
		case <-events.changed:
		case <-ctx.Done():
			return nil, 0, 0, ctx.Err()
		}
		start, committed, end = log.Bounds()
	}
	fold := NewFold(start)
	for fold.at < end {
		chunk, batches, err := readBatches(ctx, log, fold.at, end)
		if err != nil {
			return nil, 0, 0, fmt.Errorf("at offset %d: %w", fold.at, err)
		}
		for len(batches) > 0 {
			position := chunk.Offset + int64(chunk.Length-len(batches))
			var b record.Batch
			if b, batches, err = record.Parse(batches); err == nil {
				err = fold.Add(b)
			}
			if err != nil {
				return nil, 0, 0, fmt.Errorf("at offset %d%s: %w", fold.at, place(chunk.File, position), err)
			}
		}
	}
	return fold.Image(), end, fold.changes, nil
}

// place says where in a file something is, if it is a file that has a name.
func place(f io.ReaderAt, position int64) string {
	if named, ok := f.(interface{ Name() string }); ok {
		return fmt.Sprintf(" (%s, byte %d)", named.Name(), position)
	}
	return ""
}

// readBatches returns the batches from an offset on, and the chunk that they were read of, which is released.
func readBatches(ctx context.Context, log Log, from, to record.Offset) (record.Chunk, []byte, error) {
	const atOnce = 1 << 20
	chunk, err := log.Read(ctx, from, to, atOnce, true)
	if err != nil {
		return chunk, nil, err
	}
	defer chunk.Release()
	batches, err := chunk.AppendTo(nil)
	if err == nil && len(batches) == 0 {
		err = errors.New("there is nothing to read, although the log goes on")
	}
	return chunk, batches, err
}
