//go:build integration && unix

package integration

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// hand is a producer with a transactional id that a test plays by hand: each request is sent when the test says so, and again
// if it says so. It speaks one of the protocols of transactions.
type hand struct {
	t       testing.TB
	b       *broker
	w       *wire
	id      string
	version int16 // of transactions: 1 or 2
	timeout time.Duration

	producer int64
	epoch    int16
	next     map[int32]int32 // sequence numbers by partition
}

// handTopic is the topic that hands write to.
const handTopic = "t"

// newHand returns a producer of which the coordinator knows nothing yet.
func newHand(t testing.TB, b *broker, id string, version int16) *hand {
	return &hand{t: t, b: b, w: b.dial(t), id: id, version: version, timeout: time.Minute, producer: -1, epoch: -1}
}

// again is another process that has the transactional id, and nothing else of the first one's but its producer id and epoch.
func (h *hand) again() *hand {
	other := newHand(h.t, h.b, h.id, h.version)
	other.producer, other.epoch = h.producer, h.epoch
	return other
}

// patiently asks until the answer is none of those that say "soon".
func (h *hand) patiently(ask func() int16) *kerr.Error {
	h.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		code := ask()
		err := kerr.TypedErrorForCode(code)
		switch err {
		case kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.ConcurrentTransactions, kerr.NotEnoughReplicas:
		default:
			return err
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: still %v after %v", h.id, err, patience)
		}
		pass(nil, 10*time.Millisecond)
	}
}

// init takes the transactional id, and fences whoever had it.
func (h *hand) init() *kerr.Error {
	h.t.Helper()
	return h.initAs(-1, -1)
}

// initAs is init by one that says who it was (KIP-360).
func (h *hand) initAs(producer int64, epoch int16) *kerr.Error {
	h.t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorType, find.CoordinatorKeys = 4, 1, []string{h.id}
	if err := h.patiently(func() int16 { return ask[*kmsg.FindCoordinatorResponse](h.w, find).Coordinators[0].ErrorCode }); err != nil {
		return err
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 5, &h.id, int32(h.timeout.Milliseconds())
	req.ProducerID, req.ProducerEpoch = producer, epoch
	return h.patiently(func() int16 {
		resp := ask[*kmsg.InitProducerIDResponse](h.w, req)
		if resp.ErrorCode == 0 {
			h.producer, h.epoch, h.next = resp.ProducerID, resp.ProducerEpoch, map[int32]int32{}
		}
		return resp.ErrorCode
	})
}

// add adds a partition to the transaction, as version 1 has to.
func (h *hand) add(partition int32) *kerr.Error {
	h.t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = 3, h.id, h.producer, h.epoch
	t := kmsg.NewAddPartitionsToTxnRequestTopic()
	t.Topic, t.Partitions = handTopic, []int32{partition}
	req.Topics = append(req.Topics, t)
	return h.patiently(func() int16 {
		return ask[*kmsg.AddPartitionsToTxnResponse](h.w, req).Topics[0].Partitions[0].ErrorCode
	})
}

// batch is the next batch of the transaction in a partition.
func (h *hand) batch(partition int32, values ...string) record.Batch {
	h.t.Helper()
	b := record.NewBuilder(0)
	b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = h.producer, h.epoch, h.next[partition], true
	h.next[partition] += int32(len(values))
	for _, v := range values {
		b.Add(time.Now().UnixMilli(), nil, []byte(v))
	}
	return build1(h.t, b)
}

// send produces a batch, and returns its base offset.
func (h *hand) send(partition int32, batch record.Batch) (base int64, err *kerr.Error) {
	h.t.Helper()
	req := produceRequest(handTopic, partition, -1, batch)
	req.Version, req.TransactionID = 11, &h.id
	if h.version >= 2 {
		req.Version = 12
	}
	err = h.patiently(func() int16 {
		p := ask[*kmsg.ProduceResponse](h.w, req).Topics[0].Partitions[0]
		base = p.BaseOffset
		return p.ErrorCode
	})
	return base, err
}

// write produces values in the transaction, which has the partition then.
func (h *hand) write(partition int32, values ...string) {
	h.t.Helper()
	if h.version < 2 {
		h.want("add a partition", h.add(partition), nil)
	}
	_, err := h.send(partition, h.batch(partition, values...))
	h.want("produce", err, nil)
}

// ending is the request that ends the transaction as it is now, to be sent whenever.
func (h *hand) ending(commit bool) *kmsg.EndTxnRequest {
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = 4, h.id, h.producer, h.epoch, commit
	if h.version >= 2 {
		req.Version = 5
	}
	return req
}

// deliver sends a request to end a transaction over a connection of its own, and returns the answer.
func (h *hand) deliver(req *kmsg.EndTxnRequest) (resp *kmsg.EndTxnResponse, err *kerr.Error) {
	h.t.Helper()
	w := h.b.dial(h.t)
	defer w.conn.Close()
	err = h.patiently(func() int16 {
		resp = ask[*kmsg.EndTxnResponse](w, req)
		return resp.ErrorCode
	})
	return resp, err
}

// end ends the transaction. In version 2 the next one has another epoch.
func (h *hand) end(commit bool) *kerr.Error {
	h.t.Helper()
	resp, err := h.deliver(h.ending(commit))
	if err == nil {
		h.follow(resp)
	}
	return err
}

// follow takes over what an answer to EndTxn says the producer is from now on.
func (h *hand) follow(resp *kmsg.EndTxnResponse) {
	if h.version >= 2 {
		h.producer, h.epoch, h.next = resp.ProducerID, resp.ProducerEpoch, map[int32]int32{}
	}
}

// want compares errors; nil is none.
func (h *hand) want(what string, got *kerr.Error, want ...*kerr.Error) {
	h.t.Helper()
	for _, w := range want {
		if got == w {
			return
		}
	}
	h.t.Errorf("version %d: %s: %v, want %v", h.version, what, got, want)
}
