package record

import (
	"encoding/binary"
	"iter"
)

// Records yields the records of the batch in order, control records included, decompressing them as it goes; d may
// be nil for a batch that is not to be compressed. The walk is strict: lengths must add up to the last byte, there
// must be as many records as the header counts, and offsets must ascend and stay within the header's. An *Error
// (of kind ErrInvalid, ErrCodec or ErrTooLarge) comes with a zero Record and ends the sequence.
//
// A record is valid until the loop goes on; see [Record]. The checksum is not looked at: see [Batch.Verify].
func (b Batch) Records(d *Decompressor) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var w walk
		if err := w.start(b, d); err != nil {
			yield(Record{}, err)
			return
		}
		defer w.in.close()
		appended, appendTime := b.TimestampType() == LogAppendTime, b.MaxTimestamp()
		base, baseTime := b.BaseOffset(), b.BaseTimestamp()
		for w.more() {
			f, err := w.next()
			if err != nil {
				yield(Record{}, err)
				return
			}
			r := Record{base + Offset(f.offsetDelta), baseTime + f.timestampDelta, f.key, f.value, f.headers}
			if appended {
				r.Timestamp = appendTime
			}
			if !yield(r, nil) {
				return
			}
		}
		if err := w.end(); err != nil {
			yield(Record{}, err)
		}
	}
}

// Summary is what [Batch.Check] has found out about the records of a batch.
type Summary struct {
	// MinTimestamp is the smallest timestamp of the records that have one, in Unix milliseconds; NoTimestamp if none
	// has.
	MinTimestamp int64
	// MaxTimestamp is what the header's MaxTimestamp should be: the largest timestamp of the records, but not below
	// NoTimestamp.
	MaxTimestamp int64
	// NullKeys is the number of records without a key, which a compacted topic does not take.
	NullKeys int
}

// Check walks the records of a batch as its producer made it: it is as strict as [Batch.Records] and demands
// besides that the records' offset deltas are 0, 1, 2 and so on up to the header's last offset delta. Its errors are
// those of Records. For an uncompressed batch it allocates nothing.
func (b Batch) Check(d *Decompressor) (Summary, error) {
	s := Summary{MinTimestamp: NoTimestamp, MaxTimestamp: NoTimestamp}
	if b.Count() == 0 || b.Count()-1 != b.LastOffsetDelta() {
		return s, b.errorf(-1, ErrInvalid, "%d records for a last offset delta of %d", b.Count(), b.LastOffsetDelta())
	}
	var w walk
	if err := w.start(b, d); err != nil {
		return s, err
	}
	defer w.in.close()
	appended, appendTime := b.TimestampType() == LogAppendTime, b.MaxTimestamp()
	baseTime := b.BaseTimestamp()
	for w.more() {
		// With as many records as offsets, ascending offsets within the header's are the ones that are demanded.
		f, err := w.next()
		if err != nil {
			return s, err
		}
		t := baseTime + f.timestampDelta
		if appended {
			t = appendTime
		}
		if t != NoTimestamp && (t < s.MinTimestamp || s.MinTimestamp == NoTimestamp) {
			s.MinTimestamp = t
		}
		s.MaxTimestamp = max(s.MaxTimestamp, t)
		if f.key == nil {
			s.NullKeys++
		}
	}
	return s, w.end()
}

// walk goes over the records of one batch.
type walk struct {
	b     Batch
	in    input
	count int32 // of the header
	index int32 // of the record that next returns
	last  int32 // offset delta of the record before it
	limit int32 // last offset delta of the header
	f     fields
}

// start begins a walk; in.close must follow if there is no error.
func (w *walk) start(b Batch, d *Decompressor) error {
	w.b, w.count, w.limit, w.last = b, b.Count(), b.LastOffsetDelta(), -1
	if fault := w.in.open(b.Codec(), b.payload(), d); fault != nil {
		return b.errorf(-1, fault.kind, "%s", fault.detail)
	}
	return nil
}

func (w *walk) more() bool { return w.index < w.count }

// next returns the next record; the result is valid until the call after.
func (w *walk) next() (*fields, error) {
	body, fault := w.in.next()
	if fault != nil {
		return nil, w.b.errorf(int(w.index), fault.kind, "%s", fault.detail)
	}
	if !w.f.parse(body) {
		return nil, w.b.errorf(int(w.index), ErrInvalid, "its fields do not add up to its length, %d bytes", len(body))
	}
	if w.f.offsetDelta <= w.last || w.f.offsetDelta > w.limit {
		return nil, w.b.errorf(int(w.index), ErrInvalid, "offset delta is %d, after %d and with %d as the last",
			w.f.offsetDelta, w.last, w.limit)
	}
	w.last = w.f.offsetDelta
	w.index++
	return &w.f, nil
}

// end checks that nothing follows the last record.
func (w *walk) end() error {
	if fault := w.in.end(); fault != nil {
		return w.b.errorf(-1, fault.kind, "%s", fault.detail)
	}
	return nil
}

// Recompress returns the batch with its records compressed by another codec, and everything else as it was: offsets,
// timestamps, headers, producer fields, leader epoch. This is what compression.type asks of a broker (Kafka's
// LogValidator). A batch that has the codec already, whatever its level, a control batch and an empty batch come
// back themselves. The records are walked as [Batch.Records] walks them; d may be nil for an uncompressed batch, and
// c for Codec None. Errors are those of Records and of Compression.Validate. The result owns its memory and may be
// larger than b. The records of a compressed batch may take no more than a quarter of the Decompressor's limit here.
func (b Batch) Recompress(to Compression, c *Compressor, d *Decompressor) (Batch, error) {
	if err := c.check(to); err != nil {
		return Batch{}, err
	}
	if to.Codec == b.Codec() || b.IsControl() || b.Count() == 0 {
		return b, nil
	}
	var w walk
	if err := w.start(b, d); err != nil {
		return Batch{}, err
	}
	defer w.in.close()

	out := make([]byte, HeaderSize, HeaderSize+len(b.payload()))
	copy(out, b.Header)
	records := out // grows records behind a header, whichever way they are needed
	if to.Codec != None {
		records = c.takeScratch()
		defer func() { c.giveScratch(records) }()
	}
	for w.more() {
		if _, err := w.next(); err != nil {
			return Batch{}, err
		}
		records = binary.AppendVarint(records, int64(len(w.in.body)))
		records = append(records, w.in.body...)
		if b.Codec() != None && len(records) > d.limit/recompressShare {
			return Batch{}, b.errorf(-1, ErrTooLarge, "to be compressed anew: more than %d", d.limit/recompressShare)
		}
	}
	if err := w.end(); err != nil {
		return Batch{}, err
	}
	if to.Codec == None {
		out = records
	} else {
		var err error
		if out, err = c.append(out, to, records); err != nil {
			return Batch{}, err
		}
	}
	return seal(out, b.Attributes()&^attrCodec|uint16(to.Codec))
}
