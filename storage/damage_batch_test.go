package storage

import (
	"encoding/binary"
	"fmt"

	"segue/storage/record"
)

// flip flips one bit of a byte of a batch of the target.
func flip(batch, at int, bit byte) func(*scene) {
	return func(s *scene) {
		s.data(func(b []byte) []byte {
			b[int(s.batches[batch].pos)+at] ^= bit
			return b
		})
	}
}

// batchDamages are flipped bits in a batch in the middle of a segment, one field after the other. The batch is lost and no
// other.
func batchDamages() (rows []damage) {
	fields := []struct {
		name    string
		at      int
		bit     byte
		payload bool
	}{
		{"base offset, up by 1 or down", 7, 1, false},
		{"base offset, by 16", 7, 0x10, false},
		{"base offset, by 64", 7, 0x40, false},
		{"base offset, by 65536", 5, 1, false},
		{"base offset, by 2^40", 2, 1, false},
		{"base offset, by 2^62", 0, 0x40, false},
		{"base offset, sign", 0, 0x80, false},
		{"length, by 1", 11, 1, true},
		{"length, by 64", 11, 0x40, true},
		{"length, by 1024", 10, 4, true},
		{"length, by 2^30", 8, 0x40, false},
		{"length, sign", 8, 0x80, false},
		{"magic, to 3", 16, 1, false},
		{"magic, to 0", 16, 2, false},
		{"checksum", 18, 4, true},
		{"attributes: codec", 22, 1, true},
		{"attributes: codec that there is not", 22, 7, false},
		{"attributes: control", 22, 0x20, true},
		{"last offset delta, up", 26, 4, true},
		{"last offset delta, down", 26, 2, true},
		{"base timestamp", 30, 1, true},
		{"largest timestamp", 40, 1, true},
		{"producer id", 45, 1, true},
		{"producer epoch", 52, 1, true},
		{"base sequence", 55, 1, true},
		{"count", 60, 4, true},
		{"count, sign", 57, 0x80, false},
		{"records", 80, 1, true},
	}
	for _, f := range fields {
		row := damage{name: "flipped bit, " + f.name, change: flip(2, f.at, f.bit), lost: theBatches(2), payload: f.payload}
		if f.at > lastOffsetDeltaAt+4 && f.at < record.HeaderSize {
			row.at = []int{above} // one field that the checksum alone guards is like another
		}
		rows = append(rows, row)
	}
	return append(rows, []damage{
		// The records are sound and the epoch is of use to nobody: the batch is read.
		{name: "flipped bit, leader epoch, up", change: flip(2, 12, 0x40)},
		{name: "flipped bit, leader epoch, down", change: flip(2, 15, 1), sound: true},
		{name: "first batch, base offset up", change: flip(0, 5, 1), lost: theBatches(0)},
		{name: "first batch, magic", change: flip(0, 16, 1), lost: theBatches(0)},
		{name: "first batch, length", change: flip(0, 11, 2), lost: theBatches(0), payload: true},
		{name: "last batch, base offset up", change: func(s *scene) { flip(len(s.batches)-1, 5, 1)(s) }, lost: theBatches(-1)},
		{name: "last batch, base offset down", change: func(s *scene) { flip(len(s.batches)-1, 7, 0x0f)(s) }, lost: theBatches(-1)},
		{name: "last batch, magic", change: func(s *scene) { flip(len(s.batches)-1, 16, 1)(s) }, lost: theBatches(-1)},
		{name: "last batch, length", change: func(s *scene) { flip(len(s.batches)-1, 11, 2)(s) }, lost: theBatches(-1), payload: true},
		{name: "last batch, records", change: func(s *scene) { flip(len(s.batches)-1, 80, 2)(s) }, lost: theBatches(-1), payload: true},
		{name: "sound batch between two damaged headers", change: func(s *scene) {
			flip(0, 16, 1)(s)
			flip(2, 16, 1)(s)
		}, lost: theBatches(0, 2)},
		{name: "sound batch between two damaged lengths", change: func(s *scene) {
			flip(0, 11, 2)(s)
			flip(2, 8, 0x80)(s)
		}, lost: theBatches(0, 2), payload: true},
	}...)
}

// dataDamages are done to whole stretches of a data file.
func dataDamages() []damage {
	between := func(from, to int) func(*scene) []offsets {
		return func(s *scene) []offsets { return []offsets{{s.batches[from].base, s.batches[to].end}} }
	}
	zero := func(s *scene, from, to int64) {
		s.data(func(b []byte) []byte {
			clear(b[from:min(to, int64(len(b)))])
			return b
		})
	}
	tail := func(s *scene) int64 { return s.batches[len(s.batches)-1].pos }
	sealed := []int{below, above}
	return []damage{
		{name: "nothing", sound: true},
		{name: "cut in the middle of the last batch", lost: theBatches(-1), change: func(s *scene) {
			s.data(func(b []byte) []byte { return b[:len(b)-10] })
		}},
		{name: "cut in the last header", lost: theBatches(-1), change: func(s *scene) {
			s.data(func(b []byte) []byte { return b[:tail(s)+20] })
		}},
		{name: "cut at a batch boundary", lost: theBatches(-1), change: func(s *scene) {
			s.data(func(b []byte) []byte { return b[:tail(s)] })
		}},
		{name: "cut to nothing", lost: wholeSegment, change: func(s *scene) {
			s.data(func([]byte) []byte { return nil })
		}},
		{name: "zeroed tail", payload: true, lost: theBatches(-2, -1), change: func(s *scene) { zero(s, s.batches[len(s.batches)-2].pos+20, 1<<40) }},
		{name: "zeroed to the last byte", lost: wholeSegment, change: func(s *scene) { zero(s, 0, 1<<40) }},
		{name: "zeroed page in the middle", payload: true, lost: between(2, 5), at: sealed, change: func(s *scene) {
			zero(s, s.batches[2].pos+30, s.batches[5].pos+30)
		}},
		{name: "zeroed page over whole batches", lost: between(2, 5), at: sealed, change: func(s *scene) {
			zero(s, s.batches[2].pos, s.batches[5].pos+100)
		}},
		{name: "zeroed page at the start", lost: between(0, 1), change: func(s *scene) { zero(s, 0, s.batches[1].pos+70) }},
		{name: "half a batch behind the end, never synced", at: []int{hot}, sound: true, aside: testID.Folder() + "/*.cut", change: func(s *scene) {
			s.data(func(b []byte) []byte { return append(b, next(b, s.end)[:100]...) })
		}},
		{name: "zeros behind the end, never synced", at: []int{hot}, sound: true, aside: testID.Folder() + "/*.cut", change: func(s *scene) {
			s.data(func(b []byte) []byte { return append(b, make([]byte, 4096)...) })
		}},
		{name: "message format 1", at: []int{above, hot}, refused: ErrUnsupported, unless: func(v variation) bool { return v.stopped },
			change: func(s *scene) { s.data(func([]byte) []byte { return oldMessages(1, 3) }) }},
		{name: "message format 0", at: []int{above, hot}, refused: ErrUnsupported, unless: func(v variation) bool { return v.stopped },
			change: func(s *scene) { s.data(func([]byte) []byte { return oldMessages(0, 3) }) }},
	}
}

// next is the first batch of some data as if it were the next one of the log.
func next(data []byte, at record.Offset) []byte {
	h, err := record.ParseHeader(data)
	if err != nil {
		panic(fmt.Sprint("a test has broken its own data: ", err))
	}
	batch := append([]byte(nil), data[:h.Size()]...)
	binary.BigEndian.PutUint64(batch, uint64(at))
	return batch
}
