package txn

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// Many producers at once get ids that are all different, from no more blocks than it takes.
func TestProducerIDsAreUnique(t *testing.T) {
	var blocks []int
	next := int64(0)
	ids := NewProducerIDs(func(_ context.Context, n int) (int64, error) { // one call at a time
		blocks = append(blocks, n)
		next += int64(n)
		return next - int64(n), nil
	})
	var mu sync.Mutex
	seen := map[int64]bool{}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				id, err := ids.Take(t.Context())
				mu.Lock()
				if err != nil || seen[id] {
					t.Errorf("id %d a second time, or %v", id, err)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if got := blocks; !slices.Equal(got, []int{producerIDBlock, producerIDBlock, producerIDBlock, producerIDBlock}) {
		t.Errorf("blocks %v for 4000 ids", got)
	}
}

// Who waits behind an allocation that hangs can leave.
func TestProducerIDsWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ids := NewProducerIDs(func(context.Context, int) (int64, error) {
			<-release
			return 1, nil
		})
		first := make(chan int64)
		go func() {
			id, _ := ids.Take(t.Context())
			first <- id
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := ids.Take(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		close(release)
		if id := <-first; id != 1 {
			t.Errorf("id %d", id)
		}
	})
}
