package partition

import (
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
	if b.IsTransactional() && !b.IsControl() && p.isolation.Load().isAborted(b.Header) {
		return storage.DropAll
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.producers.endWith(b.Header) {
		return storage.KeepBatch
	}
	return storage.KeepLatest
}
