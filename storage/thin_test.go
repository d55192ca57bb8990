package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"segue/storage/record"
)

// This file holds what a workload knows of compaction: what it may take, and what it must leave.

// thinKeys is how many keys the records of a workload have, thinProducers how many producers have transactions in it.
const thinKeys, thinProducers = 7, 3

// thinning is how much more likely compaction is, in percent, where the logs are compacted.
func (w *workload) thinning() int {
	switch {
	case w.eager:
		return 10
	case w.cfg.Compact:
		return 2
	}
	return -2
}

// batch makes a batch of records, some of them tombstones. Where logs are compacted some are data of transactions, or markers.
func (w *workload) batch(base record.Offset, unixMilli int64, pad int) (record.Batch, []string) {
	bb := record.NewBuilder(0)
	var keys []string
	records := 1 + w.r.IntN(4)
	if w.cfg.Compact && w.r.IntN(2) == 0 {
		bb.ProducerID, bb.ProducerEpoch, bb.Transactional = w.r.Int64N(thinProducers), 0, true
		if bb.Control = w.r.IntN(3) == 0; bb.Control {
			bb.Add(unixMilli, []byte{0, 0, 0, 1}, make([]byte, 6))
			records = 0
		}
	}
	for i := range records {
		key, value := fmt.Sprintf("k%d", w.r.IntN(thinKeys)), fmt.Appendf(nil, "%d %s", base+record.Offset(i), make([]byte, pad))
		if w.r.IntN(5) == 0 {
			value = nil
			keys = append(keys, "-"+key)
		} else {
			keys = append(keys, key)
		}
		bb.Add(unixMilli+int64(i), []byte(key), value)
	}
	b, err := bb.Build()
	if err != nil {
		w.t.Fatal(err)
	}
	return b, keys
}

// thinned says whether a batch is what compaction has left of a try.
func (t try) thinned(b record.Batch) bool {
	was, _, err := record.Parse(t.data)
	if err != nil || b.Verify() != nil || was.NextOffset() != b.NextOffset() || was.LeaderEpoch() != b.LeaderEpoch() {
		return false
	}
	all := map[record.Offset]record.Record{}
	for r, err := range was.Records(nil) {
		if err != nil {
			return false
		}
		all[r.Offset] = r.Clone()
	}
	for r, err := range b.Records(nil) {
		o, known := all[r.Offset]
		if err != nil || !known || o.Timestamp != r.Timestamp || string(o.Key) != string(r.Key) || string(o.Value) != string(r.Value) ||
			(o.Value == nil) != (r.Value == nil) {
			return false
		}
	}
	return true
}

// took returns the tries that were written, when a log was found to hold some of them: compaction may have taken others,
// all of which were durable.
func (h *history) took(found []try, start, firm record.Offset) (kept []try) {
	first := start
	if len(found) > 0 {
		first = found[0].base
	}
	if !h.thins {
		return append(h.final(first), found...)
	}
	for _, t := range h.final(max(firm, first)) {
		if !slices.ContainsFunc(found, func(f try) bool { return f.base == t.base }) {
			kept = append(kept, t)
		}
	}
	// Above that, where there may be what failed appends have left, it is what was found and nothing else.
	kept = append(kept, found...)
	slices.SortFunc(kept, func(a, b try) int { return cmp.Compare(a.base, b.base) })
	return kept
}

// superseded looks at every record that a log has not: a later one has its key, or it was a tombstone, and then no older
// one of its key is there.
func (h *history) superseded(kept, found []try, start, end record.Offset) error {
	if !h.thins {
		return nil
	}
	there := map[record.Offset]bool{}
	for _, t := range found {
		for _, o := range t.left {
			there[o] = true
		}
	}
	last, oldest := map[string]record.Offset{}, map[string]record.Offset{}
	each := func(look func(key string, tombstone bool, o record.Offset) error) error {
		for _, t := range kept {
			for i, key := range t.keys {
				if o := t.base + record.Offset(i); start <= o && o < end {
					name, tombstone := strings.CutPrefix(key, "-")
					if err := look(name, tombstone, o); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
	_ = each(func(key string, _ bool, o record.Offset) error {
		last[key] = o
		if _, ok := oldest[key]; !ok && there[o] {
			oldest[key] = o
		}
		return nil
	})
	return each(func(key string, tombstone bool, o record.Offset) error {
		if there[o] {
			return nil
		}
		if last[key] == o && !tombstone {
			return fmt.Errorf("the last value of %s, at %d, is gone", key, o)
		}
		if first, ok := oldest[key]; tombstone && ok && first < o {
			return fmt.Errorf("the tombstone of %s at %d is gone, and its value at %d is not", key, o, first)
		}
		return nil
	})
}

// decided looks whether the marker is there of every transaction that a log has data of, among what was written to it.
func (h *history) decided(kept, found []try) error {
	there, markers := map[record.Offset]bool{}, map[int64]record.Offset{}
	for _, t := range found {
		there[t.base] = true
	}
	for _, t := range slices.Backward(kept) {
		b := record.Header(t.data)
		switch next, ended := markers[b.ProducerID()]; {
		case !b.IsTransactional():
		case b.IsControl():
			markers[b.ProducerID()] = t.base
		case h.thins && there[t.base] && ended && !there[next]:
			return fmt.Errorf("data of a transaction is there, at %d, and its marker at %d is gone", t.base, next)
		}
	}
	return nil
}

// compact compacts what is due, and looks at what is left.
func (w *workload) compact() error {
	if err := w.dir.Compact(context.Background()); err != nil {
		return err
	}
	for _, s := range w.slots {
		if s.log == nil || w.faulty {
			continue
		}
		start, _, end := s.log.Bounds()
		w.mu.Lock()
		h := s.snapshot()
		w.mu.Unlock()
		found, err := h.chain(s.log, start, end, end)
		if err == nil {
			kept := h.took(found, start, end)
			err = errors.Join(h.superseded(kept, found, start, end), h.decided(kept, found), h.lookUp(s.log, found, w.r), s.log.checkIndexes())
		}
		if err != nil {
			return violated("%s was compacted: %w", s.id, err)
		}
	}
	return nil
}

// checkEdges looks whether every sealed segment begins at the offset in its name and ends where the next one begins.
func (l *Log) checkEdges() error {
	all := l.view.Load().segments
	for i, s := range all {
		if i+1 == len(all) {
			break
		}
		f, err := s.file.pin()
		if err != nil {
			return err
		}
		w := s.walk(f, 0, s.size.Load())
		h, err := w.peek()
		if err == nil && h.BaseOffset() != s.base {
			err = fmt.Errorf("%s begins at %d", s.path, h.BaseOffset())
		}
		for err == nil {
			w.skip(h)
			h, err = w.peek()
		}
		if err == io.EOF && w.least == all[i+1].base {
			err = nil
		}
		w.done()
		s.file.unpin()
		if err != nil {
			return fmt.Errorf("%s, which the one at %d follows: %w", s.path, all[i+1].base, err)
		}
	}
	return nil
}
