package coordinator

import "segue/storage/record"

// batch gathers the records of commands until they are appended. Its zero value is empty.
type batch struct {
	builder *record.Builder // nil while there is nothing in it
}

// recordOverhead is more than a record takes beside its key and value: lengths, deltas and attributes.
const recordOverhead = 32

// count is the number of records in the batch.
func (b *batch) count() int {
	if b.builder == nil {
		return 0
	}
	return b.builder.Count()
}

// size is the batch's size in bytes as it stands.
func (b *batch) size() int {
	if b.builder == nil {
		return 0
	}
	return b.builder.Size()
}

// fits says whether the batch stays below a limit with these records. It may say no where they would just fit.
func (b *batch) fits(records []Record, limit int) bool {
	size := b.size()
	for _, r := range records {
		size += recordOverhead + len(r.Key) + len(r.Value)
	}
	return size <= limit
}

// add adds records. A batch of a producer holds nothing else.
func (b *batch) add(unixMilli int64, records []Record, p *Producer) {
	if b.builder == nil {
		b.builder = record.NewBuilder(0) // its place in the log is the partition's to give
	}
	if p != nil {
		b.builder.ProducerID, b.builder.ProducerEpoch, b.builder.Transactional = p.ID, p.Epoch, true
	}
	for _, r := range records {
		b.builder.Add(unixMilli, r.Key, r.Value)
	}
}

// take returns what was gathered, and empties the batch.
func (b *batch) take() (record.Batch, error) {
	builder := b.builder
	b.builder = nil
	return builder.Build()
}
