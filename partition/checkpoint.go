package partition

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"segue/storage"
	"segue/storage/record"
)

// checkpointName is the name of the one checkpoint that a partition keeps in its log.
const checkpointName = "partition"

// checkpointVersion is the first byte of a checkpoint's state. Another version is as good as no checkpoint: the log is
// replayed from its start.
const checkpointVersion = 3

// state is what a partition folds out of its log: a pure function of the batches' headers and of the markers of
// transactions, but for the times at which producers were last active.
type state struct {
	epochs       epochs
	producers    producers
	transactions transactions
	// highest is the largest leader epoch that was replayed. Kafka's epochs may go back where a topic was made anew
	// around an older log, and then it is not that of the last batch.
	highest int32
}

// apply takes in the header of a batch that is in the log, and the marker that is in it, if there is one.
func (s *state) apply(h record.Header, m Marker, kind marker, now int64) {
	s.highest = max(s.highest, h.LeaderEpoch())
	s.epochs = s.epochs.assign(h.LeaderEpoch(), h.BaseOffset())
	s.producers.apply(h, m.CoordinatorEpoch, now)
	if step, takes := stepOf(h, kind, now); takes && s.transactions.apply(step) {
		s.transactions.settle(0, h.NextOffset())
	}
}

// expire forgets producers that have not written for a time.
func (s *state) expire(now int64, expiry time.Duration) {
	s.producers.expire(now, expiry, s.transactions.open)
}

// encode writes the state as a checkpoint holds it: the version, the epochs, the producers, the open and the aborted
// transactions, each with their count before them, numbers as varints, those of an aborted one as distances. The log guards it
// with a checksum.
func (s *state) encode() []byte {
	b := make([]byte, 0, 16+len(s.epochs)*8+len(s.producers.byID)*64)
	b = append(b, checkpointVersion)
	b = binary.AppendUvarint(b, uint64(len(s.epochs)))
	for _, e := range s.epochs {
		b = binary.AppendVarint(b, int64(e.epoch))
		b = binary.AppendVarint(b, int64(e.start))
	}
	b = binary.AppendUvarint(b, uint64(len(s.producers.byID)))
	for id, p := range s.producers.byID {
		b = binary.AppendVarint(b, id)
		b = binary.AppendVarint(b, int64(p.epoch))
		b = binary.AppendVarint(b, int64(p.coordinatorEpoch))
		b = binary.AppendVarint(b, p.active)
		b = binary.AppendVarint(b, p.timestamp)
		b = binary.AppendUvarint(b, uint64(p.known))
		for _, w := range p.batches[:p.known] {
			b = binary.AppendVarint(b, int64(w.last))
			b = binary.AppendVarint(b, w.timestamp)
			b = binary.AppendVarint(b, int64(w.lastSeq))
			b = binary.AppendVarint(b, int64(w.delta))
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.transactions.open)))
	for id, txn := range s.transactions.open {
		b = binary.AppendVarint(b, id)
		b = binary.AppendVarint(b, int64(txn.first))
		b = binary.AppendVarint(b, txn.since)
	}
	b = binary.AppendUvarint(b, uint64(len(s.transactions.aborted)))
	before := record.Offset(-1)
	for _, a := range s.transactions.aborted {
		b = binary.AppendVarint(b, a.producerID)
		b = binary.AppendVarint(b, int64(a.last-before))
		b = binary.AppendVarint(b, int64(a.last-a.first))
		b = binary.AppendVarint(b, int64(a.last+1-a.stable))
		before = a.last
	}
	return b
}

// Fewest bytes that an epoch, a producer, an open and an aborted transaction take, to hold a count against the bytes that
// are there.
const (
	minEpochBytes    = 2
	minProducerBytes = 6
	minOpenBytes     = 3
	minAbortedBytes  = 4
)

var errBadCheckpoint = errors.New("bad checkpoint")

// decode is the inverse of encode. It refuses what encode cannot have written.
func (s *state) decode(b []byte) error {
	if len(b) == 0 || b[0] != checkpointVersion {
		return fmt.Errorf("%w: not of version %d", errBadCheckpoint, checkpointVersion)
	}
	d := decoder{rest: b[1:]}
	for range d.count(minEpochBytes) {
		e := epochStart{int32(d.int(0, math.MaxInt32)), record.Offset(d.int(0, math.MaxInt64))}
		if n := len(s.epochs); n > 0 && (s.epochs[n-1].epoch >= e.epoch || s.epochs[n-1].start >= e.start) {
			return fmt.Errorf("%w: epochs do not ascend", errBadCheckpoint)
		}
		s.epochs = append(s.epochs, e)
	}
	count := d.count(minProducerBytes)
	if count > 0 {
		s.producers.byID = make(map[int64]*producer, count)
	}
	for range count {
		id := d.int(0, math.MaxInt64)
		p := &producer{
			epoch:            int16(d.int(math.MinInt16, math.MaxInt16)),
			coordinatorEpoch: int32(d.int(-1, math.MaxInt32)),
			active:           d.int(math.MinInt64, math.MaxInt64),
			timestamp:        d.int(math.MinInt64, math.MaxInt64),
		}
		p.known = uint8(d.uint(window))
		for i := range p.known {
			p.batches[i] = written{
				last:      record.Offset(d.int(0, math.MaxInt64)),
				timestamp: d.int(math.MinInt64, math.MaxInt64),
				lastSeq:   int32(d.int(record.NoSequence, math.MaxInt32)),
				delta:     int32(d.int(0, math.MaxInt32)),
			}
		}
		s.producers.byID[id] = p
	}
	open := d.transactions(&s.transactions)
	switch {
	case d.bad:
		return fmt.Errorf("%w: a number is cut short or out of range", errBadCheckpoint)
	case len(d.rest) > 0:
		return fmt.Errorf("%w: %d bytes too many", errBadCheckpoint, len(d.rest))
	case len(s.producers.byID) != count, len(s.transactions.open) != open:
		return fmt.Errorf("%w: a producer appears twice", errBadCheckpoint)
	}
	return nil
}

// transactions reads the open and the aborted transactions, and returns how many open ones there are to be.
func (d *decoder) transactions(t *transactions) (open int) {
	open = d.count(minOpenBytes)
	if open > 0 {
		t.open = make(map[int64]*transaction, open)
	}
	for range open {
		id := d.int(0, math.MaxInt64)
		txn := newTransaction(record.Offset(d.int(0, math.MaxInt64)), d.int(math.MinInt64, math.MaxInt64))
		t.open[id] = txn
		t.undecided = append(t.undecided, txn)
	}
	slices.SortFunc(t.undecided, func(a, b *transaction) int { return cmp.Compare(a.first, b.first) })
	for i := range len(t.undecided) - 1 {
		d.bad = d.bad || t.undecided[i].first == t.undecided[i+1].first
	}
	before := int64(-1)
	for range d.count(minAbortedBytes) {
		id := d.int(0, math.MaxInt64)
		last := before + d.int(1, math.MaxInt64-1-max(before, 0))
		first, stable := last-d.int(0, max(last, 0)), last+1-d.int(0, max(last+1, 0))
		t.aborted = append(t.aborted, abortedTxn{id, record.Offset(first), record.Offset(last), record.Offset(stable)})
		before = last
	}
	return open
}

// decoder reads numbers. After the first that is not there or out of range, bad is set and all further ones are 0.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) int(low, high int64) int64 {
	v, n := binary.Varint(d.rest)
	return d.take(v, n, v >= low && v <= high)
}

func (d *decoder) uint(high uint64) int64 {
	v, n := binary.Uvarint(d.rest)
	return d.take(int64(v), n, v <= high)
}

func (d *decoder) take(v int64, n int, ok bool) int64 {
	if d.bad || n <= 0 || !ok {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count reads how many entries follow, each of at least size bytes.
func (d *decoder) count(size int) int {
	return int(d.uint(uint64(len(d.rest) / size)))
}

// replay folds the headers of all batches from an offset on into the state.
func (s *state) replay(ctx context.Context, log Log, from, end record.Offset, now int64) error {
	var scan scanner
	for from < end {
		c, err := log.Read(ctx, from, end, replayBytes, true)
		if err != nil {
			var corrupt *storage.CorruptError
			if !errors.As(err, &corrupt) {
				return err
			}
			// What lies in a damaged stretch is lost to the fold as it is to consumers. What follows is not.
			if from, err = behindDamage(ctx, log, from, end); err != nil {
				return err
			}
			continue
		}
		if c.Length == 0 {
			return nil // nothing but gaps that compaction left
		}
		next, err := s.replayChunk(&scan, c, now)
		c.Release()
		if err != nil {
			return err
		}
		if next <= from {
			return fmt.Errorf("reading at offset %d led back to %d", from, next)
		}
		from = next
	}
	return nil
}

// replayChunk folds the batches of a chunk and returns the offset behind them. Markers of transactions are read whole.
func (s *state) replayChunk(scan *scanner, c record.Chunk, now int64) (next record.Offset, err error) {
	var failed error
	next, err = scan.headers(c, func(h record.Header, at int64) {
		m, kind := Marker{CoordinatorEpoch: -1}, noMarker
		if h.IsControl() && failed == nil {
			m, kind, failed = readMarker(c, at, h.Size())
		}
		s.apply(h, m, kind, now)
	})
	return next, errors.Join(err, failed)
}

// behindDamage finds the first offset behind a damaged stretch that begins at or below from: by doubling steps to one
// that can be read, then by halving to the edge.
func behindDamage(ctx context.Context, log Log, from, end record.Offset) (record.Offset, error) {
	readable := func(at record.Offset) (bool, error) {
		if at >= end {
			return true, nil
		}
		c, err := log.Read(ctx, at, end, 0, true)
		c.Release()
		var corrupt *storage.CorruptError
		if errors.As(err, &corrupt) {
			return false, nil
		}
		return err == nil, err
	}
	bad, good := from, from
	for step := record.Offset(1); ; step *= 2 {
		good = min(from+step, end)
		ok, err := readable(good)
		if err != nil {
			return 0, err
		}
		if ok {
			break
		}
		bad = good
	}
	for bad+1 < good {
		middle := bad + (good-bad)/2
		ok, err := readable(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			good = middle
		} else {
			bad = middle
		}
	}
	return good, nil
}

const (
	// replayBytes is how much of the log one step of a replay covers.
	replayBytes = 64 << 20
	// minScanRead and maxScanRead bound one read of the scanner. The least is a page: reading less saves nothing.
	minScanRead = 4 << 10
	maxScanRead = 64 << 10
)

// scanner walks the headers of a chunk's batches. It reads many small batches at once, and skips the insides of big ones.
type scanner struct {
	buf []byte // nil before the first read
}

// headers calls f with the header of each batch and its position in the file, and returns the offset behind the last one. A
// header is good until f returns.
func (s *scanner) headers(c record.Chunk, f func(h record.Header, at int64)) (next record.Offset, err error) {
	var (
		pos, end = c.Offset, c.Offset + int64(c.Length)
		have     []byte // what has been read at pos
		size     = minScanRead
	)
	for pos < end {
		if len(have) < record.HeaderSize {
			if s.buf == nil {
				s.buf = make([]byte, maxScanRead)
			}
			n, err := c.File.ReadAt(s.buf[:min(int64(size), end-pos)], pos)
			if err != nil && err != io.EOF {
				return next, fmt.Errorf("read a batch header: %w", err)
			}
			have = s.buf[:n]
		}
		h, err := record.ParseHeader(have)
		if err != nil {
			return next, err
		}
		f(h, pos)
		next = h.NextOffset()
		pos += int64(h.Size())
		have = have[min(h.Size(), len(have)):]
		size = minScanRead
		if h.Size() < minScanRead {
			size = maxScanRead
		}
	}
	return next, nil
}
