package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"segue/storage/record"
)

// step does one random thing. What it returns is an error of the log or the disk; what the log does wrong is a *violation.
func (w *workload) step() error {
	if w.dir == nil {
		return w.open(closed)
	}
	s := w.slots[w.r.IntN(len(w.slots))]
	if s.log == nil || s.fate == deleting {
		return w.takeUp(s)
	}
	switch k := w.r.IntN(100); {
	case k < 50:
		return w.appendSome()
	case k < 58:
		return w.sync(s)
	case k < 68:
		return w.deleteRecords(s)
	case k < 77:
		return w.save(s)
	case k < 81:
		return w.clean()
	case k < 83+w.thinning():
		return w.compact()
	case k < 89:
		return w.pause(time.Duration(1+w.r.IntN(5)) * time.Second)
	case k < 92:
		return w.pause(time.Duration(1+w.r.IntN(40)) * time.Minute)
	case k < 95:
		return w.reopenLog(s)
	case k < 97:
		return w.deleteTopic(s)
	case k < 98:
		return w.displace(s)
	default:
		if err := w.close(); err != nil {
			return err
		}
		return w.open(closed)
	}
}

// violation is something that a log must never do.
type violation struct{ error }

func violated(format string, args ...any) error { return &violation{fmt.Errorf(format, args...)} }

// appendSome appends a few batches, to one log or to several, and often waits for their sync.
func (w *workload) appendSome() error {
	var err error
	touched := map[*slot]bool{}
	for range 1 + w.r.IntN(4) {
		s := w.slots[w.r.IntN(len(w.slots))]
		if s.log != nil {
			touched[s] = true
			err = errors.Join(err, w.append(s))
		}
	}
	if err != nil || w.r.IntN(3) == 0 {
		return err
	}
	for _, s := range w.slots {
		if touched[s] {
			err = errors.Join(err, w.sync(s))
		}
	}
	return err
}

// append appends one batch, or several together.
func (w *workload) append(s *slot) error {
	_, _, begin := s.log.Bounds()
	size := [...]int{30, 300, 3000}[w.r.IntN(3)]
	end, ends := begin, []record.Offset{begin}
	var batches []record.Batch
	for range 1 + w.r.IntN(4)*w.r.IntN(2) {
		now := time.Now().UnixMilli() + w.r.Int64N(2000) - 1000
		batch, keys := w.batch(end, now, w.r.IntN(size))
		batch.SetBaseOffset(end)
		batch.SetLeaderEpoch(w.epoch)
		t := try{base: end, next: batch.NextOffset(), data: slices.Clone(batch.Bytes()), time: now, epoch: w.epoch, keys: keys}
		w.mu.Lock()
		behind, _ := slices.BinarySearchFunc(s.tries, end, func(t try, end record.Offset) int {
			if t.base <= end {
				return -1
			}
			return 1 // of an append that failed
		})
		s.tries = slices.Concat(s.tries[:behind], []try{t}, s.tries[behind:]) // a copy of the history has the old slice
		w.mu.Unlock()
		end = batch.NextOffset()
		batches, ends = append(batches, batch), append(ends, end)
	}
	base, next, err := s.log.Append(context.Background(), w.epoch, batches...)
	if _, _, after := s.log.Bounds(); base != begin || next != after || !slices.Contains(ends, next) || (err == nil) != (next == end) {
		return violated("append at %d to %d (%w), want %d to %d, and the log ends at %d", base, next, err, begin, end, after)
	}
	w.mu.Lock()
	s.written = next
	w.mu.Unlock()
	if err != nil && !errors.Is(err, ErrNotWritten) && !errors.Is(err, ErrFailed) {
		return violated("an append failed with %w", err)
	}
	return err
}

func (w *workload) sync(s *slot) error {
	_, _, end := s.log.Bounds()
	err := s.log.sync(context.Background())
	if err != nil {
		if !errors.Is(err, ErrFailed) {
			return violated("a sync failed with %w", err)
		}
		return err
	}
	w.mu.Lock()
	s.durable = max(s.durable, end)
	w.mu.Unlock()
	return nil
}

func (w *workload) deleteRecords(s *slot) error {
	start, committed, _ := s.log.Bounds()
	to := start + record.Offset(w.r.Int64N(int64(committed-start)+1))
	if w.r.IntN(6) == 0 {
		to = committed
	}
	w.mu.Lock()
	s.asked = append(s.asked, to)
	w.mu.Unlock()
	if err := s.log.DeleteBefore(context.Background(), to); err != nil {
		return err
	}
	if now, _, _ := s.log.Bounds(); now != max(start, to) {
		return violated("deleted before %d, the log starts at %d", to, now)
	}
	w.mu.Lock()
	s.start = max(s.start, to)
	w.mu.Unlock()
	return nil
}

func (w *workload) save(s *slot) error {
	start, committed, end := s.log.Bounds()
	at := end
	if w.r.IntN(3) == 0 { // or the end of some batch that is committed
		for _, t := range s.final(committed) {
			if t.next >= start && t.next <= committed && w.r.IntN(4) == 0 {
				at = t.next
			}
		}
	}
	w.mu.Lock()
	s.saves = append(s.saves, at)
	n, state := len(s.saves), s.fold(at)
	w.mu.Unlock()
	if err := s.log.Save(context.Background(), foldName, at, []byte(state)); err != nil {
		return err
	}
	w.mu.Lock()
	s.durable = max(s.durable, end)
	if len(s.log.view.Load().segments) > 0 {
		s.through = n
	}
	w.mu.Unlock()
	if got, read, err := s.log.Load(context.Background(), foldName); err == nil && (got != at || string(read) != state) {
		return violated("saved %q at %d, loaded %q at %d", state, at, read, got)
	} else if errors.Is(err, ErrNotFound) && end > 0 {
		return violated("saved %q at %d, and then: %w", state, at, err)
	}
	return nil
}

// clean runs the retention and looks at what it took.
func (w *workload) clean() error {
	type before struct{ start, committed record.Offset }
	var was [slotCount]before
	w.mu.Lock()
	for i, s := range w.slots {
		if s.log == nil {
			continue
		}
		start, committed, end := s.log.Bounds()
		was[i] = before{start, committed}
		for _, segment := range s.log.view.Load().segments {
			s.asked = append(s.asked, segment.base)
		}
		s.asked = append(s.asked, end)
	}
	w.mu.Unlock()
	err := w.dir.Clean(context.Background())
	for i, s := range w.slots {
		if s.log == nil {
			continue
		}
		start, _, _ := s.log.Bounds()
		if wrong := w.tookTooMuch(s, was[i].start, start, was[i].committed); wrong != nil {
			return wrong
		}
		w.mu.Lock()
		s.start = max(s.start, start)
		w.mu.Unlock()
	}
	return err
}

// tookTooMuch looks at the records that retention took: they were too old, or what is left is as large as is to be kept.
func (w *workload) tookTooMuch(s *slot, from, to, committed record.Offset) error {
	if to > committed {
		return violated("retention took everything below %d, committed is %d", to, committed)
	}
	var left int64
	newest := int64(noTimestamp)
	for _, t := range s.final(s.written) {
		switch {
		case t.base >= to:
			left += int64(len(t.data))
		case t.next > from:
			newest = max(newest, t.time+int64(t.next-t.base)-1)
		}
	}
	if to > from && left < w.cfg.RetentionBytes && time.Now().UnixMilli()-newest <= w.cfg.RetentionAge.Milliseconds() {
		return violated("retention took offsets %d to %d; %d bytes are left and the newest was of %d", from, to, left, newest)
	}
	return nil
}

func (w *workload) reopenLog(s *slot) error {
	err := s.log.Close()
	w.mu.Lock()
	s.note(w.cfg)
	if s.log = nil; err == nil {
		s.durable = s.written
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return w.openSlot(s, closed)
}

// deleteTopic deletes a topic and makes another of its name.
func (w *workload) deleteTopic(s *slot) error {
	w.mu.Lock()
	s.fate = deleting
	w.mu.Unlock()
	return w.takeUp(s)
}

// takeUp goes on with a slot where something has failed before.
func (w *workload) takeUp(s *slot) error { return w.openSlot(s, closed) }

// finishDelete deletes the topic of a slot and puts another in its place.
func (w *workload) finishDelete(s *slot) error {
	w.mu.Lock()
	s.log = nil
	w.mu.Unlock()
	if err := w.dir.Delete(context.Background(), s.id); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.fate = deleted
	w.replace(s)
	return nil
}

// replace puts a new topic into a slot. The caller holds mu.
func (w *workload) replace(s *slot) {
	w.past = append(w.past, s.history)
	s.history = w.newTopic(int(s.id.Partition))
}

// displace opens another topic under the name of one, as after a delete that the disk knows nothing of.
func (w *workload) displace(s *slot) error {
	if len(w.past) > 3 {
		return nil // enough for one disk
	}
	err := s.log.Close()
	w.mu.Lock()
	s.note(w.cfg)
	if s.log = nil; err == nil {
		s.durable = s.written
		s.fate = displaced
		w.replace(s)
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return w.openSlot(s, closed)
}
