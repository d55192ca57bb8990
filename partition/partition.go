package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage"
	"segue/storage/record"
)

// Partition is one topic-partition that this broker leads. Open or a Manager makes one. It is safe for concurrent use.
type Partition struct {
	id     storage.Identity
	epoch  int32 // the leader epoch of this broker's leadership
	log    Log
	codecs *Codecs
	hooks  hooks

	config atomic.Pointer[Config]
	// epochs is the history of leader epochs, this one's included. It is not written to after Open.
	epochs epochs
	// isolation is what readers of committed data have to know; nil while there is nothing. It is published before the
	// batches are written that it tells of, and loaded after the high watermark.
	isolation atomic.Pointer[isolation]
	dropped   atomic.Int64 // how many aborted transactions isolation tells of no more; stored before it

	high   atomic.Int64           // the high watermark, as the log has announced it
	failed atomic.Pointer[string] // why the log has failed; nil while it has not
	ready  atomic.Bool            // what is known of the log is up to its end, and log is set
	closed atomic.Bool

	// mu is the append lock. It guards what follows.
	mu           sync.Mutex
	producers    producers
	transactions transactions
	guards       guards
	draining     bool // closing: no more appends

	waiters waiters

	// turn is held by who saves a checkpoint; it is a channel because it is waited for with a context. It guards saved and
	// savedDropped.
	turn         chan struct{}
	saved        record.Offset // what the last checkpoint covers; -1 if there is none
	savedDropped int64         // how many aborted transactions had been dropped by then
	// behind is how many bytes lie behind the last checkpoint, and since when the first of them, in Unix milliseconds.
	behind, since atomic.Int64

	counters counters
}

// hooks are what the owner of a partition wants to hear of.
type hooks struct {
	// due is called, under the append lock, when dueBytes lie behind the last checkpoint. It must not block.
	due      func(*Partition)
	dueBytes int64
}

// Offsets are the marks of a partition. LogStart <= LastStable <= HighWatermark <= LogEnd.
type Offsets struct {
	LogStart      record.Offset // of the first record that can be read
	LastStable    record.Offset // below it no transaction is open: as far as a reader of committed data may read
	HighWatermark record.Offset // below it all is committed: as far as consumers may read
	LogEnd        record.Offset // of the next record to be written
	LeaderEpoch   int32         // the current leader's
}

// Open opens a partition that this broker leads from now on at the given leader epoch, a new one if the store holds
// none: it opens the log and brings the producer table and the epoch history up to its end, from the last checkpoint.
// Errors are those of the log, translated; an epoch below one in the log is NOT_LEADER_OR_FOLLOWER.
func Open(ctx context.Context, store Store, id storage.Identity, epoch int32, c Config, codecs *Codecs) (*Partition, error) {
	return open(ctx, store, id, epoch, &c, codecs, hooks{})
}

// open is Open. The configuration is not written to: partitions may share it.
func open(ctx context.Context, store Store, id storage.Identity, epoch int32, c *Config, codecs *Codecs, h hooks) (*Partition, error) {
	p := &Partition{id: id, epoch: epoch, codecs: codecs, hooks: h, turn: make(chan struct{}, 1)}
	p.config.Store(c)
	log, err := store.Open(ctx, id, c.Log, (*events)(p), (*keeper)(p))
	if err != nil {
		return nil, translate("open "+id.String(), err)
	}
	p.log = log
	if err := p.recover(ctx); err != nil {
		return nil, errors.Join(translate("open "+id.String(), err), log.Close())
	}
	p.ready.Store(true)
	return p, nil
}

// recover folds the log into the producer table and the epoch history, and begins this leader's epoch.
func (p *Partition) recover(ctx context.Context) error {
	start, committed, end := p.log.Bounds()
	p.raise(committed)
	s, from, at := state{}, start, record.Offset(-1)
	covered, saved, err := p.log.Load(ctx, checkpointName)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && covered <= end && s.decode(saved) == nil:
		if covered < start {
			s.transactions.reopen()
		}
		from, at = max(from, covered), covered
	default:
		// None, or none that is of use: the whole log tells the same, only slower.
		s = state{}
	}
	now := time.Now().UnixMilli()
	if err := s.replay(ctx, p.log, from, end, now); err != nil {
		return fmt.Errorf("replay from offset %d: %w", from, err)
	}
	if last := max(s.epochs.last(), s.highest); p.epoch < last {
		return fmt.Errorf("leader epoch %d is below %d, which the log was written in; is the catalog of an older date? "+
			"If the log is in its right place, remove its partition.metadata and start the broker again: %w",
			p.epoch, last, storage.ErrStaleEpoch)
	}
	s.epochs = s.epochs.assign(p.epoch, end)
	s.expire(now, p.config.Load().ProducerExpiry)
	s.transactions.settle(start, committed)
	p.epochs, p.producers, p.transactions, p.saved = s.epochs, s.producers, s.transactions, at
	p.publish()
	p.savedDropped = p.transactions.dropped
	p.counters.producers.Store(int64(len(s.producers.byID)))
	if err == nil && covered > end {
		// The checkpoint tells of batches that a power cut took (which can be where flush.messages is above 1). It
		// must not be believed once others have been written in their place.
		if err := p.log.Save(ctx, checkpointName, end, s.encode()); err != nil {
			return fmt.Errorf("replace a checkpoint from beyond the log's end: %w", err)
		}
		p.saved = end
	}
	if p.saved < end {
		p.behind.Store(1) // how much is not known, nor does it matter
		p.since.Store(now)
	}
	return nil
}

// Identity returns which partition this is.
func (p *Partition) Identity() storage.Identity { return p.id }

// LeaderEpoch returns the epoch at which this broker leads the partition.
func (p *Partition) LeaderEpoch() int32 { return p.epoch }

// Ended returns why nothing more will be committed: NOT_LEADER_OR_FOLLOWER once the partition is closed,
// KAFKA_STORAGE_ERROR once it has failed, nil before. It waits for nobody.
func (p *Partition) Ended() error {
	if p.closed.Load() {
		return translate(p.id.String(), errClosed)
	}
	if cause := p.failed.Load(); cause != nil {
		return refuse(kerr.KafkaStorageError, "%s has failed and takes no more writes until it is opened again (%s)", p.id, *cause)
	}
	return nil
}

// Failure returns why the partition takes no more writes, KAFKA_STORAGE_ERROR, or nil while it has not failed. What was
// committed before can still be read.
func (p *Partition) Failure() error {
	if p.failed.Load() == nil {
		return nil
	}
	return p.Ended()
}

// events is what the log calls: the partition's other face.
type events Partition

// Committed implements storage.Events. It may be called under the append lock, by the append that committed.
func (e *events) Committed(next record.Offset) {
	p := (*Partition)(e)
	p.raise(next)
	p.wake(false)
}

// Failed implements storage.Events.
func (e *events) Failed(cause error) {
	p := (*Partition)(e)
	text := cause.Error()
	p.failed.Store(&text)
	p.wake(true)
}

// BeforeRetention implements storage.Heir: what retention takes may be all that is known of a producer.
func (e *events) BeforeRetention(ctx context.Context) error {
	p := (*Partition)(e)
	if !p.ready.Load() {
		return errOpening
	}
	return p.keepProducers(ctx)
}

// errOpening keeps retention from a log that is still being read.
var errOpening = errors.New("the partition is being opened")

func (p *Partition) raise(high record.Offset) {
	for {
		was := p.high.Load()
		if was >= int64(high) || p.high.CompareAndSwap(was, int64(high)) {
			return
		}
	}
}

// Offsets returns the partition's marks, in an order that always holds. It waits for nobody's I/O.
func (p *Partition) Offsets() Offsets {
	high := record.Offset(p.high.Load())
	start, _, end := p.log.Bounds()
	// The bounds are younger than the mark, and only committed records are ever deleted.
	high = max(high, start)
	stable := p.isolation.Load().stable(start, high)
	return Offsets{LogStart: start, LastStable: stable, HighWatermark: high, LogEnd: max(end, high), LeaderEpoch: p.epoch}
}

// Configure changes the partition's configuration, for appends that begin from now on.
func (p *Partition) Configure(c Config) { p.configure(&c) }

func (p *Partition) configure(c *Config) {
	p.config.Store(c)
	p.log.Configure(c.Log)
}

// Size returns the bytes of all batches in the log.
func (p *Partition) Size() int64 { return p.log.Size() }

// Producers returns the producers that the partition knows, in no order.
func (p *Partition) Producers() []ProducerState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.producers.states(p.transactions.open)
}

// expireProducers forgets the producers whose time is up.
func (p *Partition) expireProducers() {
	if p.counters.producers.Load()+p.counters.guards.Load() == 0 {
		return // so an idle partition is not even locked
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now().UnixMilli()
	p.producers.expire(now, p.config.Load().ProducerExpiry, p.transactions.open)
	p.guards.expire(now)
	p.counters.producers.Store(p.producers.count())
	p.counters.guards.Store(int64(len(p.guards.byID)))
}

// publish has readers know what is known of transactions. The caller holds mu.
func (p *Partition) publish() {
	p.dropped.Store(p.transactions.dropped)
	p.isolation.Store(p.transactions.view())
}

// Checkpoint saves the producer table, the epoch history and the transactions as they are now, once all that they rest on is
// committed. It does nothing if that is what the last one says.
func (p *Partition) Checkpoint(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return translate("checkpoint of "+p.id.String(), ctx.Err())
	}
	defer func() { <-p.turn }()

	p.mu.Lock()
	start, _, end := p.log.Bounds()
	if end == max(p.saved, 0) && p.savedDropped == p.transactions.dropped {
		p.mu.Unlock()
		return nil
	}
	p.transactions.settle(start, record.Offset(p.high.Load()))
	p.publish()
	dropped := p.transactions.dropped
	s := state{epochs: p.epochs, producers: p.producers, transactions: p.transactions}
	encoded, behind, now := s.encode(), p.behind.Load(), time.Now().UnixMilli()
	p.mu.Unlock()

	if err := p.Await(ctx, end); err != nil {
		return translate("checkpoint of "+p.id.String(), err)
	}
	if err := p.log.Save(ctx, checkpointName, end, encoded); err != nil {
		return translate("checkpoint of "+p.id.String(), err)
	}
	p.saved, p.savedDropped = end, dropped
	if p.behind.Add(-behind) > 0 {
		p.since.Store(now)
	}
	return nil
}

// Close ends the partition: no more appends, then a checkpoint once all is committed, then the log. When the context
// ends the checkpoint is left out; the partition is closed nevertheless. Whoever waits is woken. Closing again does
// nothing.
func (p *Partition) Close(ctx context.Context) error { return p.close(ctx, true) }

func (p *Partition) close(ctx context.Context, save bool) error {
	p.mu.Lock()
	again := p.draining
	p.draining = true
	p.mu.Unlock()
	if again {
		return nil
	}
	var err error
	if save && p.failed.Load() == nil {
		if err = p.Checkpoint(ctx); ctx.Err() != nil || storage.IsFull(err) {
			err = nil // left out, as it is meant to be; the next open replays more
		}
	}
	err = errors.Join(err, translate("close "+p.id.String(), p.log.Close()))
	p.closed.Store(true)
	p.wake(true)
	return err
}
