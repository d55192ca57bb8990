package txn

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// keyVersion is the version of the keys of __transaction_state, and the type of its records.
const keyVersion = 0

// taggedVersion is the transaction.version from which on records have room for what the protocol of version 2 needs. Clients
// may speak it with 1 too, as they do for a moment when it is lowered from 2.
const taggedVersion = 1

// record returns the record that says what a transactional id has become. The version of the value is 1 with a
// transaction.version above 0 (Kafka's TransactionLog).
func (t *transaction) record(feature int16) coordinator.Record {
	v := kmsg.TxnMetadataValue{
		ProducerID: t.producerID, ProducerEpoch: t.epoch, TimeoutMillis: t.timeout, State: kmsg.TransactionState(t.state),
		LastUpdateTimestamp: t.updated, StartTimestamp: t.start,
		PreviousProducerID: t.previousID, NextProducerID: t.nextID, ClientTransactionVersion: t.version, NextProducerEpoch: -1,
	}
	if feature >= taggedVersion {
		v.Version = 1
	}
	if t.state != Empty {
		v.Topics = []kmsg.TxnMetadataValueTopic{}
	}
	for _, p := range t.partitions {
		if n := len(v.Topics); n == 0 || v.Topics[n-1].Topic != p.Topic {
			v.Topics = append(v.Topics, kmsg.TxnMetadataValueTopic{Topic: p.Topic})
		}
		last := &v.Topics[len(v.Topics)-1]
		last.Partitions = append(last.Partitions, p.Partition)
	}
	return coordinator.Record{Key: keyOf(t.id), Value: v.AppendTo(nil)}
}

// tombstone is the record that says that a transactional id is forgotten.
func tombstone(id string) coordinator.Record { return coordinator.Record{Key: keyOf(id)} }

func keyOf(id string) []byte {
	key := kmsg.TxnMetadataKey{Version: keyVersion, TransactionalID: id}
	return key.AppendTo(make([]byte, 0, 4+len(id)))
}

// recordOverhead is more than the record of a transaction takes beside its id and its partitions.
const recordOverhead = 128

// recordSize is about what the record of a transaction with these partitions takes, and not less.
func recordSize(id string, partitions []Partition) int {
	size := recordOverhead + len(id)
	for i, p := range partitions {
		if size += 4; i == 0 || partitions[i-1].Topic != p.Topic {
			size += 16 + len(p.Topic)
		}
	}
	return size
}

// Apply implements coordinator.Machine.
func (m *Machine) Apply(r coordinator.Record) error {
	key := coordinator.Reader{Left: r.Key}
	if version := key.Int16(); !key.Bad && version != keyVersion {
		return &coordinator.UnknownRecordError{Type: version}
	}
	id := key.String()
	if key.Bad {
		return fmt.Errorf("a key of %d bytes is none of a transactional id", len(r.Key))
	}
	if r.Value == nil {
		delete(m.transactions, id)
		return nil
	}
	t, err := readTransaction(id, r.Value)
	if err != nil {
		return fmt.Errorf("transactional id %q: %w", id, err)
	}
	m.transactions[id] = t
	return nil
}

// The tags of a value.
const (
	tagPreviousID = 0
	tagNextID     = 1
	tagVersion    = 2
)

// readTransaction reads a value of version 0 or 1.
func readTransaction(id string, b []byte) (*transaction, error) {
	r := coordinator.Reader{Left: b}
	version := r.Int16()
	if version < 0 || version > 1 {
		return nil, &coordinator.UnknownRecordError{Type: version}
	}
	r.Flexible = version >= 1
	t := &transaction{id: id, previousID: noProducerID, nextID: noProducerID, lastEpoch: noProducerEpoch}
	t.producerID, t.epoch, t.timeout = r.Int64(), r.Int16(), r.Int32()
	state := r.Int8()
	for range r.NullableArrayLen(3) {
		topic := r.String()
		for range r.ArrayLen(4) {
			t.partitions = append(t.partitions, Partition{topic, r.Int32()})
		}
		r.Tags(func(int, []byte) {})
		if r.Bad {
			break
		}
	}
	t.updated, t.start = r.Int64(), r.Int64()
	r.Tags(func(tag int, b []byte) {
		field := coordinator.Reader{Left: b}
		switch tag {
		case tagPreviousID:
			t.previousID = field.Int64()
		case tagNextID:
			t.nextID = field.Int64()
		case tagVersion:
			t.version = field.Int16()
		}
		r.Bad = r.Bad || field.Bad
	})
	if t.state = State(state); r.Bad || state < 0 || t.state >= Dead {
		return nil, fmt.Errorf("a value of %d bytes in version %d cannot be read", len(b), version)
	}
	if t.partitions = t.with(nil); !t.state.isOpen() {
		t.partitions = nil // none are written
	}
	return t, nil
}
