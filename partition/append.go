package partition

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage/record"
)

// Append checks a batch and writes it. The batch's bytes are the partition's to change, and may be used again when
// Append returns; they are what was written unless the topic's configuration has them recompressed. Epoch is the
// leader epoch that the caller goes by, -1 for any.
//
// Append returns when the batch is in the log; Ack.Wait says when it is committed. A batch that is there already is not
// written again, and acknowledged like the original. The context is the broker's, not a connection's: its end keeps a
// write from beginning and does not undo one.
//
// The errors that are not the log's: CORRUPT_MESSAGE, INVALID_RECORD and INVALID_TIMESTAMP (also as *InvalidRecords),
// MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, UNSUPPORTED_COMPRESSION_TYPE, INVALID_PRODUCER_EPOCH,
// OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_TXN_STATE, NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
func (p *Partition) Append(ctx context.Context, epoch int32, b record.Batch, from Origin) (Ack, error) {
	one := [...]Addition{{Batch: b}}
	p.AppendAll(ctx, epoch, one[:], from)
	return one[0].Ack, one[0].Err
}

// Addition is a batch that is to be appended, and what became of it: what Append returns.
type Addition struct {
	Batch record.Batch
	// Guard is what a client's transactional batch needs unless its transaction is open in the partition.
	Guard Guard
	Ack   Ack
	Err   error

	marker Marker // that the batch holds, if it is a control batch
}

// AppendAll does to several batches, in order, what Append does to one, with as few writes as may be. Each has the outcome
// that it would have had alone.
func (p *Partition) AppendAll(ctx context.Context, epoch int32, all []Addition, from Origin) {
	config := p.config.Load()
	v := validator{id: p.id, config: config, codecs: p.codecs, now: time.Now().UnixMilli()}
	var few [8]*Addition
	sound := few[:0]
	for i := range all {
		a := &all[i]
		if a.Batch, a.Err = v.validate(a.Batch, from); a.Err != nil {
			p.counters.refused.Add(1)
			continue
		}
		sound = append(sound, a)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.mayAppend(epoch); err != nil {
		for _, a := range sound {
			a.Err = err
		}
		return
	}
	for len(sound) > 0 {
		n := p.fresh(sound, from)
		if n == 0 {
			sound = sound[1:] // it has its outcome
			continue
		}
		sound = sound[p.write(ctx, config, sound[:n]):]
	}
	p.counters.producers.Store(p.producers.count())
}

// fresh returns how many batches from the first on are new data if all before them get written. If the first one is not,
// it is given its outcome. The caller holds mu.
func (p *Partition) fresh(all []*Addition, from Origin) int {
	for n, a := range all {
		h := a.Batch.Header
		if h.ProducerID() < 0 {
			continue
		}
		if before := lastOf(h.ProducerID(), all[:n]); before != nil {
			if h.ProducerEpoch() == before.ProducerEpoch() && h.IsTransactional() == before.IsTransactional() &&
				h.BaseSequence() >= 0 && h.BaseSequence() == record.SequenceAfter(before.LastSequence(), 1) {
				continue
			}
			return n
		}
		original, err := p.check(h, a.Guard, from)
		switch {
		case err == nil && original == nil:
			continue
		case n > 0:
			return n
		case err != nil:
			p.counters.refused.Add(1)
			a.Err = err
		default:
			p.counters.duplicates.Add(1)
			start, _, _ := p.log.Bounds()
			a.Ack = Ack{
				Base: original.first(), Next: original.last + 1, AppendTime: original.timestamp, LogStart: start,
				Duplicate: true, partition: p,
			}
		}
		return 0
	}
	return len(all)
}

// lastOf returns the header of a producer's last batch among some, nil if there is none.
func lastOf(producerID int64, all []*Addition) record.Header {
	for _, a := range slices.Backward(all) {
		if a.Batch.ProducerID() == producerID {
			return a.Batch.Header
		}
	}
	return nil
}

// write writes batches that are new data and returns how many have their outcome by that: those that were written, and one
// that could not be. The caller holds mu.
func (p *Partition) write(ctx context.Context, config *Config, all []*Addition) int {
	now, appendTime := time.Now().UnixMilli(), int64(record.NoTimestamp)
	batches := make([]record.Batch, len(all))
	for i, a := range all {
		if config.TimestampType == record.LogAppendTime {
			a.Batch.SetLogAppendTime(now)
			appendTime = now
		}
		batches[i] = a.Batch
	}
	steps := p.foretell(all, now)
	base, next, err := p.log.Append(ctx, p.epoch, batches...)
	p.takeBack(steps, next)
	start, _, _ := p.log.Bounds()
	for i, a := range all {
		if base == next {
			p.producers.missed(a.Batch.Header, now)
			a.Err = translate("append to "+p.id.String(), err)
			return i + 1
		}
		base = a.Batch.NextOffset()
		p.producers.apply(a.Batch.Header, a.marker.CoordinatorEpoch, now)
		if a.Batch.IsTransactional() {
			p.guards.end(a.Batch.ProducerID())
			p.counters.guards.Store(int64(len(p.guards.byID)))
		}
		p.counters.wrote(a.Batch)
		p.fallBehind(int64(a.Batch.Size()), now)
		a.Ack = Ack{Base: a.Batch.BaseOffset(), Next: base, AppendTime: appendTime, LogStart: start, partition: p}
	}
	return len(all)
}

// foretell has readers of committed data know what is about to be written at the log end: transactions that begin, and one
// that a marker ends. It returns the steps that change anything. The caller holds mu.
func (p *Partition) foretell(all []*Addition, now int64) (steps []step) {
	if !slices.ContainsFunc(all, func(a *Addition) bool { return a.Batch.IsTransactional() }) {
		return nil
	}
	start, _, at := p.log.Bounds()
	for _, a := range all {
		h := a.Batch.Header
		base := at
		at += record.Offset(h.LastOffsetDelta()) + 1
		if !h.IsTransactional() {
			continue
		}
		s := step{producerID: h.ProducerID(), base: base, last: at - 1, now: now}
		if h.IsControl() {
			s.marker = a.marker.kind()
		}
		if p.transactions.apply(s) {
			steps = append(steps, s)
		}
	}
	if steps != nil {
		p.transactions.settle(start, record.Offset(p.high.Load()))
		p.publish()
	}
	return steps
}

// takeBack undoes the steps of batches that were not written: those that end above next. The caller holds mu.
func (p *Partition) takeBack(steps []step, next record.Offset) {
	changed := false
	for _, s := range slices.Backward(steps) {
		if s.last >= next {
			p.transactions.undo(s)
			changed = true
		}
	}
	if changed {
		p.publish()
	}
}

// check says what a batch of a producer with an id is: new data (nil, nil), a retry of one that was written (which), or
// one that may not be written (an error). The caller holds mu.
func (p *Partition) check(h record.Header, g Guard, from Origin) (*written, error) {
	known := p.producers.byID[h.ProducerID()]
	if from == Client {
		if known != nil && h.ProducerEpoch() == known.epoch {
			if w := known.find(h.BaseSequence(), h.LastSequence()); w != nil {
				return w, nil
			}
		}
		if known == nil || h.ProducerEpoch() >= known.epoch {
			if err := p.checkTransaction(h, g); err != nil {
				return nil, err
			}
		}
	}
	return nil, p.producers.check(p.id, h, from)
}

// mayAppend says why there can be no append, if so. The caller holds mu.
func (p *Partition) mayAppend(epoch int32) error {
	if p.draining {
		return translate("append to "+p.id.String(), errClosed)
	}
	if err := p.Ended(); err != nil {
		return err
	}
	if epoch != -1 && epoch != p.epoch {
		return refuse(kerr.NotLeaderForPartition, "append to %s at leader epoch %d, it is led at %d", p.id, epoch, p.epoch)
	}
	return nil
}

// fallBehind counts bytes that the last checkpoint does not cover. The caller holds mu.
func (p *Partition) fallBehind(size, now int64) {
	behind := p.behind.Add(size)
	if behind == size {
		p.since.Store(now)
	}
	if limit := p.hooks.dueBytes; p.hooks.due != nil && behind >= limit && behind-size < limit {
		p.hooks.due(p)
	}
}
