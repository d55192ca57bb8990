package partition

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage"
	"segue/storage/record"
)

// Codecs is what it takes to look into compressed batches and to change their codec. It is safe for concurrent use,
// and all partitions of a broker share one.
type Codecs struct {
	compressor   *record.Compressor
	decompressor *record.Decompressor
}

// NewCodecs returns Codecs that refuse, with MESSAGE_TOO_LARGE, a batch whose records decompress to more than limit
// bytes where the broker has to look at them.
func NewCodecs(limit int) *Codecs { return CodecsWith(record.NewDecompressor(limit)) }

// CodecsWith returns Codecs that share a Decompressor, whose limit counts.
func CodecsWith(d *record.Decompressor) *Codecs {
	return &Codecs{compressor: new(record.Compressor), decompressor: d}
}

// ParseBatch returns the one batch that the records of a partition in a Produce request must be; it aliases them. As in
// Kafka (ProduceRequest.validateRecords, MemoryRecords.batches) a batch that is cut short is none, which is also how
// one goes that follows a whole one: it is not looked at. The errors are INVALID_RECORD (no batch, more than one, an
// older message format), CORRUPT_MESSAGE and UNSUPPORTED_COMPRESSION_TYPE. What is wrong with a batch that was damaged on
// the way is CORRUPT_MESSAGE whatever it is: the producer tries again.
func ParseBatch(records []byte) (record.Batch, error) {
	b, rest, err := record.Parse(records)
	if err != nil && record.Damaged(records) {
		err = fmt.Errorf("%w: %w", record.ErrChecksum, err)
	}
	if err != nil {
		return record.Batch{}, refuseBatch("parse the records of a produce request", err)
	}
	if len(rest) > 0 {
		_, _, err := record.Parse(rest)
		switch {
		case err == nil, errors.Is(err, record.ErrInvalid), errors.Is(err, record.ErrMagic), errors.Is(err, record.ErrCodec):
			return record.Batch{}, refuse(kerr.InvalidRecord,
				"the records of a produce request hold more than one batch for a partition")
		case !errors.Is(err, record.ErrShort):
			return record.Batch{}, refuseBatch("parse what follows the batch of a produce request", err)
		}
	}
	return b, nil
}

// refuseBatch gives an error of package record the code that Kafka answers with.
func refuseBatch(doing string, err error) error {
	code := kerr.InvalidRecord // ErrInvalid, ErrMagic, ErrShort
	switch {
	case errors.Is(err, record.ErrCorrupt), errors.Is(err, record.ErrChecksum): // before what else it may be
		code = kerr.CorruptMessage
	case errors.Is(err, record.ErrCodec):
		// Kafka trips over it with UNKNOWN_SERVER_ERROR.
		code = kerr.UnsupportedCompressionType
	case errors.Is(err, record.ErrTooLarge):
		// A producer splits the batch and tries again, which is what helps.
		code = kerr.MessageTooLarge
	}
	return fmt.Errorf("%s: %w: %w", doing, code, err)
}

// validator judges batches before they are appended, in the order of Kafka's UnifiedLog.analyzeAndValidateRecords and
// LogValidator. It looks at nothing but the batch and the configuration, so it needs no lock.
type validator struct {
	id     storage.Identity
	config *Config
	codecs *Codecs
	now    int64 // Unix milliseconds
}

// validate returns the batch as it is to be stored: the one that came, perhaps with its largest timestamp put right,
// or a recompressed one. Log append times are not set yet: those have to ascend with the offsets.
func (v *validator) validate(b record.Batch, from Origin) (record.Batch, error) {
	if len(b.Header) < record.HeaderSize || len(b.Header) != b.Size() {
		return b, refuse(kerr.CorruptMessage, "append to %s: the batch is not whole", v.id)
	}
	if from == Client && b.BaseOffset() != 0 {
		return b, refuse(kerr.InvalidRecord, "append to %s: the batch has base offset %d, a producer's must be 0", v.id, b.BaseOffset())
	}
	if err := v.checkSize(b, from); err != nil {
		return b, err
	}
	if err := b.Verify(); err != nil {
		return b, refuseBatch("append to "+v.id.String(), err)
	}
	if err := v.checkHeader(b, from); err != nil {
		return b, err
	}
	if err := v.checkRecords(b); err != nil {
		return b, err
	}
	if c := v.config; c.Recompress && c.Compression.Codec != b.Codec() {
		var err error
		if b, err = b.Recompress(c.Compression, v.codecs.compressor, v.codecs.decompressor); err != nil {
			return b, refuseBatch("recompress a batch for "+v.id.String(), err)
		}
		if err := v.checkSize(b, from); err != nil {
			return b, err
		}
	}
	if size := int64(b.Size()); size > v.config.Log.SegmentBytes {
		return b, refuse(kerr.RecordListTooLarge, "append to %s: the batch takes %d bytes and a segment %d (segment.bytes)",
			v.id, size, v.config.Log.SegmentBytes)
	}
	return b, nil
}

// checkSize holds a client's batch against max.message.bytes. A coordinator's it does not: the records of one command
// cannot be split, and what a command may lead to is the coordinator's to limit.
func (v *validator) checkSize(b record.Batch, from Origin) error {
	if size := b.Size(); from == Client && size > int(v.config.MaxMessageBytes) {
		return refuse(kerr.MessageTooLarge, "append to %s: the batch takes %d bytes, allowed are %d (max.message.bytes)",
			v.id, size, v.config.MaxMessageBytes)
	}
	return nil
}

// checkHeader is LogValidator.validateBatch, and what UnifiedLog.analyzeAndValidateProducerState says of transactions.
func (v *validator) checkHeader(b record.Batch, from Origin) error {
	count, delta := b.Count(), b.LastOffsetDelta()
	switch {
	case count <= 0 || count-1 != delta:
		return refuse(kerr.InvalidRecord, "append to %s: the batch says it has %d records and a last offset delta of %d", v.id, count, delta)
	case from == Client && b.IsControl():
		return refuse(kerr.InvalidRecord, "append to %s: only the broker writes control batches", v.id)
	case from == Client && b.ProducerID() >= 0 && b.BaseSequence() < 0:
		return refuse(kerr.InvalidRecord, "append to %s: the batch of producer %d has no sequence number", v.id, b.ProducerID())
	case b.IsTransactional() && (b.ProducerID() < 0 || b.ProducerEpoch() < 0), b.IsControl():
		return refuse(kerr.InvalidTxnState, "append to %s: the batch is part of a transaction of no producer", v.id)
	}
	return nil
}

// checkRecords is LogValidator.validateRecord for all records of the batch, as far as the topic's configuration and the
// header leave anything open. Compressed batches are not decompressed to count their records; that is a difference from
// Kafka, and so is that their header is believed when it says that all timestamps are in range.
func (v *validator) checkRecords(b record.Batch) error {
	createTime := v.config.TimestampType == record.CreateTime
	if b.TimestampType() == record.LogAppendTime && (!createTime || b.MaxTimestamp() == record.NoTimestamp) {
		return v.refuseRecords(b)
	}
	low, high := v.config.timestampRange(v.now)
	inRange := func(unixMilli int64) bool {
		return unixMilli == record.NoTimestamp || low <= unixMilli && unixMilli <= high
	}
	largest := b.MaxTimestamp()
	suspect := createTime && !(inRange(largest) && inRange(b.BaseTimestamp()))
	if b.Codec() == record.None || v.config.Log.Compact || suspect {
		s, err := b.Check(v.codecs.decompressor)
		if err != nil {
			return refuseBatch("append to "+v.id.String(), err)
		}
		if v.config.Log.Compact && s.NullKeys > 0 || createTime && !(inRange(s.MinTimestamp) && inRange(s.MaxTimestamp)) {
			return v.refuseRecords(b)
		}
		largest = s.MaxTimestamp
	}
	if createTime {
		// The index finds records by what the header says of their timestamps. This also takes off the mark of
		// LogAppendTime, should the producer have set it.
		b.SetMaxTimestamp(largest)
	}
	return nil
}

// refuseRecords goes over a batch in which a record is at fault and says which those are, and why (KIP-467).
func (v *validator) refuseRecords(b record.Batch) error {
	refused := &InvalidRecords{Code: kerr.InvalidRecord}
	low, high := v.config.timestampRange(v.now)
	index, count := int32(-1), 0
	for r, err := range b.Records(v.codecs.decompressor) {
		if err != nil {
			return refuseBatch("append to "+v.id.String(), err)
		}
		index++
		message := ""
		switch {
		case v.config.Log.Compact && r.Key == nil:
			message = "a record of a compacted topic must have a key"
		case v.config.TimestampType == record.CreateTime && r.Timestamp != record.NoTimestamp:
			if low <= r.Timestamp && r.Timestamp <= high {
				continue
			}
			refused.Code = kerr.InvalidTimestamp
			message = fmt.Sprintf("timestamp %d is out of range, allowed are %d to %d", r.Timestamp, low, high)
		case b.TimestampType() == record.LogAppendTime:
			refused.Code = kerr.InvalidTimestamp
			message = "a producer must not set the timestamp type to LogAppendTime"
		default:
			continue
		}
		if count++; count <= maxRecordErrors {
			refused.Records = append(refused.Records, RecordError{index, message})
		}
	}
	refused.Message = fmt.Sprintf("append to %s: %d of %d records are refused", v.id, count, b.Count())
	return refused
}
