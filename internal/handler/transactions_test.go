package handler

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/coordinator/txn"
	"segue/storage/record"
)

// newTransactionStage makes a stage with both coordinators, and a topic a of two partitions.
func newTransactionStage(t *testing.T) *stage {
	t.Helper()
	s := newGroupStage(t)
	s.create(catalog.TransactionStateTopic, 2)
	for s.txns.RuntimeStats().Serving < 2 {
		runtime.Gosched()
	}
	return s
}

// transactor is a transactional producer that keeps nothing to itself.
type transactor struct {
	*stage
	txnID string
	id    int64
	epoch int16
	next  int32 // sequence number, of partition 0
}

// transactor begins with a transactional id.
func (s *stage) transactor(txnID string, version int16) *transactor {
	s.Helper()
	resp := s.initTransactions(txnID, -1, -1, version)
	expectCode(s.T, "InitProducerId", resp.ErrorCode, nil)
	return &transactor{stage: s, txnID: txnID, id: resp.ProducerID, epoch: resp.ProducerEpoch}
}

func (s *stage) initTransactions(txnID string, id int64, epoch, version int16) *kmsg.InitProducerIDResponse {
	s.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = &txnID, 60_000, id, epoch
	return s.ask(req, version).(*kmsg.InitProducerIDResponse)
}

// add adds partitions of topics as clients do and returns the codes, by topic and partition.
func (x *transactor) add(version int16, topics map[string][]int32) map[string]*kerr.Error {
	x.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = x.txnID, x.id, x.epoch
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		req.Topics = append(req.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: name, Partitions: topics[name]})
	}
	codes := map[string]*kerr.Error{}
	for _, t := range x.ask(req, version).(*kmsg.AddPartitionsToTxnResponse).Topics {
		for _, p := range t.Partitions {
			codes[fmt.Sprint(t.Topic, "-", p.Partition)] = kerr.TypedErrorForCode(p.ErrorCode)
		}
	}
	return codes
}

// send writes a batch of one record to partition 0 of a.
func (x *transactor) send(version int16) kmsg.ProduceResponseTopicPartition {
	x.Helper()
	topic, _ := x.catalog.Image().Topic("a")
	req := produceRequest(-1, to{"a", topic.ID, 0, build(x.T, 1, func(b *record.Builder) {
		b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = x.id, x.epoch, x.next, true
	})})
	req.TransactionID = &x.txnID
	p := x.produce(req, version).Topics[0].Partitions[0]
	if p.ErrorCode == 0 {
		x.next++
	}
	return p
}

func (x *transactor) addOffsets(version int16) int16 {
	x.Helper()
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = x.txnID, x.id, x.epoch, "g"
	return x.ask(req, version).(*kmsg.AddOffsetsToTxnResponse).ErrorCode
}

// commitOffset commits an offset for partition 0 of a within the transaction.
func (x *transactor) commitOffset(version int16, offset int64) int16 {
	x.Helper()
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = x.txnID, x.id, x.epoch, "g"
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset = offset
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "a", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}}}
	return x.ask(req, version).(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
}

func (x *transactor) end(version int16, commit bool) *kmsg.EndTxnResponse {
	x.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = x.txnID, x.id, x.epoch, commit
	return x.ask(req, version).(*kmsg.EndTxnResponse)
}

// describe describes the transactional id.
func (x *transactor) describe() kmsg.DescribeTransactionsResponseTransactionState {
	x.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{x.txnID}
	return x.ask(req, 0).(*kmsg.DescribeTransactionsResponse).TransactionStates[0]
}

// settle waits until the transaction has ended and returns its state.
func (x *transactor) settle() string {
	x.Helper()
	for {
		if is := x.describe().State; !strings.HasPrefix(is, "Prepare") {
			return is
		}
		runtime.Gosched()
	}
}

// stable returns the last stable offset and the high watermark of partition 0 of a.
func (s *stage) stable() (stable, high int64) {
	s.Helper()
	req := listRequest("a", 0, -1)
	req.IsolationLevel = 1
	return s.list(req, 8).Offset, s.list(listRequest("a", 0, -1), 8).Offset
}

// A transaction goes all its way in every version of each request that it is made of.
func TestTransactionEveryVersion(t *testing.T) {
	for protocol, versions := range map[int16]struct{ init, add, produce, addOffsets, commit, end []int16 }{
		1: {[]int16{0, 5}, []int16{0, 3}, []int16{3, 11}, []int16{0, 4}, []int16{0, 4}, []int16{0, 4}},
		2: {[]int16{3, 5}, nil, []int16{12, 13}, nil, []int16{5, 5}, []int16{5, 5}},
	} {
		at := func(span []int16, i int16) int16 { return min(span[0]+i, span[1]) }
		for i := range int16(9) {
			for _, commit := range []bool{true, false} {
				what := fmt.Sprintf("protocol %d, round %d, commit %v", protocol, i, commit)
				s := newTransactionStage(t)
				x := s.transactor("x", at(versions.init, i))
				epoch := x.epoch
				if protocol == 1 {
					if codes := x.add(at(versions.add, i), map[string][]int32{"a": {0}}); codes["a-0"] != nil {
						t.Errorf("%s: AddPartitionsToTxn: %v", what, codes)
					}
					expectCode(t, what+": AddOffsetsToTxn", x.addOffsets(at(versions.addOffsets, i)), nil)
				}
				for range 2 {
					expectCode(t, what+": Produce", x.send(at(versions.produce, i)).ErrorCode, nil)
				}
				expectCode(t, what+": TxnOffsetCommit", x.commitOffset(at(versions.commit, i), 77), nil)
				if stable, high := s.stable(); stable != 0 || high != 2 {
					t.Errorf("%s: before its end, the last stable offset is %d and the high watermark %d, want 0 and 2", what, stable, high)
				}
				ended := x.end(at(versions.end, i), commit)
				expectCode(t, what+": EndTxn", ended.ErrorCode, nil)
				if protocol == 2 && (ended.ProducerID != x.id || ended.ProducerEpoch != epoch+1) {
					t.Errorf("%s: after the end, producer %d has epoch %d, it was %d in %d", what, ended.ProducerID, ended.ProducerEpoch, x.id, epoch)
				}
				state, offset := "CompleteAbort", int64(-1)
				if commit {
					state, offset = "CompleteCommit", 77
				}
				if is := x.settle(); is != state {
					t.Errorf("%s: it is in state %s", what, is)
				}
				if stable, high := s.stable(); stable != 3 || high != 3 {
					t.Errorf("%s: at the end, the last stable offset is %d and the high watermark %d, want 3 of both", what, stable, high)
				}
				if is := s.fetchOffset("g", "a", 0); is != offset {
					t.Errorf("%s: the committed offset is %d, want %d", what, is, offset)
				}
			}
		}
	}
}

// What is not part of the transaction is refused, with codes that clients of the version know.
func TestOutsideTheTransaction(t *testing.T) {
	for version := int16(3); version <= 13; version++ {
		want := kerr.InvalidTxnState
		switch {
		case version >= implicitProduce:
			want = nil // it is added
		case version >= abortableProduce:
			want = kerr.TransactionAbortable
		}
		x := newTransactionStage(t).transactor("x", 5)
		expectCode(t, fmt.Sprint("Produce ", version), x.send(version).ErrorCode, want)
		if is := x.describe(); (len(is.Topics) == 1) != (want == nil) {
			t.Errorf("Produce %d: the transaction is %+v", version, is)
		}
	}
	for version := int16(0); version <= 5; version++ {
		want := kerr.InvalidTxnState
		switch {
		case version >= implicitTxnCommit:
			want = nil
		case version >= abortableTxnCommit:
			want = kerr.TransactionAbortable
		}
		x := newTransactionStage(t).transactor("x", 5)
		expectCode(t, fmt.Sprint("TxnOffsetCommit ", version), x.commitOffset(version, 5), want)
	}
}

// A producer whose epoch is over is told so: by coordinators with PRODUCER_FENCED where the version knows it, by partitions
// with INVALID_PRODUCER_EPOCH.
func TestFencedProducers(t *testing.T) {
	s := newTransactionStage(t)
	x := s.transactor("x", 5)
	expectCode(t, "Produce", x.send(13).ErrorCode, nil)
	s.transactor("x", 5) // which aborts that, and ends the epoch
	by := func(version, since int16) *kerr.Error {
		if version < since {
			return kerr.InvalidProducerEpoch
		}
		return kerr.ProducerFenced
	}
	for version := int16(3); version <= 5; version++ {
		got := s.initTransactions("x", x.id, x.epoch, version)
		expectCode(t, fmt.Sprint("InitProducerId ", version), got.ErrorCode, by(version, 4))
	}
	for version := int16(0); version <= 5; version++ {
		if version < batchedAdd {
			if got := x.add(version, map[string][]int32{"a": {0}}); got["a-0"] != by(version, 2) {
				t.Errorf("AddPartitionsToTxn %d: %v", version, got)
			}
		}
		if version < 5 {
			expectCode(t, fmt.Sprint("AddOffsetsToTxn ", version), x.addOffsets(version), by(version, 2))
		}
		expectCode(t, fmt.Sprint("EndTxn ", version), x.end(version, true).ErrorCode, by(version, 2))
		expectCode(t, fmt.Sprint("TxnOffsetCommit ", version), x.commitOffset(version, 1), kerr.InvalidProducerEpoch)
	}
	for version := int16(3); version <= 13; version++ {
		expectCode(t, fmt.Sprint("Produce ", version), x.send(version).ErrorCode, kerr.InvalidProducerEpoch)
	}
}

// Partitions are added all or none.
func TestAddPartitionsThatAreNotThere(t *testing.T) {
	x := newTransactionStage(t).transactor("x", 5)
	for version := int16(0); version < batchedAdd; version++ {
		got := x.add(version, map[string][]int32{"a": {0, 2}, "b": {0}, catalog.GroupOffsetsTopic: {1}})
		want := map[string]*kerr.Error{
			"a-0": kerr.OperationNotAttempted, "a-2": kerr.UnknownTopicOrPartition, "b-0": kerr.UnknownTopicOrPartition,
			catalog.GroupOffsetsTopic + "-1": kerr.TopicAuthorizationFailed,
		}
		if !maps.Equal(got, want) {
			t.Errorf("version %d: %v, want %v", version, got, want)
		}
	}
	if is := x.describe(); is.State != "Empty" || len(is.Topics) != 0 {
		t.Errorf("the transaction is %+v", is)
	}
}

// A request asks about many transactions, each by itself; one that only asks adds nothing.
func TestAddPartitionsOfManyTransactions(t *testing.T) {
	s := newTransactionStage(t)
	x, y := s.transactor("x", 5), s.transactor("y", 5)
	of := func(who *transactor, epoch int16, verify bool, partitions ...int32) kmsg.AddPartitionsToTxnRequestTransaction {
		return kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: who.txnID, ProducerID: who.id, ProducerEpoch: epoch, VerifyOnly: verify,
			Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "a", Partitions: partitions}}}
	}
	for version := int16(batchedAdd); version <= 5; version++ {
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{of(x, x.epoch, false, 0), of(y, y.epoch+1, false, 0)}
		got := s.ask(req, version).(*kmsg.AddPartitionsToTxnResponse).Transactions
		expectCode(t, "x", got[0].Topics[0].Partitions[0].ErrorCode, nil)
		expectCode(t, "y in an epoch that never was", got[1].Topics[0].Partitions[0].ErrorCode, kerr.ProducerFenced)
		req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{of(x, x.epoch, true, 0, 1)}
		codes := s.ask(req, version).(*kmsg.AddPartitionsToTxnResponse).Transactions[0].Topics[0].Partitions
		expectCode(t, "a partition that was added", codes[0].ErrorCode, nil)
		expectCode(t, "one that was not", codes[1].ErrorCode, kerr.TransactionAbortable)
	}
	if is := x.describe().Topics; len(is) != 1 || !slices.Equal(is[0].Partitions, []int32{0}) {
		t.Errorf("the transaction has %+v", is)
	}
}

// A batch of the next transaction that comes while the one before ends is taken when that has ended: the marker that ends the
// guard of the batch comes while its producer waits for the coordinator.
func TestProduceWhileATransactionEnds(t *testing.T) {
	s := newTransactionStage(t)
	x := s.transactor("x", 5)
	expectCode(t, "the first batch", x.send(12).ErrorCode, nil)
	var once sync.Once
	asked := make(chan struct{})
	held := func() { <-asked }
	s.beforeMarkers.Store(&held)
	ended := x.end(5, true)
	expectCode(t, "EndTxn", ended.ErrorCode, nil)
	x.epoch, x.next = ended.ProducerEpoch, 0
	ask := func(request any) {
		if _, ok := request.(txn.AddPartitions); ok {
			once.Do(func() { close(asked) })
		}
	}
	s.txns.asks.Store(&ask)
	expectCode(t, "the batch after the end", x.send(12).ErrorCode, nil)
	if is := x.describe(); is.State != "Ongoing" {
		t.Errorf("the second transaction is %+v", is)
	}
	if stable, high := s.stable(); stable != 2 || high != 3 {
		t.Errorf("the last stable offset is %d and the high watermark %d, want 2 and 3", stable, high)
	}
}

// The admin client finds a transaction that nobody ends, and aborts it in its partition.
func TestAbortOfAHangingTransaction(t *testing.T) {
	s := newTransactionStage(t)
	x := s.transactor("x", 5)
	expectCode(t, "Produce", x.send(12).ErrorCode, nil)
	describe := kmsg.NewPtrDescribeProducersRequest()
	describe.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "a", Partitions: []int32{0, 2}}}
	found := s.ask(describe, 0).(*kmsg.DescribeProducersResponse).Topics[0].Partitions
	expectCode(t, "a partition that is not there", found[1].ErrorCode, kerr.UnknownTopicOrPartition)
	if len(found[0].ActiveProducers) != 1 {
		t.Fatalf("%+v", found[0])
	}
	is := found[0].ActiveProducers[0]
	if is.ProducerID != x.id || is.CurrentTxnStartOffset != 0 || is.CoordinatorEpoch != -1 {
		t.Errorf("%+v", is)
	}
	for version := int16(0); version <= 2; version++ {
		list := kmsg.NewPtrListTransactionsRequest()
		list.StateFilters, list.DurationFilterMillis = []string{"Ongoing", "NoSuchState"}, -1
		list.TransactionalIDPattern = kmsg.StringPtr("y.*")
		got := s.ask(list, version).(*kmsg.ListTransactionsResponse)
		if n := len(got.TransactionStates); n != 1 && version < 2 || n != 0 && version == 2 || !slices.Equal(got.UnknownStateFilters, []string{"NoSuchState"}) {
			t.Errorf("ListTransactions %d: %+v", version, got)
		}
	}
	for version := int16(1); version <= 2; version++ {
		write := kmsg.NewPtrWriteTxnMarkersRequest()
		write.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: x.id, ProducerEpoch: int16(is.ProducerEpoch), CoordinatorEpoch: is.CoordinatorEpoch,
			Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "a", Partitions: []int32{0}}, {Topic: "b", Partitions: []int32{0}}}}}
		got := s.ask(write, version).(*kmsg.WriteTxnMarkersResponse).Markers[0].Topics
		expectCode(t, "a", got[0].Partitions[0].ErrorCode, nil)
		expectCode(t, "b", got[1].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
		if stable, high := s.stable(); stable != high || high != int64(1+version) {
			t.Errorf("WriteTxnMarkers %d: the last stable offset is %d and the high watermark %d", version, stable, high)
		}
	}
}

func TestUpdateFeatures(t *testing.T) {
	for _, test := range []struct {
		name     string
		feature  string
		level    int16
		kind     int8
		validate bool
		want     *kerr.Error
		is       int16
	}{
		{"lower", catalog.TransactionVersion, 1, safeDowngrade, false, nil, 1},
		{"lower, not safely", catalog.TransactionVersion, 0, unsafeDowngrade, false, nil, 0},
		{"only asked", catalog.TransactionVersion, 0, safeDowngrade, true, nil, 2},
		{"lower as if it were higher", catalog.TransactionVersion, 1, upgrade, false, kerr.InvalidUpdateVersion, 2},
		{"the same", catalog.TransactionVersion, 2, upgrade, false, nil, 2},
		{"too high", catalog.TransactionVersion, 3, upgrade, false, kerr.InvalidUpdateVersion, 2},
		{"below 0", catalog.TransactionVersion, -1, safeDowngrade, false, kerr.InvalidUpdateVersion, 2},
		{"no type", catalog.TransactionVersion, 1, 0, false, kerr.InvalidUpdateVersion, 2},
		{"unknown", "no.such.feature", 1, upgrade, false, kerr.InvalidUpdateVersion, 2},
	} {
		s := newStage(t)
		req := kmsg.NewPtrUpdateFeaturesRequest()
		u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		u.Feature, u.MaxVersionLevel, u.UpgradeType = test.feature, test.level, test.kind
		req.FeatureUpdates, req.ValidateOnly = []kmsg.UpdateFeaturesRequestFeatureUpdate{u}, test.validate
		got := s.ask(req, 2).(*kmsg.UpdateFeaturesResponse)
		expectCode(t, test.name, got.ErrorCode, test.want)
		if is := s.catalog.Image().FeatureLevel(catalog.TransactionVersion); is != test.is {
			t.Errorf("%s: the level is %d, want %d", test.name, is, test.is)
		}
		levels := map[string]int16{}
		versions := s.ask(apiVersionsRequest(nil), 4).(*kmsg.ApiVersionsResponse)
		for _, f := range versions.FinalizedFeatures {
			levels[f.Name] = f.MaxVersionLevel
		}
		if is, shown := levels[catalog.TransactionVersion]; is != test.is || shown != (test.is > 0) {
			t.Errorf("%s: ApiVersions says %v, want %d", test.name, levels, test.is)
		}
	}
}

// A level of 0 takes both what EndTxn and what Produce need for version 2 away.
func TestRequestsAboveTheFeature(t *testing.T) {
	s := newTransactionStage(t)
	x := s.transactor("x", 5)
	if _, err := s.catalog.Commit(s.Context(), catalog.Any, catalog.SetFeature{Name: catalog.TransactionVersion, Level: 0}); err != nil {
		t.Fatal(err)
	}
	expectCode(t, "Produce", x.send(12).ErrorCode, kerr.UnsupportedVersion)
	expectCode(t, "EndTxn", x.end(5, true).ErrorCode, kerr.UnsupportedVersion)
	if got := x.add(3, map[string][]int32{"a": {0}}); got["a-0"] != nil {
		t.Errorf("AddPartitionsToTxn: %v", got)
	}
	expectCode(t, "Produce 11", x.send(11).ErrorCode, nil)
	expectCode(t, "EndTxn 4", x.end(4, true).ErrorCode, nil)
}
