package storage

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"sort"

	"segue/storage/record"
)

// try is a batch that somebody has tried to append.
type try struct {
	base, next record.Offset
	data       []byte // as it is to be found in the log
	time       int64  // of the first record; each that follows is a millisecond later
	epoch      int32

	keys []string        // of the records; a tombstone's begins with a minus
	left []record.Offset // that a log was found to hold, where compaction may have taken some
}

// fate says how a topic ends.
type fate uint8

const (
	alive     fate = iota
	deleting       // a delete has begun and not come through
	deleted        // its delete has come through
	displaced      // another topic of its name is being opened
	aside          // another topic of its name was opened
)

// history is what a workload knows of one log: all that it tried to write there, and what it was promised. Its slices
// only grow, so that a copy of a history stays as it was.
type history struct {
	id    Identity
	fate  fate
	thins bool  // the log is compacted
	tries []try // ordered by base; of several with one base the last was written, if any was. See final

	written record.Offset // everything below was written: no kill takes it
	durable record.Offset // everything below was told or shown to somebody as durable: no power cut takes it
	told    record.Offset // what Events was told last

	start record.Offset   // records below are deleted, as somebody was told
	asked []record.Offset // further log starts that may have taken effect

	saves   []record.Offset // where checkpoints were to stand, one after the other
	through int             // how many of them there were when the last one came through
}

// how says what happened to a disk before a log on it is opened.
type how string

const (
	closed how = "a close"
	kill   how = "a kill"
	cut    how = "a power cut"
)

// firm is the least that a log may end at.
func (h *history) firm(after how) record.Offset {
	if after == cut {
		return h.durable
	}
	return max(h.written, h.durable)
}

// snapshot returns a copy that shares nothing that grows.
func (h *history) snapshot() *history {
	s := *h
	s.tries, s.asked, s.saves = slices.Clip(s.tries), slices.Clip(s.asked), slices.Clip(s.saves)
	return &s
}

// final returns the tries below an offset that were written, in order: each begins where the one before it ends, and others
// are of appends that failed behind their first batch.
func (h *history) final(below record.Offset) (out []try) {
	next := record.Offset(-1)
	for i, t := range h.tries {
		last := i+1 == len(h.tries) || h.tries[i+1].base != t.base
		if t.base < below && last && (next == -1 || t.base == next) {
			out, next = append(out, t), t.next
		}
	}
	return out
}

// fold is the state that a checkpoint at an offset holds: the sum of all batches below.
func (h *history) fold(at record.Offset) string {
	sum := crc32.NewIEEE()
	for _, t := range h.final(at) {
		sum.Write(t.data)
	}
	return fmt.Sprintf("%d %x", at, sum.Sum32())
}

// match finds the try that a batch is. A batch below firm must be the one that was written.
func (h *history) match(b record.Batch, firm record.Offset) (try, error) {
	base := b.BaseOffset()
	for i := sort.Search(len(h.tries), func(i int) bool { return h.tries[i].base >= base }); i < len(h.tries) && h.tries[i].base == base; i++ {
		t := h.tries[i]
		last := i+1 == len(h.tries) || h.tries[i+1].base != base
		if !last && base < firm {
			continue
		}
		if string(t.data) == string(b.Bytes()) {
			return t, nil
		}
		if h.thins && t.thinned(b) {
			return t, nil
		}
	}
	return try{}, fmt.Errorf("the batch of offsets %d to %d is not what was written there", base, b.LastOffset())
}

// verify holds a log that was just opened against its history, which goes on from what the log holds.
func (h *history) verify(l *Log, after how, r *rand.Rand) error {
	start, committed, end := l.Bounds()
	switch firm := h.firm(after); {
	case committed != end:
		return fmt.Errorf("committed is %d, the log ends at %d", committed, end)
	case end < firm:
		return fmt.Errorf("the log ends at %d, all up to %d was promised", end, firm)
	case start > end, start != h.start && (start < h.start || !slices.Contains(h.asked, start)):
		return fmt.Errorf("the log starts at %d and ends at %d; its start was to be %d, or of %d", start, end, h.start, h.asked)
	}
	found, err := h.chain(l, start, end, h.firm(after))
	if err != nil {
		return err
	}
	kept := h.took(found, start, h.firm(after))
	if err := errors.Join(h.superseded(kept, found, start, end), h.decided(kept, found)); err != nil {
		return err
	}
	h.tries, h.start, h.asked = kept, start, nil
	h.written, h.durable, h.told = end, end, end
	if err := errors.Join(h.lookUp(l, found, r), l.checkIndexes(), l.checkEdges()); err != nil {
		return err
	}
	if n := len(found); n > 0 && l.epoch() < found[n-1].epoch {
		return fmt.Errorf("leader epoch %d, the last batch has %d", l.epoch(), found[n-1].epoch)
	}
	return h.verifyCheckpoint(l, after)
}

// chain reads a log from one offset to another and returns the tries that it is made of, without a gap.
func (h *history) chain(l *Log, start, end, firm record.Offset) (found []try, err error) {
	all, err := readBatches(l, start, end, 3000)
	if err != nil {
		return nil, err
	}
	at := start
	for _, b := range all {
		t, err := h.match(b, firm)
		if err != nil {
			return nil, err
		}
		if (t.base > at || len(found) > 0 && t.base != at) && !h.thins || t.next <= at {
			return nil, fmt.Errorf("the batch of offsets %d to %d stands where %d was to be", t.base, t.next-1, at)
		}
		t.left = nil
		for r, err := range b.Records(nil) {
			if err != nil {
				return nil, err
			}
			if r.Offset >= start {
				t.left = append(t.left, r.Offset)
			}
		}
		found, at = append(found, t), t.next
	}
	if at != end {
		return nil, fmt.Errorf("the log ends at %d, and can be read up to %d", end, at)
	}
	return found, nil
}

// lookUp looks for every offset and for timestamps, and compares what the log finds with a walk over its batches.
func (h *history) lookUp(l *Log, found []try, r *rand.Rand) error {
	ctx := context.Background()
	start, _, end := l.Bounds()
	at := start
	for _, t := range found {
		for o := at; o < t.next; o++ {
			c, err := l.Read(ctx, o, end, 1, true)
			if err != nil {
				return fmt.Errorf("read at %d: %w", o, err)
			}
			got, err := chunkBatches(c)
			if err != nil || len(got) != 1 || got[0].BaseOffset() != t.base {
				return fmt.Errorf("read at %d: %d batches, not the one from %d: %w", o, len(got), t.base, err)
			}
		}
		at = t.next
	}
	newest := int64(noTimestamp)
	at = -1
	for _, t := range found {
		for _, o := range t.left {
			if v := t.time + int64(o-t.base); v > newest {
				newest, at = v, o
			}
		}
	}
	if got, ts, err := l.MaxTimestamp(ctx); err != nil || got != at || ts != newest {
		return fmt.Errorf("largest timestamp %d at %d, want %d at %d: %w", ts, got, newest, at, err)
	}
	for range min(12, len(found)) {
		t := found[r.IntN(len(found))]
		if err := lookUpTime(l, found, t.time+r.Int64N(4)-1); err != nil {
			return err
		}
	}
	return nil
}

func lookUpTime(l *Log, found []try, target int64) error {
	want := record.Offset(-1)
	for _, t := range found {
		for _, o := range t.left {
			if want < 0 && t.time+int64(o-t.base) >= target {
				want = o
			}
		}
	}
	if got, _, err := l.OffsetForTime(context.Background(), target); err != nil || got != want {
		return fmt.Errorf("offset for time %d is %d, want %d: %w", target, got, want, err)
	}
	return nil
}

// verifyCheckpoint looks at the checkpoint that the workload saves. It is one of those that were saved; no kill takes the
// last one, and none stands beyond the end.
func (h *history) verifyCheckpoint(l *Log, after how) error {
	_, _, end := l.Bounds()
	at, state, err := l.Load(context.Background(), foldName)
	switch {
	case errors.Is(err, ErrNotFound):
		if after != cut && h.through > 0 {
			return fmt.Errorf("the checkpoint at %d is gone: %w", h.saves[h.through-1], err)
		}
		if after == cut {
			h.saves, h.through = nil, 0
		}
		return nil
	case err != nil:
		return err
	case at > end || string(state) != h.fold(at):
		return fmt.Errorf("checkpoint at %d says %q, want %q; the log ends at %d", at, state, h.fold(at), end)
	}
	i := slices.Index(h.saves, at)
	if i < 0 || after != cut && !slices.Contains(h.saves[max(h.through-1, 0):], at) {
		return fmt.Errorf("checkpoint at %d; %d were saved, %d of them for sure", at, h.saves, h.through)
	}
	if after == cut { // what is there now stays; before, a power cut could bring an older one back
		h.saves, h.through = []record.Offset{at}, 1
	}
	return nil
}

// foldName is the name of the checkpoint that workloads save.
const foldName = "fold"

// readBatches returns all batches of a log from one offset to another, checked, by reads of so many bytes.
func readBatches(l *Log, from, to record.Offset, maxBytes int) (all []record.Batch, err error) {
	for from < to {
		c, err := l.Read(context.Background(), from, to, maxBytes, true)
		if err != nil || c.Length == 0 {
			return all, err
		}
		got, err := chunkBatches(c)
		if err != nil {
			return all, fmt.Errorf("read at %d: %w", from, err)
		}
		all = append(all, got...)
		from = got[len(got)-1].NextOffset()
	}
	return all, nil
}

// checkIndexes holds the index of every segment against its data, but for that of the hot one where it has none.
func (l *Log) checkIndexes() error {
	all := l.view.Load().segments
	for i, s := range all {
		if i == len(all)-1 && s.idx.Load().odd.Load() {
			continue // it is made once the next append has sealed the segment
		}
		if err := l.prepare(s); err != nil {
			return fmt.Errorf("index of %s: %w", s.path, err)
		}
		if err := s.checkIndex(); err != nil {
			return fmt.Errorf("index of %s: %w", s.path, err)
		}
	}
	return nil
}

// checkIndex walks over a segment's batches and its index entries together.
func (s *Segment) checkIndex() error {
	f, err := s.file.pin()
	if err != nil {
		return err
	}
	defer s.file.unpin()
	x := s.idx.Load()
	if x.odd.Load() {
		return errIndexOdd
	}
	var entries []indexEntry
	if n := int(x.count.Load()); n > 0 {
		err := x.with(func(b []byte) {
			for i := range n {
				entries = append(entries, entryAt(b, i))
			}
		})
		if err != nil {
			return err
		}
	}
	newest := int64(noTimestamp)
	w := s.walk(f, 0, s.size.Load())
	defer w.done()
	for {
		h, err := w.peek()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if len(entries) > 0 && int64(entries[0].Position) == w.pos {
			want := indexEntry{Relative: uint32(h.BaseOffset() - s.base), Position: uint32(w.pos), MaxBefore: newest}
			if entries[0] != want || w.pos == 0 {
				return fmt.Errorf("entry %+v, want %+v", entries[0], want)
			}
			entries = entries[1:]
		}
		newest = max(newest, h.MaxTimestamp())
		w.skip(h)
	}
	if len(entries) > 0 || w.pos != s.size.Load() || s.maxTime.Load() != newest {
		return fmt.Errorf("%d entries lead to no batch; %d bytes of %d; largest timestamp %d, want %d", len(entries), w.pos,
			s.size.Load(), s.maxTime.Load(), newest)
	}
	return nil
}
