package handler

import (
	"slices"
	"testing"

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
		{"a transactional id", 0, -1, -1, &transactional, 60_000, kerr.NotCoordinator},
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
