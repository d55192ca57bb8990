package partition

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage/record"
)

// Marker ends a transaction of a producer in a partition: it is what a control batch says (Kafka's EndTransactionMarker).
type Marker struct {
	ProducerID       int64
	ProducerEpoch    int16
	Commit           bool  // or abort
	CoordinatorEpoch int32 // of the transaction coordinator that wrote it, which fences earlier ones
	// Version is the transaction.version that the transaction ends under, 0 to 2 (KIP-890). It decides which epochs may
	// end a transaction and is not written.
	Version int16
}

// marker is what a control batch does with its producer's transaction.
type marker uint8

const (
	noMarker marker = iota
	abortMarker
	commitMarker
)

// The forms of a control record's key and value (Kafka's ControlRecordType and EndTransactionMarker).
const (
	controlTypeAt     = 2 // behind the version of the key's form
	controlKeySize    = 4
	coordinatorEpoch  = 2 // its place, behind the version of the value's form
	markerValueSize   = 6
	controlTypeAbort  = 0
	controlTypeCommit = 1
)

// batch returns the control batch of a marker.
func (m Marker) batch(unixMilli int64) (record.Batch, error) {
	b := record.NewBuilder(0)
	b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = m.ProducerID, m.ProducerEpoch, true, true
	key, value := make([]byte, controlKeySize), make([]byte, markerValueSize)
	if m.Commit {
		binary.BigEndian.PutUint16(key[controlTypeAt:], controlTypeCommit)
	}
	binary.BigEndian.PutUint32(value[coordinatorEpoch:], uint32(m.CoordinatorEpoch))
	b.Add(unixMilli, key, value)
	return b.Build()
}

// MarkerIn returns the marker in a control batch, and whether the batch is one that can be understood. The Version is 0.
func MarkerIn(b record.Batch) (Marker, bool) {
	if !b.IsControl() || !b.IsTransactional() || b.Codec() != record.None || b.Verify() != nil {
		return Marker{}, false
	}
	m := Marker{ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), CoordinatorEpoch: -1}
	for r, err := range b.Records(nil) {
		if err != nil || len(r.Key) < controlKeySize {
			return Marker{}, false
		}
		kind := binary.BigEndian.Uint16(r.Key[controlTypeAt:])
		m.Commit = kind == controlTypeCommit
		if len(r.Value) >= markerValueSize {
			m.CoordinatorEpoch = int32(binary.BigEndian.Uint32(r.Value[coordinatorEpoch:]))
		}
		return m, kind <= controlTypeCommit
	}
	return Marker{}, false // compaction has emptied it
}

// Verb is "commit" or "abort".
func (m Marker) Verb() string {
	if m.Commit {
		return "commit"
	}
	return "abort"
}

// kind is what the marker does.
func (m Marker) kind() marker {
	if m.Commit {
		return commitMarker
	}
	return abortMarker
}

// AppendMarker ends a producer's transaction in the partition, if there is one: it writes a control batch, on behalf of a
// transaction coordinator. Epoch is the leader epoch that the caller goes by, -1 for any. The context is as in Append.
//
// The errors, beside the log's: INVALID_PRODUCER_EPOCH for a producer epoch below the one that is known, and under version 2
// also for the same one, since there each transaction ends in an epoch of its own, unless nothing is open: then it is a
// retry; TRANSACTION_COORDINATOR_FENCED for a coordinator that another has followed; NOT_LEADER_OR_FOLLOWER,
// KAFKA_STORAGE_ERROR (Kafka's ProducerAppendInfo.appendEndTxnMarker).
func (p *Partition) AppendMarker(ctx context.Context, epoch int32, m Marker) (Ack, error) {
	b, err := m.batch(time.Now().UnixMilli())
	if err != nil {
		return Ack{}, translate("make a marker for "+p.id.String(), err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.mayAppend(epoch); err != nil {
		return Ack{}, err
	}
	if err := p.checkMarker(m); err != nil {
		p.counters.refused.Add(1)
		return Ack{}, err
	}
	a := Addition{Batch: b, marker: m}
	p.write(ctx, p.config.Load(), []*Addition{&a})
	p.counters.producers.Store(p.producers.count())
	return a.Ack, a.Err
}

// checkMarker holds a marker against what the partition knows of its producer. The caller holds mu.
func (p *Partition) checkMarker(m Marker) error {
	if m.ProducerID < 0 || m.ProducerEpoch < 0 {
		return refuse(kerr.InvalidProducerEpoch, "append a marker to %s: producer %d at epoch %d is none", p.id, m.ProducerID, m.ProducerEpoch)
	}
	known := p.producers.byID[m.ProducerID]
	if known == nil {
		return nil
	}
	late := m.ProducerEpoch < known.epoch
	if m.Version >= 2 && m.ProducerEpoch == known.epoch {
		late = p.transactions.open[m.ProducerID] != nil && m.ProducerEpoch != math.MaxInt16
	}
	switch {
	case late:
		return refuse(kerr.InvalidProducerEpoch, "append a marker to %s: producer %d ends a transaction at epoch %d, and epoch %d has been seen",
			p.id, m.ProducerID, m.ProducerEpoch, known.epoch)
	case m.CoordinatorEpoch < known.coordinatorEpoch:
		return refuse(kerr.TransactionCoordinatorFenced,
			"append a marker to %s: the coordinator of producer %d writes at epoch %d, and one at epoch %d has",
			p.id, m.ProducerID, m.CoordinatorEpoch, known.coordinatorEpoch)
	}
	return nil
}

// readMarker reads the control batch at a position of a chunk's file. An error is that of reading: a batch that cannot be
// understood is no marker, so its transaction stays open.
func readMarker(c record.Chunk, at int64, size int) (Marker, marker, error) {
	if size > maxScanRead {
		return Marker{}, noMarker, nil // a marker has some 80 bytes
	}
	buf := make([]byte, size)
	if _, err := c.File.ReadAt(buf, at); err != nil && err != io.EOF {
		return Marker{}, noMarker, fmt.Errorf("read a transaction marker: %w", err)
	}
	b, _, err := record.Parse(buf)
	if err != nil {
		return Marker{}, noMarker, nil
	}
	m, ok := MarkerIn(b)
	if !ok {
		return Marker{}, noMarker, nil
	}
	return m, m.kind(), nil
}
