package storage

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"segue/storage/vfs"
)

// flusher syncs the logs of one directory. A log that wants a sync asks for it; every batch that is written to the
// log until a worker takes it up shares that sync, and so do the batches of all logs that wait together once there
// are enough of them for one syncfs. Workers are started when there is work and end when there is none.
type flusher struct {
	dir     *Dir
	workers int        // at the most
	bulk    vfs.Syncer // nil where the file system has no bulk sync that can be trusted
	bulkMin int        // logs that wait before one bulk sync takes them all, whatever it costs

	// doubt is how many bulk syncs have failed. Each says that something was lost that was written before, and not
	// what; and it is the only bulk sync that says so. A log that began to write before a failure is synced for
	// itself, whatever its own bulk sync says.
	doubt atomic.Uint64

	mu      sync.Mutex
	queue   []*Log
	held    int // by those who gather
	running int
	oneCost time.Duration // of a sync of one log, lately; 0 before the first
	allCost time.Duration // of a bulk sync
	inBulk  bool          // a worker is at a bulk sync; there is one at a time, so that the others see its failure
	owing   []*Log        // whose indexes are to note what was synced
	noting  *time.Timer   // that has them do so; nil before it is first needed
	closed  bool
	idle    sync.WaitGroup // for the workers and for noteAll
}

// queueState says where a log stands with its flusher; guarded by flusher.mu.
type queueState uint8

const (
	notQueued   queueState = iota
	inQueue                // waits for a worker
	inWork                 // a worker syncs it
	inWorkAgain            // and it has asked again meanwhile
)

// request asks for a sync of all that the log has written so far. It never blocks.
func (f *flusher) request(l *Log) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch l.queued {
	case notQueued:
		l.queued = inQueue
		f.queue = append(f.queue, l)
	case inWork:
		l.queued = inWorkAgain
		return
	default:
		return
	}
	if f.held == 0 {
		f.startLocked(1)
	}
}

// startLocked starts up to so many more workers. The caller holds mu.
func (f *flusher) startLocked(n int) {
	for ; n > 0 && f.running < f.workers && !f.closed; n-- {
		f.running++
		f.idle.Add(1)
		go f.work()
	}
}

// gather keeps workers from being started until done is called, which starts those that all logs take that wait by then.
// Those that run already go on, and any done is as good as another: nobody keeps others waiting for longer than he
// gathers himself.
func (f *flusher) gather() (done func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held++
	return f.gathered
}

func (f *flusher) gathered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held--
	n := len(f.queue)
	if f.prefersBulk(n) {
		n = 1
	}
	f.startLocked(n)
}

// prefersBulk says whether one bulk sync takes so many logs sooner than their own syncs do, which gain about half of
// their time from running side by side. A bulk sync also writes out what others have left dirty, so what it costs is
// measured; a measure that kept it from being used is forgotten little by little. The caller holds mu.
func (f *flusher) prefersBulk(n int) bool {
	switch {
	case f.bulk == nil:
		return false
	case n >= f.bulkMin, n > 1 && time.Duration(n)*f.oneCost/2 > f.allCost:
		return true
	}
	f.allCost -= f.allCost / 64
	return false
}

// measured takes in what a sync has cost. The caller holds mu.
func measured(cost *time.Duration, took time.Duration) {
	if *cost == 0 {
		*cost = took
	}
	*cost += (took - *cost) / 8
}

// work syncs logs until none waits.
func (f *flusher) work() {
	defer f.idle.Done()
	for {
		logs, bulk := f.take()
		var took time.Duration
		switch {
		case logs == nil:
			return
		case bulk:
			took = f.many(logs)
		default:
			took = f.one(logs[0])
		}
		f.finish(logs, bulk, took)
	}
}

// take returns the logs for one sync, and whether it is to be a bulk sync. If there is nothing to do it returns nil,
// and the worker must end.
func (f *flusher) take() (logs []*Log, bulk bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.queue)
	bulk = f.prefersBulk(n)
	switch {
	case n == 0, bulk && f.inBulk: // so many are best left to the worker that is at the bulk sync
		f.running--
		return nil, false
	case bulk:
		f.inBulk = true
	default:
		n = 1
	}
	logs = append(logs, f.queue[:n]...)
	clear(f.queue[:n])
	if f.queue = f.queue[n:]; len(f.queue) == 0 {
		f.queue = nil
	}
	for _, l := range logs {
		l.queued = inWork
	}
	return logs, bulk
}

// finish puts the logs back into the queue that have asked again meanwhile. The sync took so long, 0 if there was none.
func (f *flusher) finish(logs []*Log, bulk bool, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cost := &f.oneCost
	if bulk {
		f.inBulk = false
		cost = &f.allCost
	}
	if took > 0 {
		measured(cost, took)
	}
	for _, l := range logs {
		if l.queued == inWorkAgain {
			l.queued = inQueue
			f.queue = append(f.queue, l)
		} else {
			l.queued = notQueued
		}
	}
}

// one syncs one log and returns how long that took.
func (f *flusher) one(l *Log) (took time.Duration) {
	job, ok := l.beginFlush()
	if !ok {
		return 0
	}
	start := time.Now()
	err := job.sync(f.dir)
	took = time.Since(start)
	f.dir.counters.flushes.observe(took)
	l.raise(job, err)
	l.endFlush(job, err, false)
	return took
}

// many covers all logs by one bulk sync. If that fails, or another failed since they began to write, each log is synced
// for itself, which tells the one whose bytes were lost: the kernel remembers a failed write-back for every open
// descriptor of the file. It returns how long the bulk sync took.
func (f *flusher) many(logs []*Log) (took time.Duration) {
	jobs := make([]flushJob, 0, len(logs))
	of := make([]*Log, 0, len(logs))
	for _, l := range logs {
		if job, ok := l.beginFlush(); ok {
			jobs, of = append(jobs, job), append(of, l)
		}
	}
	if len(jobs) == 0 {
		return 0
	}
	start := time.Now()
	bulkErr := f.bulk.Sync()
	took = time.Since(start)
	f.dir.counters.flushes.observe(took)
	if bulkErr != nil {
		f.doubt.Add(1)
		f.dir.log.Warn().Err(bulkErr).Int("logs", len(jobs)).Msg("bulk sync failed; syncing each log for itself")
	}
	errs := make([]error, len(of))
	for i, l := range of {
		if jobs[i].doubt != f.doubt.Load() {
			errs[i] = jobs[i].sync(f.dir)
		}
		l.raise(jobs[i], errs[i])
	}
	for i, l := range of {
		l.endFlush(jobs[i], errs[i], true)
	}
	return took
}

// close waits for the workers to end. Requests after it are never served; every log has been closed before.
func (f *flusher) close() error {
	f.mu.Lock()
	f.closed = true
	if f.noting != nil {
		f.noting.Stop()
	}
	f.mu.Unlock()
	f.idle.Wait()
	if f.bulk == nil {
		return nil
	}
	if err := f.bulk.Close(); err != nil {
		return fmt.Errorf("end bulk sync: %w", err)
	}
	return nil
}
