//go:build integration && unix

package integration

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// undone tells, batch by batch of an answer to a Fetch, what a consumer is not to be given: control records, and what is of
// the transactions that the answer calls aborted.
type undone struct {
	aborted []kmsg.FetchResponseTopicPartitionAbortedTransaction
	open    map[int64]bool // producers whose batches are, at this place, of an aborted transaction
}

// skips says whether the next batch is nothing for a consumer.
func (u *undone) skips(b record.Batch) bool {
	for i := 0; i < len(u.aborted); i++ {
		if u.aborted[i].FirstOffset <= int64(b.LastOffset()) {
			u.open[u.aborted[i].ProducerID] = true
			u.aborted = append(u.aborted[:i:i], u.aborted[i+1:]...)
			i--
		}
	}
	if b.IsControl() {
		if isAbort(b) {
			delete(u.open, b.ProducerID())
		}
		return true
	}
	return b.IsTransactional() && u.open[b.ProducerID()]
}

// isAbort says whether a control batch is the marker of an abort.
func isAbort(b record.Batch) bool {
	for r, err := range b.Records(nil) {
		return err == nil && len(r.Key) >= 4 && binary.BigEndian.Uint16(r.Key[2:]) == 0
	}
	return false
}
