package handler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/placement"
	"segue/internal/server"
	"segue/partition"
	"segue/protocol"
	"segue/storage"
	"segue/storage/record"
)

// The versions of Produce at which something changes.
const (
	zstdVersion        = 7  // batches may be compressed with Zstandard (KIP-110)
	produceHintVersion = 10 // answers tell who leads (KIP-951)
	produceIDVersion   = 13 // topics are named by id (KIP-516)
)

// adminClientID is the client id that may write to internal topics (AdminUtils.ADMIN_CLIENT_ID).
const adminClientID = "__admin_client"

// appender is what produce asks of a partition; *partition.Partition is one.
type appender interface {
	AppendAll(ctx context.Context, epoch int32, all []partition.Addition, from partition.Origin)
	Guard(h record.Header, bumps bool) (g partition.Guard, ask bool, err error)
	Offsets() partition.Offsets
}

// produce answers Produce. Requests take effect in begin, which appends all their batches; each answer waits until all of
// its own are committed.
type produce struct {
	log    zerolog.Logger
	broker context.Context // that appends run under; a connection's would leave it to chance which are made
	image  func() *catalog.Image
	lookup func(topicID [16]byte, partition int32) (appender, error)
	view   interface {
		Leader(topicID [16]byte, partition int32) placement.Leader
		Brokers(listener string) []placement.Broker
	}
	// gather has the syncs of what is appended before its result is called begin together.
	gather func() (sync func())
	// patience is how long to wait for acks where the request sets no positive limit (request.timeout.ms). In a Kafka of
	// one replica nothing is ever waited for, so there are clients that send zero.
	patience time.Duration

	transactions *transactionCommands
	// verifies says whether the coordinator is asked about what a producer has added to its transaction itself
	// (transaction.partition.verification.enable).
	verifies func() bool
}

// pendingProduce is a request between its appends and its answer.
type pendingProduce struct {
	h        *produce
	client   *server.Client
	version  int16
	acks     int16
	deadline time.Time
	// transactionalID is empty for a request that has none, and so no transactional batches.
	transactionalID string
	resp            *kmsg.ProduceResponse
	waits           []pendingAppend
}

// pendingAppend is a batch that is appended and not yet known to be committed.
type pendingAppend struct {
	topic, partition int // indexes in the response
	ack              partition.Ack
}

// begin implements server.API's Begin.
func (h *produce) begin(_ context.Context, rs []*server.Request) []server.Pending {
	pendings := make([]server.Pending, len(rs))
	begun := make([]*pendingProduce, len(rs))
	var work []addition
	for i, r := range rs {
		req, err := protocol.ParseProduce(r.Version, r.Body)
		if err != nil {
			// As in Kafka, which has no answer to a request that it cannot read, and so none to versions 0 to 2.
			err = fmt.Errorf("%w: %w", server.ErrDisconnect, err)
			pendings[i] = refusal{err}
			continue
		}
		p := &pendingProduce{h: h, client: r.Client, version: r.Version, acks: req.Acks}
		if req.TransactionalID != nil {
			p.transactionalID = *req.TransactionalID
		}
		p.deadline = r.Received.Add(h.patience)
		if req.Timeout > 0 {
			p.deadline = r.Received.Add(req.Timeout)
		}
		begun[i] = p
		work = p.admit(r, &req, work)
	}
	if len(rs) > 1 {
		work = byPartition(work)
	}
	h.append(h.verify(work))
	for i, p := range begun {
		switch {
		case p == nil:
		case p.acks == 0:
			pendings[i] = p.silence()
		default:
			pendings[i] = p
		}
	}
	return pendings
}

// addition is a batch that is to be appended, and its place in the answers.
type addition struct {
	to               appender
	of               *pendingProduce
	topic, partition int // indexes in the response
	name             string
	batch            record.Batch
	guard            partition.Guard // of a transactional batch
}

// byPartition brings together what goes to the same partition, in the order in which it came.
func byPartition(work []addition) []addition {
	turns := make(map[appender]int, len(work))
	for _, w := range work {
		if _, ok := turns[w.to]; !ok {
			turns[w.to] = len(turns)
		}
	}
	slices.SortStableFunc(work, func(a, b addition) int { return turns[a.to] - turns[b.to] })
	return work
}

// append appends batches, those that follow each other and go to the same partition together, and puts into the responses
// what is known after that.
func (h *produce) append(work []addition) {
	if len(work) > 1 {
		defer h.gather()()
	}
	for len(work) > 0 {
		to, n := work[0].to, 1
		for n < len(work) && work[n].to == to {
			n++
		}
		all := make([]partition.Addition, n)
		for i, w := range work[:n] {
			all[i].Batch, all[i].Guard = w.batch, w.guard
		}
		to.AppendAll(h.broker, -1, all, partition.Client)
		for i, w := range work[:n] {
			if err := all[i].Err; err != nil {
				result := &w.of.resp.Topics[w.topic].Partitions[w.partition]
				w.of.fail(result, &appendError{w.name, result.Partition, int64(to.Offsets().LogStart), err})
				continue
			}
			w.of.waits = append(w.of.waits, pendingAppend{w.topic, w.partition, all[i].Ack})
		}
		work = work[n:]
	}
}

// admit judges all batches of the request, puts those that may be appended to the others, and into the response what is known
// of the rest.
func (p *pendingProduce) admit(r *server.Request, req *protocol.ProduceRequest, work []addition) []addition {
	image := p.h.image()
	a := admission{version: r.Version, acks: req.Acks, fatal: refuseTransactions(req)}
	a.internal = r.ClientID != nil && *r.ClientID == adminClientID
	p.resp = kmsg.NewPtrProduceResponse()
	p.resp.Version = r.Version
	p.resp.Topics = make([]kmsg.ProduceResponseTopic, 0, req.TopicCount())
	p.waits = make([]pendingAppend, 0, req.PartitionCount())
	work = slices.Grow(work, req.PartitionCount())
	for t := range req.Topics() {
		topic, unknown := findTopic(image, r.Version >= produceIDVersion, t.Name, t.ID)
		answer := kmsg.ProduceResponseTopic{Topic: t.Name, TopicID: t.ID}
		answer.Partitions = make([]kmsg.ProduceResponseTopicPartition, 0, t.PartitionCount())
		for records := range t.Partitions() {
			result := kmsg.NewProduceResponseTopicPartition()
			result.Partition, result.BaseOffset, result.LogAppendTime, result.LogStartOffset = records.Index, -1, -1, -1
			batch, err := a.check(topic, unknown, records)
			var to appender
			if err == nil {
				to, err = p.h.lookup(topic.ID, records.Index)
			}
			if err != nil {
				p.fail(&result, err)
			} else {
				work = append(work, addition{
					to: to, of: p, topic: len(p.resp.Topics), partition: len(answer.Partitions), name: topic.Name, batch: batch,
				})
			}
			answer.Partitions = append(answer.Partitions, result)
		}
		if len(answer.Partitions) > 0 { // Kafka does not name a topic that nothing was to be appended to
			p.resp.Topics = append(p.resp.Topics, answer)
		}
	}
	return work
}

// admission is what all batches of a request are judged by.
type admission struct {
	version  int16
	acks     int16
	internal bool      // the client may write to internal topics
	fatal    *apiError // that all partitions are refused with; nil for none
}

// refuseTransactions refuses a request as a whole that has transactional batches and no transactional id, or those of more
// than one producer.
func refuseTransactions(req *protocol.ProduceRequest) *apiError {
	var first record.Header
	for t := range req.Topics() {
		for p := range t.Partitions() {
			h, err := record.ParseHeader(p.Records)
			switch {
			case err != nil || !h.IsTransactional():
			case req.TransactionalID == nil:
				return plain(kerr.TransactionalIDAuthorizationFailed)
			case first == nil:
				first = h
			case h.ProducerID() != first.ProducerID() || h.ProducerEpoch() != first.ProducerEpoch():
				return failure(kerr.InvalidProducerIDMapping, "Transactional records contained more than one producer ID")
			}
		}
	}
	return nil
}

// check judges the records for one partition in the order in which Kafka does, and returns the batch that they are.
func (a *admission) check(topic *catalog.Topic, unknown *kerr.Error, p protocol.ProducePartition) (record.Batch, error) {
	switch {
	case a.fatal != nil:
		return record.Batch{}, a.fatal
	case unknown != nil:
		return record.Batch{}, unknown
	case !topic.Has(p.Index):
		return record.Batch{}, kerr.UnknownTopicOrPartition
	}
	batch, err := partition.ParseBatch(p.Records)
	switch {
	case err != nil:
		return batch, err
	case a.version < zstdVersion && batch.Codec() == record.Zstd:
		return batch, failure(kerr.UnsupportedCompressionType,
			"Produce requests with version %d are not allowed to use ZStandard compression", a.version)
	case a.acks < -1 || a.acks > 1:
		return batch, kerr.InvalidRequiredAcks
	case topic.Internal && !a.internal:
		return batch, kerr.InvalidTopicException
	}
	return batch, nil
}

// appendError is the failure of an append that was tried.
type appendError struct {
	topic     string
	partition int32
	logStart  int64
	err       error
}

func (e *appendError) Error() string { return e.err.Error() }
func (e *appendError) Unwrap() error { return e.err }

// fail puts an error into the answer for a partition.
func (p *pendingProduce) fail(result *kmsg.ProduceResponseTopicPartition, err error) {
	code := errorOf(err)
	result.ErrorCode = code.Code
	result.ErrorMessage = explanation(err, code)
	var invalid *partition.InvalidRecords
	if errors.As(err, &invalid) {
		for _, r := range invalid.Records {
			e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			e.RelativeOffset, e.ErrorMessage = r.Index, kmsg.StringPtr(r.Message)
			result.ErrorRecords = append(result.ErrorRecords, e)
		}
	}
	var tried *appendError
	if !errors.As(err, &tried) {
		return
	}
	switch code {
	case kerr.NotLeaderForPartition, kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.CorruptMessage:
	case kerr.KafkaStorageError, kerr.UnknownServerError:
		if storage.IsFull(err) || errors.Is(err, storage.ErrFailed) {
			return // the storage has said so, once
		}
		p.h.log.Error().Err(err).Str("topic", tried.topic).Int32("partition", tried.partition).
			Uint64("conn", p.client.ID).Msg("append failed")
	default:
		result.LogStartOffset = tried.logStart
	}
}

// explanation is the text for the client: nothing about the broker's own troubles, which are in its log.
func explanation(err error, code *kerr.Error) *string {
	switch {
	case err == error(code), code == kerr.KafkaStorageError, code == kerr.NotLeaderForPartition, code == kerr.UnknownServerError:
		return nil
	}
	var own *apiError
	if errors.As(err, &own) {
		return own.message()
	}
	return kmsg.StringPtr(err.Error())
}

// refusal implements server.Pending with the end of the connection.
type refusal struct{ error }

func (refusal) Ready() bool                                       { return true }
func (r refusal) Answer(context.Context) (server.Response, error) { return nil, r.error }

// Ready implements server.Pending.
func (p *pendingProduce) Ready() bool {
	for _, w := range p.waits {
		if !w.ack.Ready() {
			return false
		}
	}
	return true
}

// Answer implements server.Pending: it waits for the acks and completes the response.
func (p *pendingProduce) Answer(ctx context.Context) (server.Response, error) {
	if !p.Ready() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, p.deadline)
		defer cancel()
	}
	// Syncs end in the order in which they were asked for, more or less: when the last one has, the others need no waiting.
	for _, w := range slices.Backward(p.waits) {
		result := &p.resp.Topics[w.topic].Partitions[w.partition]
		result.BaseOffset, result.LogAppendTime = int64(w.ack.Base), w.ack.AppendTime
		result.LogStartOffset = int64(w.ack.LogStart)
		// The batch keeps its offset in the answer even if the wait fails: it is there, only not known to stay.
		result.ErrorCode = codeOf(w.ack.Wait(ctx))
	}
	if p.version >= produceHintVersion {
		p.hintLeaders()
	}
	return server.Message(p.resp), nil
}

// hintLeaders tells who leads the partitions that this broker does not.
func (p *pendingProduce) hintLeaders() {
	var leaders []int32
	image := p.h.image()
	for t := range p.resp.Topics {
		topic := &p.resp.Topics[t]
		for i := range topic.Partitions {
			result := &topic.Partitions[i]
			if result.ErrorCode != kerr.NotLeaderForPartition.Code {
				continue
			}
			id := topic.TopicID
			if named, ok := image.Topic(topic.Topic); ok && p.version < produceIDVersion {
				id = named.ID
			}
			leader := p.h.view.Leader(id, result.Partition)
			result.CurrentLeader.LeaderID, result.CurrentLeader.LeaderEpoch = leader.NodeID, leader.Epoch
			leaders = append(leaders, leader.NodeID)
		}
	}
	if leaders == nil {
		return
	}
	for _, b := range p.h.view.Brokers(p.client.Listener) {
		if slices.Contains(leaders, b.NodeID) {
			node := kmsg.NewProduceResponseBroker()
			node.NodeID, node.Host, node.Port, node.Rack = b.NodeID, b.Host, b.Port, b.Rack
			p.resp.Brokers = append(p.resp.Brokers, node)
		}
	}
}

// silence is the end of a request with acks=0: no answer, or the end of the connection if any append has failed, so
// that the producer learns of it.
func (p *pendingProduce) silence() server.Pending {
	for _, topic := range p.resp.Topics {
		for _, result := range topic.Partitions {
			if result.ErrorCode == 0 {
				continue
			}
			err := fmt.Errorf("%w: produce with acks=0 to partition %d of topic %q failed: %w",
				server.ErrDisconnect, result.Partition, topic.Topic, kerr.ErrorForCode(result.ErrorCode))
			return refusal{err}
		}
	}
	return nil
}
