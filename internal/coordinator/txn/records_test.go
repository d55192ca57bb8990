package txn

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"segue/internal/coordinator"
)

// kafkaRecord is a record as Kafka 4.3.1's TransactionLog.keyToBytes and valueToBytes write it.
type kafkaRecord struct {
	name    string
	feature int16 // transaction.version
	t       transaction
	value   string
}

func kafkaRecords() []kafkaRecord {
	empty := transaction{id: "my-tx", producerID: 7, previousID: 7, nextID: -1, timeout: 60_000, start: -1, updated: 1000}
	ongoing := transaction{
		id: "my-tx", producerID: 7, previousID: 7, nextID: -1, epoch: 3, timeout: 60_000, state: Ongoing, start: 2000, updated: 3000,
		partitions: []Partition{{"a", 1}, {"a", 2}, {"b", 0}},
	}
	ongoing2 := ongoing
	ongoing2.version = 2
	prepared := transaction{
		id: "my-tx", producerID: 7, previousID: 7, nextID: 9, epoch: 32767, timeout: 60_000, state: PrepareCommit, start: 2000, updated: 3000,
		partitions: []Partition{{"a", 1}},
	}
	prepared2 := prepared
	prepared2.version = 2
	complete := transaction{id: "my-tx", producerID: 9, previousID: 7, nextID: -1, timeout: 60_000, state: CompleteAbort, start: 2000, updated: 4000}
	complete2 := complete
	complete2.version = 2
	return []kafkaRecord{
		{"empty", 0, empty, "0000 0000000000000007 0000 0000ea60 00 ffffffff 00000000000003e8 ffffffffffffffff"},
		{"ongoing", 0, ongoing, "0000 0000000000000007 0003 0000ea60 01 00000002" +
			"0001 61 00000002 00000001 00000002 0001 62 00000001 00000000 0000000000000bb8 00000000000007d0"},
		{"complete", 0, complete, "0000 0000000000000009 0000 0000ea60 05 00000000 0000000000000fa0 00000000000007d0"},
		{"empty", 1, empty, "0001 0000000000000007 0000 0000ea60 00 00 00000000000003e8 ffffffffffffffff 01 00 08 0000000000000007"},
		{"ongoing", 1, ongoing, "0001 0000000000000007 0003 0000ea60 01 03 0261 03 00000001 00000002 00 0262 02 00000000 00" +
			"0000000000000bb8 00000000000007d0 01 00 08 0000000000000007"},
		{"prepared", 1, prepared, "0001 0000000000000007 7fff 0000ea60 02 02 0261 02 00000001 00" +
			"0000000000000bb8 00000000000007d0 02 00 08 0000000000000007 01 08 0000000000000009"},
		{"complete", 1, complete, "0001 0000000000000009 0000 0000ea60 05 01 0000000000000fa0 00000000000007d0 01 00 08 0000000000000007"},
		{"empty", 2, empty, "0001 0000000000000007 0000 0000ea60 00 00 00000000000003e8 ffffffffffffffff 01 00 08 0000000000000007"},
		{"ongoing", 2, ongoing2, "0001 0000000000000007 0003 0000ea60 01 03 0261 03 00000001 00000002 00 0262 02 00000000 00" +
			"0000000000000bb8 00000000000007d0 02 00 08 0000000000000007 02 02 0002"},
		{"prepared", 2, prepared2, "0001 0000000000000007 7fff 0000ea60 02 02 0261 02 00000001 00" +
			"0000000000000bb8 00000000000007d0 03 00 08 0000000000000007 01 08 0000000000000009 02 02 0002"},
		{"complete", 2, complete2, "0001 0000000000000009 0000 0000ea60 05 01 0000000000000fa0 00000000000007d0" +
			"02 00 08 0000000000000007 02 02 0002"},
	}
}

const kafkaKey = "0000 0005 6d792d7478"

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// TestRecordBytes writes what Kafka writes, byte by byte, and reads it.
func TestRecordBytes(t *testing.T) {
	for _, c := range kafkaRecords() {
		name := fmt.Sprintf("%s, transaction.version %d", c.name, c.feature)
		rec := c.t.record(c.feature)
		if !bytes.Equal(rec.Key, unhex(kafkaKey)) || !bytes.Equal(rec.Value, unhex(c.value)) {
			t.Errorf("%s: key %x, value %x", name, rec.Key, rec.Value)
		}
		m := New(Options{})
		if err := m.Apply(coordinator.Record{Key: unhex(kafkaKey), Value: unhex(c.value)}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := c.t
		if c.feature == 0 {
			want.previousID = noProducerID
		}
		if got := m.transactions["my-tx"]; said(got) != said(&want) || got.updated != want.updated || got.lastEpoch != noProducerEpoch {
			t.Errorf("%s is read as %s at %d", name, said(got), got.updated)
		}
	}
	if rec := tombstone("my-tx"); !bytes.Equal(rec.Key, unhex(kafkaKey)) || rec.Value != nil {
		t.Errorf("tombstone: key %x, value %x", rec.Key, rec.Value)
	}
}

// TestApplyForgets reads a tombstone.
func TestApplyForgets(t *testing.T) {
	m := New(Options{})
	for _, value := range [][]byte{unhex(kafkaRecords()[0].value), nil, nil} {
		if err := m.Apply(coordinator.Record{Key: unhex(kafkaKey), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.transactions) != 0 {
		t.Errorf("%d transactional ids are left", len(m.transactions))
	}
}

// TestApplyNewer reads past the tagged fields of a newer Kafka, one of which 4.3 has already (NextProducerEpoch).
func TestApplyNewer(t *testing.T) {
	m := New(Options{})
	value := unhex("0001 0000000000000007 0003 0000ea60 01 02 0261 02 00000001 01 05 02 abcd" +
		"0000000000000bb8 00000000000007d0 03 02 02 0002 03 02 0004 63 01 ff")
	if err := m.Apply(coordinator.Record{Key: unhex(kafkaKey), Value: value}); err != nil {
		t.Fatal(err)
	}
	const want = "Ongoing producer=7/3 previous=-1 timeout=1m0s start=" // the rest depends on when tests begin
	if got := said(m.transactions["my-tx"]); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " version=2 a/1") {
		t.Errorf("%s", got)
	}
}

// TestApplyStrays reads partitions that are part of no transaction: Kafka takes those of an Empty id for none, and writes none of
// a complete one.
func TestApplyStrays(t *testing.T) {
	for _, state := range []byte{byte(Empty), byte(CompleteCommit), byte(CompleteAbort)} {
		m := New(Options{})
		if err := m.Apply(coordinator.Record{Key: unhex(kafkaKey), Value: withState(kafkaRecords()[4].value, state)}); err != nil {
			t.Fatal(err)
		}
		if got := m.transactions["my-tx"]; len(got.partitions) > 0 {
			t.Errorf("%s", said(got))
		}
	}
}

// TestApplyRefuses tells damage from what is merely unknown. Nothing is made of the counts in it.
func TestApplyRefuses(t *testing.T) {
	good := kafkaRecords()
	for _, c := range []struct {
		name       string
		key, value []byte
		unknown    bool
	}{
		{"no key", nil, nil, false},
		{"half a key", []byte{0}, nil, false},
		{"a key cut off", unhex("0000 0005 6d79"), nil, false},
		{"a key of a newer version", unhex("0001 0005 6d792d7478"), nil, true},
		{"no value at all", unhex(kafkaKey), []byte{}, false},
		{"a value of a newer version", unhex(kafkaKey), unhex("0002 00"), true},
		{"a value of a negative version", unhex(kafkaKey), unhex("ffff 00"), true},
		{"version 0 cut off", unhex(kafkaKey), unhex(good[1].value)[:30], false},
		{"version 1 cut off", unhex(kafkaKey), unhex(good[4].value)[:30], false},
		{"version 1 without its tags", unhex(kafkaKey), unhex(good[6].value)[:34], false},
		{"four billion topics", unhex(kafkaKey), unhex("0000 0000000000000007 0003 0000ea60 01 7fffffff 0001 61 00000001 00000001"), false},
		{"less than no topics", unhex(kafkaKey), unhex("0000 0000000000000007 0003 0000ea60 01 fffffffe 0000000000000bb8 00000000000007d0"), false},
		{"four billion partitions", unhex(kafkaKey), unhex("0001 0000000000000007 0003 0000ea60 01 02 0261 ffffffff0f 00000001"), false},
		{"a topic without a name", unhex(kafkaKey), unhex("0001 0000000000000007 0003 0000ea60 01 02 00 02 00000001 00 0000000000000bb8 00000000000007d0 00"), false},
		{"endless tags", unhex(kafkaKey), append(unhex(good[6].value)[:34], 0xff, 0xff, 0xff, 0xff, 0x07), false},
		{"half a tag", unhex(kafkaKey), append(unhex(good[6].value)[:34], 1, 0, 4, 0, 0, 0, 0), false},
		{"state 6", unhex(kafkaKey), withState(good[6].value, 6), false},
		{"state 8", unhex(kafkaKey), withState(good[6].value, 8), false},
		{"state -1", unhex(kafkaKey), withState(good[6].value, 0xff), false},
	} {
		m := New(Options{})
		err := m.Apply(coordinator.Record{Key: c.key, Value: c.value})
		var unknown *coordinator.UnknownRecordError
		if err == nil || errors.As(err, &unknown) != c.unknown {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(m.transactions) > 0 {
			t.Errorf("%s leaves something behind", c.name)
		}
	}
}

func withState(value string, state byte) []byte {
	b := unhex(value)
	b[16] = state
	return b
}

// TestRecordSize holds what a record is thought to take against what it takes.
func TestRecordSize(t *testing.T) {
	for _, topics := range []int{0, 1, 2, 100} {
		for _, each := range []int{1, 2, 1000} {
			x := transaction{id: strings.Repeat("i", 1+topics), state: Ongoing, previousID: 1 << 60, nextID: 1 << 60, version: 2}
			for topic := range topics {
				for p := range each {
					x.partitions = append(x.partitions, Partition{strings.Repeat("t", 249-100+topic), int32(p)})
				}
			}
			for feature := range int16(3) {
				rec := x.record(feature)
				took, thought := len(rec.Key)+len(rec.Value), recordSize(x.id, x.partitions)
				if took > thought || thought > took+2*recordOverhead+16*topics {
					t.Errorf("%d partitions in %d topics take %d bytes, and are thought to take %d", each, topics, took, thought)
				}
			}
		}
	}
}

// FuzzApply replays arbitrary records. What is understood must say the same when it is written again, and the machine must work
// on with it.
func FuzzApply(f *testing.F) {
	for _, c := range kafkaRecords() {
		f.Add(unhex(kafkaKey), unhex(c.value))
	}
	f.Add(unhex(kafkaKey), binary.BigEndian.AppendUint64(nil, 1))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		w := newWorld(t, 2)
		m := New(w.opts)
		if m.Apply(coordinator.Record{Key: key, Value: value}) != nil {
			if len(m.transactions) > 0 {
				t.Fatal("a record that is refused leaves something behind")
			}
			return
		}
		again := New(w.opts)
		for id, x := range m.transactions {
			if err := again.Apply(x.record(2)); err != nil {
				t.Fatalf("transactional id %q, written again: %v", id, err)
			}
			if a, b := said(x), said(again.transactions[id]); a != b {
				t.Fatalf("transactional id %q, written again, is\n%s\nand was\n%s", id, b, a)
			}
		}
		m.Loaded(start)
		for id, x := range m.transactions {
			m.Handle(start, 1, Input{Request: AddPartitions{TransactionalID: id, ProducerID: x.producerID, ProducerEpoch: x.epoch}})
			m.Handle(start, 2, Input{Request: endOf(id, x.producerID, x.epoch, true, 5)})
			m.Handle(start, 3, Input{Request: x.ending().Complete})
			m.Handle(start, 4, Input{Request: initOf(id, 1000)})
		}
		m.Handle(start, 5, Input{Request: List{LongerThan: 1}})
		for now, n := start, 0; n < 100; n++ {
			now = now.Add(2 * testExpiration)
			m.Expire(now)
		}
	})
}
