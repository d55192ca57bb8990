package handler

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestInitProducerID(t *testing.T) {
	transactional, empty := "tx", ""
	tests := []struct {
		name    string
		since   int16
		id      int64
		epoch   int16
		tx      *string
		timeout int32
		want    *kerr.Error
	}{
		{"a new producer", 0, -1, -1, nil, 0, nil},
		{"an id to be renewed", 3, 4000, 2, nil, 0, nil}, // without a transactional id Kafka gives a new one
		{"an id without an epoch", 3, 4000, -1, nil, 0, kerr.InvalidRequest},
		{"an epoch without an id", 3, -1, 2, nil, 0, kerr.InvalidRequest},
		{"an empty transactional id", 0, -1, -1, &empty, 60_000, kerr.InvalidRequest},
		{"a transactional id", 0, -1, -1, &transactional, 60_000, kerr.CoordinatorNotAvailable},
		{"a transactional id without time", 0, -1, -1, &transactional, 0, kerr.InvalidTransactionTimeout},
	}
	for _, test := range tests {
		s := newStage(t)
		var ids []int64
		for version := test.since; version <= 5; version++ {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.ProducerID, req.ProducerEpoch = test.id, test.epoch
			req.TransactionalID, req.TransactionTimeoutMillis = test.tx, test.timeout
			got := s.ask(req, version).(*kmsg.InitProducerIDResponse)
			expectCode(t, test.name, got.ErrorCode, test.want)
			if test.want != nil {
				if got.ProducerID != -1 || got.ProducerEpoch != -1 {
					t.Errorf("%s: %+v", test.name, got)
				}
				continue
			}
			if got.ProducerEpoch != 0 || slices.Contains(ids, got.ProducerID) {
				t.Errorf("%s: id %d with epoch %d after %v", test.name, got.ProducerID, got.ProducerEpoch, ids)
			}
			ids = append(ids, got.ProducerID)
		}
		if blocks := s.catalog.idBlocks; (len(blocks) == 1) != (test.want == nil) {
			t.Errorf("%s: blocks %v were taken", test.name, blocks)
		}
	}
}

func TestInitProducerIDWhenTheCatalogFails(t *testing.T) {
	s := newStage(t)
	s.catalog.fail = errDisk
	got := s.ask(kmsg.NewPtrInitProducerIDRequest(), 4).(*kmsg.InitProducerIDResponse)
	expectCode(t, "no ids", got.ErrorCode, kerr.CoordinatorLoadInProgress)
	s.catalog.fail = nil
	got = s.ask(kmsg.NewPtrInitProducerIDRequest(), 4).(*kmsg.InitProducerIDResponse)
	expectCode(t, "ids again", got.ErrorCode, nil)
}

// Many producers at once get ids that are all different, from no more blocks than it takes.
func TestProducerIDsAreUnique(t *testing.T) {
	s := newStage(t)
	ids := newProducerIDs(s.catalog.AllocateProducerIDs)
	var mu sync.Mutex
	seen := map[int64]bool{}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				id, err := ids.take(t.Context())
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
	if got := s.catalog.idBlocks; !slices.Equal(got, []int{producerIDBlock, producerIDBlock, producerIDBlock, producerIDBlock}) {
		t.Errorf("blocks %v for 4000 ids", got)
	}
}

// Who waits behind an allocation that hangs can leave.
func TestProducerIDsWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ids := newProducerIDs(func(context.Context, int) (int64, error) {
			<-release
			return 1, nil
		})
		first := make(chan int64)
		go func() {
			id, _ := ids.take(t.Context())
			first <- id
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := ids.take(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		close(release)
		if id := <-first; id != 1 {
			t.Errorf("id %d", id)
		}
	})
}
