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
	onBatch  func(h record.Header, pos, maxBefore int64)

	// The state: where the next batch is expected, and what was seen before it.
	pos       int64
	least     record.Offset
	maxTime   int64
	lastEpoch int32

	damage []span
	torn   error // what is wrong with the bytes from pos on, which are to be cut

	buf  []byte
	at   int64
	have int
}

// run checks everything from pos on. It returns an error only where the file cannot be read.
func (c *checker) run(ctx context.Context) error {
	for steps := 0; c.pos < c.size; steps++ {
		if steps%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b, cause, err := c.batchAt(c.pos, c.least)
		if err != nil {
			return err
		}
		if cause == nil {
			c.take(b)
			continue
		}
		stop, err := c.judge(ctx, cause)
		if err != nil || stop {
			return err
		}
	}
	if c.size < c.synced {
		// The file is shorter than what was synced: the records at its end are gone, and their offsets with them.
		c.lost(c.size, fmt.Errorf("the file has %d bytes, %d were synced", c.size, c.synced))
	}
	return nil
}

// take counts a sound batch.
func (c *checker) take(b record.Batch) {
	if c.onBatch != nil {
		c.onBatch(b.Header, c.pos, c.maxTime)
	}
	c.maxTime = max(c.maxTime, b.MaxTimestamp())
	c.lastEpoch = max(c.lastEpoch, b.LeaderEpoch())
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
		c.damage = append(c.damage, span{from: c.pos, to: at, low: c.least, high: low, cause: cause})
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
	c.damage = append(c.damage, span{from: pos, to: max(c.size, pos), low: c.least, high: high, cause: cause})
	c.least = high
}

// batchAt returns the batch at a position, or the cause why there is no sound one.
func (c *checker) batchAt(pos int64, least record.Offset) (b record.Batch, cause, err error) {
	head, err := c.bytes(pos, record.HeaderSize)
	if err != nil {
		return b, nil, err
	}
	h, cause := c.header(head, pos, least)
	if errors.Is(cause, record.ErrMagic) {
		if err := c.refuseOldFormat(head, pos); err != nil {
			return b, nil, err
		}
	}
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
		return nil, fmt.Errorf("batch reaches offset %d, the next segment starts at %d", h.NextOffset()-1, c.next)
	case int64(h.Size()) > c.size-pos:
		return nil, fmt.Errorf("batch of %d bytes, the file has %d left: %w", h.Size(), c.size-pos, record.ErrShort)
	}
	return h, nil
}

// refuseOldFormat returns an error if there is a whole message of format 0 or 1 at a position, its own checksum
// included: a Kafka that is too old has written it. Anything else with such a magic is not sound.
func (c *checker) refuseOldFormat(head []byte, pos int64) error {
	const sizeAt, sumAt, magicAt = 8, 12, 16
	size := int64(int32(binary.BigEndian.Uint32(head[sizeAt:]))) + sumAt
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

// resync looks for the next sound batch behind pos and returns its place and base offset, or the end of the file. A
// batch in the value of a record, as a copy of another topic has them, is none.
func (c *checker) resync(ctx context.Context) (int64, record.Offset, error) {
	// Where the header is sound it tells where the next batch is.
	if h, err := c.headerAt(c.pos, c.least); err != nil {
		return 0, 0, err
	} else if h != nil {
		next := c.pos + int64(h.Size())
		if next == c.size {
			return c.size, 0, nil
		}
		b, cause, err := c.batchAt(next, h.NextOffset())
		if err != nil {
			return 0, 0, err
		}
		if cause == nil {
			return next, b.BaseOffset(), nil
		}
	}
	const magicAt = 16
	for pos := c.pos + 1; pos+record.HeaderSize <= c.size; pos++ {
		if pos%copyBlock == 0 && ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		head, err := c.bytes(pos, record.HeaderSize)
		if err != nil {
			return 0, 0, err
		}
		if head[magicAt] != record.Magic {
			continue
		}
		h, err := c.headerAt(pos, c.least)
		if err != nil {
			return 0, 0, err
		}
		if h == nil {
			continue
		}
		// The cheap test first: behind a batch of the log there is another one, or what was written ends.
		if next := pos + int64(h.Size()); next != c.size && next != c.synced {
			if h, err = c.headerAt(next, h.NextOffset()); err != nil {
				return 0, 0, err
			} else if h == nil {
				continue
			}
		}
		b, cause, err := c.batchAt(pos, c.least)
		if err != nil {
			return 0, 0, err
		}
		if cause == nil {
			return pos, b.BaseOffset(), nil
		}
	}
	return c.size, 0, nil
}

// headerAt returns the header at a position, valid until the next call, or nil if it cannot be that of a batch there.
func (c *checker) headerAt(pos int64, least record.Offset) (record.Header, error) {
	head, err := c.bytes(pos, record.HeaderSize)
	if err != nil {
		return nil, err
	}
	h, cause := c.header(head, pos, least)
	if cause != nil {
		return nil, nil
	}
	return h, nil
}
