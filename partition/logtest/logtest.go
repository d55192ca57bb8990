// Package logtest is the conformance suite that every partition.Log must pass, and Memory, a partition.Store for tests
// that passes it.
//
// Run takes a Harness, which says how to open the log under test, and checks everything that package partition relies
// on: exact offsets and bytes, bounds in order, whole batches within limits, searches by time inside compressed
// batches, checkpoints, deletion from the start, what a closed log and an ended context do, readers beside a writer,
// and a random sequence of operations against a plain slice. How a log behaves when its disk fails is its own
// package's to test.
//
// Spec makes the batches that such tests need.
package logtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"segue/partition"
	"segue/storage"
	"segue/storage/record"
)

// Harness says how to get at the log under test. The suite makes one for each of its tests.
type Harness struct {
	// Open opens the log: an empty one at first, and after Close, where the log outlives that, the one that was
	// closed. It fails the test if it cannot.
	Open func(c storage.Config, e storage.Events) partition.Log
	// Commit, if it is not nil, has everything that is written committed. If it is nil the log does so by itself.
	Commit func()
	// Reopens says that what was committed is there again after Close and Open.
	Reopens bool
}

// Config is a configuration with segments so small that a few batches roll them.
func Config() storage.Config {
	return storage.Config{
		SegmentBytes: 8 << 10, SegmentAge: 7 * 24 * time.Hour, IndexBytes: 8 << 10, IndexInterval: 512,
		FlushMessages: 1, FlushInterval: time.Second,
		Delete: true, RetentionBytes: -1, RetentionAge: -1,
	}
}

// patience is how long the suite waits for a log to commit before it gives up on it.
const patience = 30 * time.Second

// Run runs the suite. It calls harness once for each test.
func Run(t *testing.T, harness func(t *testing.T) Harness) {
	tests := []struct {
		name string
		test func(*testing.T, *subject)
	}{
		{"Empty", testEmpty},
		{"Append", testAppend},
		{"StaleEpoch", testStaleEpoch},
		{"ReadLimits", testReadLimits},
		{"ReadInsideBatch", testReadInsideBatch},
		{"DeleteBefore", testDeleteBefore},
		{"DeleteEverything", testDeleteEverything},
		{"OffsetForTime", testOffsetForTime},
		{"TimeBehindLogStart", testTimeBehindLogStart},
		{"MaxTimestamp", testMaxTimestamp},
		{"Checkpoints", testCheckpoints},
		{"Configure", testConfigure},
		{"Reopen", testReopen},
		{"Close", testClose},
		{"EndedContext", testEndedContext},
		{"Concurrent", testConcurrent},
		{"Random", testRandom},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &subject{T: t, Harness: harness(t), config: Config()}
			s.open()
			defer func() {
				if s.log != nil {
					s.close()
				}
			}()
			tt.test(t, s)
		})
	}
}

// subject is the log under test, and a model of it: the batches that it should hold.
type subject struct {
	*testing.T
	Harness
	config storage.Config
	log    partition.Log
	events *recorder

	batches []record.Batch // what was appended, as it should come back
	start   record.Offset
	end     record.Offset
	epoch   int32
}

func (s *subject) open() {
	s.Helper()
	s.events = newRecorder(s.end)
	s.log = s.Open(s.config, s.events)
}

func (s *subject) close() {
	s.Helper()
	if err := s.log.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	s.log = nil
	if err := s.events.fault(); err != nil {
		s.Error(err)
	}
}

// reopen closes the log and opens it again. It skips the test where that makes another log.
func (s *subject) reopen() {
	s.Helper()
	if !s.Reopens {
		s.Skip("this log does not outlive its Close")
	}
	s.settle()
	s.close()
	s.open()
}

// append appends batches and checks the offsets that they get.
func (s *subject) append(batches ...record.Batch) {
	s.Helper()
	end := s.end
	for _, b := range batches {
		stored, _, err := record.Parse(bytes.Clone(b.Bytes()))
		if err != nil {
			s.Fatalf("the suite's own batch: %v", err)
		}
		stored.SetBaseOffset(end)
		stored.SetLeaderEpoch(s.epoch)
		s.batches = append(s.batches, stored)
		end = stored.NextOffset()
	}
	base, next, err := s.log.Append(context.Background(), s.epoch, batches...)
	if err != nil {
		s.Fatalf("Append at offset %d: %v", s.end, err)
	}
	if base != s.end || next != end {
		s.Fatalf("Append returned offsets %d to %d, want %d to %d", base, next, s.end, end)
	}
	s.end = end
}

// fill appends n batches of a few records each, up to three at a time.
func (s *subject) fill(n int) {
	s.Helper()
	var together []record.Batch
	for i := range n {
		together = append(together, Spec{Records: 1 + i%4, ValueBytes: 50 + 37*(i%9), Time: timeZero + int64(i)*10}.Batch(s.T))
		if len(together) > i%3 {
			s.append(together...)
			together = nil
		}
	}
	s.append(together...)
	s.settle()
}

// settle waits until everything is committed, and checks the bounds.
func (s *subject) settle() {
	s.Helper()
	if s.Commit != nil {
		s.Commit()
	}
	if err := s.events.await(s.end, nil); err != nil {
		s.Fatal(err)
	}
	start, committed, end := s.log.Bounds()
	if start != s.start || committed != s.end || end != s.end {
		s.Fatalf("Bounds are %d, %d, %d, want %d, %d, %d", start, committed, end, s.start, s.end, s.end)
	}
}

// read reads and checks that it gets just what the model has.
func (s *subject) read(from, to record.Offset, maxBytes int, atLeastOne bool) {
	s.Helper()
	got := s.bytesAt(from, to, maxBytes, atLeastOne)
	want := s.readable(from, to)
	// How many of the batches that there are come in one read is the log's affair, as long as it is one and the limit
	// holds.
	if len(want) == 0 {
		if len(got) != 0 {
			s.Fatalf("Read(%d, %d) returned %d bytes, want none", from, to, len(got))
		}
		return
	}
	first := want[0].Size()
	switch {
	case len(got) == 0 && (first <= maxBytes || atLeastOne):
		s.Fatalf("Read(%d, %d, %d, %v) returned nothing, there is a batch of %d bytes", from, to, maxBytes, atLeastOne, first)
	case len(got) > maxBytes && !(atLeastOne && len(got) == first):
		s.Fatalf("Read(%d, %d, %d, %v) returned %d bytes", from, to, maxBytes, atLeastOne, len(got))
	}
	for len(got) > 0 {
		if len(want) == 0 {
			s.Fatalf("Read(%d, %d) returned more than there is: %d bytes", from, to, len(got))
		}
		if !bytes.HasPrefix(got, want[0].Bytes()) {
			s.Fatalf("Read(%d, %d) returned other bytes than were appended at offset %d", from, to, want[0].BaseOffset())
		}
		got, want = got[want[0].Size():], want[1:]
	}
}

// readable returns the model's batches for a read.
func (s *subject) readable(from, to record.Offset) []record.Batch {
	i := slices.IndexFunc(s.batches, func(b record.Batch) bool { return b.NextOffset() > from })
	if i < 0 {
		return nil
	}
	batches := s.batches[i:]
	if n := slices.IndexFunc(batches, func(b record.Batch) bool { return b.NextOffset() > to }); n >= 0 {
		batches = batches[:n]
	}
	return batches
}

func (s *subject) bytesAt(from, to record.Offset, maxBytes int, atLeastOne bool) []byte {
	s.Helper()
	chunk, err := s.log.Read(context.Background(), from, to, maxBytes, atLeastOne)
	if err != nil {
		s.Fatalf("Read(%d, %d): %v", from, to, err)
	}
	defer chunk.Release()
	got, err := chunk.AppendTo(nil)
	if err != nil {
		s.Fatalf("Read(%d, %d): the chunk: %v", from, to, err)
	}
	return got
}

// readAll reads everything from the log start on, in reads of some size, and checks it.
func (s *subject) readAll(maxBytes int) {
	s.Helper()
	want := s.readable(s.start, s.end)
	for from := s.start; from < s.end; {
		got := s.bytesAt(from, s.end, maxBytes, true)
		if len(got) == 0 {
			s.Fatalf("Read(%d, %d) returned nothing", from, s.end)
		}
		for len(got) > 0 {
			if len(want) == 0 || !bytes.HasPrefix(got, want[0].Bytes()) {
				s.Fatalf("reading on from %d returned other bytes than were appended", from)
			}
			from = want[0].NextOffset()
			got, want = got[want[0].Size():], want[1:]
		}
	}
	if len(want) > 0 {
		s.Fatalf("%d batches were not returned, the first at offset %d", len(want), want[0].BaseOffset())
	}
}

func (s *subject) wantError(doing string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s returned %v, want %v", doing, err, want)
	}
}

// recorder is the Events of the log under test.
type recorder struct {
	mu      sync.Mutex
	next    record.Offset
	changed chan struct{} // closed and replaced when next moves
	wrong   error
}

func newRecorder(next record.Offset) *recorder {
	return &recorder{next: next, changed: make(chan struct{})}
}

// Committed implements storage.Events.
func (r *recorder) Committed(next record.Offset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if next < r.next {
		r.wrong = errors.New("Events.Committed went back")
	}
	r.next = next
	close(r.changed)
	r.changed = make(chan struct{})
}

// Failed implements storage.Events.
func (r *recorder) Failed(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = errors.Join(errors.New("Events.Failed was called"), cause)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) fault() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}

// await waits until everything below next was announced as committed, or stop is closed.
func (r *recorder) await(next record.Offset, stop <-chan struct{}) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		reached, changed, wrong := r.next >= next, r.changed, r.wrong
		r.mu.Unlock()
		if wrong != nil {
			return wrong
		}
		if reached {
			return nil
		}
		select {
		case <-changed:
		case <-stop:
			return nil
		case <-timeout.C:
			return errors.New("Events.Committed does not come")
		}
	}
}
