package txn

import (
	"math"
	"testing"
	"time"

	"segue/internal/coordinator"
)

// TestLastEpoch aborts a transaction at the largest epoch that there is, at which no producer ever should have been: it cannot be
// fenced with a larger one, and goes on with another id.
func TestLastEpoch(t *testing.T) {
	for version := range int16(3) {
		w := newWorld(t, version)
		w.plant(&transaction{
			id: "a", producerID: 9000, previousID: 9000, nextID: noProducerID, epoch: math.MaxInt16, timeout: 1000, state: Ongoing,
			partitions: []Partition{{"t", 0}}, start: start.UnixMilli(), updated: start.UnixMilli(), version: version,
		})
		w.reload(false)
		w.advance(time.Minute, func(coordinator.Effects) {})
		pending := w.pending()
		if len(pending) != 1 || pending[0].Commit || pending[0].ProducerEpoch != math.MaxInt16 {
			t.Fatalf("version %d: %+v", version, pending)
		}
		w.finish(pending[0].Complete)
		w.do(initOf("a", 1000))
		if got := w.m.transactions["a"]; got.producerID == 9000 || got.epoch > 1 {
			t.Errorf("version %d: %s", version, said(got))
		}
	}
}
