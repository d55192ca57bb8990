package storage

import (
	"slices"
	"testing"
	"time"

	"segue/storage/record"
)

func TestFindDirt(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	const never = record.NoTimestamp
	// Three sealed segments of offsets 10, 20 and 30 on, the hot one from 40 on.
	three := []sealedSegment{
		{base: 10, bytes: 100, newest: 500_000, first: 400_000, horizon: never},
		{base: 20, bytes: 200, newest: 700_000, first: 600_000, horizon: never},
		{base: 30, bytes: 300, newest: 900_000, first: 800_000, horizon: never},
	}
	all := func(dirty record.Offset) dirtRange { return dirtRange{dirty: dirty, hot: 40, limit: 1000} }
	with := func(change func(s []sealedSegment)) []sealedSegment {
		s := slices.Clone(three)
		change(s)
		return s
	}
	for _, c := range []struct {
		name     string
		segments []sealedSegment
		at       dirtRange
		policy   dirtPolicy
		want     dirt // minRatio is the policy's
		due      bool
	}{
		{"no sealed segment", nil, all(0), dirtPolicy{}, dirt{from: 40, end: 40}, false},
		{"all dirty", three, all(10), dirtPolicy{minRatio: 1}, dirt{from: 10, end: 40, dirtyBytes: 600}, true},
		{"nothing known", three, all(0), dirtPolicy{minRatio: 1}, dirt{from: 10, end: 40, dirtyBytes: 600}, true},
		{"a note beyond the log", three, all(41), dirtPolicy{minRatio: 1}, dirt{from: 10, end: 40, dirtyBytes: 600}, true},
		{"nothing dirty", three, all(40), dirtPolicy{}, dirt{from: 40, end: 40, cleanBytes: 600}, false},
		{"half, exactly", three, all(30), dirtPolicy{minRatio: 0.5}, dirt{from: 30, end: 40, cleanBytes: 300, dirtyBytes: 300}, true},
		{"half is too little", three, all(30), dirtPolicy{minRatio: 0.51}, dirt{from: 30, end: 40, cleanBytes: 300, dirtyBytes: 300}, false},
		{"from the middle of a segment", three, all(25), dirtPolicy{minRatio: 0.5}, dirt{from: 25, end: 40, cleanBytes: 100, dirtyBytes: 500}, true},
		{"limit at a base", three, dirtRange{10, 40, 30}, dirtPolicy{}, dirt{from: 10, end: 30, dirtyBytes: 300}, true},
		{"limit within a segment", three, dirtRange{10, 40, 39}, dirtPolicy{}, dirt{from: 10, end: 30, dirtyBytes: 300}, true},
		{"limit below all", three, dirtRange{10, 40, 5}, dirtPolicy{}, dirt{from: 10, end: 10}, false},
		{"limit below what is clean", three, dirtRange{30, 40, 15}, dirtPolicy{}, dirt{from: 30, end: 10}, false},
		{"young from the second on", three, all(10), dirtPolicy{minLag: 400 * time.Second}, dirt{from: 10, end: 20, dirtyBytes: 100}, true},
		{"just as old as it must be", three, all(10), dirtPolicy{minLag: 300 * time.Second}, dirt{from: 10, end: 30, dirtyBytes: 300}, true},
		{"young, but clean", three, all(30), dirtPolicy{minLag: 90 * time.Second}, dirt{from: 30, end: 40, cleanBytes: 300, dirtyBytes: 300}, true},
		{"overdue", three, all(30), dirtPolicy{minRatio: 0.9, maxLag: 199 * time.Second}, dirt{from: 30, end: 40, cleanBytes: 300, dirtyBytes: 300, overdue: true}, true},
		{"almost overdue", three, all(30), dirtPolicy{minRatio: 0.9, maxLag: 200 * time.Second}, dirt{from: 30, end: 40, cleanBytes: 300, dirtyBytes: 300}, false},
		{"the longest lag there is", three, all(30), dirtPolicy{minRatio: 0.9, maxLag: 1<<63 - 1}, dirt{from: 30, end: 40, cleanBytes: 300, dirtyBytes: 300}, false},
		{"old, but clean", three, all(40), dirtPolicy{maxLag: time.Second}, dirt{from: 40, end: 40, cleanBytes: 600}, false},
		{"no timestamp is not old", with(func(s []sealedSegment) { s[2].first, s[2].newest = never, never }), all(30),
			dirtPolicy{minRatio: 0.9, maxLag: time.Second, minLag: time.Second}, dirt{from: 30, end: 40, cleanBytes: 300, dirtyBytes: 300}, false},
		{"a horizon that has passed", with(func(s []sealedSegment) { s[1].horizon = 1_000_000 }), all(40), dirtPolicy{},
			dirt{from: 40, end: 40, cleanBytes: 600, expired: true}, true},
		{"a horizon to come", with(func(s []sealedSegment) { s[1].horizon = 1_000_001 }), all(40), dirtPolicy{},
			dirt{from: 40, end: 40, cleanBytes: 600}, false},
		{"a horizon that may not be looked at", with(func(s []sealedSegment) { s[1].horizon = 1 }), dirtRange{10, 40, 15}, dirtPolicy{},
			dirt{from: 10, end: 10}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := findDirt(c.segments, c.at, c.policy, now)
			c.want.minRatio = c.policy.minRatio
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if got.due() != c.due {
				t.Errorf("due is %v at a ratio of %v", got.due(), got.ratio())
			}
		})
	}
}

func TestCompareDirt(t *testing.T) {
	want := []dirt{{dirtyBytes: 5}, {dirtyBytes: 30, cleanBytes: 10}, {dirtyBytes: 3, cleanBytes: 1}, {dirtyBytes: 1, cleanBytes: 1}, {cleanBytes: 9}}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortStableFunc(got, compareDirt)
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}
