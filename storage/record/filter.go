package record

import "encoding/binary"

// Filter leaves records out of batches, as compaction does (Kafka's MemoryRecords.filterTo). It keeps its buffers from
// one batch to the next, up to a bound, and is not safe for concurrent use. The two fields are set before its first use
// and may be shared with others.
//
// Memory is bounded whatever a batch says of itself: besides what the Decompressor takes, the records that stay are held
// twice, decompressed and compressed, and never more of them than its limit or the size of an uncompressed batch. A
// compressed batch that unpacks to more than the limit, before or after, is refused with ErrTooLarge.
type Filter struct {
	Decompressor *Decompressor
	Compressor   *Compressor

	stays   []uint64 // a bit for each record of the batch at hand
	records []byte   // the records that stay, before they are compressed
}

// FilterRecord is what is shown of a record to whoever decides about it.
type FilterRecord struct {
	Offset    Offset
	Key       []byte // nil is null; valid during the call
	Tombstone bool   // the value is null: the record says that its key is gone
}

// FilterOptions say what else there is to do with a batch.
type FilterOptions struct {
	// KeepHeader has a batch stay, as a header, when none of its records does: so its offsets and the producer's last
	// sequence number are still there.
	KeepHeader bool
	// Horizon is the delete horizon, in Unix milliseconds, that is given to a batch in which tombstones stay and which
	// has none yet (KIP-534); NoTimestamp for none. A horizon that is there is never moved.
	Horizon int64
	// DropRecords has all records go without being asked for, those of a control batch too: the batch belongs to an
	// aborted transaction, or is a marker whose time has come.
	DropRecords bool
	// MarkerExpires has a control batch get the Horizon, as if it held a tombstone: no record of its transaction is left.
	MarkerExpires bool
}

// FilterResult is what became of a batch.
type FilterResult struct {
	Unchanged  bool  // what was appended is the batch, byte for byte
	Kept       int   // the number of records that stay
	Dropped    int   // the number of records that go
	Tombstones int   // how many of the records that stay are tombstones; not counted in control batches
	Horizon    int64 // the delete horizon of what was appended, in Unix milliseconds; NoTimestamp if it has none
}

// Batch appends to dst what stays of b: b itself, b with fewer records, its header alone (KeepHeader), or nothing. It asks
// keep about each record once, in order; keep must not walk a batch itself with the same Decompressor. Base offset, last
// offset, leader epoch, producer, flags, codec and timestamp type stay, and so do the offset, timestamp, key, value and
// headers of each record that stays; the largest timestamp is that of the records that stay, and of a batch without
// records what it was. A batch that is compressed anew may be larger than it was. Of a control batch keep is not asked:
// it stays, unless the options say otherwise.
//
// On an error, one of those of [Batch.Records] or one about compression, dst comes back as it was, and keep may have been
// asked about some of the records. The checksum is not looked at; b is not written to.
func (f *Filter) Batch(dst []byte, b Batch, o FilterOptions, keep func(FilterRecord) bool) ([]byte, FilterResult, error) {
	res := FilterResult{Horizon: NoTimestamp}
	switch {
	case o.DropRecords:
		res.Dropped = int(b.Count())
	case b.IsControl():
		res.Kept = int(b.Count())
	default:
		if err := f.decide(b, keep, &res); err != nil {
			return dst, FilterResult{Horizon: NoTimestamp}, err
		}
	}
	if res.Kept == 0 && !o.KeepHeader {
		return dst, res, nil
	}
	if res.Kept == 0 && b.Count() > 0 {
		return appendEmptied(dst, b), res, nil
	}

	expires := res.Tombstones > 0 || b.IsControl() && o.MarkerExpires
	setHorizon := expires && o.Horizon != NoTimestamp && !b.HasDeleteHorizon()
	switch {
	case setHorizon:
		res.Horizon = o.Horizon
	case b.HasDeleteHorizon():
		res.Horizon = b.BaseTimestamp()
	}
	if res.Dropped == 0 && !setHorizon {
		res.Unchanged = true
		return append(dst, b.Bytes()...), res, nil
	}
	out, err := f.rewrite(dst, b, res)
	if err != nil {
		return dst, FilterResult{Horizon: NoTimestamp}, err
	}
	return out, res, nil
}

// Keys shows each record of b to see, in order, until it returns false. Control batches have no keys to show. Memory and
// errors are those of Batch.
func (f *Filter) Keys(b Batch, see func(FilterRecord) bool) error {
	if b.IsControl() {
		return nil
	}
	for r, err := range b.Records(f.Decompressor) {
		if err != nil {
			return err
		}
		if !see(FilterRecord{r.Offset, r.Key, r.Value == nil}) {
			break
		}
	}
	return nil
}

// decide asks keep about the records, and notes in f.stays and in res what it said.
func (f *Filter) decide(b Batch, keep func(FilterRecord) bool, res *FilterResult) error {
	f.stays = f.stays[:0]
	n := 0
	for r, err := range b.Records(f.Decompressor) {
		if err != nil {
			return err
		}
		if n%64 == 0 {
			f.stays = append(f.stays, 0)
		}
		if keep(FilterRecord{r.Offset, r.Key, r.Value == nil}) {
			f.stays[n/64] |= 1 << (n % 64)
			res.Kept++
			if r.Value == nil {
				res.Tombstones++
			}
		}
		n++
	}
	res.Dropped = n - res.Kept
	return nil
}

// rewrite appends b with the records that f.stays says, or with all of them if none is dropped, and with res.Horizon.
func (f *Filter) rewrite(dst []byte, b Batch, res FilterResult) ([]byte, error) {
	out := append(dst, b.Header[:HeaderSize]...)
	room := maxSize - HeaderSize
	records, codec := f.records[:0], b.Codec()
	if codec != None {
		room = f.Decompressor.limit // or the next round could not read it
	}
	// As Kafka has it: timestamps are relative to the horizon, or else to the first one.
	base, latest, n := res.Horizon, int64(NoTimestamp), -1
	for r, err := range b.Records(f.Decompressor) {
		if err != nil {
			return nil, err
		}
		if n++; res.Dropped > 0 && f.stays[n/64]&(1<<(n%64)) == 0 {
			continue
		}
		if len(records) == 0 && base == NoTimestamp {
			base = r.Timestamp
		}
		latest = max(latest, r.Timestamp)
		timestampDelta, offsetDelta := r.Timestamp-base, int64(r.Offset-b.BaseOffset())
		size := sizeOfRecord(timestampDelta, offsetDelta, r.Key, r.Value, r.Headers)
		if size > room-len(records)-maxVarint32 {
			return nil, b.errorf(n, ErrTooLarge, "without the records that go: more than %d", room)
		}
		records = appendRecord(records, size, timestampDelta, offsetDelta, r.Key, r.Value, r.Headers)
	}
	if cap(records) <= keptWindow {
		f.records = records
	}
	if codec == None {
		out = append(out, records...)
	} else {
		c := Compression{Codec: codec}
		if err := f.Compressor.check(c); err != nil {
			return nil, err
		}
		var err error
		if out, err = f.Compressor.append(out, c, records); err != nil {
			return nil, err
		}
	}
	if b.TimestampType() == LogAppendTime {
		latest = b.MaxTimestamp()
	}
	attributes := b.Attributes()
	if res.Horizon != NoTimestamp {
		attributes |= attrDeleteHorizon
	}
	header := out[len(dst):]
	binary.BigEndian.PutUint64(header[posBaseTimestamp:], uint64(base))
	binary.BigEndian.PutUint64(header[posMaxTimestamp:], uint64(latest))
	binary.BigEndian.PutUint32(header[posCount:], uint32(res.Kept))
	if _, err := seal(header, attributes); err != nil {
		return nil, err
	}
	return out, nil
}

// appendEmptied appends the header of b as that of a batch without records: no codec and no horizon, since there is
// nothing to unpack or to drop.
func appendEmptied(dst []byte, b Batch) []byte {
	out := append(dst, b.Header[:HeaderSize]...)
	header, noTime := out[len(dst):], int64(NoTimestamp)
	binary.BigEndian.PutUint64(header[posBaseTimestamp:], uint64(noTime))
	binary.BigEndian.PutUint32(header[posCount:], 0)
	binary.BigEndian.PutUint32(header[posLength:], HeaderSize-sizeOverhead)
	binary.BigEndian.PutUint16(header[posAttributes:], b.Attributes()&^(attrCodec|attrDeleteHorizon))
	Batch{Header(header)}.setChecksum()
	return out
}
