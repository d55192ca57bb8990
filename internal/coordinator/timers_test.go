package coordinator

import (
	"math/rand/v2"
	"testing"
)

// TestTimers: the first timer is the earliest of those that are set, whatever was set, moved and stopped before.
func TestTimers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var ts Timers[int]
	all := make([]Timer[int], 40)
	for range 10_000 {
		i := r.IntN(len(all))
		if r.IntN(3) == 0 {
			ts.Stop(&all[i])
		} else {
			ts.Set(&all[i], i, r.Int64N(100))
		}
		var earliest *Timer[int]
		for i := range all {
			if x := &all[i]; x.IsSet() && (earliest == nil || x.At() < earliest.At()) {
				earliest = x
			}
		}
		first := ts.First()
		if (first == nil) != (earliest == nil) || first != nil && first.At() != earliest.At() {
			t.Fatalf("the first is %+v, the earliest %+v", first, earliest)
		}
		if first != nil && &all[first.Owner()] != first {
			t.Fatalf("%+v is not its owner's", first)
		}
	}
}
