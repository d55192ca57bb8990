package txn

import (
	"context"
	"sync"
)

// producerIDBlock is how many producer ids are taken from the catalog at a time (ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE).
// Those left of a block when the broker ends are never given out.
const producerIDBlock = 1000

// ProducerIDs hands out producer ids, each one once for all time. It is safe for concurrent use.
type ProducerIDs struct {
	allocate func(ctx context.Context, n int) (first int64, err error)
	turn     chan struct{} // held across an allocation

	mu   sync.Mutex // guards what follows
	next int64
	left int
}

// NewProducerIDs returns ProducerIDs that take their blocks from allocate, as catalog.Store.AllocateProducerIDs gives them.
func NewProducerIDs(allocate func(ctx context.Context, n int) (int64, error)) *ProducerIDs {
	return &ProducerIDs{allocate: allocate, turn: make(chan struct{}, 1)}
}

// TryTake returns the next id if there is one at hand. It waits for nobody.
func (p *ProducerIDs) TryTake() (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		return -1, false
	}
	id := p.next
	p.next++
	p.left--
	return id, true
}

// Take returns the next id. The context ends the wait, for others or for a block of ids; a block that nobody has waited for to
// the end is lost, and not given twice.
func (p *ProducerIDs) Take(ctx context.Context) (int64, error) {
	for {
		if id, ok := p.TryTake(); ok {
			return id, nil
		}
		if err := p.Fill(ctx); err != nil {
			return -1, err
		}
	}
}

// Fill returns when there was an id at hand.
func (p *ProducerIDs) Fill(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.turn }()
	p.mu.Lock()
	left := p.left
	p.mu.Unlock()
	if left > 0 {
		return nil
	}
	first, err := p.allocate(ctx, producerIDBlock)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.left = first, producerIDBlock
	return nil
}
