package oracle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file is what the scenarios about transactions have in common: producers with a transactional id, and the waits that
// they need, since Kafka ends transactions in the background.

// transactionSettings are those of the scenarios in which there are transactions.
var transactionSettings = []string{
	"transaction.state.log.num.partitions=3",
	"transaction.abort.timed.out.transaction.cleanup.interval.ms=50",
}

// txn is a producer with a transactional id. What it does without a word in the transcript goes well.
type txn struct {
	*client
	id       string // transactional
	producer int64
	epoch    int16
	// implicit: producing adds the partition, as transaction.version 2 has it. Otherwise it is added before.
	implicit bool
	next     map[place]int32 // sequence number
}

// place is a topic's partition.
type place struct {
	topic     string
	partition int32
}

// begun is a producer that has its id and its epoch. It speaks as clients do: in the versions of transaction.version 2,
// unless the case is held in a version that belongs to 1.
func (c *client) begun(label string) *txn {
	c.t.Helper()
	return c.begunFor(label, time.Minute)
}

// begunFor is begun with a timeout.
func (c *client) begunFor(label string, timeout time.Duration) *txn {
	c.t.Helper()
	p := &txn{client: c, id: c.transactional(label), implicit: !c.speaksOld()}
	c.speaks(p.implicit)
	p.begins(timeout)
	return p
}

// oldest are the first versions of the requests by which a client speaks transaction.version 2.
var oldest = map[kmsg.Key]int16{kmsg.Produce: 12, kmsg.EndTxn: 5, kmsg.TxnOffsetCommit: 5}

// speaksOld says whether the case's version or the level that the case has set, belongs to transaction.version 1.
func (c *client) speaksOld() bool {
	first, ok := oldest[c.api]
	return c.lowered || ok && c.version < first || c.api == kmsg.AddPartitionsToTxn && c.version < 4 || c.api == kmsg.AddOffsetsToTxn
}

// speaks sets the versions of what is not the case's API.
func (c *client) speaks(new bool) {
	c.versions = maps.Clone(c.versions)
	c.versions[kmsg.AddPartitionsToTxn.Name()] = [2]int16{0, 3} // the newer ones are for brokers
	if new {
		return
	}
	for key, first := range oldest {
		c.versions[key.Name()] = [2]int16{0, first - 1}
	}
}

// transactional returns a fresh transactional id, when the broker serves as its coordinator: Kafka makes a topic for that first.
func (c *client) transactional(label string) string {
	c.t.Helper()
	id, helper := c.fresh(label), c.aside()
	defer helper.close()
	if !c.subject.draws { // the first id of all is 0, which looks like none
		c.awaitProducerIDs()
		c.subject.draws = true
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		found := do[*kmsg.DescribeTransactionsResponse](helper, describeTransactionsRequest(id)).TransactionStates[0]
		if found.ErrorCode == transactionalIDNotFound {
			return id
		}
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorType, find.CoordinatorKey, find.CoordinatorKeys = 1, id, []string{id}
		do[*kmsg.FindCoordinatorResponse](helper, find)
	}
	c.t.Fatalf("the transactional id %s has no coordinator after %v", id, patience)
	return ""
}

// transactionalIDNotFound is the error code of a transactional id without a transaction, from its coordinator.
const transactionalIDNotFound = 105

// passing are the errors that say only that the broker is not done with something yet.
var passing = []string{
	"CONCURRENT_TRANSACTIONS", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "NOT_COORDINATOR", "NOT_ENOUGH_REPLICAS",
}

// settled asks until nothing in the answer says that the broker is not done yet: Kafka says so while it ends a transaction, and
// Segue waits for it.
func settled[R kmsg.Response](c *client, req kmsg.Request) R {
	c.t.Helper()
	return askUntil(c, req, func(resp R) bool {
		text := compact(c.names.tree(resp))
		return !slices.ContainsFunc(passing, func(code string) bool { return strings.Contains(text, `"`+code+`"`) })
	})
}

// quietlySettled is settled without a word in the transcript.
func quietlySettled[R kmsg.Response](c *client, req kmsg.Request) R {
	c.t.Helper()
	resp := settled[R](c, req)
	c.steps = c.steps[:len(c.steps)-1]
	return resp
}

// initRequest asks for the producer's id and epoch.
func (p *txn) initRequest() *kmsg.InitProducerIDRequest {
	req := initProducerID()
	req.TransactionalID = &p.id
	return req
}

// begins asks for the id and the epoch.
func (p *txn) begins(timeout time.Duration) {
	p.t.Helper()
	req := p.initRequest()
	req.TransactionTimeoutMillis = int32(timeout.Milliseconds())
	p.has(quietlySettled[*kmsg.InitProducerIDResponse](p.client, req))
}

// has takes what an answer gives.
func (p *txn) has(resp *kmsg.InitProducerIDResponse) {
	p.t.Helper()
	if resp.ErrorCode != 0 {
		p.t.Fatalf("%s is given no producer id: %v", p.id, codeName(resp.ErrorCode))
	}
	p.is(resp.ProducerID, resp.ProducerEpoch)
}

// is sets the id and the epoch, with which all sequence numbers begin anew.
func (p *txn) is(producer int64, epoch int16) {
	p.names.number("producer", producer)
	p.producer, p.epoch, p.next = producer, epoch, map[place]int32{}
}

// otherwise is the producer with another epoch, or another id.
func (p *txn) otherwise(change func(*txn)) *txn {
	other := *p
	other.next = map[place]int32{}
	change(&other)
	return &other
}

// adding asks for partitions to be added.
func (p *txn) adding(t topic, partitions ...int32) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.id, p.producer, p.epoch
	one := kmsg.NewAddPartitionsToTxnRequestTransaction()
	one.TransactionalID, one.ProducerID, one.ProducerEpoch = p.id, p.producer, p.epoch
	req.Transactions = append(req.Transactions, one)
	alsoAdding(req, t, partitions...)
	return req
}

// alsoAdding adds partitions to a request's last transaction.
func alsoAdding(req *kmsg.AddPartitionsToTxnRequest, t topic, partitions ...int32) {
	old, new := kmsg.NewAddPartitionsToTxnRequestTopic(), kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
	old.Topic, old.Partitions = t.name, partitions
	new.Topic, new.Partitions = t.name, partitions
	req.Topics = append(req.Topics, old)
	last := &req.Transactions[len(req.Transactions)-1]
	last.Topics = append(last.Topics, new)
}

// adds adds partitions.
func (p *txn) adds(t topic, partitions ...int32) {
	p.t.Helper()
	c := p.connect(kmsg.AddPartitionsToTxn, 3)
	for _, added := range quietlySettled[*kmsg.AddPartitionsToTxnResponse](c, p.adding(t, partitions...)).Topics[0].Partitions {
		if added.ErrorCode != 0 {
			p.t.Fatalf("a partition is not added to the transaction of %s: %v", p.id, codeName(added.ErrorCode))
		}
	}
	c.close()
}

// batch is the producer's next batch for a partition. It has the present time, as the marker will: of batches whose times are
// far apart, Kafka begins another segment, and reads not beyond it.
func (p *txn) batch(t topic, partition int32, values ...string) batch {
	at := place{t.name, partition}
	b := batch{values: values, timestamp: time.Now().UnixMilli(), attrs: transactional, named: true, producer: p.producer, epoch: p.epoch, sequence: p.next[at]}
	p.next[at] += int32(len(values))
	return b
}

// producing asks for batches to be appended.
func (p *txn) producing(t topic, partition int32, list ...batch) *kmsg.ProduceRequest {
	req := produceRequest(t, partition, records(list...))
	req.TransactionID = &p.id
	return req
}

// produces appends a batch, and adds its partition before if that is to be.
func (p *txn) produces(t topic, partition int32, values ...string) {
	p.t.Helper()
	if code := p.produced(t, partition, values...); code != 0 {
		p.t.Fatalf("a batch of %s is not taken: %v", p.id, codeName(code))
	}
}

// produced is produces for who may be refused.
func (p *txn) produced(t topic, partition int32, values ...string) (code int16) {
	p.t.Helper()
	if !p.implicit {
		p.adds(t, partition)
	}
	resp := quietlySettled[*kmsg.ProduceResponse](p.client, p.producing(t, partition, p.batch(t, partition, values...)))
	return resp.Topics[0].Partitions[0].ErrorCode
}

// tries shows what the producer's next batch is answered, which may be refused.
func (p *txn) tries(t topic, partition int32, values ...string) {
	p.t.Helper()
	produce(p.client, p.producing(t, partition, p.batch(t, partition, values...)))
}

// produce shows in short what batches are answered: what else there is in an answer is the same without transactions.
func produce(c *client, req *kmsg.ProduceRequest) {
	c.t.Helper()
	list := []string{}
	for _, rt := range settled[*kmsg.ProduceResponse](c, req).Topics {
		name := c.names.text(rt.Topic)
		if name == "" {
			name = c.names.id(rt.TopicID)
		}
		for _, p := range rt.Partitions {
			list = append(list, fmt.Sprintf("%s-%d: %v at %d", strings.Trim(strings.TrimPrefix(name, "<id of "), ">"), p.Partition, codeName(p.ErrorCode), p.BaseOffset))
		}
	}
	slices.Sort(list)
	c.steps[len(c.steps)-1].answer = list
}

// ending asks for the end of the transaction.
func (p *txn) ending(commit bool) *kmsg.EndTxnRequest {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.id, p.producer, p.epoch, commit
	return req
}

// ends ends the transaction, and waits for that.
func (p *txn) ends(commit bool) {
	p.t.Helper()
	p.ended(quietlySettled[*kmsg.EndTxnResponse](p.client, p.ending(commit)))
}

// endsAloud is ends with the answer in the transcript.
func (p *txn) endsAloud(commit bool) {
	p.t.Helper()
	p.ended(settled[*kmsg.EndTxnResponse](p.client, p.ending(commit)))
}

// ended takes what an answer gives, and waits for the end of the transaction.
func (p *txn) ended(resp *kmsg.EndTxnResponse) {
	p.t.Helper()
	if resp.ErrorCode != 0 {
		p.t.Fatalf("the transaction of %s does not end: %v", p.id, codeName(resp.ErrorCode))
	}
	p.awaitState("CompleteCommit", "CompleteAbort")
	if resp.ProducerID >= 0 {
		p.is(resp.ProducerID, resp.ProducerEpoch)
	}
}

// triesToEnd shows what the end is answered, which may be refused.
func (p *txn) triesToEnd(commit bool) {
	p.t.Helper()
	settled[*kmsg.EndTxnResponse](p.client, p.ending(commit))
	p.awaitState("Empty", "Ongoing", "CompleteCommit", "CompleteAbort")
}

// awaitState waits until the transactional id is in one of these states.
func (p *txn) awaitState(states ...string) {
	p.t.Helper()
	helper := p.aside()
	defer helper.close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if slices.Contains(states, do[*kmsg.DescribeTransactionsResponse](helper, describeTransactionsRequest(p.id)).TransactionStates[0].State) {
			return
		}
	}
	p.t.Fatalf("%s is not %v after %v", p.id, states, patience)
}

func describeTransactionsRequest(ids ...string) *kmsg.DescribeTransactionsRequest {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = ids
	return req
}

// describes shows the transaction. Which partition a group's offsets belong in is left out.
func (p *txn) describes() {
	p.t.Helper()
	describeTransactions(p.client, p.id)
}

// describeTransactions shows transactions in short.
func describeTransactions(c *client, ids ...string) {
	c.t.Helper()
	req, list := describeTransactionsRequest(ids...), []string{}
	for _, is := range do[*kmsg.DescribeTransactionsResponse](c, req).TransactionStates {
		producer, _ := c.names.known("producer", is.ProducerID)
		text := fmt.Sprintf("%s: %v, %s epoch %d, %s since %v", c.names.text(is.TransactionalID), codeName(is.ErrorCode), producer, is.ProducerEpoch, is.State, c.names.time(is.StartTimestamp))
		slices.SortFunc(is.Topics, func(a, b kmsg.DescribeTransactionsResponseTransactionStateTopic) int {
			return strings.Compare(c.names.text(a.Topic), c.names.text(b.Topic)) // in any order
		})
		for _, rt := range is.Topics {
			text += ", " + c.names.text(rt.Topic)
			if slices.Sort(rt.Partitions); !strings.HasPrefix(rt.Topic, "__") {
				text += fmt.Sprint(" ", rt.Partitions)
			}
		}
		list = append(list, text)
	}
	slices.Sort(list)
	c.steps = append(c.steps, step{kmsg.NameForKey(req.Key()), list})
}

// committing asks for an offset of a topic's partition 0 to be committed with the transaction.
func (p *txn) committing(group string, t topic, offset int64) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.id, p.producer, p.epoch, group
	rt := kmsg.NewTxnOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = t.name, t.id
	rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	rp.Offset = offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// addingOffsets asks for a group's offsets to become part of the transaction.
func (p *txn) addingOffsets(group string) *kmsg.AddOffsetsToTxnRequest {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.id, p.producer, p.epoch, group
	return req
}

// addsGroup adds a group, if it is to be added.
func (p *txn) addsGroup(group string) {
	p.t.Helper()
	if p.implicit {
		return
	}
	if code := quietlySettled[*kmsg.AddOffsetsToTxnResponse](p.client, p.addingOffsets(group)).ErrorCode; code != 0 {
		p.t.Fatalf("%s is not added to the transaction of %s: %v", group, p.id, codeName(code))
	}
}

// commitsOffset commits an offset with the transaction.
func (p *txn) commitsOffset(group string, t topic, offset int64) {
	p.t.Helper()
	if code := p.committed(group, t, offset); code != 0 {
		p.t.Fatalf("an offset of %s is not taken: %v", p.id, codeName(code))
	}
}

// committed is commitsOffset for who may be refused.
func (p *txn) committed(group string, t topic, offset int64) (code int16) {
	p.t.Helper()
	p.addsGroup(group)
	return quietlySettled[*kmsg.TxnOffsetCommitResponse](p.client, p.committing(group, t, offset)).Topics[0].Partitions[0].ErrorCode
}

// readWith shows in short the records of a topic's partition 0 from an offset on, with an isolation level: 1 for what is
// committed.
func readWith(c *client, level int8, t topic, offset int64) {
	c.t.Helper()
	req := fetchRequest(t, 0, offset)
	req.IsolationLevel = level
	readShort(c, req, do[*kmsg.FetchResponse](c, req))
}

// readShort shows an answer about one partition in short.
func readShort(c *client, req *kmsg.FetchRequest, resp *kmsg.FetchResponse) {
	p := resp.Topics[0].Partitions[0]
	aborted, batches := []any{}, []any{}
	for _, a := range p.AbortedTransactions {
		producer, _ := c.names.known("producer", a.ProducerID)
		aborted = append(aborted, fmt.Sprintf("%s from %d", producer, a.FirstOffset))
	}
	list, _ := c.names.batches(p.RecordBatches).([]any)
	for _, b := range list {
		batches = append(batches, short(b))
	}
	c.steps = append(c.steps, step{kmsg.NameForKey(req.Key()), map[string]any{
		"is": fmt.Sprintf("%v, %d to %d, stable %d", codeName(p.ErrorCode), p.LogStartOffset, p.HighWatermark, p.LastStableOffset), "aborted": aborted, "batches": batches,
	}})
}

// short is the tree of a batch in one line.
func short(tree any) any {
	b, ok := tree.(map[string]any)
	if !ok {
		return tree
	}
	return fmt.Sprintf("%v-%v %v epoch %v sequence %v attributes %v: %v", b["offset"], b["last"], b["producer"], b["epoch"], b["sequence"], b["attributes"], b["records"])
}

// readCommitted shows what is committed of a topic's partition 0.
func readCommitted(c *client, t topic) {
	c.t.Helper()
	readWith(c, 1, t, 0)
}

// showStable shows in short the offsets that are committed of a group for a topic, of which none may be pending.
func showStable(c *client, group string, t topic, partitions ...int32) {
	c.t.Helper()
	showShort(c, group, t, true, partitions...)
}

// showUnstable is showStable for who does not care what is pending.
func showUnstable(c *client, group string, t topic, partitions ...int32) {
	c.t.Helper()
	showShort(c, group, t, false, partitions...)
}

func showShort(c *client, group string, t topic, stable bool, partitions ...int32) {
	c.t.Helper()
	req := fetchOffsetsRequest(group, t, partitions...)
	req.RequireStable = stable
	resp, list := do[*kmsg.OffsetFetchResponse](c.aside(), req), []any{}
	for _, g := range resp.Groups {
		for _, rt := range g.Topics {
			for _, p := range rt.Partitions {
				text := fmt.Sprintf("%d: %v, %d epoch %v", p.Partition, codeName(p.ErrorCode), p.Offset, c.names.leaderEpoch(p.LeaderEpoch))
				if p.Metadata != nil && *p.Metadata != "" {
					text += " " + *p.Metadata
				}
				list = append(list, text)
			}
		}
		if g.ErrorCode != 0 {
			list = append(list, codeName(g.ErrorCode))
		}
	}
	c.steps = append(c.steps, step{kmsg.NameForKey(req.Key()), list})
}

// level sets transaction.version, and waits until the broker says so.
func (c *client) level(level int16) {
	c.t.Helper()
	c.lowered = level < 2
	helper := c.aside()
	defer helper.close()
	asked := kmsg.NewPtrApiVersionsRequest()
	asked.ClientSoftwareName, asked.ClientSoftwareVersion = "oracle", "1"
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		is := finalized(do[*kmsg.ApiVersionsResponse](helper, asked))
		if is == level {
			return
		}
		req := updateFeatures(featureUpdate("transaction.version", level))
		if level < is {
			req.FeatureUpdates[0].UpgradeType = safeDowngrade
		}
		do[*kmsg.UpdateFeaturesResponse](c.connect(kmsg.UpdateFeatures, 2), req)
	}
	c.t.Fatalf("transaction.version is not %d after %v", level, patience)
}

// finalized is the level of transaction.version that an answer tells.
func finalized(resp *kmsg.ApiVersionsResponse) int16 {
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel
		}
	}
	return 0
}

// The kinds of updates of a feature.
const (
	upgrade         = 1
	safeDowngrade   = 2
	unsafeDowngrade = 3
)

// updateFeatures asks for features to be set, up or down.
func updateFeatures(list ...kmsg.UpdateFeaturesRequestFeatureUpdate) *kmsg.UpdateFeaturesRequest {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.FeatureUpdates = list
	return req
}

// featureUpdate sets a feature to a level.
func featureUpdate(name string, level int16) kmsg.UpdateFeaturesRequestFeatureUpdate {
	u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	u.Feature, u.MaxVersionLevel, u.UpgradeType = name, level, upgrade
	return u
}
