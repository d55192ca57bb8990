package broker

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/storage/record"
)

// transactor is a transactional producer as its client sees it.
type transactor struct {
	transactionalID string
	topic           topic
	id              int64
	epoch           int16
	next            map[place]int32 // sequence numbers of this epoch
	added           map[place]bool  // the partitions of the open transaction, as far as the client has to say so
	open            bool
	bumps           bool // the transaction uses version 2 of the protocol, where the broker adds partitions
}

// The versions of requests of the two protocols.
type transactionVersions struct{ produce, commit, end int16 }

func (x *transactor) versions() transactionVersions {
	if x.bumps {
		return transactionVersions{produce: 13, commit: 5, end: 5}
	}
	return transactionVersions{produce: 11, commit: 3, end: 3}
}

// insist does something until it is done, as a client does, or until it is answered with an error that is no reason to try
// again: only a disk that fails is one for that.
func (c *user) insist(what string, try func() error) (done bool, err error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(patience)
	if c.faulty {
		end = time.Now().Add(50 * time.Millisecond)
	}
	for ; ; <-tick.C {
		err := try()
		var code *kerr.Error
		switch {
		case err == nil:
			return true, nil
		case !errors.As(err, &code):
			return false, err
		case (isNotYet(code) || code == kerr.NotEnoughReplicas) && time.Now().Before(end):
			continue
		case c.faulty && code != kerr.UnknownServerError:
			return false, nil
		}
		c.violated("%s: %w", what, err)
		return false, nil
	}
}

// transact has the user's transactional producer write to some partitions and commit an offset, and end that, or leave it.
func (c *user) transact() error {
	ok, err := c.beginTransaction()
	for range 1 + c.rand.IntN(3) {
		if ok && err == nil {
			ok, err = c.write()
		}
	}
	if ok && err == nil && c.rand.IntN(2) == 0 {
		ok, err = c.commitInTransaction()
	}
	leave := c.rand.IntN(5) == 0
	if ok && err == nil && !leave {
		ok, err = c.endTransaction(c.rand.IntN(3) > 0)
	}
	if !ok || err != nil {
		c.transactor = nil // it has to ask where it stands
	}
	return err
}

// beginTransaction has the user be a transactional producer without an open transaction, and begin one.
func (c *user) beginTransaction() (ok bool, err error) {
	if c.transactor == nil || c.transactor.open || c.rand.IntN(5) == 0 {
		if ok, err := c.initTransactor(); !ok {
			return false, err
		}
	}
	x := c.transactor
	x.open, x.added, x.bumps = true, map[place]bool{}, c.rand.IntN(2) == 0
	number := c.values.next()
	defer c.lock()()
	c.ledger.transactions.change(x.transactionalID, func(t *toldProducer) {
		t.transactions = append(t.transactions, toldTransaction{number: number})
	})
	return true, nil
}

// initTransactor has the user's transactional id begin anew.
func (c *user) initTransactor() (ok bool, err error) {
	unlock := c.lock()
	name, era := c.ledger.transactions.topic(), c.ledger.transactions.era
	unlock()
	x := &transactor{transactionalID: fmt.Sprintf("id-%d-%d", era, c.number), id: -1, epoch: -1, next: map[place]int32{}}
	if x.topic, ok, err = c.transactionTopic(name); !ok {
		return false, err
	}
	if ok, err := c.findCoordinator(transactionKind, x.transactionalID); !ok {
		return false, err
	}
	if was := c.transactor; was != nil && c.rand.IntN(2) == 0 {
		x.id, x.epoch = was.id, was.epoch // KIP-360
	}
	ok, err = c.insist("InitProducerId of "+x.transactionalID, func() error {
		id, epoch, err := initTransactions(c.wire, x.transactionalID, x.id, x.epoch)
		if err == nil {
			x.id, x.epoch = id, epoch
		}
		return err
	})
	if !ok {
		return false, err
	}
	c.transactor = x
	c.noteEpoch(x)
	return true, nil
}

// noteEpoch notes the producer id and epoch that a transactional id was told.
func (c *user) noteEpoch(x *transactor) {
	defer c.lock()()
	c.ledger.transactions.change(x.transactionalID, func(t *toldProducer) {
		switch {
		case t.id < 0 && c.ledger.producers.handedOut(x.id):
			c.violated("transactional id %s has producer id %d, which was handed out before", x.transactionalID, x.id)
		case t.id >= 0 && (t.id != x.id || t.epoch >= x.epoch):
			c.violated("transactional id %s is producer %d in epoch %d, it was %d in %d", x.transactionalID, x.id, x.epoch, t.id, t.epoch)
		}
		t.id, t.epoch = x.id, x.epoch
	})
}

// transactionTopic returns the topic for transactions, which it makes.
func (c *user) transactionTopic(name string) (t topic, ok bool, err error) {
	for range 2 {
		unlock := c.lock()
		for _, is := range c.ledger.topics.live {
			if is.name == name {
				t, ok = is, true
			}
		}
		unlock()
		if ok {
			break
		}
		if err := c.createTopics(name); err != nil {
			return topic{}, false, err
		}
	}
	return t, ok, nil
}

// write writes a batch to a partition within the transaction.
func (c *user) write() (ok bool, err error) {
	x := c.transactor
	at := place{x.topic.id, c.rand.Int32N(x.topic.partitions)}
	records := 1 + c.rand.IntN(3)
	var number int
	unlock := c.lock()
	c.ledger.transactions.changeLast(x.transactionalID, func(t *toldTransaction) {
		number = t.number
		t.to = append(slices.Clip(t.to), slices.Repeat([]place{at}, records)...)
	})
	unlock()
	if !x.bumps && !x.added[at] {
		if ok, err := c.addPartition(at); !ok {
			return false, err
		}
		x.added[at] = true
	}
	b, err := x.batch(number, at, records)
	if err != nil {
		return false, err
	}
	d := delivery{x.topic, at.partition, asSent(b, c.epoch)}
	ok, err = c.insist(fmt.Sprintf("produce in transaction %d of %s (epoch %d)", number, x.transactionalID, x.epoch), func() error {
		req := produceRequest(-1, []delivery{d})
		req.TransactionID = &x.transactionalID
		resp, err := ask[*kmsg.ProduceResponse](c.wire, req, x.versions().produce)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	})
	x.next[at] += int32(records)
	return ok, err
}

// batch makes the next batch to a partition.
func (x *transactor) batch(number int, to place, records int) (record.Batch, error) {
	b := record.NewBuilder(0)
	b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = x.id, x.epoch, x.next[to], true
	for i := range records {
		b.Add(firstTimestamp+int64(number), nil, append(fmt.Appendf(nil, "%d:", number), bytes.Repeat([]byte{'x'}, (number+i)*131%700)...))
	}
	return b.Build()
}

// addPartition tells the coordinator of a partition, as version 1 wants.
func (c *user) addPartition(at place) (ok bool, err error) {
	x := c.transactor
	return c.insist("AddPartitionsToTxn of "+x.transactionalID, func() error {
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = x.transactionalID, x.id, x.epoch
		req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: x.topic.name, Partitions: []int32{at.partition}}}
		resp, err := ask[*kmsg.AddPartitionsToTxnResponse](c.wire, req, 3)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	})
}

// commitInTransaction commits an offset within the transaction.
func (c *user) commitInTransaction() (ok bool, err error) {
	x := c.transactor
	group := groupOf(x.transactionalID)
	if ok, err := c.findCoordinator(groupKind, group); !ok {
		return false, err
	}
	var number int
	unlock := c.lock()
	c.ledger.transactions.changeLast(x.transactionalID, func(t *toldTransaction) {
		number, t.offset = t.number, true
	})
	unlock()
	if !x.bumps {
		ok, err := c.insist("AddOffsetsToTxn of "+x.transactionalID, func() error {
			req := kmsg.NewPtrAddOffsetsToTxnRequest()
			req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = x.transactionalID, x.id, x.epoch, group
			resp, err := ask[*kmsg.AddOffsetsToTxnResponse](c.wire, req, 3)
			if err != nil {
				return err
			}
			return kerr.ErrorForCode(resp.ErrorCode)
		})
		if !ok {
			return false, err
		}
	}
	return c.insist("TxnOffsetCommit of "+x.transactionalID, func() error {
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = x.transactionalID, x.id, x.epoch, group
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Offset = int64(number)
		req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: x.topic.name, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}}}
		resp, err := ask[*kmsg.TxnOffsetCommitResponse](c.wire, req, x.versions().commit)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	})
}

// endTransaction commits or aborts the transaction.
func (c *user) endTransaction(commit bool) (ok bool, err error) {
	x := c.transactor
	end := func(e ending) {
		defer c.lock()()
		c.ledger.transactions.changeLast(x.transactionalID, func(t *toldTransaction) { t.end = e })
	}
	if commit {
		end(committing)
	}
	id, epoch := x.id, x.epoch
	ok, err = c.insist(fmt.Sprintf("EndTxn of %s (commit %v)", x.transactionalID, commit), func() error {
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = x.transactionalID, x.id, x.epoch, commit
		resp, err := ask[*kmsg.EndTxnResponse](c.wire, req, x.versions().end)
		if err != nil {
			return err
		}
		if x.bumps {
			id, epoch = resp.ProducerID, resp.ProducerEpoch
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
	if !ok {
		return false, err
	}
	if commit {
		end(committed)
	}
	x.open = false
	if x.bumps {
		x.id, x.epoch, x.next = id, epoch, map[place]int32{}
		c.noteEpoch(x)
	}
	return true, nil
}

// witness reads what is committed.
func (c *user) witness() error {
	unlock := c.lock()
	name := c.ledger.transactions.topic()
	unlock()
	t, ok, err := c.transactionTopic(name)
	if !ok {
		return err
	}
	n := c.rand.Int32N(t.partitions)
	shown, _, err := readCommitted(c.wire, t, n)
	var code *kerr.Error
	switch {
	case err == nil:
	case errors.As(err, &code):
		if !c.excused(t, err) {
			c.violated("fetch of what is committed in %s-%d: %w", t, n, err)
		}
		return nil
	case c.faulty: // see consume
		c.wire.close()
		c.wire, err = dial(c.broker.Addr("PLAINTEXT"))
		return err
	default:
		return err
	}
	defer c.lock()()
	if err := c.ledger.transactions.see(place{t.id, n}, shown); err != nil {
		c.violated("%s-%d: %w", t, n, err)
	}
	return nil
}
