package partition

import (
	"context"

	"segue/storage"
	"segue/storage/record"
)

// keeper is what compaction asks: another face of the partition.
type keeper Partition

// CleanLimit implements storage.Keeper. Nothing may go before all that was read from the log is known, nor above what a
// reader of committed data may read.
func (k *keeper) CleanLimit() record.Offset {
	p := (*Partition)(k)
	if !p.ready.Load() {
		return 0
	}
	return p.Offsets().LastStable
}

// Keep implements storage.Keeper. The last batch of each producer that is known stays, if only its header: should the
// checkpoint be lost, nothing else tells which sequence number is next (Kafka's Cleaner keeps it for the same reason).
// Once another batch of the producer's is written the earlier one is the last no more, and never again. What was aborted
// goes, and hides no older value.
func (k *keeper) Keep(b record.Batch) storage.Verdict {
	p := (*Partition)(k)
	if !p.ready.Load() {
		return storage.KeepAll
	}
	if b.ProducerID() < 0 {
		return storage.KeepLatest
	}
	p.mu.Lock()
	last := p.producers.endWith(b.Header)
	p.mu.Unlock()
	aborted := b.IsTransactional() && !b.IsControl() && p.isolation.Load().isAborted(b.Header)
	switch {
	case last && aborted:
		return storage.DropRecords
	case aborted:
		return storage.DropAll
	case last:
		return storage.KeepBatch
	}
	return storage.KeepLatest
}

// Forget implements storage.Keeper. Without the markers nothing in the log tells how their transactions have ended, so a
// checkpoint from before them would leave those open, and one that tells of an aborted one would have readers wait for its end.
func (k *keeper) Forget(ctx context.Context, markers []record.Offset) error {
	p := (*Partition)(k)
	if !p.ready.Load() {
		return errOpening
	}
	p.mu.Lock()
	if p.transactions.forget(markers) {
		p.publish()
	}
	p.mu.Unlock()
	return p.Checkpoint(ctx)
}
