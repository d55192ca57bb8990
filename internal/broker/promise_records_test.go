package broker

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"segue/storage/record"
)

// sentBatch is a batch that a client has sent, once or again and again.
type sentBatch struct {
	record.Batch        // as it was sent, with base offset 0
	key          string // see keyOf
	epoch        int32  // the leader epoch when it was sent first
}

func asSent(b record.Batch, epoch int32) *sentBatch { return &sentBatch{b, keyOf(b), epoch} }

// keyOf is what makes a batch the same, whatever offset and leader epoch it is given.
func keyOf(b record.Batch) string {
	const magicAt = 16 // before it are the base offset, the length and the leader epoch
	return string(b.Bytes()[magicAt:])
}

// toldBatch is a batch that is known to be in the log: it was acknowledged, or read.
type toldBatch struct {
	*sentBatch
	base  int64
	epoch int32 // the leader epoch in which it was written; -1 if that is not known
}

func (b toldBatch) next() int64 { return b.base + int64(b.Count()) }

// recordPromise: what was acknowledged or read is there, byte for byte and at its offset; what was only sent is there
// once or not at all; there is nothing else; and neither the high watermark nor the log start goes back.
type recordPromise struct{ logs map[place]*toldLog }

// toldLog is what clients know of a partition. Its slices are appended to and never changed, so copies share them.
type toldLog struct {
	topic       topic
	sent        []*sentBatch
	told        []toldBatch
	high, start int64 // the highest that were shown
}

func (p *recordPromise) copy() *recordPromise {
	logs := make(map[place]*toldLog, len(p.logs))
	for at, l := range p.logs {
		logs[at] = &toldLog{l.topic, slices.Clip(l.sent), slices.Clip(l.told), l.high, l.start}
	}
	return &recordPromise{logs}
}

// log returns what is known of a partition of a topic.
func (p *recordPromise) log(t topic, partition int32) *toldLog {
	at := place{t.id, partition}
	if p.logs[at] == nil {
		p.logs[at] = &toldLog{topic: t}
	}
	return p.logs[at]
}

// forget drops what is known of a topic that is gone.
func (p *recordPromise) forget(id [16]byte) {
	maps.DeleteFunc(p.logs, func(at place, _ *toldLog) bool { return at.topic == id })
}

// show notes watermarks that were shown.
func (l *toldLog) show(start, high int64) {
	l.start, l.high = max(l.start, start), max(l.high, high)
}

// see notes a batch that was read, and says what is wrong with it.
func (l *toldLog) see(b record.Batch) error {
	for _, s := range l.sent {
		if s.key == keyOf(b) {
			l.told = append(l.told, toldBatch{s, int64(b.BaseOffset()), b.LeaderEpoch()})
			return nil
		}
	}
	return fmt.Errorf("the batch at offset %d was never sent", b.BaseOffset())
}

func (p *recordPromise) audit(a *audit) {
	defer a.lock()()
	next := map[place]*toldLog{}
	for at, found := range a.logs {
		t := a.topics[at.topic]
		told := p.logs[at]
		if told == nil {
			told = &toldLog{topic: t}
		}
		next[at] = told.audit(a, at, found)
	}
	p.logs = next
}

// audit holds one partition against what was told and returns what is known of it from now on.
func (l *toldLog) audit(a *audit, at place, found *foundLog) *toldLog {
	if !a.weak && found.high < l.high {
		a.violated("%s: the high watermark is %d, %d was shown", at, found.high, l.high)
	}
	if !a.weak && found.start < l.start {
		a.violated("%s: the log starts at %d, %d was shown", at, found.start, l.start)
	}
	l.auditStart(a, at, found)
	sent := make(map[string]*sentBatch, len(l.sent))
	for _, s := range l.sent {
		sent[s.key] = s
	}
	fresh := &toldLog{topic: l.topic, start: found.start, high: found.high}
	there := make(map[int64]toldBatch, len(found.batches))
	for _, b := range found.batches {
		s := sent[keyOf(b)]
		delete(sent, keyOf(b)) // the next one of that key is one too many
		if s == nil {
			a.violated("%s: the batch of %d records at offset %d (producer %d, sequence %d) was never sent, or is there twice",
				at, b.Count(), b.BaseOffset(), b.ProducerID(), b.BaseSequence())
			continue
		}
		if b.LeaderEpoch() < s.epoch || b.LeaderEpoch() >= a.epoch {
			a.violated("%s: the batch at offset %d has leader epoch %d, it was sent in %d and this is %d",
				at, b.BaseOffset(), b.LeaderEpoch(), s.epoch, a.epoch)
		}
		told := toldBatch{s, int64(b.BaseOffset()), b.LeaderEpoch()}
		there[told.base] = told
		fresh.sent, fresh.told = append(fresh.sent, s), append(fresh.told, told)
	}
	for _, b := range l.told {
		is, ok := there[b.base]
		switch {
		case b.base < found.start || a.weak && b.next() > found.high:
		case !ok || is.key != b.key:
			a.violated("%s: the batch told to be at offset %d is not there (log is %d to %d)", at, b.base, found.start, found.high)
		case b.epoch >= 0 && is.epoch != b.epoch:
			a.violated("%s: the batch at offset %d has leader epoch %d, it had %d", at, b.base, is.epoch, b.epoch)
		}
	}
	return fresh
}

// auditStart checks that records are gone from the beginning by retention only, and no more than that allows.
func (l *toldLog) auditStart(a *audit, at place, found *foundLog) {
	if found.start == 0 {
		return
	}
	limit, err := strconv.ParseInt(l.topic.configs["retention.bytes"], 10, 64)
	if err != nil {
		a.violated("%s: the log starts at %d, and nothing was to be deleted", at, found.start)
		return
	}
	size := int64(0)
	for _, b := range found.batches {
		size += int64(b.Size())
	}
	if size < limit && !a.weak {
		a.violated("%s: the log starts at %d and has %d bytes; retention is to leave %d", at, found.start, size, limit)
	}
}

// lookAtLog reads a partition from its log start to its high watermark.
func (a *audit) lookAtLog(t topic, partition int32, start, high int64) (*foundLog, error) {
	found := &foundLog{start: start, high: high}
	for at, first := start, true; first || at < high; first = false {
		p, err := read(a.wire, t, partition, at)
		if err != nil {
			return nil, fmt.Errorf("fetch at offset %d: %w", at, err)
		}
		if p.HighWatermark != high || p.LogStartOffset != start {
			return nil, fmt.Errorf("log is %d to %d, and was %d to %d in ListOffsets", p.LogStartOffset, p.HighWatermark, start, high)
		}
		batches, err := split(p.RecordBatches)
		if err != nil {
			return nil, fmt.Errorf("at offset %d: %w", at, err)
		}
		if len(batches) == 0 && at < high {
			return nil, fmt.Errorf("at offset %d is nothing, the high watermark is %d", at, high)
		}
		for _, b := range batches {
			base, next := int64(b.BaseOffset()), int64(b.NextOffset())
			if base != at && (len(found.batches) > 0 || base > at || next <= at) || next > high {
				return nil, fmt.Errorf("the batch at offset %d holds %d to %d, the high watermark is %d", at, base, next-1, high)
			}
			found.batches = append(found.batches, b)
			at = next
		}
	}
	return found, nil
}
