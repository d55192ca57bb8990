package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"segue/storage/record"
)

// Log is the log of one topic-partition. It is safe for concurrent use. It has no goroutine of its own, and no
// folder and no file before the first append.
//
// Locks, in order: maintenance, writer, mu. Readers take none of them.
type Log struct {
	dir    *Dir
	id     Identity
	folder string
	events Events
	keeper Keeper
	jitter float64 // part of SegmentJitter that is this log's

	cfg  atomic.Pointer[Config]
	view atomic.Pointer[view]
	end  atomic.Int64 // the log end offset: what the next record gets

	// maintenance is the turn of whoever changes the beginning of the log or its side files: retention, deletion
	// of records, checkpoints. It is a turn and not a mutex, since it is held across I/O and waited for with a
	// context.
	maintenance  chan struct{}
	checkpointed record.Offset // where the newest checkpoint stands; of whoever has the turn
	found        foundState    // of whoever has the turn

	// writer is held over the one write of a batch and over a roll. It guards the fields below it.
	writer    sync.Mutex
	hot       *hotSegment // nil before the first append
	lastEpoch int32       // leader epoch of the last batch; -1 before the first
	hasFolder bool

	// mu guards the bookkeeping of writes and syncs. It is never held across I/O, a wait or an event.
	mu      sync.Mutex
	written mark
	synced  mark
	commit  mark
	dirty   []*Segment  // written since their last sync began, in order; each is pinned once for being here
	sealed  []*Segment  // rolled, their index not yet closed; each is held
	newDirs []string    // folders whose entries are to be synced before what is in them counts as synced
	unsure  bool        // the log was found in its folder, and whether the names in it are durable is not known
	records int64       // written since the last sync began
	failure error       // sticky
	closing bool        // no write begins any more
	closed  bool        // no read either
	timer   *time.Timer // of the flush interval; nil before it is first needed
	armed   bool
	doubt   uint64 // the flusher's before the first of the writes since
	begun   uint64 // flush jobs so far
	inFlush bool   // the last of them is under way
	waiting []syncWaiter
	queued  queueState // of the flusher, under its lock

	owed note

	announced  record.Offset // what Events knows
	told       bool          // Events knows of the failure
	delivering bool
	delivered  sync.Cond // delivering has become false

	done chan struct{} // closed when the log is

	halted     atomic.Bool // an exchange of segments was left to the next open; no other is begun before
	compacting *compacting // who compacts the log; nil for nobody. Guarded by mu
	cleaned    cleaned     // of whoever compacts it, and of whoever has Dir.compactor's turn while nobody does
}

// view is the list of a log's segments, ascending, the last one hot. It is immutable; a change publishes another.
type view struct {
	segments []*Segment
	start    record.Offset // the log start offset
	lost     record.Offset // below it, from start on, the segments are missing
}

// mark is a place between two batches: every record below offset lies before position in segment or in an earlier
// one.
type mark struct {
	offset   record.Offset
	segment  *Segment // nil in an empty log
	position int64
}

// syncWaiter waits for the flush job of a number.
type syncWaiter struct {
	job  uint64
	done chan error // has room for the one answer
}

func newLog(d *Dir, id Identity, c Config, e Events, k Keeper) *Log {
	l := &Log{
		dir: d, id: id, folder: filepath.Join(d.path, id.Folder()), events: e, keeper: k,
		jitter: rand.Float64(), maintenance: make(chan struct{}, 1), lastEpoch: -1, done: make(chan struct{}),
	}
	l.delivered.L = &l.mu
	l.cfg.Store(&c)
	l.view.Store(&view{})
	return l
}

// Identity returns which log this is.
func (l *Log) Identity() Identity { return l.id }

// Configure changes the log's configuration, for appends, flushes and cleaning from now on. A segment keeps the
// room for its index that it was made with.
func (l *Log) Configure(c Config) {
	l.cfg.Store(&c)
	// What was written under the old policy and still lacks its sync may be overdue under the new one.
	l.dir.flusher.request(l)
}

// Bounds returns the log start offset, the offset below which everything is committed, and the log end offset.
func (l *Log) Bounds() (start, committed, end record.Offset) {
	l.mu.Lock()
	committed = l.commit.offset
	l.mu.Unlock()
	// In this order, so that start <= committed <= end holds in every answer.
	end = record.Offset(l.end.Load())
	start = min(l.view.Load().start, committed)
	return start, committed, end
}

// Size returns the bytes of all batches that the log holds.
func (l *Log) Size() (n int64) {
	for _, s := range l.view.Load().segments {
		n += s.size.Load()
	}
	return n
}

// Append stamps the log's end offset and the leader epoch into the batches' headers and writes the batches, which the
// caller has checked, in order and with as few writes as may be. It returns the offset of the first record and the offset
// behind the last one. The batches are in the log when Append returns; they are durable once committed has passed them,
// which Events tells.
//
// With an error, the batches that end at or below next are in the log and the others are not; next is base where that is
// all of them, and ErrNotWritten says so of each. ErrStaleEpoch refuses an epoch below that of the last batch. The
// context is looked at before the write only: a write that has begun is finished.
func (l *Log) Append(ctx context.Context, epoch int32, batches ...record.Batch) (base, next record.Offset, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	c := l.cfg.Load()
	l.writer.Lock()
	base = record.Offset(l.end.Load())
	for next = base; len(batches) > 0 && err == nil; {
		var n int
		n, err = l.write(epoch, batches, c)
		next = record.Offset(l.end.Load())
		batches = batches[n:]
	}
	l.writer.Unlock()
	l.deliver() // with an error too: it may be that the log has failed
	return base, next, err
}

// write writes the first batch and as many behind it as go into the same segment, with one write, and returns how many
// these are: none with an error. The caller holds writer.
func (l *Log) write(epoch int32, batches []record.Batch, c *Config) (n int, err error) {
	if err := l.usable(); err != nil {
		return 0, err
	}
	if epoch < l.lastEpoch {
		return 0, fmt.Errorf("append to %s at leader epoch %d, the log holds %d: %w", l.id, epoch, l.lastEpoch, ErrStaleEpoch)
	}
	doubt := l.dir.flusher.doubt.Load()
	var next record.Offset
	var bytes, records int64
	put := func() error {
		if l.hot != nil {
			if err := l.hot.rouse(); err != nil {
				return err
			}
		}
		n, next, bytes, records = 0, record.Offset(l.end.Load()), 0, 0
		for ; n < len(batches); n++ {
			b := batches[n]
			b.SetBaseOffset(next)
			b.SetLeaderEpoch(epoch)
			if l.hot == nil || l.hot.mustRoll(b, bytes, c, l.jitter) {
				if n > 0 {
					break
				}
				if err := l.roll(c); err != nil {
					return err
				}
			}
			next = b.NextOffset()
			bytes += int64(b.Size())
			records += int64(b.Count())
		}
		return l.hot.append(batches[:n], c)
	}
	if c.UseReserve {
		err = l.dir.reserve.with(forCatalog, put)
	} else {
		err = put()
	}
	if err != nil {
		if IsFull(err) {
			l.dir.reserve.noteFull(err)
		} else {
			l.dir.lastError.Store(&writeError{time.Now(), err})
		}
		l.noteCut(doubt)
		l.dir.counters.appendErrors.Add(1)
		if errors.Is(err, ErrFailed) {
			return 0, err
		}
		return 0, fmt.Errorf("append to %s: %w: %w", l.id, ErrNotWritten, err)
	}
	l.lastEpoch = epoch
	l.end.Store(int64(next))
	l.wrote(mark{next, l.hot.Segment, l.hot.size.Load()}, records, doubt, c)
	l.dir.counters.appends.Add(int64(n))
	l.dir.counters.appendedBytes.Add(bytes)
	return n, nil
}

// usable returns why the log takes no more writes, if so.
func (l *Log) usable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usableLocked()
}

func (l *Log) usableLocked() error {
	switch {
	case l.closing:
		return fmt.Errorf("%s: %w", l.id, ErrClosed)
	case l.failure != nil:
		return fmt.Errorf("%s: %w: %w", l.id, ErrFailed, l.failure)
	}
	return nil
}

// roll seals the hot segment, if there is one, and begins the next at the log's end. The caller holds writer.
func (l *Log) roll(c *Config) error {
	base := record.Offset(l.end.Load())
	if l.hot != nil && l.hot.untidy {
		if err := l.hot.tidy(); err != nil {
			return err
		}
	}
	l.noteCut(l.dir.flusher.doubt.Load())
	if !l.hasFolder {
		if err := l.makeFolder(); err != nil {
			return err
		}
	}
	if err := l.nameHot(); err != nil {
		return err
	}
	hot, err := createHot(l.dir, l.folder, base, c)
	if err != nil {
		if l.hot != nil {
			l.hot.rollDue = true // a power cut may bring back what was removed just now
		}
		return fmt.Errorf("create segment %d: %w", base, err)
	}
	old := l.hot
	l.hot = hot
	v := l.view.Load()
	segments := append(v.segments[:len(v.segments):len(v.segments)], hot.Segment)
	l.view.Store(&view{segments: segments, start: v.start, lost: v.lost})

	l.mu.Lock()
	l.written = mark{offset: base, segment: hot.Segment}
	l.newDirs = append(l.newDirs, l.folder)
	if old != nil && old.hold() {
		l.sealed = append(l.sealed, old.Segment)
	}
	l.mu.Unlock()
	if old != nil {
		l.dir.counters.rolls.Add(1)
		l.dir.flusher.request(l) // a roll always syncs
	}
	return nil
}

// nameHot makes the hot segment's name durable if no sync has come to that yet. A segment is not begun before the one
// in front of it is sure to be found: a log that had lost its beginning to a power cut would look like one whose
// beginning was deleted.
func (l *Log) nameHot() error {
	if l.hot == nil || l.hot.named.Load() {
		return nil
	}
	if err := l.dir.fs.SyncDir(l.folder); err != nil {
		l.mu.Lock()
		l.failLocked(fmt.Errorf("sync: %w", err))
		l.wakeLocked(0)
		l.mu.Unlock()
		return l.usable()
	}
	l.hot.named.Store(true)
	return nil
}

// makeFolder makes the log's folder and writes down the topic id. A crash before the first sync may leave any part
// of it, and nothing that was acknowledged.
func (l *Log) makeFolder() error {
	if err := l.dir.fs.MkdirAll(l.folder); err != nil {
		return err
	}
	if err := writeMetadata(l.dir.fs, l.folder, l.id); err != nil {
		return err
	}
	l.hasFolder = true
	l.mu.Lock()
	l.newDirs = append(l.newDirs, l.dir.path)
	l.mu.Unlock()
	return nil
}

// adopt takes over what recovery found. It is called once, before anybody else has the log.
func (l *Log) adopt(r recovered) {
	l.hot, l.hasFolder, l.lastEpoch = r.hot, r.hasFolder, r.lastEpoch
	l.view.Store(&view{segments: r.segments, start: r.start, lost: r.lost})
	l.end.Store(int64(r.end))
	m := mark{offset: r.end}
	if r.hot != nil {
		m.segment, m.position = r.hot.Segment, r.hot.size.Load()
	}
	l.written, l.synced, l.commit, l.announced = m, m, m, r.end
	l.checkpointed, l.unsure, l.cleaned, l.found = r.checkpointed, r.hasFolder, r.cleaned, r.found
}
