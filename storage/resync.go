package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"segue/storage/record"
)

// This file holds how a checker finds its way where bytes are not sound: which of two batches that contradict each other
// is the wrong one, and where the log goes on behind one that cannot be read.

// Fields of a batch header that are read here even where the header as a whole is not sound.
const (
	lengthAt          = 8
	magicAt           = 16
	lastOffsetDeltaAt = 23
	// lengthOverhead is what a batch's size has over its length field.
	lengthOverhead = 12
)

var errOverlap = errors.New("where the next segment starts")

// contradicted returns why a sound batch at pos cannot be what its header claims, or the batch if it may. The checksum
// does not cover the base offset and the leader epoch: with a flipped bit they can claim anything. What is too low is
// seen at once. What is too high looks like a gap that compaction has left, or like a new leader, unless the batch behind
// says otherwise, or the note of the last sync, which says where the log ends.
func (c *checker) contradicted(b record.Batch) (again record.Batch, cause, err error) {
	h := slices.Clone(b.Header[:record.HeaderSize])
	behind := c.pos + int64(h.Size())
	if behind == c.synced && c.syncedTo > 0 && h.NextOffset() > c.syncedTo {
		return b, fmt.Errorf("batch claims to reach offset %d, and the log was synced up to %d", h.NextOffset()-1, c.syncedTo), nil
	}
	head, err := c.bytes(behind, record.HeaderSize)
	if err != nil {
		return b, nil, err
	}
	if next, odd := record.ParseHeader(head); odd == nil {
		switch {
		case contradicts(h, next, c.least):
			return b, fmt.Errorf("batch claims offset %d between %d and one at %d", h.BaseOffset(), c.least-1, next.BaseOffset()), nil
		case next.LeaderEpoch() < h.LeaderEpoch() && next.LeaderEpoch() >= c.lastEpoch:
			// No reader needs it, but no leader of a later epoch could append behind it if it were believed.
			c.oddEpoch = true
			c.note(span{from: c.pos, to: behind, low: h.BaseOffset(), high: h.NextOffset(), readable: true, cause: fmt.Errorf(
				"batch claims leader epoch %d, the one behind it has %d", h.LeaderEpoch(), next.LeaderEpoch())})
		}
	}
	return c.batchAt(c.pos, c.least) // the look behind it may have taken its place in the buffer
}

// contradicts says whether a header cannot stand before the next one, although it could if its base offset were least,
// which is the offset behind the batch before it.
func contradicts(h, next record.Header, least record.Offset) bool {
	fits := least + record.Offset(h.LastOffsetDelta()) + 1
	return next.BaseOffset() < h.NextOffset() && next.BaseOffset() >= fits
}

// refuseOverlap returns an error if the batch at pos, which was found to reach into the next segment, is as sound as can
// be: then it is the other file that does not belong there, and which of the two is right is not ours to say.
func (c *checker) refuseOverlap(cause error) error {
	if !errors.Is(cause, errOverlap) {
		return nil
	}
	if b, odd, err := c.sound(c.pos); err != nil || odd != nil || b.BaseOffset() != c.least {
		return err
	}
	return &CorruptError{File: c.s.path + dataSuffix, Position: c.pos, Offset: c.next, Err: fmt.Errorf(
		"%w: the two files overlap; move the one that does not belong there elsewhere (%s%s, perhaps)",
		cause, segmentName(c.next), dataSuffix)}
}

// resync looks for the next sound batch behind pos and returns its place and base offset, or the end of the file. A
// batch in the value of a record, as a copy of another topic has them, is none.
func (c *checker) resync(ctx context.Context) (int64, record.Offset, error) {
	told, err := c.foretold()
	if err != nil {
		return 0, 0, err
	}
	end, low, followed, err := c.follow(ctx, c.pos)
	if err != nil || followed && low == told {
		return end, low, err
	}
	// Where batches are of one size, a length with a flipped bit may lead to the one after the next. So what lies
	// between is looked at for the batch that the header foretells, which no other has the offset of.
	if !followed {
		end = c.size
	}
	for pos := c.pos + 1; pos < end && pos+record.HeaderSize <= c.size; pos++ {
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
		likely, err := c.likely(pos, told, followed)
		if err != nil {
			return 0, 0, err
		}
		if !likely {
			continue
		}
		b, cause, err := c.batchAt(pos, c.least)
		if err != nil {
			return 0, 0, err
		}
		if cause == nil {
			return pos, b.BaseOffset(), nil
		}
	}
	return end, low, nil
}

// follow goes from batch to batch by their lengths alone, whatever else in their headers is not sound, until it comes to
// a sound batch or exactly to the end of the file. A length that is wrong leads to neither.
func (c *checker) follow(ctx context.Context, pos int64) (at int64, low record.Offset, found bool, err error) {
	for ctx.Err() == nil {
		next, err := c.behind(pos)
		if err != nil || next < 0 {
			return 0, 0, false, err
		}
		if next == c.size {
			return c.size, 0, true, nil
		}
		b, cause, err := c.batchAt(next, c.least)
		if err != nil {
			return 0, 0, false, err
		}
		if cause == nil {
			return next, b.BaseOffset(), true, nil
		}
		pos = next
	}
	return 0, 0, false, ctx.Err()
}

// behind returns where the batch at a position ends by its length field; -1 if no batch has that length.
func (c *checker) behind(pos int64) (int64, error) {
	head, err := c.bytes(pos, magicAt)
	if err != nil || len(head) < magicAt {
		return -1, err
	}
	length := int64(int32(binary.BigEndian.Uint32(head[lengthAt:])))
	next := pos + lengthOverhead + length
	if length < record.HeaderSize-lengthOverhead || next > c.size {
		return -1, nil
	}
	return next, nil
}

// foretold returns the offset behind the batch at pos, as far as its header can be believed; -1 if it cannot.
func (c *checker) foretold() (record.Offset, error) {
	head, err := c.bytes(c.pos, record.HeaderSize)
	if err != nil || len(head) < record.HeaderSize {
		return -1, err
	}
	delta := int32(binary.BigEndian.Uint32(head[lastOffsetDeltaAt:]))
	if delta < 0 {
		return -1, nil
	}
	return c.least + record.Offset(delta) + 1, nil
}

// likely is the cheap test for a batch of the log at a position: its header is one, and it has the offset that is next,
// or, unless only that counts, what was written ends behind it, or another batch follows, of whose header one field may
// be damaged as well.
func (c *checker) likely(pos int64, told record.Offset, onlyTold bool) (bool, error) {
	h, err := c.headerAt(pos, c.least)
	if err != nil || h == nil {
		return false, err
	}
	next, low := pos+int64(h.Size()), h.NextOffset()
	if h.BaseOffset() == told || onlyTold {
		return h.BaseOffset() == told, nil
	}
	if next == c.size || next == c.synced {
		return true, nil
	}
	if h, err = c.headerAt(next, low); err != nil || h != nil {
		return h != nil, err
	}
	if next, err = c.behind(next); err != nil || next < 0 {
		return false, err
	}
	if next == c.size {
		return true, nil
	}
	h, err = c.headerAt(next, low)
	return h != nil, err
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
