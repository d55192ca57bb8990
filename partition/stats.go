package partition

import (
	"sync/atomic"

	"segue/storage/record"
)

// counters count what a partition did since it was opened, and the producers and guards that it knows now. They are read
// without the append lock, which may be held by a write that hangs.
type counters struct {
	batches, records, bytes, duplicates, refused, producers, guards atomic.Int64
}

func (c *counters) wrote(b record.Batch) {
	c.batches.Add(1)
	c.records.Add(int64(b.Count()))
	c.bytes.Add(int64(b.Size()))
}

// Stats is what a partition counts. All but Producers only grows while the partition is open.
type Stats struct {
	Batches    int64 // written
	Records    int64 // in them
	Bytes      int64 // of them, as stored
	Duplicates int64 // batches that were there already
	Refused    int64 // batches that were not fit to be written, or out of their turn
	Producers  int64 // known now
}

func (s *Stats) add(o Stats) {
	s.Batches += o.Batches
	s.Records += o.Records
	s.Bytes += o.Bytes
	s.Duplicates += o.Duplicates
	s.Refused += o.Refused
	s.Producers += o.Producers
}

// Stats returns the partition's counts. It waits for nobody.
func (p *Partition) Stats() Stats {
	c := &p.counters
	return Stats{
		Batches: c.batches.Load(), Records: c.records.Load(), Bytes: c.bytes.Load(),
		Duplicates: c.duplicates.Load(), Refused: c.refused.Load(), Producers: c.producers.Load(),
	}
}
