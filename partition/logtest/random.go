package logtest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"segue/storage/record"
)

// testRandom does what comes to mind, in an order that the seed decides, and compares the log with the model after
// each step.
func testRandom(t *testing.T, s *subject) {
	steps := 400
	if testing.Short() {
		steps = 120
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	m := &model{subject: s, rand: r, saved: map[string]checkpoint{}}
	for range steps {
		m.step()
		start, committed, end := s.log.Bounds()
		if start != s.start || committed > s.end || end != s.end || committed < start {
			t.Fatalf("Bounds are %d, %d, %d, want %d, something, %d", start, committed, end, s.start, s.end)
		}
	}
	s.settle()
	s.readAll(1 << 20)
}

// model adds to a subject what a random test has to remember.
type model struct {
	*subject
	rand  *rand.Rand
	saved map[string]checkpoint
}

type checkpoint struct {
	at    record.Offset
	state []byte
}

func (m *model) step() {
	m.Helper()
	ctx := context.Background()
	switch n := m.rand.IntN(100); {
	case n < 45:
		m.append(m.batch())
	case n < 70:
		from := m.start + m.offset(m.end-m.start)
		_, committed, _ := m.log.Bounds()
		m.read(from, from+m.offset(committed-from), m.rand.IntN(4000), m.rand.IntN(2) == 0)
	case n < 76:
		m.settle()
		m.readAll(1 + m.rand.IntN(5000))
	case n < 80:
		m.settle()
		at := m.start + m.offset(m.end-m.start)
		if err := m.log.DeleteBefore(ctx, at); err != nil {
			m.Fatalf("DeleteBefore(%d): %v", at, err)
		}
		m.start = at
	case n < 84:
		m.checkTimes(timeZero, timeZero+60)
		m.checkMaxTimestamp()
	case n < 89:
		m.settle()
		m.save()
	case n < 93:
		m.load()
	case n < 95:
		m.config.SegmentBytes = 1<<10 + m.rand.Int64N(16<<10)
		m.config.FlushMessages = []int64{1, 1000}[m.rand.IntN(2)]
		m.log.Configure(m.config)
	case n < 97:
		m.epoch++
	case m.Reopens:
		m.reopen()
	}
}

func (m *model) batch() record.Batch {
	spec := Spec{
		Records: 1 + m.rand.IntN(6), ValueBytes: m.rand.IntN(300), Codec: codecs[m.rand.IntN(len(codecs))],
		Time: timeZero + m.rand.Int64N(100), Step: m.rand.Int64N(7) - 3,
	}
	if m.rand.IntN(5) == 0 {
		spec.Type = record.LogAppendTime
	}
	return spec.Batch(m.T)
}

// offset is a number from 0 to n.
func (m *model) offset(n record.Offset) record.Offset {
	return record.Offset(m.rand.Int64N(int64(max(n, 0)) + 1))
}

func (m *model) save() {
	m.Helper()
	at := m.end
	if left := m.readable(m.start, m.end); len(left) > 0 && m.rand.IntN(2) == 0 {
		at = left[m.rand.IntN(len(left))].NextOffset()
	}
	name := fmt.Sprintf("name%d", m.rand.IntN(3))
	state := bytes.Repeat([]byte{byte(at)}, m.rand.IntN(100))
	if err := m.log.Save(context.Background(), name, at, state); err != nil {
		m.Fatalf("Save(%q, %d): %v", name, at, err)
	}
	if m.end > 0 { // a log that never held anything need not remember
		m.saved[name] = checkpoint{at, state}
	}
}

func (m *model) load() {
	m.Helper()
	for name, want := range m.saved {
		at, state, err := m.log.Load(context.Background(), name)
		if err != nil || at != want.at || !bytes.Equal(state, want.state) {
			m.Fatalf("Load(%q) is %d, %d bytes, %v, want %d, %d bytes", name, at, len(state), err, want.at, len(want.state))
		}
	}
}
