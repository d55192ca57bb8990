//go:build linux

package main

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// turns is what came of something that several workers did again and again.
type turns struct {
	took  time.Duration
	waits []time.Duration // of each time, ascending
	cpu   float64         // the broker's seconds
}

// repeat has workers do something one time after the other, all at once, for a while. Each begins with ready, which returns what
// it is to do and how it ends.
func (b *broker) repeat(ctx context.Context, workers int, d time.Duration, ready func(worker int) (do func() error, end func(), err error)) (turns, error) {
	var r turns
	took := make([][]time.Duration, workers)
	all, ctx := errgroup.WithContext(ctx)
	cpu, begun := b.cpu(), time.Now()
	for i := range workers {
		all.Go(func() error {
			do, end, err := ready(i)
			if err != nil {
				return err
			}
			defer end()
			for last := time.Now(); last.Sub(begun) < d && ctx.Err() == nil; {
				if err := do(); err != nil {
					return err
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(last))
				last = now
			}
			return nil
		})
	}
	err := all.Wait()
	r.took, r.cpu, r.waits = time.Since(begun), b.cpu()-cpu, slices.Concat(took...)
	slices.Sort(r.waits)
	return r, err
}

// tell adds what came of it to the table: how often a second, which is to be no lower than limit, and how long it took.
func (r turns) tell(t *table, what string, limit float64) {
	n := float64(len(r.waits))
	t.atLeast(what, n/r.took.Seconds(), limit, "a second")
	t.tell("  the same: median", r.waits[len(r.waits)/2].Seconds()*1e3, "ms")
	t.tell("  the same: 99th percentile", r.waits[len(r.waits)*99/100].Seconds()*1e3, "ms")
	t.tell("  the same: the broker's CPU", r.cpu/n*1e6, "µs each")
}
