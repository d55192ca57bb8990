package logtest

import (
	"fmt"
	"testing"

	"segue/storage/record"
)

// timeZero is the first timestamp that the suite uses.
const timeZero = 1_700_000_000_000

// Spec describes a batch for a test. The zero value is one record with an empty value and no timestamp.
type Spec struct {
	Records    int // one if it is 0
	ValueBytes int // of each record
	Time       int64
	Step       int64 // between the timestamps of two records; negative for descending ones
	Times      []int64
	NullKeys   bool
	Codec      record.Codec
	Type       record.TimestampType // of the timestamps; under LogAppendTime they are all Time

	Producer      int64 // id plus one, so that 0 is none
	ProducerEpoch int16
	Sequence      int32

	Transactional, Control bool
}

// Batch makes the batch, at base offset 0 as a producer has it. Keys are k0, k1 and so on.
func (s Spec) Batch(t testing.TB) record.Batch {
	t.Helper()
	b := record.NewBuilder(0)
	b.Compression.Codec = s.Codec
	if s.Codec != record.None {
		b.Compressor = new(record.Compressor)
	}
	if s.Producer > 0 {
		b.ProducerID, b.ProducerEpoch, b.BaseSequence = s.Producer-1, s.ProducerEpoch, s.Sequence
	}
	b.Transactional, b.Control = s.Transactional, s.Control
	if b.TimestampType = s.Type; s.Type == record.LogAppendTime {
		b.MaxTimestamp = s.Time
	}
	n := max(s.Records, len(s.Times), 1)
	for i := range n {
		at := s.Time + int64(i)*s.Step
		if len(s.Times) > 0 {
			at = s.Times[i]
		}
		var key []byte
		if !s.NullKeys {
			key = fmt.Appendf(nil, "k%d", i)
		}
		b.Add(at, key, make([]byte, s.ValueBytes))
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatalf("make a batch of %+v: %v", s, err)
	}
	return batch
}
