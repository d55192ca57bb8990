package partition

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage"
	"segue/storage/record"
)

func producerBatch(t *testing.T, control bool, epoch int16, seq int32) record.Header {
	t.Helper()
	b := record.NewBuilder(0)
	b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Control, b.Transactional = 7, epoch, seq, control, control
	b.Add(5, nil, nil)
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch.Header
}

// A folder that Kafka has written holds transaction markers: each moves its producer's epoch, and is none of its batches.
func TestMarkersMoveEpochs(t *testing.T) {
	steps := []struct {
		name    string
		marker  bool
		epoch   int16
		seq     int32
		refused *kerr.Error
	}{
		{"data", false, 3, 0, nil},
		{"more", false, 3, 1, nil},
		{"marker of this epoch", true, 3, record.NoSequence, nil},
		{"data goes on", false, 3, 2, nil},
		{"marker of the next epoch", true, 4, record.NoSequence, nil},
		{"the old epoch", false, 3, 3, kerr.InvalidProducerEpoch},
		{"the new epoch goes on where the old one was", false, 4, 3, kerr.OutOfOrderSequenceNumber},
		{"the new epoch begins", false, 4, 0, nil},
	}
	var table producers
	for _, s := range steps {
		h := producerBatch(t, s.marker, s.epoch, s.seq)
		if s.marker {
			table.apply(h, -1, 0)
			continue
		}
		err := table.check(storage.Identity{}, h, Client)
		if (err == nil) != (s.refused == nil) || s.refused != nil && !errors.Is(err, s.refused) {
			t.Fatalf("%s: got %v, want %v", s.name, err, s.refused)
		}
		if err == nil {
			table.apply(h, -1, 0)
		}
	}
}

// Errors say who, what and which numbers, for the one who reads the log.
func TestErrorTexts(t *testing.T) {
	var table producers
	table.apply(producerBatch(t, false, 3, 8), -1, 0)
	id := storage.Identity{Topic: "orders", Partition: 12}
	err := table.check(id, producerBatch(t, false, 3, 11), Client)
	for _, want := range []string{"orders-12", "producer 7", "epoch 3", "sequence number 11", "expected 9", "OUT_OF_ORDER_SEQUENCE_NUMBER"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	invalid := &InvalidRecords{Code: kerr.InvalidRecord, Message: "append to orders-12: 1 of 9 records are refused",
		Records: []RecordError{{Index: 4, Message: "a record of a compacted topic must have a key"}}}
	for _, want := range []string{"orders-12", "record 4", "must have a key", "INVALID_RECORD"} {
		if !strings.Contains(invalid.Error(), want) {
			t.Errorf("%v does not say %q", invalid, want)
		}
	}
}
