package group

import (
	"fmt"
	"maps"
	"slices"

	"segue/internal/coordinator"
)

// entry is what stands at one offset of a log: a record, perhaps of a producer's transaction, or a marker.
type entry struct {
	rec      coordinator.Record
	producer int64 // noProducer where the record is of no transaction
	marker   bool
	commit   bool // what the marker says
	end      int  // the offset of the marker that has decided about the record; 0 while none has
	dropped  bool // it was aborted
}

const noProducer = -1

// reference says which offsets a log means: for each key the last record that counts. It knows the log alone, by offsets, and
// nothing of how the machine keeps track (Kafka's rule: of two commits the one that was written later holds, whenever they were
// decided).
type reference struct {
	log  []entry
	open map[int64][]int          // by producer, the offsets of the records about which nothing is decided
	last map[string]int           // by key, the offset of the last record that counts
	wait map[string]map[int64]int // by key, the producers that have something pending

	// What compaction makes of the log: below clean, which is where the first open transaction begins, the last record of each
	// key that counts; behind that everything.
	clean int
	kept  map[string]int
}

func newReference() *reference {
	return &reference{
		open: map[int64][]int{}, last: map[string]int{}, wait: map[string]map[int64]int{}, kept: map[string]int{},
	}
}

// write appends a record.
func (r *reference) write(rec coordinator.Record, producer int64) {
	at, key := len(r.log), string(rec.Key)
	r.log = append(r.log, entry{rec: rec, producer: producer})
	if producer != noProducer {
		r.open[producer] = append(r.open[producer], at)
		if r.wait[key] == nil {
			r.wait[key] = map[int64]int{}
		}
		r.wait[key][producer] = at
	} else {
		r.last[key] = at
		if rec.Value == nil {
			delete(r.wait, key)
		}
	}
	r.cleanUp()
}

// decide appends a marker.
func (r *reference) decide(producer int64, commit bool) {
	end := len(r.log)
	r.log = append(r.log, entry{producer: producer, marker: true, commit: commit})
	for _, at := range r.open[producer] {
		e := &r.log[at]
		key := string(e.rec.Key)
		e.end, e.dropped = end, !commit
		if last, ok := r.last[key]; commit && (!ok || at > last) {
			r.last[key] = at
		}
		if delete(r.wait[key], producer); len(r.wait[key]) == 0 {
			delete(r.wait, key)
		}
	}
	delete(r.open, producer)
	r.cleanUp()
}

// cleanUp has compaction go on to where the first open transaction begins.
func (r *reference) cleanUp() {
	limit := len(r.log)
	for _, records := range r.open {
		limit = min(limit, records[0])
	}
	for ; r.clean < limit; r.clean++ {
		if e := r.log[r.clean]; !e.marker && !e.dropped {
			r.kept[string(e.rec.Key)] = r.clean
		}
	}
}

// compacted returns the log as compaction leaves it at the utmost: without the tombstones, and without the markers of
// transactions of which nothing is left.
func (r *reference) compacted() []entry {
	left := map[int]bool{}
	for _, at := range r.kept {
		e := r.log[at]
		if e.rec.Value == nil {
			continue
		}
		left[at] = true
		if e.producer != noProducer && e.end < r.clean {
			left[e.end] = true
		}
	}
	log := make([]entry, 0, len(left)+len(r.log)-r.clean)
	for _, at := range slices.Sorted(maps.Keys(left)) {
		log = append(log, r.log[at])
	}
	return append(log, r.log[r.clean:]...)
}

// holds says what is wrong with the offsets of a machine.
func (r *reference) holds(m *Machine) error {
	counted := 0
	for key, at := range r.last {
		k := coordinator.Reader{Left: []byte(key)}
		if k.Int16() != offsetCommitRecord {
			continue
		}
		group, topic, partition := k.String(), k.String(), k.Int32()
		has := groupOr(m, group).offset(topic, partition)
		value := r.log[at].rec.Value
		if value == nil {
			if has != nil {
				return fmt.Errorf("group %q has %+v for %s/%d, which was deleted", group, *has, topic, partition)
			}
			continue
		}
		counted++
		want, err := readOffset(value)
		must(err)
		if has == nil || *has != *want {
			return fmt.Errorf("group %q has %+v for %s/%d, and what counts is %+v", group, has, topic, partition, *want)
		}
	}
	all := 0
	for _, g := range m.groups {
		for _, ps := range g.offsets {
			all += len(ps)
		}
	}
	if all != counted {
		return fmt.Errorf("%d offsets, and %d that count", all, counted)
	}
	return r.waits(m)
}

// waits says what is wrong with the pending offsets of a machine.
func (r *reference) waits(m *Machine) error {
	pending := map[int64]int{}
	for key, producers := range r.wait {
		k := coordinator.Reader{Left: []byte(key)}
		k.Int16()
		group, topic, partition := k.String(), k.String(), k.Int32()
		g := groupOr(m, group)
		if !g.isUndecided(topic, partition) || len(g.undecided[topic][partition]) != len(producers) {
			return fmt.Errorf("for %s/%d of group %q there is pending %+v, and producers %v have something", topic, partition, group,
				g.undecided[topic][partition], producers)
		}
		for producer := range producers {
			pending[producer]++
			if _, ok := m.open[producer][pendingPlace{group, topic, partition}]; !ok {
				return fmt.Errorf("it is forgotten that producer %d has something pending for %s/%d of group %q", producer, topic, partition, group)
			}
		}
	}
	undecided := 0
	for _, g := range m.groups {
		for _, ps := range g.undecided {
			undecided += len(ps)
		}
	}
	if undecided != len(r.wait) {
		return fmt.Errorf("something is pending for %d partitions, and should be for %d", undecided, len(r.wait))
	}
	if len(m.open) != len(pending) {
		return fmt.Errorf("%d producers have something pending, and should be %d", len(m.open), len(pending))
	}
	for producer, places := range m.open {
		if len(places) != pending[producer] {
			return fmt.Errorf("producer %d has something pending in %d places, and should in %d", producer, len(places), pending[producer])
		}
	}
	return nil
}
