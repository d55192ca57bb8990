package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"segue/storage/record"
)

// checker reads a segment batch by batch, checksums included, and finds out where it stops being sound.
type checker struct {
	s        *Segment
	f        io.ReaderAt
	size     int64         // of the file
	synced   int64         // bytes that are known to have been synced once
	syncedTo record.Offset // the offset behind them, where it is known
	settled  bool          // all of the segment counts as synced
	sameBoot bool          // the machine has not been restarted since the log was last open
	next     record.Offset // the base offset of the segment behind this one; noNext for the last
	onBatch  func(b record.Batch, pos, maxBefore int64)
	onSpan   func(span) // is called with each damaged stretch, in order with the batches; may be nil

	// The state: where the next batch is expected, and what was seen before it.
	pos       int64
	least     record.Offset
	maxTime   int64
	lastEpoch int32
	oddEpoch  bool // the next batch's is not to be believed

	damage []span
	torn   error // what is wrong with the bytes from pos on, which are to be cut

	stopped bool // onBatch or onSpan has no use for the rest

	buf  []byte
	at   int64
	have int
}

// run checks everything from pos on. It returns an error only where the file cannot be read.
func (c *checker) run(ctx context.Context) error {
	for steps := 0; c.pos < c.size && !c.stopped; steps++ {
		if steps%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b, cause, err := c.batchAt(c.pos, c.least)
		if err != nil {
			return err
		}
		if cause == nil && (b.BaseOffset() != c.least || b.LeaderEpoch() > c.lastEpoch) {
			if b, cause, err = c.contradicted(b); err != nil {
				return err
			}
		}
		if cause == nil {
			c.take(b)
			continue
		}
		if err := c.refuseOverlap(cause); err != nil {
			return err
		}
		stop, err := c.judge(ctx, cause)
		if err != nil || stop {
			return err
		}
	}
	switch {
	case c.torn != nil, c.stopped:
	case c.size < c.synced:
		// The file is shorter than what was synced: the records at its end are gone, and their offsets with them.
		c.lost(c.size, fmt.Errorf("the file has %d bytes, %d were synced", c.size, c.synced))
	case c.least < c.syncedTo:
		c.lost(c.size, fmt.Errorf("it ends at offset %d, and the log was synced up to %d once", c.least, c.syncedTo))
	}
	return nil
}

// take counts a sound batch.
func (c *checker) take(b record.Batch) {
	if c.onBatch != nil {
		c.onBatch(b, c.pos, c.maxTime)
	}
	c.maxTime = max(c.maxTime, b.MaxTimestamp())
	if !c.oddEpoch {
		c.lastEpoch = max(c.lastEpoch, b.LeaderEpoch())
	}
	c.oddEpoch = false
	c.least = b.NextOffset()
	c.pos += int64(b.Size())
}

// judge decides about bytes at pos that are not a sound batch: torn, which ends the segment, or damaged, behind
// which the check goes on.
func (c *checker) judge(ctx context.Context, cause error) (stop bool, err error) {
	known := c.settled || c.pos < c.synced
	// Under one boot the only thing that is not whole is the last write, which ends before its batch does. That is not
	// to be searched: its records may hold whole batches, of another log.
	if !known && (!c.sameBoot || errors.Is(cause, record.ErrShort)) {
		c.torn = cause
		return true, nil
	}
	at, low, err := c.resync(ctx)
	switch {
	case err != nil:
		return true, err
	case at < c.size:
		c.note(span{from: c.pos, to: at, low: c.least, high: low, cause: cause})
		c.pos, c.least = at, low
		return false, nil
	case known:
		c.lost(c.pos, cause)
		c.pos = c.size
		return true, nil
	}
	c.torn = cause
	return true, nil
}

// noNext stands for the base offset of the segment behind the last.
const noNext = record.Offset(1<<63 - 1)

// lost notes that everything from a position on is gone, with all offsets that were handed out there.
func (c *checker) lost(pos int64, cause error) {
	high := max(c.least, c.syncedTo)
	if c.next != noNext {
		high = max(high, c.next)
	}
	c.note(span{from: pos, to: max(c.size, pos), low: c.least, high: high, cause: cause})
	c.least = high
}

func (c *checker) note(s span) {
	c.damage = append(c.damage, s)
	if c.onSpan != nil {
		c.onSpan(s)
	}
}

// batchAt returns the batch at a position, or the cause why there is no sound one.
func (c *checker) batchAt(pos int64, least record.Offset) (b record.Batch, cause, err error) {
	head, err := c.bytes(pos, record.HeaderSize)
	if err != nil {
		return b, nil, err
	}
	_, cause = c.header(head, pos, least)
	if errors.Is(cause, record.ErrMagic) {
		if err := c.refuseOldFormat(head, pos); err != nil {
			return b, nil, err
		}
	}
	if cause != nil {
		return b, cause, nil
	}
	return c.sound(pos)
}

// sound returns the batch at a position if it is one in itself, whatever is around it, or the cause why there is none.
func (c *checker) sound(pos int64) (b record.Batch, cause, err error) {
	head, err := c.bytes(pos, record.HeaderSize)
	if err != nil {
		return b, nil, err
	}
	h, cause := record.ParseHeader(head)
	if cause != nil {
		return b, cause, nil
	}
	whole, err := c.bytes(pos, h.Size())
	if err != nil {
		return b, nil, err
	}
	if b, _, cause = record.Parse(whole); cause == nil {
		cause = b.Verify()
	}
	return b, cause, nil
}

// header returns the header at the start of head, which are the bytes at a position, or the cause why it cannot be that
// of a batch there.
func (c *checker) header(head []byte, pos int64, least record.Offset) (record.Header, error) {
	h, err := record.ParseHeader(head)
	switch {
	case err != nil:
		return nil, err
	case h.BaseOffset() < least:
		return nil, fmt.Errorf("batch starts at offset %d, below %d", h.BaseOffset(), least)
	case h.NextOffset() > c.next:
		return nil, fmt.Errorf("batch reaches offset %d, %w at %d", h.NextOffset()-1, errOverlap, c.next)
	case int64(h.Size()) > c.size-pos:
		return nil, fmt.Errorf("batch of %d bytes, the file has %d left: %w", h.Size(), c.size-pos, record.ErrShort)
	}
	return h, nil
}

// refuseOldFormat returns an error if there is a whole message of format 0 or 1 at a position, its own checksum
// included: a Kafka that is too old has written it. Anything else with such a magic is not sound.
func (c *checker) refuseOldFormat(head []byte, pos int64) error {
	const sumAt = 12
	size := int64(int32(binary.BigEndian.Uint32(head[lengthAt:]))) + sumAt
	if size <= magicAt || size > c.size-pos {
		return nil
	}
	message, err := c.bytes(pos, int(size))
	if err != nil {
		return err
	}
	if crc32.ChecksumIEEE(message[magicAt:]) != binary.BigEndian.Uint32(message[sumAt:]) {
		return nil
	}
	return fmt.Errorf("%s holds a message of format %d at byte %d: %w: have a Kafka of version 2 or 3 write the topic "+
		"in format 2, or delete the folder", c.s.path+dataSuffix, message[magicAt], pos, ErrUnsupported)
}

// bytes returns up to n bytes at a position, fewer at the end of the file. They are valid until the next call.
func (c *checker) bytes(pos int64, n int) ([]byte, error) {
	n = int(min(int64(n), c.size-pos))
	from := int(pos - c.at)
	if pos < c.at || from+n > c.have {
		if want := max(n, int(min(copyBlock, c.size-pos))); len(c.buf) < want {
			c.buf = make([]byte, want)
		}
		got := int(min(int64(len(c.buf)), c.size-pos))
		c.have = 0
		if _, err := c.f.ReadAt(c.buf[:got], pos); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		c.at, c.have, from = pos, got, 0
	}
	return c.buf[from : from+n], nil
}
