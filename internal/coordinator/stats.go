package coordinator

import (
	"sync/atomic"
	"time"
)

// counters count what a Runtime does.
type counters struct {
	loads, loadFailures, loadTime, loadedRecords, unknownRecords, transactionalRecords atomic.Int64
	commands, records, batches, failures, panics                                       atomic.Int64
}

// Stats is what a Runtime counts. Figures of one call are not taken at one instant. All but the shards only grow.
type Stats struct {
	// Loading, Serving and Pausing are the shards that are here, by what they are at. Those that pause have failed and
	// will be loaded again.
	Loading, Serving, Pausing int

	Loads                int64         // that were done
	LoadFailures         int64         // loads that were not
	LoadTime             time.Duration // of all that were
	LoadedRecords        int64         // applied by loads
	UnknownRecords       int64         // left out because a newer version wrote them
	TransactionalRecords int64         // left out because they are part of a transaction

	Commands int64 // taken
	Records  int64 // appended
	Batches  int64 // in which they were
	Failures int64 // of a log or a machine, after which the shard was loaded again
	Panics   int64 // of machines, among these
}

// Stats returns the counts. It waits for no shard.
func (r *Runtime[In]) Stats() Stats {
	c := &r.counters
	s := Stats{
		Loads: c.loads.Load(), LoadFailures: c.loadFailures.Load(), LoadTime: time.Duration(c.loadTime.Load()),
		LoadedRecords: c.loadedRecords.Load(), UnknownRecords: c.unknownRecords.Load(),
		TransactionalRecords: c.transactionalRecords.Load(),
		Commands:             c.commands.Load(), Records: c.records.Load(), Batches: c.batches.Load(),
		Failures: c.failures.Load(), Panics: c.panics.Load(),
	}
	var by [shardStates]int
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, shard := range r.shards {
		by[shard.state.Load()]++
	}
	s.Loading, s.Serving, s.Pausing = by[loading], by[serving], by[pausing]
	return s
}
