package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/coordinator"
)

// transaction is a producer's transaction as its coordinator knows it.
type transaction struct{ deadline time.Time }

// transactionTime is how long a transaction of the simulation may take.
const transactionTime = 40 * time.Second

// producer is the half of a client that commits what it has consumed in transactions.
type producer struct {
	id       int64           // 0 for a client that has none
	sent     map[int32]int64 // by partition, what the open transaction has committed
	asks     int64           // to be committed by the request under way
	doubtful bool            // an answer was lost: it is not known what is in the transaction
}

// begin opens a producer's transaction.
func (s *simulation) begin(id int64) { s.transactions[id] = transaction{s.w.now.Add(transactionTime)} }

// end ends a producer's transaction, if it is open, and says whether it was. The machine may crash before the marker is
// written, which is then written again.
func (s *simulation) end(id int64, commit bool) bool {
	if _, open := s.transactions[id]; !open {
		return false
	}
	if !s.calm && s.rng.IntN(50) == 0 {
		s.crash(func(compacted bool) coordinator.Effects {
			s.w.m.Decide(s.w.now, coordinator.Producer{ID: id}, commit)
			return s.w.reload(compacted)
		})
	}
	s.w.decide(id, commit)
	delete(s.transactions, id)
	return true
}

// abortOld aborts the transactions that have taken too long, or all.
func (s *simulation) abortOld(all bool) {
	for _, id := range sortedIDs(s.transactions) {
		if all || !s.w.now.Before(s.transactions[id].deadline) {
			s.end(id, false)
		}
	}
}

// transact goes on with the client's transaction.
func (c *client) transact() {
	if _, open := c.sim.transactions[c.producer.id]; !open {
		c.producer.sent, c.producer.doubtful = map[int32]int64{}, false // what was is aborted
		c.sim.begin(c.producer.id)
	}
	p := c.owned[c.sim.rng.IntN(len(c.owned))]
	at, known := c.at(p)
	switch {
	case c.producer.doubtful || len(c.producer.sent) > 0 && c.sim.rng.IntN(3) == 0:
		c.finish(!c.producer.doubtful && c.sim.rng.IntN(4) > 0)
	case known:
		if sent, ok := c.producer.sent[p]; ok {
			at = sent
		}
		c.producer.asks = at + 1
		c.sim.send(c, c.txnCommit(p))
	}
}

func (c *client) txnCommit(partition int32) any {
	r := kmsg.NewPtrTxnOffsetCommitRequest()
	r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = 5, c.group, c.memberID, c.generation, c.instance
	r.ProducerID = c.producer.id
	rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset = partition, c.producer.asks
	r.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{rp}}}
	return TxnCommit{Request: r}
}

// finish ends the client's transaction, if it has one. What it has committed then holds, all of it: whoever has been given
// its partitions since has waited for that. What it has not committed holds nowhere.
func (c *client) finish(commit bool) {
	if c.producer.id == 0 || !c.sim.end(c.producer.id, commit) {
		return
	}
	for p, offset := range c.producer.sent {
		at := place{c.group, p}
		switch {
		case !commit:
			continue
		case offset <= c.sim.offsets[at]:
			c.sim.w.t.Fatalf("%s has committed %d for %v in a transaction, which was at %d", c, offset, at, c.sim.offsets[at])
		}
		c.sim.offsets[at], c.position[p] = offset, offset
	}
	c.producer.sent, c.producer.doubtful = map[int32]int64{}, false
	c.sim.checkOffsets()
}

// at returns where the client is in a partition that it owns. While that may be about to change it is not known.
func (c *client) at(p int32) (offset int64, known bool) {
	if _, known = c.position[p]; !known {
		offset, known = c.sim.stable(c.group, p)
		if !known {
			return 0, false
		}
		c.position[p] = offset
	}
	return c.position[p], true
}

func sortedIDs(m map[int64]transaction) (ids []int64) {
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
