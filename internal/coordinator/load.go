package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"segue/partition"
	"segue/storage/record"
)

// loaded is what a replay has come to.
type loaded[In any] struct {
	machine Machine[In]
	end     record.Offset // of the log; all below it is applied and committed
	err     error
}

// replay makes a machine and applies the log to it, up to its end. The shard appends nothing meanwhile, so the end
// stays.
func (s *shard[In]) replay(ctx context.Context) (l loaded[In]) {
	machine := s.runtime.options.Machine(s.index)
	p := replay{machine: machine, decompressor: s.runtime.decompressor}
	start := time.Now()
	if l.err = p.run(ctx, s.log, s.runtime.options.ReadBytes); l.err != nil {
		return l
	}
	took := time.Since(start)
	c := &s.runtime.counters
	c.loads.Add(1)
	c.loadTime.Add(int64(took))
	c.loadedRecords.Add(p.applied)
	c.unknownRecords.Add(p.unknown)
	c.transactionalRecords.Add(p.transactional)
	if p.unknown+p.transactional > 0 {
		s.logger.Warn().Int64("unknown", p.unknown).Int16("type", p.unknownType).Int64("transactional", p.transactional).
			Msg("records of a newer version, or of transactions, were left out of a coordinator's state")
	}
	s.logger.Debug().Dur("took", took).Int64("records", p.applied).Int64("end", int64(p.end)).Msg("coordinator shard loaded")
	return loaded[In]{machine: machine, end: p.end}
}

// applier is the side of a Machine that a replay sees.
type applier interface{ Apply(Record) error }

// replay applies a log to a machine.
type replay struct {
	machine      applier
	decompressor *record.Decompressor
	start, end   record.Offset // of what is to be applied

	applied, unknown, transactional int64 // records
	unknownType                     int16 // of the first one that is unknown
}

func (p *replay) run(ctx context.Context, log Log, readBytes int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the machine panicked in a replay: %v\n%s", r, debug.Stack())
		}
	}()
	o := log.Offsets()
	p.start, p.end = o.LogStart, o.LogEnd
	// What a machine that failed had appended is the log's now, so it is waited for; or it never will be, and then
	// nothing else will either.
	if err := log.Await(ctx, p.end); err != nil {
		return err
	}
	if err := log.Ended(); err != nil {
		return err
	}
	var buf []byte
	for at := p.start; at < p.end; {
		if buf, err = read(ctx, log, at, readBytes, buf); err != nil {
			return err
		}
		if len(buf) == 0 {
			return nil // nothing but a gap that compaction has left
		}
		if at, err = p.applyRun(ctx, buf, at); err != nil {
			return err
		}
	}
	return nil
}

// read returns a run of whole batches in the memory of buf, or in larger memory.
func read(ctx context.Context, log Log, at record.Offset, maxBytes int, buf []byte) ([]byte, error) {
	r, err := log.Read(ctx, partition.ReadRequest{
		Offset: at, MaxBytes: maxBytes, AtLeastOne: true, CurrentEpoch: -1, LastFetchedEpoch: -1,
	})
	if err != nil {
		return nil, err
	}
	defer r.Chunk.Release()
	return r.Chunk.AppendTo(buf[:0])
}

// applyRun applies a run of batches, the first of which holds the offset at or comes after it, and returns the offset
// behind them.
func (p *replay) applyRun(ctx context.Context, run []byte, at record.Offset) (record.Offset, error) {
	for len(run) > 0 {
		if err := ctx.Err(); err != nil {
			return at, err
		}
		b, rest, err := record.Parse(run)
		if err == nil {
			err = b.Verify()
		}
		if err != nil {
			return at, err
		}
		if b.NextOffset() <= at {
			return at, fmt.Errorf("reading at offset %d led back to %d", at, b.BaseOffset())
		}
		if err := p.applyBatch(b); err != nil {
			return at, err
		}
		at, run = b.NextOffset(), rest
	}
	return at, nil
}

// applyBatch applies the records of a batch. A batch that compaction has emptied has none. A machine that knows nothing of
// transactions is told nothing of their records.
func (p *replay) applyBatch(b record.Batch) error {
	apply := p.machine.Apply
	switch {
	case b.IsControl():
		p.applyMarker(b)
		return nil
	case b.IsTransactional():
		machine, ok := p.machine.(Transactional)
		if !ok {
			p.transactional += int64(b.Count())
			return nil
		}
		by := Producer{b.ProducerID(), b.ProducerEpoch()}
		apply = func(r Record) error { return machine.ApplyPending(by, r) }
	}
	for r, err := range b.Records(p.decompressor) {
		if err != nil {
			return err
		}
		if r.Offset < p.start {
			continue // deleted, though the rest of its batch is not
		}
		if err := p.apply(r, apply); err != nil {
			return fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
	}
	return nil
}

// apply gives the machine a copy of a record, which it may keep.
func (p *replay) apply(r record.Record, apply func(Record) error) error {
	err := apply(Record{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
	if err == nil {
		p.applied++
		return nil
	}
	var unknown *UnknownRecordError
	if !errors.As(err, &unknown) {
		return err
	}
	if p.unknown++; p.unknown == 1 {
		p.unknownType = unknown.Type
	}
	return nil
}
